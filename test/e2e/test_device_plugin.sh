#!/bin/bash
# Device plugins on a node with a real containerd: what they offer shows in the Node, pods get devices that nobody
# else has with what the plugin says goes with them, over restarts of the node agent and of the plugin.
. "$(dirname "$0")/lib.sh"
need_root "the test of device plugins"
if [ -z "${DEVICE_PLUGIN:-}" ]; then
    echo "  left out: DEVICE_PLUGIN is not set (make device-plugin)"
    echo "0 passed, 0 failed"
    exit 0
fi
setup device
D=$WORK/c
ok "up" up "$D" --control-planes 1 --workers 1
KUBECONFIG_FILE=$D/kubeconfig
[ -e "$KUBECONFIG_FILE" ] || finish
AGENT=$D/hosts/worker-1/kubelet
LOG=$WORK/device.log
CHECKPOINT=$AGENT/device-plugins/kubelet_internal_checkpoint
PLUGIN_PID=''
: >"$LOG"
mkdir -p "$WORK/gift"
echo hello >"$WORK/gift/file"
start_plugin() { # [REGISTRATION_SOCKET]
    (cd "$WORK" && exec "$DEVICE_PLUGIN" example.com/dev "$AGENT/device-plugins" dev.sock "$@" >>"$LOG" 2>&1) &
    PLUGIN_PID=$!
}
stop_plugin() { [ -z "$PLUGIN_PID" ] || { kill -9 "$PLUGIN_PID"; wait "$PLUGIN_PID" 2>/dev/null; PLUGIN_PID=''; }; }
trap 'stop_plugin; teardown' EXIT
devices() { printf '%s\n' "$@" >"$WORK/DEVICES.new" && mv "$WORK/DEVICES.new" "$WORK/DEVICES"; }
called() { [ "$(grep -c "^$1" "$LOG")" = "$2" ] || { cat "$LOG"; return 1; }; }
# "4 3": four devices, three of them healthy.
amounts() { [ "$(k get node worker-1 -o 'jsonpath={.status.capacity.example\.com/dev} {.status.allocatable.example\.com/dev}')" = "$1" ] || { k get node worker-1 -o 'jsonpath={.status.capacity}{.status.allocatable}'; return 1; }; }
phase() { [ "$(k get pod "$1" -o 'jsonpath={.status.phase}')" = "$2" ] || { k get pod "$1"; k get events | tail -5; return 1; }; }
gone() { ! k get "$@" >/dev/null 2>&1; }
kill_program() { kill -9 "$(cut -d' ' -f1 "$D/hosts/$1/run/$2.pid")"; }
start_agent() { "$TRIREME" host start worker-1 --dir "$D"; }
health() { # POD WANT
    [ "$(k get pod "$1" -o 'jsonpath={range .status.containerStatuses[0].allocatedResourcesStatus[*]}{.name}{range .resources[*]} {.resourceID}={.health}{end}{end}')" = "$2" ] ||
        { k get pod "$1" -o 'jsonpath={.status.containerStatuses}'; return 1; }
}
pod() { # NAME COUNT [MORE of the spec]
    k create -f - >/dev/null <<YAML
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
    command: [sleep, "1000"]
    resources: {limits: {example.com/dev: $2}}
YAML
}
ids() { k exec "$1" -- sh -c 'echo $DEVICE_IDS'; }
sorted_ids() { ids "$1" | tr , '\n' | sort | paste -sd,; }
tells() { k get events --field-selector "involvedObject.name=$1" -o 'jsonpath={.items[*].message}' | grep -qF "$2" || { k get events; return 1; }; }
ready() { k get nodes --no-headers 2>/dev/null | grep -q ' Ready '; }
eventually 60 "the node is Ready" ready
eventually 20 "default service account" k get serviceaccount default

# --- what there is
devices "d0 Healthy" "d1 Healthy" "d2 Healthy" "d3 Unhealthy"
start_plugin
eventually 30 "the plugin registers" called registered 1
eventually 60 "the node has its devices, of which the healthy ones can be had" amounts "4 3"

# --- a pod gets devices and what goes with them
ok "a pod" pod first 1
eventually 60 "runs" phase first Running
has "with the device that the plugin prefers" d2 ids first
has "with its mount" hello k exec first -- cat /gift/file
no "which is read-only" k exec first -- touch /gift/new
has "with its node in /dev, that can be read" 4 k exec first -- sh -c 'head -c 4 /dev/given | wc -c'
ok "the plugin readied it before the start" called "prestart d2" 1
eventually 20 "its status names the device" health first "example.com/dev d2=Healthy"
ok "which is remembered" grep -q example.com/dev "$CHECKPOINT"

# --- nobody else gets it
ok "a second pod" pod second 1
eventually 60 "runs" phase second Running
has "with another device" d1 ids second
ok "a pod that asks for more than is left" pod third 2
eventually 60 "is refused by the scheduler" tells third "Insufficient example.com/dev"
ok "and waits" phase third Pending
ok "it goes" k delete pod third --wait=false
ok "a pod that is bound by hand" pod bound 2 "nodeName: worker-1"
eventually 60 "fails" phase bound Failed
same "with upstream's reason" UnexpectedAdmissionError k get pod bound -o 'jsonpath={.status.reason}'
has "and upstream's words" "Allocate failed due to requested number of devices unavailable for example.com/dev. Requested: 2, Available: 1, which is unexpected" \
    k get pod bound -o 'jsonpath={.status.message}'
ok "it goes" k delete pod bound --wait=false

# --- init containers lend their devices to those after them
k create -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: staged}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - name: i
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: ["true"]
    resources: {limits: {example.com/dev: 1}}
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sleep, "1000"]
    resources: {limits: {example.com/dev: 1}}
YAML
eventually 60 "a pod whose init container uses the last device runs with the same" phase staged Running
has "it is the same" d0 ids staged
k delete pod staged --wait=false >/dev/null
eventually 60 "it goes" gone pod staged

# --- the pod resources API
silent_of() { local out; out=$(asks "$2") || return 1; case $out in *"$1"*) echo "$out"; return 1 ;; esac; }
asks() { "$HERE/pod_resources.py" "$AGENT/pod-resources/kubelet.sock" "$WORK/stubs" "$@"; }
has "the pod resources API lists who has what" "default/first c example.com/dev d2" asks list
has "of every pod" "default/second c example.com/dev d1" asks list
ok "not of one that was refused" silent_of bound list
same "it tells of one pod" "default/first
default/first c example.com/dev d2 " asks get default first
same "or that there is none" "UNKNOWN pod none in namespace default not found" asks get default none
has "it tells what can be had" "allocatable example.com/dev d0" asks allocatable
ok "which is what is healthy" silent_of d3 allocatable
has "processors, too" "allocatable cpus 0" asks allocatable
has "who asks too often is turned away" "some refused: True some answered: True
RESOURCE_EXHAUSTED rejected by rate limit" asks flood 200

# --- health
devices "d0 Healthy" "d1 Healthy" "d2 Unhealthy" "d3 Healthy"
eventually 60 "a device that is unhealthy now shows in its pod" health first "example.com/dev d2=Unhealthy"
eventually 60 "and is not to be had" amounts "4 3"
ok "the pod goes on" phase first Running
devices "d0 Healthy" "d1 Healthy" "d2 Healthy"
eventually 60 "a device that is gone is not counted, one that is well again is" amounts "3 3"
eventually 60 "and its pod says so" health first "example.com/dev d2=Healthy"

# --- the plugin dies and comes back
stop_plugin
eventually 60 "without the plugin nothing is healthy" amounts "3 0"
ok "pods go on" phase first Running
has "with their devices" d2 ids first
start_plugin
eventually 60 "with it all are again" amounts "3 3"

# --- the node agent dies and comes back
BEFORE=$(k get pod first -o 'jsonpath={.status.containerStatuses[0].containerID}')
REGISTERED=$(grep -c '^registered' "$LOG")
kill_program worker-1 kubelet
ok "start the node agent again" start_agent
eventually 60 "the plugin sees that and registers again" called registered $((REGISTERED + 1))
eventually 60 "its devices are there again" amounts "3 3"
same "the pod was left alone" "$BEFORE" k get pod first -o 'jsonpath={.status.containerStatuses[0].containerID}'
ok "a pod takes what is left" pod fourth 1
eventually 60 "runs" phase fourth Running
has "with a device that nobody has" d0 ids fourth

# --- the machine starts anew: nothing of its pods runs, and the plugin is late
tasks() { ctr -a "/run/trireme-$PORT/worker-1/containerd.sock" -n k8s.io tasks "$@"; }
runs_again() { [ "$(k get pod "$1" -o 'jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}')" = "1 true" ] || { k get pod "$1" -o 'jsonpath={.status.containerStatuses}'; return 1; }; }
stop_plugin
kill_program worker-1 kubelet
for task in $(tasks ls -q); do tasks kill -s KILL "$task"; done
ok "start the node agent again" start_agent
eventually 60 "a pod that had devices waits for its plugin" tells first "the pod's devices of example.com/dev are not healthy or their plugin is not registered"
start_plugin
eventually 60 "and starts with it" runs_again first
has "with the same device" d2 ids first
eventually 60 "others, too" runs_again second
has "with theirs" d1 ids second

# --- devices come back when their pods end
k delete pod first second fourth --wait=false >/dev/null
eventually 60 "pods go" gone pod first
eventually 60 "all of them" gone pod fourth
ok "a pod that wants all" pod all 3
eventually 60 "gets them" phase all Running
has "each once" d0,d1,d2 sorted_ids all

# --- a plugin that refuses
k delete pod all --wait=false >/dev/null
eventually 60 "the pod goes" gone pod all
no "and is forgotten" grep -q PodUID "$CHECKPOINT"
touch "$WORK/REFUSE"
ok "a pod" pod refused 1
eventually 60 "fails when the plugin refuses" phase refused Failed
has "with the plugin's words" "Allocate failed due to rpc error: code = Unknown desc = it is to be refused, which is unexpected" \
    k get pod refused -o 'jsonpath={.status.message}'
rm "$WORK/REFUSE"

# --- registration through plugins_registry
stop_plugin
eventually 60 "the plugin is gone" amounts "3 0"
rm -f "$AGENT/device-plugins/dev.sock"
start_plugin "$AGENT/plugins_registry/dev.sock"
eventually 60 "a plugin that waits to be found is found" amounts "3 3"
rm "$AGENT/plugins_registry/dev.sock"
eventually 60 "and let go when its socket goes" amounts "3 0"
has "registrations are counted" 'kubelet_device_plugin_registration_total{resource_name="example.com/dev"}' k get --raw /api/v1/nodes/worker-1/proxy/metrics
has "and how long plugins took" 'kubelet_device_plugin_alloc_duration_seconds_count{resource_name="example.com/dev"}' k get --raw /api/v1/nodes/worker-1/proxy/metrics
finish
