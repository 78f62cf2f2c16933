#!/bin/bash
# The API servers under client-go's kinds of load: CPU of all server processes per operation.
# usage: test/bench/api.sh API_LOAD BIN_DIR
#   MEMBERS=3   PODS=5000   SECONDS_EACH=4   CLIENTS=32   CHURN=10000   OUT=FILE keeps the generator's lines
#   PARTS="churn load": what is measured, each on a cluster of its own that nothing was written to before:
#     churn: resident memory after CHURN pods came and went   load: everything else
# Everything on this machine, the generator too; no scheduler, controllers or nodes. Some two minutes.
set -eu
load=$(realpath "$1")
bin=$(realpath "$2")
MEMBERS=${MEMBERS:-3} PODS=${PODS:-5000} SECONDS_EACH=${SECONDS_EACH:-4} CLIENTS=${CLIENTS:-32} CHURN=${CHURN:-10000}
PARTS=${PARTS:-churn load}
work=$(mktemp -d "${DIR:-/var/tmp}/bench-api-XXXXXX")
raw=${OUT:-$work/raw}
: >"$raw"
trireme=$bin/trireme
trap '"$trireme" down --dir "$work/c" --purge >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
join() { local IFS=,; echo "$*"; }
start() {
    local from h port
    port=$(python3 -c 'import random; print(random.randrange(33000, 60000, 50))')
    from=$(date +%s%N)
    "$trireme" up --control-planes "$MEMBERS" --workers 0 --loopback --no-controllers --no-scheduler --dir "$work/c" \
        --base-port "$port" >/dev/null
    echo "members=$MEMBERS up_ms=$((($(date +%s%N) - from) / 1000000))" | tee -a "$raw"
    pids=() configs=()
    for h in "$work"/c/hosts/cp-*; do
        pids+=("$(cut -d' ' -f1 "$h/run/apiserver.pid")")
        configs+=("$(ls "$h"/etc/admin.kubeconfig)")
        grep -ho 'ready after [0-9]* ms' "$h/log/apiserver.log" | sed 's/ready after /ready_ms=/; s/ ms//' | tee -a "$raw"
    done
}
stop() { "$trireme" down --dir "$work/c" --purge >/dev/null; }
run() {
    "$load" --kubeconfigs "$(join "${configs[@]}")" --pids "$(join "${pids[@]}")" --clients "$CLIENTS" \
        --seconds "$SECONDS_EACH" "$@" | sed "s/mode=/mode=${TAG:-}/" | tee -a "$raw"
}
rss() {
    local p
    for p in "${pids[@]}"; do awk -v what="$1" '/^VmRSS/ { printf "%s=%.1f\n", what, $2 / 1024 }' "/proc/$p/status"; done |
        sort -t= -k2 -g | tail -n 1 | tee -a "$raw"
}
for part in $PARTS; do
    start
    rss rss_idle_mb
    run setup
    case $part in
    churn)
        TAG=churn- run --count "$CHURN" create delete
        sleep 10
        rss rss_after_churn_mb
        ;;
    load)
        run --count "$PODS" create get list-pb list-json list-json-fresh patch
        run watch-pb watch-json
        run --count "$PODS" delete
        ;;
    esac
    stop
done
python3 "$(dirname "$0")/api_table.py" "$raw"
