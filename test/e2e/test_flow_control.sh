#!/bin/bash
# Priority and fairness under real overload: one service account floods the server with lists;
# it is queued and refused, while nodes, probes, administrators and others are served. One API
# server on loopback with few seats.
. "$(dirname "$0")/lib.sh"
setup flow
D=$WORK
trap 'stop_flood; stop_server; teardown' EXIT

cat >"$D/tokens.csv" <<'CSV'
admin-token,admin,1,system:masters
jane-token,jane,2,"devs"
node-token,system:node:n1,4,system:nodes
flood-token,system:serviceaccount:default:flood,5,"system:serviceaccounts,system:serviceaccounts:default"
quiet-token,system:serviceaccount:default:quiet,6,"system:serviceaccounts,system:serviceaccounts:default"
CSV
openssl ecparam -name prime256v1 -genkey -noout -out "$D/sa.key" 2>/dev/null
SERVER_FLAGS=(--service-account-signing-key-file="$D/sa.key" --service-account-issuer=https://kubernetes.default.svc)
as() { # USER ARGUMENT...: kubectl with that user's token
    local user=$1; shift
    kubectl --kubeconfig=/dev/null --server="$SERVER" --insecure-skip-tls-verify --token="$user-token" --request-timeout=$((20 * SLOWDOWN))s "$@" 2>&1
}
# ask USER PATH [CURL-ARGS...]: headers and body
ask() { # user "-": without credentials
    local user=$1 path=$2; shift 2
    [ "$user" = - ] || set -- -H "Authorization: Bearer $user-token" "$@"
    curl -sk -i --max-time $((20 * SLOWDOWN)) "$@" "$SERVER$path" | tr -d '\r'
}
header() { grep -i "^$1:" | head -n 1 | sed 's/^[^:]*: *//'; }
uid() { as admin get "$1" "$2" -o 'jsonpath={.metadata.uid}'; }
# metric NAME LABELS: its value, 0 when it is not there
metric() { as admin get --raw /metrics | python3 -c '
import sys
name, want = sys.argv[1], sys.argv[2].split(",")
print(int(sum(float(l.rsplit(" ", 1)[1]) for l in sys.stdin if l.startswith(name + "{") and all(w in l for w in want))))' "$1" "$2"; }
FLOOD_PIDS=''
# flood USER CLIENTS: that many connections, each with up to 100 lists under way, until stopped;
# codes and Retry-After of all answers go to $D/flood.*
flood() {
    local user=$1 i
    for i in $(seq "$2"); do
        curl -sk --http2 -Z --parallel-max 100 -H "Authorization: Bearer $user-token" -H 'Accept: application/json' \
            -w '%{http_code} %header{retry-after}\n' -o /dev/null "$SERVER/api/v1/configmaps?n=[1-1000000]" >"$D/flood.$i" 2>/dev/null &
        FLOOD_PIDS="$FLOOD_PIDS $!"
    done
}
stop_flood() {
    local pid
    for pid in $FLOOD_PIDS; do kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; done
    [ -z "$FLOOD_PIDS" ] || sed -i '$d' "$D"/flood.* # The last line is cut short.
    FLOOD_PIDS=''
}
answers() { cat "$D"/flood.* | grep -c "^$1"; }

start_server --max-requests-inflight=16 --max-mutating-requests-inflight=8
as admin create clusterrole lists --verb=get,list,watch --resource=configmaps >/dev/null
as admin create clusterrolebinding lists --clusterrole=lists --serviceaccount=default:flood --serviceaccount=default:quiet --user=jane >/dev/null
python3 -c '
import json
print(json.dumps({"apiVersion": "v1", "kind": "List", "items": [
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c%d" % i, "namespace": "default"}, "data": {"x": "y" * 2000}}
    for i in range(500)]}))' | as admin create -f - >"$D/created"
same "objects to list" 500 grep -c created "$D/created"
as node create -f - >/dev/null <<'YAML'
{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}
YAML
as node create -f - >/dev/null <<'YAML'
{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "n1", "namespace": "kube-node-lease"}, "spec": {"holderIdentity": "n1", "leaseDurationSeconds": 40}}
YAML

# --- who goes where
headers_of() { # USER PATH: the names of schema and level in the answer's headers
    local out; out=$(ask "$1" "$2")
    echo "$(header x-kubernetes-pf-flowschema-uid <<<"$out") $(header x-kubernetes-pf-prioritylevel-uid <<<"$out")"
}
same "a service account's schema and level" "$(uid flowschema service-accounts) $(uid prioritylevelconfiguration workload-low)" \
    headers_of flood /api/v1/configmaps?limit=1
same "a node's lease" "$(uid flowschema system-node-high) $(uid prioritylevelconfiguration node-high)" \
    headers_of node /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1
same "an administrator" "$(uid flowschema exempt) $(uid prioritylevelconfiguration exempt)" headers_of admin /api/v1/nodes
same "somebody" "$(uid flowschema global-default) $(uid prioritylevelconfiguration global-default)" headers_of jane /api/v1/pods
same "refused answers too" "$(uid flowschema global-default) $(uid prioritylevelconfiguration global-default)" headers_of jane /api/v1/secrets
same "probes" "$(uid flowschema probes) $(uid prioritylevelconfiguration exempt)" headers_of - /livez
same "seats by shares" 10 metric apiserver_flowcontrol_nominal_limit_seats 'priority_level="workload-low"'

# --- overload by one service account
flood flood 5
eventually 20 "the flood is refused" sh -c "cat $D/flood.* | grep -q '^429'"
probe=$(python3 "$HERE/flow_probe.py" "$SERVER" n1 node-token 6 2>"$D/probe.err")
read -r made bad longest <<<"$probe"
if [ "${bad:-1}" = 0 ] && [ "${made:-0}" -ge 12 ]; then
    pass "leases, node status and health went on ($made requests, longest $longest ms)"
else
    fail "leases, node status and health under the flood" "$probe $(cat "$D/probe.err")"
fi
ok "kubectl of an administrator" as admin get nodes n1
has "kubectl creates" created as admin create configmap while-flooded --from-literal=a=b
has "another service account of the same level is served" ConfigMapList ask quiet '/api/v1/namespaces/kube-system/configmaps?limit=1'
has "dump of levels" workload-low as admin get --raw /debug/api_priority_and_fairness/dump_priority_levels
waiting() { as admin get --raw /debug/api_priority_and_fairness/dump_priority_levels | awk -F', *' '$1=="workload-low" {exit !($5 > 0 && $8 > 0)}'; }
eventually 10 "requests wait in the dump" waiting
queues() { as admin get --raw /debug/api_priority_and_fairness/dump_queues | awk -F', *' '$1=="workload-low" && $3 > 0 {n++} END {exit !(n >= 1 && n <= 6)}'; }
eventually 10 "one flow fills no more than its hand of queues" queues
has "dump of requests" system:serviceaccount:default:flood as admin get --raw '/debug/api_priority_and_fairness/dump_requests?includeRequestDetails=1'
sleep 2
stop_flood
served=$(answers 200) refused=$(answers 429) total=$(cat "$D"/flood.* | wc -l)
if [ "$served" -gt $((100 / SLOWDOWN)) ] && [ "$refused" -gt 100 ]; then pass "flood: $total answers, $served served, $refused refused"
else fail "flood" "$total answers, $served served, $refused refused"; fi
same "each refusal says when to come again" "$refused" sh -c "cat $D/flood.* | grep -cE '^429 [0-9]+$'"
same "and nothing else was answered" 0 sh -c "cat $D/flood.* | grep -vcE '^(200|429) '"
idle() { as admin get --raw /debug/api_priority_and_fairness/dump_priority_levels | awk -F', *' '$1=="workload-low" {exit !($5 == 0 && $6 == 0)}'; }
eventually 10 "the queues are empty when the clients are gone" idle
counted() { # A program that sanitizers slow down lets some wait too long: those are refused as well.
    local of='priority_level="workload-low",flow_schema="service-accounts",reason=' full late=0
    full=$(metric apiserver_flowcontrol_rejected_requests_total "$of\"queue-full\"")
    [ "$SLOWDOWN" = 1 ] || late=$(metric apiserver_flowcontrol_rejected_requests_total "$of\"time-out\"")
    echo "$full and $late of $refused"
    [ $((full + late)) -ge "$refused" ]
}
ok "refusals are counted" counted
gone() { [ "$(metric apiserver_flowcontrol_rejected_requests_total 'priority_level="workload-low",reason="time-out"')" -gt 0 ]; }
ok "and those who went away while they waited" gone
ended() { [ "$(metric apiserver_request_terminations_total 'code="429",component="apiserver",group="",resource="configmaps",verb="LIST"')" -ge "$refused" ]; }
ok "also as terminations" ended
same "nobody of node-high was refused" 0 metric apiserver_flowcontrol_rejected_requests_total 'priority_level="node-high"'
same "nor of global-default" 0 metric apiserver_flowcontrol_rejected_requests_total 'priority_level="global-default"'
borrowed() { [ "$(metric apiserver_flowcontrol_current_limit_seats 'priority_level="workload-low"')" -gt 10 ]; }
eventually 25 "the busy level borrowed seats" borrowed

# --- objects in use as soon as they are written
as admin create -f - >/dev/null <<'YAML'
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {name: jane}
spec:
  priorityLevelConfiguration: {name: tiny}
  matchingPrecedence: 500
  distinguisherMethod: {type: ByNamespace}
  rules:
  - subjects: [{kind: User, user: {name: jane}}]
    resourceRules: [{verbs: ["*"], apiGroups: [""], resources: [configmaps], namespaces: ["*"], clusterScope: true}]
YAML
dangling() { as admin get flowschema jane -o 'jsonpath={.status.conditions[?(@.type=="Dangling")].status} {.status.conditions[0].reason}'; }
is() { [ "$(dangling)" = "$1" ]; }
eventually 5 "a schema without its level dangles" is "True NotFound"
same "and is not used" "$(uid flowschema global-default) $(uid prioritylevelconfiguration global-default)" headers_of jane '/api/v1/configmaps?limit=1'
as admin create -f - >/dev/null <<'YAML'
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: {name: tiny}
spec: {type: Limited, limited: {nominalConcurrencyShares: 1, lendablePercent: 0, borrowingLimitPercent: 0, limitResponse: {type: Reject}}}
YAML
eventually 5 "until the level is there" is "False Found"
of_jane() { [ "$(headers_of jane '/api/v1/configmaps?limit=1')" = "$(uid flowschema jane) $(uid prioritylevelconfiguration tiny)" ]; }
eventually 5 "then it is used" of_jane
same "one seat, no borrowing" "1 1 1" echo "$(metric apiserver_flowcontrol_nominal_limit_seats 'priority_level="tiny"')" \
    "$(metric apiserver_flowcontrol_upper_limit_seats 'priority_level="tiny"')" "$(metric apiserver_flowcontrol_current_limit_seats 'priority_level="tiny"')"
rm -f "$D"/flood.*
flood jane 1
eventually 20 "a level that rejects does so at once" sh -c "cat $D/flood.* | grep -q '^429'"
body() { ask jane /api/v1/configmaps | tail -n 1 | grep -q '^Too many requests, please try again later.$'; }
eventually 20 "the body of a refusal" body
stop_flood
no "nothing waited there" grep -q . <<<"$(as admin get --raw /metrics | grep -E 'current_inqueue_requests\{priority_level="tiny".* [1-9]')"
as admin delete prioritylevelconfiguration tiny >/dev/null
eventually 5 "dangles again" is "True NotFound"
same "and goes where it went" "$(uid flowschema global-default) $(uid prioritylevelconfiguration global-default)" headers_of jane '/api/v1/configmaps?limit=1'
forgotten() { ! as admin get --raw /debug/api_priority_and_fairness/dump_priority_levels | grep -q '^tiny'; }
eventually 20 "the level is forgotten when it is empty" forgotten
as admin delete flowschema exempt catch-all >/dev/null
as admin delete prioritylevelconfiguration exempt catch-all >/dev/null
back() { [ -n "$(uid flowschema exempt)" ] && [ -n "$(uid flowschema catch-all)" ] && [ -n "$(uid prioritylevelconfiguration exempt)" ] &&
    [ -n "$(uid prioritylevelconfiguration catch-all)" ]; }
eventually 20 "what is mandatory comes back" back
stop_server

# --- switched off: bounded by the two counts, as before
start_server --enable-priority-and-fairness=false --max-requests-inflight=4 --max-mutating-requests-inflight=2
same "no headers" " " headers_of jane '/api/v1/configmaps?limit=1'
rm -f "$D"/flood.*
flood flood 2
eventually 20 "the flood is refused without it" sh -c "cat $D/flood.* | grep -q '^429 1$'"
ok "masters pass" as admin get nodes n1
stop_flood
stop_server
no "no seats at all" "$BIN/trireme-apiserver" --max-requests-inflight=0 --max-mutating-requests-inflight=0 --data-dir="$D/none"
finish
