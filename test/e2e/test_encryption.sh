#!/bin/bash
# Objects encrypted in the store; see encryption.py.
exec "$(dirname "$0")/encryption.py" "${BIN:?the folder of the programs}"
