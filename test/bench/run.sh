#!/bin/bash
# Measures what users notice: time to ready, memory, and the cost of the parts.
# usage: test/bench/run.sh BIN_DIR      (as any user; some 60 s)
set -eu
cd "$(dirname "$0")/../.."
bin=$1
trireme=$bin/trireme
work=$(mktemp -d /tmp/trireme-bench-XXXXXX)
clusters=()
cleanup() { for d in "${clusters[@]:-}"; do [ -z "$d" ] || "$trireme" down --dir "$d" >/dev/null 2>&1; done; rm -rf "$work"; }
trap cleanup EXIT
port=$(python3 -c 'import random; print(random.randrange(33000, 60000, 50))')
rss() { # resident MB of the program in a pid file
    awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$(cut -d' ' -f1 "$1")/status"
}
cpu_ms() { # CPU time so far
    awk '{ print ($14 + $15) * 10 }' "/proc/$(cut -d' ' -f1 "$1")/stat"
}

echo "machine: $(nproc) cores, $(awk '/model name/ { $1 = $2 = $3 = ""; print; exit }' /proc/cpuinfo), Linux $(uname -r)"
echo "== one control plane: seconds until ready, ten starts on an empty folder"
times=()
for i in $(seq 10); do
    d=$work/one$i
    clusters=("$d")
    start=$(date +%s%N)
    "$trireme" up --control-planes 1 --workers 0 --loopback --dir "$d" --base-port "$port" >/dev/null
    times+=($(( ($(date +%s%N) - start) / 1000000 )))
    [ "$i" = 10 ] || "$trireme" down --dir "$d" --purge >/dev/null
done
printf '%s\n' "${times[@]}" | sort -n | awk '{ a[NR] = $1 } END { printf "min %d ms, median %d ms, max %d ms\n", a[1], a[int((NR + 1) / 2)], a[NR] }'
d=$work/one10
for p in apiserver scheduler controller-manager; do
    echo "resident: $p $(rss "$d/hosts/cp-1/run/$p.pid") MB"
done
sleep 5
before=$(cpu_ms "$d/hosts/cp-1/run/apiserver.pid"); sleep 10; after=$(cpu_ms "$d/hosts/cp-1/run/apiserver.pid")
echo "idle: apiserver uses $((after - before)) ms of CPU in 10 s"

echo "== API writes: ConfigMaps created by eight HTTP/1.1 clients for 10 s"
before=$(cpu_ms "$d/hosts/cp-1/run/apiserver.pid")
python3 test/bench/api_writes.py --server "https://127.0.0.1:$port" --token "$("$trireme" token --dir "$d")" --clients 8 --seconds 10 >"$work/writes"
after=$(cpu_ms "$d/hosts/cp-1/run/apiserver.pid")
count=$(awk '{ print $1 }' "$work/writes")
echo "$(cat "$work/writes"), $(( (after - before) * 1000 / count )) us of CPU per write, apiserver then $(rss "$d/hosts/cp-1/run/apiserver.pid") MB"
"$trireme" down --dir "$d" --purge >/dev/null

echo "== three control planes"
d=$work/three clusters=("$work/three")
start=$(date +%s%N)
"$trireme" up --control-planes 3 --workers 0 --loopback --dir "$d" --base-port "$port" >/dev/null
echo "ready after $(( ($(date +%s%N) - start) / 1000000 )) ms, joined one after another"
total=0
for h in cp-1 cp-2 cp-3; do
    m=$(rss "$d/hosts/$h/run/apiserver.pid"); echo "resident: apiserver $h $m MB"
done
for f in "$d"/hosts/*/run/*.pid; do total=$(echo "$total $(rss "$f")" | awk '{ print $1 + $2 }'); done
echo "resident: all nine programs $total MB"
"$trireme" down --dir "$d" --purge >/dev/null
clusters=()
