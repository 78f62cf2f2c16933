#!/usr/bin/env python3
"""Creates ConfigMaps from several connections for a bounded time; prints how many and how fast.

Each client is a process with one keep-alive connection. Standard library only.
"""
import argparse, http.client, json, multiprocessing, ssl, time, urllib.parse


def client(n, a, counts, latencies):
    u = urllib.parse.urlsplit(a.server)
    ctx = ssl.create_default_context()
    ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
    c = http.client.HTTPSConnection(u.hostname, u.port, context=ctx)
    head = {"Authorization": "Bearer " + a.token, "Content-Type": "application/json"}
    end, i, lat = time.monotonic() + a.seconds, 0, []
    while time.monotonic() < end:
        body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b%d-%d" % (n, i)}, "data": {"k": "v" * 200}})
        start = time.monotonic()
        c.request("POST", "/api/v1/namespaces/default/configmaps", body, head)
        r = c.getresponse()
        r.read()
        lat.append(time.monotonic() - start)
        i += r.status == 201
    counts.put(i)
    latencies.put(sorted(lat))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--server", required=True); p.add_argument("--token", required=True)
    p.add_argument("--clients", type=int, default=8); p.add_argument("--seconds", type=float, default=10)
    a = p.parse_args()
    counts, latencies = multiprocessing.Queue(), multiprocessing.Queue()
    procs = [multiprocessing.Process(target=client, args=(n, a, counts, latencies)) for n in range(a.clients)]
    for x in procs:
        x.start()
    total = sum(counts.get() for _ in procs)
    lat = sorted(y for _ in procs for y in latencies.get())
    for x in procs:
        x.join()
    print("%d writes, %.0f per second, p50 %.2f ms, p99 %.2f ms" %
          (total, total / a.seconds, lat[len(lat) // 2] * 1e3, lat[int(len(lat) * 0.99)] * 1e3))


if __name__ == "__main__":
    main()
