#!/bin/bash
# metrics.k8s.io from real containers: kubectl top in all its forms, every API server asked, the leading one
# killed, the group handed to another server and back, a HorizontalPodAutoscaler that follows real load.
. "$(dirname "$0")/lib.sh"
need_root "the metrics test"
setup metrics
D=$WORK/c
ok "up" up "$D" --control-planes 3 --workers 2
KUBECONFIG_FILE=$D/kubeconfig
mkdir -p "$WORK/stop"
jp() { k get "$1" -o "jsonpath={$2}"; }
raw() { k get --raw "/apis/metrics.k8s.io/v1beta1/$1"; }
kill_program() { kill -9 "$(cut -d' ' -f1 "$D/hosts/$1/run/$2.pid")"; }
leader() { k get --raw /trireme/v1/members | python3 -c 'import json,sys; print([m["name"] for m in json.load(sys.stdin)["members"] if m["role"] == "leader"][0])'; }
server_of() { sed -n 's/^ *"advertise-address": "\(.*\)",$/\1/p' "$D/hosts/$1/etc/host.json"; }
at() { local host=$1; shift; k --server "https://$(server_of "$host"):6443" "$@"; }
# milli OF...: CPU that kubectl top shows, in thousandths, added up.
milli() { k top "$@" --no-headers | awk '{gsub("m", "", $2); s += $2} END {print s + 0}'; }
between() { [ "$2" -ge "$1" ] && [ "$2" -le "$3" ] || { echo "$2 is not within $1 and $3"; return 1; }; }
shows() { local n; n=$(k top "${@:2}" --no-headers | wc -l); [ "$n" = "$1" ] || { k top "${@:2}"; return 1; }; }

# deployment NAME REPLICAS LIMIT: burns CPU until there is a file.
deployment() {
    k apply -f - >/dev/null <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: {name: $1}
spec:
  replicas: $2
  selector: {matchLabels: {app: $1}}
  template:
    metadata: {labels: {app: $1}}
    spec:
      terminationGracePeriodSeconds: 1
      volumes: [{name: stop, hostPath: {path: $WORK/stop}}]
      containers:
      - name: busy
        image: docker.io/library/busybox:latest
        imagePullPolicy: IfNotPresent
        command: [sh, -c, 'while :; do [ -e /stop/$1 ] && sleep 1; done']
        resources: {requests: {cpu: 100m}, limits: {cpu: $3}}
        volumeMounts: [{name: stop, mountPath: /stop}]
      - name: idle
        image: docker.io/library/busybox:latest
        imagePullPolicy: IfNotPresent
        command: [sleep, '100000']
        resources: {requests: {cpu: 10m}}
YAML
}

# --- top
deployment steady 2 100m
deployment load 1 200m
ok "pods run" k wait --for=condition=Available deployment/steady deployment/load --timeout=60s
eventually 60 "every node shows" shows 2 nodes
eventually 60 "every pod shows" shows 3 pods -A
burns() { between "$1" "$(milli "${@:3}")" "$2"; }
eventually 45 "two pods that may burn a tenth of a CPU each do" burns 130 280 pods -l app=steady
has "columns" "CPU(cores)" k top nodes
eventually 30 "containers" shows 6 pods --containers
same "by container" $'busy\nidle' sh -c "kubectl --kubeconfig $KUBECONFIG_FILE top pod -l app=load --containers --no-headers | awk '{print \$2}' | sort"
has "a sum" "________" k top pods --sum
same "sorted by CPU, the one with more comes first" "load" sh -c "kubectl --kubeconfig $KUBECONFIG_FILE top pods --sort-by=cpu --no-headers | head -n 1 | cut -d- -f1"
ok "sorted by memory" k top pods --sort-by=memory
POD=$(k get pods -l app=load -o name | head -n 1)
has "one pod" "${POD#pod/}" k top "$POD"
has "one node" worker-1 k top node worker-1
has "nodes by label" worker-2 k top nodes -l kubernetes.io/hostname=worker-2

# --- the API
has "discovery" '"kind":"PodMetrics","verbs":["get","list"]' raw ""
has "objects" '"kind":"NodeMetrics","apiVersion":"metrics.k8s.io/v1beta1"' raw nodes/worker-1
has "with the window" '"window":"' raw nodes/worker-1
has "lists" '"kind":"PodMetricsList"' raw namespaces/default/pods
same "by name" "${POD#pod/}" k get podmetrics --field-selector "metadata.name=${POD#pod/}" -o 'jsonpath={.items[*].metadata.name}'
same "labels are the pods'" load k get podmetrics "${POD#pod/}" -o 'jsonpath={.metadata.labels.app}'
has "tables" "WINDOW" k get podmetrics
has "no such pod" 'pods "nope" not found' k get podmetrics nope
has "no such node" 'nodes "nope" not found' raw nodes/nope
has "nothing is written" "MethodNotAllowed" k delete podmetrics "${POD#pod/}"
has "explained" "working set" k explain podmetrics.containers.usage
k create rolebinding looks --clusterrole=view --user=visitor >/dev/null
ok "who may view may see it" k top pods --as visitor
no "others may not" k top pods --as stranger
for host in cp-1 cp-2 cp-3; do
    ok "$host answers" at "$host" top pods
done
has "the agent counts probes apart" "" k get --raw /api/v1/nodes/worker-1/proxy/metrics/probes
has "and what is below" 'container_memory_working_set_bytes{container="busy"' k get --raw "/api/v1/nodes/$(jp "$POD" .spec.nodeName)/proxy/metrics/cadvisor"

# --- handed over, and back
k apply -f - >/dev/null <<'YAML'
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  group: metrics.k8s.io
  version: v1beta1
  service: {name: metrics-server, namespace: kube-system}
  insecureSkipTLSVerify: true
  groupPriorityMinimum: 100
  versionPriority: 100
YAML
unavailable() { raw nodes 2>&1 | grep -q "ServiceUnavailable\|unavailable\|unable to handle"; }
eventually 20 "who registers another server gets that one" unavailable
k delete apiservice v1beta1.metrics.k8s.io >/dev/null
eventually 40 "and without it ours again" shows 2 nodes

# --- load and size
ok "autoscale" k autoscale deployment load --cpu-percent=50 --min=1 --max=3
k patch hpa load --type=merge -p '{"spec":{"behavior":{"scaleDown":{"stabilizationWindowSeconds":5}}}}' >/dev/null
replicas() { [ "$(jp deployment/load .spec.replicas)" = "$1" ] || { k describe hpa load; return 1; }; }
eventually 90 "load makes more of it" replicas 3
touch "$WORK/stop/load"
eventually 120 "rest makes fewer" replicas 1

# --- the server that asks is killed
OLD=$(leader)
OTHER=cp-1
[ "$OLD" != cp-1 ] || OTHER=cp-2
kill_program "$OLD" apiserver
others_show() { at "$OTHER" top pods -l app=steady --no-headers | grep -c steady | grep -qx 2; }
eventually 60 "killed, another one asks the nodes" others_show
ok "start it again" "$TRIREME" host start "$OLD" --dir "$D"
eventually 60 "it answers, too" at "$OLD" top nodes

# --- a node that is gone
kill_program worker-2 kubelet
only_one() { [ "$(at "$OTHER" top nodes --no-headers | grep -cv unknown)" = 1 ]; }
eventually 120 "a node that does not answer disappears" only_one
ok "start its agent" "$TRIREME" host start worker-2 --dir "$D"
both() { [ "$(at "$OTHER" top nodes --no-headers | grep -cv unknown)" = 2 ]; }
eventually 180 "it comes back" both
finish
