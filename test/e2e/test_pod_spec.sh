#!/bin/bash
# What a pod spec can say, with real containers: order of containers, hooks, probes, restarts, variables,
# names, resolvers, last words. Users and kernels: test_pod_security.sh; images: test_images.sh.
. "$(dirname "$0")/lib.sh"
need_root "the pod spec test"
setup pod-spec
D=$WORK/c
ok "up" up "$D" --control-planes 1 --workers 1
[ "$failed" = 0 ] || finish
KUBECONFIG_FILE=$D/kubeconfig
apply() { with_busybox | k apply -f - >/dev/null || fail "apply"; }
log() { k logs "$@" 2>&1; }
logs_are() { local pod=$1 want=$2; shift 2; [ "$(log "$pod" "$@")" = "$want" ] || { log "$pod" "$@"; return 1; }; }
logs_have() { local pod=$1 want=$2; shift 2; case $(log "$pod" "$@") in *"$want"*) ;; *) log "$pod" "$@"; return 1 ;; esac; }
status_of() { jp "pod/$1" ".status.containerStatuses[?(@.name==\"${3:-c}\")].$2"; }
status_is() { [ "$(status_of "$1" "$2" "${4:-c}")" = "$3" ] || { k get pod "$1" -o yaml; return 1; }; }
HOST=$D/hosts/worker-1
eventually 20 "default service account" k get serviceaccount default
ok "the node is ready" k wait --for=condition=Ready node --all --timeout=60s
ok "and in a zone" k label node worker-1 topology.kubernetes.io/zone=z1 topology.kubernetes.io/region=r1
k create configmap conf --from-literal=one=1 --from-literal=two=2 >/dev/null
k create secret generic secret --from-literal=word=hush >/dev/null

# --- order: init containers, sidecars, containers; the way back
mkdir -p "$WORK/order"
apply <<YAML
apiVersion: v1
kind: Pod
metadata: {name: order}
spec:
  terminationGracePeriodSeconds: 10
  volumes: [{name: o, hostPath: {path: $WORK/order}}]
  initContainers:
  - {name: i1, image: busybox, command: [sh, -c, 'echo i1 >>/o/log'], volumeMounts: [{name: o, mountPath: /o}]}
  - {name: s1, image: busybox, restartPolicy: Always, command: [sh, -c, 'echo s1 >>/o/log; trap "echo s1 ends >>/o/log; exit 0" TERM; sleep 1; touch /tmp/up; while :; do sleep 1 & wait; done'],
    startupProbe: {exec: {command: [cat, /tmp/up]}, periodSeconds: 1}, volumeMounts: [{name: o, mountPath: /o}]}
  - {name: s2, image: busybox, restartPolicy: Always, command: [sh, -c, 'echo s2 >>/o/log; trap "echo s2 ends >>/o/log; exit 0" TERM; while :; do sleep 1 & wait; done'], volumeMounts: [{name: o, mountPath: /o}]}
  - {name: i2, image: busybox, command: [sh, -c, 'sleep 1; echo i2 >>/o/log'], volumeMounts: [{name: o, mountPath: /o}]}
  containers:
  - {name: c, image: busybox, command: [sh, -c, 'echo c >>/o/log; trap "sleep 1; echo c ends >>/o/log; exit 0" TERM; while :; do sleep 1 & wait; done'], volumeMounts: [{name: o, mountPath: /o}]}
YAML
ok "a pod with init containers and sidecars is ready" k wait --for=condition=Ready pod/order --timeout=60s
order() { tr '\n' ' ' <"$WORK/order/log"; }
same "they came in order, a sidecar's start-up awaited" "i1 s1 s2 i2 c " order
same "the sidecars run" "true true" jp pod/order '{.status.initContainerStatuses[1].started} {.status.initContainerStatuses[2].ready}'
k debug order --image=docker.io/library/busybox:latest --image-pull-policy=IfNotPresent --target=c -c probe -- sh -c 'echo I see $(ps | grep -c "[c]_ends\|[c] ends"); sleep 1000' >/dev/null 2>&1
eventually 20 "an ephemeral container sees its target's processes" logs_have order "I see 1" -c probe
ok "delete it" k delete pod order --timeout=40s
same "the way back: containers, then sidecars, the last first" "i1 s1 s2 i2 c c ends s2 ends s1 ends " order

# --- hooks, signals, probes, restarts, all at once
apply <<YAML
apiVersion: v1
kind: Pod
metadata: {name: hooks}
spec:
  terminationGracePeriodSeconds: 20
  volumes: [{name: o, hostPath: {path: $WORK/order}}]
  containers:
  - {name: c, image: busybox, command: [sh, -c, 'trap "echo term >>/o/hooks; exit 0" TERM; mkdir /w; echo hi >/w/pre; echo hi >/w/post; httpd -p 8080 -h /w -vv -f 2>/o/httpd & while :; do sleep 1 & wait \$!; done'],
     volumeMounts: [{name: o, mountPath: /o}], lifecycle: {postStart: {exec: {command: [sh, -c, 'echo exec post >>/o/hooks']}}, preStop: {httpGet: {path: /pre, port: 8080}}}}
  - {name: d, image: busybox, command: [sh, -c, 'trap "echo term d >>/o/hooks; exit 0" TERM; while :; do sleep 1 & wait; done'],
     volumeMounts: [{name: o, mountPath: /o}], lifecycle: {postStart: {sleep: {seconds: 1}}, preStop: {sleep: {seconds: 2}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: badhook}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: busybox, command: [sh, -c, 'while :; do sleep 1; done'], lifecycle: {postStart: {exec: {command: [sh, -c, 'echo no; exit 3']}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: deafhook}
spec:
  terminationGracePeriodSeconds: 3600
  containers:
  - {name: c, image: busybox, command: [sh, -c, 'trap "" TERM; while :; do sleep 1; done'], lifecycle: {postStart: {exec: {command: [sh, -c, 'sleep 1; exit 3']}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: tcphook}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: busybox, command: [sh, -c, 'nc -lk -p 8080 & while :; do sleep 1; done'], lifecycle: {postStart: {tcpSocket: {port: 8080}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: probed}
spec:
  terminationGracePeriodSeconds: 30
  containers:
  - {name: http, image: busybox, command: [sh, -c, 'mkdir /w; echo ok >/w/ok; exec httpd -f -p 8080 -h /w'], ports: [{name: web, containerPort: 8080}],
     readinessProbe: {httpGet: {path: /ok, port: web, httpHeaders: [{name: X-A, value: b}]}, periodSeconds: 1}, livenessProbe: {tcpSocket: {port: web}, periodSeconds: 1}}
  - {name: exec, image: busybox, command: [sh, -c, 'trap "" TERM; while :; do sleep 1; done'],
     livenessProbe: {exec: {command: [sh, -c, 'echo broken; exit 1']}, periodSeconds: 1, failureThreshold: 2, terminationGracePeriodSeconds: 1}}
  - {name: tcp, image: busybox, command: [sh, -c, 'while :; do sleep 1; done'], readinessProbe: {tcpSocket: {port: 9}, periodSeconds: 1}}
  - {name: late, image: busybox, command: [sh, -c, 'trap "" TERM; while :; do sleep 1; done'], startupProbe: {exec: {command: ['false']}, periodSeconds: 1, failureThreshold: 3, terminationGracePeriodSeconds: 1},
     livenessProbe: {exec: {command: ['true']}}}
---
apiVersion: v1
kind: Pod
metadata: {name: grpc}
spec:
  terminationGracePeriodSeconds: 1
  hostNetwork: true
  containers:
  - {name: c, image: busybox, command: [sh, -c, 'while :; do sleep 1; done'], readinessProbe: {grpc: {port: 18090, service: known}, periodSeconds: 1}}
  - {name: d, image: busybox, command: [sh, -c, 'while :; do sleep 1; done'], readinessProbe: {grpc: {port: 18090, service: unknown}, periodSeconds: 1}}
---
apiVersion: v1
kind: Pod
metadata: {name: failing}
spec:
  restartPolicy: OnFailure
  containers:
  - {name: c, image: busybox, command: [sh, -c, 'test -e /v/second && exit 0; touch /v/second; exit 4'], volumeMounts: [{name: v, mountPath: /v}]}
  volumes: [{name: v, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata: {name: rules}
spec:
  restartPolicy: Never
  containers:
  - {name: c, image: busybox, command: [sh, -c, 'test -e /v/second && exit 5; touch /v/second; exit 42'], volumeMounts: [{name: v, mountPath: /v}],
     restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]}
  volumes: [{name: v, emptyDir: {}}]
---
apiVersion: v1
kind: Pod
metadata: {name: deadline}
spec: {activeDeadlineSeconds: 3, terminationGracePeriodSeconds: 1, containers: [{name: c, image: busybox, command: [sh, -c, 'while :; do sleep 1; done']}]}
---
apiVersion: v1
kind: Pod
metadata: {name: words}
spec:
  restartPolicy: Never
  containers:
  - {name: c, image: busybox, command: [sh, -c, 'echo -n from file >/last; exit 1'], terminationMessagePath: /last}
  - {name: d, image: busybox, command: [sh, -c, 'echo from the log; exit 1'], terminationMessagePolicy: FallbackToLogsOnError}
  - {name: e, image: busybox, command: [sh, -c, 'echo not shown'], terminationMessagePolicy: FallbackToLogsOnError}
---
apiVersion: v1
kind: Pod
metadata: {name: gated}
spec:
  readinessGates: [{conditionType: example.com/ok}]
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: busybox, command: [sh, -c, 'while :; do sleep 1; done']}]
---
apiVersion: v1
kind: Pod
metadata: {name: initfails}
spec:
  restartPolicy: Never
  initContainers: [{name: i, image: busybox, command: [sh, -c, 'exit 6']}]
  containers: [{name: c, image: busybox, command: ['true']}]
YAML
NODE_NS=/run/netns/trireme-$PORT-worker-1
nsenter --net="$NODE_NS" "$HERE/grpc_health.py" 18090 known >"$WORK/health.log" 2>&1 &
HEALTH=$!
trap 'kill $HEALTH 2>/dev/null; teardown' EXIT

# --- variables and names
apply <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: vars, labels: {app: vars, tier: back}, annotations: {note: "said \"so\""}}
spec:
  restartPolicy: Never
  hostname: given
  subdomain: sub
  hostAliases: [{ip: 192.0.2.7, hostnames: [seven, sieben]}]
  volumes: [{name: v, emptyDir: {}}, {name: d, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}, {path: cpu, resourceFieldRef: {containerName: c, resource: limits.cpu, divisor: 1m}}]}}]
  initContainers: [{name: i, image: busybox, command: [sh, -c, "printf \"# made here\\nFROM_FILE='of a file'\\nOTHER='x'\\n\" >/v/env"], volumeMounts: [{name: v, mountPath: /v}]}]
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    resources: {limits: {cpu: 250m, memory: 32Mi}, requests: {cpu: 100m}}
    envFrom: [{configMapRef: {name: conf}, prefix: C_}, {secretRef: {name: secret}}, {configMapRef: {name: nope, optional: true}}]
    env:
    - {name: A, value: a}
    - {name: B, value: "$(A)-$(C_one)-$(UNKNOWN)-$$(A)"}
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: TIER, valueFrom: {fieldRef: {fieldPath: "metadata.labels['tier']"}}}
    - {name: NOTE, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['note']"}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: ACCOUNT, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: ZONE, valueFrom: {fieldRef: {fieldPath: "metadata.labels['topology.kubernetes.io/zone']"}}}
    - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
    - {name: MEM, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
    - {name: KEY, valueFrom: {configMapKeyRef: {name: conf, key: two}}}
    - {name: NONE, valueFrom: {secretKeyRef: {name: secret, key: none, optional: true}}}
    - {name: FILE, valueFrom: {fileKeyRef: {volumeName: v, path: env, key: FROM_FILE}}}
    command: [sh, -c, 'echo "B=$B POD=$POD TIER=$TIER NOTE=$NOTE NODE=$NODE ACCOUNT=$ACCOUNT IP=${IP:+yes} ZONE=$ZONE CPU=$CPU MEM=$MEM KEY=$KEY NONE=${NONE-unset} word=$word arg=$0 FILE=$FILE"; cat /etc/hosts /etc/resolv.conf; hostname; cat /d/labels /d/cpu', '$(POD)/$(C_two)']
    volumeMounts: [{name: d, mountPath: /d}]
---
apiVersion: v1
kind: Pod
metadata: {name: fqdn}
spec:
  restartPolicy: Never
  subdomain: sub
  setHostnameAsFQDN: true
  containers: [{name: c, image: busybox, command: [hostname]}]
---
apiVersion: v1
kind: Pod
metadata: {name: override}
spec:
  restartPolicy: Never
  hostnameOverride: my.own.name
  containers: [{name: c, image: busybox, command: [hostname]}]
---
apiVersion: v1
kind: Pod
metadata: {name: dnsnone}
spec:
  restartPolicy: Never
  dnsPolicy: None
  dnsConfig: {nameservers: [192.0.2.53], searches: [a.example, b.example], options: [{name: ndots, value: "2"}, {name: edns0}]}
  containers: [{name: c, image: busybox, command: [cat, /etc/resolv.conf]}]
---
apiVersion: v1
kind: Pod
metadata: {name: dnsdefault}
spec: {restartPolicy: Never, dnsPolicy: Default, containers: [{name: c, image: busybox, command: [cat, /etc/resolv.conf]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: hostns}
spec:
  restartPolicy: Never
  hostNetwork: true
  hostPID: true
  hostIPC: true
  dnsPolicy: ClusterFirstWithHostNet
  containers: [{name: c, image: busybox, command: [sh, -c, 'for n in pid ipc net; do readlink /proc/self/ns/$n; done; hostname; cat /etc/resolv.conf']}]
---
apiVersion: v1
kind: Pod
metadata: {name: shared}
spec:
  shareProcessNamespace: true
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: busybox, command: [sh, -c, 'sleep 1; echo $(ps | grep -c "[w]hile.*other")']}
  - {name: d, image: busybox, command: [sh, -c, 'while :; do sleep 1; done # other']}
---
apiVersion: v1
kind: Pod
metadata: {name: nokey}
spec:
  restartPolicy: Never
  containers: [{name: c, image: busybox, env: [{name: A, valueFrom: {configMapKeyRef: {name: conf, key: none}}}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: neverpull}
spec: {restartPolicy: Never, containers: [{name: c, image: example.invalid/none:1, imagePullPolicy: Never}]}
YAML

ended() { k wait --for=jsonpath='{.status.phase}'="${2:-Succeeded}" "pod/$1" --timeout=60s; }
ok "a pod with variables ends" ended vars
eventually 5 "variables" logs_have vars 'B=a-1-$(UNKNOWN)-$(A) POD=vars TIER=back NOTE=said "so" NODE=worker-1 ACCOUNT=default IP=yes ZONE=z1 CPU=250 MEM=32 KEY=2 NONE=unset word=hush arg=vars/2 FILE=of a file'
ok "hostAliases" logs_have vars "192.0.2.7	seven	sieben"
ok "hostname and subdomain in /etc/hosts" logs_have vars "given.sub.default.svc.cluster.local	given"
ok "resolver: ClusterFirst" logs_have vars "search default.svc.cluster.local svc.cluster.local cluster.local"
ok "resolver: ndots" logs_have vars "options ndots:5"
ok "hostname" logs_have vars $'\ngiven\n'
ok "downwardAPI volume" logs_have vars 'tier="back"'
ok "setHostnameAsFQDN" ended fqdn
ok "is the host's name" logs_are fqdn fqdn.sub.default.svc.cluster.local
ok "hostnameOverride" ended override
ok "is the host's name" logs_are override my.own.name
ok "dnsPolicy None" ended dnsnone
ok "takes dnsConfig alone" logs_are dnsnone $'search a.example b.example\nnameserver 192.0.2.53\noptions ndots:2 edns0'
ok "dnsPolicy Default" ended dnsdefault
no "has no cluster domains" logs_have dnsdefault svc.cluster.local
ok "host namespaces" ended hostns
for ns in pid ipc; do ok "the node's $ns namespace" logs_have hostns "$(readlink /proc/self/ns/$ns)"; done
ok "the node's network" logs_have hostns "$(nsenter --net="$NODE_NS" readlink /proc/self/ns/net)"
ok "ClusterFirstWithHostNet" logs_have hostns svc.cluster.local
eventually 30 "shareProcessNamespace" logs_are shared 1 -c c
eventually 20 "a key that is not there" status_is nokey state.waiting.reason CreateContainerConfigError
has "and which" "couldn't find key none in ConfigMap default/conf" status_of nokey state.waiting.message
eventually 20 "imagePullPolicy Never" status_is neverpull state.waiting.reason ErrImageNeverPull
has "and why" 'Container image "example.invalid/none:1" is not present with pull policy of Never' status_of neverpull state.waiting.message

# --- hooks
ok "a pod with hooks is ready" k wait --for=condition=Ready pod/hooks --timeout=60s
same "postStart: exec" "exec post" cat "$WORK/order/hooks"
began=$SECONDS
ok "delete it" k delete pod hooks --timeout=40s
ok "preStop: http was asked" grep -q "url:/pre" "$WORK/order/httpd"
ok "then came SIGTERM" grep -qx "term" "$WORK/order/hooks"
ok "preStop: sleep came before SIGTERM ($((SECONDS - began)) s)" test $((SECONDS - began)) -ge 2
ok "to both" grep -qx "term d" "$WORK/order/hooks"
eventually 30 "a postStart that fails" told FailedPostStartHook badhook "PostStartHook failed"
eventually 30 "has its container restarted" sh -c "[ \"\$(kubectl --kubeconfig $KUBECONFIG_FILE get pod badhook -o 'jsonpath={.status.containerStatuses[0].restartCount}')\" -ge 1 ]"
eventually 30 "one of a container that is deaf" told FailedPostStartHook deafhook "PostStartHook failed"
ok "is not waited for by a deletion that has less time" k delete pod deafhook --grace-period=1 --timeout=60s
eventually 30 "tcpSocket is no hook, as upstream has it" told FailedPostStartHook tcphook "PostStartHook failed: invalid handler"

# --- probes
eventually 20 "readiness by HTTP" status_is probed ready true http
eventually 30 "liveness: killed when it fails twice" told Killing probed "Container exec failed liveness probe, will be restarted"
eventually 15 "within the probe's own grace" sh -c "[ \"\$(kubectl --kubeconfig $KUBECONFIG_FILE get pod probed -o 'jsonpath={.status.containerStatuses[?(@.name==\"exec\")].restartCount}')\" -ge 1 ]"
ok "and said what it answered" told Unhealthy probed "Liveness probe failed: broken"
ok "readiness by TCP: nothing listens" status_is probed ready false tcp
ok "and why" told Unhealthy probed "connect: connection refused"
eventually 30 "start-up probe: killed when it fails" told Killing probed "Container late failed startup probe, will be restarted"
same "the others went on" 0 status_of probed restartCount http
eventually 20 "readiness by gRPC" status_is grpc ready true c
eventually 20 "gRPC: a service that is not known" told Unhealthy grpc "Readiness probe failed"
same "is not ready" false status_of grpc ready d

# --- restarts and ends
ok "OnFailure: again until it succeeds" ended failing
same "OnFailure: restarted once" 1 status_of failing restartCount
ok "restartPolicyRules: Never, but not for 42" ended rules Failed
same "restarted once" "1 5" jp pod/rules '{.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].state.terminated.exitCode}'
# An init container that its own rules start again: the pod is not taken for failed in between.
k get pods -w --field-selector metadata.name=rules-init -o 'jsonpath={.status.phase}{"\n"}' >"$WORK/phases" 2>/dev/null &
PHASES=$!
k apply -f - >/dev/null <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: rules-init}
spec:
  restartPolicy: Never
  initContainers:
  - {name: i, image: docker.io/library/busybox:latest, imagePullPolicy: IfNotPresent, command: [sh, -c, 'test -e /v/second && exit 0; touch /v/second; exit 42'], volumeMounts: [{name: v, mountPath: /v}],
     restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]}
  containers: [{name: c, image: docker.io/library/busybox:latest, imagePullPolicy: IfNotPresent, command: ["true"]}]
  volumes: [{name: v, emptyDir: {}}]
YAML
ok "restartPolicyRules of an init container" ended rules-init
kill $PHASES 2>/dev/null
no "whose pod is never said to have failed" grep -q Failed "$WORK/phases"
ok "and was watched" grep -q Succeeded "$WORK/phases"
ok "activeDeadlineSeconds" ended deadline Failed
same "says so" "DeadlineExceeded" jp pod/deadline .status.reason
ok "last words" ended words Failed
same "of a file" "from file" status_of words state.terminated.message c
same "of the log" "from the log" status_of words state.terminated.message d
same "of a success: none" "" status_of words state.terminated.message e
eventually 20 "readiness gates: containers are ready" is pod/gated '.status.conditions[?(@.type=="ContainersReady")].status' True
same "the pod is not" False jp pod/gated '.status.conditions[?(@.type=="Ready")].status'
same "and why" ReadinessGatesNotReady jp pod/gated '.status.conditions[?(@.type=="Ready")].reason'
ok "set it" k patch pod gated --subresource=status -p '{"status":{"conditions":[{"type":"example.com/ok","status":"True"}]}}'
eventually 10 "then it is" is pod/gated '.status.conditions[?(@.type=="Ready")].status' True
ok "an init container that fails" ended initfails Failed
same "its pod's containers never ran" "PodInitializing" status_of initfails state.waiting.reason
finish
