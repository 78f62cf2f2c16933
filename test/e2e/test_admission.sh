#!/bin/bash
# Admission by expressions and by webhooks; see admission.py.
exec "$(dirname "$0")/admission.py" "${BIN:?the folder of the programs}"
