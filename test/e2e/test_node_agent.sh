#!/bin/bash
# The node agent alone, without an API server: static pods on a real containerd
# in a network namespace of its own.
. "$(dirname "$0")/lib.sh"
setup node-agent
need_root node-agent
D=$WORK
NETNS=$D/netns
KUBELET_PID='' CONTAINERD_PID=''
in_ns() { nsenter --net="$NETNS" "$@"; }
CTR() { ctr -a "$D/ctd/containerd.sock" -n k8s.io "$@"; }

stop_all() {
    rm -f "$D"/manifests/*
    [ -z "$KUBELET_PID" ] || { eventually 20 "everything is gone at the end" none_left; kill "$KUBELET_PID"; }
    [ -z "$CONTAINERD_PID" ] || { kill "$CONTAINERD_PID"; wait "$CONTAINERD_PID" 2>/dev/null; }
    while umount "$NETNS" 2>/dev/null; do :; done
    find /sys/fs/cgroup -depth -path "*/$(basename "$D")*" -type d -exec rmdir {} + 2>/dev/null
}
none_left() { [ -z "$(CTR containers ls -q)" ] && [ -z "$(ls "$D/root/pods")" ]; }

start_containerd() {
    mkdir -p "$D/ctd/cni" "$D/manifests"
    touch "$NETNS" && unshare --net="$NETNS" true && in_ns ip link set lo up
    "$ROOT/deploy/images/containerd-config.sh" "$D/ctd" >"$D/ctd/config.toml"
    cat >"$D/ctd/cni/10.conflist" <<CNI
{"cniVersion":"0.4.0","name":"t","plugins":[{"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":false,
"ipam":{"type":"host-local","dataDir":"$D/ipam","ranges":[[{"subnet":"10.77.0.0/24"}]]}}]}
CNI
    nsenter --net="$NETNS" containerd -c "$D/ctd/config.toml" >"$D/containerd.log" 2>&1 &
    CONTAINERD_PID=$!
    eventually 20 "containerd answers" CTR version
    "$ROOT/deploy/images/build.sh" "$D/images"
    for i in pause busybox; do CTR images import "$D/images/$i.tar" >/dev/null; done
}

start_kubelet() {
    nsenter --net="$NETNS" "$BIN/trireme-kubelet" --container-runtime-endpoint="unix://$D/ctd/containerd.sock" \
        --root-dir="$D/root" --pod-logs-dir="$D/logs" --cert-dir="$D/pki" --pod-manifest-path="$D/manifests" \
        --hostname-override=n1 --node-ip=127.0.0.1 --anonymous-auth --cni-conf-dir= --cgroup-root="/$(basename "$D")" \
        --file-check-frequency=1s --v=4 >>"$D/kubelet.log" 2>&1 &
    KUBELET_PID=$!
}
get() { in_ns curl -sk --max-time 5 "https://127.0.0.1:10250/$1"; }
# field POD EXPRESSION: a Python expression over the pod's status s
field() {
    get pods | python3 -c "
import json, sys
for p in json.load(sys.stdin)['items']:
    if p['metadata']['name'] == '$1-n1':
        s = p['status']
        print($2)"
}
is() { [ "$(field "$1" "$2")" = "$3" ] || { get pods; return 1; }; }
manifest() { cat >"$D/manifests/.new" && mv "$D/manifests/.new" "$D/manifests/$1.yaml"; }

trap 'stop_all; teardown' EXIT
start_containerd
start_kubelet

manifest web <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - {name: first, image: busybox, imagePullPolicy: Never, command: [sh, -c, 'echo "made by init on $NODE" > /www/index.html'], env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}], volumeMounts: [{name: www, mountPath: /www}]}
  containers:
  - name: c
    image: busybox
    imagePullPolicy: Never
    command: [sh, -c, 'echo to stdout; echo to stderr >&2; exec httpd -f -p 8080 -h /www']
    resources: {limits: {cpu: 100m, memory: 32Mi}}
    readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
    volumeMounts: [{name: www, mountPath: /www}]
  volumes: [{name: www, emptyDir: {}}]
YAML
eventually 30 "a pod with an init container becomes ready" is web "[c['status'] for c in s['conditions'] if c['type'] == 'Ready'][0]" True
web_ip=$(field web "s['podIP']")
ok "it answers on its address" sh -c "nsenter --net=$NETNS curl -s --max-time 3 http://$web_ip:8080/ | grep -q 'made by init on n1'"
ok "its logs are served" sh -c "nsenter --net=$NETNS curl -sk https://127.0.0.1:10250/containerLogs/default/web-n1/c | grep -q 'to stderr'"
ok "its memory limit reached the kernel" sh -c "cat \$(find /sys/fs/cgroup -path '*$(basename "$D")*pod*' \( -name memory.limit_in_bytes -o -name memory.max \)) | grep -qx 33554432"

manifest crash <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: crash}
spec:
  hostNetwork: true
  containers: [{name: c, image: busybox, imagePullPolicy: Never, command: [sh, -c, 'echo attempt; exit 3']}]
YAML
eventually 30 "a crashing container backs off" is crash "s['containerStatuses'][0]['state'].get('waiting', {}).get('reason')" CrashLoopBackOff
ok "and says how it ended" is crash "s['containerStatuses'][0]['lastState']['terminated']['exitCode']" 3
ok "and its previous log is kept" sh -c "nsenter --net=$NETNS curl -sk 'https://127.0.0.1:10250/containerLogs/default/crash-n1/c?previous=true' | grep -q attempt"

manifest once <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: once}
spec:
  restartPolicy: Never
  containers: [{name: c, image: busybox, imagePullPolicy: Never, command: [sh, -c, 'echo -n why > /dev/termination-log; exit 0']}]
YAML
eventually 30 "a pod that ends has succeeded" is once "s['phase']" Succeeded
ok "its last words are known" is once "s['containerStatuses'][0]['state']['terminated']['message']" why

before=$(field web "s['containerStatuses'][0]['containerID']")
kill -9 "$KUBELET_PID"; wait "$KUBELET_PID" 2>/dev/null
ok "the pod runs on without the agent" sh -c "nsenter --net=$NETNS curl -s --max-time 3 http://$web_ip:8080/ | grep -q init"
start_kubelet
eventually 20 "a new agent adopts it" is web "s['containerStatuses'][0]['containerID'] + s['phase']" "${before}Running"
ok "without a restart" is web "s['containerStatuses'][0]['restartCount']" 0

rm "$D/manifests/crash.yaml"
eventually 15 "a removed manifest removes its pod" sh -c "! ls $D/logs | grep -q crash"
stop_all
KUBELET_PID='' CONTAINERD_PID=''
finish
