#!/bin/bash
# Admission by expressions, webhooks and plugins; see admission.py and admission_plugins.py.
: "${BIN:?the folder of the programs}"
HERE=$(dirname "$0")
code=0
"$HERE/admission.py" "$BIN" || code=1
"$HERE/admission_plugins.py" "$BIN" || code=1
exit $code
