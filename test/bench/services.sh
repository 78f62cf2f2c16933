#!/bin/bash
# Services on one real node: how long from an accepted change of an EndpointSlice until the kernel has it, what the first packet of a
# flow costs, and what the agent needs, with few and with many Services. Needs root.
# usage: test/bench/services.sh BIN_DIR
#   SERVICES=10000   UPDATES=500
set -eu
bin=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
SERVICES=${SERVICES:-10000} UPDATES=${UPDATES:-500}
[ "$(id -u)" = 0 ] || { echo "left out: bench-services needs root (network namespaces)"; exit 0; }
work=$(mktemp -d "${DIR:-/var/tmp}/bench-services-XXXXXX")
trireme=$bin/trireme
trap '"$trireme" down --dir "$work/c" --purge >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
port=$(python3 -c 'import random; print(random.randrange(33000, 60000, 50))')
"$trireme" up --control-planes 1 --workers 1 --dir "$work/c" --base-port "$port" >/dev/null
export KUBECONFIG=$work/c/kubeconfig
kubectl proxy --port=0 >"$work/proxy" 2>&1 &
proxy=$!
trap 'kill $proxy 2>/dev/null; "$trireme" down --dir "$work/c" --purge >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
until grep -q 'Starting to serve' "$work/proxy"; do sleep 0.1; done
api=$(sed -n 's/.*serve on //p' "$work/proxy")
dir=$(dirname "$(dirname "$(ls "$work"/c/hosts/*/run/kubelet.pid)")")
node=$(basename "$dir")
netns=/run/netns/trireme-$port-$node
rss() { awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$(cut -d' ' -f1 "$dir/run/kubelet.pid")/status"; }
run() { python3 "$here/services.py" "$api" "$netns" "$@"; }
run create 0 10
echo "services=10 agent_rss_mb=$(rss) $(run packets) $(run updates 10 "$UPDATES")"
run create 10 "$SERVICES"
sleep 10
echo "services=$SERVICES agent_rss_mb=$(rss) $(run packets) $(run updates "$SERVICES" "$UPDATES")"
kill "$(cut -d' ' -f1 "$dir/run/kubelet.pid")"
table=$(nsenter --net="$netns" nft list tables ip | sed -n 's/^table ip \(trireme-services-.*\)/\1/p')
nsenter --net="$netns" nft delete table ip "$table"
run load "$SERVICES" & load=$!
sleep 0.5
"$trireme" host start "$node" --dir "$work/c" >/dev/null
wait $load
