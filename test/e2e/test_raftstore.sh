#!/bin/bash
# The store as a program of its own: three members on loopback under etcdctl; stops,
# kills and restarts; snapshots and migrations between it and etcd, both ways; a
# damaged log, a lost majority, members that come and go; TLS; flags.
. "$(dirname "$0")/lib.sh"
setup raftstore
STORE=$BIN/trireme-raftstore
export ETCDCTL_API=3
if ! command -v etcdctl >/dev/null || ! command -v etcd >/dev/null; then
    echo "left out: etcd-client and etcd-server are not installed"
    echo "0 passed, 0 failed"
    exit 0
fi
cd "$WORK" || exit 1
declare -A PID
stop_all() {
    local n
    for n in "${!PID[@]}"; do kill "${PID[$n]}" 2>/dev/null; done
    for n in "${!PID[@]}"; do wait "${PID[$n]}" 2>/dev/null; unset "PID[$n]"; done
}
clean_up() {
    local n
    for n in "${!PID[@]}"; do kill -9 "${PID[$n]}" 2>/dev/null; done
    if [ "$failed" != 0 ]; then
        echo "--- last lines of the logs"
        tail -n 8 ./*.log 2>/dev/null | cut -c1-300
    fi
    teardown
}
trap clean_up EXIT

url() { echo "http://127.0.0.1:$((PORT + $1))"; }  # port 1-9: clients, 11-19: peers
CLUSTER=m1=$(url 11),m2=$(url 12),m3=$(url 13)
# run NAME NUMBER FLAGS...: starts a member in its folder.
run() {
    local name=$1 n=$2; shift 2
    "$STORE" --name "$name" --data-dir "$WORK/$name" --listen-client-urls "$(url "$n")" \
        --advertise-client-urls "$(url "$n")" --listen-peer-urls "$(url $((n + 10)))" \
        --initial-advertise-peer-urls "$(url $((n + 10)))" "$@" 2>>"$name.log" &
    PID[$name]=$!
}
three() { local n; for n in 1 2 3; do run m$n $n --initial-cluster "$CLUSTER" "$@"; done; }
# run_etcd NAME NUMBER FLAGS...
run_etcd() {
    local name=$1 n=$2; shift 2
    etcd --name "$name" --data-dir "$WORK/$name" --listen-client-urls "$(url "$n")" \
        --advertise-client-urls "$(url "$n")" --listen-peer-urls "$(url $((n + 10)))" \
        --initial-advertise-peer-urls "$(url $((n + 10)))" --initial-cluster "$name=$(url $((n + 10)))" "$@" \
        >"$name.log" 2>&1 &
    PID[$name]=$!
}
end() { kill "-${2:-TERM}" "${PID[$1]}"; wait "${PID[$1]}" 2>/dev/null; unset "PID[$1]"; }
ctl() { etcdctl --endpoints "$ENDPOINTS" --command-timeout 10s --dial-timeout 3s "$@" 2>&1; }
on() { local n=$1; shift; ENDPOINTS=$(url "$n") ctl "$@"; }
all_endpoints() { ENDPOINTS=$(url 1),$(url 2),$(url 3); }
serves() { on "$1" put ready yes; }
leader() { # the number of the member that leads
    local n
    for n in 1 2 3; do
        curl -s --max-time 3 "$(url $n)/metrics" | grep -q '^etcd_server_is_leader 1' && echo $n && return
    done
    return 1
}
equal_hashes() { [ "$(ctl endpoint hashkv | cut -d' ' -f2 | sort -u | wc -l)" = 1 ]; }
rev_of() { on "$1" endpoint status -w json | python3 -c 'import json,sys; print(json.load(sys.stdin)[0]["Status"]["header"]["revision"])'; }
# contents NUMBER REV: every key, value and lease as one text.
contents() { on "$1" get "" --prefix ${2:+--rev $2} -w json | python3 -c '
import json, sys
for kv in json.load(sys.stdin).get("kvs", []):
    print(kv["key"], kv.get("value", ""), kv.get("lease", 0), *([kv["mod_revision"], kv["create_revision"], kv["version"]] if len(sys.argv) > 1 else []))' ${3:-}; }

# --- three members under etcdctl
all_endpoints
three
eventually 20 "three members serve" serves 1
same "put" OK ctl put greeting hello
for n in 1 2 3; do same "get from member $n" $'greeting\nhello' on $n get greeting; done
has "endpoint health" "is healthy" ctl endpoint health
same "three members are listed" 3 sh -c "etcdctl --endpoints $(url 1) member list | grep -c started"
eventually 5 "the members' hashes agree" equal_hashes
has "version" '"etcdcluster":"3.' curl -s "$(url 1)/version"
has "health" '"health":"true"' curl -s "$(url 2)/health"
same "livez" ok curl -s "$(url 3)/livez"
same "readyz" ok curl -s "$(url 3)/readyz"
has "readyz tells its checks" "[+]linearizable_read ok" curl -s "$(url 3)/readyz?verbose"
curl -s "$(url 1)/metrics" >metrics
for m in etcd_server_has_leader etcd_server_is_leader etcd_server_leader_changes_seen_total etcd_server_proposals_committed_total \
    etcd_server_proposals_applied_total etcd_server_proposals_pending etcd_server_proposals_failed_total etcd_server_id \
    etcd_server_version etcd_cluster_version etcd_server_is_learner etcd_server_health_success etcd_server_quota_backend_bytes \
    etcd_disk_wal_fsync_duration_seconds_bucket etcd_mvcc_db_total_size_in_bytes etcd_mvcc_db_total_size_in_use_in_bytes \
    etcd_mvcc_put_total etcd_mvcc_range_total etcd_mvcc_txn_total etcd_network_peer_sent_bytes_total \
    etcd_network_peer_received_bytes_total etcd_network_peer_round_trip_time_seconds_bucket etcd_debugging_mvcc_keys_total etcd_debugging_mvcc_watcher_total \
    grpc_server_started_total grpc_server_handled_total process_resident_memory_bytes process_open_fds; do
    ok "metric $m" grep -q "^$m" metrics
done
ok "handled calls by method" grep -q 'grpc_server_handled_total{grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} [1-9]' metrics

# --- stops, kills, restarts
i=0
while [ $i -lt 200 ]; do printf 'put key-%03d "value %d"\n' $i $i; i=$((i + 1)); [ $((i % 100)) = 0 ] && printf '\n'; done >puts
fill() { # through transactions of a hundred puts
    local part
    for part in 1 2; do
        { printf '\n'; sed -n "$(((part - 1) * 101 + 1)),$((part * 101 - 1))p" puts; printf '\n\n'; } | ctl txn
    done
}
has "transactions of a hundred puts" SUCCESS fill
L=$(leader)
end m"$L"
other=$((L % 3 + 1))
ok "the leader hands over when it is stopped" serves $other
ok "... at once" sh -c "! grep -q 'no leader' m$other.log"
run m"$L" "$L" --initial-cluster "$CLUSTER"
eventually 10 "it comes back" serves "$L"
L=$(leader)
end m"$L" KILL
eventually 10 "the others go on after kill -9 of the leader" serves $((L % 3 + 1))
run m"$L" "$L" --initial-cluster "$CLUSTER"
eventually 10 "it comes back, too" serves "$L"
stop_all
three
eventually 20 "all of them come back" serves 1
same "what was written is there" $'key-150\nvalue 150' on 2 get key-150
eventually 10 "and is the same everywhere" equal_hashes

# --- the leader is moved, a member moves to another address
to=$(($(leader) % 3 + 1))
has "lead" "leads" "$TRIREME" member lead m$to --endpoints "$ENDPOINTS"
same "that member leads" $to leader
has "the one that leads already" "leads" "$TRIREME" member lead m$to --endpoints "$ENDPOINTS"
back=$((to % 3 + 1))
has "the leader is found from any member" "leads" "$TRIREME" member lead m$back --endpoints "$(url $back)"
same "and hands over" $back leader
has "nobody of that name" "no member has the name or id m9" "$TRIREME" member lead m9 --endpoints "$ENDPOINTS"
end m3
has "update wants the new address" "--peer-urls is needed" "$TRIREME" member update m3 --endpoints "$ENDPOINTS"
has "another's address is refused" "already exists" "$TRIREME" member update m3 --peer-urls "$(url 11)" --endpoints "$ENDPOINTS"
has "update" "updated" "$TRIREME" member update m3 --peer-urls "$(url 19)" --endpoints "$ENDPOINTS"
has "the list has the new address" "$(url 19)" "$TRIREME" member list --endpoints "$(url 1)"
on 1 put moved yes >/dev/null
run m3 3 --initial-cluster "${CLUSTER/$(url 13)/$(url 19)}" --listen-peer-urls "$(url 19)" --initial-advertise-peer-urls "$(url 19)"
eventually 10 "it is reached there" serves 3
same "and has what it missed" $'moved\nyes' on 3 get moved
end m3
has "back again" "updated" "$TRIREME" member update m3 --peer-urls "$(url 13)" --endpoints "$ENDPOINTS"
run m3 3 --initial-cluster "$CLUSTER"
eventually 10 "it serves again" serves 3

# --- snapshots: ours to etcd's tools, and back
lease=$(on 1 lease grant 3600 | cut -d' ' -f2)
on 1 put leased x --lease="$lease" >/dev/null
for i in 1 2 3; do on 1 put history "$i" >/dev/null; done
on 1 del key-007 >/dev/null
REV=$(rev_of 1)
has "etcdctl snapshot save" "saved" on 1 snapshot save ours.db
has "trireme snapshot save" "saved" "$TRIREME" snapshot save second.db --endpoints "$(url 2)"
same "both are the same" "" cmp ours.db second.db
status_of() { "$@" -w json | python3 -c 'import json,sys; d=json.load(sys.stdin); print(d["hash"], d["revision"], d["totalKey"])'; }
same "status agrees with etcdctl's" "$(status_of etcdctl snapshot status ours.db)" status_of "$TRIREME" snapshot status ours.db
has "etcdctl restores it" "restored snapshot" etcdctl snapshot restore ours.db --name e1 --data-dir "$WORK/e1" \
    --initial-cluster "e1=$(url 14)" --initial-advertise-peer-urls "$(url 14)"
run_etcd e1 4
eventually 20 "an etcd runs on it" serves 4
same "with every key, value and number" "$(contents 1 "$REV" all)" contents 4 "$REV" all
same "and its history" $'history\n2' on 4 get history --rev $((REV - 2))
has "and its lease" "attached keys([leased])" on 4 lease timetolive "$lease" --keys

# --- an etcd's snapshot restored into three members of ours
for i in 1 2 3 4 5; do on 4 put "etcd-$i" "$i" >/dev/null; done
on 4 user add root:pw >/dev/null; on 4 role add app >/dev/null; on 4 role grant-permission app readwrite a b >/dev/null
on 4 user add bob:pw >/dev/null; on 4 user grant-role bob app >/dev/null
REV=$(rev_of 4)
WANT=$(contents 4 "$REV" all)
has "etcd's snapshot" "saved" on 4 snapshot save etcd.db
end e1
stop_all
for n in 1 2 3; do
    mv m$n old-m$n
    ok "restored as member $n" "$TRIREME" snapshot restore etcd.db --name m$n --data-dir "$WORK/m$n" \
        --initial-cluster "$CLUSTER" --initial-advertise-peer-urls "$(url 1$n)"
done
has "not over existing data" "exists" "$TRIREME" snapshot restore etcd.db --name m1 --data-dir "$WORK/m1" \
    --initial-cluster "$CLUSTER" --initial-advertise-peer-urls "$(url 11)"
three
eventually 20 "three members run on an etcd's snapshot" serves 1
same "with every key, value and number" "$WANT" contents 2 "$REV" all
has "and its lease" "attached keys([leased])" on 3 lease timetolive "$lease" --keys
has "and its users and roles" "Roles: app" on 1 user get bob
eventually 10 "the same on all members" equal_hashes
# Users and roles, enabled, on their way into an etcd.
on 1 user grant-role root root >/dev/null
has "auth is enabled" "Authentication Enabled" on 1 auth enable
has "a snapshot with it" "saved" on 1 --user root:pw snapshot save auth.db
has "etcdctl restores that, too" "restored snapshot" etcdctl snapshot restore auth.db --name e2 --data-dir "$WORK/e2" \
    --initial-cluster "e2=$(url 15)" --initial-advertise-peer-urls "$(url 15)"
run_etcd e2 5
eventually 20 "an etcd asks the same passwords" on 5 --user root:pw get x
has "of everybody" "user name is empty" on 5 get x
has "and refuses others" "invalid user ID or password" on 5 --user bob:no get a
same "a user may what the role may" OK on 5 --user bob:pw put a 1
has "and nothing else" "permission denied" on 5 --user bob:pw put c 1
has "roles came with their permissions" "[a, b)" on 5 --user root:pw role get app
end e2
has "auth is disabled" "Authentication Disabled" on 1 --user root:pw auth disable
head -c $(($(stat -c %s etcd.db) / 2)) etcd.db >cut.db
no "a snapshot that was cut is refused" "$TRIREME" snapshot restore cut.db --data-dir "$WORK/x"
{ head -c 9000 etcd.db; printf 'damage'; tail -c +9007 etcd.db; } >bad.db
has "as is a damaged one" "checksum does not match" "$TRIREME" snapshot restore bad.db --data-dir "$WORK/x"
no "and leaves nothing behind" test -e "$WORK/x"
on 1 snapshot save own.db >/dev/null
has "a bumped restore" "as member m5" "$STORE" snapshot restore own.db --name m5 --data-dir "$WORK/m5" --bump-revision 1000000 --mark-compacted \
    --initial-cluster "m5=$(url 15)" --initial-advertise-peer-urls "$(url 15)"
run m5 5 --initial-cluster "m5=$(url 15)"
eventually 20 "serves" serves 5
ok "from a higher revision on" test "$(rev_of 5)" -gt 1000000
end m5

# --- migration, both ways
rm -rf e1
run_etcd e1 4
eventually 20 "a fresh etcd" on 4 get x
same "etcd is empty" "" contents 4
has "migrate ours to etcd" "sha256 of both sides" "$TRIREME" migrate --from "$(url 1)" --to "$(url 4)"
same "the same keys, values and leases" "$(contents 1)" contents 4
has "a target that holds something is refused" "the target is not empty" "$TRIREME" migrate --from "$(url 1)" --to "$(url 4)"
run m6 6 --initial-cluster "m6=$(url 16)"
eventually 20 "a fresh store" on 6 get x
# As an interrupted migration leaves it: the marker, and the first keys.
CLUSTER_ID=$(on 4 endpoint status -w json | python3 -c 'import json,sys; print("%x" % json.load(sys.stdin)[0]["Status"]["header"]["cluster_id"])')
marker() { printf '\nput "\\x00trireme-migrate" %s\n%s\n\n\n' "\"{\\\"cluster\\\":\\\"$1\\\",\\\"revision\\\":$(rev_of 4)}\"" "put etcd-1 1" | on 6 txn; }
has "a marker" SUCCESS marker "$CLUSTER_ID"
has "migrate etcd to ours goes on where it was interrupted" "sha256 of both sides" "$TRIREME" migrate --from "$(url 4)" --to "$(url 6)"
same "the same keys, values and leases again" "$(contents 4)" contents 6
on 6 del "" --prefix >/dev/null; on 6 lease revoke "$lease" >/dev/null
has "another marker" SUCCESS marker 123abc
has "of another source: refused" "another source" "$TRIREME" migrate --from "$(url 4)" --to "$(url 6)"
has "unless told to begin anew" "sha256 of both sides" "$TRIREME" migrate --from "$(url 4)" --to "$(url 6)" --restart
same "the same once more" "$(contents 4)" contents 6
end e1
end m6

# --- a log that is damaged before its tail
head -c 2000 /dev/zero | tr '\0' x >big
for i in 1 2 3 4 5 6 7 8 9; do on 1 put "big-$i" <big >/dev/null; done
eventually 10 "the members' hashes agree" equal_hashes
end m3
segment=$(ls "$WORK"/m3/log-*.seg | head -n 1)
printf 'damage' | dd of="$segment" bs=1 seek=5000 conv=notrunc 2>/dev/null
timeout 10 "$STORE" --name m3 --data-dir "$WORK/m3" --listen-client-urls "$(url 3)" --advertise-client-urls "$(url 3)" \
    --listen-peer-urls "$(url 13)" --initial-advertise-peer-urls "$(url 13)" --initial-cluster "$CLUSTER" >refused 2>&1
same "a damaged log refuses to start" 1 echo $?
has "it names the file" "log-" cat refused
has "and says what to do" "member remove" cat refused
has "member list" "m3" "$TRIREME" member list --endpoints "$(url 1)"
has "doing it: remove the member" removed "$TRIREME" member remove m3 --endpoints "$(url 1)"
mv m3 damaged-m3
has "add it anew" "--initial-cluster-state existing" "$TRIREME" member add m3 --peer-urls "$(url 13)" --endpoints "$(url 1)"
run m3 3 --initial-cluster "$CLUSTER" --initial-cluster-state existing
eventually 20 "it serves again" serves 3
same "with everything" "$(contents 1)" contents 3
eventually 10 "and agrees with the others" equal_hashes

# --- members come and go
has "a learner" "added" "$TRIREME" member add m4 --learner --peer-urls "$(url 14)" --endpoints "$(url 1)"
run m4 4 --initial-cluster "$CLUSTER,m4=$(url 14)" --initial-cluster-state existing
eventually 20 "is promoted once it has caught up" "$TRIREME" member promote m4 --endpoints "$(url 1)"
eventually 10 "and serves" serves 4
has "remove" removed "$TRIREME" member remove m4 --endpoints "$(url 1)"
gone() { ! kill -0 "${PID[m4]}" 2>/dev/null; }
eventually 15 "the removed member ends by itself" gone
gone || kill -9 "${PID[m4]}"
unset "PID[m4]"

# --- the majority is lost for good
on 1 put last words >/dev/null
eventually 10 "all have it" equal_hashes
end m2 KILL
end m3 KILL
has "recover says that there is no leader" "There is no leader" sh -c "sleep 3; '$TRIREME' member recover --endpoints $(url 1),$(url 2),$(url 3)"
end m1
has "nothing happens without --yes" "nothing was changed" "$TRIREME" member recover --data-dir "$WORK/m1" --peer-urls "$(url 11)"
has "recover" "leads a cluster of its own" "$TRIREME" member recover --data-dir "$WORK/m1" --name m1 --peer-urls "$(url 11)" --yes
run m1 1 --initial-cluster "$CLUSTER"
eventually 10 "it serves alone" serves 1
same "with everything" $'last\nwords' on 1 get last
for n in 2 3; do
    mv m$n lost-m$n
    has "add m$n anew" "added" "$TRIREME" member add m$n --peer-urls "$(url 1$n)" --endpoints "$(url 1)"
    run m$n $n --initial-cluster "$CLUSTER" --initial-cluster-state existing
    eventually 20 "m$n serves" serves $n
done
eventually 10 "three again, and equal" equal_hashes
stop_all

# --- TLS: any certificate of the CA will do
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ca 2>/dev/null
sign() { # NAME
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" 2>/dev/null
    printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n' >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
}
sign member; sign client
surl() { echo "https://127.0.0.1:$((PORT + $1))"; }
SECURE=s1=$(surl 11),s2=$(surl 12),s3=$(surl 13)
for n in 1 2 3; do
    "$STORE" --name s$n --data-dir "$WORK/s$n" --listen-client-urls "$(surl $n)" --advertise-client-urls "$(surl $n)" \
        --listen-peer-urls "$(surl $((n + 35))),$(surl 1$n)" --initial-advertise-peer-urls "$(surl 1$n)" --initial-cluster "$SECURE" \
        --cert-file member.crt --key-file member.key --trusted-ca-file ca.crt --client-cert-auth \
        --peer-cert-file member.crt --peer-key-file member.key --peer-trusted-ca-file ca.crt --peer-client-cert-auth \
        --listen-metrics-urls "$(url 2$n)" 2>>s$n.log &
    PID[s$n]=$!
done
sctl() { etcdctl --endpoints "$(surl 1)" --cacert ca.crt --cert client.crt --key client.key --command-timeout 5s "$@" 2>&1; }
eventually 20 "three members over TLS" sctl put a b
same "all of them" 3 sh -c "etcdctl --endpoints $(surl 1) --cacert ca.crt --cert client.crt --key client.key member list | grep -c https"
no "nobody without a certificate" etcdctl --endpoints "$(surl 1)" --cacert ca.crt --command-timeout 2s get a
has "trireme member list over TLS" s3 "$TRIREME" member list --endpoints "$(surl 2)" --cacert ca.crt --cert client.crt --key client.key
has "metrics without a certificate, where asked for" etcd_server_has_leader curl -s "$(url 21)/metrics"
stop_all

# --- flags, variables, configuration file
has "a flag that is not supported is named" "--discovery" "$STORE" --discovery http://x
has "an unknown one, too" "unknown flag: --nonsense" "$STORE" --nonsense
mkdir -p etcds/member/wal
has "an etcd's directory is left alone" "holds an etcd's data" "$STORE" --data-dir etcds
cat >config.yaml <<YAML
name: c1
data-dir: $WORK/c1
listen-client-urls: $(url 7)
advertise-client-urls: $(url 7)
listen-peer-urls: $(url 17)
initial-advertise-peer-urls: $(url 17)
auto-compaction-mode: revision
auto-compaction-retention: "1000"
YAML
"$STORE" --config-file config.yaml 2>c1.log & PID[c1]=$!
eventually 10 "a configuration file" serves 7
end c1
ETCD_NAME=v1 ETCD_DATA_DIR=$WORK/v1 ETCD_LISTEN_CLIENT_URLS=$(url 8) ETCD_ADVERTISE_CLIENT_URLS=$(url 8) ETCD_LISTEN_PEER_URLS=$(url 18) \
    ETCD_INITIAL_ADVERTISE_PEER_URLS=$(url 18) "$STORE" 2>v1.log & PID[v1]=$!
eventually 10 "variables" serves 8
has "the name of a variable" v1 on 8 member list
end v1

# --- the API server's own store
mkdir k
if "$TRIREME" up --control-planes 1 --workers 0 --loopback --no-scheduler --no-controllers --dir "$WORK/k" --base-port $((PORT + 25)) >up.log 2>&1; then
    "$TRIREME" host stop cp-1 --dir "$WORK/k" >>up.log 2>&1
    pki=$WORK/k/hosts/cp-1/etc/pki
    . "$WORK/k/hosts/cp-1/etc/apiserver.env"
    no "the API server's store is not offered to anybody" "$BIN/trireme-apiserver" $APISERVER_ARGS --etcd-listen-client-urls http://0.0.0.0:$((PORT + 35))
    "$BIN/trireme-apiserver" $APISERVER_ARGS --etcd-listen-client-urls "$(surl 35)" 2>api.log & PID[api]=$!
    actl() { etcdctl --endpoints "$(surl 35)" --cacert "$pki/peer-ca.crt" --cert "$pki/peer.crt" --key "$pki/peer.key" --command-timeout 5s "$@" 2>&1; }
    eventually 20 "the API server's store, through etcd's API" actl endpoint health
    has "shows its objects" /registry/namespaces/default actl get /registry/ --prefix --keys-only
    has "and can be saved" saved actl snapshot save api.db
    no "but not without a member's certificate" etcdctl --endpoints "$(surl 35)" --cacert "$pki/peer-ca.crt" --command-timeout 2s get /registry
    end api
else
    fail "trireme up" "$(cat up.log)"
fi
no "no assertion failed, and no sanitizer complained" grep -E 'Sanitizer|runtime error|assertion' ./*.log
finish
