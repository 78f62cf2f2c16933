#!/bin/bash
# Hollow nodes, as the bench has them, and what a cluster makes of them: ready, given pods, rid of them, lost and back.
. "$(dirname "$0")/lib.sh"
[ -x "${HOLLOW_NODES:-}" ] || { echo "left out: HOLLOW_NODES names no program (make hollow)"; echo "0 passed, 0 failed"; exit 0; }
setup hollow
D=$WORK/c
ok "up with three members" "$TRIREME" up --dir "$D" --base-port "$PORT" --loopback --control-planes 3 --workers 0 \
    --controller-manager-args="--node-monitor-period=1s --node-monitor-grace-period=8s"
KUBECONFIG_FILE=$D/kubeconfig
configs=$(ls "$D"/hosts/cp-*/etc/admin.kubeconfig | paste -sd,)
HOLLOW=
end_hollow() { [ -z "$HOLLOW" ] || { kill "$1" "$HOLLOW" && wait "$HOLLOW"; } 2>/dev/null; HOLLOW=; }
trap 'end_hollow -9; teardown' EXIT
hollow() {
    "$HOLLOW_NODES" --kubeconfigs "$configs" --nodes 20 --lease 2 >>"$WORK/hollow.log" 2>>"$WORK/hollow.err" &
    HOLLOW=$!
}
ready_nodes() { [ "$(k get nodes --no-headers | grep -cw Ready)" = "$1" ] || { k get nodes | tail -n 3; return 1; }; }
available() { [ "$(k get deployment web -o 'jsonpath={.status.availableReplicas}')" = "$1" ] || { k get deployment web; return 1; }; }
running() { [ "$(k get pods --field-selector "status.phase=$1,spec.nodeName$2" -o name | wc -l)" = "$3" ]; }
hollow
eventually 30 "twenty nodes are ready" ready_nodes 20
ok "each has a lease" [ "$(k -n kube-node-lease get leases -o name | wc -l)" = 20 ]
ok "a Deployment" k create deployment web --image=none --replicas=200
eventually 60 "its 200 pods run" available 200
ok "pods are selected by node and phase" running Running '!=' 200
ok "by a node that is none" running Running '=nobody' 0
ok "and by one" [ "$(k get pods --field-selector spec.nodeName=hollow-00003 -o name | wc -l)" = \
    "$(k get pods -o 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}' | grep -c '^hollow-00003$')" ]
ok "its rolling out" k set image deployment/web none=other
ok "ends" k rollout status deployment/web --timeout=90s
ok "a smaller one" k scale deployment web --replicas=50
eventually 60 "the others go" running Running '!=' 50
kill -USR1 "$HOLLOW"
eventually 5 "the agent tells what it did" grep -q "nodes=20 .*pod_delete=[1-9]" "$WORK/hollow.log"
ok "no call of it failed" sh -c "! grep -v 'conflict\|modified' '$WORK/hollow.err' | grep ."
end_hollow -9
eventually 60 "killed, its nodes are lost" ready_nodes 0
ok "and tainted" sh -c "kubectl --kubeconfig '$KUBECONFIG_FILE' get nodes -o jsonpath='{.items[*].spec.taints[*].key}' | grep -q node.kubernetes.io/unreachable"
ok "which takes nothing else from their status" [ "$(k get node hollow-00003 -o 'jsonpath={.status.images[*].sizeBytes}' | wc -w)" = 20 ]
eventually 30 "their pods are not ready" available ""
hollow
eventually 60 "back, they are ready" ready_nodes 20
eventually 60 "and their pods, which ran on" available 50
ok "and are removed" k delete deployment web
eventually 60 "by the agent that came back" running Running '!=' 0
end_hollow -TERM
finish
