#!/bin/bash
# Admission plugins with a configuration or a program of their own; see admission_images.py.
exec "$(dirname "$0")/admission_images.py" "${BIN:?the folder of the programs}"
