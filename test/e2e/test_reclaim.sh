#!/bin/bash
# Batch pods on what others reserve and do not use; see reclaim.py.
exec "$(dirname "$0")/reclaim.py" "${BIN:?the folder of the programs}"
