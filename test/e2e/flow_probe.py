#!/usr/bin/env python3
"""Does what nodes do while others flood the server: renews a lease, patches the node's
status, asks for health, again and again for some seconds.

usage: flow_probe.py URL NODE TOKEN SECONDS
Prints one line: requests made, those not answered with 2xx, the longest in milliseconds."""
import http.client
import json
import ssl
import sys
import time

url, node, token, seconds = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


connection = http.client.HTTPSConnection(url.removeprefix("https://"), context=context, timeout=60)


def ask(method, path, body=None, kind=None, anonymous=False):
    fields = {} if anonymous else {"Authorization": "Bearer " + token}
    if body is not None:
        fields["Content-Type"] = kind
    try:
        connection.request(method, path, None if body is None else json.dumps(body), fields)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError as e:
        connection.close()
        return 0, str(e).encode()


leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
made = bad = 0
longest = 0.0
first_bad = None
end = time.monotonic() + seconds
while time.monotonic() < end or made < 12:
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    steps = [
        ("PATCH", leases + "/" + node, {"spec": {"renewTime": now}}, "application/merge-patch+json"),
        ("PATCH", "/api/v1/nodes/" + node + "/status",
         {"status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": now[:19] + "Z"}]}},
         "application/strategic-merge-patch+json"),
        ("GET", "/api/v1/nodes/" + node, None, None),
        ("GET", "/livez", None, None),
    ]
    for method, path, body, kind in steps:
        start = time.monotonic()
        status, text = ask(method, path, body, kind, anonymous=path == "/livez")
        longest = max(longest, time.monotonic() - start)
        made += 1
        if status // 100 != 2:
            bad += 1
            first_bad = first_bad or (method, path, status, text[:200])
    time.sleep(0.05)
print(made, bad, int(longest * 1000))
if first_bad:
    print(*first_bad, file=sys.stderr)
