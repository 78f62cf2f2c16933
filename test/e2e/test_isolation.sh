#!/bin/bash
# Isolation as declared: pods reach the Services that they declare and nothing else, on one node, across nodes and from
# their start on; they wait for their dependencies, are given their addresses, and edges are told.
. "$(dirname "$0")/lib.sh"
need_root "the isolation test"
setup isolation
D=$WORK/c
ok "up" up "$D" --control-planes 1 --workers 2
KUBECONFIG_FILE=$D/kubeconfig
NODE1=/run/netns/trireme-$PORT-worker-1
NODE2=/run/netns/trireme-$PORT-worker-2
table() { nsenter --net="$1" nft list table inet trireme-isolation 2>/dev/null; }
apply() { k apply -f - >"$WORK/applied" 2>&1 <<<"---"$'\n'"$1" || fail "apply" "$(cat "$WORK/applied")"; }
# pod NAMESPACE NAME NODE SCRIPT [ANNOTATIONS]
pod() {
    cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: $2, namespace: $1, labels: {app: $2}, annotations: {${5:-}}}
spec:
  nodeName: $3
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, '$4']
YAML
}
serve() { echo "mkdir -p /www; echo $1 >/www/index.html; httpd -p 8080 -h /www; httpd -p 8081 -h /www; while :; do sleep 1; done"; }
IDLE='while :; do sleep 1; done'
service() {
    cat <<YAML
---
apiVersion: v1
kind: Service
metadata: {name: $2, namespace: $1}
spec:
  ${4:-}
  selector: {app: $3}
  ports:
  - {name: web, port: 80, targetPort: 8080}
  - {name: other, port: 81, targetPort: 8081}
  - {name: talk, port: 5353, targetPort: 5353, protocol: UDP}
YAML
}

# --- what is refused before it is stored, and what is only warned of
ok "namespaces" k create namespace shop
ok "another" k create namespace pay
for ns in shop pay; do eventually 20 "service account in $ns" k get serviceaccount default -n $ns; done
refused() { # NAME TEXT ANNOTATIONS
    pod shop bad worker-1 "$IDLE" "$3" >"$WORK/bad.yaml"
    has "$1" "$2" k apply -f "$WORK/bad.yaml"
    no "$1: not stored" k get pod -n shop bad
}
refused "unknown syntax" 'metadata.annotations[trireme.io/depends-on]: Invalid value: "db, Led_ger": "Led_ger": name "Led_ger" must be' 'trireme.io/depends-on: "db, Led_ger"'
refused "an address without a prefix" 'must be a range of addresses such as' 'trireme.io/depends-on: "10.0.0.1:80"'
refused "a port beyond" 'port "70000" must be a number from 1 to 65535' 'trireme.io/depends-on: "internet:70000"'
refused "waiting for nothing" 'needs the annotation trireme.io/depends-on' 'trireme.io/wait-for-dependencies: "true"'
refused "waiting for a while" 'must be "true" or "false"' 'trireme.io/depends-on: "db", trireme.io/wait-for-dependencies: "5m"'
has "templates are judged as well" 'spec.template.metadata.annotations[trireme.io/depends-on]' k apply -f - <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: {name: bad, namespace: shop}
spec:
  selector: {matchLabels: {app: bad}}
  template:
    metadata: {labels: {app: bad}, annotations: {trireme.io/depends-on: "a b/c/d"}}
    spec: {containers: [{name: c, image: busybox}]}
YAML
has "a label of a Namespace" 'must be "declared"' k label namespace shop trireme.io/isolation=yes
has "a Service that is not there is a warning" 'there is no Service nowhere in namespace shop yet' k create --dry-run=server -f - <<<"$(pod shop later worker-1 "$IDLE" 'trireme.io/depends-on: "nowhere"')"

# --- servers, and clients on both nodes
{
    pod shop db worker-1 "$(serve db)"
    pod shop cache worker-1 "$(serve cache)"
    pod pay ledger worker-2 "$(serve ledger)"
    service shop db db
    service shop cache cache
    service pay ledger ledger
    service pay headless ledger 'clusterIP: None'
} >"$WORK/servers.yaml"
ok "servers" k apply -f "$WORK/servers.yaml"
ok "ready" k wait --for=condition=Ready pod --all -A --timeout=90s
address() { k get "$1" -n "$2" "$3" -o "jsonpath={.$4}"; }
DB=$(address pod shop db status.podIP) CACHE=$(address pod shop cache status.podIP) LEDGER=$(address pod pay ledger status.podIP)
DB_SERVICE=$(address service shop db spec.clusterIP) CACHE_SERVICE=$(address service shop cache spec.clusterIP)
LEDGER_SERVICE=$(address service pay ledger spec.clusterIP) API=$(address service default kubernetes spec.clusterIP)
endpoints() { [ -n "$(k get endpointslice -n "$1" -l "kubernetes.io/service-name=$2" -o 'jsonpath={.items[*].endpoints[*].addresses[0]}')" ]; }
for s in "shop db" "shop cache" "pay ledger" "pay headless"; do eventually 20 "endpoints of $s" endpoints $s; done
{
    pod shop near worker-1 "$IDLE" 'trireme.io/depends-on: "db, pay/ledger:web"'
    pod shop far worker-2 "$IDLE" 'trireme.io/depends-on: "db:web, pay/headless"'
    pod shop none worker-1 "$IDLE" 'trireme.io/depends-on: ""'
    pod shop free worker-1 "$IDLE"
} >"$WORK/clients.yaml"
ok "clients" k apply -f "$WORK/clients.yaml"
ok "clients run" k wait --for=condition=Ready pod --all -n shop --timeout=60s
from() { k exec -n shop "$1" -- timeout 2 wget -q -O- "http://$2/"; }
# UDP, which busybox does not speak: from the pods' network namespaces.
process() { # NAMESPACE POD: its container's first, the one that stays, found by the id in its cgroups
    local id pid
    id=$(k get pod -n "$1" "$2" -o 'jsonpath={.status.containerStatuses[0].containerID}')
    for pid in /proc/[0-9]*; do
        grep -qs "${id##*/}" "$pid/cgroup" && grep -Eqs '^NSpid:.*[[:space:]]1$' "$pid/status" && echo "${pid##*/}" && return
    done
    return 1
}
ECHOS=()
echo_udp() { # NAMESPACE POD
    nsenter -t "$(process "$1" "$2")" -n python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 5353))
while True:
    data, who = s.recvfrom(100)
    s.sendto(data, who)' &
    ECHOS+=($!)
}
talk() { # POD ADDRESS
    nsenter -t "$(process shop "$1")" -n python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
s.connect((sys.argv[1], 5353))
s.send(b"hello")
sys.exit(s.recv(100) != b"hello")' "$2"
}
connects() { k exec -n shop "$1" -- sh -c "nc -w 2 $2 $3 </dev/null"; }
opens() { eventually 10 "$1" from "$2" "$3"; }

opens "a declared Service by its address" near "$DB_SERVICE"
ok "by its name: DNS is always there" from near db.shop.svc.cluster.local
ok "all its ports" from near "$DB_SERVICE:81"
for pod in "shop db" "shop cache" "pay ledger"; do echo_udp $pod; done
eventually 30 "UDP too" talk near "$DB_SERVICE"
ok "UDP is there for who is free" talk free "$CACHE"
ok "and on the other node" talk free "$LEDGER_SERVICE"
ok "one of its endpoints" from near "$DB:8080"
ok "one of another namespace, on another node" from near "$LEDGER_SERVICE"
ok "its endpoint there" from near "$LEDGER:8080"
no "not another port of it" from near "$LEDGER_SERVICE:81"
no "not that port of its endpoint" from near "$LEDGER:8081"
no "not by UDP" talk near "$LEDGER_SERVICE"
no "not a Service that is not declared" from near "$CACHE_SERVICE"
no "nor its endpoint on the same node" from near "$CACHE:8080"
no "nor by UDP" talk near "$CACHE"
has "refused at once, not after a while" "No route to host" k exec -n shop near -- timeout 2 wget -q -O- "http://$CACHE:8080/"
ok "who is free reaches the API server" connects free "$API" 443
no "not the API server" connects near "$API" 443
ok "who is free reaches the node" connects free "$(k get node worker-1 -o 'jsonpath={.status.addresses[0].address}')" 10250
no "not the node" connects near "$(k get node worker-1 -o 'jsonpath={.status.addresses[0].address}')" 10250
opens "from another node" far "$DB_SERVICE"
ok "a headless Service by its name" from far headless.pay:8080
no "from another node: another port" from far "$DB:8081"
no "from another node: not declared" from far "$CACHE:8080"
no "an empty declaration reaches nothing" from none "$DB_SERVICE"
ok "but DNS" k exec -n shop none -- nslookup db.shop.svc.cluster.local
ok "who declares nothing is free" from free "$CACHE_SERVICE"
apply "$(pod shop api worker-2 "$IDLE" 'trireme.io/depends-on: "default/kubernetes"')"
ok "it runs" k wait --for=condition=Ready pod/api -n shop --timeout=60s
ok "it reaches the API server" connects api "$API" 443
no "and nothing else" from api "$DB_SERVICE"
apply "$(pod shop outside worker-2 "$IDLE" "trireme.io/depends-on: \"$CACHE/32:8080, internet:80\"")"
ok "one with ranges runs" k wait --for=condition=Ready pod/outside -n shop --timeout=60s
ok "a range" from outside "$CACHE:8080"
no "not its other ports" from outside "$CACHE:8081"
no "pods are not the internet" from outside "$DB:80"
has "the declaration of a pod stays" "may not remove or update what a pod depends on" k annotate pod -n shop near trireme.io/depends-on=cache --overwrite

kill "${ECHOS[@]}"

# --- both must allow: network policies and declarations
apply '{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: shut, namespace: pay}, spec: {podSelector: {matchLabels: {app: ledger}}, policyTypes: [Ingress]}}'
shut() { ! from "$@"; }
eventually 10 "a policy of the server's side refuses what is declared" shut near "$LEDGER_SERVICE"
k delete networkpolicy -n pay shut >/dev/null
opens "and lets it again" near "$LEDGER_SERVICE"

# --- addresses
env_of() { k exec -n shop "$1" -- env; }
has "the address of a declared Service" "DB_SERVICE_HOST=$DB_SERVICE" env_of near
has "with its ports by name" "DB_SERVICE_PORT_OTHER=81" env_of near
has "one of another namespace" "PAY_LEDGER_SERVICE_HOST=$LEDGER_SERVICE" env_of near
has "a headless one by its name" "PAY_HEADLESS_SERVICE_HOST=headless.pay.svc.cluster.local" env_of far
undeclared() { env_of "$1" | grep CACHE_SERVICE_HOST; }
no "none that is not declared" undeclared near
ok "all of its namespace for who declares nothing" undeclared free

# --- what changes: endpoints, the Service itself
apply "$(pod shop db2 worker-2 "$(serve db2)")"
ok "another server" k wait --for=condition=Ready pod/db2 -n shop --timeout=60s
DB2=$(address pod shop db2 status.podIP)
no "not an endpoint yet" from near "$DB2:8080"
k label pod -n shop db2 app=db --overwrite >/dev/null
opens "a new endpoint" near "$DB2:8080"
k label pod -n shop db2 app=none --overwrite >/dev/null
eventually 10 "one that is no more" shut near "$DB2:8080"
k delete service -n shop db >/dev/null
eventually 10 "a Service that is deleted" shut near "$DB:8080"
apply "$(service shop db db)"
DB_SERVICE=$(address service shop db spec.clusterIP)
opens "and made anew" near "$DB_SERVICE"

# --- waiting
apply "$(pod shop waits worker-1 "$IDLE" 'trireme.io/depends-on: "db, queue:web", trireme.io/wait-for-dependencies: "true"')"
condition() { k get pod -n shop waits -o 'jsonpath={.status.conditions[?(@.type=="trireme.io/DependenciesReady")].status}: {.status.conditions[?(@.type=="trireme.io/DependenciesReady")].message}' | sed 's/ $//'; }
told() { [ "$(condition)" = "$1" ]; }
eventually 20 "the condition names what is awaited" told "False: waiting for ready endpoints of: queue:web (no such Service)"
same "the pod is Pending" Pending k get pod -n shop waits -o 'jsonpath={.status.phase}'
has "and says why" "WaitingForDependencies" k get pod -n shop waits
eventually 10 "an event tells" sh -c "kubectl --kubeconfig $KUBECONFIG_FILE describe pod -n shop waits | grep 'Not started: waiting for ready endpoints of: queue:web'"
apply "$(service shop queue queue)"
eventually 10 "a Service without endpoints" told "False: waiting for ready endpoints of: queue:web"
apply "$(pod shop queue worker-2 "$(serve queue)")"
ok "starts when they are ready" k wait --for=condition=Ready pod/waits -n shop --timeout=60s
eventually 10 "the condition" told "True:"
opens "and reaches it" waits queue
k delete pod -n shop queue --grace-period=1 >/dev/null
k exec -n shop waits -- kill 1 >/dev/null 2>&1
k exec -n shop waits -- sh -c 'kill -9 -1' >/dev/null 2>&1
ok "who ran once does not wait again" k wait --for=condition=Ready pod/waits -n shop --timeout=60s

# --- a pod is held from its start on
apply "$(pod shop eager worker-1 "for i in 1 2 3 4 5; do timeout 1 wget -q -O- http://$CACHE:8080/ && exit 1; done; exit 0" 'trireme.io/depends-on: "db"' | sed 's/^spec:/&\n  restartPolicy: Never/')"
eventually 30 "it never got through" sh -c "kubectl --kubeconfig $KUBECONFIG_FILE get pod -n shop eager -o 'jsonpath={.status.phase}' | grep Succeeded"

# --- edges
edges() { "$TRIREME" edges --kubeconfig "$KUBECONFIG_FILE" "$@"; }
row() { edges -n shop | grep -E "$1"; }
eventually 10 "an edge that is used" row 'Pod/near +shop/db +used +[1-9]'
ok "one that is not" row 'Pod/waits +shop/db +unused +0 '
ok "an attempt that was refused, by the Service's name" row 'Pod/near +shop/cache:80/tcp +refused +[1-9][0-9]* +20'
ok "one at an address" row "Pod/near +$CACHE:8080/tcp +refused"
ok "by UDP" row "Pod/near +$CACHE:5353/udp +refused"
has "as JSON" '"state": "refused"' edges -A -o json
has "of a node" '"workloads":[' k get --raw /api/v1/nodes/worker-1/proxy/edges
has "of another namespace there are none" "No workload declares" edges -n pay

scrape() { k get --raw /api/v1/nodes/worker-1/proxy/metrics | grep 'trireme_isolation_connections_total{namespace="shop",workload="Pod/near",to="shop/db"} [1-9]'; }
eventually 10 "as metrics" scrape

# --- a namespace where all pods are held
no "free before" shut free "$CACHE_SERVICE"
ok "audit" k label namespace shop trireme.io/isolation=audit
audited() { from free "$CACHE_SERVICE" && row 'Pod/free +shop/cache:80/tcp +undeclared +[1-9]'; }
eventually 20 "an audit refuses nothing and tells" audited
ok "declared" k label namespace shop trireme.io/isolation=declared --overwrite
eventually 10 "who declares nothing reaches nothing" shut free "$CACHE_SERVICE"
ok "who declares reaches that" from near "$DB_SERVICE"
ok "open again" k label namespace shop trireme.io/isolation-
opens "free again" free "$CACHE_SERVICE"

# --- the agent's end changes nothing, and its start leaves no gap
kill -9 "$(cut -d' ' -f1 "$D/hosts/worker-1/run/kubelet.pid")"
rules() { table "$NODE1" | grep -q "$(address pod shop near status.podIP) : jump"; }
ok "rules stay without the agent" rules
"$TRIREME" host start worker-1 --dir "$D" >"$WORK/started" 2>&1 &
STARTER=$!
gaps=0
for _ in $(seq 40); do rules || gaps=$((gaps + 1)); sleep 0.1; done
wait "$STARTER"
same "and while it starts" 0 echo $gaps
eventually 20 "the agent is back" from near "$DB_SERVICE"
no "and refuses" from near "$CACHE:8080"

# --- nothing is left
k delete pod -n shop near none waits eager --grace-period=1 >/dev/null
none() { ! table "$NODE1"; }
eventually 15 "nothing of pods that are gone" none
k delete pod -n shop --all --grace-period=1 >/dev/null
none2() { ! table "$NODE2"; }
eventually 15 "on the other node" none2
finish
