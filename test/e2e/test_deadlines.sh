#!/bin/bash
# The time that requests have; see deadlines.py.
exec "$(dirname "$0")/deadlines.py" "${BIN:?the folder of the programs}"
