#!/bin/bash
# Workloads and nodes through kubectl; see kubectl_workloads.py.
exec "$(dirname "$0")/kubectl_workloads.py" "${BIN:?the folder of the programs}"
