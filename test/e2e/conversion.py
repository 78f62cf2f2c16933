#!/usr/bin/env python3
"""Custom resources in several versions that a webhook converts, against a
trireme-apiserver of its own.

usage: conversion.py BIN_DIR
"""
import base64
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "replay"))
import run as replay  # noqa: E402

from checks import finish, ok  # noqa: E402

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAME = "links.example.com"


class Api:
    def __init__(self, url):
        self.url, self.context = url, ssl._create_unverified_context()

    def open(self, method, path, body=None, kind="application/json", accept="application/json", timeout=30):
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        r = urllib.request.Request(self.url + path, method=method, data=data, headers={
            "Authorization": "Bearer " + replay.TOKEN, "Content-Type": kind, "Accept": accept})
        return urllib.request.urlopen(r, context=self.context, timeout=timeout)

    def call(self, *args, **more):
        try:
            with self.open(*args, **more) as f:
                return f.status, json.load(f)
        except urllib.error.HTTPError as e:
            text = e.read().decode()
            return e.code, json.loads(text) if text[:1] == "{" else {"message": text}

    def text(self, path):
        with self.open("GET", path, accept="*/*") as f:
            return f.read().decode()


def path(version, name="", ns="default"):
    return "/apis/example.com/%s/%slinks%s" % (version, "namespaces/%s/" % ns if ns else "", "/" + name if name else "")


def schema(**spec):
    return {"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "properties": dict(spec, replicas={"type": "integer"})},
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}}


def version(name, storage, **spec):
    return {"name": name, "served": True, "storage": storage, "schema": schema(**spec), "subresources": {
        "status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
        "additionalPrinterColumns": [{"name": "Where", "type": "string", "jsonPath": {
            "v1": ".spec.host", "v2": ".spec.address", "v3": ".spec.ends[0]"}[name]}],
        "selectableFields": [] if name == "v3" else [{"jsonPath": {"v1": ".spec.host", "v2": ".spec.address"}[name]}]}


def definition(hooks, where="convert", storage="v1"):
    text = {"type": "string"}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": NAME},
            "spec": {"group": "example.com", "scope": "Namespaced",
                     "names": {"plural": "links", "singular": "link", "kind": "Link", "listKind": "LinkList"},
                     "conversion": {"strategy": "Webhook", "webhook": {
                         "conversionReviewVersions": ["v1"],
                         "clientConfig": {"url": "https://127.0.0.1:%d/%s" % (hooks.port, where), "caBundle": hooks.ca}}},
                     "versions": [
                         version("v1", storage == "v1", host=text, port={"type": "integer"}),
                         version("v2", storage == "v2", address=dict(text, pattern="^[^:]*:[0-9]+$")),
                         version("v3", storage == "v3", ends={"type": "array", "items": text})]}}


class Hooks:
    def __init__(self, folder):
        cert, key, self.log = (os.path.join(folder, n) for n in ("hook.crt", "hook.key", "hook.log"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=hook",
                        "-addext", "subjectAltName=IP:127.0.0.1,DNS:hook.default.svc"],
                       check=True, stderr=subprocess.DEVNULL)
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "conversion_server.py"), cert, key, self.log],
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        with open(cert, "rb") as f:
            self.ca = base64.b64encode(f.read()).decode()

    def asked(self):
        if not os.path.exists(self.log):
            return []
        with open(self.log) as f:
            return [json.loads(line) for line in f]


class Watch(threading.Thread):
    """Reads events until it is closed."""
    def __init__(self, api, url):
        super().__init__(daemon=True)
        self.events, self.ended = [], False
        self.stream = api.open("GET", url, timeout=60)
        self.start()

    def run(self):
        try:
            for line in self.stream:
                self.events.append(json.loads(line))
        except (OSError, ValueError, AttributeError):
            pass
        self.ended = True


def eventually(what, seconds=10.0):
    end = time.time() + seconds
    while time.time() < end:
        got = what()
        if got:
            return got
        time.sleep(0.02)
    return what()


def change(api, hooks, where="convert", storage="v1"):
    """Another webhook path or storage version; waits until it is in effect."""
    now = api.call("GET", DEFINITIONS + "/" + NAME)[1]
    new = definition(hooks, where, storage)
    new["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"]
    code, body = api.call("PUT", DEFINITIONS + "/" + NAME, new)
    if code != 200:
        raise SystemExit("definition: %r" % (body,))
    time.sleep(0.2)  # Every thread hears of it through the store's events.
    return body


def link(name, **more):
    return {"apiVersion": "example.com/v2", "kind": "Link", "metadata": {"name": name}, "spec": dict(more)}


def life(api, hooks):
    code, body = api.call("POST", DEFINITIONS, definition(hooks))
    ok("a definition with a webhook is taken", code == 201, body)
    eventually(lambda: api.call("GET", path("v2"))[0] == 200)
    code, body = api.call("POST", path("v2"), link("a", address="h:1", replicas=2))
    ok("an object is created in a version that is not stored", code == 201 and body["spec"] == {
        "address": "h:1", "replicas": 2} and body["apiVersion"] == "example.com/v2", body)
    asked = hooks.asked()
    ok("the webhook was asked to bring it into the stored one", [q["request"]["desiredAPIVersion"] for q in asked] ==
       ["example.com/v1"] and asked[0]["version"] == "apiextensions.k8s.io/v1" and asked[0]["path"] ==
       "/convert?timeout=30s" and asked[0]["request"]["objects"][0]["metadata"]["uid"] == body["metadata"]["uid"]
       and "resourceVersion" not in asked[0]["request"]["objects"][0]["metadata"], asked)
    code, one = api.call("GET", path("v1", "a"))
    ok("in the stored version it is as the webhook made it", one["spec"] == {"host": "h", "port": 1, "replicas": 2}
       and one["metadata"] == body["metadata"] and len(hooks.asked()) == 1, one)
    ok("reading it in its own version gives what was written", api.call("GET", path("v2", "a"))[1] == body)
    ok("and in a third one", api.call("GET", path("v3", "a"))[1]["spec"] == {"ends": ["h:1"], "replicas": 2})
    n = len(hooks.asked())
    api.call("GET", path("v3", "a"))
    ok("what the webhook has said is not asked again", len(hooks.asked()) == n)
    code, body = api.call("PATCH", path("v2", "a"), {"spec": {"address": "g:2"}}, kind="application/merge-patch+json")
    ok("a patch in another version", code == 200 and body["spec"]["address"] == "g:2", body)
    body["spec"]["address"] = "g:3"
    code, body = api.call("PUT", path("v2", "a"), body)
    ok("an update", code == 200 and api.call("GET", path("v1", "a"))[1]["spec"]["port"] == 3
       and body["metadata"]["generation"] == 3, body)
    body["status"] = {"replicas": 5}
    code, body = api.call("PUT", path("v2", "a") + "/status", body)
    ok("its status", code == 200 and body["status"] == {"replicas": 5} and body["metadata"]["generation"] == 3, body)
    code, body = api.call("GET", path("v3", "a") + "/scale")
    ok("scale reads", code == 200 and body["spec"]["replicas"] == 2 and body["status"]["replicas"] == 5, body)
    code, body = api.call("PATCH", path("v3", "a") + "/scale", {"spec": {"replicas": 7}},
                          kind="application/merge-patch+json")
    ok("and writes", code == 200 and api.call("GET", path("v1", "a"))[1]["spec"]["replicas"] == 7, body)
    applied = dict(link("s"), spec={"address": "s:1"})
    code, body = api.call("PATCH", path("v2", "s") + "?fieldManager=one", json.dumps(applied).encode(),
                          kind="application/apply-patch+yaml")
    ok("server-side apply creates", code == 201, body)
    applied = {"apiVersion": "example.com/v3", "kind": "Link", "metadata": {"name": "s"}, "spec": {"ends": ["t:1"]}}
    code, body = api.call("PATCH", path("v3", "s") + "?fieldManager=two", json.dumps(applied).encode(),
                          kind="application/apply-patch+yaml")
    ok("and finds conflicts across versions", code == 409 and body["message"] ==
       'Apply failed with 1 conflict: conflict with "one": .spec.address', body)
    code, body = api.call("PATCH", path("v3", "s") + "?fieldManager=two&force=true", json.dumps(applied).encode(),
                          kind="application/apply-patch+yaml")
    ok("or takes over", code == 200 and api.call("GET", path("v2", "s"))[1]["spec"] == {"address": "t:1"}, body)
    code, body = api.call("POST", path("v2"), {"apiVersion": "example.com/v2", "kind": "Link", "metadata": {
        "generateName": "g-"}, "spec": {"address": "x:9"}})
    ok("a generated name", code == 201 and body["metadata"]["name"].startswith("g-"), body)
    code, _ = api.call("DELETE", path("v3", body["metadata"]["name"]))
    ok("an object is deleted through any version", code == 200)
    code, body = api.call("POST", path("v2"), link("bad", address="nothing"))
    ok("an object is judged in the version it is written in", code == 422 and 'spec.address: Invalid value: "nothing": '
       "spec.address in body should match" in body["message"], body)
    ok("metrics tell of it", 'apiserver_conversion_webhook_request_total{result="success",failure_type=""}' in
       api.text("/metrics") and 'crd_name="links.example.com",from_version="v2",to_version="v1",succeeded="true"' in
       api.text("/metrics"), [x for x in api.text("/metrics").splitlines() if "conversion" in x][:5])


def lists(api, hooks):
    for i in range(250):
        api.call("POST", path("v1", ns="lists"), {"apiVersion": "example.com/v1", "kind": "Link", "metadata": {
            "name": "l%03d" % i, "labels": {"odd": str(i % 2)}}, "spec": {"host": "h%d" % (i % 5), "port": i}})
    n = len(hooks.asked())
    code, body = api.call("GET", path("v2", ns="lists"))
    asked = hooks.asked()[n:]
    ok("a list asks about many at once", code == 200 and len(body["items"]) == 250 and 3 <= len(asked) <= 4
       and body["items"][7]["spec"]["address"] == "h2:7", [len(q["request"]["objects"]) for q in asked])
    code, again = api.call("GET", path("v2", ns="lists"))
    ok("and gives the same again", again["items"] == body["items"])
    code, body = api.call("GET", path("v2", ns="lists") + "?labelSelector=odd%3D1&limit=100")
    ok("with selectors and limits", code == 200 and len(body["items"]) == 100 and body["metadata"]["continue"], code)
    code, rest = api.call("GET", path("v2", ns="lists") + "?labelSelector=odd%3D1&limit=100&continue=" +
                          body["metadata"]["continue"])
    ok("and what continues it", len(rest["items"]) == 25 and rest["items"][0]["metadata"]["name"] == "l201", len(rest))
    code, body = api.call("GET", path("v2", ns="lists") + "?fieldSelector=spec.address%3Dh3:8")
    ok("fields are those of the version asked for", code == 200 and [o["metadata"]["name"] for o in body["items"]] ==
       ["l008"], body)
    code, body = api.call("GET", path("v3", ns="lists") + "?limit=2",
                          accept="application/json;as=Table;g=meta.k8s.io;v=v1")
    ok("tables too", [r["cells"] for r in body["rows"]] == [["l000", "h0:0"], ["l001", "h1:1"]], body)
    code, body = api.call("DELETE", path("v2", ns="lists") + "?labelSelector=odd%3D1")
    ok("a collection is deleted by what the webhook makes of it", code == 200 and len(body["items"]) == 125
       and len(api.call("GET", path("v1", ns="lists"))[1]["items"]) == 125, code)


def watches(api, hooks):
    w = Watch(api, path("v2", ns="w") + "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")
    live = Watch(api, path("v3", ns="w") + "?watch=1&labelSelector=a%3Db")
    api.call("POST", path("v1", ns="w"), {"apiVersion": "example.com/v1", "kind": "Link", "metadata": {"name": "o"},
                                          "spec": {"host": "h", "port": 1}})
    eventually(lambda: any(e["type"] == "ADDED" for e in w.events))
    ok("a watch sees objects in its version", [e["object"].get("spec") for e in w.events] == [{}, {"address": "h:1"}]
       or [e["object"].get("spec") for e in w.events][-1] == {"address": "h:1"}, w.events)
    api.call("PATCH", path("v1", "o", "w"), {"metadata": {"labels": {"a": "b"}}}, kind="application/merge-patch+json")
    api.call("PATCH", path("v3", "o", "w"), {"spec": {"ends": ["k:2"]}}, kind="application/merge-patch+json")
    api.call("PATCH", path("v2", "o", "w"), {"metadata": {"labels": None}}, kind="application/merge-patch+json")
    api.call("DELETE", path("v1", "o", "w"))
    eventually(lambda: len(live.events) >= 3 and w.events[-1]["type"] == "DELETED")
    ok("with selectors, in order", [(e["type"], e["object"]["spec"]["ends"]) for e in live.events] ==
       [("ADDED", ["h:1"]), ("MODIFIED", ["k:2"]), ("DELETED", ["k:2"])], live.events)
    ok("to its end", [e["type"] for e in w.events if e["type"] != "BOOKMARK"] ==
       ["ADDED", "MODIFIED", "MODIFIED", "MODIFIED", "DELETED"]
       and w.events[-1]["object"]["spec"] == {"address": "k:2"}, w.events)
    rv = w.events[-4]["object"]["metadata"]["resourceVersion"]
    back = Watch(api, path("v2", ns="w") + "?watch=1&resourceVersion=" + rv)
    eventually(lambda: len(back.events) == 3)
    ok("a watch resumes from a version", [e["object"]["metadata"]["resourceVersion"] for e in back.events] ==
       [e["object"]["metadata"]["resourceVersion"] for e in w.events[-3:]], back.events)
    from_behind(api, back)
    change(api, hooks, "slow")
    slow = Watch(api, path("v2", ns="w") + "?watch=1")
    start = time.time()
    api.call("POST", path("v1", ns="w"), {"apiVersion": "example.com/v1", "kind": "Link", "metadata": {"name": "late"},
                                          "spec": {"host": "h", "port": 9}})
    own, took = Watch(api, "/api/v1/namespaces/w/configmaps?watch=1"), []
    for i in range(20):
        t = time.time()
        api.call("POST", "/api/v1/namespaces/w/configmaps", {"metadata": {"name": "c%d" % i}})
        took.append(time.time() - t)
    ok("nobody else waits for a slow webhook", max(took) < 1.0 and eventually(lambda: len(own.events) == 20)
       and time.time() - start < 2, (max(took), len(own.events)))
    ok("who needs it does", eventually(lambda: slow.events and slow.events[-1]["object"]["spec"] == {"address": "h:9"})
       and time.time() - start >= 2, slow.events)
    change(api, hooks)
    ok("watches end when the definition changes", eventually(lambda: slow.ended and back.ended))


def from_behind(api, other):
    """Watches of one object from before many changes of others, which are told out of the store's history."""
    maps, merge = "/api/v1/namespaces/w/configmaps", "application/merge-patch+json"
    far = api.call("POST", path("v1", ns="w"), {"apiVersion": "example.com/v1", "kind": "Link", "metadata": {
        "name": "far"}, "spec": {"host": "h", "port": 1}})[1]["metadata"]["resourceVersion"]
    api.call("POST", maps, {"metadata": {"name": "near"}})
    api.call("POST", maps, {"metadata": {"name": "busy"}})
    for i in range(300):
        api.call("PATCH", maps + "/busy", {"data": {"n": str(i)}}, kind=merge)
        if i % 100 == 50:
            api.call("PATCH", path("v1", "far", "w"), {"spec": {"port": i}}, kind=merge)
            api.call("PATCH", maps + "/near", {"data": {"n": str(i)}}, kind=merge)
    one = "?watch=1&fieldSelector=metadata.name%3D{}&resourceVersion=" + far
    far, near = Watch(api, path("v2", ns="w") + one.format("far")), Watch(api, maps + one.format("near"))
    eventually(lambda: len(far.events) == 3 and len(near.events) == 4)
    api.call("PATCH", path("v3", "far", "w"), {"spec": {"ends": ["k:2"]}}, kind=merge)
    api.call("DELETE", maps + "/near")
    api.call("DELETE", maps + "/busy")
    eventually(lambda: len(far.events) == 4 and len(near.events) == 5 and len(other.events) == 8)
    ok("a watch of one object from long ago sees it converted, and goes on", [(e["type"], e["object"]["spec"])
       for e in far.events] == [("MODIFIED", {"address": a}) for a in ("h:50", "h:150", "h:250", "k:2")], far.events)
    ok("one of an ordinary kind too", [(e["type"], e["object"].get("data", {}).get("n")) for e in near.events] ==
       [("ADDED", None), ("MODIFIED", "50"), ("MODIFIED", "150"), ("MODIFIED", "250"), ("DELETED", "250")], near.events)
    ok("and others are told what is theirs", [e["object"]["spec"]["address"] for e in other.events[3:]] ==
       ["h:1", "h:50", "h:150", "h:250", "k:2"], other.events[3:])


def faults(api, hooks):
    texts = [
        ("fail", " failed: cannot do that"),
        ("silent", " failed: response.result.status was 'Failed', not 'Success'"),
        ("uid", ' failed: expected response.uid="'),
        ("few", " returned 0 objects, expected 1"),
        ("version", " returned invalid object at index 0: invalid groupVersion (expected example.com/v2, received example.com/v9)"),
        ("kind", " returned invalid object at index 0: invalid kind (expected Link, received Another)"),
        ("name", " returned invalid object: must have the same name: f != another"),
        ("bad-label", ' returned invalid metadata: metadata.labels: Invalid value: "a b": name part must consist of'),
        ("number-label", " returned invalid metadata: metadata.labels[a] must be a string, but is int64 in converted object"),
        ("no-metadata", " returned invalid object: must have the same name: f != "),
        ("broken", " failed: couldn't get version/kind; json parse error: "),
        ("error", ' failed: an error on the server ("it burns") has prevented the request from succeeding'),
        ("gone", " failed: the server could not find the requested resource"),
    ]
    api.call("POST", path("v1", ns="f"), {"apiVersion": "example.com/v1", "kind": "Link", "metadata": {"name": "f"},
                                          "spec": {"host": "h", "port": 1}})
    for where, text in texts:
        change(api, hooks, where)
        code, body = api.call("GET", path("v2", "f", "f"))
        ok("a webhook that answers with " + where, code == 500 and body["message"].startswith(
            "conversion webhook for example.com/v1, Kind=Link" + text), body)
    code, body = api.call("POST", path("v2", ns="f"), link("n", address="a:1"))
    ok("writes fail as well", code == 500 and body["message"].startswith(
        "conversion webhook for example.com/v2, Kind=Link failed"), body)
    code, body = api.call("GET", path("v2", ns="f"))
    ok("and lists", code == 500 and "conversion webhook for example.com/v1" in body["message"], body)
    w = Watch(api, path("v2", ns="f") + "?watch=1")
    ok("and watches, with an error", eventually(lambda: w.events and w.ended) and w.events[-1]["type"] == "ERROR"
       and w.events[-1]["object"]["code"] == 500, w.events)
    code, body = api.call("GET", path("v1", "f", "f"))
    ok("what needs no webhook goes on", code == 200)
    change(api, hooks, "rename-meta")
    code, body = api.call("GET", path("v2", "f", "f"))
    ok("other metadata stays as it is", code == 200 and body["metadata"]["generation"] == 1
       and "finalizers" not in body["metadata"] and body["spec"] == {"address": "h:1"}, body)
    change(api, hooks, "label")
    code, body = api.call("GET", path("v2", "f", "f"))
    ok("labels are the webhook's", body["metadata"]["labels"] == {"converted-to": "v2"}, body)
    code, body = api.call("GET", path("v2", ns="f") + "?labelSelector=converted-to%3Dv2")
    ok("and select", [o["metadata"]["name"] for o in body["items"]] == ["f"], body)
    broken = definition(hooks)
    broken["metadata"]["resourceVersion"] = api.call("GET", DEFINITIONS + "/" + NAME)[1]["metadata"]["resourceVersion"]
    broken["spec"]["conversion"]["webhook"]["clientConfig"] = {
        "caBundle": hooks.ca, "service": {"namespace": "default", "name": "hook", "path": "/x"}}
    code, body = api.call("PUT", DEFINITIONS + "/" + NAME, broken)
    ok("a webhook by service", code == 200, body)
    code, body = eventually(lambda: (lambda r: r if r[0] == 500 else None)(api.call("GET", path("v3", "f", "f"))))
    ok("a service that is missing", body["message"] == "conversion webhook for example.com/v1, Kind=Link failed: "
       'Post "https://hook.default.svc:443/x?timeout=30s": service "hook" not found', body)
    change(api, hooks)


def stored_versions(api, hooks):
    body = change(api, hooks, storage="v2")
    ok("another storage version joins those that are stored", body["status"]["storedVersions"] == ["v1", "v2"], body)
    code, one = api.call("GET", path("v1", "f", "f"))
    ok("what was stored before is read", code == 200 and one["spec"] == {"host": "h", "port": 1}, one)
    code, one = api.call("GET", path("v2", "f", "f"))
    ok("in the new version too", code == 200 and one["spec"] == {"address": "h:1"}, one)
    code, two = api.call("PUT", path("v2", "f", "f"), one)
    ok("writing it without a change brings it into the new version", code == 200
       and two["metadata"]["resourceVersion"] != one["metadata"]["resourceVersion"]
       and two["metadata"]["generation"] == one["metadata"]["generation"], (one, two))
    now = api.call("GET", DEFINITIONS + "/" + NAME)[1]
    now["spec"]["versions"] = now["spec"]["versions"][1:]
    code, body = api.call("PUT", DEFINITIONS + "/" + NAME, now)
    ok("a stored version cannot go", code == 422 and "status.storedVersions[0]: Invalid value: \"v1\": missing from "
       "spec.versions; v1 was previously a storage version, and must remain" in body["message"], body)
    now = api.call("GET", DEFINITIONS + "/" + NAME)[1]
    now["status"]["storedVersions"] = ["v2"]
    code, body = api.call("PUT", DEFINITIONS + "/" + NAME + "/status", now)
    ok("until the list no longer has it", code == 200 and body["status"]["storedVersions"] == ["v2"], body)
    now["status"]["storedVersions"] = ["v1"]
    now["metadata"]["resourceVersion"] = body["metadata"]["resourceVersion"]
    code, body = api.call("PUT", DEFINITIONS + "/" + NAME + "/status", now)
    ok("which always has the storage version", code == 422 and "must have the storage version v2" in body["message"], body)
    code, body = api.call("DELETE", DEFINITIONS + "/" + NAME)
    ok("a definition goes without its webhook being asked about every object", code == 200 and eventually(
        lambda: api.call("GET", DEFINITIONS + "/" + NAME)[0] == 404), body)


def main():
    folder = tempfile.mkdtemp(prefix="trireme-conversion-")
    server = replay.Server(os.path.join(sys.argv[1], "trireme-apiserver"))
    hooks = Hooks(folder)
    try:
        api = Api(server.url)
        for ns in ("lists", "w", "f"):
            api.call("POST", "/api/v1/namespaces", {"metadata": {"name": ns}})
        life(api, hooks)
        lists(api, hooks)
        watches(api, hooks)
        faults(api, hooks)
        stored_versions(api, hooks)
    finally:
        hooks.process.terminate()
        hooks.process.wait()
        clean, log = server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    ok("the server stops in good order", clean, log[-1500:])
    return finish()


if __name__ == "__main__":
    sys.exit(main())
