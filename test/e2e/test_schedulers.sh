#!/bin/bash
# Several schedulers at once; see schedulers.py.
exec "$(dirname "$0")/schedulers.py" "${BIN:?the folder of the programs}"
