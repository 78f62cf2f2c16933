#!/bin/bash
# Extenders of the scheduler; see extenders.py.
exec "$(dirname "$0")/extenders.py" "${BIN:?the folder of the programs}"
