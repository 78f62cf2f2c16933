#!/bin/bash
# Admission by expressions and webhooks; see admission.py.
exec "$(dirname "$0")/admission.py" "${BIN:?the folder of the programs}"
