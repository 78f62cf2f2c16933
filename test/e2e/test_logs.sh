#!/bin/bash
# Logs of real containers with all options, of instances that ended, followed over the end and over rotation.
. "$(dirname "$0")/lib.sh"
need_root "the logs test"
setup logs
D=$WORK/c
ok "up" up "$D" --control-planes 1 --workers 1 --kubelet-args "--container-log-max-size=64Ki --container-log-max-files=3"
[ "$failed" = 0 ] || finish
KUBECONFIG_FILE=$D/kubeconfig
TOKEN=$("$TRIREME" token --dir "$D")
SERVER=https://$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["subnet"])' "$D/cluster.json").11:6443
log() { k logs "$@" 2>&1; }
logs_are() { local want=$1; shift; [ "$(log "$@")" = "$want" ] || { log "$@" | tail -n 5; return 1; }; }
raw() { code GET "/api/v1/namespaces/default/pods/$1/log?$2" >/dev/null; cat "$WORK/body"; }
eventually 20 "default service account" k get serviceaccount default
ok "the node is ready" k wait --for=condition=Ready node --all --timeout=60s
with_busybox <<'YAML' | k apply -f - >/dev/null
apiVersion: v1
kind: Pod
metadata: {name: says}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: busybox, command: [sh, -c, 'for i in 1 2 3 4 5; do echo line $i; done; sleep 4; echo late; sleep 1; echo wrong >&2; while :; do sleep 1; done']}
  - {name: d, image: busybox, command: [sh, -c, 'echo from d; while :; do sleep 1; done']}
---
apiVersion: v1
kind: Pod
metadata: {name: ends}
spec: {restartPolicy: OnFailure, containers: [{name: c, image: busybox, command: [sh, -c, 'test -e /v/x && { echo second; sleep 3; exit 0; }; touch /v/x; echo first; exit 1'], volumeMounts: [{name: v, mountPath: /v}]}], volumes: [{name: v, emptyDir: {}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: floods}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: busybox, command: [sh, -c, 'while [ ! -e /go ]; do sleep 0.2; done; i=0; while [ $i -lt 30 ]; do i=$((i+1)); yes "$i ........................................................................................" | head -n 400; sleep 1; done; echo done; while :; do sleep 1; done']}]
YAML
ok "a pod that says something" k wait --for=condition=Ready pod/says --timeout=60s
eventually 20 "all of it" logs_are $'line 1\nline 2\nline 3\nline 4\nline 5\nlate\nwrong' says -c c
same "--tail" $'late\nwrong' log says -c c --tail=2
same "--tail=0" "" log says -c c --tail=0
same "--limit-bytes" "line 1
li" log says -c c --limit-bytes=9
when=$(k logs says -c c --timestamps --tail=2 | head -n 1 | cut -d' ' -f1)
ok "--timestamps: RFC 3339 with fractions" sh -c "echo '$when' | grep -Eq '^20[0-9-]+T[0-9:]+\.[0-9]+Z$'"
same "--since-time" $'late\nwrong' log says -c c --since-time="$when"
has "--since: less than a second is none" "sinceSeconds: Invalid value: 0: must be greater than 0" log says -c c --since=1ms
has "--since: all is that young" "line 1" log says -c c --since=1h
same "--all-containers --prefix" "[pod/says/d] from d" sh -c "kubectl --kubeconfig '$KUBECONFIG_FILE' logs says --all-containers --prefix | grep 'from d'"
same "stream=Stderr" wrong raw says 'container=c&stream=Stderr'
same "stream=Stdout, limited" "line 1" raw says 'container=c&stream=Stdout&limitBytes=6'
status "stream and tailLines: one of them" 422 Invalid GET '/api/v1/namespaces/default/pods/says/log?container=c&stream=Stdout&tailLines=1'
status "a container must be named" 400 BadRequest GET /api/v1/namespaces/default/pods/says/log
status "sinceSeconds below one" 422 Invalid GET '/api/v1/namespaces/default/pods/says/log?container=c&sinceSeconds=0'
status "both sinceTime and sinceSeconds" 422 Invalid GET '/api/v1/namespaces/default/pods/says/log?container=c&sinceSeconds=1&sinceTime=2020-01-01T00:00:00Z'
eventually 40 "--previous" logs_are first ends --previous
same "--follow ends with the container" second timeout 30 kubectl --kubeconfig "$KUBECONFIG_FILE" logs -f ends
no "no previous one: refused" k logs says -c d --previous

# --- rotation
ok "a pod that will say much" k wait --for=condition=Ready pod/floods --timeout=60s
timeout 120 kubectl --kubeconfig "$KUBECONFIG_FILE" logs -f floods >"$WORK/followed" 2>&1 &
FOLLOW=$!
k exec floods -- touch /go
folder() { echo "$D"/hosts/worker-1/*/default_floods_*/c; }
files() { find "$D/hosts/worker-1" -path '*default_floods_*/c/*' -type f; }
eventually 60 "its log is rotated" sh -c "find '$D/hosts/worker-1' -path '*default_floods_*/c/*' -type f | grep -q '0.log.2'"
eventually 60 "it has said all" sh -c "kubectl --kubeconfig '$KUBECONFIG_FILE' logs floods --tail=1 | grep -qx done"
ok "no more files than asked for" test "$(files | wc -l)" -le 3
eventually 30 "older ones are compressed" sh -c "find '$D/hosts/worker-1' -path '*default_floods_*/c/*.gz' -type f | grep -q ."
eventually 10 "who follows is not cut off" grep -qx done "$WORK/followed"
kill $FOLLOW 2>/dev/null; wait $FOLLOW 2>/dev/null
ok "nor loses a line ($(grep -c '\.\.\.' "$WORK/followed") of 12000)" test "$(grep -c '\.\.\.' "$WORK/followed")" = 12000
finish
