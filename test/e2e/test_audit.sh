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
"$BIN/trireme-apiserver" --bind-address=127.0.0.1 --secure-port=0 --data-dir="$D/data" --token-auth-file="$D/tokens.csv" \
    --audit-policy-file="$D/policy.yaml" --audit-log-path="$D/audit.log" --audit-log-maxsize=1 >"$D/log" 2>&1 &
SERVER_PID=$!
trap 'kill "$SERVER_PID" 2>/dev/null; wait "$SERVER_PID" 2>/dev/null; teardown' EXIT
for _ in $(seq 300); do grep -q " ready after " "$D/log" && break; sleep 0.1; done
SERVER=$(grep -o 'https://[0-9.:]*' "$D/log" | head -n 1)
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
kill "$SERVER_PID"; wait "$SERVER_PID" 2>/dev/null
has "a wrong policy is refused" 'level: "Loud" is not one of' sh -c "
    sed 's/level: Request,/level: Loud,/' '$D/policy.yaml' >'$D/bad.yaml'
    timeout 20 '$BIN/trireme-apiserver' --data-dir '$D/other' --secure-port 0 --audit-policy-file '$D/bad.yaml' --audit-log-path '$D/x.log' 2>&1"
finish
