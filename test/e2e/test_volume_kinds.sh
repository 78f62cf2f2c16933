#!/bin/bash
# Volumes that need no claim, and block devices, with real containers: every type of hostPath, emptyDir on disk, in
# memory and with limits, projections and their updates, sub-paths, propagation, read-only mounts, raw block
# volumes; what this node cannot mount is refused, and said why. Claims and CSI: test_volumes.sh, test_csi.sh.
. "$(dirname "$0")/lib.sh"
need_root "the volume kinds test"
setup volume-kinds
D=$WORK/c
H=$WORK/host
mkdir -p "$H/dir" "$H/peer"
echo content >"$H/file"
mknod "$H/char" c 1 3
LOOP=''
truncate -s 8M "$WORK/disk.img"
LOOP=$(losetup --find --show "$WORK/disk.img" 2>/dev/null) || echo "  left out: no loop devices here: raw block volumes are not tried"
python3 -c 'import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$H/sock"
ok "up" up "$D" --control-planes 1 --workers 1
[ "$failed" = 0 ] || finish
KUBECONFIG_FILE=$D/kubeconfig
trap 'teardown; [ -z "$LOOP" ] || losetup -d "$LOOP"; umount -l "$WORK/host/shared" 2>/dev/null; rm -rf "$WORK"' EXIT
apply() { with_busybox | k apply -f - >/dev/null || fail "apply"; }
logs_are() { [ "$(k logs "$1" 2>&1)" = "$2" ] || { k logs "$1"; return 1; }; }
ended() { k wait --for=jsonpath='{.status.phase}'="${2:-Succeeded}" "pod/$1" --timeout=60s; }
runs() { k wait --for=condition=Ready "pod/$1" --timeout=60s; }
eventually 20 "default service account" k get serviceaccount default
ok "the node is ready" k wait --for=condition=Ready node --all --timeout=60s

# host NAME TYPE PATH COMMAND
host() {
    apply <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: busybox, command: [sh, -c, '$4'], volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, hostPath: {path: $3, type: $2}}]
YAML
}
host h-none '""' "$H/made" 'touch /v/x && echo yes'
host h-dir Directory "$H/dir" 'touch /v/x && echo yes'
host h-dirmake DirectoryOrCreate "$H/new/deep" 'touch /v/x && echo yes'
host h-file File "$H/file" 'cat /v'
host h-filemake FileOrCreate "$H/newfile" 'echo x >/v && echo yes'
host h-sock Socket "$H/sock" 'test -S /v && echo yes'
host h-char CharDevice "$H/char" 'test -c /v && echo yes'
[ -z "$LOOP" ] || host h-block BlockDevice "$LOOP" 'test -b /v && echo yes'
host x-dir Directory "$H/file" true
host x-file File "$H/dir" true
host x-sock Socket "$H/file" true
host x-char CharDevice "$H/file" true
host x-block BlockDevice "$H/char" true
host x-none Directory "$H/absent" true

k create configmap conf --from-literal=key=one >/dev/null
k create secret generic sec --from-literal=word=hush >/dev/null
apply <<YAML
apiVersion: v1
kind: Pod
metadata: {name: files, labels: {colour: red}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsUser: 1000, fsGroup: 4000}
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'while :; do sleep 1; done']
    env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
    volumeMounts:
    - {name: conf, mountPath: /conf}
    - {name: conf, mountPath: /one/key, subPath: sub/renamed}
    - {name: sec, mountPath: /sec}
    - {name: all, mountPath: /all}
    - {name: disk, mountPath: /disk}
    - {name: disk, mountPath: /mine, subPathExpr: of/\$(POD)}
    - {name: mem, mountPath: /mem}
    - {name: ro, mountPath: /ro, readOnly: true}
  volumes:
  - {name: conf, configMap: {name: conf, items: [{key: key, path: sub/renamed, mode: 0400}]}}
  - {name: sec, secret: {secretName: sec, defaultMode: 0440}}
  - name: all
    projected:
      defaultMode: 0444
      sources:
      - {configMap: {name: conf}}
      - {secret: {name: sec, items: [{key: word, path: deep/word}]}}
      - {configMap: {name: none, optional: true}}
      - {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
      - {serviceAccountToken: {path: token, audience: somebody, expirationSeconds: 600}}
  - {name: disk, emptyDir: {sizeLimit: 16Mi}}
  - {name: mem, emptyDir: {medium: Memory, sizeLimit: 4Mi}}
  - {name: ro, emptyDir: {}}
---
apiVersion: v1
kind: Pod
metadata: {name: large}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: busybox, command: [sh, -c, 'head -c 6000000 /dev/zero >/v/x; while :; do sleep 1; done'], volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, emptyDir: {sizeLimit: 2Mi}}]
---
apiVersion: v1
kind: Pod
metadata: {name: escape}
spec:
  restartPolicy: Never
  initContainers: [{name: i, image: busybox, command: [ln, -s, /etc, /v/out], volumeMounts: [{name: v, mountPath: /v}]}]
  containers: [{name: c, image: busybox, command: [ls, /v], volumeMounts: [{name: v, mountPath: /v, subPath: out}]}]
  volumes: [{name: v, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata: {name: image}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: busybox, command: [sh, -c, 'ls /v; ls /sub | head -n 1; touch /v/x /sub/x; while :; do sleep 1; done'], volumeMounts: [{name: v, mountPath: /v}, {name: v, mountPath: /sub, subPath: etc}]}
  - {name: d, image: busybox, command: [sh, -c, 'cat /w/group | head -n 1; while :; do sleep 1; done'], volumeMounts: [{name: v, mountPath: /w, subPath: etc}]}
  volumes: [{name: v, image: {reference: docker.io/library/busybox:latest, pullPolicy: IfNotPresent}}]
---
apiVersion: v1
kind: Pod
metadata: {name: noimage}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: busybox, command: [ls, /v], volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, image: {reference: example.invalid/none:1, pullPolicy: Never}}]
---
apiVersion: v1
kind: Pod
metadata: {name: recursive}
spec:
  restartPolicy: Never
  containers: [{name: c, image: busybox, command: [ls, /v], volumeMounts: [{name: v, mountPath: /v, readOnly: true, recursiveReadOnly: Enabled}]}]
  volumes: [{name: v, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata: {name: ifpossible}
spec:
  restartPolicy: Never
  containers: [{name: c, image: busybox, command: [sh, -c, 'touch /v/x 2>&1; true'], volumeMounts: [{name: v, mountPath: /v, readOnly: true, recursiveReadOnly: IfPossible}]}]
  volumes: [{name: v, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata: {name: nfs}
spec:
  restartPolicy: Never
  containers: [{name: c, image: busybox, command: [ls, /v], volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, nfs: {server: 192.0.2.1, path: /x}}]
YAML

# --- hostPath
for pod in h-none h-dir h-dirmake h-filemake h-sock h-char ${LOOP:+h-block}; do
    ok "hostPath: $pod" ended $pod
    ok "$pod: is there" logs_are $pod yes
done
ok "hostPath: a file" ended h-file
ok "is there" logs_are h-file content
ok "what was to be made is on the host" test -f "$H/new/deep/x" -a -f "$H/made/x" -a -s "$H/newfile"
refused() { eventually 20 "hostPath: $1 is refused" told FailedMount "$1" "hostPath type check failed: $2"; }
refused x-dir "$H/file is not a directory"
refused x-file "$H/dir is not a file"
refused x-sock "$H/file is not a socket"
refused x-char "$H/file is not a character device"
refused x-block "$H/char is not a block device"
refused x-none "$H/absent is not a directory"
mkdir "$H/absent"
eventually 60 "once it is there the pod runs" ended x-none

# --- emptyDir and projections
in_files() { k exec files -- "$@" 2>&1; }
ok "a pod with many volumes" runs files
same "configMap: path and mode" "440 one" in_files sh -c 'echo $(stat -Lc %a /conf/sub/renamed) $(cat /conf/sub/renamed)'

same "secret: mode, for its group" "440 4000 hush" in_files sh -c 'echo $(stat -Lc %a /sec/word) $(stat -Lc %g /sec/word) $(cat /sec/word)'
same "projected: all sources" "deep key labels token" in_files sh -c 'echo $(ls /all)'
has "projected: a token for the audience" '"aud":["somebody"]' in_files sh -c 'cut -d. -f2 /all/token | tr _- /+ | base64 -d 2>/dev/null'
no "files are not to be written" in_files sh -c 'echo x >/all/key'
same "in memory, as large as said" "tmpfs 4096" in_files sh -c 'set -- $(df -k /mem | tail -n 1); grep -q "^tmpfs /mem" /proc/mounts && echo tmpfs $2'
no "more does not fit" in_files sh -c 'head -c 5000000 /dev/zero >/mem/x'
has "readOnly" "Read-only file system" in_files touch /ro/x
ok "subPathExpr: write" in_files sh -c 'echo mine >/mine/x'
same "subPathExpr: where it is" mine in_files cat /disk/of/files/x
eventually 60 "emptyDir: more than its sizeLimit: evicted" is pod/large .status.reason Evicted
has "and why" 'Usage of EmptyDir volume "v" exceeds the limit "2Mi"' jp pod/large .status.message
eventually 20 "a sub-path that leads out is refused" is pod/escape '.status.containerStatuses[0].state.waiting.reason' CreateContainerConfigError
before=$(in_files readlink /all/..data)
k patch configmap conf -p '{"data":{"key":"two"}}' >/dev/null
k label pod files colour=blue --overwrite >/dev/null
follows() { [ "$(in_files cat "$1")" = "$2" ] || { in_files cat "$1"; return 1; }; }
eventually 150 "a changed ConfigMap is followed" follows /all/key two
eventually 60 "in the other volume" follows /conf/sub/renamed two
no "in one step: another folder" test "$before" = "$(in_files readlink /all/..data)"
same "a sub-path is not" one in_files cat /one/key
has "labels are followed" 'colour="blue"' in_files cat /all/labels

# --- images
views() { ctr -a "/run/trireme-$PORT/worker-1/containerd.sock" -n k8s.io snapshots ls | grep -c trireme-volume-; }
mounts_of() { grep -c "/pods/$1/volumes/" /proc/self/mounts; }
ok "a pod with an image for a volume" runs image
image_uid=$(jp pod/image .metadata.uid)
has "sees what is in it" usr k logs image -c c
has "or a part of it" group k logs image -c c
has "in each container" root:x:0: k logs image -c d
has "and cannot write there" "touch: /v/x: Read-only file system" k logs image -c c
has "nor in a part of it" "touch: /sub/x: Read-only file system" k logs image -c c
eventually 20 "an image that may not be pulled" is pod/noimage '.status.containerStatuses[0].state.waiting.reason' ErrImageNeverPull
has "is named" 'Container image "example.invalid/none:1" is not present with pull policy of Never' jp pod/noimage '.status.containerStatuses[0].state.waiting.message'
if containerd --version | grep -q ' 1\.'; then same "mounted once for both containers" 1 grep -c "/pods/$image_uid/volumes/kubernetes.io~image/v " /proc/self/mounts; fi
if containerd --version | grep -q ' 1\.'; then same "an old containerd keeps a view of it" 1 views; fi
ok "delete them" k delete pod image noimage --timeout=60s
same "no view is left" 0 views
same "nor a mount" 0 mounts_of "$image_uid"

# --- what cannot be
if containerd --version | grep -q ' 1\.'; then
    eventually 20 "recursiveReadOnly, with a runtime that has it not" is pod/recursive '.status.containerStatuses[0].state.waiting.message' 'volume "v" requested recursive read-only mode, but it is not supported by the runtime'
fi
ok "recursiveReadOnly: if possible" ended ifpossible
has "is read-only in any case" "Read-only file system" k logs ifpossible
eventually 20 "types that are not mounted here" told FailedMount nfs "no volume plugin matched"

# --- propagation
mkdir "$H/shared" && mount -t tmpfs none "$H/shared" && mount --make-shared "$H/shared"
mkdir "$H/shared/a" "$H/shared/b"
apply <<YAML
apiVersion: v1
kind: Pod
metadata: {name: gives}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: busybox, securityContext: {privileged: true}, command: [sh, -c, 'mount -t tmpfs none /v/b && touch /v/b/of-pod; while :; do sleep 1; done'], volumeMounts: [{name: v, mountPath: /v, mountPropagation: Bidirectional}]}]
  volumes: [{name: v, hostPath: {path: $H/shared}}]
---
apiVersion: v1
kind: Pod
metadata: {name: takes}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: busybox, command: [sh, -c, 'while :; do sleep 1; done'], volumeMounts: [{name: v, mountPath: /v, mountPropagation: HostToContainer}]}
  - {name: d, image: busybox, command: [sh, -c, 'while :; do sleep 1; done'], volumeMounts: [{name: v, mountPath: /v}]}
  volumes: [{name: v, hostPath: {path: $H/shared}}]
YAML
ok "pods with propagation" k wait --for=condition=Ready pod/gives pod/takes --timeout=60s
ok "mount on the host" mount -t tmpfs none "$H/shared/a"
touch "$H/shared/a/of-host"
ok "HostToContainer sees it" k exec takes -c c -- test -e /v/a/of-host
no "None does not" k exec takes -c d -- test -e /v/a/of-host
eventually 10 "Bidirectional: the host sees the pod's" test -e "$H/shared/b/of-pod"
ok "delete them" k delete pod gives takes --now
umount -R "$H/shared"

# --- raw block volumes
if [ -n "$LOOP" ]; then
    k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: raw}
spec:
  capacity: {storage: 8Mi}
  accessModes: [ReadWriteOnce]
  storageClassName: ""
  volumeMode: Block
  local: {path: $LOOP}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [worker-1]}]}]}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: raw}
spec: {resources: {requests: {storage: 8Mi}}, accessModes: [ReadWriteOnce], storageClassName: "", volumeMode: Block}
---
apiVersion: v1
kind: Pod
metadata: {name: raw}
spec:
  restartPolicy: Never
  containers: [{name: c, image: docker.io/library/busybox:latest, imagePullPolicy: IfNotPresent, command: [sh, -c, 'test -b /dev/raw && printf written | dd of=/dev/raw conv=fsync 2>/dev/null && dd if=/dev/raw bs=7 count=1 2>/dev/null'], volumeDevices: [{name: v, devicePath: /dev/raw}]}]
  volumes: [{name: v, persistentVolumeClaim: {claimName: raw}}]
---
apiVersion: v1
kind: Pod
metadata: {name: mixed}
spec:
  restartPolicy: Never
  containers: [{name: c, image: docker.io/library/busybox:latest, imagePullPolicy: IfNotPresent, command: [ls], volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, persistentVolumeClaim: {claimName: raw}}]
YAML
    ok "a raw block volume" ended raw
    ok "is written and read" logs_are raw written
    same "on the device" written head -c 7 "$WORK/disk.img"
    eventually 20 "a block volume is not mounted as a folder" told FailedMount mixed 'volume v has volumeMode Block, but is specified in volumeMounts'
fi

# --- fsGroup of a folder that outlives its pods, and when it is given anew
mkdir "$H/grouped"
k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: grouped}
spec:
  capacity: {storage: 1Mi}
  accessModes: [ReadWriteOnce]
  storageClassName: none
  local: {path: $H/grouped}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [worker-1]}]}]}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: grouped}
spec: {accessModes: [ReadWriteOnce], storageClassName: none, volumeName: grouped, resources: {requests: {storage: 1Mi}}}
YAML
# group NAME POLICY: a pod that only looks; the group of what stood there before.
group() {
    chgrp 0 "$H/grouped/file" 2>/dev/null || touch "$H/grouped/file"
    apply <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  restartPolicy: Never
  securityContext: {fsGroup: $3, fsGroupChangePolicy: $2}
  containers: [{name: c, image: busybox, command: [stat, -c, '%g', /v, /v/file], volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, persistentVolumeClaim: {claimName: grouped}}]
YAML
    ok "fsGroupChangePolicy: a pod with $2" ended "$1"
}
group always-1 Always 4000
ok "Always: all is the group's" logs_are always-1 $'4000\n4000'
ok "delete it" k delete pod always-1 --timeout=30s
group mismatch-1 OnRootMismatch 4000
ok "OnRootMismatch: the root is right, the rest is left" logs_are mismatch-1 $'4000\n0'
ok "delete it" k delete pod mismatch-1 --timeout=30s
group mismatch-2 OnRootMismatch 5000
ok "OnRootMismatch: the root is not, so all is given" logs_are mismatch-2 $'5000\n5000'
ok "delete it" k delete pod mismatch-2 --timeout=30s
group always-2 Always 5000
ok "Always: again" logs_are always-2 $'5000\n5000'

# --- folders in huge pages
if [ -d /sys/kernel/mm/hugepages/hugepages-2048kB ]; then
    for medium in HugePages-2Mi HugePages-3Mi; do
        apply <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $(echo $medium | tr A-Z a-z)}
spec:
  restartPolicy: Never
  containers: [{name: c, image: busybox, command: [grep, ' /v hugetlbfs ', /proc/mounts], volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, emptyDir: {medium: $medium}}]
YAML
    done
    ok "emptyDir in huge pages" ended hugepages-2mi
    has "of that size" pagesize=2M k logs hugepages-2mi
    eventually 20 "of a size that the kernel lacks" told FailedMount hugepages-3mi "this node's kernel has no huge pages of 3145728 bytes"
fi
finish
