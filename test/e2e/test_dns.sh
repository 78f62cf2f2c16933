#!/bin/bash
# The cluster's DNS on the nodes, asked from real pods and, with dig, from the node.
. "$(dirname "$0")/lib.sh"
need_root "the DNS test"
setup dns
D=$WORK/c
DNS=10.96.0.10
UPSTREAM_PID=''
stop_upstream() { [ -z "$UPSTREAM_PID" ] || { kill "$UPSTREAM_PID" 2>/dev/null; wait "$UPSTREAM_PID" 2>/dev/null; }; UPSTREAM_PID=''; }
trap 'stop_upstream; teardown' EXIT
# Nobody listens at the first, the last is the node's own.
printf 'nameserver 127.0.0.9\nnameserver 127.0.0.1\nnameserver %s\nsearch example.test\n' $DNS >"$WORK/resolv.conf"

ok "up" up "$D" --control-planes 1 --workers 2 --kubelet-args "--resolv-conf=$WORK/resolv.conf"
KUBECONFIG_FILE=$D/kubeconfig
NODE_NS=/run/netns/trireme-$PORT-worker-1
in_node() { nsenter --net="$NODE_NS" "$@"; }
start_upstream() {
    : >"$WORK/upstream.log"
    nsenter --net="$NODE_NS" "$HERE/dns_upstream.py" "$1" "$WORK/upstream.log" &
    UPSTREAM_PID=$!
    eventually 10 "a resolver at $1" grep -q ready "$WORK/upstream.log"
}
start_upstream 127.0.0.1
cat >"$WORK/objects.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: box, labels: {app: box}}
spec:
  nodeName: worker-1
  hostname: box-host
  subdomain: peers
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'mkdir /www; echo hello >/www/index.html; httpd -f -p 8080 -h /www']
    ports: [{containerPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: other, labels: {app: box}}
spec:
  nodeName: worker-2
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'mkdir /www; echo hello >/www/index.html; httpd -f -p 8080 -h /www']
    ports: [{containerPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: on-host}
spec:
  nodeName: worker-1
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'while :; do sleep 1; done']
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: box}, clusterIP: 10.96.7.7, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: peers}
spec: {selector: {app: box}, clusterIP: None, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: out}
spec: {type: ExternalName, externalName: www.example.test}
YAML
eventually 20 "default service account" k get serviceaccount default
ok "apply" k apply -f "$WORK/objects.yaml"
ok "pods are ready" k wait --for=condition=Ready pod --all --timeout=90s
same "the kube-dns Service" "$DNS" k get service -n kube-system kube-dns -o 'jsonpath={.spec.clusterIP}'
BOX=$(k get pod box -o 'jsonpath={.status.podIP}')
OTHER=$(k get pod other -o 'jsonpath={.status.podIP}')
box() { k exec box -- "$@"; }
Z=default.svc.cluster.local

# --- from pods: libc's resolver, search paths, busybox's tools
has "resolv.conf names the server" "nameserver $DNS" box cat /etc/resolv.conf
has "resolv.conf has the search path" "search default.svc.cluster.local svc.cluster.local cluster.local example.test" box cat /etc/resolv.conf
eventually 20 "a Service by its name" box wget -q -O- http://web/
ok "with its namespace" box wget -q -O- http://web.default/
ok "in full" box wget -q -O- http://web.$Z/
ok "an endpoint by its hostname" box wget -q -O- http://box-host.peers:8080/
ok "from another node" k exec other -- wget -q -O- http://web/
ok "from the host's network" k exec on-host -- wget -q -O- http://web/
has "nslookup" "10.96.7.7" box nslookup web.$Z
has "kubernetes" "10.96.0.1" box nslookup kubernetes.$Z
no "no such name" box nslookup none.$Z
same "hostname -f" "box-host.peers.$Z" box hostname -f
has "hosts file" "$BOX	box-host.peers.$Z	box-host" box cat /etc/hosts

# --- from the node: dig
if command -v dig >/dev/null; then
    d() { in_node dig +short +time=2 +tries=1 "@$DNS" "$@"; }
    whole() { in_node dig +time=2 +tries=1 "@$DNS" "$@"; }
    both() { printf '%s\n' "$BOX" "$OTHER" | sort; }
    sorted() { "$@" | sort; }
    same "A" 10.96.7.7 d web.$Z
    same "A over TCP" 10.96.7.7 d +tcp web.$Z
    same "without EDNS" 10.96.7.7 d +noedns web.$Z
    same "headless" "$(both)" sorted d peers.$Z
    same "by hostname" "$BOX" d box-host.peers.$Z
    same "by address" "$OTHER" d "${OTHER//./-}.peers.$Z"
    same "SRV" "0 100 80 web.$Z." d SRV _http._tcp.web.$Z
    same "SRV of endpoints" "$(printf '%s\n' "0 50 8080 ${OTHER//./-}.peers.$Z." "0 50 8080 box-host.peers.$Z." | sort)" sorted d SRV _http._tcp.peers.$Z
    same "PTR of a Service" "web.$Z." d -x 10.96.7.7
    same "PTR of an endpoint" "box-host.peers.$Z." d -x "$BOX"
    same "a pod's name" "$BOX" d "${BOX//./-}.default.pod.cluster.local"
    same "version" '"1.1.0"' d TXT dns-version.cluster.local
    has "SOA" "ns.dns.cluster.local. hostmaster.cluster.local." d SOA cluster.local
    has "no such name" "status: NXDOMAIN" whole none.$Z
    has "and its SOA" "cluster.local.		5	IN	SOA" whole none.$Z
    has "no data" "status: NOERROR" whole MX web.$Z
    has "authoritative" "flags: qr aa rd ra" whole web.$Z
    has "case is kept" "wEB.default.SVC.cluster.local." whole wEB.default.SVC.cluster.local
    has "another class" "status: REFUSED" whole CH TXT version.bind
    has "another operation" "status: NOTIMP" whole +opcode=NOTIFY web.$Z
    has "another EDNS" "status: NOERROR" whole +edns=1 web.$Z
    no "no complaints" sh -c "nsenter --net=$NODE_NS dig @$DNS web.$Z | grep -v 'reserved for Multicast' | grep -i 'warn\|malformed\|unexpected'"

    # --- upstream
    same "forwarded" 192.0.2.1 d www.example.test
    same "followed" "$(printf 'www.example.test.\n192.0.2.1')" d out.$Z
    same "cut, then over TCP" 200 sh -c "nsenter --net=$NODE_NS dig +short @$DNS big.example.test | wc -l"
    has "cut for a client without TCP" "flags: qr tc" whole +ignore big.example.test
    has "it was asked over TCP" "tcp big.example.test" cat "$WORK/upstream.log"
    has "upstream denies" "status: NXDOMAIN" whole none.example.test
    has "still denied" "status: NXDOMAIN" whole none.example.test
    same "asked once" 1 grep -c "none.example.test" "$WORK/upstream.log"
    no "no name of the cluster went out" grep "cluster.local " "$WORK/upstream.log"
    has "an address that is nobody's" "status: NXDOMAIN" whole -x 198.51.100.1
    has "nobody answers" "status: SERVFAIL" in_node dig +time=8 +tries=1 "@$DNS" slow.example.test
    ok "search path of the node" box wget -q -O- --spider http://web
else
    echo "  left out: no dig (bind9-dnsutils)"
fi

# --- changes, and the control plane away
nsenter --net="$NODE_NS" "$HERE/dns_churn.py" $DNS web.$Z 10.96.7.7 8 >"$WORK/churn" 2>&1 &
CHURN=$!
for i in $(seq 1 15); do
    k create service clusterip "churn-$i" --tcp=80:80 >/dev/null
    k delete service "churn-$((i - 1))" >/dev/null 2>&1
done
has "the last of them is there" "10.96." box nslookup churn-15.$Z
no "the one before is gone" box nslookup churn-14.$Z
wait "$CHURN"
has "no query is lost while Services change" " 0 lost, 0 wrong" cat "$WORK/churn"
ok "kill the API server" kill -9 "$(cut -d' ' -f1 "$D/hosts/cp-1/run/apiserver.pid")"
has "answers without API servers" "0 lost, 0 wrong" in_node "$HERE/dns_churn.py" $DNS web.$Z 10.96.7.7 3
stop_upstream
if command -v dig >/dev/null; then
    same "from the cache without upstream" 192.0.2.1 d www.example.test
    has "nobody to ask" "status: SERVFAIL" in_node dig +time=8 +tries=1 "@$DNS" new.example.test
    start_upstream 127.0.0.3
    printf 'nameserver 127.0.0.3\n' >"$WORK/resolv.conf"
    eventually 15 "another resolv.conf" sh -c "nsenter --net=$NODE_NS dig +time=8 +tries=1 @$DNS other.example.test | grep -q NXDOMAIN"
    stop_upstream
fi
ok "down" "$TRIREME" down --dir "$D"

# --- turned off: the Service leads to what it is told
D=$WORK/off
ok "up without DNS" up "$D" --control-planes 1 --workers 1 --kubelet-args --dns=false
KUBECONFIG_FILE=$D/kubeconfig
NODE_IP=$(k get node worker-1 -o 'jsonpath={.status.addresses[?(@.type=="InternalIP")].address}')
start_upstream "$NODE_IP"
no "the address is not the node's" sh -c "nsenter --net=$NODE_NS ip address show lo | grep $DNS"
sed "s/NODE_IP/$NODE_IP/" >"$WORK/slice.yaml" <<'YAML'
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: mine, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
ports: [{name: dns, protocol: UDP, port: 53}, {name: dns-tcp, protocol: TCP, port: 53}]
endpoints: [{addresses: [NODE_IP]}]
YAML
ok "endpoints of its own" k apply -f "$WORK/slice.yaml"
if command -v dig >/dev/null; then
    eventually 15 "another server answers" sh -c "nsenter --net=$NODE_NS dig +short +time=1 +tries=1 @$DNS www.example.test | grep -q 192.0.2.1"
fi
stop_upstream
finish
