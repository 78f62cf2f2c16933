#!/bin/bash
# The controllers that make no pods killed and cut off in the middle of its work; see controller_faults_rest.py.
exec "$(dirname "$0")/controller_faults_rest.py" "${BIN:?the folder of the programs}"
