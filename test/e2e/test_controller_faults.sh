#!/bin/bash
# The controller manager killed and cut off in the middle of its work; see controller_faults.py.
exec "$(dirname "$0")/controller_faults.py" "${BIN:?the folder of the programs}"
