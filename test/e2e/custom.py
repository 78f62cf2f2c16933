#!/usr/bin/env python3
"""Custom resources over several API servers of one cluster: what one is told the
others serve, watch, and let go of.

usage: custom.py TRIREME DIR TOKEN SERVER SERVER SERVER
"""
import json
import os
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from checks import finish, ok

TRIREME, DIR, TOKEN, SERVERS = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CONTEXT = ssl._create_unverified_context()
SOON_S = 5.0  # A bound for loaded machines; mostly it is some milliseconds.


def open_(server, method, path, body=None, timeout=30):
    return urllib.request.urlopen(urllib.request.Request(
        server + path, method=method, data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": "Bearer " + TOKEN, "Content-Type": "application/json"}), context=CONTEXT, timeout=timeout)


def call(server, method, path, body=None):
    try:
        with open_(server, method, path, body) as f:
            return f.status, json.load(f)
    except urllib.error.HTTPError as e:
        text = e.read().decode()
        return e.code, json.loads(text) if text[:1] == "{" else {"message": text}
    except OSError as e:
        return 0, {"message": str(e)}


class Watch(threading.Thread):
    def __init__(self, server, path):
        super().__init__(daemon=True)
        self.events, self.ended = [], False
        self.stream = open_(server, "GET", path, timeout=120)
        self.start()

    def run(self):
        try:
            for line in self.stream:
                self.events.append(json.loads(line))
        except (OSError, ValueError, AttributeError):
            pass
        self.ended = True

    def names(self):
        return [(e["type"], e["object"]["metadata"]["name"]) for e in self.events]


def eventually(what, seconds=SOON_S):
    end = time.time() + seconds
    while time.time() < end:
        got = what()
        if got:
            return got
        time.sleep(0.01)
    return what()


def definition(plural, fields=10):
    text = {"type": "string", "maxLength": 63, "pattern": "^[a-z]*$", "description": "One of many fields of this thing. " * 3}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": plural + ".e2e.example.com"},
            "spec": {"group": "e2e.example.com", "scope": "Namespaced", "names": {
                "plural": plural, "singular": plural[:-1], "kind": plural[:-1].capitalize(), "listKind": plural.capitalize()},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": {"type": "object", "properties": {
                        "f%d" % i: text for i in range(fields)}}}}}}]}}


def path(plural, name=""):
    return "/apis/e2e.example.com/v1/namespaces/default/%s%s" % (plural, "/" + name if name else "")


def thing(name):
    return {"metadata": {"name": name}, "spec": {"f1": "x"}}


def established(server, plural):
    conditions = call(server, "GET", DEFINITIONS + "/" + plural + ".e2e.example.com")[1].get("status", {}).get("conditions")
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions or [])


def typed(plural, name):
    kind = plural[:-1].capitalize()
    return dict(thing(name), apiVersion="e2e.example.com/v1", kind=kind)


def spread(a, b, c):
    code, body = call(a, "POST", DEFINITIONS, definition("bolts"))
    start = time.time()
    ok("a definition is made through one server", code == 201, body)
    served = [eventually(lambda s=s: call(s, "GET", path("bolts"))[0] == 200) for s in (a, b, c)]
    ok("all serve it soon (%.0f ms)" % ((time.time() - start) * 1000), all(served), served)
    watches = [Watch(s, path("bolts") + "?watch=1") for s in (a, b, c)]
    for i, s in enumerate((c, b, a)):
        code, body = call(s, "POST", path("bolts"), typed("bolts", "o%d" % i))
        ok("an object is made through server %d" % (3 - i), code == 201, body)
    want = [("ADDED", "o0"), ("ADDED", "o1"), ("ADDED", "o2")]
    ok("and watched through all", eventually(lambda: all(w.names() == want for w in watches)), [w.names() for w in watches])
    return watches, body["metadata"]["resourceVersion"]


def large(a, b, c):
    code, body = call(b, "POST", DEFINITIONS, definition("nuts", 4000))
    start = time.time()
    ok("a definition of a megabyte", code == 201, body)
    ok("becomes established", eventually(lambda: established(c, "nuts"), 20))
    code, body = call(c, "POST", path("nuts"), typed("nuts", "n"))
    ok("and takes an object at once, through another server (%.0f ms)" % ((time.time() - start) * 1000), code == 201, body)
    code, body = call(a, "POST", path("nuts"), dict(typed("nuts", "bad"), spec={"f7": "ABC"}))
    ok("by its schema", code == 422 and "spec.f7 in body should match" in body["message"], body)
    call(a, "DELETE", DEFINITIONS + "/nuts.e2e.example.com")


def restart(a, b, c, rv):
    call(a, "POST", path("bolts"), typed("bolts", "before"))
    for action in ("kill", "start"):
        subprocess.run([TRIREME, "host", action, "cp-3", "--dir", DIR], check=True, stdout=subprocess.DEVNULL)
        if action == "kill":
            call(a, "POST", path("bolts"), typed("bolts", "meanwhile"))
    ok("a restarted server serves the kind", eventually(lambda: call(c, "GET", path("bolts"))[0] == 200, 30))
    w = None

    def open_watch():
        nonlocal w
        try:
            w = Watch(c, path("bolts") + "?watch=1&resourceVersion=" + rv)
        except OSError:
            return False
        return True
    eventually(open_watch, 10)
    ok("a watch resumes there from before", eventually(lambda: w.names() == [("ADDED", "before"), ("ADDED", "meanwhile")]), w.names())
    return w


def removal(a, b, c, watches):
    held = typed("bolts", "held")
    held["metadata"]["finalizers"] = ["e2e.example.com/hold"]
    call(b, "POST", path("bolts"), held)
    code, body = call(a, "DELETE", DEFINITIONS + "/bolts.e2e.example.com")
    ok("a definition is deleted", code == 200, body)
    ok("its objects go", eventually(lambda: [o["metadata"]["name"] for o in call(c, "GET", path("bolts"))[1].get(
        "items", [])] == ["held"]), call(c, "GET", path("bolts"))[1])
    code, body = call(b, "POST", path("bolts"), typed("bolts", "late"))
    ok("no more are made", code == 405 and "terminating" in body["message"], body)
    held = call(a, "GET", DEFINITIONS + "/bolts.e2e.example.com")[1]
    reasons = [c_["reason"] for c_ in held["status"]["conditions"] if c_["type"] == "Terminating"]
    ok("it waits for finalizers", reasons == ["InstanceDeletionInProgress"], held.get("status"))
    one = call(c, "GET", path("bolts", "held"))[1]
    one["metadata"]["finalizers"] = []
    call(c, "PUT", path("bolts", "held"), one)
    ok("and is gone then", eventually(lambda: call(b, "GET", DEFINITIONS + "/bolts.e2e.example.com")[0] == 404))
    ok("no server serves it", eventually(lambda: all(call(s, "GET", path("bolts"))[0] == 404 for s in (a, b, c))))
    ok("and all watches end", eventually(lambda: all(w.ended for w in watches)), [w.ended for w in watches])
    ok("after the last event", all(("DELETED", "o1") in w.names() for w in watches[:2]), [w.names() for w in watches])


def conflict(a, b):
    call(a, "POST", DEFINITIONS, definition("pins"))
    eventually(lambda: established(a, "pins"))
    other = definition("rivets")
    other["spec"]["names"]["kind"] = "Pin"
    call(b, "POST", DEFINITIONS, other)

    def conditions():
        got = call(b, "GET", DEFINITIONS + "/rivets.e2e.example.com")[1].get("status", {}).get("conditions")
        return {c["type"]: (c["status"], c["reason"], c["message"]) for c in got or []}  # None as long as nothing looked.
    want = {"NamesAccepted": ("False", "KindConflict", '"Pin" is already in use'),
            "Established": ("False", "NotAccepted", "not all names are accepted")}
    ok("two definitions cannot have one kind", eventually(lambda: conditions() == want), conditions())
    call(a, "DELETE", DEFINITIONS + "/pins.e2e.example.com")
    ok("until the first one is gone", eventually(lambda: conditions().get("Established", ("",))[0] == "True"), conditions())
    call(a, "DELETE", DEFINITIONS + "/rivets.e2e.example.com")


def main():
    a, b, c = SERVERS
    watches, rv = spread(a, b, c)
    large(a, b, c)
    conflict(a, b)
    watches[2] = restart(a, b, c, rv)
    removal(a, b, c, watches)
    return finish("custom.py: ")


if __name__ == "__main__":
    sys.exit(main())
