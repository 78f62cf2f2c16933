#!/bin/bash
# Services between real pods on two nodes: every kind of address and policy, changes without lost connections, the agent
# killed, its tables deleted.
. "$(dirname "$0")/lib.sh"
need_root "the services test"
setup services
D=$WORK/c
ok "up" up "$D" --control-planes 1 --workers 2
KUBECONFIG_FILE=$D/kubeconfig
NODE1=/run/netns/trireme-$PORT-worker-1
NODE2=/run/netns/trireme-$PORT-worker-2
IP1=$(k get node worker-1 -o 'jsonpath={.status.addresses[?(@.type=="InternalIP")].address}')
IP2=$(k get node worker-2 -o 'jsonpath={.status.addresses[?(@.type=="InternalIP")].address}')
HELPERS=()
on_end() { for pid in "${HELPERS[@]}"; do kill "$pid" 2>/dev/null; done; teardown; }
trap on_end EXIT
in1() { nsenter --net="$NODE1" "$@"; }
in2() { nsenter --net="$NODE2" "$@"; }
ask() { curl -s -m 2 "http://$1/"; }
table() { nsenter --net="$1" nft list tables ip | sed -n 's/^table ip \(trireme-services-.*\)/\1/p'; }
wait_for() { eventually 10 "$@"; }

# --- servers tell their name, and on /cgi-bin/who who asks
pod() {
    cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: $1, labels: {app: $3}}
spec:
  nodeName: $2
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'mkdir -p /www/cgi-bin; echo $1 >/www/index.html; printf "#!/bin/sh\necho; echo \\\${REMOTE_ADDR##*:} | tr -d ]\n" >/www/cgi-bin/who; chmod +x /www/cgi-bin/who; exec httpd -f -p 8080 -h /www']
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
YAML
}
eventually 20 "service account" k get serviceaccount default
{ pod one worker-1 web; pod two worker-2 web; pod only two-not web; pod near worker-1 client; pod far worker-2 client; } |
    python3 -c 'import sys; print("---".join(d for d in sys.stdin.read().split("---") if "two-not" not in d))' | k apply -f - >/dev/null
ok "ready" k wait --for=condition=Ready pod --all --timeout=90s
service() { k apply -f - >"$WORK/applied" 2>&1 <<<"---"$'\n'"$1" || fail "service" "$(cat "$WORK/applied")"; }
ip_of() { jp "service/$1" .spec.clusterIP; }
node_port() { jp "service/$1" '.spec.ports[0].nodePort'; }
from() { k exec "$1" -- timeout 2 wget -q -O- "http://$2/${3:-}"; }
# Who answers of many requests, each name once.
answers() { local list=''; for _ in $(seq 24); do list+=$("$@")$'\n'; done; tr -d '\r' <<<"$list" | sort -u | sed '/^$/d' | paste -sd' '; }

service '{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}'
WEB=$(ip_of web)
wait_for "a pod reaches the Service" from near "$WEB"
same "both endpoints answer a pod" "one two" answers from near "$WEB"
same "and the node" "one two" answers in1 curl -s -m 2 "http://$WEB/"
same "a pod is seen as itself" "$(jp pod/near .status.podIP)" from near "$WEB" cgi-bin/who
ok "a pod reaches itself" sh -c "for i in 1 2 3 4 5 6; do kubectl --kubeconfig $KUBECONFIG_FILE exec one -- timeout 2 wget -q -O- http://$WEB/ || exit 1; done"
refused() { curl -s -m 3 -o /dev/null "http://$1/"; [ $? = 7 ]; }
in1_refused() { in1 curl -s -m 3 -o /dev/null "http://$1/"; [ $? = 7 ]; }
in1_silent() { in1 curl -s -m 2 -o /dev/null "http://$1/"; [ $? = 28 ]; }
ok "another port of its address is refused" in1_refused "$WEB:81"

# --- no endpoints, none here
service '{apiVersion: v1, kind: Service, metadata: {name: empty}, spec: {type: NodePort, selector: {app: nobody}, ports: [{port: 80}]}}'
wait_for "without endpoints it is refused" in1_refused "$(ip_of empty)"
ok "on its node port too" refused "$IP1:$(node_port empty)"
service '{apiVersion: v1, kind: Service, metadata: {name: inside}, spec: {internalTrafficPolicy: Local, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}'
wait_for "internalTrafficPolicy Local: on its node" from far "$(ip_of inside)"
same "nobody else's" "two" answers from far "$(ip_of inside)"
k label pod one app=gone --overwrite >/dev/null
wait_for "none here: dropped" in1_silent "$(ip_of inside)"
k label pod one app=web --overwrite >/dev/null
wait_for "and back" from near "$(ip_of inside)"

# --- node ports, external addresses, load balancers
service '{apiVersion: v1, kind: Service, metadata: {name: ports}, spec: {type: LoadBalancer, externalIPs: [198.51.100.7], selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}'
NP=$(node_port ports)
wait_for "a node port from outside" ask "$IP1:$NP"
same "leads to both" "one two" answers ask "$IP1:$NP"
same "on each node" "one two" answers ask "$IP2:$NP"
same "an external address" "one two" answers in1 curl -s -m 2 http://198.51.100.7/
k patch service ports --subresource=status --type=merge -p '{"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.9"}]}}}' >/dev/null
wait_for "a load balancer's address" in1 curl -s -m 2 http://203.0.113.9/
k patch service ports --type=merge -p '{"spec":{"loadBalancerSourceRanges":["192.0.2.0/24"]}}' >/dev/null
wait_for "not from outside its ranges" in1_silent 203.0.113.9
ok "which do not concern node ports" ask "$IP1:$NP"
k patch service ports --type=merge -p "{\"spec\":{\"loadBalancerSourceRanges\":[\"192.0.2.0/24\",\"${IP1%.*}.0/24\",\"$IP1/32\"]}}" >/dev/null
wait_for "from inside of one" in1 curl -s -m 2 http://203.0.113.9/
k patch service ports --subresource=status --type=merge -p '{"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.9","ipMode":"Proxy"}]}}}' >/dev/null
unknown_to_node() { ! in1 nft list map ip "$(table "$NODE1")" services | grep -q 203.0.113.9; }
wait_for "ipMode Proxy: left to the balancer" unknown_to_node

# --- externalTrafficPolicy Local and its health check
k label pod two app=gone --overwrite >/dev/null
k patch service ports --type=merge -p '{"spec":{"externalTrafficPolicy":"Local"}}' >/dev/null
health() { curl -s -m 2 -o "$WORK/health" -D "$WORK/head" -w '%{http_code}' "http://$1:$(jp service/ports .spec.healthCheckNodePort)/"; }
is_health() { [ "$(health "$1")" = "$2" ]; }
wait_for "health check: here" is_health "$IP1" 200
has "how many" '"localEndpoints": 1' cat "$WORK/health"
has "as a header" "x-load-balancing-endpoint-weight: 1" sh -c "tr A-Z a-z <$WORK/head"
wait_for "health check: not here" is_health "$IP2" 503
OUTSIDE=$(ip route get "$IP1" | sed -n 's/.* src \([^ ]*\).*/\1/p')
same "the client is seen as itself" "$OUTSIDE" curl -s -m 2 "http://$IP1:$NP/cgi-bin/who"
same "only endpoints here" "one" answers ask "$IP1:$NP"
silent() { curl -s -m 2 -o /dev/null "http://$1/"; [ $? = 28 ]; }
ok "dropped where there are none" silent "$IP2:$NP"
ok "but for the node itself" in2 curl -s -m 2 "http://$IP2:$NP/"
ok "and its pods" from far "$IP2:$NP"
k label pod two app=web --overwrite >/dev/null

# --- session affinity
service '{apiVersion: v1, kind: Service, metadata: {name: sticky}, spec: {sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 4}}, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}'
STICKY=$(ip_of sticky)
both_known() { [ "$(k get endpointslice -l kubernetes.io/service-name=sticky -o 'jsonpath={.items[*].endpoints[*].conditions.ready}')" = "true true" ]; }
wait_for "two endpoints" both_known
sleep 0.5
CHOSEN=$(from near "$STICKY")
same "a client stays where it is" "$CHOSEN" answers from near "$STICKY"
k label pod "$CHOSEN" app=gone --overwrite >/dev/null
moved() { local now; now=$(from near "$STICKY") && [ -n "$now" ] && [ "$now" != "$CHOSEN" ]; }
wait_for "and moves when that is gone" moved
k label pod "$CHOSEN" app=web --overwrite >/dev/null

# --- topology: PreferSameNode
service '{apiVersion: v1, kind: Service, metadata: {name: close}, spec: {trafficDistribution: PreferSameNode, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}'
close_to() { [ "$(answers from "$1" "$(ip_of close)")" = "$2" ]; }
wait_for "trafficDistribution: the same node" close_to near one
wait_for "each its own" close_to far two
k label pod two app=gone --overwrite >/dev/null
wait_for "another where there is none" close_to far one
k label pod two app=web --overwrite >/dev/null

# --- others' Services
service '{apiVersion: v1, kind: Service, metadata: {name: others, labels: {service.kubernetes.io/service-proxy-name: x}}, spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}'
sleep 0.5
no "another proxy's Service" in1 curl -s -m 1 "http://$(ip_of others)/"

# --- datagrams: a flow moves when its endpoint does
cat >"$WORK/udp.py" <<'PY'
import socket, sys
if sys.argv[1] == "serve":
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", int(sys.argv[2])))
    while True:
        _, who = s.recvfrom(100); s.sendto(sys.argv[2].encode(), who)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.5); s.bind(("0.0.0.0", 5555))
s.sendto(b"x", (sys.argv[2], 53))
print(s.recv(100).decode())
PY
for port in 9001 9002; do nsenter --net="$NODE2" python3 "$WORK/udp.py" serve $port & HELPERS+=($!); done
service '{apiVersion: v1, kind: Service, metadata: {name: datagrams}, spec: {ports: [{port: 53, protocol: UDP, targetPort: 9001}]}}'
slice() { service "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: datagrams-x, labels: {kubernetes.io/service-name: datagrams}}, addressType: IPv4, ports: [{port: $1, protocol: UDP}], endpoints: [{addresses: [$IP2]}]}"; }
UDP=$(ip_of datagrams)
send() { in1 python3 "$WORK/udp.py" ask "$UDP"; }
no "no endpoint yet" send
slice 9001
says() { [ "$(send)" = "$1" ]; }
wait_for "the same flow, once there is one" says 9001
k delete endpointslice datagrams-x >/dev/null
slice 9002
wait_for "and goes where the endpoint goes" says 9002

# --- what load balancers ask
has "healthz" '"nodeEligible": true' curl -s -m 2 "http://$IP1:10256/healthz"
ok "livez" curl -sf -m 2 "http://$IP1:10256/livez"
k taint node worker-1 ToBeDeletedByClusterAutoscaler=1:PreferNoSchedule >/dev/null
eligible() { [ "$(curl -s -m 2 -o /dev/null -w '%{http_code}' "http://$IP1:10256/$2")" = "$1" ]; }
wait_for "not eligible any more" eligible 503 healthz
ok "but alive" eligible 200 livez
k taint node worker-1 ToBeDeletedByClusterAutoscaler- >/dev/null

# --- no connection is lost: while endpoints come and go, and while a Deployment rolls
cat >"$WORK/client.py" <<'PY'
import signal, socket, sys, time
good = bad = 0; why = {}; go = True
def stop(*_):
    global go
    go = False
signal.signal(signal.SIGTERM, stop)
while go:
    try:
        with socket.create_connection((sys.argv[1], 80), 3) as s:
            s.settimeout(3)
            s.sendall(b"GET / HTTP/1.0\r\n\r\n")
            data = b""
            while chunk := s.recv(4096): data += chunk
            if b"200" not in data.split(b"\r\n")[0]: raise OSError("answer %r" % data[:40])
        good += 1
    except OSError as e:
        bad += 1; why[str(e)] = why.get(str(e), 0) + 1
    time.sleep(0.002)
print(good, bad, why)
PY
k apply -f - >/dev/null <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: {name: roll}
spec:
  replicas: 3
  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
  selector: {matchLabels: {app: roll}}
  template:
    metadata: {labels: {app: roll}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: c
        image: docker.io/library/busybox:latest
        imagePullPolicy: IfNotPresent
        command: [sh, -c, 'mkdir -p /www; hostname >/www/index.html; exec httpd -f -p 8080 -h /www']
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
        lifecycle: {preStop: {exec: {command: [sleep, "2"]}}}
YAML
service '{apiVersion: v1, kind: Service, metadata: {name: roll}, spec: {selector: {app: roll}, ports: [{port: 80, targetPort: 8080}]}}'
ok "rolled out" k rollout status deployment/roll --timeout=60s
wait_for "reached" in1 curl -s -m 2 "http://$(ip_of roll)/"
nsenter --net="$NODE1" python3 "$WORK/client.py" "$(ip_of roll)" >"$WORK/rolled" & CLIENT=$!
nsenter --net="$NODE1" python3 "$WORK/client.py" "$WEB" >"$WORK/churned" & CHURN=$!
HELPERS+=($CLIENT $CHURN)
TABLE=$(table "$NODE1")
handle() { in1 nft -a list tables ip | grep "$TABLE"; }
HANDLE=$(handle)
for _ in 1 2 3; do
    k label pod two app=gone --overwrite >/dev/null; sleep 0.3
    k label pod two app=web --overwrite >/dev/null; sleep 0.3
done
k rollout restart deployment/roll >/dev/null
# More of them than the agent plans in one turn, with more elements than it commits at one time.
python3 - >"$WORK/many.yaml" <<'PY'
ports = ", ".join("{name: p%d, port: %d}" % (i, i) for i in range(1, 13))
for i in range(230):
    print("---\n{apiVersion: v1, kind: Service, metadata: {name: many-%d}, spec: {ports: [%s]}}" % (i, ports))
PY
ok "230 Services of 12 ports" k create -f "$WORK/many.yaml"
refused_count() { in1 nft list set ip "$TABLE" refused | grep -o ' tcp ' | wc -l; }
all_refused() { [ "$(refused_count)" -ge 2760 ] || { refused_count; return 1; }; }
eventually 20 "all of their ports are refused" all_refused
in1 nft monitor destroy elements >"$WORK/monitor" & HELPERS+=($!)
sleep 1
kill -9 "$(cut -d' ' -f1 "$D/hosts/worker-1/run/kubelet.pid")"
ok "the agent killed, and started" "$TRIREME" host start worker-1 --dir "$D"
ok "rolled out again" k rollout status deployment/roll --timeout=90s
sleep 1
kill "$CLIENT" "$CHURN"; wait "$CLIENT" "$CHURN"
lost() { awk '{ good = $1 > 100 && $2 == 0 } END { exit !good }' "$1" || { cat "$1"; return 1; }; }
ok "no connection lost while endpoints change ($(cat "$WORK/churned"))" lost "$WORK/churned"
ok "nor while a Deployment rolls and the agent dies ($(cat "$WORK/rolled"))" lost "$WORK/rolled"
same "the tables were taken over" "$HANDLE" handle
k scale deployment roll --replicas=1 >/dev/null
one_left() { [ "$(in1 nft list map ip "$TABLE" services | grep -c "$(ip_of roll) .*lb-1")" = 1 ]; }
eventually 30 "and go on to change" one_left
same "nothing that was to stay was removed meanwhile" 0 grep -c "element ip $TABLE refused" "$WORK/monitor"

# --- somebody deletes them
in1 nft delete table ip "$TABLE"
eventually 15 "deleted tables come back" in1 curl -s -m 1 "http://$WEB/"
in1 nft flush chain ip "$TABLE" prerouting
in1 nft delete chain ip "$TABLE" prerouting
eventually 15 "and so does a chain" in1 nft list chain ip "$TABLE" prerouting
eventually 10 "with all that is in them" from near "$WEB"

web_ip=${WEB%:*}
in1 nft delete element ip "$TABLE" cluster-ips "{ $web_ip }"
has_element() { in1 nft list set ip "$TABLE" cluster-ips | grep -qw "$web_ip"; }
ok "a single element is gone" sh -c "! nsenter --net=$NODE1 nft list set ip $TABLE cluster-ips | grep -qw $web_ip"
eventually 80 "and comes back" has_element

# --- nothing is left
k delete service --all >/dev/null
bare() { ! in1 nft list map ip "$TABLE" endpoints | grep -q "$WEB" && ! in1 nft list set ip "$TABLE" cluster-ips | grep -q "$WEB"; }
eventually 15 "nothing of Services that are gone" bare
has "metrics" "kubeproxy_sync_proxy_rules_duration_seconds_count" k get --raw /api/v1/nodes/worker-1/proxy/metrics
finish
