#!/bin/bash
# Dynamic resources: claims are given devices of ResourceSlices by the scheduler. Nodes and drivers are objects only.
. "$(dirname "$0")/lib.sh"
setup devices
D=$WORK/c
ok "up: a control plane on loopback" up "$D" --control-planes 1 --workers 0 --loopback \
    --controller-manager-args "--controllers=*,-node-lifecycle-controller,-taint-eviction-controller" \
    --scheduler-args "--authorization-always-allow-paths=/healthz,/readyz,/livez,/metrics,/flagz,/statusz"
KUBECONFIG_FILE=$D/kubeconfig
[ -e "$KUBECONFIG_FILE" ] || finish
eventually 20 "default service account" k get serviceaccount default

# --- two nodes with devices of a driver's
node() {
    k create -f - >/dev/null <<YAML
---
{apiVersion: v1, kind: Node, metadata: {name: $1, labels: {kubernetes.io/hostname: $1}}}
YAML
    k patch node "$1" --subresource=status --type=merge -p '{"status": {"capacity": {"cpu": "8", "memory": "8Gi", "pods": "50"},
        "allocatable": {"cpu": "8", "memory": "8Gi", "pods": "50"}, "conditions": [{"type": "Ready", "status": "True"}]}}' >/dev/null
    k taint node "$1" node.kubernetes.io/not-ready- >/dev/null
}
# slice NODE GENERATION DEVICES
slice() {
    k apply -f - >/dev/null <<YAML
apiVersion: resource.k8s.io/v1
kind: ResourceSlice
metadata: {name: $1-gpu.example.com}
spec: {driver: gpu.example.com, nodeName: $1, pool: {name: $1, generation: $2, resourceSliceCount: 1}, devices: [$3]}
YAML
}
gpu() { echo "{name: $1, attributes: {model: {string: $2}, index: {int: ${1#gpu-}}}, capacity: {memory: {value: $3}}}"; }
# claim NAME SPEC
claim() {
    k create -f - >/dev/null <<YAML
---
{apiVersion: resource.k8s.io/v1, kind: ResourceClaim, metadata: {name: $1}, spec: {devices: $2}}
YAML
}
# pod NAME CLAIMS
pod() {
    k create -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec: {containers: [{name: c, image: x}], resourceClaims: [$2]}
YAML
}
one() { echo "{requests: [{name: r, exactly: {deviceClassName: gpu${1:+, $1}}}]}"; }
where() { k get pod "$1" -o 'jsonpath={.spec.nodeName}'; }
gets() { k get resourceclaim "$1" -o 'jsonpath={range .status.allocation.devices.results[*]}{.request}={.pool}/{.device} {end}'; }
is() { local want=$1; shift; [ "$("$@")" = "$want" ] || { "$@"; return 1; }; }
says() { k get pod "$1" -o 'jsonpath={.status.conditions[?(@.type=="PodScheduled")].message}'; }
tells() { local pod=$1 text=$2; says "$pod" | grep -qF "$text" || { says "$pod"; return 1; }; }

ok "node n1" node n1
ok "node n2" node n2
k create -f - >/dev/null <<YAML
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: gpu}
spec: {selectors: [{cel: {expression: "device.driver == 'gpu.example.com'"}}]}
YAML
ok "slice of n1" slice n1 1 "$(gpu gpu-0 a100 40Gi), $(gpu gpu-1 a100 40Gi)"
ok "slice of n2" slice n2 1 "$(gpu gpu-0 h100 80Gi)"

# --- a claim leads its pod to the device
ok "a claim by model" claim h100 "$(one "selectors: [{cel: {expression: \"device.attributes['gpu.example.com'].model == 'h100'\"}}]")"
ok "its pod" pod wants-h100 "{name: g, resourceClaimName: h100}"
eventually 20 "the pod goes where the device is" is n2 where wants-h100
same "the claim has it" "r=n2/gpu-0 " gets h100
has "and is reserved for the pod" wants-h100 k get resourceclaim h100 -o 'jsonpath={.status.reservedFor[*].name}'
has "it is kept while it is in use" resource.kubernetes.io/delete-protection k get resourceclaim h100 -o 'jsonpath={.metadata.finalizers}'
has "kubectl shows it" "allocated,reserved" k get resourceclaim h100

# --- a shared claim binds other pods to the node
ok "a second pod with the claim" pod shares-h100 "{name: g, resourceClaimName: h100}"
eventually 20 "it goes to the same node" is n2 where shares-h100
eventually 20 "both are named" is "wants-h100 shares-h100" k get resourceclaim h100 -o 'jsonpath={.status.reservedFor[*].name}'

# --- pods that wait, and what wakes them
ok "a pod before its claim" pod early "{name: g, resourceClaimName: late}"
ok "no device is left for it" claim none "$(one "selectors: [{cel: {expression: \"device.capacity['gpu.example.com'].memory.isGreaterThan(quantity('50Gi'))\"}}]")"
ok "its pod" pod too-much "{name: g, resourceClaimName: none}"
eventually 20 "is told why it waits" tells too-much "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
same "a pod without its claim is not even looked at" "" says early
ok "the claim comes" claim late "$(one)"
eventually 20 "and its pod is placed" is n1 where early
same "with the first device" "r=n1/gpu-0 " gets late
ok "a larger device comes" slice n1 2 "$(gpu gpu-0 a100 40Gi), $(gpu gpu-1 a100 40Gi), $(gpu gpu-2 b200 192Gi)"
eventually 30 "and the pod that waited is placed" is n1 where too-much
same "with it" "r=n1/gpu-2 " gets none

# --- errors of expressions
ok "a claim that asks what there is not" claim wrong "$(one "selectors: [{cel: {expression: \"device.attributes['gpu.example.com'].colour == 'red'\"}}]")"
ok "its pod" pod wrong "{name: g, resourceClaimName: wrong}"
eventually 20 "is told the error" tells wrong 'running "DynamicResources" filter plugin: claim default/wrong: selector #0: CEL runtime error: no such key: colour'
has "as a scheduler's error" SchedulerError k get pod wrong -o 'jsonpath={.status.conditions[?(@.type=="PodScheduled")].reason}'
refused() { ! claim "$1" "$2" 2>"$WORK/err" && grep -qF "$3" "$WORK/err" || { cat "$WORK/err"; return 1; }; }
ok "one that does not compile is refused" refused x "$(one 'selectors: [{cel: {expression: "1 +"}}]')" "compilation failed"
ok "one that may cost too much is refused" refused x "$(one 'selectors: [{cel: {expression: "[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, [1,2,3,4,5,6,7,8,9,10].all(f, a + b + c + d + e + f > 0))))))"}}]')" "too complex, exceeds cost limit"
k delete pod wrong --force --grace-period=0 >/dev/null 2>&1

# --- templates: a claim per pod, and none gets what another has
k create -f - >/dev/null <<YAML
---
{apiVersion: resource.k8s.io/v1, kind: ResourceClaimTemplate, metadata: {name: t}, spec: {spec: {devices: $(one)}}}
YAML
ok "fresh devices" slice n1 3 "$(for i in 0 1 2 3 4 5 6 7; do printf '%s, ' "$(gpu gpu-$i a100 40Gi)"; done)"
k create -f - >/dev/null <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: {name: many}
spec:
  replicas: 8
  selector: {matchLabels: {app: many}}
  template:
    metadata: {labels: {app: many}}
    spec: {containers: [{name: c, image: x}], resourceClaims: [{name: g, resourceClaimTemplateName: t}]}
YAML
placed() { [ "$(k get pods -l app=many -o 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}' | grep -c n)" = "$1" ]; }
devices() { k get resourceclaims -o 'jsonpath={range .items[*]}{range .status.allocation.devices.results[*]}{.pool}/{.device}{"\n"}{end}{end}'; }
eventually 30 "as many pods as devices are placed" placed 6
same "and no device twice" "" sh -c "$(declare -f devices k); KUBECONFIG_FILE=$KUBECONFIG_FILE SLOWDOWN=$SLOWDOWN; devices | sort | uniq -d"
waits() { k get pods -l app=many --field-selector=spec.nodeName= -o 'jsonpath={.items[0].metadata.name}'; }
eventually 20 "the others are told why not" tells "$(waits)" "cannot allocate all claims"
k delete pod early --force --grace-period=0 >/dev/null 2>&1
k delete resourceclaim late --wait=false >/dev/null
eventually 30 "a device that comes free is given to the next" placed 7

# --- an allocated claim that keeps its pod from every node is freed
k delete deployment many >/dev/null
k delete pods -l app=many --force --grace-period=0 >/dev/null 2>&1 # No node agent does.
eventually 30 "devices are free again" placed 0
ok "a claim of n2" claim moves "$(one "selectors: [{cel: {expression: \"device.attributes['gpu.example.com'].model == 'a100'\"}}]")"
ok "its pod" pod first "{name: g, resourceClaimName: moves}"
eventually 20 "is placed" is n1 where first
k delete pod first --force --grace-period=0 >/dev/null 2>&1
ok "the devices move" slice n2 2 "$(gpu gpu-0 h100 80Gi), $(gpu gpu-9 a100 40Gi)"
k cordon n1 >/dev/null
ok "another pod with the claim" pod second "{name: g, resourceClaimName: moves}"
eventually 40 "gets a device elsewhere" is n2 where second
same "another one" "r=n2/gpu-9 " gets moves
k uncordon n1 >/dev/null

# --- alternatives, constraints, partitions and shares in one go
ok "alternatives" claim either "{requests: [{name: r, firstAvailable: [{name: five, deviceClassName: gpu, count: 20}, {name: two, deviceClassName: gpu, count: 2}]}], constraints: [{matchAttribute: gpu.example.com/model}]}"
ok "their pod" pod either "{name: g, resourceClaimName: either}"
eventually 20 "the second is taken" is n1 where either
has "its name says so" "r/two=n1/" gets either

# --- devices that must be ready before the pod is bound
k apply -f - >/dev/null <<YAML
apiVersion: resource.k8s.io/v1
kind: ResourceSlice
metadata: {name: fabric}
spec:
  driver: fabric.example.com
  allNodes: true
  pool: {name: fabric, generation: 1, resourceSliceCount: 1}
  devices: [{name: f0, bindsToNode: true, bindingConditions: [Attached], bindingFailureConditions: [AttachFailed]}]
YAML
k create -f - >/dev/null <<YAML
---
{apiVersion: resource.k8s.io/v1, kind: DeviceClass, metadata: {name: fabric}, spec: {selectors: [{cel: {expression: "device.driver == 'fabric.example.com'"}}]}}
YAML
ok "a claim of one" claim attach "{requests: [{name: r, exactly: {deviceClassName: fabric}}]}"
ok "its pod" pod attach "{name: g, resourceClaimName: attach}"
eventually 20 "the claim is allocated" is "r=fabric/f0 " gets attach
pending() { k get events --field-selector=involvedObject.name=attach -o 'jsonpath={.items[*].message}' | grep -q "waiting for binding conditions for device on node n"; }
eventually 20 "the pod waits for its device" pending
same "and is not bound yet" "" where attach
ready() {
    k patch resourceclaim attach --subresource=status --type=merge -p "{\"status\": {\"devices\": [{\"driver\": \"fabric.example.com\",
        \"pool\": \"fabric\", \"device\": \"f0\", \"conditions\": [{\"type\": \"Attached\", \"status\": \"True\", \"reason\": \"Done\",
        \"message\": \"\", \"lastTransitionTime\": \"2026-01-01T00:00:00Z\"}]}]}}" >/dev/null
}
ok "the driver says that it is ready" ready
bound() { [ -n "$(where attach)" ]; }
eventually 20 "the pod is bound" bound

# --- extended resources that a class provides
k apply -f - >/dev/null <<YAML
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: card}
spec: {selectors: [{cel: {expression: "device.driver == 'card.example.com'"}}], extendedResourceName: example.com/card}
---
apiVersion: resource.k8s.io/v1
kind: ResourceSlice
metadata: {name: n2-card}
spec: {driver: card.example.com, nodeName: n2, pool: {name: n2, generation: 1, resourceSliceCount: 1}, devices: [{name: c0}, {name: c1}, {name: c2}]}
YAML
# asks NAME RESOURCE COUNT
asks() {
    k create -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec: {containers: [{name: c, image: x, resources: {limits: {"$2": $3}}}]}
YAML
}
no_claim() { ! k get resourceclaim "$1" >/dev/null 2>&1; }
made() { k get pod "$1" -o 'jsonpath={.status.extendedResourceClaimStatus.resourceClaimName}'; }
made_has() { [ -n "$(made "$1")" ] && [ "$(gets "$(made "$1")")" = "$2" ] || { k get pod "$1" -o yaml; k get resourceclaims; return 1; }; }
ok "a pod that asks for two cards" asks two-cards example.com/card 2
eventually 20 "goes where the devices are" is n2 where two-cards
eventually 20 "it was given a claim" made_has two-cards "container-0-request-0=n2/c0 container-0-request-0=n2/c1 "
same "which is marked" true k get resourceclaim "$(made two-cards)" -o 'jsonpath={.metadata.annotations.resource\.kubernetes\.io/extended-resource-claim}'
same "and its own" two-cards k get resourceclaim "$(made two-cards)" -o 'jsonpath={.metadata.ownerReferences[0].name}'
same "and reserved for it" two-cards k get resourceclaim "$(made two-cards)" -o 'jsonpath={.status.reservedFor[*].name}'
has "its name is the pod's" two-cards-extended-resources- made two-cards
same "the status says whose the request is" "c example.com/card container-0-request-0" k get pod two-cards \
    -o 'jsonpath={.status.extendedResourceClaimStatus.requestMappings[0].containerName} {.status.extendedResourceClaimStatus.requestMappings[0].resourceName} {.status.extendedResourceClaimStatus.requestMappings[0].requestName}'
ok "another asks for two" asks more-cards example.com/card 2
eventually 20 "and is told that there are too few" tells more-cards "0/2 nodes are available: 2 cannot allocate all claims."
ok "one asks by the class's name" asks by-class deviceclass.resource.kubernetes.io/card 1
eventually 20 "it gets the last one" made_has by-class "container-0-request-0=n2/c2 "
claim_of_two=$(made two-cards)
k delete pod two-cards --force --grace-period=0 >/dev/null 2>&1
eventually 40 "with its pod the claim goes" no_claim "$claim_of_two"
eventually 40 "and the cards are the next one's" made_has more-cards "container-0-request-0=n2/c0 container-0-request-0=n2/c1 "
ok "a pod asks for what no class has" asks nothing example.com/none 1
eventually 20 "and is told by NodeResourcesFit" tells nothing "2 Insufficient example.com/none"
k patch deviceclass fabric --type=merge -p '{"spec": {"extendedResourceName": "example.com/none"}}' >/dev/null
eventually 30 "a class that comes wakes it" tells nothing "cannot allocate all claims"
# A node with a device plugin gives what it has itself.
k patch node n1 --subresource=status --type=merge -p '{"status": {"capacity": {"example.com/card": "1"}, "allocatable": {"example.com/card": "1"}}}' >/dev/null
ok "a pod for it" asks plugin example.com/card 1
eventually 20 "goes to the node that advertises it" is n1 where plugin
same "without a claim" "" made plugin
# What an attempt that was cut off left behind is in the way and goes.
k create -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: cut-off}
spec: {schedulingGates: [{name: example.com/wait}], containers: [{name: c, image: x, resources: {limits: {deviceclass.resource.kubernetes.io/gpu: 1}}}]}
YAML
k create -f - >/dev/null <<YAML
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata:
  name: left
  annotations: {resource.kubernetes.io/extended-resource-claim: "true"}
  finalizers: [resource.kubernetes.io/delete-protection]
  ownerReferences: [{apiVersion: v1, kind: Pod, name: cut-off, uid: "$(k get pod cut-off -o 'jsonpath={.metadata.uid}')", controller: true}]
spec: {devices: {requests: [{name: container-0-request-0, exactly: {deviceClassName: gpu}}]}}
YAML
k patch pod cut-off --type=json -p '[{"op": "remove", "path": "/spec/schedulingGates"}]' >/dev/null
eventually 30 "a claim that was left goes" no_claim left
placed_somewhere() { [ -n "$(where "$1")" ]; }
eventually 40 "and the pod is placed with another" placed_somewhere cut-off
has "that it was given" cut-off-extended-resources- made cut-off

# --- asked without waiting for the scheduler
why() { "$TRIREME" why "$@" --kubeconfig "$KUBECONFIG_FILE" 2>&1; }
has "why does it wait? By plugin and nodes" "DynamicResources           cannot allocate all claims  (n" why nothing
has "how many fit" "default/nothing: 0 of 2 nodes fit" why pod/nothing
has "what the scheduler said" "The scheduler said last: 0/2 nodes are available" why nothing
has "as JSON" '"plugin":"DynamicResources","reason":"cannot allocate all claims","nodes":2' why nothing -o json
has "a placed pod does not wait" "it is on node n1" why plugin
has "one that is not there" 'pods "absent" not found' why absent
has "what is no pod" 'only pods wait for the scheduler, and "node/n1" is none' why node/n1
has "without a name" "want the name of one pod" why
k create -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: gated}
spec: {schedulingGates: [{name: example.com/wait}], containers: [{name: c, image: x}]}
YAML
has "a gated one" "SchedulingGates: it waits until these are taken away: example.com/wait" why gated
cat >"$WORK/card.yaml" <<YAML
apiVersion: v1
kind: Pod
metadata: {name: more}
spec: {containers: [{name: c, image: x, resources: {limits: {example.com/card: 1}}}]}
YAML
simulate() { "$TRIREME" simulate "$@" 2>&1; }
k delete pod more-cards --force --grace-period=0 >/dev/null 2>&1
freed() { [ "$(k get resourceclaims -o name | grep -c more-cards)" = 0 ]; }
eventually 30 "two cards are free" freed
has "a simulation of the cluster knows its devices" "2 copies of more would fit on 2 nodes" \
    simulate --live --kubeconfig "$KUBECONFIG_FILE" --pods "$WORK/card.yaml" --fits
k get nodes,pods,deviceclasses,resourceslices,resourceclaims,resourceclaimtemplates -o yaml >"$WORK/state.yaml"
has "and so does one of what was recorded" "2 copies of more would fit on 2 nodes" simulate -f "$WORK/state.yaml" --pods "$WORK/card.yaml" --fits
: >"$WORK/empty.yaml"
has "a file without objects is an error" "--filename $WORK/empty.yaml: no object in it" simulate -f "$WORK/empty.yaml"
has "of pods, too" "--pods $WORK/empty.yaml: no object in it" simulate -f "$WORK/state.yaml" --pods "$WORK/empty.yaml"

# --- what the scheduler says of itself
URL=$(sed -n 's/.*serving health and metrics on //p' "$D/hosts/cp-1/log/scheduler.log")
page() { curl -sk "$URL/$1" -H "Accept: ${2:-*/*}"; }
has "its flags" "leader-elect-lease-duration=" page flagz
has "and its state, as JSON" '"metadata":{"name":"kube-scheduler"}' page statusz 'application/json;v=v1beta1;g=config.k8s.io;as=Statusz'
figures() { page metrics | grep "^$1"; }
has "plugins' times are sampled" 'plugin="NodeResourcesFit",extension_point="Filter",status="Success"' figures scheduler_plugin_execution_duration_seconds_count
has "extension points' too" 'extension_point="Filter",profile="default-scheduler"' figures scheduler_framework_extension_point_duration_seconds_count
has "claims that were made" 'status="success"' figures scheduler_resourceclaim_creates_total
has "what was built" 'git_version="v1.36' figures kubernetes_build_info
finish
