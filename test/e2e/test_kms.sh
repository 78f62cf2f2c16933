#!/bin/bash
# Objects encrypted in the store under keys that a KMS plugin wraps; see kms.py.
exec "$(dirname "$0")/kms.py" "${BIN:?the folder of the programs}"
