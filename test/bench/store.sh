#!/bin/bash
# The store against etcd: the same load on three members each, then on one, in one run.
# usage: test/bench/store.sh LOAD_STORE [RAFTSTORE_PROGRAM]
#   SERVERS="etcd ours"   which, in this order       DIR   where data folders go (same disk for both)
#   SECONDS_EACH=10       of each measurement        BIG_KEYS=1000000   state for the restart, 1 KiB each
#   PARTS="three one restart growth"    ROUNDS=1   how often the first two, servers in turn
# Prints every line of the generator into $OUT/raw and a table at the end. Takes some ten minutes; whatever else runs on
# the machine disturbs it, so compare only within a run.
set -u
load=$(realpath "$1")
ours=${2:+$(realpath "$2")}
cd "$(dirname "$0")/../.."
SERVERS=${SERVERS:-"etcd ours"}
PARTS=${PARTS:-"three one restart growth"}
ROUNDS=${ROUNDS:-1}
GROWTH=${GROWTH:-"10000 100000 1000000"}
SECONDS_EACH=${SECONDS_EACH:-10}
BIG_KEYS=${BIG_KEYS:-1000000}
CONNS=${CONNS:-12}
DIR=$(mktemp -d "${DIR:-/var/tmp}/bench-store-XXXXXX")
OUT=${OUT:-$DIR/out}
mkdir -p "$OUT"
raw=$OUT/raw
: >"$raw"
pids=()

stop_all() { # gently, then for good
    local p
    for p in "${pids[@]}"; do kill "$p" 2>/dev/null; done
    for p in "${pids[@]}"; do
        for _ in $(seq 100); do kill -0 "$p" 2>/dev/null || break; sleep 0.1; done
        kill -9 "$p" 2>/dev/null
        wait "$p" 2>/dev/null
    done
    pids=()
}
trap 'stop_all; [ -n "${KEEP:-}" ] || rm -rf "$DIR"' EXIT
trap 'exit 130' INT TERM

free_ports() { # N ports that nobody listens on now
    python3 -c '
import socket, sys
s = [socket.socket() for _ in range(int(sys.argv[1]))]
for x in s: x.bind(("127.0.0.1", 0))
print(*(x.getsockname()[1] for x in s))' "$1"
}

plan() { # MEMBERS: chooses ports
    members=$1
    local all=() i
    read -ra all < <(free_ports $((2 * members)))
    client=("${all[@]:0:members}") peer=("${all[@]:members}")
    cluster="" endpoints=""
    for ((i = 0; i < members; i++)); do
        cluster+="${cluster:+,}m$i=http://127.0.0.1:${peer[i]}"
        endpoints+="${endpoints:+,}127.0.0.1:${client[i]}"
    done
}

start_one() { # SERVER INDEX
    local program=etcd i=$2 state=new
    [ "$1" = etcd ] || program=$ours
    [ -d "$data/m$i" ] && state=existing
    "$program" --name "m$i" --data-dir "$data/m$i" \
        --listen-client-urls "http://127.0.0.1:${client[i]}" --advertise-client-urls "http://127.0.0.1:${client[i]}" \
        --listen-peer-urls "http://127.0.0.1:${peer[i]}" --initial-advertise-peer-urls "http://127.0.0.1:${peer[i]}" \
        --initial-cluster "$cluster" --initial-cluster-token bench --initial-cluster-state "$state" \
        --quota-backend-bytes $((8 << 30)) >>"$data/m$i.log" 2>&1 &
    pids[i]=$!
}

until_ready() { # prints milliseconds
    local from=${1:-$(date +%s%N)} deadline=$((SECONDS + 120))
    until "$load" --endpoints "$endpoints" ready 2>/dev/null; do
        [ $SECONDS -lt $deadline ] || { echo "not ready: see $data" >&2; KEEP=1; exit 1; }
        sleep 0.01
    done
    echo $((($(date +%s%N) - from) / 1000000))
}

start_all() { # SERVER MEMBERS
    plan "$2"
    data=$DIR/$1-$2-$RANDOM
    mkdir -p "$data"
    local i from
    from=$(date +%s%N)
    for ((i = 0; i < members; i++)); do start_one "$1" "$i"; done
    until_ready "$from" >/dev/null
}

measure() { # LABEL generator arguments...
    local label=$1 line
    shift
    while read -r line; do
        echo "$label ${line/mode=put/mode=${mode:-put}}" | tee -a "$raw"
    done < <("$load" --endpoints "$endpoints" --pids "$(IFS=,; echo "${pids[*]}")" --conns "$CONNS" \
        --seconds "$SECONDS_EACH" "$@" 2> >(sed "s/^/$label /" >&2) || echo "mode=failed exit=$?")
}

load_cluster() { # SERVER MEMBERS
    local s=$1 n=$2 tag=$1-$2
    start_all "$s" "$n"
    measure "$tag-idle" --count 1 --sequential --keys 1 put
    measure "$tag-fill" --sequential --keys 100000 --count 100000 put
    measure "$tag-rss" --count 1 --keys 100000 get
    measure "$tag-put" put
    measure "$tag-get" get
    measure "$tag-sget" sget
    measure "$tag-put1" --clients 1 --conns 1 put
    measure "$tag-list" --count 5 list
    measure "$tag-snapshot" --count 3 snapshot
    measure "$tag-mixed-list" --disturb list mixed
    measure "$tag-mixed-snapshot" --disturb snapshot mixed
    # A steady load that both can bear shows what a list costs others, not how the processors are shared out.
    measure "$tag-steady-list" --rate 1000 --disturb list mixed
    measure "$tag-steady-snapshot" --rate 1000 --disturb snapshot mixed
    measure "$tag-watch" --keys 1000 --count 20000 watch
    measure "$tag-watch128" --keys 1000 --count 20000 --value-bytes 128 watch
    stop_all
    rm -rf "$data"
}

restart_cluster() { # SERVER: one member with a big state, after an orderly end and after kill -9
    local s=$1 from
    start_all "$s" 1
    measure "$s-big-fill" --sequential --keys "$BIG_KEYS" --count "$BIG_KEYS" put
    measure "$s-big-rss" --count 1 --keys "$BIG_KEYS" get
    stop_all
    from=$(date +%s%N)
    start_one "$s" 0
    echo "$s-restart mode=restart after=end seconds=$(until_ready "$from" | awk '{ print $1 / 1000 }')" | tee -a "$raw"
    measure "$s-restart-get" --seconds 2 --keys "$BIG_KEYS" get
    measure "$s-restart-put" --count 20000 --keys "$BIG_KEYS" put
    kill -9 "${pids[0]}" && wait "${pids[0]}" 2>/dev/null
    from=$(date +%s%N)
    start_one "$s" 0
    echo "$s-restart9 mode=restart after=kill seconds=$(until_ready "$from" | awk '{ print $1 / 1000 }')" | tee -a "$raw"
    stop_all
    rm -rf "$data"
}

growth() { # SERVER: small values; what a key and a further revision of it cost
    local s=$1 n tag
    for n in $GROWTH; do
        tag=$s-1-growth-$n
        start_all "$s" 1
        mode=start measure "$tag" --count 1 --sequential --keys 1 put
        mode=fill measure "$tag" --value-bytes 64 --sequential --keys "$n" --count "$n" put
        mode=again measure "$tag" --value-bytes 64 --sequential --keys "$n" --count "$n" put
        mode=one measure "$tag" --value-bytes 64 --keys "$n" --clients 1 --conns 1 --seconds 3 put
        mode=some measure "$tag" --value-bytes 64 --keys "$n" --clients 16 --seconds 3 put
        stop_all
        rm -rf "$data"
    done
}

echo "machine: $(nproc) cores, $(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo), Linux $(uname -r), load $(cut -d' ' -f1-3 /proc/loadavg), $(date)" | tee -a "$raw"
for part in $PARTS; do
    case $part in
    three | one)
        for round in $(seq "$ROUNDS"); do
            for s in $SERVERS; do load_cluster "$s" "$([ "$part" = three ] && echo 3 || echo 1)"; done
        done
        ;;
    restart) for s in $SERVERS; do restart_cluster "$s"; done ;;
    growth) [[ " $SERVERS " != *" ours "* ]] || growth ours ;;
    esac
done
echo
test/bench/store_table.py "$raw" | sed "s/{big}/$BIG_KEYS/"
echo "load at the end: $(cut -d' ' -f1-3 /proc/loadavg)" | tee -a "$raw"
