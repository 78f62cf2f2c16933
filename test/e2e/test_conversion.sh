#!/bin/bash
# Custom resources that a webhook converts; see conversion.py.
exec "$(dirname "$0")/conversion.py" "${BIN:?the folder of the programs}"
