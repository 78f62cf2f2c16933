#!/bin/bash
# Eviction with real containers: a full disk (the node's folder is a small tmpfs), limits of local storage, and
# memory of all pods together (almost all of the machine is reserved, so that a small pod is too much).
. "$(dirname "$0")/lib.sh"
need_root "the eviction test"
setup eviction
D=$WORK/c
SMALL=$WORK/small
mkdir "$SMALL"
mount -t tmpfs -o size=64m,nr_inodes=20k none "$SMALL" || { echo "left out: no tmpfs"; echo "0 passed, 0 failed"; exit 0; }
trap 'umount -l "$SMALL" 2>/dev/null; teardown' EXIT
MEMORY=$(awk '/^MemTotal/ { print $2 }' /proc/meminfo)
ok "up" up "$D" --control-planes 1 --workers 1 --kubelet-args "--root-dir=$SMALL --eviction-hard=memory.available<100Mi,nodefs.available<30%,nodefs.inodesFree<5% --eviction-pressure-transition-period=3s --eviction-minimum-reclaim=nodefs.available=1Mi --system-reserved=memory=$((MEMORY - 300 * 1024))Ki"
KUBECONFIG_FILE=$D/kubeconfig
has_text() { case $(jp "$1" "$2" 2>&1) in *"$3"*) ;; *) k get "$1" -o yaml; return 1 ;; esac; }
NODE=$(k get nodes -o name | head -n 1)
condition() { is "$NODE" ".status.conditions[?(@.type==\"$1\")].status" "$2"; }
events() { k get events -A -o "jsonpath={.items[?(@.reason==\"$1\")].message}"; }
told() { case $(events "$1") in *"$2"*) ;; *) events "$1"; return 1 ;; esac; }
# pod NAME SCRIPT [SPEC [CONTAINER]]
pod() {
    k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: v, emptyDir: {${5:-}}}]
  ${3:-}
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'trap "exit 0" TERM; $2; while :; do sleep 1; done']
    volumeMounts: [{name: v, mountPath: /data}]
    ${4:-}
YAML
}
ok "the node is ready" k wait --for=condition=Ready "$NODE" --timeout=60s
eventually 20 "default service account" k get serviceaccount default

# --- limits of local storage
pod calm : "" "resources: {requests: {memory: 50Mi}}"
pod folder 'head -c 3000000 /dev/zero >/data/x' "" "" "sizeLimit: 1Mi"
pod layer 'head -c 3000000 /dev/zero >/tmp/x' "" "resources: {limits: {ephemeral-storage: 1Mi}}"
eventually 30 "a pod within its limits runs" is pod/calm .status.phase Running
eventually 90 "one that fills its emptyDir above the limit goes" is pod/folder .status.phase Failed
same "for a reason that is told" Evicted jp pod/folder .status.reason
same "in upstream's words" 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". ' jp pod/folder .status.message
same "with a condition for controllers" TerminationByKubelet jp pod/folder '.status.conditions[?(@.type=="DisruptionTarget")].reason'
eventually 90 "so does one whose container writes too much" is pod/layer .status.message "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. "
ok "with an event" told Evicted "Pod ephemeral local storage usage exceeds"

# --- disk pressure
no "there is no disk pressure" condition DiskPressure True
k run over --image=docker.io/library/busybox:latest --image-pull-policy=IfNotPresent --restart=Never --command -- sh -c 'echo said' >/dev/null
eventually 60 "a pod that ends" is pod/over .status.phase Succeeded
# Of the runtime's containers, sandboxes among them: those of this pod.
left_of() { ctr -a "/run/trireme-$PORT/worker-1/containerd.sock" -n k8s.io containers ls -q "labels.\"io.kubernetes.pod.name\"==$1" | wc -l; }
same "is kept, for its log" 2 left_of over
pod hog 'head -c 50000000 /dev/zero >/data/x'
eventually 60 "a pod that fills the disk goes" is pod/hog .status.reason Evicted
ok "with what was low" has_text pod/hog .status.message "The node was low on resource: ephemeral-storage. Threshold quantity: "
ok "and who took it" has_text pod/hog .status.message "available: "
ok "an attempt was told" told EvictionThresholdMet "Attempting to reclaim ephemeral-storage"
ok "the node's condition, too" told NodeHasDiskPressure "status is now: NodeHasDiskPressure"
same "what is left of the one that had ended was removed" 0 left_of over
same "its status is not" "Succeeded0" jp pod/over '{.status.phase}{.status.containerStatuses[0].state.terminated.exitCode}'
eventually 60 "the pressure goes by" condition DiskPressure False
eventually 20 "its folder is gone" sh -c "[ \$(du -sm $SMALL | cut -f1) -lt 30 ]"
same "the others run on" "Running0" jp pod/calm '{.status.phase}{.status.containerStatuses[0].restartCount}'
SOCKET=$(sed -n 's#.*container-runtime-endpoint=unix://\([^ "]*\).*#\1#p' "$D"/hosts/worker-1/etc/kubelet.env)
containers_of() { ctr -a "$SOCKET" -n k8s.io containers ls -q "labels.\"io.kubernetes.pod.name\"==$1" | wc -l; }
same "what the runtime had of it is gone" 0 containers_of hog
same "and of the others it is not" 2 containers_of calm

# --- memory
no "there is no memory pressure" condition MemoryPressure True
pod eater 'head -c 230000000 /dev/zero >/data/x' "" "" "medium: Memory"
eventually 60 "a pod that takes the memory of all goes" is pod/eater .status.reason Evicted
ok "for memory" has_text pod/eater .status.message "The node was low on resource: memory. Threshold quantity: 100Mi, available: "
ok "by its container" has_text pod/eater .status.message "Container c was using "
ok "which asked for nothing" has_text pod/eater .status.message "request is 0, has larger consumption of memory. "
same "a pod within its request runs on" "Running0" jp pod/calm '{.status.phase}{.status.containerStatuses[0].restartCount}'
eventually 40 "the pressure goes by" condition MemoryPressure False
has "evictions are counted" 'kubelet_evictions{eviction_signal="allocatableMemory.available"} 1' k get --raw "/api/v1/nodes/${NODE#node/}/proxy/metrics"
ok "evicted pods can be deleted" k delete pod --all --timeout=60s
finish
