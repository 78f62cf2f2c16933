#!/bin/bash
# Dynamic resources on a node with a real containerd: a driver that registers prepares the claims of pods and
# is told when they end, over restarts of the node agent and of itself.
. "$(dirname "$0")/lib.sh"
need_root "the test of drivers of dynamic resources"
if [ -z "${DRA_DRIVER:-}" ]; then
    echo "  left out: DRA_DRIVER is not set (make dra-driver)"
    echo "0 passed, 0 failed"
    exit 0
fi
setup dra
D=$WORK/c
ok "up" up "$D" --control-planes 1 --workers 1
KUBECONFIG_FILE=$D/kubeconfig
[ -e "$KUBECONFIG_FILE" ] || finish
REGISTRY=$D/hosts/worker-1/kubelet/plugins_registry
STATE=$D/hosts/worker-1/kubelet/dra_manager_state
DRIVER_PID=''
start_driver() { # VERSION
    (cd "$WORK" && exec "$DRA_DRIVER" dev.example.com "$1" "$WORK/dra.sock" "$REGISTRY/dra.sock" >>"$WORK/dra.log" 2>&1) &
    DRIVER_PID=$!
}
stop_driver() { [ -z "$DRIVER_PID" ] || { kill "$DRIVER_PID"; wait "$DRIVER_PID" 2>/dev/null; DRIVER_PID=''; }; rm -f "$REGISTRY/dra.sock" "$WORK/dra.sock"; }
trap 'stop_driver; teardown' EXIT
called() { [ "$(grep -c "^$1 $2" "$WORK/dra.log")" = "$3" ] || { cat "$WORK/dra.log"; return 1; }; }
event() { k get events --field-selector "reason=$1,involvedObject.name=$2" -o 'jsonpath={.items[*].message}'; }
tells() { local reason=$1 pod=$2 text=$3; event "$reason" "$pod" | grep -qF "$text" || { k get events; return 1; }; }
phase() { [ "$(k get pod "$1" -o 'jsonpath={.status.phase}')" = "$2" ] || { k get pod "$1"; k get events | tail -5; return 1; }; }
gone() { ! k get "$@" >/dev/null 2>&1; }
kill_program() { kill -9 "$(cut -d' ' -f1 "$D/hosts/$1/run/$2.pid")"; }
slice() {
    k apply -f - >/dev/null <<YAML
apiVersion: resource.k8s.io/v1
kind: ResourceSlice
metadata: {name: worker-1-dev}
spec:
  driver: dev.example.com
  nodeName: worker-1
  pool: {name: worker-1, generation: 1, resourceSliceCount: 1}
  devices: [{name: d0}, {name: d1}]
YAML
}
claim() {
    k create -f - >/dev/null <<YAML
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: $1}
spec: {devices: {requests: [{name: r, exactly: {deviceClassName: dev}}]}}
YAML
}
pod() { # NAME CLAIM
    k create -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  terminationGracePeriodSeconds: 1
  resourceClaims: [{name: d, resourceClaimName: $2}]
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sleep, "1000"]
    resources: {claims: [{name: d}]}
YAML
}
ready() { k get nodes --no-headers 2>/dev/null | grep -q ' Ready '; }
eventually 60 "the node is Ready" ready
eventually 20 "default service account" k get serviceaccount default
k create -f - >/dev/null <<YAML
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: dev}
spec: {selectors: [{cel: {expression: "device.driver == 'dev.example.com'"}}]}
YAML

# --- what programs say of themselves
proxied() { k get --raw "/api/v1/nodes/worker-1/proxy/$1"; }
has "the node agent's flags" "node-labels=" proxied flagz
shown() { proxied configz | python3 -c 'import json,sys; c=json.load(sys.stdin)["kubeletconfig"]; print(c["maxPods"], c["syncFrequency"], c["authentication"]["webhook"]["enabled"])'; }
same "its configuration" "110 1m0s True" shown
has "and its state" "kubelet statusz" proxied statusz
has "how many pods run" "kubelet_running_pods" proxied metrics
has "and containers" 'kubelet_running_containers{container_state="running"}' proxied metrics

# --- a pod before its driver
ok "devices" slice
ok "a claim" claim one
ok "its pod" pod first one
eventually 30 "waits for the driver and says so" tells FailedPrepareDynamicResources first \
    "Failed to prepare dynamic resources: prepare dynamic resources: DRA driver dev.example.com is not registered"
printf 'share-of-one' >"$WORK/SHARE"
start_driver v1
eventually 20 "the driver registers" called registered dev.example.com 1
eventually 40 "the pod runs" phase first Running
ok "its claim was prepared once" called prepare one 1
ok "and is remembered" grep -q 'test/device=one' "$STATE"
asks() { "$HERE/pod_resources.py" "$D/hosts/worker-1/kubelet/pod-resources/kubelet.sock" "$WORK/stubs" "$@"; }
has "the pod resources API tells of it" "default/first c claim one dev.example.com pool device test/device=one" asks list
has "also when asked for the pod" "default/first c claim one dev.example.com pool device test/device=one" asks get default first

has "and of the device's share" "share-of-one" asks list
ok "which is remembered" grep -q '"share":"share-of-one"' "$STATE"

# --- the health of its device
# health: name, id, health and message of what the container's status says
health() { k get pod first -o 'jsonpath={range .status.containerStatuses[0].allocatedResourcesStatus[*]}{.name} {range .resources[*]}{.resourceID} {.health} {.message}{end}{end}'; }
healthy() { [ "$(health)" = "claim:d test/device=one $1" ] || { health; return 1; }; }
eventually 20 "its driver says nothing of its health" healthy "Unknown "
ok "though it is asked" called watch dev.example.com 1
echo "healthy 3600 all is well" >"$WORK/HEALTH"
eventually 20 "it is healthy" healthy "Healthy all is well"
echo "unhealthy 3600 it smokes" >"$WORK/HEALTH"
eventually 20 "it is not" healthy "Unhealthy it smokes"
echo "healthy 1 for a moment" >"$WORK/HEALTH"
eventually 20 "what is not said again in time is not known" healthy "Unknown "
echo "unhealthy 3600 again" >"$WORK/HEALTH"
eventually 20 "until it is said again" healthy "Unhealthy again"
kill_program worker-1 kubelet
ok "start the node agent anew" "$TRIREME" host start worker-1 --dir "$D"
eventually 30 "it asks again" called watch dev.example.com 2
eventually 20 "and tells it again" healthy "Unhealthy again"
rm "$WORK/HEALTH"

# --- a shared claim is prepared once, and given back with the last pod
ok "a second pod with it" pod second one
eventually 40 "runs" phase second Running
ok "without another call" called prepare one 1
k delete pod first --wait=false >/dev/null
eventually 30 "the first goes" gone pod first
ok "the claim stays prepared" called unprepare one 0

# --- the node agent starts anew
kill_program worker-1 kubelet
ok "start the node agent again" "$TRIREME" host start worker-1 --dir "$D"
eventually 30 "the node agent is back" called registered dev.example.com 3
ok "nothing was given back" called unprepare one 0
k delete pod second --wait=false >/dev/null
eventually 40 "the last pod goes" gone pod second
ok "and the claim is given back" called unprepare one 1
no "and forgotten" grep -q 'test/device=one' "$STATE"

# --- the older interface, and a driver that refuses
stop_driver
start_driver v1beta1
eventually 30 "a driver of v1beta1 registers" called registered dev.example.com 4
ok "devices again" slice
touch "$WORK/REFUSE"
ok "a claim" claim two
ok "its pod" pod third two
eventually 30 "a refusal is told" tells FailedPrepareDynamicResources third \
    "NodePrepareResources failed for ResourceClaim two: it is to be refused"
rm "$WORK/REFUSE"
eventually 60 "it is tried again" phase third Running
ok "by the older interface" grep -q "^prepare two v1beta1" "$WORK/dra.log"
k delete pod third --wait=false >/dev/null
eventually 40 "the pod goes" gone pod third
ok "its claim is given back" called unprepare two 1

# --- an extended resource that the class provides
k patch deviceclass dev --type=merge -p '{"spec": {"extendedResourceName": "example.com/dev"}}' >/dev/null
k create -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: plain}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sleep, "1000"]
    resources: {limits: {example.com/dev: 1}}
YAML
eventually 60 "a pod that asks for it runs" phase plain Running
MADE=$(k get pod plain -o 'jsonpath={.status.extendedResourceClaimStatus.resourceClaimName}')
has "with the claim that was made for it" plain-extended-resources- echo "$MADE"
ok "which its driver prepared" called prepare "$MADE" 1
ok "and is remembered" grep -q "test/device=$MADE" "$STATE"
same "the node's reports leave it in the status" "$MADE" k get pod plain -o 'jsonpath={.status.extendedResourceClaimStatus.resourceClaimName}'
k delete pod plain --wait=false >/dev/null
eventually 40 "the pod goes" gone pod plain
ok "its claim is given back" called unprepare "$MADE" 1
eventually 40 "and goes" gone resourceclaim "$MADE"

# --- a driver that goes
stop_driver
eventually 60 "takes its slices with it" gone resourceslice worker-1-dev
finish
