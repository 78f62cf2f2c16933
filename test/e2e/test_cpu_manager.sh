#!/bin/bash
# Containers with processors and memory of their own: where the kernel lets them and everybody else run, over kill -9 of the node
# agent and of the pods themselves; pods that cannot have what they ask for; the state files; settings that do not go together.
# The node reserves one processor and 200 MiB of its first NUMA node; the machine needs two processors.
. "$(dirname "$0")/lib.sh"
need_root "the CPU manager test"
setup cpu-manager
D=$WORK/c
ALL=$(cat /sys/devices/system/cpu/online)
COUNT=$(getconf _NPROCESSORS_ONLN)
[ "$COUNT" -ge 2 ] || { echo "this test needs two processors"; exit 1; }
mkdir "$WORK/manifests"
FLAGS="--cpu-manager-policy=static --system-reserved=cpu=500m,memory=100Mi --memory-manager-policy=Static --reserved-memory=0:memory=200Mi --topology-manager-policy=single-numa-node --cpu-manager-reconcile-period=1s --pod-manifest-path=$WORK/manifests"
ok "up" up "$D" --control-planes 1 --workers 1 --kubelet-args "$FLAGS"
KUBECONFIG_FILE=$D/kubeconfig
kill_program() { kill -9 "$(cut -d' ' -f1 "$D/hosts/$1/run/$2.pid")"; }
LOG=$D/hosts/worker-1/log/kubelet.log
# pod NAME RESOURCES [SPEC]: one that says where it may run, again and again.
pod() {
    k apply -f - >/dev/null <<YAML
$(pod_text "$@")
YAML
}
pod_text() {
    cat <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  terminationGracePeriodSeconds: 1
  ${3:-}
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'trap exit TERM; while :; do sleep 1 & wait; done']
    resources: $2
YAML
}
# What /proc tells of the container's first process.
memory_nodes() { k exec "$1" -- sed -n 's/^Mems_allowed_list:[[:space:]]*//p' /proc/1/status; }
runs_on() { k exec "$1" -- sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status; }
# Of the container's first process, which the agent moves.
allowed() { k exec "$1" -- sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/1/status; }
allowed_is() { [ "$(allowed "$1" 2>&1)" = "$2" ] || { allowed "$1"; tail -3 "$LOG"; return 1; }; }
cgroup_file() {
    local id
    id=$(jp "pod/$1" '.status.containerStatuses[0].containerID')
    cat "$(find /sys/fs/cgroup -path "*$2${id##*/}/$3" | head -1)"
}
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    quota() { cgroup_file "$1" "" cpu.max | cut -d' ' -f1; }
    FREE=max
else
    quota() { cgroup_file "$1" "" cpu.cfs_quota_us; }
    FREE=-1
fi
STATE=$(find "$D/hosts/worker-1" -name cpu_manager_state | head -1)
ok "the state is in the agent's folder" grep -q '"policyName":"static"' "$STATE"

# --- one to itself
pod other '{requests: {cpu: 100m}}'
ok "a pod that shares runs" k wait --for=condition=Ready pod/other --timeout=60s
NODE=$(jp pod/other .spec.nodeName)
same "on all processors" "$ALL" allowed other
OWN='{requests: {cpu: 1, memory: 32Mi}, limits: {cpu: 1, memory: 32Mi}}'
pod own "$OWN"
ok "a Guaranteed pod with a whole processor runs" k wait --for=condition=Ready pod/own --timeout=60s
MINE=$(allowed own)
ok "on one" test -n "${MINE##*[-,]*}"
same "which commands in it share" "$MINE" runs_on own
no "which is not the first, for that is reserved" test "$MINE" = 0
ok "the state tells of it" grep -qF "{\"c\":\"$MINE\"}" "$STATE"
MEMORY=$(find "$D/hosts/worker-1" -name memory_manager_state | head -1)
ok "the memory manager has a state, too" grep -qF '"policyName":"Static"' "$MEMORY"
NODES=$(sed -n "s/.*{\"c\":\\[{\"numaAffinity\":\\[\([0-9,]*\)\\],\"type\":\"memory\",\"size\":$((32 << 20))}\\]}.*/\1/p" "$MEMORY")
ok "with the pod's memory on one NUMA node" test -n "${NODES##*,*}"
same "which is where the kernel takes it from" "$NODES" memory_nodes own
asks() { "$HERE/pod_resources.py" "$(dirname "$MEMORY")/pod-resources/kubelet.sock" "$WORK/stubs" "$@"; }
has "the pod resources API tells of both" "default/own c cpus $MINE
default/own c memory memory $((32 << 20)) $NODES" asks get default own
has "and of what can be had" "allocatable memory memory" asks allocatable
SHARED=$(sed 's/.*"defaultCpuSet":"\([^"]*\)".*/\1/' "$STATE")
eventually 60 "the other has moved away" allowed_is other "$SHARED"
same "nothing throttles it" "$FREE" quota own
pod late '{requests: {cpu: 50m}, limits: {cpu: 50m}}'
ok "one that comes later runs" k wait --for=condition=Ready pod/late --timeout=60s
same "beside it from the start" "$SHARED" allowed late
same "and is throttled" 5000 quota late
metric() { k get --raw "/api/v1/nodes/$NODE/proxy/metrics" | sed -n "s/^kubelet_$1 //p"; }
same "metrics count it" 1 metric cpu_manager_pinning_requests_total
same "and the memory" 1 metric memory_manager_pinning_requests_total
same "with what is left to share" $((COUNT - 1))000 metric cpu_manager_shared_pool_size_millicores
same "and what was aligned" 3 metric 'container_aligned_compute_resources_count{scope="container",boundary="numa_node"}'

# --- resize
ok "other amounts are asked for" k patch pod own --subresource resize --type strategic \
    -p '{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"500m"},"limits":{"cpu":"500m"}}}]}}'
eventually 60 "that is infeasible" is pod/own "{.status.conditions[?(@.type=='PodResizePending')].message}" \
    'Resize is infeasible for Guaranteed Pods alongside CPU Manager policy "static"'
same "for good" Infeasible jp pod/own "{.status.conditions[?(@.type=='PodResizePending')].reason}"

# --- the agent is killed
BEFORE=$(cat "$STATE" "$MEMORY")
ID=$(jp pod/own '.status.containerStatuses[0].containerID')
kill_program worker-1 kubelet
ok "start the node agent again after kill -9" "$TRIREME" host start worker-1 --dir "$D"
pod third '{requests: {cpu: 50m}}'
ok "it runs pods" k wait --for=condition=Ready pod/third --timeout=60s
same "what it has is the same" "$BEFORE" cat "$STATE" "$MEMORY"
same "in the kernel, too" "$MINE" allowed own
same "the container is the same" "$ID" jp pod/own '.status.containerStatuses[0].containerID'
same "new ones share the rest" "$SHARED" allowed third
ok "its pod goes while the agent is away" sh -c "kill -9 \$(cut -d' ' -f1 '$D/hosts/worker-1/run/kubelet.pid') && kubectl --kubeconfig '$KUBECONFIG_FILE' delete pod own --force --grace-period=0 --wait=false"
pod heir "$OWN" "nodeName: $NODE"
ok "start the node agent once more" "$TRIREME" host start worker-1 --dir "$D"
ok "one that came for the same processor meanwhile gets it" k wait --for=condition=Ready pod/heir --timeout=60s
same "and has it for itself" "$MINE" allowed heir
ok "delete it" k delete pod heir --timeout=60s
eventually 60 "what it had is shared again" grep -qF "\"defaultCpuSet\":\"$ALL\"" "$STATE"
eventually 60 "its memory is, too" sh -c "! grep -q entries '$MEMORY'"
eventually 60 "also by those that run" allowed_is other "$ALL"
eventually 60 "all of them" allowed_is late "$ALL"
same "which are throttled as before" 5000 quota late

# --- an init container's processor is used again
pod again "$OWN" "initContainers: [{name: i, image: docker.io/library/busybox:latest, imagePullPolicy: IfNotPresent, command: [sh, -c, 'grep Cpus_allowed_list /proc/self/status'], resources: $OWN}]"
ok "a pod whose init container has one, too, runs" k wait --for=condition=Ready pod/again --timeout=60s
same "it is the same one" "Cpus_allowed_list:	$(allowed again)" k logs again -c i
ok "delete it" k delete pod again --timeout=60s
eventually 60 "it is shared again" allowed_is other "$ALL"

# --- refused
pod_text greedy "{requests: {cpu: $COUNT, memory: 32Mi}, limits: {cpu: $COUNT, memory: 32Mi}}" >"$WORK/manifests/greedy.yaml"
eventually 60 "a pod that asks for the reserved processor, too, fails" is "pod/greedy-$NODE" .status.phase Failed
same "with upstream's reason" TopologyAffinityError jp "pod/greedy-$NODE" .status.reason
same "and message" "Pod was rejected: Resources cannot be allocated with Topology locality" jp "pod/greedy-$NODE" .status.message
rm "$WORK/manifests/greedy.yaml"
eventually 60 "it goes with its file" gone pod "greedy-$NODE"
same "and has taken nothing" "$ALL" allowed other

pod_text fat '{requests: {cpu: 100m, memory: 64Ti}, limits: {cpu: 100m, memory: 64Ti}}' >"$WORK/manifests/fat.yaml"
eventually 60 "one that asks for more memory than there is fails" is "pod/fat-$NODE" .status.reason UnexpectedAdmissionError
same "with upstream's message" "Pod was rejected: Allocate failed due to [memorymanager] failed to get the default NUMA affinity, no NUMA nodes with enough memory is available, which is unexpected" jp "pod/fat-$NODE" .status.message
rm "$WORK/manifests/fat.yaml"

# --- settings that do not go with the state, or with each other
agent() { "$BIN/trireme-kubelet" --root-dir="$WORK/root" --pod-logs-dir="$WORK/logs" --hostname-override=none --cgroups-per-qos=false "$@"; }
says() { local want=$1; shift; agent "$@" >"$WORK/said" 2>&1 && return 1; grep -qF -- "$want" "$WORK/said" || { cat "$WORK/said"; return 1; }; }
ok "nothing is reserved" says "greater than zero" --cpu-manager-policy=static
ok "an option nobody knows" says "unknown option 'fast'" --cpu-manager-policy=static --cpu-manager-policy-options=fast=true
ok "a policy nobody knows" says "--cpu-manager-policy: 'some' is neither none nor static" --cpu-manager-policy=some
ok "processors that are not there" says "--reserved-cpus: '4000' has CPUs that are not online" --cpu-manager-policy=static --reserved-cpus=4000
cp "$STATE" "$WORK/root/cpu_manager_state"
ok "another policy than the state's" says "configured policy \"none\" differs from state checkpoint policy \"static\", please drain this node and delete the CPU manager checkpoint file \"$WORK/root/cpu_manager_state\""
sed -i 's/"defaultCpuSet":"[^"]*"/"defaultCpuSet":"0"/' "$WORK/root/cpu_manager_state"
ok "a damaged state" says "checkpoint is corrupted" --cpu-manager-policy=static --reserved-cpus=0
cp "$MEMORY" "$WORK/root/memory_manager_state"
rm "$WORK/root/cpu_manager_state"
ok "another policy than the memory's" says "configured policy \"None\" differs from state checkpoint policy \"Static\", please drain this node and delete the memory manager checkpoint file"
ok "other reservations than were saved" says "the expected machine state is different from the real one" --memory-manager-policy=Static --reserved-memory=0:memory=300Mi --system-reserved=memory=200Mi
ok "reservations that are not the sum" says 'the total amount "1Gi" of type "memory" is not equal to the value "300Mi"' --memory-manager-policy=Static --reserved-memory=0:memory=1Gi --system-reserved=memory=200Mi
cat >"$WORK/memory.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
memoryManagerPolicy: Static
reservedMemory: [{numaNode: 60, limits: {memory: 1Gi}}]
YAML
ok "reservations in a file for a node that is not there" says "--config $WORK/memory.yaml: reservedMemory: the reserved memory configuration references a NUMA node 60" --config="$WORK/memory.yaml"
cat >"$WORK/config.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cpuManagerPolicy: static
cpuManagerPolicyOptions: {full-pcpus-only: "true", distribute-cpus-across-cores: "true"}
reservedSystemCPUs: "0"
YAML
ok "options of a file that contradict each other" says "full-pcpus-only and distribute-cpus-across-cores can not be used at the same time" --config="$WORK/config.yaml"
finish
