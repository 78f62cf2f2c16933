#!/bin/bash
# Flags about how the API server answers at all; see serving.py.
exec "$(dirname "$0")/serving.py" "${BIN:?the folder of the programs}"
