#!/bin/bash
# The demo: three control-plane hosts and two workers on this machine, a pod and
# a Deployment through the protobuf API, the loss of the leader's host, and a
# cluster left running to play with.
# usage: deploy/demo.sh BIN_DIR DIR PORT
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$1 dir=$2 port=$3
trireme=$bin/trireme
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
SUDO=
[ "$(id -u)" = 0 ] || SUDO="sudo"

say "Bringing up three control-plane hosts and two workers in $dir"
$SUDO "$trireme" up --control-planes 3 --workers 2 --dir "$dir" --base-port "$port"
kubeconfig=$dir/kubeconfig
[ -z "$SUDO" ] || $SUDO chown "$(id -u)" "$kubeconfig"
t() { "$trireme" "$@" --kubeconfig "$kubeconfig"; }

# wait_for SECONDS WHAT COMMAND...: asks until the command succeeds.
wait_for() {
    local end=$((SECONDS + $1)) what=$2; shift 2
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $end ]; then
            echo "error: $what did not come about in time" >&2
            t get pods -o wide >&2 || true
            exit 1
        fi
        sleep 0.2
    done
}
pods_running() { [ "$(t get pods --no-headers | grep -c ' Running ')" -ge "$1" ]; }

say "A pod and a Deployment, through the protobuf API"
wait_for 30 "service account" t get serviceaccounts default
t apply -f "$here/samples/pod.yaml" -f "$here/samples/deployment.yaml"
wait_for 120 "five running pods" pods_running 5
t get nodes -o wide
echo
t get pods -o wide
echo
wait_for 30 "output of the pod" sh -c "'$trireme' logs hello --kubeconfig '$kubeconfig' | grep -q hello"
echo "logs of pod hello:"
t logs hello --tail 3

say "Killing the leader's host (kill -9 of everything on it)"
leader=$(t member list | awk '$NF == "leader" { print $2 }')
echo "the leader is $leader"
$SUDO "$trireme" host kill "$leader" --dir "$dir"
for cp in cp-1 cp-2 cp-3; do
    [ "$cp" = "$leader" ] && continue
    alive=$dir/hosts/$cp/etc/admin.kubeconfig
    break
done
[ -z "$SUDO" ] || { $SUDO cat "$alive" >"$dir/kubeconfig.alive"; alive=$dir/kubeconfig.alive; }
start=$(date +%s%N)
until "$trireme" apply -f - --kubeconfig "$alive" >/dev/null 2>&1 <<YAML; do sleep 0.05; done
apiVersion: v1
kind: ConfigMap
metadata: {name: after-failure, namespace: default}
data: {leader: "$leader is gone"}
YAML
echo "writes go on after $(( ($(date +%s%N) - start) / 1000000 )) ms, through $(basename "$(dirname "$(dirname "$alive")")")"
"$trireme" get pods -o wide --kubeconfig "$alive"
"$trireme" delete pod hello --kubeconfig "$alive" --grace-period 0 >/dev/null
"$trireme" apply -f "$here/samples/pod.yaml" --kubeconfig "$alive"
kubeconfig=$alive
wait_for 120 "five running pods without $leader" pods_running 5

say "Bringing $leader back"
$SUDO "$trireme" host start "$leader" --dir "$dir"
kubeconfig=$dir/hosts/$leader/etc/admin.kubeconfig
[ -r "$kubeconfig" ] || kubeconfig=$dir/kubeconfig
wait_for 60 "$leader serving again" t get nodes
kubeconfig=$dir/kubeconfig
wait_for 60 "the first API server" t get nodes
t get nodes
echo
t get pods -o wide

say "The cluster is yours"
cat <<TEXT
  export KUBECONFIG=$kubeconfig
  kubectl get pods -A -o wide
  kubectl logs -f hello
  kubectl scale deployment web --replicas 8

make down ends it.
TEXT
