#!/bin/bash
# The audit log of one API server on loopback: which requests are recorded, and
# what of them.
. "$(dirname "$0")/lib.sh"
setup audit
D=$WORK
cat >"$D/tokens.csv" <<'CSV'
admin-token,admin,1,system:masters
jane-token,jane,2,"devs"
CSV
cat >"$D/policy.yaml" <<'YAML'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, nonResourceURLs: ['/*']}
- {level: Metadata, resources: [{group: '', resources: [secrets]}]}
- {level: RequestResponse, resources: [{group: '', resources: [configmaps]}], omitManagedFields: true}
- {level: None, namespaces: [quiet]}
- {level: Request, omitStages: [ResponseStarted]}
YAML
trap 'stop_server; teardown' EXIT
start_server --audit-policy-file="$D/policy.yaml" --audit-log-path="$D/audit.log" --audit-log-maxsize=1
as() { local user=$1; shift; kubectl --kubeconfig=/dev/null --server="$SERVER" --insecure-skip-tls-verify --token="$user-token" "$@" 2>&1; }
# event FILTER EXPRESSION: of the last event e for which the filter holds
event() {
    sleep 0.2 # The log has a thread of its own.
    python3 - "$D/audit.log" "$1" "$2" <<'PY'
import json, sys
found = [e for e in map(json.loads, open(sys.argv[1])) if eval(sys.argv[2], {"e": e})]
print(eval(sys.argv[3], {"e": found[-1]}) if found else "none")
PY
}
as admin create configmap settings --from-literal=a=b >/dev/null
as admin create secret generic hidden --from-literal=a=b >/dev/null
as admin create namespace quiet >/dev/null
as admin create serviceaccount s -n quiet >/dev/null
as jane get pods >/dev/null
as admin get pods --as=jane --as-group=devs >/dev/null
curl -sk -H 'Authorization: Bearer wrong' -H 'Audit-ID: mine' "$SERVER/api/v1/pods" >/dev/null

CM='e["objectRef"]["resource"] == "configmaps" and e["verb"] == "create"'
same "level, stage and verb" "RequestResponse ResponseComplete create" event "$CM" 'e["level"] + " " + e["stage"] + " " + e["verb"]'
same "who" "admin ['system:masters', 'system:authenticated']" event "$CM" 'e["user"]["username"] + " " + str(e["user"]["groups"])'
same "what" "settings default v1" event "$CM" 'e["objectRef"]["name"] + " " + e["objectRef"]["namespace"] + " " + e["objectRef"]["apiVersion"]'
same "how it ended" "201 allow" event "$CM" 'str(e["responseStatus"]["code"]) + " " + e["annotations"]["authorization.k8s.io/decision"]'
same "what was sent" "{'a': 'b'}" event "$CM" 'e["requestObject"]["data"]'
same "what was answered" "True False" event "$CM" 'str("uid" in e["responseObject"]["metadata"]) + " " + str("managedFields" in e["responseObject"]["metadata"])'
same "from where" "['127.0.0.1']" event "$CM" 'e["sourceIPs"]'
SECRET='e["objectRef"]["resource"] == "secrets"'
same "a secret by its metadata only" "Metadata hidden False" event "$SECRET" 'e["level"] + " " + e["objectRef"]["name"] + " " + str("requestObject" in e)'
same "not what the policy leaves out" none event 'e["objectRef"].get("namespace") == "quiet" and e["objectRef"]["resource"] == "serviceaccounts"' 'e'
same "no paths" none event 'e["requestURI"] == "/api"' 'e'
JANE='e["user"].get("username") == "jane"'
same "a refusal" "403 forbid" event "$JANE" 'str(e["responseStatus"]["code"]) + " " + e["annotations"]["authorization.k8s.io/decision"]'
same "impersonation" "admin jane" event 'e.get("impersonatedUser")' 'e["user"]["username"] + " " + e["impersonatedUser"]["username"]'
same "wrong credentials, under the client's own id" "401 mine" event 'e["auditID"] == "mine"' 'str(e["responseStatus"]["code"]) + " " + e["auditID"]'
timeout 3 kubectl --kubeconfig=/dev/null --server="$SERVER" --insecure-skip-tls-verify --token=admin-token get cm -w >/dev/null 2>&1
same "a watch begins and ends" "['ResponseStarted', 'ResponseComplete']" sh -c "sleep 0.5; python3 -c '
import json
print([e[\"stage\"] for e in map(json.loads, open(\"$D/audit.log\")) if e[\"verb\"] == \"watch\"])'"
for i in $(seq 40); do
    head -c 30000 /dev/zero | tr '\0' x >"$D/big"
    as admin create configmap "big-$i" --from-file="$D/big" >/dev/null
done
ok "rotated" sh -c "sleep 0.5; ls $D/audit-*.log"
stop_server
has "a wrong policy is refused" 'level: "Loud" is not one of' sh -c "
    sed 's/level: Request,/level: Loud,/' '$D/policy.yaml' >'$D/bad.yaml'
    timeout 20 '$BIN/trireme-apiserver' --data-dir '$D/other' --secure-port 0 --audit-policy-file '$D/bad.yaml' --audit-log-path '$D/x.log' 2>&1"
# --- a webhook that events are sent to, in batches
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$D/hook.key" -out "$D/hook.crt" -days 2 \
    -subj /CN=hook -addext subjectAltName=IP:127.0.0.1 2>/dev/null
"$HERE/auth_server.py" "$D/hook.crt" "$D/hook.key" "$D" >"$D/hook.port" &
HOOK_PID=$!
trap 'stop_server; kill "$HOOK_PID"; teardown' EXIT
for _ in $(seq 100); do [ -s "$D/hook.port" ] && break; sleep 0.1; done
cat >"$D/hook.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'https://127.0.0.1:$(cat "$D/hook.port")/audit', certificate-authority: $D/hook.crt}}]
contexts: [{name: c, context: {cluster: c}}]
current-context: c
YAML
SERVER_FLAGS=(--unsafe-no-fsync --audit-policy-file="$D/policy.yaml")
# sent EXPRESSION: of the batches w and the events e that the webhook has got
sent() {
    python3 - "$D/asked.log" "$1" <<'PY'
import json, sys
w = [x["what"] for x in map(json.loads, open(sys.argv[1]))]
e = [x for b in w for x in b["items"]]
print(eval(sys.argv[2]))
PY
}
is() { [ "$(sent "$2")" = "$1" ]; }
start_server --audit-webhook-config-file="$D/hook.kubeconfig" --audit-webhook-batch-max-wait=500ms --audit-webhook-initial-backoff=200ms \
    --audit-webhook-truncate-enabled --audit-webhook-truncate-max-event-size=3000 --audit-log-path="$D/legacy.log" --audit-log-format=legacy
as admin create configmap hooked --from-literal=a=b >/dev/null
eventually 10 "events arrive" is 1 "len([x for x in e if x['objectRef'].get('name') == 'hooked' and x['verb'] == 'create'])"
same "as a list of events" "EventList audit.k8s.io/v1" sent "w[0]['kind'] + ' ' + w[0]['apiVersion']"
same "with the object" b sent "[x for x in e if x['objectRef'].get('name') == 'hooked' and x['verb'] == 'create'][0]['requestObject']['data']['a']"
as admin create configmap large --from-literal=a="$(head -c 5000 /dev/zero | tr '\0' x)" >/dev/null
eventually 10 "a large one comes without its objects" is "true False" \
    "(lambda x: x['annotations']['audit.k8s.io/truncated'] + ' ' + str('requestObject' in x))([x for x in e if x['objectRef'].get('name') == 'large'][0])"
touch "$D/refuse"
as admin create configmap later --from-literal=a=b >/dev/null
sleep 1
rm "$D/refuse"
eventually 10 "what was refused is sent again" is True "any(x['objectRef'].get('name') == 'later' for x in e)"
has "lines of text" 'AUDIT: id=' grep 'uri="/api/v1/namespaces/default/configmaps' "$D/legacy.log"
as admin create configmap last --from-literal=a=b >/dev/null
stop_server
same "nothing is lost at the end" True sent "any(x['objectRef'].get('name') == 'last' for x in e)"
hook=--audit-webhook-config-file=$D/hook.kubeconfig

# --- the modes: what waits, and what fails, when events cannot be stored
printf 'apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, users: [anonymous]}, {level: Metadata, resources: [{group: "", resources: [configmaps]}]}]\n' >"$D/modes.yaml"
SERVER_FLAGS=(--unsafe-no-fsync --audit-policy-file="$D/modes.yaml")
TOKEN=admin-token
MAPS=/api/v1/namespaces/default/configmaps
lines() { [ "$(wc -l <"$D/modes.log")" = "$1" ]; }
kept() { grep -c "\"verb\":\"$1\"" "$D/modes.log"; }
for mode in batch blocking blocking-strict; do
    rm -f "$D/modes.log"
    start_server --audit-log-path="$D/modes.log" --audit-log-mode=$mode
    same "$mode: a list is answered" 200 code GET "$MAPS"
    [ $mode = batch ] || same "$mode: and its events stand there by then" 2 kept list
    same "$mode: an object" 201 code POST "$MAPS" -H 'Content-Type: application/json' -d '{"metadata":{"name":"in-'$mode'"}}'
    [ $mode = batch ] || same "$mode: as recorded" 2 kept create
    eventually 5 "$mode: everything is recorded in the end" lines 4
    start_server --audit-log-path=/dev/full --audit-log-maxsize=0 --audit-log-mode=$mode
    if [ $mode = blocking-strict ]; then
        same "$mode: no disk, no answer" 500 code GET "$MAPS"
        has "$mode: which says why" 'Internal Server Error: "/api/v1/namespaces/default/configmaps": failed to store audit event' cat "$WORK/body"
        same "$mode: nor is anything done" 500 code POST "$MAPS" -H 'Content-Type: application/json' -d '{"metadata":{"name":"unseen"}}'
        has "$mode: it is counted" 'apiserver_audit_requests_rejected_total 2' curl -sk -H "Authorization: Bearer $TOKEN" "$SERVER/metrics"
        same "$mode: what is not recorded is answered" 200 code GET /api/v1/pods
    else
        same "$mode: no disk, but an answer" 200 code GET "$MAPS"
        eventually 5 "$mode: what is lost is counted" sh -c "curl -sk -H 'Authorization: Bearer $TOKEN' '$SERVER/metrics' | grep 'apiserver_audit_error_total{plugin=\"log\"} [1-9]'"
    fi
done
start_server "$hook" --audit-webhook-mode=blocking --audit-webhook-initial-backoff=300ms
same "what was refused has left nothing" 404 code GET "$MAPS/unseen"
same "a webhook is waited for" 200 code GET "$MAPS"
touch "$D/refuse"
begun=$(date +%s%N)
same "also when it refuses" 200 code GET "$MAPS"
ok "for as long as it is tried" [ $((($(date +%s%N) - begun) / 1000000)) -ge 2000 ]
start_server "$hook" --audit-webhook-mode=blocking-strict --audit-webhook-initial-backoff=50ms
same "strictly, nothing goes without it" 500 code GET "$MAPS"
rm "$D/refuse"
same "until it is back" 200 code GET "$MAPS"
touch "$D/refuse"
start_server "$hook" --audit-webhook-mode=blocking
code GET "$MAPS" >"$D/late" & late=$!
eventually 10 "a request waits" sh -c "curl -sk -H 'Authorization: Bearer $TOKEN' '$SERVER/metrics' | grep -q 'apiserver_audit_event_total 1'"
stop_server
ok "and does not keep the server from its end" true
wait $late
rm "$D/refuse"
refuses "a webhook's file that is not there" "--audit-webhook-config-file: " --audit-webhook-config-file="$D/none"
refuses "an unknown mode" 'invalid audit webhook mode later, allowed modes are "batch,blocking,blocking-strict"' "$hook" --audit-webhook-mode=later
refuses "an unknown mode of the log" 'invalid audit log mode x, allowed modes are' --audit-log-path="$D/x" --audit-log-mode=x
refuses "no buffer" "invalid audit batch webhook buffer size 0, must be a positive number" "$hook" --audit-webhook-batch-buffer-size=0
refuses "empty batches" "invalid audit batch webhook max batch size 0, must be a positive number" "$hook" --audit-webhook-batch-max-size=0
refuses "no batches" "invalid audit batch webhook throttle QPS 0, must be a positive number" "$hook" --audit-webhook-batch-throttle-qps=0
refuses "events larger than batches" "invalid audit truncate webhook max batch size 10, must be greater than max event size (102400)" "$hook" --audit-webhook-truncate-max-batch-size=10
refuses "no pause" "--audit-webhook-initial-backoff: must be positive" "$hook" --audit-webhook-initial-backoff=0s
refuses "another version" 'invalid group version, allowed versions are ["audit.k8s.io/v1"]' "$hook" --audit-webhook-version=audit.k8s.io/v2
refuses "a negative size" "--audit-log-maxsize -1 can't be a negative number" --audit-log-path="$D/x" --audit-log-maxsize=-1
refuses "a negative age" "--audit-log-maxage -1" --audit-log-path="$D/x" --audit-log-maxage=-1
refuses "an unknown format" 'invalid audit log format xml, allowed formats are "legacy,json"' --audit-log-path="$D/x" --audit-log-format=xml
refuses "a log that cannot be written" "--audit-log-path: " --audit-log-path="$D/none/x"
SERVER_FLAGS=(--unsafe-no-fsync --audit-policy-file="$D/policy.yaml")
echo 'rules: [{level: Loud}]' >"$D/policy.yaml"
refuses "a policy that is none" "want kind Policy of audit.k8s.io/v1" --audit-log-path="$D/x"
printf 'apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata, nonResourceURLs: [healthz]}]\n' >"$D/policy.yaml"
refuses "a path without a slash" "rules[0]: nonResourceURLs: \"healthz\": non-resource URL rules must begin with a '/' character" --audit-log-path="$D/x"
finish
