#!/bin/bash
# Aggregated API servers; see aggregation.py.
exec "$(dirname "$0")/aggregation.py" "${BIN:?the folder of the programs}"
