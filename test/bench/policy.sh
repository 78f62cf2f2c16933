#!/bin/bash
# Network policies and isolation in the kernel: what a connection costs whose pod is one of few or of many that are held, and
# what loading costs. Three network namespaces: a client, a node that forwards, a server. Needs root.
# usage: test/bench/policy.sh BENCH_POLICY
#   PODS="10 1000"   OTHERS=10000   CONNECTIONS=20000
set -eu
bench=$(realpath "$1")
PODS=${PODS:-10 1000} OTHERS=${OTHERS:-10000} CONNECTIONS=${CONNECTIONS:-20000}
[ "$(id -u)" = 0 ] || { echo "left out: bench-policy needs root (network namespaces)"; exit 0; }
work=$(mktemp -d) client=bp-client-$$ node=bp-node-$$ server=bp-server-$$
trap 'for n in $client $node $server; do ip netns del $n 2>/dev/null || true; done; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
for n in $client $node $server; do ip netns add $n; ip -n $n link set lo up; done
# link NAMESPACE ADDRESS INTERFACE
link() {
    ip -n $node link add "$3" type veth peer name eth0 netns "$1"
    ip -n "$1" address add "$2/32" dev eth0
    ip -n "$1" link set eth0 up
    ip -n $node link set "$3" up
    ip -n $node route add "$2/32" dev "$3"
    ip -n "$1" route add 169.254.1.1 dev eth0
    ip -n "$1" route add default via 169.254.1.1
    ip -n $node address add 169.254.1.1/32 dev "$3"
}
link $client 10.60.0.3 c
link $server 10.70.0.7 s
ip netns exec $node sysctl -qw net.ipv4.ip_forward=1 net.netfilter.nf_conntrack_udp_timeout=1
# Datagrams, each from a port of its own: the first packet of a flow, which alone is judged, there and to nobody's loss.
measure() {
    ip netns exec $client python3 - "$CONNECTIONS" <<'PY'
import socket, sys, time
n, best = int(sys.argv[1]), []
for _ in range(5):
    time.sleep(2)
    began = time.perf_counter()
    for k in range(n // 5):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", ("10.70.0.7", 1003))
    best.append((time.perf_counter() - began) / (n // 5) * 1e6)
print("first_packet_us=%.2f" % sorted(best)[2])
PY
}
echo "what=nothing $(measure)"
for what in policies isolation; do
    for pods in $PODS; do
        figures=$("$bench" $what "$pods" "$OTHERS" 2>&1 >"$work/text")
        began=$(date +%s%N)
        ip netns exec $node nft -f "$work/text"
        took=$((($(date +%s%N) - began) / 1000000))
        echo "what=$what pods=$pods $(measure) $figures load_ms=$took"
        ip netns exec $node nft flush ruleset
    done
done
