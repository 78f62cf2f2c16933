#!/bin/bash
# NetworkPolicies between real pods: on one node, across nodes, through Services, while they change.
. "$(dirname "$0")/lib.sh"
need_root "the network policy test"
setup network-policy
D=$WORK/c
ok "up" up "$D" --control-planes 1 --workers 2
KUBECONFIG_FILE=$D/kubeconfig
NODE1=/run/netns/trireme-$PORT-worker-1
NODE2=/run/netns/trireme-$PORT-worker-2
table() { nsenter --net="$1" nft list table inet trireme-policy 2>/dev/null; }
# pod NAMESPACE NAME NODE LABELS [HOSTNETWORK]
pod() {
    cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: $2, namespace: $1, labels: {$4}}
spec:
  nodeName: $3
  hostNetwork: ${5:-false}
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'mkdir -p /www; echo $2 >/www/index.html; httpd -p 8${6:-080} -h /www; httpd -p 8${6:-081} -h /www; while :; do sleep 1; done']
    ports: [{name: web, containerPort: 8080}, {name: other, containerPort: 8081}]
    readinessProbe: {tcpSocket: {port: 8${6:-080}}, periodSeconds: 1}
YAML
}
ok "namespaces" k create namespace x
ok "another" k create namespace ys
k label namespace ys team=yellow >/dev/null
for ns in x ys; do eventually 20 "service account in $ns" k get serviceaccount default -n $ns; done
{
    pod x server worker-1 'app: server'
    pod x near worker-1 'app: client, side: near'
    pod x far worker-2 'app: client, side: far'
    pod ys stranger worker-2 'app: client'
    pod ys on-host worker-2 'app: host' true 090
} >"$WORK/pods.yaml"
ok "pods" k apply -f "$WORK/pods.yaml"
ok "ready" k wait --for=condition=Ready pod --all -A --timeout=90s
ok "service" k expose -n x pod server --name web --port 80 --target-port 8080
SERVER=$(k get pod -n x server -o 'jsonpath={.status.podIP}')
FAR=$(k get pod -n x far -o 'jsonpath={.status.podIP}')
STRANGER=$(k get pod -n ys stranger -o 'jsonpath={.status.podIP}')
ON_HOST=$(k get pod -n ys on-host -o 'jsonpath={.status.podIP}')
SERVICE=$(k get service -n x web -o 'jsonpath={.spec.clusterIP}')
# from NS POD ADDRESS[:PORT]
from() { k exec -n "$1" "$2" -- timeout 1 wget -q -O- "http://$3/"; }
opens() { eventually 10 "$1" from "$2" "$3" "$4"; }
shut() { ! from "$@"; }
closes() { eventually 10 "$1" shut "$2" "$3" "$4"; }

# --- without policies
opens "near reaches the server" x near "$SERVER:8080"
opens "far reaches the server" x far "$SERVER:8080"
opens "through the Service" ys stranger "$SERVICE"
opens "out of the pods' network, to a pod on the host's" x near "$ON_HOST:8090"
has "what leaves it is masqueraded" "ip daddr != @pods4" nsenter --net="$NODE1" nft list table inet trireme-masquerade
no "no table without policies" table "$NODE1"

policy() { k apply -f - >"$WORK/applied" 2>&1 <<<"---"$'\n'"$1" || fail "policy" "$(cat "$WORK/applied")"; }
# --- default deny
policy '{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: deny, namespace: x}, spec: {podSelector: {matchLabels: {app: server}}, policyTypes: [Ingress]}}'
closes "deny: near" x near "$SERVER:8080"
closes "deny: far" x far "$SERVER:8080"
closes "deny: through the Service" x near "$SERVICE"
ok "the node itself, and so probes" nsenter --net="$NODE1" curl -s -m 2 "http://$SERVER:8080/"
ok "the pod to itself" from x server "$SERVER:8080"
ok "the pod to itself through its Service" from x server "$SERVICE"
ok "what it sends is free" from x server "$FAR:8080"
ok "others are not concerned" from x near "$FAR:8080"
no "no table where nobody is concerned" table "$NODE2"
ok "still ready" k wait --for=condition=Ready pod -n x server --timeout=5s

# --- union of policies: pods, ports by number and by name
policy '{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: near, namespace: x}, spec: {podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {matchLabels: {side: near}}}], ports: [{port: web}]}]}}'
opens "allowed by label and named port" x near "$SERVER:8080"
ok "through the Service" from x near "$SERVICE"
no "another port" from x near "$SERVER:8081"
no "another pod" from x far "$SERVER:8080"
ok "relabel" k label pod -n x far side=near --overwrite
opens "a pod is allowed by its new label" x far "$SERVER:8080"
ok "label back" k label pod -n x far side=far --overwrite
closes "and denied again" x far "$SERVER:8080"

# --- namespaces, both selectors together
policy '{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: yellow, namespace: x}, spec: {podSelector: {matchLabels: {app: server}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: yellow}}, podSelector: {matchLabels: {app: client}}}], ports: [{port: 8080, endPort: 8090}]}]}}'
opens "a namespace with a label" ys stranger "$SERVER:8080"
ok "a range of ports" from ys stranger "$SERVER:8081"
ok "through the Service, with its own address" from ys stranger "$SERVICE"
no "own namespace has not the label" from x far "$SERVER:8080"
ok "unlabel the namespace" k label namespace ys team-
closes "no more" ys stranger "$SERVER:8080"
k label namespace ys team=yellow >/dev/null

# --- ranges of addresses with exceptions
k delete networkpolicy -n x yellow >/dev/null
policy "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: block, namespace: x}, spec: {podSelector: {matchLabels: {app: server}}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [$STRANGER/32]}}]}]}}"
opens "a range of addresses" x far "$SERVER:8080"
closes "but not the exception" ys stranger "$SERVER:8080"
MANY=$(printf '192.168.%d.0/24,' $(seq 200)) RANGES=$(printf '{ipBlock: {cidr: 172.16.%d.0/24}}, ' $(seq 200)) PORTS=$(printf '{port: %d}, ' $(seq 7000 2 7400))
policy "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: block, namespace: x}, spec: {podSelector: {matchLabels: {app: server}}, ingress: [{from: [$RANGES{ipBlock: {cidr: 0.0.0.0/0, except: [$MANY$FAR/32]}}], ports: [$PORTS{port: 8080}]}]}}"
opens "hundreds of ranges, exceptions and ports" ys stranger "$SERVER:8080"
closes "what they do not hold" x far "$SERVER:8080"
no "nor another port" from ys stranger "$SERVER:8081"
few() { [ "$(table "$NODE1" | grep -c ' return$')" -lt 12 ]; }
ok "as few rules" few
k delete networkpolicy -n x block >/dev/null
closes "closed again" x far "$SERVER:8080"

# --- egress
policy '{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: out, namespace: x}, spec: {podSelector: {matchLabels: {app: client}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: server}}}], ports: [{port: web}]}]}}'
closes "egress: another pod" x near "$FAR:8080"
opens "egress: the server, by the name of its port" x near "$SERVER:8080"
ok "egress: its Service" from x near "$SERVICE"
closes "egress: a pod on another host's network" x near "$ON_HOST:8090"
ok "egress: DNS is the node's" k exec -n x near -- nslookup web.x.svc.cluster.local
closes "egress: from another node" x far "$STRANGER:8080"
ok "what is not selected is free" from ys stranger "$FAR:8080"

# --- a new pod is protected before it starts
cat >"$WORK/eager.yaml" <<YAML
apiVersion: v1
kind: Pod
metadata: {name: eager, namespace: x, labels: {app: client, side: eager}}
spec:
  nodeName: worker-1
  restartPolicy: Never
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'for i in 1 2 3 4 5; do timeout 1 wget -q -O- http://$FAR:8080/ && exit 1; done; exit 0']
YAML
ok "an eager pod" k apply -f "$WORK/eager.yaml"
eventually 30 "never got through" sh -c "kubectl --kubeconfig $KUBECONFIG_FILE get pod -n x eager -o 'jsonpath={.status.phase}' | grep Succeeded"

# --- the agent's end changes nothing, and its start leaves no gap
kill -9 "$(cut -d' ' -f1 "$D/hosts/worker-1/run/kubelet.pid")"
no "denied without the agent" from x far "$SERVER:8080"
"$TRIREME" host start worker-1 --dir "$D" >"$WORK/started" 2>&1 &
STARTER=$!
leaks=0
for _ in $(seq 12); do ! from x far "$SERVER:8080" >/dev/null 2>&1 || leaks=$((leaks + 1)); done
wait "$STARTER"
same "denied while it starts" 0 echo $leaks
opens "and the allowed goes on" x near "$SERVER:8080"

# --- nothing is left
k delete pod -n x server eager --grace-period=1 >/dev/null
gone() { ! table "$NODE1" | grep -q "$SERVER "; }
eventually 15 "nothing of a pod that is gone" gone
k delete networkpolicy -n x --all >/dev/null
none() { ! table "$NODE1" && ! table "$NODE2"; }
eventually 15 "nothing without policies" none
opens "all is open" x near "$FAR:8080"
finish
