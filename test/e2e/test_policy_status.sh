#!/bin/bash
# The status of ValidatingAdmissionPolicies; see policy_status.py.
exec "$(dirname "$0")/policy_status.py" "${BIN:?the folder of the programs}"
