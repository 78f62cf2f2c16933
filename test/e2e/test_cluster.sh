#!/bin/bash
# Three control-plane hosts and two workers as network namespaces, with real
# containers: pods, rollouts, logs, lost hosts, cut cables.
. "$(dirname "$0")/lib.sh"
need_root "the cluster test"
setup cluster
D=$WORK/c
ok "up: three control planes, two workers" up "$D" --control-planes 3 --workers 2
KUBECONFIG_FILE=$D/kubeconfig
TOKEN=$("$TRIREME" token --dir "$D")
SUBNET=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["subnet"])' "$D/cluster.json")
SERVERS="https://$SUBNET.11:6443,https://$SUBNET.12:6443,https://$SUBNET.13:6443"
SAMPLES=$ROOT/deploy/samples
all_ready() { [ "$(k get nodes --no-headers 2>/dev/null | grep -c ' Ready ')" = "$1" ]; }
running() { [ "$(k get pods -l "$1" --no-headers 2>/dev/null | grep -c ' Running ')" -ge "$2" ]; }
logs_have() { k logs "$@" 2>/dev/null | grep -q hello; }

eventually 60 "both nodes Ready" all_ready 2
has "nodes wide" "containerd://" k get nodes -o wide
eventually 20 "default service account" k get serviceaccount default
same "apply a pod" "pod/hello created" k apply -f "$SAMPLES/pod.yaml"
ok "wait for it" k wait --for=condition=Ready pod/hello --timeout=60s
eventually 20 "logs" logs_have hello
ok "logs -f ends with the client" timeout 3 sh -c "kubectl --kubeconfig '$KUBECONFIG_FILE' logs -f hello | head -n 2 | grep -q hello"
IP=$(k get pod hello -o 'jsonpath={.status.podIP}')
ok "the pod has an address of its node's range" test -n "$IP"
has "describe tells the events" "Started container hello" k describe pod hello
has "apply a deployment" "deployment.apps/web created" k apply -f "$SAMPLES/deployment.yaml"
ok "rollout status" k rollout status deployment/web --timeout=90s
same "four replicas" 4 k get deployment web -o 'jsonpath={.status.readyReplicas}'
pod_answers() {
    local ip; ip=$(k get pods -l app=web -o 'jsonpath={.items[0].status.podIP}')
    local node; node=$(k get pods -l app=web -o 'jsonpath={.items[0].spec.nodeName}')
    nsenter --net="/run/netns/trireme-$PORT-$node" curl -sf --max-time 3 "http://$ip:8080/" | grep -q web
}
eventually 20 "a pod answers over its address" pod_answers
cross_node() { # from a pod on one node to a pod on the other
    local from to; from=$(k get pods -l app=web -o 'jsonpath={.items[0].spec.nodeName}')
    to=$(k get pods -l app=web -o jsonpath="{.items[?(@.spec.nodeName!=\"$from\")].status.podIP}" | cut -d' ' -f1)
    [ -n "$to" ] && nsenter --net="/run/netns/trireme-$PORT-$from" curl -sf --max-time 3 "http://$to:8080/" | grep -q web
}
eventually 20 "pods are reached from the other node" cross_node

# --- Services: from a node and from a pod
VIP=$(k get service web -o 'jsonpath={.spec.clusterIP}')
service_answers() { nsenter --net="/run/netns/trireme-$PORT-worker-1" curl -sf --max-time 3 "http://$VIP/" | grep -q web; }
eventually 20 "a Service answers on a node" service_answers
cat >"$WORK/client.yaml" <<YAML
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  restartPolicy: Never
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "until printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 $VIP 80 | grep web; do sleep 1; done; echo done"]
YAML
k apply -f "$WORK/client.yaml" >/dev/null
ok "a pod reaches the Service" k wait --for=jsonpath='{.status.phase}'=Succeeded pod/client --timeout=60s
has "its output" "done" k logs client
has "endpoints follow" "8080" k get endpoints web -o 'jsonpath={.subsets[*].ports[*].port}'

# --- extended resources, as the documentation of Kubernetes advertises them
test_equal() { local want=$1; shift; [ "$("$@")" = "$want" ]; }
extended() { k patch node worker-2 --subresource=status --type=json -p "[$1]" >/dev/null; }
ok "advertise an extended resource" extended '{"op": "add", "path": "/status/capacity/example.com~1dongle", "value": "4"}'
eventually 20 "it can be asked for" test_equal 4 k get node worker-2 -o 'jsonpath={.status.allocatable.example\.com/dongle}'
ok "take it away" extended '{"op": "remove", "path": "/status/capacity/example.com~1dongle"}'
eventually 20 "it is gone" test_equal "" k get node worker-2 -o 'jsonpath={.status.allocatable.example\.com/dongle}'

# --- what a node does not take, though somebody bound it there
port_pod() { cat <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  nodeName: worker-1
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: docker.io/library/busybox:latest, imagePullPolicy: IfNotPresent, command: [sleep, "1000"], ports: [{containerPort: 80, hostPort: 8123}]}]
YAML
}
port_pod first | k apply -f - >/dev/null
ok "a pod with a host port" k wait --for=condition=Ready pod/first --timeout=60s
port_pod second | k apply -f - >/dev/null
ok "a second with the same port fails" k wait --for=jsonpath='{.status.phase}'=Failed pod/second --timeout=30s
has "kubectl says why" "NodePorts" k get pod second
same "its message" "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports" k get pod second -o 'jsonpath={.status.message}'
eventually 20 "an event" k get events --field-selector involvedObject.name=second,reason=NodePorts,type=Warning -o 'jsonpath={.items[0].message}'
k delete pod first second --now >/dev/null
port_pod second | k apply -f - >/dev/null
ok "taken once the port is free" k wait --for=condition=Ready pod/second --timeout=60s
k delete pod second --now >/dev/null

# --- what kubectl says of all this
has "get -w" "hello" timeout 10 sh -c "kubectl --kubeconfig '$KUBECONFIG_FILE' get pod hello -w | head -n 2"
has "get -A -l" "web-" k get pods -A -l app=web
has "get as YAML" "nodeName: worker-" k get pod hello -o yaml
has "get as JSON" '"phase": "Running"' k get pod hello -o json
has "by node" "pod/" k get pods --field-selector "spec.nodeName=worker-1" -o name
same "label a node" "node/worker-1 labeled" k label node worker-1 disk=ssd
same "select a node" "node/worker-1" k get nodes -l disk=ssd -o name
same "annotate" "deployment.apps/web annotated" k annotate deployment web kubernetes.io/change-cause=first
has "describe node" "KubeletReady" k describe node worker-1
has "describe deployment" "NewReplicaSetAvailable" k describe deployment web
ok "wait for a deployment" k wait --for=condition=Available deployment/web --timeout=20s
ok "wait for nodes" k wait --for=condition=Ready nodes --all --timeout=20s
has "edit a deployment" "deployment.apps/web edited" env EDITOR="sed -i s/replicas:.4/replicas:\\ 5/" kubectl --kubeconfig "$KUBECONFIG_FILE" edit deployment web
eventually 60 "five running" running app=web 5

# --- rollouts
ok "scale up" k scale deployment/web --replicas 6
eventually 60 "six running" running app=web 6
ok "a new template" k set env deployment/web COLOR=blue
ok "rolls out" k rollout status deployment/web --timeout=120s
has "history has two revisions" "2" k rollout history deployment/web
ok "undo" k rollout undo deployment/web
ok "rolls back" k rollout status deployment/web --timeout=120s
same "the old template is back" "" k get deployment web -o 'jsonpath={.spec.template.spec.containers[0].env}'

# --- a container that fails is restarted, its last output kept
cat >"$WORK/crash.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: crash}
spec:
  containers:
  - {name: c, image: "docker.io/library/busybox:latest", imagePullPolicy: IfNotPresent, command: [sh, -c, "echo hello from $$; sleep 1; exit 3"]}
YAML
k apply -f "$WORK/crash.yaml" >/dev/null
restarted() { [ "$(k get pod crash -o 'jsonpath={.status.containerStatuses[0].restartCount}')" -ge 1 ]; }
eventually 60 "a failing container is restarted" restarted
eventually 20 "logs --previous" logs_have --previous crash
ok "delete the pod" k delete pod crash --timeout=60s

# --- volumes and configuration
cat >"$WORK/vol.yaml" <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {greeting: hello}
---
apiVersion: v1
kind: Secret
metadata: {name: sec}
stringData: {word: world}
---
apiVersion: v1
kind: Pod
metadata: {name: vol}
spec:
  restartPolicy: Never
  initContainers:
  - {name: init, image: "docker.io/library/busybox:latest", imagePullPolicy: IfNotPresent, command: [sh, -c, "echo -n prepared > /scratch/f"], volumeMounts: [{name: scratch, mountPath: /scratch}]}
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "echo $(cat /conf/greeting) $(cat /sec/word) $(cat /scratch/f) $WORD $POD"]
    env:
    - {name: WORD, valueFrom: {secretKeyRef: {name: sec, key: word}}}
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    volumeMounts: [{name: conf, mountPath: /conf}, {name: sec, mountPath: /sec}, {name: scratch, mountPath: /scratch}]
  volumes:
  - {name: conf, configMap: {name: conf}}
  - {name: sec, secret: {secretName: sec}}
  - {name: scratch, emptyDir: {}}
YAML
k apply -f "$WORK/vol.yaml" >/dev/null
eventually 60 "pod with volumes completes" sh -c "kubectl --kubeconfig '$KUBECONFIG_FILE' get pod vol -o 'jsonpath={.status.phase}' | grep -q Succeeded"
same "config map, secret, emptyDir, env" "hello world prepared world vol" k logs vol -c c

# --- nodes keep pods running without their agent and adopt them
first_started() { k get pod hello -o 'jsonpath={.status.containerStatuses[0].containerID}'; }
ID=$(first_started)
NODE=$(k get pod hello -o 'jsonpath={.spec.nodeName}')
ok "kill -9 of the kubelet" sh -c "kill -9 \$(cut -d' ' -f1 '$D/hosts/$NODE/run/kubelet.pid')"
ok "start it again" "$TRIREME" host start "$NODE" --dir "$D"
eventually 60 "the node is Ready" all_ready 2
same "it adopted the running container" "$ID" first_started

# --- control planes are killed and cut off while clients write
ok "no write lost over ten kills of hosts" python3 "$HERE/writers.py" --trireme "$TRIREME" --dir "$D" --token "$TOKEN" --servers "$SERVERS" --kills 10
grep -h . "$D/writers.log" | tail -n 1
ok "no write lost over cut cables" python3 "$HERE/writers.py" --trireme "$TRIREME" --dir "$D" --token "$TOKEN" --servers "$SERVERS" --kills 3 --how cut
grep -h . "$D/writers.log" | tail -n 1
same "pods kept running" "$ID" first_started
eventually 60 "both nodes still Ready" all_ready 2

# --- a lost worker
ok "kill a worker" "$TRIREME" host kill worker-2 --dir "$D"
not_ready() { k get node worker-2 --no-headers | grep -q NotReady; }
eventually 90 "it goes NotReady" not_ready
has "it is tainted" "node.kubernetes.io/unreachable" k get node worker-2 -o 'jsonpath={.spec.taints[*].key}'
ok "shorten the patience of the pods" k patch deployment web --type strategic -p '{"spec":{"template":{"spec":{"tolerations":[{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":5}]}}}}'
on_one() { [ "$(k get pods -l app=web -o wide --no-headers | grep ' Running ' | grep -c worker-1)" -ge 6 ]; }
eventually 120 "its pods are replaced on the other" on_one
ok "the worker comes back" "$TRIREME" host start worker-2 --dir "$D"
eventually 90 "and is Ready" all_ready 2
ok "delete a namespace with all in it" sh -c "kubectl --kubeconfig '$KUBECONFIG_FILE' create namespace t && kubectl --kubeconfig '$KUBECONFIG_FILE' -n t create configmap x && kubectl --kubeconfig '$KUBECONFIG_FILE' delete namespace t --timeout=60s"
ok "down" "$TRIREME" down --dir "$D"
leftovers() { # whatever still carries the cluster's name or folder
    ls -d "/run/trireme-$PORT" /sys/fs/cgroup/trireme-"$PORT"-* /sys/fs/cgroup/*/trireme-"$PORT"-* /run/netns/trireme-"$PORT"-* 2>/dev/null
    grep -F -e "$D/" -e "/run/trireme-$PORT/" /proc/self/mounts
    ls /sys/class/net | grep -E "^tr[bv]$PORT(-|\$)" # Not `ip link`: it complains about namespaces that others just make.
    ps -eo args | grep -E "^[^ ]*/(trireme-[a-z-]+|containerd[a-z0-9-]*) " | grep -F -e "$D/" -e "/run/trireme-$PORT/"
    return 0
}
same "down leaves nothing behind" "" leftovers
finish
