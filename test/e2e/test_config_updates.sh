#!/bin/bash
# ConfigMaps and Secrets that change under running pods: noticed by watch, in mounted volumes within seconds, shared by
# all pods of the node; objects that come, go, and cannot change; API server and agent away; nothing watched for pods
# that have ended. The other strategies (Cache, Get) by the agent's configuration.
. "$(dirname "$0")/lib.sh"
need_root "the test of configuration updates"
setup config-updates
D=$WORK/c
ok "up" up "$D" --control-planes 1 --workers 1
[ "$failed" = 0 ] || finish
KUBECONFIG_FILE=$D/kubeconfig
apply() { with_busybox | k apply -f - >/dev/null || fail "apply"; }
runs() { k wait --for=condition=Ready "pod/$1" --timeout=60s; }
eventually 20 "default service account" k get serviceaccount default
ok "the node is ready" k wait --for=condition=Ready node --all --timeout=60s
# Watches of single objects: the scope is the one that a name gives.
watches() { k get --raw /metrics | awk -v r="$1" '/^apiserver_longrunning_requests/ && /verb="WATCH"/ && index($0, "resource=\"" r "\"") && /scope="resource"/ { n += $NF } END { print n + 0 }'; }
watched() { [ "$(watches "$1")" = "$2" ] || { watches "$1"; return 1; }; }

# reader NAME VOLUME-SOURCE
reader() {
    apply <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: busybox, command: [sleep, "3600"], volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, $2}]
YAML
}
file_is() { [ "$(k exec "$1" -- cat "/v/$2" 2>&1)" = "$3" ] || { k exec "$1" -- ls -la /v; return 1; }; }
no_file() { ! k exec "$1" -- test -e "/v/$2"; }

k create configmap conf --from-literal=key=one >/dev/null
k create secret generic sec --from-literal=key=hush >/dev/null
k create configmap other --from-literal=key=other >/dev/null
reader a 'configMap: {name: conf}'
reader b 'configMap: {name: conf}'
reader s 'secret: {secretName: sec}'
reader opt 'configMap: {name: perhaps, optional: true}'
reader must 'configMap: {name: missing}'
for p in a b s opt; do ok "pod $p" runs $p; done

# --- changes
eventually 20 "a ConfigMap of two pods is watched once, as are those that are not there" watched configmaps 3
eventually 20 "so is the Secret" watched secrets 1
k patch configmap conf -p '{"data":{"key":"two"}}' >/dev/null
eventually 15 "a change is in a pod within seconds" file_is a key two
eventually 15 "in the other" file_is b key two
k patch secret sec -p '{"stringData":{"key":"shout"}}' >/dev/null
eventually 15 "a Secret's too" file_is s key shout
k patch configmap conf -p '{"data":{"key":null,"name":"three"}}' >/dev/null
eventually 15 "keys come" file_is a name three
ok "and go" no_file a key

# --- what comes and goes
eventually 20 "a pod without its ConfigMap waits" told FailedMount must 'configmap "missing" not found'
k create configmap missing --from-literal=key=found >/dev/null
ok "and starts when it comes" k wait --for=condition=Ready pod/must --timeout=15s
k create configmap perhaps --from-literal=key=now >/dev/null
eventually 15 "an optional one shows when it comes" file_is opt key now
k delete configmap perhaps >/dev/null
eventually 15 "and is empty when it goes" no_file opt key
k delete secret sec >/dev/null
eventually 20 "one that is needed and goes is told of" told FailedMount s 'secret "sec" not found'
ok "what was mounted stays" file_is s key shout
k create secret generic sec --from-literal=key=again >/dev/null
eventually 15 "until it comes again" file_is s key again

# --- variables: a container that could not start for want of one
apply <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: env}
spec:
  automountServiceAccountToken: false
  restartPolicy: Never
  containers: [{name: c, image: busybox, command: [sh, -c, 'echo $WORD'], env: [{name: WORD, valueFrom: {configMapKeyRef: {name: other, key: absent}}}]}]
YAML
eventually 20 "a key that is missing" is pod/env '.status.containerStatuses[0].state.waiting.reason' CreateContainerConfigError
k patch configmap other -p '{"data":{"absent":"there"}}' >/dev/null
ok "the container starts when it comes" k wait --for=jsonpath='{.status.phase}'=Succeeded pod/env --timeout=15s
same "with it" there k logs env

# --- never older than the pod
older=0
for i in $(seq 1 8); do
    k patch configmap other -p "{\"data\":{\"turn\":\"$i\"}}" >/dev/null
    apply <<YAML
apiVersion: v1
kind: Pod
metadata: {name: turn-$i}
spec:
  automountServiceAccountToken: false
  restartPolicy: Never
  containers: [{name: c, image: busybox, command: [cat, /v/turn], volumeMounts: [{name: v, mountPath: /v}]}]
  volumes: [{name: v, configMap: {name: other}}]
YAML
done
for i in $(seq 1 8); do
    k wait --for=jsonpath='{.status.phase}'=Succeeded "pod/turn-$i" --timeout=60s >/dev/null || fail "turn $i ends"
    [ "$(k logs "turn-$i")" -ge "$i" ] || older=$((older + 1))
done
same "a new pod sees nothing older than itself" 0 echo "$older"

# --- what cannot change
k create configmap fixed --from-literal=key=always >/dev/null
k patch configmap fixed -p '{"immutable":true}' >/dev/null
before=$(watches configmaps)
reader im 'configMap: {name: fixed}'
ok "a pod with an immutable ConfigMap" runs im
same "it is not watched" "$before" watches configmaps
k patch configmap conf -p '{"immutable":true}' >/dev/null
eventually 15 "one that becomes immutable is watched no more" watched configmaps $((before - 1))

# --- API server and agent away
k create configmap back --from-literal=key=one >/dev/null
reader r 'configMap: {name: back}'
ok "a pod" runs r
SERVER=$(ls "$D"/hosts/*/run/apiserver.pid)
PLANE=$(basename "$(dirname "$(dirname "$SERVER")")")
ok "the API server is killed" kill -9 "$(cut -d' ' -f1 "$SERVER")"
ok "and started" "$TRIREME" host start "$PLANE" --dir "$D"
eventually 60 "it answers" k get node
k patch configmap back -p '{"data":{"key":"two"}}' >/dev/null
eventually 60 "a change is noticed again" file_is r key two
ok "the agent is killed" sh -c "kill -9 \$(cut -d' ' -f1 '$D/hosts/worker-1/run/kubelet.pid')"
k patch configmap back -p '{"data":{"key":"three"}}' >/dev/null
ok "and started" "$TRIREME" host start worker-1 --dir "$D"
eventually 60 "a change from between is brought" file_is r key three

# --- nothing is left
ok "the pods are deleted" k delete pod --all --timeout=60s
eventually 30 "nothing is watched for them" watched configmaps 0
eventually 30 "no Secret either" watched secrets 0
finish
