#!/bin/bash
# Persistent volumes from the claim to the folder, with real containers: the default class, data that
# outlives pods, StatefulSets with claim templates, hand-made local volumes, reclaim policies,
# protection of what is in use, and kill -9 of controller manager and node agents in between.
. "$(dirname "$0")/lib.sh"
need_root "the volumes test"
setup volumes
D=$WORK/c
ok "up" up "$D" --control-planes 1 --workers 2
KUBECONFIG_FILE=$D/kubeconfig
logs_are() { [ "$(k logs "$1" 2>&1)" = "$2" ] || { k logs "$1"; return 1; }; }
folders() { find "$D"/hosts/*/kubelet/local-path -mindepth 1 -maxdepth 1 2>/dev/null | wc -l; }
no_folders() { [ "$(folders)" = 0 ]; }
kill_program() { kill -9 "$(cut -d' ' -f1 "$D/hosts/$1/run/$2.pid")"; }
event() { k get events --field-selector "reason=$1,involvedObject.name=$2" -o 'jsonpath={.items[*].message}'; }

# claim NAME [SPEC]: a claim; the rest of its spec as YAML in flow form.
claim() {
    k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: $1}
spec: {resources: {requests: {storage: 10Mi}}, accessModes: [ReadWriteOnce]${2:+, $2}}
YAML
}
# pod NAME CLAIM SCRIPT [SPEC]
pod() {
    k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  terminationGracePeriodSeconds: 1
  ${4:-}
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, '$3; while :; do sleep 1; done']
    volumeMounts: [{name: v, mountPath: /data}]
  volumes: [{name: v, persistentVolumeClaim: {claimName: $2}}]
YAML
}

# --- a claim and a pod
same "there is a default class" true jp storageclass/local-path '.metadata.annotations.storageclass\.kubernetes\.io/is-default-class'
claim data
eventually 10 "a claim waits for its consumer" sh -c "kubectl --kubeconfig $KUBECONFIG_FILE get events | grep -q 'waiting for first consumer to be created before binding'"
same "and is pending" Pending jp pvc/data .status.phase
pod writer data 'echo one >>/data/log; cat /data/log'
ok "a pod with the claim runs" k wait --for=condition=Ready pod/writer --timeout=60s
ok "the claim is bound" is pvc/data .status.phase Bound
PV=$(jp pvc/data .spec.volumeName)
same "its volume is named after it" "pvc-$(jp pvc/data .metadata.uid)" echo "$PV"
same "and on the pod's node" "$(jp pod/writer .spec.nodeName)" jp "pv/$PV" '.spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].values[0]'
has "its making is told" "Successfully provisioned volume $PV" event ProvisioningSucceeded data
NODE=$(jp pod/writer .spec.nodeName)
ok "delete the pod" k delete pod writer
pod reader data 'echo two >>/data/log; cat /data/log'
ok "another pod" k wait --for=condition=Ready pod/reader --timeout=60s
same "runs where the data is" "$NODE" jp pod/reader .spec.nodeName
eventually 10 "and sees it" logs_are reader $'one\ntwo'

# --- what is in use stays
ok "delete the claim in use" k delete pvc data --wait=false
same "it waits" "kubernetes.io/pvc-protection" jp pvc/data '.metadata.finalizers[0]'
ok "and the pod goes on" k exec reader -- cat /data/log
kill_program cp-1 controller-manager
ok "delete its pod without a controller manager" k delete pod reader
ok "start it again" "$TRIREME" host start cp-1 --dir "$D"
eventually 30 "the claim goes" gone pvc data
eventually 30 "its volume, too" gone pv "$PV"
eventually 10 "and the folder" no_folders

# --- StatefulSet
cat >"$WORK/set.yaml" <<'YAML'
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {runAsUser: 1000, fsGroup: 2000}
      containers:
      - name: c
        image: docker.io/library/busybox:latest
        imagePullPolicy: IfNotPresent
        command: [sh, -c, 'hostname >>/data/who; cat /data/who; while :; do sleep 1; done']
        volumeMounts: [{name: data, mountPath: /data, subPathExpr: sub/$(POD)}]
        env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {resources: {requests: {storage: 10Mi}}, accessModes: [ReadWriteOnce]}
YAML
ok "a StatefulSet with claim templates" k apply -f "$WORK/set.yaml"
ok "comes up" k rollout status statefulset/db --timeout=90s
same "with a claim for each pod" "data-db-0 data-db-1" k get pvc -o 'jsonpath={.items[*].metadata.name}'
same "whose files belong to the group" 2000 k exec db-0 -- stat -c %g /data/who
NODE=$(jp pod/db-1 .spec.nodeName)
kill_program "$NODE" kubelet
ok "delete a pod whose node agent is dead" k delete pod db-1 --wait=false
ok "start the agent again" "$TRIREME" host start "$NODE" --dir "$D"
eventually 60 "the pod is made anew and finds its data" logs_are db-1 $'db-1\ndb-1'
ok "scale down" k scale statefulset/db --replicas=1
eventually 20 "the pod goes" gone pod db-1
same "its claim stays" Bound jp pvc/data-db-1 .status.phase
ok "scale up" k scale statefulset/db --replicas=2
eventually 60 "and finds it again" logs_are db-1 $'db-1\ndb-1\ndb-1'
ok "delete all of it" k delete statefulset/db service/db
ok "and the claims" k delete pvc data-db-0 data-db-1
eventually 30 "no folder is left" no_folders
eventually 10 "and no volume" sh -c "[ -z \"\$(kubectl --kubeconfig $KUBECONFIG_FILE get pv -o name)\" ]"

# --- a generic ephemeral volume goes with its pod
k apply -f - >/dev/null <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: scratch}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'touch /tmp/scratch/x; while :; do sleep 1; done']
    volumeMounts: [{name: v, mountPath: /tmp/scratch}]
  volumes:
  - name: v
    ephemeral: {volumeClaimTemplate: {spec: {resources: {requests: {storage: 10Mi}}, accessModes: [ReadWriteOncePod]}}}
YAML
ok "an ephemeral volume" k wait --for=condition=Ready pod/scratch --timeout=60s
same "has a claim of the pod" Pod jp pvc/scratch-v '.metadata.ownerReferences[0].kind'
ok "delete the pod" k delete pod scratch
eventually 30 "its claim goes with it" gone pvc scratch-v
eventually 30 "and the folder" no_folders

# --- a local volume made by hand, bound once a pod wants it
mkdir -p "$WORK/disk"
echo "made by hand" >"$WORK/disk/file"
k apply -f - >/dev/null <<YAML
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: disks}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: disks
  persistentVolumeReclaimPolicy: Retain
  local: {path: $WORK/disk}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [worker-2]}]}]}}
YAML
claim disk 'storageClassName: disks'
pod disk disk 'cat /data/file'
ok "a pod gets a volume made by hand" k wait --for=condition=Ready pod/disk --timeout=60s
same "on its node" worker-2 jp pod/disk .spec.nodeName
eventually 10 "with what is in it" logs_are disk "made by hand"
ok "delete pod and claim" k delete pod/disk pvc/disk
eventually 10 "the volume is released and kept" is pv/disk .status.phase Released
ok "as is its content" test -e "$WORK/disk/file"
claim nowhere 'storageClassName: disks'
pod nowhere nowhere true
eventually 10 "a pod without a volume says why" sh -c "kubectl --kubeconfig $KUBECONFIG_FILE get events | grep -q \"didn't find available persistent volumes to bind\""

# --- CSI: a driver that registers, an attacher played by kubectl
if [ -z "${CSI_HOSTPATH:-}" ]; then
    echo "  left out: CSI_HOSTPATH is not set (make csi-hostpath)"
    finish
fi
REGISTRY=$D/hosts/worker-1/kubelet/plugins_registry
DRIVER_PID=''
start_driver() {
    "$CSI_HOSTPATH" hostpath.test "$WORK/csi-data" "$WORK/csi.sock" "$REGISTRY/hostpath.sock" >>"$WORK/csi.log" 2>&1 &
    DRIVER_PID=$!
}
stop_driver() { [ -z "$DRIVER_PID" ] || { kill "$DRIVER_PID"; wait "$DRIVER_PID" 2>/dev/null; DRIVER_PID=''; }; }
trap 'stop_driver; teardown' EXIT
calls() { grep -c "^$1 " "$WORK/csi.log"; }
called() { [ "$(calls "$1")" = "$2" ] || { cat "$WORK/csi.log"; return 1; }; }
attachment() { k get volumeattachments -o 'jsonpath={.items[0].metadata.name}'; }
mounts_left() { grep -c "$WORK.*kubernetes.io.csi" /proc/self/mountinfo; }
eventually 10 "a CSINode without drivers" is csinode/worker-1 "{.metadata.name}{.spec.drivers[*].name}" worker-1
start_driver
eventually 10 "a CSI driver registers" is csinode/worker-1 '.spec.drivers[0].nodeID' node-id-of-the-driver
same "with its limit" 16 jp csinode/worker-1 '.spec.drivers[0].allocatable.count'
eventually 10 "its topology labels the node" is node/worker-1 '.metadata.labels.topology\.hostpath\.test/node' this-one
eventually 10 "and it is told" called registered 1
k apply -f - >/dev/null <<'YAML'
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: hostpath.test}
spec: {attachRequired: true, fsGroupPolicy: File}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: csi}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: csi
  persistentVolumeReclaimPolicy: Retain
  csi: {driver: hostpath.test, volumeHandle: vol-1}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: topology.hostpath.test/node, operator: In, values: [this-one]}]}]}}
YAML
claim csi 'storageClassName: csi'
pod csi csi 'echo one >>/data/log; cat /data/log' 'securityContext: {fsGroup: 3000}'
eventually 20 "a pod's CSI volume is to be attached" sh -c "kubectl --kubeconfig $KUBECONFIG_FILE get volumeattachments | grep -q 'hostpath.test.*csi.*worker-1.*false'"
same "and is waited for" Pending jp pod/csi .status.phase
k patch volumeattachment "$(attachment)" --subresource=status --type=merge -p '{"status":{"attached":true}}' >/dev/null
ok "attached, it is mounted" k wait --for=condition=Ready pod/csi --timeout=30s
ok "staged and published, once each" sh -c "[ \$(grep -c '^stage ' $WORK/csi.log) = 1 ] && [ \$(grep -c '^publish ' $WORK/csi.log) = 1 ]"
same "for the group" 3000 k exec csi -- stat -c %g /data/log
same "what it wrote is in the driver's folder" one cat "$WORK/csi-data/vol-1/log"
eventually 15 "the node says what is attached" is node/worker-1 '.status.volumesAttached[0].name' 'kubernetes.io/csi/hostpath.test^vol-1'
eventually 30 "and in use" is node/worker-1 '.status.volumesInUse[0]' 'kubernetes.io/csi/hostpath.test^vol-1'
kill_program worker-1 kubelet
stop_driver
ok "start the agent again, without the driver" "$TRIREME" host start worker-1 --dir "$D"
ok "delete the pod" k delete pod csi --wait=false
start_driver
eventually 60 "it goes once the driver is back" gone pod csi
eventually 5 "unpublished" called unpublish 1
eventually 5 "and unstaged" called unstage 1
same "no mount is left" 0 mounts_left
eventually 40 "the volume is detached" sh -c "[ -z \"\$(kubectl --kubeconfig $KUBECONFIG_FILE get volumeattachments -o name)\" ]"
stop_driver
rm "$REGISTRY/hostpath.sock"
eventually 10 "a driver that goes is forgotten" is csinode/worker-1 '{.spec.drivers[*].name}' ''
finish
