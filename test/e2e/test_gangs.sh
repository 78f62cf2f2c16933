#!/bin/bash
# Pod groups: placed whole or not at all; see gangs.py.
exec "$(dirname "$0")/gangs.py" "${BIN:?the folder of the programs}"
