#!/bin/bash
# Admission plugins; see admission_plugins.py.
exec "$(dirname "$0")/admission_plugins.py" "${BIN:?the folder of the programs}"
