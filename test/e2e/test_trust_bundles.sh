#!/bin/bash
# ClusterTrustBundles from the API to the file in a pod: off by default, who may make them, what they must hold, by name and
# by signer and labels, merged, followed when they change; what is missing, what is optional; the bundle that verifies
# API servers.
. "$(dirname "$0")/lib.sh"
need_root "the test of trust bundles"
setup trust-bundles
D=$WORK/c
GATES=ClusterTrustBundle=true,ClusterTrustBundleProjection=true
ok "up" up "$D" --control-planes 1 --workers 1 \
    --apiserver-args "--runtime-config=certificates.k8s.io/v1beta1/clustertrustbundles=true --feature-gates=$GATES" \
    --controller-manager-args "--feature-gates=ClusterTrustBundle=true"
[ "$failed" = 0 ] || finish
KUBECONFIG_FILE=$D/kubeconfig
apply() { with_busybox | k apply -f - >/dev/null || fail "apply"; }
runs() { k wait --for=condition=Ready "pod/$1" --timeout=60s; }
eventually 20 "default service account" k get serviceaccount default
ok "the node is ready" k wait --for=condition=Ready node --all --timeout=60s

# certificate NAME: a CA of its own in $WORK/NAME.crt
certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" \
        -addext basicConstraints=critical,CA:TRUE -keyout "$WORK/$1.key" -out "$WORK/$1.crt" 2>/dev/null
}
for c in one two three; do certificate $c; done
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=leaf \
    -addext basicConstraints=critical,CA:FALSE -keyout "$WORK/leaf.key" -out "$WORK/leaf.crt" 2>/dev/null
# bundle NAME SIGNER LABELS FILE...: its manifest
bundle() {
    local name=$1 signer=$2 labels=$3; shift 3
    cat <<YAML
apiVersion: certificates.k8s.io/v1beta1
kind: ClusterTrustBundle
metadata: {name: "$name", labels: {$labels}}
spec:
  ${signer:+signerName: $signer}
  trustBundle: |
$(cat "$@" | sed 's/^/    /')
YAML
}
made() { bundle "$@" | k apply -f -; }
refused() { local want=$1; shift; bundle "$@" | k create -f - >"$WORK/out" 2>&1; cat "$WORK/out"; grep -qF "$want" "$WORK/out"; }

# --- the API
ok "the kind is there" sh -c "kubectl --kubeconfig '$KUBECONFIG_FILE' api-resources --api-group=certificates.k8s.io | grep -q clustertrustbundles"
no "the one whose gate is off is not" sh -c "kubectl --kubeconfig '$KUBECONFIG_FILE' api-resources --api-group=certificates.k8s.io | grep -q podcertificaterequests"
ok "a bundle of nobody's" made loose "" "" "$WORK/one.crt"
ok "one of a signer" made example.com:ca:a example.com/ca "stage: live" "$WORK/one.crt" "$WORK/two.crt"
ok "another" made example.com:ca:b example.com/ca "stage: live" "$WORK/two.crt"
ok "one with another label" made example.com:ca:c example.com/ca "stage: canary" "$WORK/three.crt"
ok "a signer's name is in front of its bundles'" refused 'must be named with prefix example.com:ca:' other example.com/ca "" "$WORK/one.crt"
ok "and of no others'" refused 'must not have ":" in its name' a:b "" "" "$WORK/one.crt"
ok "no leaf" refused 'entry 0 does not have the CA bit set' leaf "" "" "$WORK/leaf.crt"
ok "no key" refused 'entry 1 has bad block type: PRIVATE KEY' key "" "" "$WORK/one.crt" "$WORK/one.key"
ok "nothing" refused 'at least one trust anchor must be provided' none "" "" /dev/null
ok "nothing twice" refused 'duplicate trust anchor (indices [0 2])' twice "" "" "$WORK/one.crt" "$WORK/two.crt" "$WORK/one.crt"
has "the signer stays" "field is immutable" k patch clustertrustbundle example.com:ca:a --type=merge -p '{"spec":{"signerName":"example.com/cb"}}'
same "by signer" "example.com:ca:a example.com:ca:b example.com:ca:c" \
    k get clustertrustbundles --field-selector spec.signerName=example.com/ca -o 'jsonpath={.items[*].metadata.name}'
has "shown with its signer" "example.com/ca" k get clustertrustbundle example.com:ca:a
k create clusterrole bundles --verb=create,update,patch,get --resource=clustertrustbundles.certificates.k8s.io >/dev/null
k create clusterrolebinding bundles --clusterrole=bundles --user=keeper >/dev/null
as_keeper() { bundle "$@" | k create --as=keeper -f - 2>&1; }
ok "who may write bundles makes one of nobody's" as_keeper mine "" "" "$WORK/one.crt"
has "but does not vouch for a signer" 'user not permitted to attest for signerName "example.com/ca"' as_keeper example.com:ca:k example.com/ca "" "$WORK/one.crt"
k apply -f - >/dev/null <<'YAML'
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: attest}
rules: [{apiGroups: [certificates.k8s.io], resources: [signers], resourceNames: ["example.com/*"], verbs: [attest]}]
YAML
k create clusterrolebinding attest --clusterrole=attest --user=keeper >/dev/null
eventually 10 "unless it may" as_keeper example.com:ca:k example.com/ca "stage: keeper" "$WORK/one.crt"
ok "pods' accounts read them" k auth can-i list clustertrustbundles.certificates.k8s.io --as=system:serviceaccount:default:default --as-group=system:serviceaccounts

# --- the file
# reader NAME SOURCE [POD-SPEC]
reader() {
    apply <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  ${3:-}
  containers: [{name: c, image: busybox, command: [sleep, "3600"], volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, projected: {sources: [{clusterTrustBundle: {path: ca.crt, $2}}]}}]
YAML
}
# The certificates in a pod's file are these, each once, in any order.
trusts() {
    local pod=$1 f; shift
    k exec "$pod" -- cat /v/ca.crt >"$WORK/got" 2>&1 || { cat "$WORK/got"; return 1; }
    for f in "$@"; do openssl x509 -in "$WORK/$f.crt" -noout -fingerprint -sha256; done | sort >"$WORK/want.sums"
    awk -v d="$WORK/part" '/BEGIN/ { n++ } { print > (d "." n) }' "$WORK/got"
    rm -f "$WORK/got.sums"; touch "$WORK/got.sums"
    for f in "$WORK"/part.*; do [ -e "$f" ] && openssl x509 -in "$f" -noout -fingerprint -sha256 >>"$WORK/got.sums"; done
    rm -f "$WORK"/part.*
    sort -o "$WORK/got.sums" "$WORK/got.sums"
    cmp "$WORK/want.sums" "$WORK/got.sums" || { cat "$WORK/got"; return 1; }
}
reader named 'name: loose'
reader live 'signerName: example.com/ca, labelSelector: {matchLabels: {stage: live}}'
reader all 'signerName: example.com/ca, labelSelector: {}'
reader owned 'name: loose' 'securityContext: {runAsUser: 1000}'
reader maybe 'name: later, optional: true'
reader must 'name: later'
reader nobody 'signerName: example.com/none, labelSelector: {}'
for p in named live all owned maybe; do ok "pod $p" runs $p; done
ok "a bundle by name" trusts named one
ok "bundles of a signer with a label, each certificate once" trusts live one two
ok "all of a signer" trusts all one two three
same "for the pod's user alone" "600 1000" k exec owned -- stat -L -c '%a %u' /v/ca.crt
ok "it reads it" trusts owned one
same "an optional one that is missing is an empty file" "0" k exec maybe -- stat -L -c %s /v/ca.crt
eventually 20 "one that is needed is told of" told FailedMount must 'clustertrustbundle.certificates.k8s.io "later" not found'
eventually 20 "so is a signer without any" told FailedMount nobody 'combination of signerName and labelSelector matched zero ClusterTrustBundles'
k exec live -- cat /v/ca.crt >"$WORK/first"
ok "a bundle is relabelled" k label clustertrustbundle example.com:ca:c stage=live --overwrite
eventually 20 "it joins" trusts live one two three
ok "and goes again" k label clustertrustbundle example.com:ca:c stage=canary --overwrite
eventually 20 "and is out" trusts live one two
ok "in the order of before" sh -c "kubectl --kubeconfig '$KUBECONFIG_FILE' exec live -- cat /v/ca.crt | cmp - '$WORK/first'"
ok "a bundle changes" made loose "" "" "$WORK/two.crt" "$WORK/three.crt"
eventually 20 "and its file" trusts named two three
ok "the missing one comes" made later "" "" "$WORK/three.crt"
ok "its pod starts" runs must
ok "with it" trusts must three
eventually 20 "the optional one shows" trusts maybe three
ok "it goes" k delete clustertrustbundle later
eventually 20 "and leaves an empty file where it is optional" sh -c "[ \"\$(kubectl --kubeconfig '$KUBECONFIG_FILE' exec maybe -- stat -L -c %s /v/ca.crt)\" = 0 ]"
ok "what was mounted stays where it is not" trusts must three
ok "the agent is killed" sh -c "kill -9 \$(cut -d' ' -f1 '$D/hosts/worker-1/run/kubelet.pid')"
ok "a bundle changes meanwhile" made loose "" "" "$WORK/one.crt"
ok "and it is started" "$TRIREME" host start worker-1 --dir "$D"
eventually 60 "the change is brought" trusts named one

# --- what verifies API servers
name() { k get clustertrustbundles --field-selector spec.signerName=kubernetes.io/kube-apiserver-serving -o 'jsonpath={.items[*].metadata.name}'; }
published() { [[ $(name) =~ ^kubernetes.io:kube-apiserver-serving:[0-9a-f]{24}$ ]] || { name; return 1; }; }
eventually 30 "the CA of the API servers is published" published
reader serving 'signerName: kubernetes.io/kube-apiserver-serving, labelSelector: {}'
ok "a pod has it" runs serving
k exec serving -- cat /v/ca.crt >"$WORK/ca.crt"
CLUSTER=$(k config view --raw -o 'jsonpath={.clusters[0].cluster.server}')
ok "and an API server is verified with it" curl -sS --max-time 20 --cacert "$WORK/ca.crt" "$CLUSTER/livez"
k config view --raw -o 'jsonpath={.clusters[0].cluster.certificate-authority-data}' | base64 -d >"$WORK/root.crt"
made kubernetes.io:kube-apiserver-serving:old kubernetes.io/kube-apiserver-serving "" "$WORK/one.crt" >/dev/null
eventually 30 "bundles of older CAs go" published
ok "the pods are deleted" k delete pod --all --timeout=60s
finish
