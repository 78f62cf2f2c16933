#!/bin/bash
# Ways around network policies and isolation, tried: sources that are not the pod's own, link-local addresses, what is sent to
# all, frames that are not IP, connections of an address's earlier owner, tables that somebody removes, policies that
# change while the agent is away. On both families.
. "$(dirname "$0")/lib.sh"
need_root "the test of ways around policies"
setup policy-bypass
D=$WORK/c
ok "up" up "$D" --control-planes 1 --workers 2 --ip-family dual
KUBECONFIG_FILE=$D/kubeconfig
NODE1=/run/netns/trireme-$PORT-worker-1
in1() { nsenter --net="$NODE1" "$@"; }
apply() { k apply -f - >"$WORK/applied" 2>&1 <<<"---"$'\n'"$1" || fail "apply" "$(cat "$WORK/applied")"; }
# pod NAME NODE [ANNOTATIONS]
pod() {
    cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: $1, namespace: x, labels: {app: $1}, annotations: {${3:-}}}
spec:
  nodeName: $2
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'mkdir -p /www; echo $1 >/www/index.html; httpd -p 8080 -h /www; while :; do sleep 1; done']
YAML
}
service() {
    echo "---
{apiVersion: v1, kind: Service, metadata: {name: $1, namespace: x}, spec: {ipFamilyPolicy: PreferDualStack, selector: {app: $1}, ports: [{name: web, port: 80, targetPort: 8080}, {name: talk, port: 5353, protocol: UDP}]}}"
}
ok "namespace" k create namespace x
eventually 20 "service account" k get serviceaccount default -n x
{ pod shut worker-1; pod near worker-1; pod far worker-2; service near; service far; } >"$WORK/pods.yaml"
ok "pods" k apply -f "$WORK/pods.yaml"
ok "ready" k wait --for=condition=Ready pod --all -n x --timeout=90s
ip_of() { k get pod -n x "$1" -o 'jsonpath={.status.podIPs[*].ip}' | tr ' ' '\n' | grep "$([ "$2" = 6 ] && echo : || echo '\.')"; }
process() { # POD: its container's first process
    local id pid
    id=$(k get pod -n x "$1" -o 'jsonpath={.status.containerStatuses[0].containerID}')
    [ -n "$id" ] || return 1
    for pid in /proc/[0-9]*; do
        grep -qs "${id##*/}" "$pid/cgroup" && grep -Eqs '^NSpid:.*[[:space:]]1$' "$pid/status" && echo "${pid##*/}" && return
    done
    return 1
}
declare -A IP PID
know() {
    local p f
    for p; do
        PID[$p]=$(process "$p") || { fail "the process of $p"; finish; }
        for f in 4 6; do IP[$p,$f]=$(ip_of "$p" $f); done
        IP[$p,link]=$(nsenter -t "${PID[$p]}" -n ip -6 -o address show dev eth0 scope link | awk '{sub("/.*", "", $4); print $4}')
    done
}
know shut near far
inside() { nsenter -t "${PID[$1]}" -n "${@:2}"; }
url() { case $1 in *:*) echo "http://[$1]:$2/" ;; *) echo "http://$1:$2/" ;; esac; }
fetch() { inside "$1" curl -gs -m 1 -o /dev/null "$(url "$2" "${3:-8080}")"; }
closed() { ! fetch "$@"; }
# datagram FROM TO SOURCE DESTINATION: does one with this source arrive? SOURCE_PORT: from this port
cat >"$WORK/listen.py" <<'PY'
import socket, sys
v6 = sys.argv[2] == "6"
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("::" if v6 else "0.0.0.0", 7777))
s.settimeout(10)
print("listening", flush=True)
while True:
    data, who = s.recvfrom(100)
    if data == b"end":
        sys.exit(1)
    if data == sys.argv[1].encode():
        s.sendto(b"heard", who)
        sys.exit(0)
PY
cat >"$WORK/send.py" <<'PY'
import os, socket, sys
text, source, destination = sys.argv[1:4]
v6 = ":" in source
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
if v6:  # IPV6_TRANSPARENT, IP_TRANSPARENT: CAP_NET_RAW is enough
    s.setsockopt(socket.IPPROTO_IPV6, 75, 1)
    scope = socket.if_nametoindex("eth0") if destination.startswith("f") and not destination.startswith("fd") else 0
    s.bind((source, int(os.environ.get("SOURCE_PORT") or 0), 0, scope))
    s.sendto(text.encode(), (destination, 7777, 0, scope))
else:
    s.setsockopt(socket.IPPROTO_IP, 19, 1)
    s.bind((source, int(os.environ.get("SOURCE_PORT") or 0)))
    s.sendto(text.encode(), (destination, 7777))
PY
heard() { # PID: it listens, and has not ended
    until grep -q listening "$WORK/listening"; do kill -0 "$1" 2>/dev/null || return 2; sleep 0.05; done
}
datagram() {
    local listener f=4 self=127.0.0.1
    case $3 in *:*) f=6 self=::1 ;; esac
    inside "$2" python3 "$WORK/listen.py" hello $f >"$WORK/listening" 2>&1 &
    listener=$!
    heard $! || return
    for _ in 1 2 3; do inside "$1" python3 "$WORK/send.py" hello "$3" "$4"; done
    # From the pod itself, behind all else: what was to arrive has arrived.
    SOURCE_PORT='' inside "$2" python3 "$WORK/send.py" end $self $self
    wait $listener
}
FOREIGN4=${IP[shut,4]%.*}.77 FOREIGN6=${IP[shut,6]%:*}:77

cat >"$WORK/discover.py" <<'PY'
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
for _ in range(3):
    s.sendto(bytes([135, 0, 0, 0]) + bytes(4) + socket.inet_pton(socket.AF_INET6, sys.argv[1]) + b"secret", (sys.argv[1], 0))
PY
cat >"$WORK/sniff.py" <<'PY'
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(int(sys.argv[2], 0)))
s.bind(("eth0", int(sys.argv[2], 0)))
s.settimeout(2)
print("listening", flush=True)
try:
    while sys.argv[1].encode() not in s.recv(2000):
        pass
except socket.timeout:
    sys.exit(1)
PY
# sniffed POD TEXT ETHERTYPE COMMAND...: does a frame with the text arrive there?
sniffed() {
    local sniffer pod=$1
    inside "$pod" python3 "$WORK/sniff.py" "$2" "$3" >"$WORK/listening" 2>&1 &
    sniffer=$!
    heard $! || return
    "${@:4}"
    wait $sniffer
}
cat >"$WORK/frame.py" <<'PY'
import socket, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
own = s.getsockname()[4]
for _ in range(3):
    s.send(b"\xff" * 6 + own + b"\x88\xb5" + b"frame" + bytes(60))
PY
frame() { sniffed "$2" frame 0x88b5 inside "$1" python3 "$WORK/frame.py"; }

# --- without policies these ways are open: what is tried below can succeed
for f in 4 6; do ok "IPv$f: free" fetch shut "${IP[near,$f]}"; done
ok "link-local: free" fetch shut "${IP[near,link]}%eth0"
ok "a foreign source: free" datagram shut near "$FOREIGN4" "${IP[near,4]}"
ok "multicast: free" datagram near shut "${IP[near,4]}" 224.0.0.1
ok "a frame that is not IP: free" frame near shut

# --- a pod that may send nothing
apply '{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: shut, namespace: x}, spec: {podSelector: {matchLabels: {app: shut}}, policyTypes: [Egress]}}'
guarded() { in1 nft list chain bridge trireme-ports from >/dev/null; }
eventually 20 "its port is guarded" guarded
for f in 4 6; do eventually 10 "IPv$f: closed" closed shut "${IP[near,$f]}"; done
no "link-local to a pod" fetch shut "${IP[near,link]}%eth0"
GATEWAY=$(in1 ip -6 -o address show dev cni0 scope link | awk '{sub("/.*", "", $4); print $4}')
no "link-local to the node" inside shut ping -6 -c 1 -W 1 "$GATEWAY%eth0"
for to in near far; do
    no "a source that nobody has, to $to" datagram shut $to "$FOREIGN4" "${IP[$to,4]}"
    no "another pod's, to $to" datagram shut $to "${IP[near,4]}" "${IP[$to,4]}"
    no "one from elsewhere, to $to" datagram shut $to 192.0.2.1 "${IP[$to,4]}"
    no "a source of IPv6 that nobody has, to $to" datagram shut $to "$FOREIGN6" "${IP[$to,6]}"
    no "another pod's of IPv6, to $to" datagram shut $to "${IP[near,6]}" "${IP[$to,6]}"
done
no "multicast" datagram shut near "${IP[shut,4]}" 224.0.0.1
no "broadcast" datagram shut near "${IP[shut,4]}" "${IP[shut,4]%.*}.255"
no "multicast of IPv6" datagram shut near "${IP[shut,link]}" ff02::1
no "ICMP" inside shut ping -c 1 -W 1 "${IP[near,4]}"
no "ICMP of IPv6" inside shut ping -6 -c 1 -W 1 "${IP[far,6]}"
no "fragments" inside shut ping -c 1 -W 1 -s 4000 "${IP[far,4]}"
# Neighbour discovery is let through on the link, and must not carry anything beyond it.
ok "such a message arrives from a free pod" sniffed far secret 0x86dd inside near python3 "$WORK/discover.py" "${IP[far,6]}"
no "but not from this one" sniffed far secret 0x86dd inside shut python3 "$WORK/discover.py" "${IP[far,6]}"
no "a frame that is not IP" frame shut near
ok "what is for it still comes" fetch near "${IP[shut,4]}"
ok "over IPv6, too" fetch near "${IP[shut,6]}"
ok "from another node" fetch far "${IP[shut,6]}"
ok "the node reaches it" in1 curl -gs -m 2 -o /dev/null "$(url "${IP[shut,6]}" 8080)"
inside shut ip neigh flush all
ok "neighbours are found anew" fetch near "${IP[shut,4]}"
ok "and of IPv6" fetch near "${IP[shut,6]}"

# --- a pod that may get nothing
apply '{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: shut, namespace: x}, spec: {podSelector: {matchLabels: {app: shut}}, policyTypes: [Ingress]}}'
for f in 4 6; do eventually 10 "IPv$f: closed to others" closed near "${IP[shut,$f]}"; done
for f in 4 6; do eventually 10 "IPv$f: it may send" fetch shut "${IP[far,$f]}"; done
no "link-local to it" fetch near "${IP[shut,link]}%eth0"
no "multicast to it" datagram near shut "${IP[near,4]}" 224.0.0.1
no "broadcast to it" datagram near shut "${IP[near,4]}" "${IP[near,4]%.*}.255"
no "multicast of IPv6 to it" datagram near shut "${IP[near,link]}" ff02::1
no "a frame that is not IP to it" frame near shut
ok "the node reaches it, and so do probes" in1 curl -gs -m 2 -o /dev/null "$(url "${IP[shut,4]}" 8080)"

# --- somebody removes the tables
tables() { in1 nft list tables | grep -c -e 'inet trireme-policy$' -e 'bridge trireme-ports$'; }
same "two tables" 2 tables
in1 nft delete table inet trireme-policy
in1 nft delete table bridge trireme-ports
both() { [ "$(tables)" = 2 ]; }
eventually 30 "they are made anew" both
eventually 10 "and hold" closed near "${IP[shut,4]}"
no "at the port, too" fetch near "${IP[shut,link]}%eth0"
in1 nft flush table inet trireme-policy
in1 nft flush chain bridge trireme-ports forward
eventually 30 "rules that were removed, too" closed near "${IP[shut,4]}"
eventually 30 "and those of ports" sh -c "nsenter --net=$NODE1 nft list chain bridge trireme-ports forward | grep 'jump to'"
in1 sh -c 'echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables'
eventually 30 "what bridges let by without a look is seen again" in1 grep -q 1 /proc/sys/net/bridge/bridge-nf-call-iptables

# --- an address that is given anew: what its earlier owner had begun ends
apply '{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: heir, namespace: x}, spec: {podSelector: {matchLabels: {app: heir}}, policyTypes: [Egress]}}'
pod old worker-1 >"$WORK/old.yaml"
ok "a pod" k apply -f "$WORK/old.yaml"
ok "ready" k wait --for=condition=Ready pod/old -n x --timeout=60s
know old
for f in 4 6; do
    SOURCE_PORT=4000$f ok "IPv$f: it speaks to another one" datagram old far "${IP[old,$f]}" "${IP[far,$f]}"
done
ok "it goes" k delete pod -n x old
for f in 4 6; do
    for file in "$D"/hosts/worker-1/kubelet/cni-addresses/*/last_reserved_ip.*; do
        case $f$(cat "$file") in 4*:*) ;; 6*:* | 4*) python3 -c 'import ipaddress, sys; print(ipaddress.ip_address(sys.argv[1]) - 1, end="")' "${IP[old,$f]}" >"$WORK/ip" && cp "$WORK/ip" "$file" ;; esac
    done
done
pod heir worker-1 >"$WORK/heir.yaml"
ok "another one" k apply -f "$WORK/heir.yaml"
ok "ready" k wait --for=condition=Ready pod/heir -n x --timeout=60s
know heir
for f in 4 6; do
    same "IPv$f: it has the address" "${IP[old,$f]}" echo "${IP[heir,$f]}"
    SOURCE_PORT=4000$f no "IPv$f: but not the connection" datagram heir far "${IP[heir,$f]}" "${IP[far,$f]}"
done

# --- a policy that changes while the agent is away
agent() { cut -d' ' -f1 "$D/hosts/worker-1/run/kubelet.pid"; }
kill -9 "$(agent)"
apply '{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: shut, namespace: x}, spec: {podSelector: {matchLabels: {app: shut}}, policyTypes: [Egress]}}'
no "the old one holds" fetch near "${IP[shut,4]}"
no "at the port, too" fetch near "${IP[shut,link]}%eth0"
ok "the agent starts" "$TRIREME" host start worker-1 --dir "$D"
eventually 30 "the new one holds: what it sends" closed shut "${IP[near,4]}"
eventually 10 "what comes to it" fetch near "${IP[shut,4]}"
no "at the port all along" fetch shut "${IP[near,link]}%eth0"

# --- isolation on both families
k delete networkpolicy -n x --all >/dev/null
none() { ! in1 nft list table bridge trireme-ports && ! in1 nft list table inet trireme-policy; }
eventually 15 "nothing is guarded without policies" none
{ pod declared worker-1 'trireme.io/depends-on: "far:web"'; pod six worker-1 "trireme.io/depends-on: \"${IP[far,6]}/128:8080\""; } >"$WORK/declared.yaml"
ok "pods that declare" k apply -f "$WORK/declared.yaml"
ok "ready" k wait --for=condition=Ready pod/declared pod/six -n x --timeout=60s
know declared six
FAR_IPS=$(k get service -n x far -o 'jsonpath={.spec.clusterIPs[*]}') NEAR_IPS=$(k get service -n x near -o 'jsonpath={.spec.clusterIPs[*]}')
for ip in $FAR_IPS; do eventually 10 "a declared Service at $ip" fetch declared "$ip" 80; done
for f in 4 6; do ok "IPv$f: its endpoint" fetch declared "${IP[far,$f]}"; done
for ip in $NEAR_IPS; do no "one that is not declared at $ip" fetch declared "$ip" 80; done
for f in 4 6; do
    no "IPv$f: nor its endpoint" fetch declared "${IP[near,$f]}"
    no "IPv$f: not the node" inside declared curl -gsk -m 1 "$(url "$(k get node worker-1 -o 'jsonpath={.status.addresses[*].address}' | tr ' ' '\n' | grep "$([ $f = 6 ] && echo : || echo '\.')" | head -n 1)" 10250)"
    ok "IPv$f: who asked it is answered" fetch near "${IP[declared,$f]}"
    ok "IPv$f: it reaches itself" fetch declared "${IP[declared,$f]}"
done
ok "its name server over IPv6" k exec -n x declared -- nslookup far.x.svc.cluster.local fd00:96::a
ok "a range of IPv6" fetch six "${IP[far,6]}"
no "not the same pod over IPv4" fetch six "${IP[far,4]}"
no "not another one over IPv6" fetch six "${IP[near,6]}"
no "link-local to a pod" fetch declared "${IP[near,link]}%eth0"
no "link-local to the node" inside declared curl -gsk -m 1 "https://[$GATEWAY%eth0]:10250/healthz"
no "a source that nobody has" datagram declared near "$FOREIGN4" "${IP[near,4]}"
no "another pod's of IPv6" datagram declared far "${IP[near,6]}" "${IP[far,6]}"
row() { "$TRIREME" edges --kubeconfig "$KUBECONFIG_FILE" -n x | grep -E "$1"; }
eventually 15 "an attempt over IPv6 is told" row 'Pod/declared +(x/near:80|\[.*\]:8080)/tcp +refused'
in1 nft delete table inet trireme-isolation
holds() { in1 nft list table inet trireme-isolation; }
eventually 30 "its table is made anew" holds
no "and holds" fetch declared "${IP[near,4]}"
k delete pod -n x declared six --grace-period=1 >/dev/null
eventually 15 "nothing is left" none
finish
