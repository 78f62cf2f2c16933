#!/bin/bash
# What somebody who is new does by mistake: wrong words, files and folders, programs killed, things removed by hand. Each is
# told in one line that says what to do, ends with a code that scripts understand, and leaves nothing half done.
. "$(dirname "$0")/lib.sh"
setup first-user

# says NAME CODE TEXT COMMAND...: ends with that code, saying that; in few lines, and in time.
says() {
    local name=$1 want=$2 text=$3 out rc; shift 3
    out=$(timeout $((20 * SLOWDOWN)) "$@" 2>&1 </dev/null)
    rc=$?
    case $rc:$out in
    "$want":*"$text"*) [ "$(wc -l <<<"$out")" -le 3 ] && pass "$name" || fail "$name (many lines)" "$out" ;;
    *) fail "$name" "want $want: $text"$'\n'"got  $rc: $out" ;;
    esac
}

# --- words, figures and addresses
for p in trireme-apiserver trireme-scheduler trireme-controller-manager trireme-kubelet trireme-raftstore; do
    says "$p with a flag that is none" 2 "$p: unknown flag: --nope" "$BIN/$p" --nope
    says "$p with a word" 2 "stray" "$BIN/$p" stray
    says "$p --version" 0 rireme "$BIN/$p" --version
done
says "no verb" 2 'unknown verb "ups"' "$TRIREME" ups
for v in init up down migrate edges simulate; do
    says "$v with a word" 2 "unexpected argument: stray" "$TRIREME" $v stray
done
says "join with nothing" 2 "want --control-plane or --worker, one ADDRESS, --token and --ca-hash" "$TRIREME" join
says "host with nothing" 2 "want what to do and the host's name" "$TRIREME" host
says "delete with nothing" 2 "want -f FILE, or KIND NAME" "$TRIREME" delete

I=$WORK/i
init() {
    "$TRIREME" init --dir "$I/etc" --data-dir "$I/data" --run-dir "$I/run" --log-dir "$I/log" --supervisor=fork --advertise-address 127.0.0.1 \
        --port $((PORT + 20)) --peer-port $((PORT + 21)) --scheduler-port $((PORT + 22)) --controllers-port $((PORT + 23)) --quiet "$@"
}
export -f init
export I PORT TRIREME
# init_says CODE TEXT FLAG...: and nothing is written.
init_says() {
    local want=$1 text=$2; shift 2
    says "init $(cut -c1-40 <<<"$*")" "$want" "$text" bash -c 'init "$@"' - "$@"
    no "writes nothing" test -e "$I"
}
init_says 2 '--advertise-address: "abc" is no IP address' --advertise-address abc
init_says 2 '--advertise-address: "127.0.0.1:80" is no IP address' --advertise-address 127.0.0.1:80
init_says 2 "--advertise-address: 192.0.2.254 is no address of this machine" --advertise-address 192.0.2.254
init_says 2 '--name: "Bad_Name" is no name of a host' --name Bad_Name
init_says 2 '--name: "../x" is no name of a host' --name ../x
init_says 2 '--port: "65536" is no port (1 to 65535)' --port 65536
init_says 2 '--port: "0" is no port' --port 0
init_says 2 "--port and --peer-port are both" --peer-port $((PORT + 20))
init_says 2 "--service-cidr: 10.96.0.0/31: want a range of /8 to /30" --service-cidr 10.96.0.0/31
init_says 2 "--cluster-cidr 10.96.0.0/16 and --service-cidr 10.96.0.0/16 overlap" --cluster-cidr 10.96.0.0/16
init_says 2 "--cluster-cidr: 10.244.0.0/25: want a range of /24 or wider" --cluster-cidr 10.244.0.0/25
init_says 2 '--cluster-dns: "x" is no IP address' --cluster-dns x
init_says 2 '--node-ip: "" is no IP address' --node-ip ''
init_says 2 '--extra-sans: "a b" is no IP address and no DNS name' --extra-sans 'c,a b'
init_says 2 "--apiserver-args: want flags separated by spaces" --apiserver-args '"--v=2"'
init_says 2 "cannot stand in the programs' arguments" --data-dir "$I/with space"
init_says 2 "--bin-dir: cannot run $WORK/trireme-apiserver: No such file or directory" --bin-dir "$WORK"
init_says 2 "--timeout: want a duration of at least 1ms" --timeout=-5s
python3 -m http.server $((PORT + 20)) --bind 127.0.0.1 >/dev/null 2>&1 &
taken=$!
eventually 20 "somebody else on the port" curl -sf "http://127.0.0.1:$((PORT + 20))/"
init_says 2 "--port: cannot listen on 127.0.0.1 port $((PORT + 20)): Address already in use"
kill $taken
wait $taken 2>/dev/null
ok "init without mistakes" init
ok "and once more" init --port $((PORT + 20))
says "with another port then" 2 "--peer-port: this host was made with another, see $I/etc/host.json" bash -c 'init --peer-port 1'
says "a control plane is no worker" 2 "--dir: $I/etc is that of a control plane already" "$TRIREME" join --worker 127.0.0.1:1 --token aaaaaa.bbbbbbbbbbbbbbbb --ca-hash "sha256:$(printf "0%.0s" {1..64})" --dir "$I/etc"
for f in "$I"/run/*.pid; do
    read -r pid _ <"$f"
    kill -9 "$pid"
done

up_says() {
    local want=$1 text=$2; shift 2
    says "up $(cut -c1-40 <<<"$*")" "$want" "$text" "$TRIREME" up --loopback --base-port "$PORT" --dir "$WORK/u" "$@"
    no "makes no cluster" test -e "$WORK/u/cluster.json"
}
up_says 2 "--control-planes: want 1 to 7" --control-planes 0
up_says 2 "--control-planes: want 1 to 7" --control-planes 4294967297
up_says 2 "--workers: want 0 to 64" --workers 4294967296
up_says 2 "--base-port: want 1 to 65000" --base-port 65001
up_says 2 '--host-subnet: "10.231" is not the first three numbers' --host-subnet 10.231
up_says 2 "--timeout: want a duration" --timeout 0
up_says 2 "--dir: give a folder" --dir ''
up_says 2 "cannot stand in the programs' arguments" --dir "$WORK/with space"

# Each program by itself: what is asked of its flags and files before it begins.
api() { "$BIN/trireme-apiserver" --data-dir "$WORK/a" --bind-address 127.0.0.1 --secure-port 0 "$@"; }
sched() { "$BIN/trireme-scheduler" --kubeconfig "$I/etc/scheduler.kubeconfig" --secure-port 0 "$@"; }
manage() { "$BIN/trireme-controller-manager" --kubeconfig "$I/etc/controller-manager.kubeconfig" --secure-port 0 "$@"; }
agent() { "$BIN/trireme-kubelet" --root-dir "$WORK/k" --container-runtime-endpoint "unix://$WORK/none.sock" --port 0 --cgroups-per-qos=false "$@"; }
export -f api sched manage agent
export BIN WORK
program_says() {
    local want=$1 text=$2; shift 2
    says "$(cut -c1-60 <<<"$*")" "$want" "$text" bash -c '"$@"' - "$@"
}
program_says 2 '--bind-address: "abc" is no IP address' api --bind-address abc
program_says 2 "--secure-port: 65536 is no port" api --secure-port 65536
program_says 2 '--bind-address: "abc" is no IP address' sched --bind-address abc
program_says 2 "--secure-port: -1 is no port" sched --secure-port=-1
program_says 2 "--tls-cert-file and --tls-private-key-file go together" sched --tls-cert-file "$0"
program_says 2 "must be greater than zero" sched --leader-elect-lease-duration=0
printf 'apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nparallelism: 3\nparallelism: 4\n' >"$WORK/twice.yaml"
program_says 2 'line 4: key "parallelism" already set in map' sched --config "$WORK/twice.yaml"
program_says 1 "--root-ca-file: open $WORK/none: No such file or directory" manage --root-ca-file "$WORK/none"
program_says 1 "--root-ca-file: $0: no certificate in PEM text" manage --root-ca-file "$0"
program_says 1 "--service-account-private-key-file: $0: no usable key in PEM text" manage --service-account-private-key-file "$0"
program_says 1 "--node-monitor-grace-period and --node-startup-grace-period must be greater" manage --node-monitor-grace-period=-1s
program_says 2 "--address: 'abc' is no IP address" agent --address abc
program_says 2 "--container-runtime-endpoint: 'containerd' is no socket" agent --container-runtime-endpoint containerd
program_says 2 "--hostname-override: 'Bad_Name' is no name of a node" agent --hostname-override Bad_Name
program_says 2 "--cgroup-root: 'pods' does not begin with /" agent --cgroup-root pods
program_says 2 "--sync-frequency must be at least 1ms" agent --sync-frequency=-1s
program_says 1 "--kubeconfig: open $WORK/none: No such file or directory" agent --kubeconfig "$WORK/none"
program_says 1 "--bootstrap-kubeconfig: open $WORK/none: No such file" agent --bootstrap-kubeconfig "$WORK/none" --kubeconfig "$WORK/none2"

# --- another user's cluster
if [ "$(id -u)" = 0 ]; then
    mkdir "$WORK/bin"
    cp "$BIN"/trireme* "$WORK/bin/"
    as_nobody() { setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups "$WORK/bin/trireme" "$@"; }
    export -f as_nobody
    ok "root's cluster on loopback" up "$WORK/r" --loopback
    pid_of() { cut -d' ' -f1 "$WORK/r/hosts/cp-1/run/$1.pid"; }
    says "another user cannot end it" 1 "apiserver of cp-1 (process $(pid_of apiserver)) is another user's" bash -c "as_nobody down --dir '$WORK/r'"
    says "nor kill a host" 1 "is another user's" bash -c "as_nobody host kill cp-1 --dir '$WORK/r'"
    ok "it goes on" kill -0 "$(pid_of apiserver)"
    says "up without root but with workers" 2 "as an ordinary user use --loopback --workers 0" bash -c "as_nobody up --workers 1 --dir '$WORK/bin/x'"
    ok "down" "$TRIREME" down --dir "$WORK/r" --purge
fi

# --- the surroundings of a program: standard descriptors, limits, signals
S=$WORK/s KUBECONFIG_FILE=$WORK/s/kubeconfig
ok "a control plane" up "$S" --loopback
same "HTTP where HTTPS is spoken" "Client sent an HTTP request to an HTTPS server." curl -s "http://127.0.0.1:$PORT/version"
says "standard output closed" 0 "" bash -c "'$TRIREME' get namespaces --kubeconfig '$S/kubeconfig' >&-"
says "standard input closed" 1 "no objects" bash -c "'$TRIREME' apply -f - --kubeconfig '$S/kubeconfig' <&-"
says "standard output full" 1 "error: write standard output: No space left on device" bash -c "'$TRIREME' get namespaces --kubeconfig '$S/kubeconfig' >/dev/full"
same "a reader that goes" "d" bash -c "'$TRIREME' get namespaces -o yaml --kubeconfig '$S/kubeconfig' 2>&1 | head -c 0; echo d"
# What a server says must not land in a file of its data that got the number of its closed standard error.
port=$((PORT + 30))
"$BIN/trireme-apiserver" --bind-address=127.0.0.1 --secure-port=$port --data-dir="$WORK/closed" <&- >&- 2>&- &
closed=$!
eventually 20 "a server without standard descriptors" curl -skf "https://127.0.0.1:$port/readyz"
same "has them on /dev/null" "/dev/null /dev/null /dev/null" bash -c "readlink /proc/$closed/fd/{0,1,2} | xargs"
same "as many files as it may have" "$(ulimit -Hn)" bash -c "prlimit --pid $closed --nofile --output SOFT --noheadings | xargs"
kill -TERM $closed
kill -TERM $closed 2>/dev/null
wait $closed
same "SIGTERM, twice, ends it" "" bash -c "kill -0 $closed 2>/dev/null && echo alive"
ok "down" "$TRIREME" down --dir "$S" --purge

# --- a cluster of namespaces, and what is removed by hand ------------------------------------------------------------------
if [ "$(id -u)" = 0 ]; then
    N=$WORK/n KUBECONFIG_FILE=$WORK/n/kubeconfig
    remains() {
        grep -q "$WORK/n/\|/run/trireme-$PORT/" /proc/mounts || [ -e "/sys/class/net/trb$PORT" ] || [ -e "/run/trireme-$PORT" ] ||
            compgen -G "/sys/fs/cgroup*/trireme-$PORT-*" || compgen -G "/sys/fs/cgroup/*/trireme-$PORT-*" || compgen -G "/run/netns/trireme-$PORT-*"
    }
    ok "a cluster with a node" up "$N" --workers 1
    with_busybox >"$WORK/pod.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: busybox, command: [sleep, "100000"]}]}
YAML
    eventually 60 "service account" k get serviceaccount default
    ok "a pod" k create -f "$WORK/pod.yaml"
    eventually 60 "runs" is pod/p .status.phase Running
    # A worker that joins by mistake: nothing is written, and what is wrong is named.
    read -r _ _ _ address _ token _ hash < <("$TRIREME" token create --dir "$N")
    join_says() {
        local name=$1 want=$2 text=$3; shift 3
        says "join with $name" "$want" "$text" nsenter --net="/run/netns/trireme-$PORT-worker-1" "$TRIREME" join "$@" --dir "$WORK/j/etc" --supervisor=fork \
            --kubelet-dir "$WORK/j/k" --run-dir "$WORK/j/run" --log-dir "$WORK/j/log" --pod-log-dir "$WORK/j/pods" --cni-conf-dir "$WORK/j/cni" --kubelet-port 10350 \
            --cgroup-root "/trireme-$PORT-worker-1" --container-runtime-endpoint "unix://$WORK/none.sock" --timeout 3s --name other \
            --kubelet-args "--service-proxy=false --healthz-port=0"
    }
    join_says "a token that is none" 2 "--token: want the form abcdef.0123456789abcdef" --worker "$address" --token x --ca-hash "$hash"
    join_says "a token unknown there" 1 "--token: the cluster does not know this token" --worker "$address" --token abcdef.0123456789abcdef --ca-hash "$hash"
    join_says "half a hash" 2 '--ca-hash: "sha256:00" is not of the form' --worker "$address" --token "$token" --ca-hash sha256:00
    join_says "another's hash" 1 "--ca-hash: https://$address does not prove" --worker "$address" --token "$token" --ca-hash "sha256:$(printf '0%.0s' {1..64})"
    join_says "a worker's token" 1 "--token: this is a worker's token" --control-plane "$address" --token "$token" --ca-hash "$hash"
    join_says "an address that is none" 2 "is no address of a control-plane host" --worker "$address:1" --token "$token" --ca-hash "$hash"
    join_says "both kinds" 2 "want --control-plane or --worker" --worker --control-plane "$address" --token "$token" --ca-hash "$hash"
    no "nothing is written by any of them" test -e "$WORK/j/etc/host.json"
    join_says "no container runtime" 1 "container runtime is down" --worker "https://$address" --token "$token" --ca-hash "$hash"
    kill -9 "$(cut -d' ' -f1 "$WORK/j/run/kubelet.pid")"
    rm -rf "$WORK/j"
    eventually 60 "worker-1 is Ready" is node/worker-1 '.status.conditions[?(@.type=="Ready")].status' True
    says "join with the name of a node that works" 1 "--name: the cluster has a node worker-1 already" nsenter --net="/run/netns/trireme-$PORT-worker-1" \
        "$TRIREME" join --worker "$address" --token "$token" --ca-hash "$hash" --dir "$WORK/j" --supervisor=none --name worker-1
    says "a token that has run out before it begins" 2 "--ttl: want at least 1s" "$TRIREME" token create --dir "$N" --ttl=-5s
    says "another cluster on its port" 1 "--base-port: $PORT belongs to the cluster in $N; \`trireme down --dir $N\` ends that one" \
        "$TRIREME" up --dir "$WORK/other" --base-port "$PORT"
    ok "which goes on" is pod/p .status.phase Running
    for f in "$N"/hosts/*/run/*.pid; do
        read -r pid _ <"$f"
        kill -9 "$pid"
    done
    no "rm -r of its folder finds mounts" rm -rf "$N"
    no "nor are its files there any more" test -e "$N/cluster.json"
    says "up again tells" 1 "\`trireme down --dir $N\` ends it" "$TRIREME" up --dir "$N" --base-port "$PORT"
    says "down ends what is left" 0 "ending what is left of it" "$TRIREME" down --dir "$N" --purge
    no "no mount, network, cgroup or folder of it is left" remains
    no "nor the folder" test -e "$N"
    says "down once more" 1 "--dir: $N does not exist" "$TRIREME" down --dir "$N"
    "$TRIREME" down --dir "$N" >/dev/null 2>&1 # Where a check above failed.
fi
finish
