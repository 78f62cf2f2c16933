#!/bin/bash
# A control plane under hollow nodes: real agents' traffic of thousands of nodes, pods by the hundred thousand, everything on
# this machine. See hollow_nodes.c, hollow_load.c.
# usage: test/bench/hollow.sh HOLLOW_NODES HOLLOW_LOAD BIN_DIR
#   MEMBERS=3 NODES=5000 DEPLOYMENTS=100 REPLICAS=1000   RATE=50: of the probe   ROLLING=5: Deployments rolled under a second one   REST=60: seconds of each measurement
# Prints the lines of both programs, and for each process its memory and, during the measurements, its use of processors.
set -eu
nodes_program=$(realpath "$1") load=$(realpath "$2") bin=$(realpath "$3")
MEMBERS=${MEMBERS:-3} NODES=${NODES:-5000} DEPLOYMENTS=${DEPLOYMENTS:-100} REPLICAS=${REPLICAS:-1000} RATE=${RATE:-50} ROLLING=${ROLLING:-5} REST=${REST:-60}
work=$(mktemp -d "${DIR:-/var/tmp}/bench-hollow-XXXXXX")
hollow=
finish() {
    [ -z "$hollow" ] || kill -9 "$hollow" 2>/dev/null || true
    "$bin/trireme" down --dir "$work/c" --purge >/dev/null 2>&1 || true
    [ -n "${KEEP:-}" ] || rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM
join() { local IFS=,; echo "$*"; }
ulimit -n "$(ulimit -Hn)"
port=0
until [ "$port" != 0 ] && "$(dirname "$0")/../ports.py" "$port" 2>/dev/null; do
    port=$(python3 -c 'import random; print(random.randrange(24000, 32000, 40))')
done
limits="--kube-api-qps=0"
"$bin/trireme" up --control-planes "$MEMBERS" --workers 0 --loopback --dir "$work/c" --base-port "$port" \
    --scheduler-args="$limits" --controller-manager-args="$limits --cluster-cidr=10.0.0.0/8 --node-cidr-mask-size=24" >/dev/null
configs=()
for h in "$work"/c/hosts/cp-*; do configs+=("$h/etc/admin.kubeconfig"); done
# usage_of WHAT [SECONDS]: each process, its memory, and with SECONDS the share of a core that it used since the last look.
declare -A before
usage_of() {
    local h name pid cpu line
    for name in apiserver scheduler controller-manager; do
        for h in "$work"/c/hosts/cp-*; do
            pid=$(cut -d' ' -f1 "$h/run/$name.pid")
            cpu=$(awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$pid/stat")
            line=$(awk '/^VmRSS/ { r = $2 / 1024 } /^VmHWM/ { m = $2 / 1024 } END { printf "rss_mb=%.1f peak_mb=%.1f", r, m }' "/proc/$pid/status")
            [ -z "${2:-}" ] || line+=$(awk -v c="$cpu" -v b="${before[$pid]:-0}" -v s="$2" 'BEGIN { printf " cores=%.3f", (c - b) / 100 / s }')
            before[$pid]=$cpu
            echo "$1 $name $(basename "$h") $line"
        done
    done
}
tell() { kill -USR1 "$hollow"; sleep 0.5; tail -n 1 "$work/hollow.log"; }
usage_of idle
"$nodes_program" --kubeconfigs "$(join "${configs[@]}")" --nodes "$NODES" >"$work/hollow.log" 2>"$work/hollow.err" &
hollow=$!
for _ in $(seq 600); do grep -q '^registered=' "$work/hollow.log" && break; sleep 0.5; done
grep '^registered=' "$work/hollow.log" || { echo "not all nodes were registered" >&2; tail "$work/hollow.err" >&2; exit 1; }
sleep 15
tell
usage_of registered
sleep "$REST"
tell
usage_of "nodes-at-rest" "$REST"
run() { "$load" --kubeconfigs "$(join "${configs[@]}")" "$@"; }
run "deployments=$DEPLOYMENTS:$REPLICAS"
tell
usage_of started
sleep 15
usage_of settled
sleep "$REST"
usage_of "pods-at-rest" "$REST"
tell
run "probe=$REST:$RATE"
usage_of probed "$REST"
tell
[ "$ROLLING" = 0 ] || { run "rolling=$ROLLING:$REST:$RATE"; usage_of rolled; tell; }
cat "$work/hollow.err" >&2
