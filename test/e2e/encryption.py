#!/usr/bin/env python3
"""--encryption-provider-config: what stands in the store, changes of keys, restarts, wrong files.

usage: encryption.py BIN_DIR
"""
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import checks
from admission import Api, ok, replay

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import ports  # noqa: E402

SECRETS = "/api/v1/namespaces/default/secrets"
MAPS = "/api/v1/namespaces/default/configmaps"
WORD = "correct-horse-battery"


def key(name, letter, size=32):
    return {"name": name, "secret": base64.b64encode(letter.encode() * size).decode()}


def config(*entries):
    return json.dumps({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration", "resources": [
        {"resources": r, "providers": list(p)} for r, *p in entries]})


IDENTITY = {"identity": {}}
GCM_A, GCM_B = {"aesgcm": {"keys": [key("a", "a", 16)]}}, {"aesgcm": {"keys": [key("b", "b"), key("a", "a", 16)]}}
CBC, BOX = {"aescbc": {"keys": [key("c", "c", 24)]}}, {"secretbox": {"keys": [key("box", "d")]}}


class Cluster:
    def __init__(self, binary):
        self.binary, self.dir = binary, tempfile.mkdtemp(prefix="trireme-encryption-")
        self.file, self.server = os.path.join(self.dir, "encryption.yaml"), None
        self.etcd = "http://127.0.0.1:%d" % ports.free_block()

    def write(self, text):
        with open(self.file + ".new", "w") as f:
            f.write(text)
        os.rename(self.file + ".new", self.file)

    def start(self, encrypt=True):
        more = ["--encryption-provider-config=" + self.file, "--encryption-provider-config-automatic-reload"]
        self.server = replay.Server(os.path.join(self.binary, "trireme-apiserver"), "--data-dir=" + self.dir + "/data",
                                    "--etcd-listen-client-urls=" + self.etcd, "--etcd-client-cert-auth=false", *(more if encrypt else []))
        self.api = Api(self.server.url)

    def stop(self):
        clean, text = self.server.stop()
        ok("the server stops in good order", clean, text[-1500:])
        return text

    def raw(self, path):
        """What stands in the store."""
        body = json.dumps({"key": base64.b64encode(("/registry/" + path).encode()).decode()}).encode()
        with urllib.request.urlopen(self.etcd + "/v3/kv/range", body, timeout=10) as f:
            kvs = json.load(f).get("kvs", [])
        return base64.b64decode(kvs[0]["value"]) if kvs else b""

    def secret(self, name):
        return self.api.call("POST", SECRETS, {"metadata": {"name": name}, "stringData": {"word": WORD}})

    def word(self, name):
        code, body, _ = self.api.call("GET", SECRETS + "/" + name)
        return base64.b64decode(body["data"]["word"]).decode() if code == 200 else body

    def on_disk(self, text):
        for folder, _, names in os.walk(self.dir + "/data"):
            for n in names:
                with open(os.path.join(folder, n), "rb") as f:
                    if text.encode() in f.read():
                        return True
        return False


def until(condition, seconds=15):
    end = time.time() + seconds
    while not condition() and time.time() < end:
        time.sleep(0.1)
    return condition()


def written(c):
    c.write(config((["secrets"], GCM_A, IDENTITY), (["configmaps"], BOX), (["*.example.com"], CBC, IDENTITY)))
    c.start()
    code, body, _ = c.secret("one")
    ok("a secret is made and read", code == 201 and c.word("one") == WORD, body)
    ok("the store has it encrypted", c.raw("secrets/default/one").startswith(b"k8s:enc:aesgcm:v1:a:"), c.raw("secrets/default/one"))
    c.api.call("POST", MAPS, {"metadata": {"name": "m", "labels": {"x": "y"}}, "data": {"k": WORD}})
    ok("another resource in another way", c.raw("configmaps/default/m").startswith(b"k8s:enc:secretbox:v1:box:"))
    ok("nothing of it on the disk", not c.on_disk(WORD))
    ok("what is not named is as ever", c.raw("namespaces/default").startswith(b"k8s\0"), c.raw("namespaces/default"))
    custom(c)


def custom(c):
    c.api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {
        "metadata": {"name": "jars.example.com"}, "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "jars", "singular": "jar", "kind": "Jar"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}})
    jars = "/apis/example.com/v1/namespaces/default/jars"
    until(lambda: c.api.call("GET", jars)[0] == 200)
    code, body, _ = c.api.call("POST", jars, {"apiVersion": "example.com/v1", "kind": "Jar", "metadata": {"name": "j"}, "spec": 3})
    ok("custom kinds too", code == 201 and c.raw("example.com/jars/default/j").startswith(b"k8s:enc:aescbc:v1:c:"),
       (body, c.raw("example.com/jars/default/j")))
    ok("and are read", c.api.call("GET", jars + "/j")[1].get("spec") == 3)


def used(c):
    seen = []

    def watch():
        import urllib.request as u
        r = u.Request(c.server.url + SECRETS + "?watch=1&timeoutSeconds=3", headers={"Authorization": "Bearer " + replay.TOKEN})
        with u.urlopen(r, context=c.api.context, timeout=30) as f:
            seen.extend(json.loads(line) for line in f)
    t = threading.Thread(target=watch)
    t.start()
    time.sleep(0.5)
    code, body, _ = c.api.call("PATCH", SECRETS + "/one", {"metadata": {"labels": {"l": "1"}}}, "application/merge-patch+json")
    ok("patched", code == 200 and body["metadata"]["labels"] == {"l": "1"}, body)
    code, body, _ = c.api.call("GET", SECRETS + "?labelSelector=l%3D1&fieldSelector=type%3DOpaque")
    ok("selected", [s["metadata"]["name"] for s in body.get("items", [])] == ["one"], body)
    code, body, _ = c.api.call("GET", MAPS + "?labelSelector=x%3Dy")
    ok("listed", [s["data"] for s in body.get("items", [])] == [{"k": WORD}], body)
    t.join()
    ok("watched", [e["type"] for e in seen if e["object"]["metadata"]["name"] == "one"] == ["ADDED", "MODIFIED"] and
       all("data" in e["object"] for e in seen), seen)
    before = c.api.call("GET", SECRETS + "/one")[1]["metadata"]["resourceVersion"]
    same = c.api.call("PUT", SECRETS + "/one", c.api.call("GET", SECRETS + "/one")[1])[1]["metadata"]["resourceVersion"]
    ok("what does not change is not written", before == same, (before, same))


def rotated(c):
    c.write(config((["secrets"], GCM_B, IDENTITY), (["configmaps"], BOX), (["*.example.com"], CBC, IDENTITY)))
    ok("a new file counts by itself", until(lambda: c.secret("n%d" % time.time_ns())[0] == 201 and "read anew" in c.server.read_log()))
    c.secret("two")
    ok("new keys are written with", c.raw("secrets/default/two").startswith(b"k8s:enc:aesgcm:v1:b:"), c.raw("secrets/default/two"))
    ok("old ones are read with", c.word("one") == WORD)
    c.api.call("PUT", SECRETS + "/one", c.api.call("GET", SECRETS + "/one")[1])
    ok("an unchanged update rewrites", c.raw("secrets/default/one").startswith(b"k8s:enc:aesgcm:v1:b:") and c.word("one") == WORD)
    c.write("resources: [")
    ok("a wrong file changes nothing", until(lambda: "what was read before stays" in c.server.read_log()) and
       c.secret("three")[0] == 201 and c.raw("secrets/default/three").startswith(b"k8s:enc:aesgcm:v1:b:"))


def restarted(c):
    c.stop()
    c.write(config((["*."], IDENTITY, GCM_B, BOX)))
    c.start()
    ok("after a restart", c.word("one") == WORD and c.word("two") == WORD)
    c.api.call("PUT", SECRETS + "/one", c.api.call("GET", SECRETS + "/one")[1])
    ok("identity first: decrypted by rewriting", c.raw("secrets/default/one").startswith(b"k8s\0"), c.raw("secrets/default/one"))
    c.stop()
    c.start(encrypt=False)
    ok("what is plain is read without a configuration", c.word("one") == WORD)
    code, body, _ = c.api.call("GET", SECRETS + "/two")
    ok("what is encrypted is refused", code == 500 and "unable to transform" in body.get("message", ""), (code, body))
    code, body, _ = c.api.call("GET", SECRETS)
    ok("also in a list", code == 500, (code, body))
    c.stop()


def refused(c):
    def start(text):
        c.write(text)
        p = subprocess.run([os.path.join(c.binary, "trireme-apiserver"), "--data-dir=" + c.dir + "/none", "--secure-port=0",
                            "--bind-address=127.0.0.1", "--encryption-provider-config=" + c.file],
                           capture_output=True, text=True, timeout=20)
        return p.stderr.strip().splitlines()[-1] if p.returncode in (1, 2) else "it started"
    for text, want in (
            (config(), "resources: Required value: at least one resources is required"),
            (config(([], IDENTITY)), "resources[0].resources: Required value: at least one resources[0].resources is required"),
            (config((["secrets"], {"aesgcm": {"keys": [key("a", "a", 5)]}})), "resources[0].providers[0].aesgcm.keys[0].secret: "
             'Invalid value: "REDACTED": secret is not of the expected length, got 5, expected one of [16 24 32]'),
            (config((["*"], IDENTITY)), "resources[0].resources[0]: Invalid value: \"*\": use '*.' to encrypt all the resources "
             "from core API group or *.* to encrypt all resources"),
            (config((["secrets", "*."], IDENTITY)), "using overlapping resources such as 'secrets' and '*.'"),
            (config((["secrets"], {"aesgcm": {"keys": [key("a", "a")]}, "identity": {}})), "more than one provider specified")):
        said = start(text)
        ok("refused: " + want[:50], want in said, said)


def main():
    c = Cluster(sys.argv[1])
    try:
        written(c)
        used(c)
        rotated(c)
        restarted(c)
        refused(c)
    finally:
        if c.server is not None and c.server.process.poll() is None:
            print(c.server.read_log()[-3000:])
            c.server.stop()
        shutil.rmtree(c.dir, ignore_errors=True)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
