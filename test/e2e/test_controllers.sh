#!/bin/bash
# What users see of controllers: statuses, conditions, events; see controllers.py.
exec "$(dirname "$0")/controllers.py" "${BIN:?the folder of the programs}"
