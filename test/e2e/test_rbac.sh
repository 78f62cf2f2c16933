#!/bin/bash
# Who may do what, asked with kubectl: roles and bindings, what nobody may grant,
# acting as others, node agents, and the reviews. One API server on loopback.
. "$(dirname "$0")/lib.sh"
setup rbac
D=$WORK
trap 'stop_server; teardown' EXIT

cat >"$D/tokens.csv" <<'CSV'
admin-token,admin,1,system:masters
jane-token,jane,2,"devs"
tess-token,tess,3,
node-token,system:node:n1,4,system:nodes
CSV
openssl ecparam -name prime256v1 -genkey -noout -out "$D/sa.key" 2>/dev/null
SERVER_FLAGS=(--service-account-signing-key-file="$D/sa.key" --service-account-issuer=https://kubernetes.default.svc)
# as USER ARGUMENT...: kubectl with that user's token
as() {
    local user=$1; shift
    kubectl --kubeconfig=/dev/null --server="$SERVER" --insecure-skip-tls-verify --token="$user-token" "$@" 2>&1
}
start_server

# --- the roles that a cluster begins with
same "ClusterRoles of 1.36" 69 sh -c "kubectl --kubeconfig=/dev/null --server=$SERVER --insecure-skip-tls-verify --token=admin-token get clusterroles -o name | grep -vc trireme:"
same "marked as built in" "rbac-defaults true" as admin get clusterrole system:basic-user \
    -o 'jsonpath={.metadata.labels.kubernetes\.io/bootstrapping} {.metadata.annotations.rbac\.authorization\.kubernetes\.io/autoupdate}'
same "edit gathers" "true" as admin get clusterrole edit \
    -o 'jsonpath={.aggregationRule.clusterRoleSelectors[0].matchLabels.rbac\.authorization\.k8s\.io/aggregate-to-edit}'
same "roles in kube-system" 6 sh -c "kubectl --kubeconfig=/dev/null --server=$SERVER --insecure-skip-tls-verify --token=admin-token get roles -n kube-system -o name | wc -l"

# --- nothing is allowed until it is granted, and then at once
same "refused in a namespace" 'Error from server (Forbidden): pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"' \
    as jane get pods
same "refused at the cluster scope" 'Error from server (Forbidden): nodes is forbidden: User "jane" cannot list resource "nodes" in API group "" at the cluster scope' \
    as jane get nodes
same "refused of one object" 'Error from server (Forbidden): deployments.apps "x" is forbidden: User "jane" cannot get resource "deployments" in API group "apps" in the namespace "default"' \
    as jane get deployment x
same "refused path" 'Error from server (Forbidden): forbidden: User "jane" cannot get path "/metrics"' as jane get --raw /metrics
as admin create role reader --verb=get,list,watch --resource=pods,pods/log >/dev/null
as admin create rolebinding readers --role=reader --group=devs >/dev/null
same "granted to a group" "No resources found in default namespace." as jane get pods
same "not to others" no as tess auth can-i list pods
same "subresource" yes as jane auth can-i get pods --subresource=log
same "not another subresource" no as jane auth can-i get pods --subresource=status
as admin create role one --verb=get,update --resource=configmaps --resource-name=settings >/dev/null
as admin create rolebinding one --role=one --user=tess >/dev/null
as admin create configmap settings --from-literal=a=b >/dev/null
same "by resource name" b as tess get configmap settings -o 'jsonpath={.data.a}'
same "not another name" no as tess auth can-i get configmap/other
as admin create clusterrole metrics --verb=get --non-resource-url='/metrics,/logs/*' >/dev/null
as admin create clusterrolebinding metrics --clusterrole=metrics --user=jane >/dev/null
has "granted path" "# TYPE" as jane get --raw /metrics
same "path below" yes as jane auth can-i get /logs/a/b
same "path beside" no as jane auth can-i get /logs
as admin delete clusterrolebinding metrics >/dev/null
same "taken away" 'Error from server (Forbidden): forbidden: User "jane" cannot get path "/metrics"' as jane get --raw /metrics
as admin create clusterrolebinding ghost --clusterrole=ghost --user=tess >/dev/null
same "a bound role that is none is told" 'Error from server (Forbidden): secrets is forbidden: User "tess" cannot list resource "secrets" in API group "" in the namespace "default": RBAC: clusterrole.rbac.authorization.k8s.io "ghost" not found' \
    as tess get secrets
as admin delete clusterrolebinding ghost >/dev/null

# --- nobody grants what he does not hold
as admin create clusterrole roles-of-team --verb=create,get,list,update,patch,delete --resource=roles,rolebindings.rbac.authorization.k8s.io >/dev/null
as admin create rolebinding jane-roles --clusterrole=roles-of-team --user=jane >/dev/null
ok "grants what she holds" as jane create role mine --verb=get,list --resource=pods
same "does not grant more" "Error from server (Forbidden): roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"jane\" (groups=[\"devs\" \"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:
{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}
{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"delete\"]}" \
    as jane create role more --verb=get,delete --resource=pods,secrets
has "does not bind more" 'is attempting to grant RBAC permissions not currently held:' as jane create rolebinding up --clusterrole=cluster-admin --user=jane
has "does not bind what is not there" 'clusterrole.rbac.authorization.k8s.io "nowhere" not found' as jane create rolebinding up --clusterrole=nowhere --user=jane
as admin create clusterrole binders --verb=bind --resource=clusterroles --resource-name=view >/dev/null
as admin create rolebinding jane-binds --clusterrole=binders --user=jane >/dev/null
ok "binds by the verb bind" as jane create rolebinding up --clusterrole=view --user=tess

# --- nor has a policy read what he may not read
as admin create clusterrole policies --verb=create,get,patch --resource=validatingadmissionpolicies.admissionregistration.k8s.io,validatingadmissionpolicybindings.admissionregistration.k8s.io >/dev/null
as admin create clusterrolebinding jane-policies --clusterrole=policies --user=jane >/dev/null
printf '%s' '{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicy","metadata":{"name":"reads"},"spec":{"paramKind":{"apiVersion":"v1","kind":"Secret"},"matchConstraints":{"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["pods"]}]},"validations":[{"expression":"true"}]}}' >"$D/policy.json"
printf '%s' '{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicyBinding","metadata":{"name":"reads"},"spec":{"policyName":"reads","validationActions":["Deny"],"paramRef":{"name":"s","namespace":"default","parameterNotFoundAction":"Allow"}}}' >"$D/binding.json"
has "no policy of what she may not read" 'must have "get" permission on all objects of the referenced paramKind (kind=Secret, apiVersion=v1)' as jane create -f "$D/policy.json"
ok "the administrator makes it" as admin create -f "$D/policy.json"
has "no binding either" 'does not have "get" permission on the object referenced by paramRef' as jane create -f "$D/binding.json"
as admin create role one-secret --verb=get --resource=secrets --resource-name=s >/dev/null
as admin create rolebinding jane-secret --role=one-secret --user=jane >/dev/null
ok "one to what she may read" as jane create -f "$D/binding.json"

# --- as somebody else
same "may not act as another" 'Error from server (Forbidden): pods is forbidden: User "tess" cannot impersonate-on:user-info:list resource "pods" in API group "" in the namespace "default"' \
    as tess get pods --as=jane
as admin create clusterrole actor --verb=impersonate --resource=users --resource-name=jane >/dev/null
as admin create clusterrolebinding actor --clusterrole=actor --user=tess >/dev/null
same "may with the verb impersonate" jane as tess auth whoami --as=jane -o 'jsonpath={.status.userInfo.username}'
same "but not with a group" 'Error from server (Forbidden): pods is forbidden: User "tess" cannot impersonate-on:user-info:list resource "pods" in API group "" in the namespace "default"' \
    as tess get pods --as=jane --as-group=devs
has "not without a user" 'without impersonating a user name' curl -sk -H 'Authorization: Bearer admin-token' -H 'Impersonate-Group: g' "$SERVER/api"
same "an administrator as anybody" '["x","system:authenticated"]' as admin auth whoami --as=u --as-group=x -o 'jsonpath={.status.userInfo.groups}'

# --- reviews and tokens
same "can-i lists" 1 sh -c "kubectl --kubeconfig=/dev/null --server=$SERVER --insecure-skip-tls-verify --token=jane-token auth can-i --list | grep -c '^pods/log '"
as admin create serviceaccount bot >/dev/null
as admin create rolebinding bot --clusterrole=view --serviceaccount=default:bot >/dev/null
TOKEN=$(as admin create token bot --duration=1h)
bot() { kubectl --kubeconfig=/dev/null --server="$SERVER" --insecure-skip-tls-verify --token="$TOKEN" "$@" 2>&1; }
same "a token of a service account" system:serviceaccount:default:bot bot auth whoami -o 'jsonpath={.status.userInfo.username}'
same "reads the issuer's keys" 1 sh -c "kubectl --kubeconfig=/dev/null --server=$SERVER --insecure-skip-tls-verify --token=$TOKEN get --raw /openid/v1/jwks | grep -c ES256"
has "and its configuration" '"issuer":"https://kubernetes.default.svc"' bot get --raw /.well-known/openid-configuration
cat >"$D/review.json" <<'JSON'
{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"user":"jane","groups":["devs"],"resourceAttributes":{"namespace":"default","verb":"list","resource":"pods"}}}
JSON
same "a review tells why" 'RBAC: allowed by RoleBinding "readers/default" of Role "reader" to Group "devs"' \
    as admin create --validate=false -f "$D/review.json" -o 'jsonpath={.status.reason}'

# --- a node and what runs on it
cat >"$D/objects.yaml" <<'YAML'
apiVersion: v1
kind: Secret
metadata: {name: used}
---
apiVersion: v1
kind: Secret
metadata: {name: unused}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  nodeName: n1
  serviceAccountName: bot
  containers: [{name: c, image: i}]
  volumes: [{name: v, secret: {secretName: used}}]
YAML
as admin create serviceaccount default >/dev/null
as admin apply -f "$D/objects.yaml" >/dev/null
same "a node reads a secret of its pod" used as node get secret used -o 'jsonpath={.metadata.name}'
same "no other" "Error from server (Forbidden): secrets \"unused\" is forbidden: User \"system:node:n1\" cannot get resource \"secrets\" in API group \"\" in the namespace \"default\": no relationship found between node 'n1' and this object" \
    as node get secret unused
has "not all of them" 'No Object name found' as node get secrets
same "its own pods" pod/p as node get pods --field-selector spec.nodeName=n1 -o name
has "all pods, to enforce policies that name them" 'Pending' as node get pods
# Where nodes are not to enforce network policies, they need not see other nodes' pods.
as admin annotate clusterrolebinding trireme:node-network-policies rbac.authorization.kubernetes.io/autoupdate=false --overwrite >/dev/null
as admin patch clusterrolebinding trireme:node-network-policies --type=json -p '[{"op":"remove","path":"/subjects/0"}]' >/dev/null
has "not everybody's without that right" 'can only list/watch pods with spec.nodeName field selector' as node get pods
same "its own still" pod/p as node get pods --field-selector spec.nodeName=n1 -o name
has "not another node's lease" "can only access node lease with the same name as the requesting node" as node get lease n2 -n kube-node-lease
has "no taints for itself" 'is not allowed to modify taints' sh -c "
    echo '{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\"}}' | kubectl --kubeconfig=/dev/null --server=$SERVER --insecure-skip-tls-verify --token=node-token create --validate=false -f - >/dev/null
    kubectl --kubeconfig=/dev/null --server=$SERVER --insecure-skip-tls-verify --token=node-token patch node n1 -p '{\"spec\":{\"taints\":[{\"key\":\"a\",\"effect\":\"NoSchedule\"}]}}' 2>&1"
has "no labels that steer pods" 'is not allowed to modify labels: node-restriction.kubernetes.io/x' as node label node n1 node-restriction.kubernetes.io/x=y
has "no pods but mirrors" 'can only create mirror pods' as node run q --image=i
has "no token without a pod" 'node requested token not bound to a pod' as node create token bot
as admin delete pod p --force >/dev/null
has "no longer once the pod is gone" 'no relationship found' as node get secret used

# --- devices: whose claims a node reads, whose slices it writes
slice() { # slice NAME NODE
    printf '%s\n' --- "{apiVersion: resource.k8s.io/v1, kind: ResourceSlice, metadata: {name: $1}, spec: {driver: d.example.com, nodeName: $2, pool: {name: $2, generation: 1, resourceSliceCount: 1}, devices: []}}"
}
slice s1 n1 >"$D/s1.yaml"
slice s2 n2 >"$D/s2.yaml"
ok "a node writes its slices" as node create --validate=false -f "$D/s1.yaml"
has "no other node's" 'can only create ResourceSlice with the same NodeName as the requesting node' as node create --validate=false -f "$D/s2.yaml"
as admin create -f "$D/s2.yaml" >/dev/null
ok "it changes its own" as node patch resourceslice s1 --type=merge -p '{"spec":{"pool":{"generation":2}}}'
has "no other's" "no relationship found between node 'n1' and this object" as node patch resourceslice s2 --type=merge -p '{"spec":{"pool":{"generation":2}}}'
has "does not read it either" "no relationship found between node 'n1' and this object" as node get resourceslice s2
has "does not delete it" "no relationship found between node 'n1' and this object" as node delete resourceslice s2
has "does not list all" 'can only list/watch/deletecollection resourceslices with nodeName field selector' as node get resourceslices
same "lists its own" resourceslice.resource.k8s.io/s1 as node get resourceslices --field-selector spec.nodeName=n1 -o name
has "does not move its own away" 'field is immutable' as node patch resourceslice s1 --type=merge -p '{"spec":{"nodeName":"n2"}}'
ok "deletes its own" as node delete resourceslice s1
cat >"$D/claims.yaml" <<'YAML'
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: mine}
spec: {devices: {requests: [{name: r, exactly: {deviceClassName: gpu}}]}}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: not-mine}
spec: {devices: {requests: [{name: r, exactly: {deviceClassName: gpu}}]}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: driver}
---
apiVersion: v1
kind: Pod
metadata: {name: driver}
spec:
  nodeName: n1
  serviceAccountName: driver
  containers: [{name: c, image: i}]
  resourceClaims: [{name: g, resourceClaimName: mine}]
YAML
as admin apply -f "$D/claims.yaml" >/dev/null
same "a node reads a claim of its pod" mine as node get resourceclaim mine -o 'jsonpath={.metadata.name}'
has "no other" "no relationship found between node 'n1' and this object" as node get resourceclaim not-mine
has "not all of them" 'can only get individual resources of this type' as node get resourceclaims
has "and writes none" "can only get individual resources of this type" as node patch resourceclaim mine --type=merge -p '{"metadata":{"labels":{"a":"b"}}}'

# --- who may write what in a claim's status
# status USER CLAIM JSON: a merge patch of it
status() { as "$1" patch resourceclaim "$2" --subresource=status --type=merge -p "{\"status\":$3}"; }
given() { echo "{\"allocation\":{\"devices\":{\"results\":[{\"request\":\"r\",\"driver\":\"d.example.com\",\"pool\":\"$1\",\"device\":\"x\"}]},\"nodeSelector\":{\"nodeSelectorTerms\":[{\"matchFields\":[{\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":[\"$1\"]}]}]}}}"; }
said() { echo "{\"devices\":[{\"driver\":\"d.example.com\",\"pool\":\"$1\",\"device\":\"x\",\"networkData\":{\"interfaceName\":\"$2\"}}]}"; }
as admin create role claims --verb=get,patch,update --resource=resourceclaims.resource.k8s.io,resourceclaims.resource.k8s.io/status >/dev/null
as admin create rolebinding claims --role=claims --user=tess --serviceaccount=default:driver >/dev/null
same "the right to status does not give devices" "The ResourceClaim \"mine\" is invalid: status: Forbidden: changing status.allocation or status.reservedFor requires resource=\"resourceclaims/binding\", verb=\"patch\" permission: resourceclaims.resource.k8s.io is forbidden: User \"tess\" cannot patch resource \"resourceclaims/binding\" in API group \"resource.k8s.io\" at the cluster scope" \
    status tess mine "$(given n1)"
as admin create role claim-binders --verb=patch --resource=resourceclaims.resource.k8s.io/binding >/dev/null
as admin create rolebinding claim-binders --role=claim-binders --user=tess >/dev/null
has "nor does a right in its namespace" 'at the cluster scope' status tess mine "$(given n1)"
as admin create clusterrole claim-binders --verb=patch --resource=resourceclaims.resource.k8s.io/binding >/dev/null
as admin create clusterrolebinding claim-binders --clusterrole=claim-binders --user=tess >/dev/null
ok "a right in the cluster does" status tess mine "$(given n1)"
ok "for every claim" status tess not-mine "$(given n2)"
as admin get resourceclaim mine -o json >"$D/mine.json"
sed -i '/"status": {/,$d' "$D/mine.json"
echo '"status": {}}' >>"$D/mine.json"
has "the right is one verb's" 'verb="update" permission' as tess replace --subresource=status --validate=false -f "$D/mine.json"
same "a device's state is its driver's to tell" "The ResourceClaim \"mine\" is invalid: status.devices: Forbidden: changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[arbitrary-node:patch]\" permission: resourceclaims.resource.k8s.io \"d.example.com\" is forbidden: User \"tess\" cannot arbitrary-node:patch resource \"resourceclaims/driver\" in API group \"resource.k8s.io\" in the namespace \"default\"" \
    status tess mine "$(said n1 eth0)"
cat >"$D/driver-role.yaml" <<'YAML'
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: everywhere}
rules: [{apiGroups: [resource.k8s.io], resources: [resourceclaims/driver], verbs: ["arbitrary-node:patch"], resourceNames: [d.example.com]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: own-node}
rules: [{apiGroups: [resource.k8s.io], resources: [resourceclaims/driver], verbs: ["associated-node:patch"], resourceNames: [d.example.com]}]
YAML
as admin apply -f "$D/driver-role.yaml" >/dev/null
as admin create rolebinding everywhere --role=everywhere --user=tess >/dev/null
as admin create rolebinding own-node --role=own-node --serviceaccount=default:driver >/dev/null
ok "with that right it is told" status tess mine "$(said n1 eth0)"
pod_uid=$(as admin get pod driver -o 'jsonpath={.metadata.uid}')
TOKEN=$(as admin create token driver --bound-object-kind=Pod --bound-object-name=driver --bound-object-uid="$pod_uid")
driver() { kubectl --kubeconfig=/dev/null --server="$SERVER" --insecure-skip-tls-verify --token="$TOKEN" "$@" 2>&1; }
driver_status() { driver patch resourceclaim "$1" --subresource=status --type=merge -p "{\"status\":$2}"; }
ok "a driver's pod tells of devices of its node" driver_status mine "$(said n1 eth1)"
ok "and takes it back" driver_status mine '{"devices":null}'
has "not of another node's" 'verb="[arbitrary-node:patch]" permission' driver_status not-mine "$(said n2 eth1)"
has "nor does it say who uses them" 'resource="resourceclaims/binding"' driver_status mine '{"reservedFor":[{"resource":"pods","name":"p","uid":"u"}]}'
TOKEN=$(as admin create token driver)
has "without a node in its token it is nowhere" 'verb="[arbitrary-node:patch]" permission' driver_status mine "$(said n1 eth1)"
as admin delete pod driver --force >/dev/null
same "the claims' controller may bind" yes as admin auth can-i patch resourceclaims.resource.k8s.io --subresource=binding --as=system:serviceaccount:kube-system:resource-claim-controller
same "the scheduler may bind" yes as admin auth can-i update resourceclaims.resource.k8s.io --subresource=binding --as=system:kube-scheduler
same "nobody else" no as jane auth can-i update resourceclaims.resource.k8s.io --subresource=binding

# --- what the server says of itself, to those who monitor
has "flags are not everybody's" 'cannot get path "/flagz"' as jane get --raw /flagz
as admin create clusterrolebinding watchers --clusterrole=system:monitoring --user=tess >/dev/null
has "who monitors sees them" "service-account-issuer=[https://kubernetes.default.svc]" as tess get --raw /flagz
has "and what runs" "Binary version: 1.36" as tess get --raw /statusz
page() { curl -sk -H "Authorization: Bearer tess-token" -H "Accept: $2" "$SERVER/$1"; }
has "as JSON" '{"kind":"Statusz","apiVersion":"config.k8s.io/v1beta1","metadata":{"name":"kube-apiserver"},"startTime":' \
    page statusz 'application/json;v=v1beta1;g=config.k8s.io;as=Statusz'
has "flags too" '"secure-port":' page flagz 'application/json;v=v1beta1;g=config.k8s.io;as=Flagz'
has "not in other forms" 'only these media types are accepted' page flagz 'application/json'
as admin delete clusterrolebinding watchers >/dev/null

# --- built-in roles are kept whole
as admin delete clusterrole system:basic-user >/dev/null
as admin patch clusterrolebinding system:discovery --type=json -p '[{"op":"remove","path":"/subjects/0"}]' >/dev/null
as admin annotate clusterrolebinding system:monitoring rbac.authorization.kubernetes.io/autoupdate=false --overwrite >/dev/null
as admin patch clusterrolebinding system:monitoring --type=json -p '[{"op":"remove","path":"/subjects/0"}]' >/dev/null
stop_server
start_server
same "a deleted role is back" system:basic-user as admin get clusterrole system:basic-user -o 'jsonpath={.metadata.name}'
same "a removed subject is back" system:authenticated as admin get clusterrolebinding system:discovery -o 'jsonpath={.subjects[0].name}'
same "but where asked not to" "" as admin get clusterrolebinding system:monitoring -o 'jsonpath={.subjects[0].name}'
same "rights are known after a restart" "No resources found in default namespace." as jane get pods

# --- other ways to decide
stop_server
start_server --authorization-mode=AlwaysDeny --anonymous-auth=false
has "AlwaysDeny" 'cannot list resource \"pods\" in API group \"\" in the namespace \"default\": Everything is forbidden.' \
    curl -sk -H 'Authorization: Bearer jane-token' "$SERVER/api/v1/namespaces/default/pods"
same "but administrators" "No resources found in default namespace." as admin get pods
same "no anonymous requests" 401 curl -sk -o /dev/null -w '%{http_code}' "$SERVER/version"
stop_server
start_server --authorization-mode=AlwaysAllow
same "AlwaysAllow" "No resources found in default namespace." as tess get pods
stop_server

# --- client certificates, and a front proxy that speaks for its users
ca() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$D/$1.key" -out "$D/$1.crt" -days 2 -subj "/CN=$1" 2>/dev/null; }
cert() { # CA NAME SUBJECT
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$D/$2.key" -out "$D/$2.csr" -subj "$3" 2>/dev/null
    printf 'extendedKeyUsage=clientAuth\n' >"$D/$2.ext"
    openssl x509 -req -in "$D/$2.csr" -CA "$D/$1.crt" -CAkey "$D/$1.key" -CAcreateserial -days 1 -extfile "$D/$2.ext" -out "$D/$2.crt" 2>/dev/null
}
ca users; ca proxies; cert users ann /O=devs/O=ops/CN=ann; cert proxies front /CN=front; cert proxies other /CN=other
start_server --client-ca-file="$D/users.crt" --requestheader-client-ca-file="$D/proxies.crt" --requestheader-allowed-names=front \
    --requestheader-uid-headers=X-Remote-Uid
who() { # CURL-ARGUMENT...: the SelfSubjectReview's user
    curl -sk -X POST -H 'Content-Type: application/json' "$@" "$SERVER/apis/authentication.k8s.io/v1/selfsubjectreviews" \
        -d '{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}' |
        python3 -c 'import json, sys; u = json.load(sys.stdin); s = u["status"]; u = s["userInfo"] if isinstance(s, dict) else u; u.get("extra", {}).pop("authentication.kubernetes.io/credential-id", 0); print(u.get("username", u.get("code")), u.get("uid", ""), u.get("groups", ""), u.get("extra") or "")'
}
same "a certificate" "ann  ['devs', 'ops', 'system:authenticated'] " who --cert "$D/ann.crt" --key "$D/ann.key"
same "a proxy's user" "eve u7 ['g1', 'g2', 'system:authenticated'] {'acme.com/team': ['x', 'y']}" who --cert "$D/front.crt" --key "$D/front.key" \
    -H 'X-Remote-User: eve' -H 'X-Remote-Uid: u7' -H 'X-Remote-Group: g1' -H 'X-Remote-Group: g2' \
    -H 'X-Remote-Extra-Acme.com%2fteam: x' -H 'X-Remote-Extra-Acme.com%2fteam: y'
same "not of another proxy" "401   " who --cert "$D/other.crt" --key "$D/other.key" -H 'X-Remote-User: eve'
same "nor of a user" "ann  ['devs', 'ops', 'system:authenticated'] " who --cert "$D/ann.crt" --key "$D/ann.key" -H 'X-Remote-User: eve'
stop_server
has "an unknown mode" '"Nonsense" is not one of' sh -c "timeout 20 '$BIN/trireme-apiserver' --data-dir '$D/other' --secure-port 0 --authorization-mode=Node,Nonsense 2>&1"
finish
