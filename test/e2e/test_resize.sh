#!/bin/bash
# Pods that run get other amounts of CPU and memory: on the node's cgroups, in statuses and conditions, with what does not fit now or
# never, containers that have to be started anew, limits below what is used, and kill -9 of the node agent. At the end a
# VerticalPodAutoscaler resizes what it sees in use.
. "$(dirname "$0")/lib.sh"
need_root "the resize test"
setup resize
D=$WORK/c
ok "up" up "$D" --control-planes 1 --workers 1 \
    --controller-manager-args "--vertical-pod-autoscaler-sync-period=2s --vertical-pod-autoscaler-min-replicas=1"
KUBECONFIG_FILE=$D/kubeconfig
kill_program() { kill -9 "$(cut -d' ' -f1 "$D/hosts/$1/run/$2.pid")"; }
condition() { jp "$1" "{.status.conditions[?(@.type=='$2')].$3}"; }
condition_is() { [ "$(condition "$1" "$2" "$3" 2>&1)" = "$4" ] || { k get "$1" -o yaml; return 1; }; }
condition_has() { condition "$1" "$2" "$3" 2>&1 | grep -qF -- "$4" || { k get "$1" -o yaml; return 1; }; }
# pod NAME RESOURCES [POLICY]
pod() {
    k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'trap exit TERM; while :; do sleep 1 & wait; done']
    resources: $2
    resizePolicy: [${3:-}]
YAML
}
# resize NAME RESOURCES
resize() { k patch pod "$1" --subresource resize --type strategic -p "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":$2}]}}"; }
node_cpu() { jp "node/$NODE" .status.allocatable.cpu; }
# A file of the container's cgroup, whatever the version and the driver.
cgroup_file() {
    local id
    id=$(jp "pod/$1" '.status.containerStatuses[0].containerID')
    cat "$(find /sys/fs/cgroup -path "*${id##*/}/$2" | head -1)"
}
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    quota() { cgroup_file "$1" cpu.max | cut -d' ' -f1; }
    memory() { cgroup_file "$1" memory.max; }
else
    quota() { cgroup_file "$1" cpu.cfs_quota_us; }
    memory() { cgroup_file "$1" memory.limit_in_bytes; }
fi
limits_are() { [ "$(quota "$1") $(memory "$1")" = "$2" ] || { echo "$(quota "$1") $(memory "$1")"; return 1; }; }

# --- growing and shrinking
pod web '{requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}'
ok "a pod runs" k wait --for=condition=Ready pod/web --timeout=60s
NODE=$(jp pod/web .spec.nodeName)
ID=$(jp pod/web '.status.containerStatuses[0].containerID')
ok "with its limits" limits_are web "20000 $((64 << 20))"
ok "a resize is taken" resize web '{"requests":{"cpu":"150m","memory":"48Mi"},"limits":{"cpu":"500m","memory":"128Mi"}}'
eventually 20 "and reaches the container" limits_are web "50000 $((128 << 20))"
eventually 10 "which its status tells" is pod/web '{.status.containerStatuses[0].resources.limits.cpu} {.status.containerStatuses[0].resources.requests.memory} {.status.containerStatuses[0].allocatedResources.cpu}' "500m 48Mi 150m"
eventually 10 "nothing is under way then" condition_is pod/web PodResizeInProgress status ""
same "the container is the same" "$ID 0" jp pod/web '{.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}'
ok "less" resize web '{"requests":{"cpu":"50m","memory":"16Mi"},"limits":{"cpu":"100m","memory":"40Mi"}}'
eventually 20 "works as well" limits_are web "10000 $((40 << 20))"

# --- what never fits, and what does not fit now
ok "more than the node has" resize web '{"requests":{"cpu":"500"},"limits":{"cpu":"500"}}'
eventually 10 "is infeasible" condition_is pod/web PodResizePending reason Infeasible
ok "which is explained" condition_has pod/web PodResizePending message "Node didn't have enough capacity: cpu, requested: 500000, capacity: "
ok "and nothing changes" limits_are web "10000 $((40 << 20))"
same "in the status neither" 50m jp pod/web '.status.containerStatuses[0].allocatedResources.cpu'
ALL=$(node_cpu)
case $ALL in *m) ALL=${ALL%m} ;; *) ALL=${ALL}000 ;; esac
CPU=$((ALL - 600))m
pod big "{requests: {cpu: $CPU}}"
ok "a pod takes most of the node" k wait --for=condition=Ready pod/big --timeout=60s
ok "more than is left" resize web '{"requests":{"cpu":"1"},"limits":{"cpu":"1"}}'
eventually 10 "is deferred" condition_is pod/web PodResizePending reason Deferred
ok "which is explained too" condition_has pod/web PodResizePending message "Node didn't have enough resource: cpu, requested: 1000, used: "
kill_program worker-1 kubelet
ok "start the node agent again after kill -9" "$TRIREME" host start worker-1 --dir "$D"
sleep 2
ok "what waits still waits" condition_is pod/web PodResizePending reason Deferred
ok "with the limits it had" limits_are web "10000 $((40 << 20))"
ok "room is made" k delete pod big
eventually 20 "and what waited is done" limits_are web "100000 $((40 << 20))"
eventually 10 "and waits no more" condition_is pod/web PodResizePending status ""
same "all without a restart" "$ID 0" jp pod/web '{.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}'

# --- memory that is in use
pod fat '{requests: {memory: 64Mi}, limits: {memory: 128Mi}}'
ok "a pod" k wait --for=condition=Ready pod/fat --timeout=60s
ok "uses memory" k exec fat -- sh -c 'dd if=/dev/zero of=/dev/shm/x bs=1M count=40 2>/dev/null'
ok "a limit below that" resize fat '{"requests":{"memory":"16Mi"},"limits":{"memory":"24Mi"}}'
eventually 20 "is not set" condition_is pod/fat PodResizeInProgress reason Error
ok "which is explained" condition_has pod/fat PodResizeInProgress message "below current usage"
ok "once it is freed" k exec fat -- rm /dev/shm/x
eventually 30 "it is" sh -c "[ \"\$(kubectl --kubeconfig $KUBECONFIG_FILE get pod fat -o 'jsonpath={.status.containerStatuses[0].resources.limits.memory}')\" = 24Mi ]"
same "the container lived" 0 jp pod/fat '.status.containerStatuses[0].restartCount'

# --- a container that wants a restart
pod stiff '{requests: {cpu: 50m, memory: 16Mi}, limits: {cpu: 100m, memory: 32Mi}}' '{resourceName: memory, restartPolicy: RestartContainer}'
ok "a pod" k wait --for=condition=Ready pod/stiff --timeout=60s
ok "CPU" resize stiff '{"requests":{"cpu":"60m"},"limits":{"cpu":"200m"}}'
eventually 20 "needs no restart" limits_are stiff "20000 $((32 << 20))"
same "and has none" 0 jp pod/stiff '.status.containerStatuses[0].restartCount'
ok "memory" resize stiff '{"limits":{"memory":"64Mi"}}'
eventually 30 "does" is pod/stiff '.status.containerStatuses[0].restartCount' 1
eventually 20 "and has the new limit" limits_are stiff "20000 $((64 << 20))"
has "an event tells why" "resize requires restart" k get events --field-selector reason=Killing,involvedObject.name=stiff -o 'jsonpath={.items[*].message}'

# --- from usage to the cgroup, without anybody's doing
k delete pod web fat stiff --wait=false >/dev/null
k apply -f - >/dev/null <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: {name: busy}
spec:
  selector: {matchLabels: {app: busy}}
  template:
    metadata: {labels: {app: busy}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: docker.io/library/busybox:latest
        imagePullPolicy: IfNotPresent
        command: [sh, -c, 'trap exit TERM; while :; do :; done']
        resources: {requests: {cpu: 50m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}
---
apiVersion: autoscaling.k8s.io/v1
kind: VerticalPodAutoscaler
metadata: {name: busy}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: busy}
  updatePolicy: {updateMode: InPlaceOrRecreate}
YAML
ok "a Deployment runs" k wait --for=condition=Available deployment/busy --timeout=60s
BUSY=$(k get pods -l app=busy -o 'jsonpath={.items[0].metadata.name}')
eventually 60 "its autoscaler has a recommendation" is vpa/busy "{.status.conditions[?(@.type=='RecommendationProvided')].status}" True
eventually 60 "the pod has more memory" sh -c "[ \"\$(kubectl --kubeconfig $KUBECONFIG_FILE get pod $BUSY -o 'jsonpath={.status.containerStatuses[0].resources.requests.memory}')\" = 262144k ]"
grown() { [ "$(memory "$BUSY")" -gt $((64 << 20)) ]; }
eventually 10 "and its cgroup" grown
same "without a restart" 0 jp "pod/$BUSY" '.status.containerStatuses[0].restartCount'
finish
