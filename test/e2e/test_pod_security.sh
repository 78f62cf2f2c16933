#!/bin/bash
# Security contexts, kernel settings and resources of pods, seen from inside real containers; what this node's
# runtime or kernel cannot do is refused, and said why.
. "$(dirname "$0")/lib.sh"
need_root "the pod security test"
setup pod-security
D=$WORK/c
ok "up" up "$D" --control-planes 1 --workers 1 --kubelet-args "--allowed-unsafe-sysctls=net.core.somaxconn,kernel.msg*"
[ "$failed" = 0 ] || finish
KUBECONFIG_FILE=$D/kubeconfig
apply() { with_busybox | k apply -f - >/dev/null || fail "apply"; }
says() { same "$1" "$3" k logs "$2"; }
ended() { k wait --for=jsonpath='{.status.phase}'="${2:-Succeeded}" "pod/$1" --timeout=60s; }
eventually 20 "default service account" k get serviceaccount default
ok "the node is ready" k wait --for=condition=Ready node --all --timeout=60s
mkdir -p "$D/hosts/worker-1/kubelet/seccomp/profiles"
echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}' >"$D/hosts/worker-1/kubelet/seccomp/profiles/no-mkdir.json"

# One pod for each; it runs SCRIPT, and its log is looked at below.
# case_of NAME SCRIPT POD-SPEC CONTAINER-SPEC
case_of() {
    apply <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  ${3:-}
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, '$2']
    ${4:-}
YAML
}
caps='grep CapEff /proc/self/status | cut -f2'
case_of user 'id -u; id -g; id -G' 'securityContext: {runAsUser: 1000, runAsGroup: 2000, supplementalGroups: [3000], fsGroup: 4000}'
case_of override 'id -u; id -g' 'securityContext: {runAsUser: 1000, runAsGroup: 2000}' 'securityContext: {runAsUser: 7, runAsGroup: 8}'
case_of nonroot 'id -u' '' 'securityContext: {runAsNonRoot: true}'
case_of nonroot0 'id -u' 'securityContext: {runAsUser: 0}' 'securityContext: {runAsNonRoot: true}'
case_of group 'stat -c "%g %a" /v; echo x >/v/f; stat -c %g /v/f' 'securityContext: {runAsUser: 1000, fsGroup: 4000}
  volumes: [{name: v, emptyDir: {}}]' 'volumeMounts: [{name: v, mountPath: /v}]'
case_of readonly 'touch /x 2>&1; touch /v/x && echo written' 'volumes: [{name: v, emptyDir: {}}]' 'securityContext: {readOnlyRootFilesystem: true}
    volumeMounts: [{name: v, mountPath: /v}]'
case_of capsplain "$caps" '' ''
case_of capsnone "$caps" '' 'securityContext: {capabilities: {drop: [ALL]}}'
case_of capsadd "$caps" '' 'securityContext: {capabilities: {drop: [ALL], add: [NET_ADMIN]}}'
case_of privileged "$caps; test -e /dev/loop-control && echo devices; mount -t tmpfs none /mnt 2>/dev/null || mkdir /mnt && mount -t tmpfs none /mnt && echo mounted" '' 'securityContext: {privileged: true}'
case_of nnp 'grep NoNewPrivs /proc/self/status | cut -f2' '' 'securityContext: {allowPrivilegeEscalation: false}'
case_of yesnp 'grep NoNewPrivs /proc/self/status | cut -f2' '' 'securityContext: {allowPrivilegeEscalation: true}'
case_of seccomp 'grep Seccomp: /proc/self/status | cut -f2' 'securityContext: {seccompProfile: {type: RuntimeDefault}}'
case_of unconfined 'grep Seccomp: /proc/self/status | cut -f2' 'securityContext: {seccompProfile: {type: Unconfined}}'
case_of localseccomp 'mkdir /tmp/a 2>&1 || echo refused' 'securityContext: {seccompProfile: {type: Localhost, localhostProfile: profiles/no-mkdir.json}}'
case_of procmount 'head -c 1 /proc/timer_list >/dev/null 2>&1; cat /proc/self/mountinfo | grep -c " /proc/"' '' ''
case_of procopen 'cat /proc/self/mountinfo | grep -c " /proc/"' 'hostUsers: true' 'securityContext: {procMount: Default}'
case_of sysctl 'cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax' 'securityContext: {sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: "99"}, {name: net/core/somaxconn, value: "77"}, {name: kernel.msgmax, value: "4096"}]}'
case_of badsysctl 'true' 'securityContext: {sysctls: [{name: net.ipv4.ip_forward, value: "1"}]}'
case_of users 'cat /proc/self/uid_map' 'hostUsers: false'
case_of armored 'true' 'securityContext: {appArmorProfile: {type: RuntimeDefault}}'
case_of strict 'id -G' 'securityContext: {runAsUser: 1, supplementalGroupsPolicy: Strict}'
case_of hugepages 'true' '' 'resources: {limits: {hugepages-2Mi: 4Mi, memory: 32Mi, cpu: 100m}}'
case_of besteffort 'cat /proc/self/oom_score_adj; sleep 1000'
case_of guaranteed 'cat /proc/self/oom_score_adj; sleep 1000' '' 'resources: {limits: {cpu: 100m, memory: 64Mi}}'
case_of burstable 'cat /proc/self/oom_score_adj; sleep 1000' '' 'resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {ephemeral-storage: 64Mi}}'
case_of podlevel 'sleep 1000' 'resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}'
case_of oom 'cat /dev/zero | head -c 100000000 | tail' '' 'resources: {limits: {memory: 16Mi}}'
case_of large 'true' '' 'resources: {requests: {cpu: 1000}}'

for pod in user override group capsplain capsnone capsadd nnp yesnp seccomp unconfined localseccomp privileged readonly sysctl procmount; do
    ok "$pod ends" ended $pod
done
says "runAsUser, runAsGroup, supplementalGroups, fsGroup" user $'1000\n2000\n2000 3000 4000'
says "the container's go before the pod's" override $'7\n8'
eventually 20 "runAsNonRoot: an image of root's" is pod/nonroot '.status.containerStatuses[0].state.waiting.reason' CreateContainerConfigError
has "and why" "container has runAsNonRoot and image will run as root" jp pod/nonroot '.status.containerStatuses[0].state.waiting.message'
has "runAsNonRoot with user 0" "container's runAsUser breaks non-root policy" jp pod/nonroot0 '.status.containerStatuses[0].state.waiting.message'
says "fsGroup: an emptyDir and files in it belong to it" group $'4000 2777\n4000'
says "readOnlyRootFilesystem" readonly $'touch: /x: Read-only file system\nwritten'
says "capabilities: the usual" capsplain 00000000a80425fb
says "capabilities: none" capsnone 0000000000000000
says "capabilities: one" capsadd 0000000000001000
has "privileged: all capabilities that the node has" "$(awk '/^CapBnd/ { print $2 }' /proc/self/status)" k logs privileged
has "privileged: devices and mounts" $'devices\nmounted' k logs privileged
says "allowPrivilegeEscalation: false" nnp 1
says "allowPrivilegeEscalation: true" yesnp 0
says "seccomp: RuntimeDefault" seccomp 2
says "seccomp: Unconfined" unconfined 0
has "seccomp: a profile of the node" refused k logs localseccomp
ok "procMount Default: paths are hidden" sh -c "[ \$(kubectl --kubeconfig $KUBECONFIG_FILE logs procmount) -ge 5 ]"
says "sysctls: safe, and unsafe ones that are allowed, with slashes, too" sysctl $'99\n77\n4096'
failed_with() { eventually 20 "$1" is "pod/$2" .status.reason "$3"; has "$1: why" "$4" jp "pod/$2" .status.message; }
failed_with "sysctls: others" badsysctl SysctlForbidden 'forbidden sysctl: "net.ipv4.ip_forward" not allowlisted'
if [ "$(head -c 1 /sys/module/apparmor/parameters/enabled 2>/dev/null)" != Y ]; then
    failed_with "AppArmor where the kernel has none" armored AppArmor "Cannot enforce AppArmor: AppArmor is not enabled on the host"
fi
if containerd --version | grep -q ' 1\.'; then
    failed_with "supplementalGroupsPolicy Strict with a runtime that has not" strict SupplementalGroupsPolicyNotSupported "SupplementalGroupsPolicy=Strict is not supported in this node"
    eventually 20 "user namespaces with a runtime that has none" told FailedCreatePodSandBox users "can't set \`spec.hostUsers: false\`, runtime does not support user namespaces"
fi

# --- resources
eventually 20 "they run" k wait --for=condition=Ready pod/besteffort pod/guaranteed pod/burstable pod/podlevel --timeout=30s
same "QoS classes" "BestEffort Guaranteed Burstable Burstable" k get pod besteffort guaranteed burstable podlevel -o 'jsonpath={.items[*].status.qosClass}'
uid() { jp "pod/$1" .metadata.uid; }
cgroup_of() { find /sys/fs/cgroup -type d -path "*${2:-memory}*" -name "pod$(uid "$1")" | head -n 1; }
ok "cgroups: best effort" sh -c "case '$(cgroup_of besteffort)' in *besteffort*) ;; *) exit 1 ;; esac"
ok "cgroups: burstable" sh -c "case '$(cgroup_of burstable)' in *burstable*) ;; *) exit 1 ;; esac"
ok "cgroups: guaranteed stand above" sh -c "case '$(cgroup_of guaranteed)' in *burstable*|*besteffort*|'') exit 1 ;; esac"
first() { cat "$1/$2" 2>/dev/null || cat "$1/$3"; }
same "memory of a guaranteed pod" $((64 << 20)) first "$(cgroup_of guaranteed)" memory.limit_in_bytes memory.max
same "pod-level memory" $((64 << 20)) first "$(cgroup_of podlevel)" memory.limit_in_bytes memory.max
[ ! -d /sys/fs/cgroup/cpu ] || same "pod-level CPU" 20000 cat "$(cgroup_of podlevel "/cpu/")/cpu.cfs_quota_us"
has "OOM score: best effort" 1000 k logs besteffort
ok "OOM score: burstable in between" sh -c "s=\$(kubectl --kubeconfig $KUBECONFIG_FILE logs burstable); [ \$s -gt 2 ] && [ \$s -lt 1000 ]"
eventually 20 "OOM" is pod/oom '.status.containerStatuses[0].state.terminated.reason' OOMKilled
same "its exit code" 137 jp pod/oom '.status.containerStatuses[0].state.terminated.exitCode'
eventually 20 "hugepages that the node lacks" is pod/hugepages '.status.conditions[?(@.type=="PodScheduled")].reason' Unschedulable
same "too large for any node" Unschedulable jp pod/large '.status.conditions[?(@.type=="PodScheduled")].reason'
same "limits of ephemeral storage are counted" 64Mi jp pod/burstable '.spec.containers[0].resources.requests.ephemeral-storage'

# --- RuntimeClass: the handler's name, overhead, and where it runs
k apply -f - >/dev/null <<'YAML'
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: plain}
handler: runc
overhead: {podFixed: {cpu: 50m, memory: 16Mi}}
scheduling: {nodeSelector: {kubernetes.io/os: linux}}
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: missing}
handler: no-such-handler
YAML
case_of classy 'sleep 1000' 'runtimeClassName: plain' 'resources: {limits: {cpu: 100m, memory: 32Mi}}'
case_of classless 'sleep 1000' 'runtimeClassName: missing'
ok "a RuntimeClass runs by its handler" k wait --for=condition=Ready pod/classy --timeout=30s
same "its overhead is the pod's" "50m linux" jp pod/classy '{.spec.overhead.cpu} {.spec.nodeSelector.kubernetes\.io/os}'
same "and in its cgroup" $((48 << 20)) first "$(cgroup_of classy)" memory.limit_in_bytes memory.max
eventually 20 "a handler that the runtime has not" told FailedCreatePodSandBox classless "no-such-handler"

# --- huge pages, where the machine spares some: an agent that starts tells of them
PAGES=/sys/kernel/mm/hugepages/hugepages-2048kB
BEFORE=$(cat "$PAGES/nr_hugepages" 2>/dev/null)
if [ "$BEFORE" = 0 ] && echo 16 >"$PAGES/nr_hugepages" 2>/dev/null && [ "$(cat "$PAGES/nr_hugepages")" = 16 ]; then
    trap 'teardown; echo "$BEFORE" >"$PAGES/nr_hugepages"; rm -rf "$WORK"' EXIT
    ok "the agent ends" sh -c "kill -9 \$(cut -d' ' -f1 '$D/hosts/worker-1/run/kubelet.pid')"
    ok "and starts" "$TRIREME" host start worker-1 --dir "$D"
    eventually 30 "the Node has them" is node/worker-1 '{.status.allocatable.hugepages-2Mi}' 32Mi
    for name in fits waits; do
        apply <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: huge-$name}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: busybox, command: [sh, -c, 'fallocate -l 8388608 /v/x; sleep 1000'], resources: {limits: {hugepages-2Mi: 20Mi, memory: 32Mi, cpu: 100m}}, volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, emptyDir: {medium: HugePages}}]
YAML
        [ "$name" = waits ] || ok "a pod that asks for some" k wait --for=condition=Ready pod/huge-fits --timeout=60s
    done
    free_are() { [ "$(cat "$PAGES/free_hugepages")" = "$1" ] || { cat "$PAGES/free_hugepages"; return 1; }; }
    eventually 20 "uses them" free_are 12
    eventually 20 "another finds too few" is pod/huge-waits '{.status.conditions[?(@.type=="PodScheduled")].reason}' Unschedulable
    has "and is told so" "Insufficient hugepages-2Mi" jp pod/huge-waits '{.status.conditions[?(@.type=="PodScheduled")].message}'
    ok "the first one goes" k delete pod huge-fits --timeout=30s
    ok "the other gets them" k wait --for=condition=Ready pod/huge-waits --timeout=60s
    eventually 20 "and uses them" free_are 12
    ok "it goes" k delete pod huge-waits --timeout=30s
    eventually 20 "all pages are free again" free_are 16
else
    echo "  left out: this machine spares no huge pages, or has some in use: pods that use them are not tried"
fi

finish
