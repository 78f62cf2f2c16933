#!/bin/bash
# VerticalPodAutoscalers; see vpa.py.
exec "$(dirname "$0")/vpa.py" "${BIN:?the folder of the programs}"
