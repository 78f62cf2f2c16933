# lib.sh - what the end-to-end tests share. Sourced by bash scripts.
#
#   setup NAME            a folder of its own in $WORK, a free port in $PORT
#   ok NAME COMMAND...    one check: passes when the command does
#   no NAME COMMAND...    passes when the command fails
#   eventually S NAME COMMAND...  asks again for up to S seconds (times SLOWDOWN)
#   finish                the closing line and the exit code
#
# SLOWDOWN: how many times longer than usual to wait for what takes processor time; test/sanitized.sh sets it.
set -u
SLOWDOWN=${SLOWDOWN:-1}
BIN=${BIN:?the folder of the programs}
TRIREME=$BIN/trireme
passed=0 failed=0
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)

# A base port with room for 40 into $PORT; no other run gets it while this shell lives. See test/ports.py.
take_ports() {
    local folder=${TMPDIR:-/tmp}/trireme-ports base fd i
    mkdir -p "$folder"
    for i in $(seq 1000); do
        base=$((24000 + RANDOM % 160 * 50))
        { exec {fd}>>"$folder/block-$base"; } 2>/dev/null || continue
        if flock -n "$fd" && "$ROOT/test/ports.py" $base; then
            PORT=$base
            return 0
        fi
        exec {fd}>&-
    done
    echo "no free ports (locks are in $folder)" >&2
    exit 1
}

setup() {
    NAME=$1
    WORK=$(mktemp -d "/tmp/trireme-e2e-$NAME-XXXXXX")
    chmod 755 "$WORK"
    take_ports
    trap teardown EXIT
    trap 'exit 130' INT TERM
}
teardown() {
    local file
    for file in "$WORK"/*/cluster.json; do
        [ ! -e "$file" ] || "$TRIREME" down --dir "$(dirname "$file")" >/dev/null 2>&1
    done
    if [ "$failed" != 0 ] && [ -n "${KEEP:-}" ]; then
        echo "kept: $WORK"
    else
        if [ "$failed" != 0 ]; then
            echo "--- last lines of the programs' logs"
            tail -n 15 "$WORK"/*/hosts/*/log/*.log 2>/dev/null | cut -c1-300
        fi
        rm -rf "$WORK"
    fi
}

pass() { passed=$((passed + 1)); echo "  ok    $NAME: $1"; }
fail() {
    failed=$((failed + 1)); echo "  FAIL  $NAME: $1"
    [ -z "${2:-}" ] || printf '%s\n' "$2" | tail -n 20 | sed 's/^/        /'
}
ok() {
    local name=$1 out; shift
    if out=$("$@" 2>&1); then pass "$name"; else fail "$name" "$out"; fi
}
no() {
    local name=$1 out; shift
    if out=$("$@" 2>&1); then fail "$name (succeeded)" "$out"; else pass "$name"; fi
}
eventually() {
    local end=$((SECONDS + $1 * SLOWDOWN)) name=$2 out; shift 2
    while ! out=$("$@" 2>&1); do
        if [ $SECONDS -ge $end ]; then fail "$name" "$out"; return 1; fi
        sleep 0.2
    done
    pass "$name"
}
# same NAME EXPECTED COMMAND...: the output is exactly this.
same() {
    local name=$1 want=$2 out; shift 2
    out=$("$@" 2>&1)
    if [ "$out" = "$want" ]; then pass "$name"; else fail "$name" "want: $want"$'\n'"got:  $out"; fi
}
# has NAME TEXT COMMAND...: the output holds the text.
has() {
    local name=$1 want=$2 out; shift 2
    out=$("$@" 2>&1)
    case $out in *"$want"*) pass "$name" ;; *) fail "$name" "want: $want"$'\n'"got:  $out" ;; esac
}
finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
    exit
}

# up DIR ARGS...: a cluster that is taken down at the end.
up() {
    local dir=$1; shift
    "$TRIREME" up --dir "$dir" --base-port "$PORT" "$@"
}
k() { kubectl --kubeconfig "$KUBECONFIG_FILE" --request-timeout=$((20 * SLOWDOWN))s "$@"; }
# jp OBJECT PATH: a field as text; braces around the path may be left out.
jp() { case $2 in *{*) k get "$1" -o "jsonpath=$2" ;; *) k get "$1" -o "jsonpath={$2}" ;; esac; }
# is OBJECT PATH VALUE; gone KIND NAME; told REASON NAME TEXT: an event about the object says so. For eventually.
is() { [ "$(jp "$1" "$2" 2>&1)" = "$3" ] || { k get "$1" -o yaml; return 1; }; }
gone() { ! k get "$@" >/dev/null 2>&1; }
event() { k get events --field-selector "reason=$1,involvedObject.name=$2" -o 'jsonpath={range .items[*]}{.message}{"\n"}{end}'; }
told() { case $(event "$1" "$2") in *"$3"*) ;; *) k get events --field-selector "involvedObject.name=$2"; return 1 ;; esac; }
# with_busybox: a filter for manifests in flow form: "image: busybox" is the one that each node of a test has.
with_busybox() { sed 's#image: busybox\b#image: docker.io/library/busybox:latest, imagePullPolicy: IfNotPresent#'; }
# code METHOD PATH [CURL-ARGS...]: the HTTP status, body in $WORK/body.
code() {
    local method=$1 path=$2; shift 2
    curl -sk --max-time $((20 * SLOWDOWN)) -o "$WORK/body" -w '%{http_code}' -X "$method" -H "Authorization: Bearer $TOKEN" "$@" "$SERVER$path"
}
# status NAME CODE REASON METHOD PATH [CURL-ARGS...]: code and Status reason.
status() {
    local name=$1 want=$2 reason=$3 got have; shift 3
    got=$(code "$@")
    have=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1])).get("reason",""))' "$WORK/body" 2>/dev/null)
    if [ "$got" = "$want" ] && [ "$have" = "$reason" ]; then pass "$name"; else
        fail "$name" "want $want $reason, got $got $have: $(head -c 400 "$WORK/body")"; fi
}
# An API server alone, on loopback, with its data and log in $D and tokens in $D/tokens.csv.
#   SERVER_FLAGS            what all of a script's servers are started with
#   start_server FLAG...    ends the last one; $SERVER is where the new one answers
SERVER_PID='' SERVER='' SERVER_FLAGS=()
launch_server() {
    "$BIN/trireme-apiserver" --bind-address=127.0.0.1 --secure-port=0 --data-dir="$D/data" --token-auth-file="$D/tokens.csv" \
        "${SERVER_FLAGS[@]}" "$@" >"$D/log" 2>&1 &
    SERVER_PID=$!
}
stop_server() { [ -z "$SERVER_PID" ] || { kill "$SERVER_PID" 2>/dev/null; wait "$SERVER_PID" 2>/dev/null; }; SERVER_PID=''; }
start_server() {
    stop_server
    : >"$D/log" # What the last one said must not be taken for this one's.
    launch_server "$@"
    for _ in $(seq 300); do
        grep -q " ready after " "$D/log" && break
        kill -0 "$SERVER_PID" 2>/dev/null || break
        sleep 0.1
    done
    grep -q " ready after " "$D/log" || fail "start with $*" "$(cat "$D/log")"
    SERVER=$(grep -o 'https://[0-9.:]*' "$D/log" | head -n 1)
}
# refuses NAME TEXT FLAG...: the server does not start, and says why.
refuses() {
    local name=$1 want=$2 rc=0; shift 2
    stop_server
    launch_server "$@"
    wait "$SERVER_PID" || rc=$?
    SERVER_PID=''
    case $rc:$(cat "$D/log") in
    0:*) fail "$name" "it ended well" ;;
    *"$want"*) pass "$name" ;;
    *) fail "$name" "want: $want"$'\n'"got:  $(tail -n 3 "$D/log")" ;;
    esac
}
need_root() {
    if [ "$(id -u)" != 0 ]; then
        echo "left out: $1 needs root (network namespaces, containers)"
        echo "0 passed, 0 failed"
        exit 0
    fi
}
