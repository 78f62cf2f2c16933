#!/bin/bash
# CSI beyond plain claims, with real containers and a driver of our own: volumes that stand in the pod, what the
# driver is told of pods, its secrets, read-only ones, the group's files, raw block volumes.
. "$(dirname "$0")/lib.sh"
need_root "the CSI test"
setup csi
if [ -z "${CSI_HOSTPATH:-}" ]; then
    echo "  left out: CSI_HOSTPATH is not set (make csi-hostpath)"
    finish
fi
D=$WORK/c
LOOP=''
truncate -s 8M "$WORK/disk.img"
LOOP=$(losetup --find --show "$WORK/disk.img" 2>/dev/null) || echo "  left out: no loop devices here: raw block volumes are not tried"
DRIVER_PID=''
trap '[ -z "$DRIVER_PID" ] || kill -CONT $DRIVER_PID; [ -z "$DRIVER_PID" ] || kill $DRIVER_PID; teardown; [ -z "$LOOP" ] || losetup -d "$LOOP"' EXIT
ok "up" up "$D" --control-planes 1 --workers 1 --kubelet-args "--feature-gates=CSIVolumeHealth=true"
[ "$failed" = 0 ] || finish
KUBECONFIG_FILE=$D/kubeconfig
REGISTRY=$D/hosts/worker-1/kubelet/plugins_registry
calls() { grep -c "^$1 " "$WORK/csi.log"; }
called() { [ "$(calls "$1")" = "$2" ] || { cat "$WORK/csi.log"; return 1; }; }
runs() { k wait --for=condition=Ready "pod/$1" --timeout=60s; }
mounts_left() { grep -c "$WORK.*kubernetes.io.csi" /proc/self/mountinfo; }
eventually 20 "default service account" k get serviceaccount default
ok "the node is ready" k wait --for=condition=Ready node --all --timeout=60s
start_driver() {
    "$CSI_HOSTPATH" hostpath.test "$WORK/csi-data" "$WORK/csi.sock" "$REGISTRY/hostpath.sock" >>"$WORK/csi.log" 2>&1 &
    DRIVER_PID=$!
}
kill_agent() { kill -9 "$(cut -d' ' -f1 "$D/hosts/worker-1/run/kubelet.pid")"; }
start_driver
eventually 10 "a driver registers" is csinode/worker-1 '.spec.drivers[0].name' hostpath.test
k create secret generic keys --from-literal=key=hush >/dev/null
# pod NAME VOLUME [CONTAINER [SECURITY_CONTEXT]]
pod() {
    k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsUser: 1000, fsGroup: 4000${4:-}}
  containers:
  - {name: c, image: docker.io/library/busybox:latest, imagePullPolicy: IfNotPresent, command: [sh, -c, 'touch /v/of-$1; while :; do sleep 1; done'], ${3:-"volumeMounts: [{name: v, mountPath: /v}]"}}
  volumes: [{name: v, $2}]
YAML
}

# --- volumes that stand in the pod
pod early 'csi: {driver: hostpath.test}'
eventually 20 "no CSIDriver object: refused" told FailedMount early 'volume mode "Ephemeral" not supported by driver hostpath.test (no CSIDriver object)'
# driver MODES [GROUP_POLICY]
driver() {
    k delete csidriver hostpath.test --ignore-not-found >/dev/null
    k apply -f - >/dev/null <<YAML
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: hostpath.test}
spec: {attachRequired: false, podInfoOnMount: true, fsGroupPolicy: ${2:-File}, volumeLifecycleModes: [$1]}
YAML
}
driver Persistent
pod wrongmode 'csi: {driver: hostpath.test}'
eventually 20 "a driver that has no such volumes: refused" told FailedMount wrongmode 'volume mode "Ephemeral" not supported by driver hostpath.test (only supports'
ok "remove both" k delete pod early wrongmode --now
driver "Persistent, Ephemeral"
pod inline 'csi: {driver: hostpath.test, volumeAttributes: {a: b}, nodePublishSecretRef: {name: keys}}'
ok "an inline volume" runs inline
same "is not staged" 0 calls stage
same "is published once" 1 calls publish
ok "the driver is told of the pod" grep -qx "pod inline true" "$WORK/csi.log"
ok "and gets the secret" grep -qx "secret key hush" "$WORK/csi.log"
has "its handle is its own" csi- awk '$1 == "publish" { print $2 }' "$WORK/csi.log"
same "fsGroup" 4000 k exec inline -- stat -c %g /v/of-inline
same "it is no volume in use of the node" "" jp node/worker-1 '.status.volumesInUse'
pod readonly 'csi: {driver: hostpath.test, readOnly: true}'
eventually 30 "a read-only one" runs readonly
has "is not written" "Read-only file system" k exec readonly -- touch /v/x
kill_agent
ok "the agent is killed and started" "$TRIREME" host start worker-1 --dir "$D"
ok "delete the pods" k delete pod inline readonly --timeout=40s
same "both were unpublished" 2 calls unpublish
same "none unstaged" 0 calls unstage
same "no mount is left" 0 mounts_left
driver "Persistent, Ephemeral" ReadWriteOnceWithFSType
pod typed 'csi: {driver: hostpath.test, fsType: ext4}'
eventually 30 "fsGroup by the default policy" runs typed
same "for a volume whose file system is named" 4000 k exec typed -- stat -c %g /v/of-typed
ok "delete it" k delete pod typed --timeout=40s
driver "Persistent, Ephemeral"

# --- claims: what the driver is told of the pod
# volume NAME MODE ATTRIBUTES
volume() {
    k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: $1}
spec:
  capacity: {storage: 8Mi}
  accessModes: [ReadWriteOnce]
  storageClassName: ""
  volumeMode: $2
  csi: {driver: hostpath.test, volumeHandle: $1, volumeAttributes: {$3}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: $1}
spec: {resources: {requests: {storage: 8Mi}}, accessModes: [ReadWriteOnce], storageClassName: "", volumeMode: $2, volumeName: $1}
YAML
}
volume plain Filesystem "a: b"
pod plain 'persistentVolumeClaim: {claimName: plain}'
ok "a claim without attachment" runs plain
same "is staged" 1 calls stage
ok "the driver is told of the pod" grep -qx "pod plain false" "$WORK/csi.log"

# --- fsGroup: what matches at the root is believed, where the pod says so
group_of_file() { stat -c %g "$WORK/csi-data/plain/of-plain"; }
ok "delete the pod of the claim" k delete pod plain --timeout=40s
same "fsGroup, on a claim" 4000 group_of_file
chgrp 0 "$WORK/csi-data/plain/of-plain"
pod plain 'persistentVolumeClaim: {claimName: plain}' 'volumeMounts: [{name: v, mountPath: /v}]' ', fsGroupChangePolicy: OnRootMismatch'
ok "OnRootMismatch" runs plain
same "leaves what is in a root that matches" 0 group_of_file
ok "delete it" k delete pod plain --timeout=40s
chgrp 0 "$WORK/csi-data/plain"
pod plain 'persistentVolumeClaim: {claimName: plain}' 'volumeMounts: [{name: v, mountPath: /v}]' ', fsGroupChangePolicy: OnRootMismatch'
ok "and where the root does not" runs plain
same "gives all of it" 4000 group_of_file

# --- volumes that have grown: here we are the external resizer, which makes the volume larger
mkdir -p "$WORK/csi-data"
k create secret generic grow-keys --from-literal=grow=bigger >/dev/null
k apply -f - >/dev/null <<'YAML'
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: grows}
provisioner: hostpath.test
allowVolumeExpansion: true
YAML
growing() {
    k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: $1}
spec:
  capacity: {storage: 8Mi}
  accessModes: [ReadWriteOnce]
  storageClassName: grows
  csi: {driver: hostpath.test, volumeHandle: $1, nodeExpandSecretRef: {name: grow-keys, namespace: default}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: $1}
spec: {resources: {requests: {storage: 8Mi}}, accessModes: [ReadWriteOnce], storageClassName: grows, volumeName: $1}
YAML
}
# grow NAME SIZE
grow() {
    k patch pvc "$1" -p "{\"spec\":{\"resources\":{\"requests\":{\"storage\":\"$2\"}}}}" >/dev/null &&
        k patch pv "$1" -p "{\"spec\":{\"capacity\":{\"storage\":\"$2\"}}}" >/dev/null &&
        k patch pvc "$1" --subresource=status --type=merge -p '{"status":{"allocatedResourceStatuses":{"storage":"NodeResizePending"},"conditions":[{"type":"FileSystemResizePending","status":"True"}]}}' >/dev/null
}
growing tall
eventually 20 "a claim of a class that grows" is pvc/tall .status.phase Bound
ok "grown before any pod has it" grow tall 16Mi
pod tall 'persistentVolumeClaim: {claimName: tall}'
ok "its pod runs" runs tall
same "once the file system has followed" "expand tall 16777216 published staged" grep "^expand tall" "$WORK/csi.log"
ok "with the secret for it" grep -qx "expandsecret grow bigger" "$WORK/csi.log"
same "the claim has the size" 16Mi jp pvc/tall .status.capacity.storage
same "and waits for nothing" "" jp pvc/tall '{.status.allocatedResourceStatuses}{.status.conditions}'
eventually 10 "the pod is told" told FileSystemResizeSuccessful tall "MountVolume.NodeExpandVolume succeeded"
ok "grown while it is in use" grow tall 24Mi
eventually 150 "the claim follows" is pvc/tall .status.capacity.storage 24Mi
ok "asked of the driver" grep -qx "expand tall 25165824 published staged" "$WORK/csi.log"
echo 30000000 >"$WORK/csi-data/limit"
ok "grown to more than the driver can" grow tall 32Mi
eventually 150 "the claim says so" is pvc/tall .status.allocatedResourceStatuses.storage NodeResizeInfeasible
has "and why" "the disk is too small" jp pvc/tall '.status.conditions[?(@.type=="NodeResizeError")].message'
same "it has what it had" 24Mi jp pvc/tall .status.capacity.storage
ok "the pod goes on" k exec tall -- test -e /v/of-tall
ok "delete it" k delete pod tall --timeout=40s

# --- how full volumes are: what the driver says
metric() { k get --raw /api/v1/nodes/worker-1/proxy/metrics | grep -qx "kubelet_volume_stats_$1"; }
eventually 90 "a claim in /metrics" metric 'available_bytes{namespace="default",persistentvolumeclaim="plain"} 600'
# summary: used and capacity of the volumes of claims
summary() { k get --raw /api/v1/nodes/worker-1/proxy/stats/summary | python3 -c 'import json,sys; [print(v["usedBytes"], v["capacityBytes"], v["pvcRef"]["name"]) for p in json.load(sys.stdin)["pods"] for v in p.get("volume", []) if "pvcRef" in v]'; }
has "and in /stats/summary" "400 1000 plain" summary

# --- whether something is wrong with them (the gate CSIVolumeHealth)
eventually 90 "it is healthy" metric 'health_status_abnormal{namespace="default",persistentvolumeclaim="plain"} 0'
printf 'the disk is on fire' >"$WORK/csi-data/abnormal-plain"
eventually 150 "its driver says that it is not: its pod is told" told VolumeConditionAbnormal plain "Volume v: the disk is on fire"
ok "and /metrics says so" metric 'health_status_abnormal{namespace="default",persistentvolumeclaim="plain"} 1'
abnormal() { k get --raw /api/v1/nodes/worker-1/proxy/stats/summary | python3 -c 'import json,sys; [print(v["volumeHealthStats"]["abnormal"]) for p in json.load(sys.stdin)["pods"] for v in p.get("volume", []) if v.get("pvcRef", {}).get("name") == "plain"]'; }
same "and /stats/summary" True abnormal
rm "$WORK/csi-data/abnormal-plain"
eventually 150 "it is well again" metric 'health_status_abnormal{namespace="default",persistentvolumeclaim="plain"} 0'

# --- how many volumes the driver can have changes
allocatable() { is csinode/worker-1 '.spec.drivers[0].allocatable.count' "$1"; }
eventually 10 "the number of volumes" allocatable 16
k patch csidriver hostpath.test -p '{"spec":{"nodeAllocatableUpdatePeriodSeconds":10}}' >/dev/null
echo 5 >"$WORK/csi-data/max"
eventually 120 "asked for again, as its CSIDriver says" allocatable 5

# --- tokens of the pod's service account, and drivers that want to be asked again for them
token_driver() {
    k delete csidriver hostpath.test --ignore-not-found >/dev/null
    k apply -f - >/dev/null <<YAML
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: hostpath.test}
spec: {attachRequired: false, requiresRepublish: true, tokenRequests: [{audience: vault, expirationSeconds: 600}, {audience: ""}], serviceAccountTokenInSecrets: $1, volumeLifecycleModes: [Persistent, Ephemeral]}
YAML
}
# claims AUDIENCE: of the token, from the line that the driver wrote
claims() { grep "$1" "$WORK/csi.log" | tail -n 1 | sed 's/^[^{]*//' | python3 -c 'import base64,json,sys; t=json.load(sys.stdin)[sys.argv[1]]; print(t["expirationTimestamp"][-1], json.dumps(json.loads(base64.urlsafe_b64decode(t["token"].split(".")[1]+"=="))))' "$2"; }
token_driver false
pod vault 'csi: {driver: hostpath.test}'
ok "a driver that wants tokens" runs vault
has "has them, in the attributes" '"aud": ["vault"]' claims "^tokens csi-" vault
has "bound to the pod" '"name": "vault"' claims "^tokens csi-" vault
has "also for the API server itself" 'system:serviceaccount:default:default' claims "^tokens csi-" ""
published=$(calls publish)
again() { [ "$(calls publish)" -gt "$published" ]; }
eventually 150 "it is published again" again
token_driver true
pod hidden 'csi: {driver: hostpath.test}'
ok "another, that wants them with its secrets" runs hidden
has "has them there" '"aud": ["vault"]' claims "^secret csi.storage.k8s.io/serviceAccount.tokens" vault
ok "delete both" k delete pod vault hidden --timeout=40s
driver "Persistent, Ephemeral"

# --- a driver that answers nothing, one that is killed, an agent that is killed while it waits
growing hung
pod steady 'persistentVolumeClaim: {claimName: hung}'
ok "a pod with a claim" runs steady
kill -STOP $DRIVER_PID
pod stuck 'csi: {driver: hostpath.test}'
pod free 'emptyDir: {}'
ok "a driver that answers nothing: other pods start" runs free
ok "and end" k delete pod free --timeout=40s
same "its own wait" Pending jp pod/stuck .status.phase
k delete pod steady --wait=false >/dev/null
no "its volume is not taken away without it" k wait --for=delete pod/steady --timeout=3s
kill_agent
ok "the agent is killed meanwhile, and started" "$TRIREME" host start worker-1 --dir "$D"
kill -CONT $DRIVER_PID
ok "it answers again: the pod runs" runs stuck
same "with its volume mounted once" 1 grep -c "$WORK.*kubernetes.io~csi/v/mount" /proc/self/mountinfo
ok "the other one's ends" k wait --for=delete pod/steady --timeout=60s
eventually 60 "and is unstaged" grep -q "^unstage hung " "$WORK/csi.log"
kill -9 $DRIVER_PID
wait $DRIVER_PID 2>/dev/null
k delete pod stuck --wait=false >/dev/null
no "a driver that is dead: its volume is not taken away" k wait --for=delete pod/stuck --timeout=3s
rm -f "$WORK/csi.sock" "$REGISTRY/hostpath.sock"
start_driver
ok "started again it takes it away" k wait --for=delete pod/stuck --timeout=90s
same "one mount is left, of the pod that runs" 1 sh -c "grep -c '$WORK.*kubernetes.io~csi' /proc/self/mountinfo"

# --- NodeUnstageVolume fails, and the agent is killed: it is tried again, though the pod is gone
growing busy
pod busy 'persistentVolumeClaim: {claimName: busy}'
ok "another claim" runs busy
touch "$WORK/csi-data/keep-staged"
ok "its pod ends, though the driver does not unstage" k delete pod busy --timeout=60s
eventually 20 "what it was asked to" grep -q "^unstage busy " "$WORK/csi.log"
kill_agent
rm "$WORK/csi-data/keep-staged"
ok "the agent is killed and started" "$TRIREME" host start worker-1 --dir "$D"
staged() { [ "$(grep -c "$WORK.*kubernetes.io/csi/.*globalmount" /proc/self/mountinfo)" = "$1" ]; }
eventually 90 "unstaged at last: one is left, of the pod that runs" staged 1

# --- what the disk says of volumes is damaged: the driver is told all the same, and no pod stays for it
growing torn
pod torn 'persistentVolumeClaim: {claimName: torn}'
pod torninline 'csi: {driver: hostpath.test}'
ok "a pod with a claim" runs torn
ok "and one with an inline volume" runs torninline
folder() { echo "$D/hosts/worker-1/kubelet/pods/$(jp "pod/$1" .metadata.uid)"; }
torn=$(folder torn) torninline=$(folder torninline)
truncate -s 0 "$torn/volumes/kubernetes.io~csi/torn/vol_data.json"
truncate -s 9 "$torninline/volumes/kubernetes.io~csi/v/vol_data.json"
inline_before=$(calls "unpublish csi-[0-9a-f]*")
ok "delete the one whose stage knows it" k delete pod torn --timeout=60s
ok "it was unpublished" grep -q "^unpublish torn " "$WORK/csi.log"
eventually 60 "and unstaged" grep -q "^unstage torn " "$WORK/csi.log"
ok "delete the inline one" k delete pod torninline --timeout=60s
same "which the pod tells of" $((inline_before + 1)) calls "unpublish csi-[0-9a-f]*"
gone() { ! test -e "$1"; }
eventually 20 "their folders are gone" gone "$torn"
eventually 20 "both" gone "$torninline"
growing torn2
pod torn2 'persistentVolumeClaim: {claimName: torn2}'
ok "one that only the API knows" runs torn2
torn2=$(folder torn2)
find "$D/hosts/worker-1/kubelet" -name vol_data.json -exec grep -l '"volumeHandle":"torn2"' {} + | xargs truncate -s 1
ok "delete it" k delete pod torn2 --timeout=60s
ok "it was unpublished" grep -q "^unpublish torn2 " "$WORK/csi.log"
eventually 60 "and unstaged" grep -q "^unstage torn2 " "$WORK/csi.log"
eventually 20 "its folder is gone" gone "$torn2"

# --- SELinux: a driver is told of labels where the host has it, and nowhere else
k patch csidriver hostpath.test -p '{"spec":{"seLinuxMount":true}}' >/dev/null
k apply -f - >/dev/null <<'YAML'
apiVersion: v1
kind: PersistentVolume
metadata: {name: labelled}
spec:
  capacity: {storage: 8Mi}
  accessModes: [ReadWriteOncePod]
  storageClassName: ""
  mountOptions: [noatime]
  csi: {driver: hostpath.test, volumeHandle: labelled}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: labelled}
spec: {resources: {requests: {storage: 8Mi}}, accessModes: [ReadWriteOncePod], storageClassName: "", volumeName: labelled}
YAML
pod labelled 'persistentVolumeClaim: {claimName: labelled}' '' ', seLinuxOptions: {level: "s0:c1,c2"}'
ok "a pod with SELinux options" runs labelled
options() { grep "^option labelled " "$WORK/csi.log"; }
if [ -e /sys/fs/selinux/policyvers ]; then
    has "the driver mounts with the pod's label" 'context=".*:s0:c1,c2"' options
else
    same "without SELinux its driver is told of mount options alone" "option labelled noatime" options
fi
ok "delete it" k delete pod labelled --timeout=40s

# --- raw block volumes
if [ -n "$LOOP" ]; then
    volume raw Block "device: $LOOP"
    k apply -f - >/dev/null <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: raw}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: docker.io/library/busybox:latest, imagePullPolicy: IfNotPresent, command: [sh, -c, 'while :; do sleep 1; done'], volumeDevices: [{name: v, devicePath: /dev/raw}]}]
  volumes: [{name: v, persistentVolumeClaim: {claimName: raw}}]
YAML
    ok "a raw block volume" runs raw
    ok "is a device" k exec raw -- test -b /dev/raw
    ok "it is written" k exec raw -- sh -c 'printf written | dd of=/dev/raw conv=fsync'
    same "on the device" written head -c 7 "$WORK/disk.img"
    ok "delete the pod" k delete pod raw --timeout=40s
    eventually 10 "it is unstaged" grep -q "^unstage raw " "$WORK/csi.log"
fi
ok "delete the other" k delete pod plain --timeout=40s
eventually 10 "no mount is left" sh -c "! grep -q '$WORK.*kubernetes.io.csi' /proc/self/mountinfo"
finish
