#!/bin/bash
# Lists and watches of one node's pods; see node_pods.py.
exec "$(dirname "$0")/node_pods.py" "${BIN:?the folder of the programs}"
