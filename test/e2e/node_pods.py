#!/usr/bin/env python3
"""The pods of one node, listed and watched through the index of three API servers while others write: what comes is exactly
what a list of all pods at the same revision has for that node, and never older than what was acknowledged before.

usage: node_pods.py BIN_DIR [SEED]
"""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.parse

import checks
from controller_faults import Api

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import ports  # noqa: E402

ALL, PODS = "/api/v1/pods", "/api/v1/namespaces/default/pods"
NODES, WRITERS, ROUNDS, LOOKS = 6, 4, 120, 60


def selector(node):
    return "fieldSelector=" + urllib.parse.quote("spec.nodeName=" + node)


def names(pods):
    return sorted((p["metadata"]["name"], p["metadata"]["uid"], p["metadata"]["resourceVersion"]) for p in pods)


def at(api, node, rev):
    """What a node has at a revision, found the long way."""
    status, answer = api.call("GET", ALL + "?resourceVersionMatch=Exact&resourceVersion=" + rev)
    assert status == 200, answer
    return [p for p in answer["items"] if p["spec"].get("nodeName") == node]


def create(api, name, node, **labels):
    spec = {"containers": [{"name": "c", "image": "none"}], "terminationGracePeriodSeconds": 0}
    if node:
        spec["nodeName"] = node
    status, answer = api.call("POST", PODS, {"metadata": {"name": name, "labels": labels}, "spec": spec})
    assert status == 201, answer


class Writer(threading.Thread):
    """Creates pods, binds some, changes them and deletes them; the same names come again on other nodes."""

    def __init__(self, apis, number, seed):
        super().__init__()
        self.apis, self.number, self.random, self.error, self.lost = apis, number, random.Random(seed + number), None, []

    def run(self):
        try:
            for i in range(ROUNDS):
                self.once(i)
        except (AssertionError, OSError) as e:
            self.error = e

    def once(self, i):
        r, name = self.random, "w%d-%d" % (self.number, i % 10)
        api, other = r.choice(self.apis), r.choice(self.apis)
        node = "n%d" % r.randrange(NODES)
        api.call("DELETE", PODS + "/" + name, {"gracePeriodSeconds": 0})
        if r.random() < 0.5:
            create(api, name, node, odd=str(i % 2))
        else:
            create(api, name, None, odd=str(i % 2))
            status, answer = api.call("POST", PODS + "/%s/binding" % name, {
                "metadata": {"name": name}, "target": {"kind": "Node", "name": node}})
            assert status == 201, answer
        # What was acknowledged by one server is listed by any other from now on.
        status, answer = other.call("GET", ALL + "?" + selector(node))
        if status != 200 or name not in [p["metadata"]["name"] for p in answer["items"]]:
            self.lost.append((name, node, status))
        if r.random() < 0.3:
            api.merge(PODS + "/" + name, {"metadata": {"labels": {"odd": str(r.randrange(2))}}})


def compare(apis, r):
    """One list in each of its ways; what was wrong."""
    api, node, wrong = r.choice(apis), "n%d" % r.randrange(NODES), []
    for query, keep in (("", lambda p: True), ("&resourceVersion=0", lambda p: True),
                        ("&labelSelector=odd%3D1", lambda p: p["metadata"]["labels"]["odd"] == "1")):
        status, answer = api.call("GET", ALL + "?" + selector(node) + query)
        if status != 200:
            wrong.append((query, answer))
            continue
        want = names(p for p in at(api, node, answer["metadata"]["resourceVersion"]) if keep(p))
        if names(answer["items"]) != want:
            wrong.append((query, answer["metadata"]["resourceVersion"], names(answer["items"]), want))
    paged, token, rev = [], "", None
    while True:
        status, answer = api.call("GET", PODS + "?limit=3&" + selector(node) + "&continue=" + urllib.parse.quote(token))
        if status != 200:
            return wrong + [("pages", answer)]
        rev = rev or answer["metadata"]["resourceVersion"]
        paged += answer["items"]
        token = answer["metadata"].get("continue", "")
        if not token:
            break
    if names(paged) != names(at(api, node, rev)):
        wrong.append(("pages", rev, names(paged)))
    return wrong


def watched(api, node, extra):
    """What a watch begins with, and its revision."""
    connection = api.connect()
    connection.request("GET", ALL + "?watch=1&allowWatchBookmarks=true&" + selector(node) + extra)
    answer, pods = connection.getresponse(), []
    for line in answer:
        event = json.loads(line)
        if event["type"] == "BOOKMARK":
            connection.close()
            return pods, event["object"]["metadata"]["resourceVersion"]
        pods.append(event["object"])
    raise AssertionError("the watch ended")


def follow(api, node, stop, result):
    """A node's own view: the state at the beginning, then every change."""
    connection = api.connect()
    connection.request("GET", ALL + "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&" + selector(node))
    pods = {}
    for line in connection.getresponse():
        event = json.loads(line)
        name = event["object"]["metadata"].get("name")
        if event["type"] == "DELETED":
            pods.pop(name, None)
        elif event["type"] != "BOOKMARK":
            pods[name] = event["object"]
        if name == stop and event["type"] == "ADDED":
            break
    connection.close()
    result[node] = pods


def churn(apis, seed):
    r = random.Random(seed)
    writers = [Writer(apis, i, seed) for i in range(WRITERS)]
    seen = {}
    followers = [threading.Thread(target=follow, args=(apis[i % len(apis)], "n%d" % i, "end-%d" % i, seen)) for i in range(NODES)]
    for t in writers + followers:
        t.start()
    wrong, begins = [], []
    for i in range(LOOKS):
        wrong += compare(apis, r)
        api, node = r.choice(apis), "n%d" % r.randrange(NODES)
        pods, rev = watched(api, node, "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan" if i % 2 else "&resourceVersion=0")
        if names(pods) != names(at(api, node, rev)):
            begins.append((node, rev, names(pods)))
    for t in writers:
        t.join(120)
    for i in range(NODES):
        create(apis[0], "end-%d" % i, "n%d" % i, odd="1")
    for t in followers:
        t.join(60)
    checks.ok("the writers got through", not any(t.error or t.is_alive() for t in writers), [t.error for t in writers])
    checks.ok("what was acknowledged is listed everywhere", not any(t.lost for t in writers), [t.lost for t in writers])
    checks.ok("each list is that of all pods at its revision", not wrong, wrong)
    checks.ok("so is what watches begin with", not begins, begins)
    now = apis[0].get(ALL)["metadata"]["resourceVersion"]
    differ = [n for n in ("n%d" % i for i in range(NODES)) if names(seen.get(n, {}).values()) != names(at(apis[0], n, now))]
    checks.ok("watches that went on have come to the same", not differ, {n: (names(seen.get(n, {}).values()), names(at(apis[0], n, now))) for n in differ})


def edges(api):
    checks.ok("a node without pods has none", api.items(ALL + "?" + selector("nobody")) == [])
    pods = api.items(ALL + "?" + selector(""))
    create(api, "unbound", None, odd="0")
    checks.ok("pods without a node are found too", names(api.items(ALL + "?" + selector(""))) != names(pods) and any(
        p["metadata"]["name"] == "unbound" for p in api.items(ALL + "?" + selector(""))))
    both = api.items(ALL + "?fieldSelector=" + urllib.parse.quote("spec.nodeName=n1,spec.nodeName!=n1"))
    checks.ok("requirements that contradict each other leave nothing", both == [], both)
    other = api.items("/api/v1/namespaces/kube-system/pods?" + selector("n1"))
    checks.ok("of another namespace there are none", other == [], other)
    one = api.items(ALL + "?" + selector("n1") + ",metadata.name%3Dend-1")
    checks.ok("one by its name", [p["metadata"]["name"] for p in one] == ["end-1"], one)



def main():
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    print("seed %d" % seed, flush=True)
    trireme, folder = os.path.join(sys.argv[1], "trireme"), tempfile.mkdtemp(prefix="trireme-node-pods-")
    port = ports.free_block()
    try:
        subprocess.run([trireme, "up", "--control-planes", "3", "--workers", "0", "--loopback", "--no-controllers", "--no-scheduler",
                        "--dir", os.path.join(folder, "c"), "--base-port", str(port)], check=True, stdout=subprocess.DEVNULL)
        apis = [Api(port + 5 * i, os.path.join(folder, "c", "hosts", "cp-%d" % (i + 1), "etc", "pki")) for i in range(3)]
        apis[0].call("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        churn(apis, seed)
        edges(apis[0])
    finally:
        subprocess.run([trireme, "down", "--dir", os.path.join(folder, "c")], check=False, stdout=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
