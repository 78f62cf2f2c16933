#!/bin/bash
# Kubernetes' Python client; see client_library.py.
exec "$(dirname "$0")/client_library.py" "${BIN:?the folder of the programs}"
