#!/usr/bin/env python3
"""Writes through a cluster all the time while members are killed (or cut off) in turn.

Each writer creates ConfigMaps one after another and notes the names whose creation
was acknowledged (201). After each kill the time until any write succeeds is
measured; at the end every acknowledged object is read back. Standard library only.
"""
import argparse, http.client, json, os, ssl, subprocess, sys, threading, time, urllib.parse


class Api:
    def __init__(self, servers, token):
        self.servers, self.token, self.i, self.conn = servers, token, 0, None
        self.ctx = ssl.create_default_context()
        self.ctx.check_hostname, self.ctx.verify_mode = False, ssl.CERT_NONE

    def call(self, method, path, body=None, timeout=2.0):
        """One try on the current server; moves on to the next after a failure."""
        try:
            if self.conn is None:
                u = urllib.parse.urlsplit(self.servers[self.i % len(self.servers)])
                self.conn = http.client.HTTPSConnection(u.hostname, u.port, timeout=timeout, context=self.ctx)
            self.conn.request(method, path, json.dumps(body) if body is not None else None,
                              {"Authorization": "Bearer " + self.token, "Content-Type": "application/json"})
            r = self.conn.getresponse()
            data = r.read()
            if r.status >= 500:
                raise OSError("HTTP %d" % r.status)
            return r.status, json.loads(data or b"{}")
        except (OSError, http.client.HTTPException, ValueError):
            if self.conn is not None:
                self.conn.close()
            self.conn = None
            self.i += 1
            return 0, {}


def configmap(name, n):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"n": str(n)}}


def writer(w, servers, token, acked, times, stop):
    api, n = Api(servers, token), 0
    api.i = w
    while not stop.is_set():
        name = "w%d-%06d" % (w, n)
        n += 1
        # A name is tried once: an unknown outcome is simply not counted as acknowledged.
        code, _ = api.call("POST", "/api/v1/namespaces/default/configmaps", configmap(name, n))
        if code == 201:
            acked.append((name, n))
            times.append(time.monotonic())
        elif code == 0:
            time.sleep(0.02)


def verify(servers, token, acked):
    api, lost = Api(servers, token), []
    have, cont = {}, ""
    while True:
        path = "/api/v1/namespaces/default/configmaps?limit=500" + ("&continue=" + urllib.parse.quote(cont) if cont else "")
        code, body = api.call("GET", path, timeout=30)
        if code != 200:
            time.sleep(0.2)
            continue
        for o in body["items"]:
            have[o["metadata"]["name"]] = o.get("data", {}).get("n")
        cont = body["metadata"].get("continue", "")
        if not cont:
            break
    for name, n in acked:
        if have.get(name) != str(n):
            lost.append(name)
    return lost


def wait_ready(server, token):
    """A host that is not back yet is no part of a majority: the next kill would be a second one."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        api = Api([server], token)
        if api.call("GET", "/api/v1/namespaces/default")[0] == 200:
            return
        time.sleep(0.1)
    raise SystemExit("%s does not answer 60 s after its return" % server)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--trireme"); p.add_argument("--dir", required=True); p.add_argument("--token", required=True)
    p.add_argument("--servers", required=True); p.add_argument("--kills", type=int, default=10)
    p.add_argument("--how", default="kill", choices=["kill", "cut"])
    p.add_argument("--hosts", default="cp-1,cp-2,cp-3", help="in the order of --servers"); p.add_argument("--writers", type=int, default=4)
    p.add_argument("--limit", type=float, default=3.0, help="seconds in which writes must resume")
    p.add_argument("--verify", action="store_true")
    a = p.parse_args()
    servers, record = a.servers.split(","), os.path.join(a.dir, "acked.json")
    if a.verify:
        acked = [tuple(x) for x in json.load(open(record))]
        lost = verify(servers, a.token, acked)
        print("%d acknowledged, %d lost" % (len(acked), len(lost)))
        return 1 if lost or not acked else 0
    acked, times, stop = [], [], threading.Event()
    threads = [threading.Thread(target=writer, args=(w, servers, a.token, acked, times, stop), daemon=True) for w in range(a.writers)]
    for t in threads:
        t.start()
    hosts, gaps, bad = a.hosts.split(","), [], 0
    undo = "start" if a.how == "kill" else "heal"
    log = open(os.path.join(a.dir, "writers.log"), "w")
    for i in range(a.kills):
        settle = len(acked) + 20
        end = time.monotonic() + 30
        while len(acked) < settle and time.monotonic() < end:
            time.sleep(0.02)
        host = hosts[i % len(hosts)]
        subprocess.run([a.trireme, "host", a.how, host, "--dir", a.dir], check=True)
        start, count = time.monotonic(), len(times)
        # A kill of the leader shows as the longest silence between two answers, not as the first one:
        # what was in flight may still be answered.
        while (len(times) < count + 40 or time.monotonic() < start + 2) and time.monotonic() < start + 30:
            time.sleep(0.01)
        marks = [start] + sorted(times[count:]) + ([time.monotonic()] if len(times) < count + 40 else [])
        gap = max(b - a for a, b in zip(marks, marks[1:]))
        gaps.append(gap)
        bad += gap > a.limit
        line = "%s %s: writes go on after %.2f s" % (a.how, host, gap)
        print(line); print(line, file=log, flush=True)
        subprocess.run([a.trireme, "host", undo, host, "--dir", a.dir], check=True)
        wait_ready(servers[i % len(hosts)], a.token)
    stop.set()
    for t in threads:
        t.join(10)
    json.dump(acked, open(record, "w"))
    lost = verify(servers, a.token, acked)
    line = "%d acknowledged, %d lost, longest pause %.2f s" % (len(acked), len(lost), max(gaps))
    print(line); print(line, file=log, flush=True)
    for name in lost[:20]:
        print("lost: " + name)
    return 1 if lost or bad or not acked else 0


if __name__ == "__main__":
    sys.exit(main())
