#!/bin/bash
# A whole control plane under pods that are created and bound: API servers, scheduler, controller manager, no node agents.
# usage: test/bench/scheduler.sh SCHED_LOAD BIN_DIR
#   MEMBERS=1   CONTROLLER_ARGS=   NODES=500   STEPS="pods=10000 steady=500:10 deployment=1000": what sched_load does after the nodes are there
# Prints sched_load's lines, and what memory the programs have, and had at most, before and after. Everything on this
# machine, the generator too. Client limits are lifted, as they were for the reference.
set -eu
load=$(realpath "$1")
bin=$(realpath "$2")
MEMBERS=${MEMBERS:-1} NODES=${NODES:-500} STEPS=${STEPS:-pods=10000 steady=500:10 deployment=1000}
work=$(mktemp -d "${DIR:-/var/tmp}/bench-sched-XXXXXX")
trap '"$bin/trireme" down --dir "$work/c" --purge >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
join() { local IFS=,; echo "$*"; }
port=0
until [ "$port" != 0 ] && "$(dirname "$0")/../ports.py" "$port" 2>/dev/null; do
    port=$(python3 -c 'import random; print(random.randrange(24000, 32000, 40))')
done
limits="--kube-api-qps=0"
"$bin/trireme" up --control-planes "$MEMBERS" --workers 0 --loopback --dir "$work/c" --base-port "$port" \
    --scheduler-args="$limits" --controller-manager-args="$limits${CONTROLLER_ARGS:+ $CONTROLLER_ARGS}" >/dev/null
configs=()
for h in "$work"/c/hosts/cp-*; do
    configs+=("$(ls "$h"/etc/admin.kubeconfig)")
done
usage() {
    local h name pid
    for name in apiserver scheduler controller-manager; do
        for h in "$work"/c/hosts/cp-*; do
            pid=$(cut -d' ' -f1 "$h/run/$name.pid")
            awk -v n="$name" -v what="$1" '/^VmRSS/ { rss = $2 } /^VmHWM/ { most = $2 }
                END { printf "%s %s rss_mb=%.1f most_mb=%.1f", what, n, rss / 1024, most / 1024 }' "/proc/$pid/status"
            awk '{ printf " cpu_s=%.2f\n", ($14 + $15) / 100 }' "/proc/$pid/stat"
        done
    done
}
sleep 1
usage idle
# shellcheck disable=SC2086
"$load" --kubeconfigs "$(join "${configs[@]}")" "nodes=$NODES" $STEPS
usage after
