#!/bin/bash
# HorizontalPodAutoscalers; see autoscaling.py.
exec "$(dirname "$0")/autoscaling.py" "${BIN:?the folder of the programs}"
