#!/bin/bash
# The controller manager while its clock jumps; see controller_clock.py.
exec "$(dirname "$0")/controller_clock.py" "${BIN:?the folder of the programs}"
