#!/bin/bash
# Pods on one real node (containerd, runc, bridge network), from their accepted creation to the watcher
# that sees them Running, and beside them the same configurations given to that runtime by bare calls.
# Needs root.
# usage: test/bench/node.sh NODE_LOAD BIN_DIR
#   SERIAL=30   BURSTS="50 100"   REST=20: seconds of rest with the last burst's pods
set -eu
load=$(realpath "$1")
bin=$(realpath "$2")
SERIAL=${SERIAL:-30} BURSTS=${BURSTS:-50 100} REST=${REST:-20}
[ "$(id -u)" = 0 ] || { echo "left out: bench-node needs root (network namespaces, containers)"; exit 0; }
work=$(mktemp -d "${DIR:-/var/tmp}/bench-node-XXXXXX")
trireme=$bin/trireme
cgroups=bench-node-$$
trap '"$trireme" down --dir "$work/c" --purge >/dev/null 2>&1 || true; rm -rf "$work"
    find /sys/fs/cgroup -depth -path "*/$cgroups*" -type d -exec rmdir {} + 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM
port=$(python3 -c 'import random; print(random.randrange(33000, 60000, 50))')
"$trireme" up --control-planes 1 --workers 1 --dir "$work/c" --base-port "$port" >/dev/null
dir=$(dirname "$(dirname "$(ls "$work"/c/hosts/*/run/kubelet.pid)")")
node=$(basename "$dir")
pid=$(cut -d' ' -f1 "$dir/run/kubelet.pid")
socket=$(tr '\0' '\n' <"/proc/$pid/cmdline" | sed -n 's/^--container-runtime-endpoint=//p')
mkdir "$work/raw"
touch "$work/raw/hosts" "$work/raw/end"
api() { "$load" --kubeconfig "$work/c/kubeconfig" --node "$node" "$@"; }
raw() { "$load" --socket "$socket" --dir "$work/raw" --cgroup "/$cgroups" "$@"; }
cpu() { awk '{ print $14 + $15 }' "/proc/$pid/stat"; }
# Of the last pods: what was spent outside calls to the runtime, by the agent's own account, and in
# waiting for other pods' calls to end.
outside() {
    grep -ho 'runs after .*' "$dir/log/kubelet.log" | tail -n "$1" | python3 -c '
import re, sys
out, turn = [], []
for line in sys.stdin:
    v = {k: float(s) for k, s in re.findall(r"(\w+) ([0-9.]+)s", line)}
    out.append(1000 * sum(v.get(k, 0) for k in ("volumes", "other")))
    turn.append(1000 * v.get("turn", 0))
out.sort()
turn.sort()
n = len(out)
print("outside_runtime_p50_ms=%.0f outside_runtime_p99_ms=%.0f turn_p50_ms=%.0f turn_p99_ms=%.0f" % (
    out[n // 2], out[n * 99 // 100], turn[n // 2], turn[n * 99 // 100]))'
}
kubectl --kubeconfig "$work/c/kubeconfig" wait --for=condition=Ready "node/$node" --timeout=60s >/dev/null
raw 3:1 >/dev/null
api 3:1 >/dev/null
raw "$SERIAL:1"
api --first 1000 "$SERIAL:1"
outside "$SERIAL"
for n in $BURSTS; do
    raw "$n:$n"
    last=
    [ "$n" != "${BURSTS##* }" ] || last=--keep
    api $last --first $((n * 1000)) "$n:$n"
    outside "$n"
done
sleep 5
from=$(cpu)
sleep "$REST"
awk '/^VmRSS/ { printf "agent_rss_mb=%.1f ", $2 / 1024 }' "/proc/$pid/status"
awk -v used=$(($(cpu) - from)) -v hz="$(getconf CLK_TCK)" -v s="$REST" 'BEGIN { printf "agent_cpu_at_rest_percent=%.2f\n", 100 * used / hz / s }'
