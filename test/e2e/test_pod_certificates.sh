#!/bin/bash
# Certificates of pods: keys made on the node, asked for as the pod, signed by a signer of a few lines here, mounted; every kind of
# key; waiting, denied; anew after a restart of the agent; nodes that ask for what is not theirs.
. "$(dirname "$0")/lib.sh"
need_root "the test of pods' certificates"
setup pod-certificates
D=$WORK/c
ok "up" up "$D" --control-planes 1 --workers 1 \
    --apiserver-args "--runtime-config=certificates.k8s.io/v1beta1=true --feature-gates=PodCertificateRequest=true" \
    --controller-manager-args "--feature-gates=PodCertificateRequest=true"
[ "$failed" = 0 ] || finish
KUBECONFIG_FILE=$D/kubeconfig
apply() { with_busybox | k apply -f - >/dev/null || fail "apply"; }
runs() { k wait --for=condition=Ready "pod/$1" --timeout=60s; }
eventually 20 "default service account" k get serviceaccount default
ok "the node is ready" k wait --for=condition=Ready node --all --timeout=60s
ok "requests are served, bundles are not" sh -c "[ \"\$(kubectl --kubeconfig '$KUBECONFIG_FILE' api-resources --api-group=certificates.k8s.io -o name | grep -c 'podcert\|clustertrust')\" = 1 ]"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=signer -addext basicConstraints=critical,CA:TRUE \
    -keyout "$WORK/ca.key" -out "$WORK/ca.crt" 2>/dev/null
cat >"$WORK/signer.py" <<'PY'
# One pass of the signer: answers each open request of example.com/ca; denies those of example.com/no.
import base64, json, subprocess, sys, datetime
kubectl, work = sys.argv[1:-1], sys.argv[-1]
items = json.loads(subprocess.check_output(kubectl + ["get", "podcertificaterequests", "-A", "-o", "json"]))["items"]
stamp = lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ")
for r in items:
    if r.get("status", {}).get("conditions"):
        continue
    now = datetime.datetime.utcnow()
    condition = {"type": "Issued", "status": "True", "reason": "Signed", "message": "", "lastTransitionTime": stamp(now)}
    status = {"conditions": [condition]}
    signer = r["spec"]["signerName"]
    if signer == "example.com/no":
        condition.update(type="Denied", reason="NotToday", message="ask tomorrow")
    elif signer == "example.com/ca":
        open(work + "/stub", "wb").write(base64.b64decode(r["spec"]["stubPKCS10Request"]))
        subprocess.check_call(["openssl", "x509", "-req", "-inform", "DER", "-in", work + "/stub", "-CA", work + "/ca.crt", "-CAkey",
                               work + "/ca.key", "-days", "1", "-subj", "/CN=" + r["spec"]["podName"], "-out", work + "/leaf"],
                              stderr=subprocess.DEVNULL)
        text = lambda flag: subprocess.check_output(["openssl", "x509", "-in", work + "/leaf", "-noout", flag], text=True).split("=", 1)[1].strip()
        time = lambda flag: datetime.datetime.strptime(text(flag), "%b %d %H:%M:%S %Y GMT")
        before, after = time("-startdate"), time("-enddate")
        status.update(certificateChain="words between\n" + open(work + "/leaf").read() + open(work + "/ca.crt").read(), notBefore=stamp(before), notAfter=stamp(after),
                      beginRefreshAt=stamp(before + (after - before) / 2))
    else:
        continue
    subprocess.check_call(kubectl + ["-n", r["metadata"]["namespace"], "patch", "podcertificaterequest", r["metadata"]["name"], "--subresource=status",
                                     "--type=merge", "-p", json.dumps({"status": status})], stdout=subprocess.DEVNULL)
PY
sign() { python3 "$WORK/signer.py" kubectl --kubeconfig "$KUBECONFIG_FILE" "$@" "$WORK" 2>&1 | grep -v Deprecat; true; }
signed() { sign; k wait --for=condition=Ready "pod/$1" --timeout=2s; }

# owner NAME SIGNER KEY-TYPE
owner() {
    apply <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: busybox, command: [sleep, "3600"], volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, projected: {sources: [{podCertificate: {signerName: $2, keyType: $3, credentialBundlePath: all.pem, keyPath: key.pem, certificateChainPath: chain.pem, userAnnotations: {example.com/word: hello}}}]}}]
YAML
}
fetch() { for f in all key chain; do k exec "$1" -- cat "/v/$f.pem" >"$WORK/$f.pem" || return 1; done; }
belongs() {
    fetch "$1" || return 1
    openssl verify -CAfile "$WORK/ca.crt" "$WORK/chain.pem" || return 1
    cat "$WORK/key.pem" "$WORK/chain.pem" | cmp - "$WORK/all.pem" || return 1
    openssl pkey -in "$WORK/key.pem" -pubout >"$WORK/of-key" 2>&1
    openssl x509 -in "$WORK/chain.pem" -noout -pubkey | cmp - "$WORK/of-key" || { cat "$WORK/of-key"; return 1; }
    openssl x509 -in "$WORK/chain.pem" -noout -subject | grep -q "$1"
}

# --- issued
owner first example.com/ca ED25519
eventually 30 "a pod waits for its signer, and that is told of" told FailedMount first "credential bundle is not issued yet"
same "the request names the pod, its account and its node" "first default worker-1" \
    k get podcertificaterequests -o 'jsonpath={.items[0].spec.podName} {.items[0].spec.serviceAccountName} {.items[0].spec.nodeName}'
same "and says what its author says" hello k get podcertificaterequests -o 'jsonpath={.items[0].spec.unverifiedUserAnnotations.example\.com/word}'
same "it goes with its pod" "Pod first" k get podcertificaterequests -o 'jsonpath={.items[0].metadata.ownerReferences[0].kind} {.items[0].metadata.ownerReferences[0].name}'
eventually 60 "it starts when its certificate comes" signed first
ok "key and chain belong together and lead to the signer" belongs first
no "nothing but certificates is in the chain" grep -q words "$WORK/chain.pem"
for t in ECDSAP256 ECDSAP384 ECDSAP521 RSA3072; do owner "$(echo $t | tr A-Z a-z)" example.com/ca $t; done
for t in ecdsap256 ecdsap384 ecdsap521 rsa3072; do
    eventually 60 "$t" signed $t
    ok "its key and chain" belongs $t
done

# --- refused
owner denied example.com/no ECDSAP256
refused() { sign; told Denied denied 'PodCertificateRequest was permanently denied: reason="NotToday" message="ask tomorrow"'; }
eventually 60 "a refusal is told of with the signer's words" refused
eventually 30 "and the volume's failure" told FailedMount denied 'permanently denied'
sleepy() { k get podcertificaterequests -o json | python3 -c 'import json,sys; print(sum(r["spec"]["podName"] == "denied" for r in json.load(sys.stdin)["items"]))'; }
same "it is not asked for again" 1 sleepy

# --- who may
k create clusterrole clerk --verb=get,list,patch,update --resource=podcertificaterequests.certificates.k8s.io,podcertificaterequests.certificates.k8s.io/status >/dev/null
k create clusterrolebinding clerk --clusterrole=clerk --user=clerk >/dev/null
owner late example.com/ca ECDSAP256
open() { k get podcertificaterequests --field-selector spec.podName=late -o name | grep -q .; }
eventually 30 "a request is open" open
unsigned() { sign --as=clerk | grep -q 'is not permitted to \"sign\" for signer'; }
eventually 20 "who writes requests' statuses does not sign by that" unsigned
eventually 60 "who may sign does" signed late
k get podcertificaterequests --field-selector spec.podName=first -o json >"$WORK/request.json"
# as_node CHANGE: the request of pod "first" anew, changed by a line of Python, by its node
as_node() {
    python3 -c "
import json
r = json.load(open('$WORK/request.json'))['items'][0]
r['metadata'] = {'generateName': 'x-', 'namespace': 'default'}; r.pop('status', None)
s = r['spec']
$1
print(json.dumps(r))" | kubectl --kubeconfig "$D/hosts/worker-1/etc/kubelet.kubeconfig" create -f - 2>&1
}
ok "a node asks for its pods" as_node pass
has "with signers that they name" 'no podCertificate source of pod "default/first" names signer "example.com/other"' as_node 's["signerName"] = "example.com/other"'
has "as the account that they have" 'that differs from running pod ("default")' as_node 's["serviceAccountName"] = "other"'
has "for no other node" 'which is not the requesting node "worker-1"' as_node 's["nodeName"] = "cp-1"'
has "for no pod that is not there" 'pod "nobody" not found' as_node 's["podName"] = "nobody"'

# --- the agent starts anew
sum() { k exec first -- md5sum /v/key.pem; }
before=$(sum)
ok "the agent is killed" sh -c "kill -9 \$(cut -d' ' -f1 '$D/hosts/worker-1/run/kubelet.pid')"
ok "and started" "$TRIREME" host start worker-1 --dir "$D"
another() { sign; now=$(sum) && [ "$now" != "$before" ]; }
eventually 90 "it has another key certified" another
ok "which belongs to its chain" belongs first
same "in the same container" 0 jp pod/first '.status.containerStatuses[0].restartCount'
ok "the pods are deleted" k delete pod --all --timeout=60s
none() { [ -z "$(k get podcertificaterequests -o 'jsonpath={.items[?(@.metadata.ownerReferences)].metadata.name}')" ]; }
eventually 60 "and their requests with them" none
finish
