#!/bin/bash
# Both IP families: pods, Services, DNS and network policies of a dual-stack cluster on two nodes, and a
# cluster of IPv6 alone.
. "$(dirname "$0")/lib.sh"
need_root "the dual-stack test"
setup dual-stack
D=$WORK/c
ok "up" up "$D" --control-planes 1 --workers 2 --ip-family dual
KUBECONFIG_FILE=$D/kubeconfig
NODE1=/run/netns/trireme-$PORT-worker-1
# pod NAME NODE HOSTPORT
pod() {
    cat <<YAML
---
apiVersion: v1
kind: Pod
metadata: {name: $1, labels: {app: $1, role: web}}
spec:
  nodeName: $2
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'mkdir -p /www; echo $1 >/www/index.html; httpd -p 8080 -h /www; while :; do sleep 1; done']
    env:
    - {name: IPS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}
    - {name: HOSTS, valueFrom: {fieldRef: {fieldPath: status.hostIPs}}}
    ports: [{name: web, containerPort: 8080, hostPort: $3}]
    readinessProbe: {httpGet: {port: web}, periodSeconds: 1}
YAML
}
# family 4|6 ADDRESSES: the one of that family
family() {
    local ip
    for ip in ${2//,/ }; do
        case $1$ip in 6*:*) echo "$ip" ;; 4*:*) ;; 4*) echo "$ip" ;; esac
    done
}
url() { case $1 in *:*) echo "http://[$1]:$2/" ;; *) echo "http://$1:$2/" ;; esac; }
# from POD ADDRESS PORT EXPECTED
from() { [ "$(k exec "$1" -- timeout 2 wget -q -O- "$(url "$2" "$3")")" = "$4" ]; }
reaches() { eventually 10 "$@"; }
shut() { ! from "$@"; }
here() { [ "$(curl -s -m 2 "$(url "$1" "$2")")" = "$3" ]; }

# --- nodes and pods
eventually 20 "service account" k get serviceaccount default
{ pod a worker-1 8181; pod b worker-1 8182; pod c worker-2 8183; } >"$WORK/pods.yaml"
ok "pods" k apply -f "$WORK/pods.yaml"
ok "ready" k wait --for=condition=Ready pod --all --timeout=90s
ok "a node's ranges" is node/worker-2 '{.spec.podCIDRs}' '["10.244.1.0/24","fd00:244:0:1::/64"]'
NODE_IPS=$(jp node/worker-2 '{.status.addresses[?(@.type=="InternalIP")].address}')
NODE4=$(family 4 "${NODE_IPS// /,}") NODE6=$(family 6 "${NODE_IPS// /,}")
declare -A IP
for p in a b c; do
    ips=$(jp pod/$p '{.status.podIPs[*].ip}')
    IP[$p,4]=$(family 4 "${ips// /,}") IP[$p,6]=$(family 6 "${ips// /,}")
    ok "$p has an address of each family: $ips" test -n "${IP[$p,4]}" -a -n "${IP[$p,6]}"
done
ok "the node's family first" is pod/c '{.status.podIP}' "${IP[c,4]}"
has "downward API: podIPs" "IPS=${IP[c,4]},${IP[c,6]}" k exec c -- env
has "downward API: hostIPs" "HOSTS=$NODE4,$NODE6" k exec c -- env
has "/etc/hosts" "${IP[c,6]}"$'\t'c k exec c -- cat /etc/hosts
for f in 4 6; do
    reaches "IPv$f on one node" from a "${IP[b,$f]}" 8080 b
    reaches "IPv$f across nodes" from a "${IP[c,$f]}" 8080 c
    reaches "IPv$f to itself" from a "${IP[a,$f]}" 8080 a
done
ok "hostPort over IPv4" here "$NODE4" 8183 c
ok "hostPort over IPv6" here "$NODE6" 8183 c
CP6=$(ip -n "trireme-$PORT-cp-1" -6 -o address show dev eth0 scope global | awk '{sub("/.*", "", $4); print $4}')
ok "out of the pods' network" k exec a -- sh -c "nc -w 3 $CP6 6443 </dev/null"

# --- Services of every policy
# service NAME MORE
service() {
    k apply -f - >"$WORK/applied" 2>&1 <<YAML
---
{apiVersion: v1, kind: Service, metadata: {name: $1}, spec: {selector: {app: c}, ports: [{port: 80, targetPort: web}], $2}}
YAML
}
# reached SERVICE FAMILIES...
reached() {
    local ips
    ips=$(jp service/$1 '{.spec.clusterIPs[*]}')
    ok "$1: families" is service/$1 '{.spec.ipFamilies[*]}' "${*:2}"
    for ip in $ips; do reaches "$1 at $ip" from a "$ip" 80 c; done
    ok "$1: as many addresses: $ips" test "$(wc -w <<<"$ips")" = $(($# - 1))
}
ok "single" service single ''
ok "IPv6 alone" service six 'ipFamilies: [IPv6]'
ok "preferred" service prefer 'ipFamilyPolicy: PreferDualStack'
ok "required, IPv6 first" service require 'type: NodePort, ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6, IPv4]'
ok "headless" service headless 'clusterIP: None, ipFamilyPolicy: RequireDualStack'
no "one policy, two families" service wrong 'ipFamilyPolicy: SingleStack, ipFamilies: [IPv6, IPv4]'
has "why" "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified" cat "$WORK/applied"
reached single IPv4
reached six IPv6
reached prefer IPv4 IPv6
reached require IPv6 IPv4
has "Endpoints of the first family" "at: ${IP[c,6]}." jp endpoints/require "at: {.subsets[0].addresses[*].ip}."
slices() { k get endpointslices -l "kubernetes.io/service-name=$1" -o 'jsonpath={range .items[*]}{.addressType} {.endpoints[0].addresses[0]}{"\n"}{end}' | sort | tr '\n' ' '; }
same_slices() { [ "$(slices "$1")" = "$2" ]; }
ok "a slice of each" same_slices require "IPv4 ${IP[c,4]} IPv6 ${IP[c,6]} "
ok "of one family alone" same_slices six "IPv6 ${IP[c,6]} "
PORT6=$(jp service/require '{.spec.ports[0].nodePort}')
ok "NodePort over IPv4" here "$NODE4" "$PORT6" c
ok "NodePort over IPv6" here "$NODE6" "$PORT6" c
ok "NodePort over IPv6 of the other node" here "$(family 6 "$(jp node/worker-1 '{.status.addresses[*].address}' | tr ' ' ,)")" "$PORT6" c

# --- session affinity: remembered for its time, whatever becomes of other endpoints
k label pod a b c ring=yes >/dev/null
ok "a sticky Service" k apply -f - <<'YAML'
---
{apiVersion: v1, kind: Service, metadata: {name: sticky}, spec: {ipFamilyPolicy: RequireDualStack, sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 15}}, selector: {ring: "yes"}, ports: [{port: 80, targetPort: web}]}}
YAML
who() { k exec a -- timeout 2 wget -q -O- "$(url "$1" 80)" 2>/dev/null; }
whos() { for _ in 1 2 3 4 5 6 7 8; do who "$1"; done | sort -u | paste -sd' '; }
others() { for p in a b c; do [ "$p" = "$1" ] || echo "$p"; done; }
answered() { [ -n "$(who "$1")" ]; }
TABLE=$(nsenter --net="$NODE1" nft list tables ip | sed -n 's/^table ip \(trireme-services-.*\)/\1/p')
remembered() { nsenter --net="$NODE1" nft list map "$1" "$TABLE" affinity | tr -d '\n\t' | grep -o "$2 . tcp . 80 . [^,}]*" | head -n 1; }
forgotten() { [ -z "$(remembered "$@")" ] || { remembered "$@"; return 1; }; }
endpoints_of() { nsenter --net="$NODE1" nft list map "$1" "$TABLE" endpoints | tr -d '\n\t' | grep -o "$2 . tcp . 80 . " | wc -l; }
are() { [ "$(endpoints_of "$1" "$2")" = "$3" ] || { endpoints_of "$1" "$2"; return 1; }; }
STICKY=$(jp service/sticky '{.spec.clusterIPs[*]}')
for f in 4 6; do
    S=$(family $f "${STICKY// /,}") fam=ip
    [ $f = 4 ] || fam=ip6
    eventually 10 "IPv$f: three endpoints" are $fam "$S" 3
    eventually 10 "IPv$f: reached" answered "$S"
    CHOSEN=$(who "$S")
    same "IPv$f: a client stays" "$CHOSEN" whos "$S"
    has "IPv$f: for as long as the Service says" "timeout 15s" remembered $fam "$S"
    for p in $(others "$CHOSEN"); do
        k label pod "$p" ring=no --overwrite >/dev/null
        eventually 10 "IPv$f: without $p" are $fam "$S" 2
        same "IPv$f: it stays" "$CHOSEN" whos "$S"
        k label pod "$p" ring=yes --overwrite >/dev/null
        eventually 10 "IPv$f: with $p again" are $fam "$S" 3
        same "IPv$f: it stays, too" "$CHOSEN" whos "$S"
    done
    k label pod "$CHOSEN" ring=no --overwrite >/dev/null
    eventually 10 "IPv$f: its endpoint goes" are $fam "$S" 2
    eventually 10 "IPv$f: another one" answered "$S"
    no "IPv$f: not the one that went" test "$(who "$S")" = "$CHOSEN"
    k label pod "$CHOSEN" ring=yes --overwrite >/dev/null
    eventually 40 "IPv$f: it is forgotten in time" forgotten $fam "$S"
done

# --- DNS
answers() { [ "$(nsenter --net="$NODE1" dig +short "${@:2}" | sort | tr '\n' ' ')" = "$1" ]; }
PREFER=$(jp service/prefer '{.spec.clusterIPs[*]}')
P4=$(family 4 "${PREFER// /,}") P6=$(family 6 "${PREFER// /,}")
for server in 10.96.0.10 fd00:96::a; do
    reaches "A, asked at $server" answers "$P4 " @$server prefer.default.svc.cluster.local A
    reaches "AAAA, asked at $server" answers "$P6 " @$server prefer.default.svc.cluster.local AAAA
    reaches "PTR of IPv6, asked at $server" answers "prefer.default.svc.cluster.local. " @$server -x "$P6"
done
reaches "AAAA of a headless Service" answers "${IP[c,6]} " @10.96.0.10 headless.default.svc.cluster.local AAAA
reaches "no AAAA of a Service of IPv4" answers "" @10.96.0.10 single.default.svc.cluster.local AAAA
ok "pods ask over IPv6" k exec a -- nslookup prefer.default.svc.cluster.local fd00:96::a
has "pods know both servers" "nameserver fd00:96::a" k exec a -- cat /etc/resolv.conf
has "so does the kube-dns Service" '["10.96.0.10","fd00:96::a"]' k get service -n kube-system kube-dns -o 'jsonpath={.spec.clusterIPs}'

# --- families change
patch() { k patch service "$1" --type=merge -p "$2" >"$WORK/patched" 2>&1; }
claims() { k get ipaddresses -o 'jsonpath={range .items[*]}{.metadata.name} {.spec.parentRef.name}{"\n"}{end}' | grep " $1\$" | cut -d' ' -f1 | sort | tr '\n' ' '; }
FIRST=$(jp service/single '{.spec.clusterIP}')
ok "single asks for both" patch single '{"spec":{"ipFamilyPolicy":"RequireDualStack"}}'
reached single IPv4 IPv6
ok "the first one stays" is service/single '{.spec.clusterIP}' "$FIRST"
SECOND=$(jp service/single '{.spec.clusterIPs[1]}')
ok "both are claimed" test "$(claims single)" = "$(printf '%s\n' "$FIRST" "$SECOND" | sort | tr '\n' ' ')"
no "the first family cannot change" patch single '{"spec":{"ipFamilies":["IPv6","IPv4"]}}'
no "a family goes only with the policy" patch single '{"spec":{"ipFamilies":["IPv4"]}}'
has "why" "must be set to 'SingleStack' when releasing the secondary ipFamily" cat "$WORK/patched"
ok "back to one" patch single '{"spec":{"ipFamilyPolicy":"SingleStack"}}'
reached single IPv4
ok "the second one is free again" test "$(claims single)" = "$FIRST "
reaches "its slice goes" same_slices single "IPv4 ${IP[c,4]} "
reaches "nobody answers there any more" shut a "$SECOND" 80 c

# --- network policies
policy() { k apply -f - >"$WORK/applied" 2>&1 <<<"---"$'\n'"$1" || { cat "$WORK/applied"; false; }; }
POLICY='apiVersion: networking.k8s.io/v1, kind: NetworkPolicy'
ok "deny" policy "{$POLICY, metadata: {name: p}, spec: {podSelector: {matchLabels: {app: b}}, policyTypes: [Ingress]}}"
for f in 4 6; do reaches "IPv$f: closed" shut a "${IP[b,$f]}" 8080 b; done
ok "a pod by its labels" policy "{$POLICY, metadata: {name: p}, spec: {podSelector: {matchLabels: {app: b}}, ingress: [{from: [{podSelector: {matchLabels: {app: a}}}], ports: [{port: web}]}]}}"
for f in 4 6; do
    reaches "IPv$f: open to a, on its node" from a "${IP[b,$f]}" 8080 b
    reaches "IPv$f: closed to c" shut c "${IP[b,$f]}" 8080 b
done
ok "a range of IPv6" policy "{$POLICY, metadata: {name: p}, spec: {podSelector: {matchLabels: {app: b}}, ingress: [{from: [{ipBlock: {cidr: 'fd00:244::/48', except: ['${IP[a,6]}/128']}}]}]}}"
reaches "IPv6: open to c" from c "${IP[b,6]}" 8080 b
reaches "IPv6: a is excepted" shut a "${IP[b,6]}" 8080 b
reaches "IPv4: closed" shut c "${IP[b,4]}" 8080 b
ok "what b may reach" policy "{$POLICY, metadata: {name: p}, spec: {podSelector: {matchLabels: {app: b}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: '${IP[a,6]}/128'}}]}]}}"
reaches "IPv6: b reaches a" from b "${IP[a,6]}" 8080 a
reaches "IPv4: b does not" shut b "${IP[a,4]}" 8080 a
reaches "IPv6: b does not reach c" shut b "${IP[c,6]}" 8080 c
ok "down" "$TRIREME" down --dir "$D"

# --- IPv6 alone: three control planes and a node
S=$WORK/six
ok "up with IPv6 alone" up "$S" --control-planes 3 --workers 1 --ip-family ipv6
KUBECONFIG_FILE=$S/kubeconfig
has "its API server" "https://[fd00:" grep server: "$S/kubeconfig"
endpoints() { [ "$(jp endpointslice/kubernetes '{.endpoints[*].addresses[0]}' | wc -w)" = "$1" ]; }
eventually 20 "three endpoints" endpoints 3
ok "the built-in Service" is service/kubernetes '{.spec.clusterIPs[*]}' fd00:96::1
eventually 20 "service account" k get serviceaccount default
pod a worker-1 8181 >"$WORK/pods.yaml"
ok "a pod" k apply -f "$WORK/pods.yaml"
ok "ready by a probe over IPv6" k wait --for=condition=Ready pod a --timeout=90s
A6=$(jp pod/a '{.status.podIP}')
ok "it has one address, of IPv6" is pod/a '{.status.podIPs[*].ip}' "$A6"
ok "Service" k expose pod a --name web --port 80 --target-port web
reaches "reached" from a "$(jp service/web '{.spec.clusterIP}')" 80 a
reaches "by name" k exec a -- timeout 2 wget -q -O /dev/null http://web/
ok "API server from a pod" k exec a -- sh -c 'nc -w 3 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT </dev/null'
has "logs" "" k logs a
PROXIED=/api/v1/namespaces/default/pods/a:8080/proxy/
has "through the API server" "a" k get --raw "$PROXIED"
k port-forward pod/a "$((PORT + 30)):8080" >"$WORK/forward.log" 2>&1 &
FORWARD=$!
eventually 10 "port-forward" here 127.0.0.1 $((PORT + 30)) a
kill $FORWARD
finish
