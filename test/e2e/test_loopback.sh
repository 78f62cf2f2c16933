#!/bin/bash
# One control plane on loopback, as an ordinary user: start, objects, bad
# input, wrong credentials, kill -9 and restart.
. "$(dirname "$0")/lib.sh"
setup loopback
D=$WORK/c
USER_RUN=() BIN_USER=$BIN
if [ "$(id -u)" = 0 ]; then
    # An ordinary user cannot read a root-owned checkout: run from a copy.
    mkdir "$WORK/bin" "$D"
    cp "$BIN"/trireme* "$WORK/bin/"
    chown -R nobody "$D"
    USER_RUN=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups env HOME="$D")
    BIN_USER=$WORK/bin
    TRIREME=$WORK/bin/trireme
fi
ok "up as an ordinary user" "${USER_RUN[@]}" "$TRIREME" up --control-planes 1 --workers 0 --loopback --dir "$D" --base-port "$PORT"
KUBECONFIG_FILE=$D/kubeconfig
SERVER=https://127.0.0.1:$PORT
TOKEN=$("$TRIREME" token --dir "$D")
J='Content-Type: application/json'

ok "readyz" test "$(code GET /readyz)" = 200
has "kubectl version" "v1.36" k version
has "api-resources" "deployments" k api-resources
eventually 20 "default service account" k get serviceaccount default -n default

# --- the server's own Lease, and one of a server that is no more
identities() { k get lease -n kube-system -l apiserver.kubernetes.io/identity=kube-apiserver -o "jsonpath={range .items[*]}{.metadata.name} {.spec.leaseDurationSeconds}{end}"; }
identity_is() { [[ $(identities) =~ ^apiserver-[a-z2-7]{26}\ 3600$ ]]; }
eventually 10 "the API server's Lease" identity_is
cat >"$WORK/gone.yaml" <<'YAML'
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: apiserver-gone, namespace: kube-system, labels: {apiserver.kubernetes.io/identity: kube-apiserver}}
spec: {holderIdentity: x, leaseDurationSeconds: 3600, renewTime: "2020-01-01T00:00:00.000000Z"}
YAML
same "another, run out" "lease.coordination.k8s.io/apiserver-gone created" k create -f "$WORK/gone.yaml"
eventually 30 "and is removed" identity_is

# --- objects through kubectl
cat >"$WORK/cm.yaml" <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {app: a}}
data: {color: blue, text: "line one\nline two\n"}
YAML
same "apply creates" "configmap/settings created" k apply -f "$WORK/cm.yaml"
same "apply again changes nothing" "configmap/settings unchanged" k apply -f "$WORK/cm.yaml"
sed -i s/blue/red/ "$WORK/cm.yaml"
same "apply configures" "configmap/settings configured" k apply -f "$WORK/cm.yaml"
same "get by jsonpath" red k get cm settings -o 'jsonpath={.data.color}'
same "label" "configmap/settings labeled" k label cm settings tier=x
same "annotate" "configmap/settings annotated" k annotate cm settings note=y
same "select by label" "configmap/settings" k get cm -l tier=x -o name
same "select by set" "configmap/settings" k get cm -l 'tier in (x,z),app' -o name
has "describe" "color:" k describe cm settings
same "secret" "secret/s created" k create secret generic s --from-literal=a=b
same "secret value" "Yg==" k get secret s -o 'jsonpath={.data.a}'
same "namespace" "namespace/team created" k create namespace team
same "patch" "configmap/settings patched" k patch cm settings --type merge -p '{"data":{"color":"green"}}'
EDITOR="sed -i s/green/yellow/" same "edit" "configmap/settings edited" env EDITOR="sed -i s/green/yellow/" kubectl --kubeconfig "$KUBECONFIG_FILE" edit cm settings
same "delete" 'configmap "settings" deleted' k delete cm settings
has "gone" "NotFound" k get cm settings
for f in json yaml; do
    "$TRIREME" convert -i yaml -o protobuf "$WORK/cm.yaml" >"$WORK/cm.pb"
    ok "convert protobuf to $f" "$TRIREME" convert -i protobuf -o $f "$WORK/cm.pb"
done
same "trireme apply over protobuf" "configmap/settings created" "$TRIREME" apply -f "$WORK/cm.yaml" --kubeconfig "$KUBECONFIG_FILE"
has "trireme get" "settings" "$TRIREME" get cm --kubeconfig "$KUBECONFIG_FILE"

# --- bad input: the right Status, and nothing stored
ns=/api/v1/namespaces/default
before=$(k get cm,secret,pods -A -o name | sort)
status "broken JSON" 400 BadRequest POST $ns/configmaps -H "$J" -d '{"kind":'
status "broken YAML" 400 BadRequest POST $ns/configmaps -H 'Content-Type: application/yaml' --data-binary $'a: [\n'
head -c 300 /dev/urandom >"$WORK/noise"
printf 'k8s\0' | cat - "$WORK/noise" >"$WORK/bad.pb"
status "broken protobuf" 400 BadRequest POST $ns/configmaps -H 'Content-Type: application/vnd.kubernetes.protobuf' --data-binary @"$WORK/bad.pb"
status "unknown kind" 400 BadRequest POST $ns/configmaps -H "$J" -d '{"apiVersion":"v1","kind":"Nonsense","metadata":{"name":"x"}}'
status "wrong type" 400 BadRequest POST $ns/configmaps -H "$J" -d '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":{"a":1}}'
status "invalid name" 422 Invalid POST $ns/configmaps -H "$J" -d '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"Not_Valid"}}'
status "other namespace in body" 400 BadRequest POST $ns/configmaps -H "$J" -d '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"team"}}'
status "unknown namespace" 404 NotFound POST /api/v1/namespaces/nowhere/configmaps -H "$J" -d '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}'
status "unknown resource" 404 NotFound GET /api/v1/unicorns
status "no such object" 404 NotFound GET $ns/configmaps/nope
status "media type" 415 UnsupportedMediaType POST $ns/configmaps -H 'Content-Type: text/plain' -d hello
status "not acceptable" 406 NotAcceptable GET $ns/configmaps -H 'Accept: image/png'
status "already exists" 409 AlreadyExists POST $ns/configmaps -H "$J" -d '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings"}}'
status "stale resourceVersion" 409 Conflict PUT $ns/configmaps/settings -H "$J" -d '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings","resourceVersion":"1"}}'
status "method" 405 MethodNotAllowed POST $ns/configmaps/settings -H "$J" -d '{}'
head -c 4000000 /dev/zero | tr '\0' a >"$WORK/big"
status "oversized body" 413 RequestEntityTooLarge POST $ns/configmaps -H "$J" --data-binary @"$WORK/big"
status "pod without containers" 422 Invalid POST $ns/pods -H "$J" -d '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"containers":[]}}'
TOKEN_WAS=$TOKEN TOKEN=wrong
status "wrong token" 401 Unauthorized GET $ns/configmaps
TOKEN=$TOKEN_WAS
same "no credentials" 403 curl -sk -o /dev/null -w '%{http_code}' "$SERVER$ns/configmaps"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$WORK/k.pem" -out "$WORK/c.pem" -days 1 -subj /O=system:masters/CN=evil 2>/dev/null
no "a certificate of another CA" curl -skf --cert "$WORK/c.pem" --key "$WORK/k.pem" "$SERVER$ns/configmaps"
same "nothing was stored" "$before" sh -c "kubectl --kubeconfig '$KUBECONFIG_FILE' get cm,secret,pods -A -o name | sort"

# --- several who delete the same at once
ok "six clients delete each of 200 pods" "$HERE/delete_race.py" --server "$SERVER" --token "$TOKEN"

# --- mistakes on the command line are told at once, by name
echo "kind: Nonsense" >"$WORK/bad.kubeconfig"
for program in scheduler controller-manager kubelet; do
    has "$program names a kubeconfig that is none" "$WORK/bad.kubeconfig" \
        sh -c "timeout 20 '$BIN/trireme-$program' --kubeconfig '$WORK/bad.kubeconfig' 2>&1; test \$? != 124"
done
has "a certificate that is not there" "certificate: open $WORK/none.pem" \
    sh -c "timeout 20 '$BIN/trireme-apiserver' --data-dir '$WORK/other' --secure-port 0 --tls-cert-file '$WORK/none.pem' --tls-private-key-file '$WORK/none.pem' 2>&1"
has "a front proxy's certificate that is none" "--proxy-client-cert-file: $0" \
    sh -c "timeout 20 '$BIN/trireme-apiserver' --data-dir '$WORK/other' --secure-port 0 --proxy-client-cert-file '$0' --proxy-client-key-file '$0' 2>&1"
has "other API servers' authority that is not there" "--api-peer-ca-file: CA bundle: open $WORK/none.pem" \
    sh -c "timeout 20 '$BIN/trireme-apiserver' --data-dir '$WORK/other' --secure-port 0 --api-peer-ca-file '$WORK/none.pem' 2>&1"
has "figures asked for all the time" "--metric-resolution must be at least 10s" \
    sh -c "timeout 20 '$BIN/trireme-apiserver' --data-dir '$WORK/other' --secure-port 0 --metric-resolution=1ms 2>&1"
has "a controller that is none" '"nope" is not in the list of known controllers' \
    sh -c "timeout 20 '$BIN/trireme-controller-manager' '--controllers=*,-nope' 2>&1"
# Its threads share the port; another process of the same user must not join them.
has "a second API server on the port is refused" "Address already in use" "${USER_RUN[@]}" timeout 20 "$BIN_USER/trireme-apiserver" \
    --data-dir "$D/second" --bind-address 127.0.0.1 --secure-port "$PORT"

# --- kill -9 at any time loses nothing that was acknowledged
for i in 1 2 3; do
    k create configmap "kept-$i" --from-literal=n=$i >/dev/null
    "${USER_RUN[@]}" "$TRIREME" host kill cp-1 --dir "$D"
    "${USER_RUN[@]}" "$TRIREME" host start cp-1 --dir "$D"
    eventually 20 "ready after kill -9 number $i" k get --raw /readyz
    same "acknowledged before kill $i" "$i" k get cm "kept-$i" -o 'jsonpath={.data.n}'
done
# --- a program that ends is told at once; the same command, mended, goes on from there
E=$D/again
again() { timeout 60 "${USER_RUN[@]}" "$TRIREME" up --dir "$E" "$@"; }
has "a wrong flag of the API server" "apiserver of cp-1 has ended: trireme-apiserver: unknown flag: --nope" \
    again --loopback --base-port $((PORT + 20)) --apiserver-args --nope=1
ok "up again without it" again --apiserver-args=
has "a controller that is none, at a host that joins" '"nope" is not in the list of known controllers' \
    again --control-planes 2 --controller-manager-args --controllers=nope
ok "three control planes out of one" again --control-planes 3 --controller-manager-args=
same "three members" 3 sh -c "'$TRIREME' member list --kubeconfig '$E/kubeconfig' | grep -c cp-"
has "never fewer" "--control-planes: the cluster in $E has 3 already" again --control-planes 1
has "nor on another port" "--base-port: the cluster in $E has $((PORT + 20))" again --base-port $((PORT + 21))
ok "down of that one" "${USER_RUN[@]}" "$TRIREME" down --dir "$E" --purge

ok "down" "${USER_RUN[@]}" "$TRIREME" down --dir "$D"
no "nothing answers after down" curl -sk --max-time 2 "$SERVER/readyz"
finish
