#!/bin/bash
# The machine of a node goes down, with real containers: told by logind (a fake one, on a bus of the test's own), and
# by SIGTERM where that is asked for.
. "$(dirname "$0")/lib.sh"
need_root "the node shutdown test"
setup node-shutdown
D=$WORK/c
LOGIND_PID='' BUS_PID=''
trap 'for p in $LOGIND_PID $BUS_PID; do kill $p 2>/dev/null; done; teardown' EXIT
jp() { k get "$1" -o "jsonpath={$2}"; }
is() { [ "$(jp "$1" "$2" 2>&1)" = "$3" ] || { k get "$1" -o yaml; return 1; }; }
agent() { cut -d' ' -f1 "$D/hosts/worker-1/run/kubelet.pid"; }
# pod NAME SCRIPT [SPEC [NAMESPACE]]
pod() {
    k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1, namespace: ${4:-default}}
spec:
  nodeName: worker-1
  terminationGracePeriodSeconds: 60
  ${3:-}
  containers: [{name: c, image: "docker.io/library/busybox:latest", imagePullPolicy: IfNotPresent, command: [sh, -c, '$2; while :; do sleep 0.1; done']}]
YAML
}
pods() {
    pod quick 'trap "exit 0" TERM'
    pod deaf 'trap "" TERM'
    pod critical 'trap "exit 0" TERM' 'priorityClassName: system-node-critical' kube-system
    ok "pods run" k wait --for=condition=Ready pod/quick pod/deaf --timeout=60s
    ok "a critical one, too" k -n kube-system wait --for=condition=Ready pod/critical --timeout=60s
}
finished_at() { date -d "$(k -n "$2" get pod "$1" -o 'jsonpath={.status.containerStatuses[0].state.terminated.finishedAt}')" +%s; }
later() { [ "$(finished_at critical kube-system)" -ge "$(finished_at quick default)" ] && [ "$(finished_at critical kube-system)" -ge "$(finished_at deaf default)" ]; }
told() {
    eventually 20 "a pod fails" is pod/quick .status.phase Failed
    same "for that reason" Terminated jp pod/quick .status.reason
    same "in upstream's words" "Pod was terminated in response to imminent node shutdown." jp pod/quick .status.message
    same "with a condition for controllers" TerminationByKubelet jp pod/quick '.status.conditions[?(@.type=="DisruptionTarget")].reason'
    eventually 20 "one that ignores SIGTERM is killed in time" is pod/deaf '.status.containerStatuses[0].state.terminated.exitCode' 137
    eventually 20 "a critical one fails" sh -c "[ \"\$(kubectl --kubeconfig $KUBECONFIG_FILE -n kube-system get pod critical -o 'jsonpath={.status.phase}')\" = Failed ]"
    ok "after the others" later
}
KUBECONFIG_FILE=$D/kubeconfig
FLAGS="--shutdown-grace-period=6s --shutdown-grace-period-critical-pods=3s"

# --- logind
if [ -x "${LOGIND_FAKE:-}" ] && command -v dbus-daemon >/dev/null; then
    cat >"$WORK/bus.conf" <<XML
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=$WORK/bus</listen><policy context="default"><allow send_destination="*"/><allow own="*"/><allow receive_sender="*"/></policy></busconfig>
XML
    export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$WORK/bus
    dbus-daemon --config-file="$WORK/bus.conf" --nofork --nopidfile >"$WORK/bus.log" 2>&1 &
    BUS_PID=$!
    eventually 10 "a bus" test -S "$WORK/bus"
    "$LOGIND_FAKE" >"$WORK/logind.log" 2>&1 &
    LOGIND_PID=$!
    eventually 10 "and logind on it" grep -q ready "$WORK/logind.log"
    ok "up" up "$D" --control-planes 1 --workers 1 --kubelet-args "$FLAGS"
    ok "the node is ready" k wait --for=condition=Ready node/worker-1 --timeout=60s
    eventually 20 "default service account" k get serviceaccount default
    ok "the agent holds a lock" grep -qx locked "$WORK/logind.log"
    has "and tells that logind will not wait so long" "InhibitDelayMaxSec" cat "$D/hosts/worker-1/log/kubelet.log"
    pods
    kill -USR1 "$LOGIND_PID"
    eventually 20 "the node is not ready" is node/worker-1 '.status.conditions[?(@.type=="Ready")].message' "node is shutting down"
    pod late ''
    eventually 20 "a new pod is refused" is pod/late .status.reason NodeShutdown
    told
    eventually 20 "the lock is given back" grep -qx released "$WORK/logind.log"
    ok "the agent goes on" kill -0 "$(agent)"
    kill -USR2 "$LOGIND_PID"
    eventually 20 "called off: the node is ready again" is node/worker-1 '.status.conditions[?(@.type=="Ready")].status' True
    eventually 10 "and the lock is held again" sh -c "[ \$(grep -cx locked $WORK/logind.log) = 2 ]"
    "$TRIREME" down --dir "$D" --purge >/dev/null 2>&1
    unset DBUS_SYSTEM_BUS_ADDRESS
else
    echo "left out: shutdown by logind (LOGIND_FAKE or dbus-daemon is missing)"
fi

# --- SIGTERM
ok "up without logind" up "$D" --control-planes 1 --workers 1 --kubelet-args "$FLAGS --shutdown-on-sigterm"
ok "the node is ready" k wait --for=condition=Ready node/worker-1 --timeout=60s
eventually 20 "default service account" k get serviceaccount default
pods
PID=$(agent)
kill -TERM "$PID"
told
eventually 10 "and the agent has ended" sh -c "! kill -0 $PID 2>/dev/null"
finish
