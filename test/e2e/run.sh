#!/bin/bash
# Runs the end-to-end tests, E2E_JOBS of them side by side, and adds up their closing lines; one that fails there is run
# again alone. Those that take longest begin first.
# usage: test/e2e/run.sh BIN_DIR [TEST...]
set -u
export BIN=${1:?usage: run.sh BIN_DIR [TEST...]}
shift
cd "$(dirname "$0")" || exit 1
if [ $# -eq 0 ]; then
    long="csi controller_faults_rest controller_faults node_faults controller_clock volumes node_agent"
    set -- $(for t in $long; do echo "test_$t.sh"; done)
    for t in test_*.sh; do
        case " $* " in *" $t "*) ;; *) set -- "$@" "$t" ;; esac
    done
fi
for t in "$@"; do
    shift
    set -- "$@" "./$(basename "$t")"
done
exec ../../tools/run-tests -v -r -j "${E2E_JOBS:-2}" "$@"
