#!/usr/bin/env python3
"""Makes and changes Services through the API, and watches the kernel of a node follow.

usage: services.py API NETNS create FROM TO | packets | updates SERVICES COUNT | load SERVICES"""
import ctypes, http.client, json, os, random, socket, struct, sys, threading, time

API, NETNS, VERB = sys.argv[1:4]
NFPROTO_IPV4, GROUP_NFTABLES, NEWSETELEM = 2, 7, 10 << 8 | 12
ANY_ADDRESS = "10.250.0.1"  # Endpoints that nobody is: only the translation is measured.


def enter():
    fd = os.open(NETNS, os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(fd)


class Client:
    def __init__(self):
        self.c = http.client.HTTPConnection(API)

    def call(self, method, path, body=None, kind="application/json"):
        self.c.request(method, path, json.dumps(body) if body else None, {"Content-Type": kind})
        r = self.c.getresponse()
        data = r.read()
        if r.status >= 300 and r.status != 409:
            raise SystemExit("%s %s: %d %s" % (method, path, r.status, data[:300]))
        return json.loads(data)


def endpoint(i, k):
    return {"addresses": ["10.%d.%d.%d" % (200 + k, i >> 8 & 255, i & 255)], "conditions": {"ready": True}}


def create(first, last):
    client = Client()
    for i in range(first, last):
        name = "s%d" % i
        client.call("POST", "/api/v1/namespaces/default/services", {
            "metadata": {"name": name}, "spec": {"ports": [{"port": 80, "protocol": "UDP"}]}})
        client.call("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", {
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "ports": [{"port": 80, "protocol": "UDP"}],
            "endpoints": [endpoint(i, k) for k in range(3)]})


def create_all(first, last):
    n = 8
    cuts = [first + (last - first) * i // n for i in range(n + 1)]
    threads = [threading.Thread(target=create, args=(cuts[i], cuts[i + 1])) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def monitor():
    """A socket that hears of every change of nftables in the node's namespace."""
    enter()
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
    s.bind((0, 0))
    s.setsockopt(270, 1, GROUP_NFTABLES)  # NETLINK_ADD_MEMBERSHIP
    return s


def messages(data):
    while len(data) >= 16:
        size, kind = struct.unpack_from("IH", data)
        yield kind, data[20:size]
        data = data[(size + 3) & ~3:]


def in_thread(f):
    box = []
    t = threading.Thread(target=lambda: box.append(f()))
    t.start()
    t.join()
    return box[0]


def updates(services, count):
    kernel = in_thread(monitor)
    kernel.settimeout(10)
    client = Client()
    random.seed(1)
    taken = []
    for n in range(count + 20):
        i = random.randrange(services)
        address = "10.%d.%d.%d" % (210 + n // 65536, n >> 8 & 255, n & 255)
        mark = socket.inet_aton(address)
        body = {"endpoints": [endpoint(i, 0), endpoint(i, 1), {"addresses": [address], "conditions": {"ready": True}}]}
        client.call("PATCH", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/s%d" % i, body,
                    "application/merge-patch+json")
        accepted = time.perf_counter()
        while not any(kind == NEWSETELEM and mark in p for kind, p in messages(kernel.recv(1 << 20))):
            pass
        if n >= 20:
            taken.append((time.perf_counter() - accepted) * 1000)
        time.sleep(0.01)
    taken.sort()
    print("update_p50_ms=%.2f update_p99_ms=%.2f update_max_ms=%.2f" % (
        taken[len(taken) // 2], taken[len(taken) * 99 // 100], taken[-1]))


def packets():
    """The first packets of flows: to a Service, and, for comparison, to an address that is none."""
    service = Client().call("GET", "/api/v1/namespaces/default/services/s5")["spec"]["clusterIP"]

    def burst(to):
        time.sleep(3)  # Flows of the last burst have ended.
        n = 5000
        began = time.perf_counter()
        for k in range(n):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.sendto(b"", to)
        return (time.perf_counter() - began) / n * 1e9

    def measure():
        enter()
        os.system("nsenter --net=%s ip route replace blackhole 10.250.0.0/16" % NETNS)
        os.system("nsenter --net=%s ip route replace 10.192.0.0/10 dev lo" % NETNS)
        with open("/proc/sys/net/netfilter/nf_conntrack_udp_timeout", "w") as f:
            f.write("1")
        service_ns, other_ns = [], []
        for _ in range(3):
            service_ns.append(burst((service, 80)))
            other_ns.append(burst(("10.249.0.1", 80)))
        return sorted(service_ns)[1], sorted(other_ns)[1]
    a, b = in_thread(measure)
    print("first_packet_ns=%.0f flows_per_s=%.0f untranslated_ns=%.0f" % (a, 1e9 / a, b))


def load(services):
    kernel = in_thread(monitor)
    kernel.settimeout(60)
    began, seen = None, 0
    while seen < services * 3:
        data = kernel.recv(1 << 20)
        began = began or time.perf_counter()
        seen += sum(1 for kind, p in messages(data) if kind == NEWSETELEM and b"endpoints\0" in p)
    print("first_load_ms=%.0f" % ((time.perf_counter() - began) * 1000))


args = [int(a) for a in sys.argv[4:]]
{"create": create_all, "packets": packets, "updates": updates, "load": load}[VERB](*args)
