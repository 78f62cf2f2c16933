#!/bin/bash
# What operations cost as the number of objects and of watchers grows: one member.
# usage: test/bench/api_growth.sh API_LOAD BIN_DIR
#   OBJECTS="1000 10000 100000"   WATCHERS="10 100 1000 10000"   SECONDS_EACH=2   OUT=FILE keeps the lines
#   QUIET=COMMAND  put before each measurement, not before what fills the store in between
# Objects are ConfigMaps of some 190 bytes as stored. 10^6 of them take some two minutes more, 400 MB of memory, 1 GB of disk.
set -eu
load=$(realpath "$1")
bin=$(realpath "$2")
OBJECTS=${OBJECTS:-1000 10000 100000} WATCHERS=${WATCHERS:-10 100 1000 10000} SECONDS_EACH=${SECONDS_EACH:-2} QUIET=${QUIET:-}
work=$(mktemp -d "${DIR:-/var/tmp}/bench-growth-XXXXXX")
raw=${OUT:-$work/raw}
: >"$raw"
trireme=$bin/trireme
trap '"$trireme" down --dir "$work/c" --purge >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
ulimit -n "$(ulimit -Hn)"
port=$(python3 -c 'import random; print(random.randrange(20000, 32000, 50))')
"$trireme" up --control-planes 1 --workers 0 --loopback --no-controllers --no-scheduler --dir "$work/c" --base-port "$port" >/dev/null
host=$(ls -d "$work"/c/hosts/cp-*)
pid=$(cut -d' ' -f1 "$host/run/apiserver.pid")
say() { echo "$*" | tee -a "$raw"; }
run() { "$@" | tee -a "$raw"; }
L=("$load" --kubeconfigs "$host/etc/admin.kubeconfig" --pids "$pid" --seconds "$SECONDS_EACH" --lists 3)
memory() { awk -v what="$1" -v field="$2" '$1 == field ":" { printf "%s=%.1f\n", what, $2 / 1024 }' "/proc/$pid/status" | tee -a "$raw"; }
run "${L[@]}" setup
made=0
for n in $OBJECTS; do
    say "objects=$n"
    # All but the last thousand fill the store; what these cost is measured.
    if [ $((n - 1000)) -gt "$made" ]; then
        "${L[@]}" --first "$made" --count $((n - 1000 - made)) create-small >/dev/null
        made=$((n - 1000))
    fi
    run $QUIET "${L[@]}" --first "$made" --count 1000 create-small
    made=$n
    memory rss_mb VmRSS
    run $QUIET "${L[@]}" --count "$n" get-small patch-small page-small watch-one
    echo 5 >"/proc/$pid/clear_refs"
    memory before_list_mb VmRSS
    run $QUIET "${L[@]}" --count "$n" list-pb-small
    memory list_peak_mb VmHWM
done
for n in $WATCHERS; do
    say "seen_by=$n"
    updates=$((n > 1000 ? 20 : 200))
    run $QUIET "${L[@]}" --watchers "$n" --updates "$updates" watch-one watch-pb
done
# A restart with all of it.
kill "$pid"
while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
"$trireme" up --control-planes 1 --workers 0 --loopback --no-controllers --no-scheduler --dir "$work/c" --base-port "$port" >/dev/null 2>&1 || true
grep -ho 'ready after [0-9]* ms' "$host/log/apiserver.log" | tail -n 1 | sed 's/ready after /restart_ready_ms=/; s/ ms//' | tee -a "$raw"
