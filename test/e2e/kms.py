#!/usr/bin/env python3
"""KMS v2 providers of --encryption-provider-config: keys, their change, a plugin that is ill or gone, wrong files.

usage: KMS_PLUGIN=PROGRAM kms.py BIN_DIR
"""
import base64
import hashlib
import hmac
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import checks
from encryption import IDENTITY, SECRETS, WORD, Cluster, config, ok, replay, until

try:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError:
    AESGCM = None
PREFIX = b"k8s:enc:kms:v2:one:"


class Plugin:
    def __init__(self, folder):
        self.socket, self.file, self.log = (os.path.join(folder, n) for n in ("kms.sock", "kms.state", "kms.log"))
        self.say("key-1")
        self.start()

    def say(self, key, health="ok", version="v2"):
        with open(self.file + ".new", "w") as f:
            f.write("%s %s %s\n" % (key, health, version))
        os.rename(self.file + ".new", self.file)

    def start(self):
        with open(self.log, "w") as f:
            self.process = subprocess.Popen([os.environ["KMS_PLUGIN"], self.socket, self.file], stdout=f)
        until(lambda: "listening" in self.calls())

    def stop(self):
        self.process.kill()
        self.process.wait()
        if os.path.exists(self.socket):
            os.unlink(self.socket)

    def calls(self, what=""):
        with open(self.log) as f:
            return [x.split()[0] for x in f if what in x]

    def provider(self, **more):
        return {"kms": dict({"apiVersion": "v2", "name": "one", "endpoint": "unix://" + self.socket, "timeout": "3s"}, **more)}


def fields(data):
    """A message as {number: [value]}."""
    out, at = {}, 0

    def varint():
        nonlocal at
        v = shift = 0
        while True:
            c = data[at]
            at += 1
            v |= (c & 127) << shift
            shift += 7
            if c < 128:
                return v
    while at < len(data):
        tag = varint()
        value = varint()
        if tag & 7 == 2:
            at += value
            value = data[at - value:at]
        out.setdefault(tag >> 3, []).append(value)
    return out


def put(number, value):
    def varint(v):
        return bytes([v & 127 | 128]) + varint(v >> 7) if v > 127 else bytes([v])
    return varint(number << 3 | 2) + varint(len(value)) + value


def turn(data):
    return bytes(c ^ 0x5a for c in data)


def opened(c, name):
    """What stands in the store, decrypted by somebody else than us."""
    m = fields(c.raw("secrets/default/" + name)[len(PREFIX):])
    seed = turn(m[3][0].split(b":", 1)[1])
    info, nonce, text = m[1][0][:32], m[1][0][32:44], m[1][0][44:]
    return AESGCM(hmac.new(seed, info + b"\1", hashlib.sha256).digest()).decrypt(
        nonce, text, b"/registry/secrets/default/" + name.encode())


def store(c, path, value):
    body = {"key": base64.b64encode(b"/registry/" + path.encode()).decode(), "value": base64.b64encode(value).decode()}
    urllib.request.urlopen(c.etcd + "/v3/kv/put", json.dumps(body).encode(), timeout=10).read()


def health(c, path="/healthz/kms-providers"):
    r = urllib.request.Request(c.server.url + path, headers={"Authorization": "Bearer " + replay.TOKEN})
    try:
        with urllib.request.urlopen(r, context=c.api.context, timeout=30) as f:
            return f.status, f.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def written(c, plugin):
    c.write(config((["secrets"], plugin.provider(), IDENTITY)))
    c.start()
    code, body, _ = c.secret("a")
    ok("a secret is made and read", code == 201 and c.word("a") == WORD, body)
    raw = c.raw("secrets/default/a")
    ok("the store has it as KMS v2 does", raw.startswith(PREFIX), raw)
    m = fields(raw[len(PREFIX):])
    ok("under the plugin's key", m[2] == [b"key-1"] and m[3][0].startswith(b"key-1:") and m[5] == [1], m)
    ok("with its annotations", fields(m[4][0]) == {1: [b"version.encryption.example.com"], 2: [b"1"]}, m[4])
    ok("nothing of it on the disk", not c.on_disk(WORD))
    c.secret("b")
    ok("one seed for all, and none asked for again", plugin.calls().count("Encrypt") == 1 and
       plugin.calls().count("Decrypt") == 0, plugin.calls())
    ok("each object under a key of its own", fields(c.raw("secrets/default/b")[len(PREFIX):])[1][0][:32] != m[1][0][:32])
    if AESGCM is None:
        print("  left out: what others decrypt and encrypt (no python3-cryptography)")
    else:
        ok("others can read it", WORD.encode() in opened(c, "a") and opened(c, "a").startswith(b"k8s\0"))
        foreign(c)
    ok("healthy", health(c) == (200, "ok") and "[+]kms-providers ok" in health(c, "/readyz?verbose")[1], health(c))
    text = health(c, "/metrics")[1]
    for wanted in ('apiserver_envelope_encryption_key_id_hash_total{key_id_hash="sha256:' + hashlib.sha256(b"key-1").hexdigest(),
                   'apiserver_envelope_encryption_kms_operations_latency_seconds_count{grpc_status_code="OK",method_name='
                   '"/v2.KeyManagementService/Status",provider_name="one"}'):
        ok("metric " + wanted[:60], wanted in text)


def foreign(c):
    """Of an older server: the key itself is wrapped."""
    key, nonce, plain = b"K" * 32, b"N" * 12, opened(c, "a").replace(b"\n\1a", b"\n\1f", 1)
    name = b"/registry/secrets/default/f"
    note = put(1, b"version.encryption.example.com") + put(2, b"1")
    store(c, "secrets/default/f", PREFIX + put(1, nonce + AESGCM(key).encrypt(nonce, plain, name)) + put(2, b"key-0") +
          put(3, b"key-0:" + turn(key)) + put(4, note))
    ok("what an older server wrote is read", until(lambda: c.word("f") == WORD), c.word("f"))
    moved = c.raw("secrets/default/a")
    store(c, "secrets/default/moved", moved)
    code, body, _ = c.api.call("GET", SECRETS + "/moved")
    ok("what was moved is not", code == 500 and "unable to transform" in body["message"], body)
    urllib.request.urlopen(c.etcd + "/v3/kv/deleterange", json.dumps(
        {"key": base64.b64encode(b"/registry/secrets/default/moved").decode()}).encode(), timeout=10).read()


def rotated(c, plugin):
    plugin.say("key-2")
    made = [0]

    def turned():
        made[0] += 1
        c.secret("r%d" % made[0])
        return fields(c.raw("secrets/default/r%d" % made[0])[len(PREFIX):])[2] == [b"key-2"]
    ok("a new key of the plugin's is written with", until(turned, 30))
    ok("what is under the old one is read", c.word("a") == WORD and c.word("b") == WORD)
    c.api.call("PUT", SECRETS + "/a", c.api.call("GET", SECRETS + "/a")[1])
    ok("an unchanged update rewrites", fields(c.raw("secrets/default/a")[len(PREFIX):])[2] == [b"key-2"])
    before = c.raw("secrets/default/a")
    c.api.call("PUT", SECRETS + "/a", c.api.call("GET", SECRETS + "/a")[1])
    ok("but only once", c.raw("secrets/default/a") == before)
    plugin.say("key-2", "ill")
    ok("an ill plugin is told", until(lambda: health(c)[0] == 500 and health(c, "/readyz")[0] == 500 and
                                      health(c, "/livez")[0] == 500, 30), health(c))
    ok("while writes go on", c.secret("ill")[0] == 201)
    plugin.say("key-2", "ok", "v3")
    ok("a plugin of another kind is not taken for well", not until(lambda: health(c)[0] == 200, 5))
    plugin.say("key-2")
    ok("until it is well", until(lambda: health(c)[0] == 200))


def restarted(c, plugin):
    c.stop()
    plugin.stop()
    plugin.start()
    c.start()
    ok("after a restart all is read", [c.word(x) for x in ("a", "b", "ill")] == [WORD] * 3)
    ok("a seed is unwrapped once", 1 <= plugin.calls().count("Decrypt") <= 4, plugin.calls())
    c.stop()
    plugin.stop()
    c.start()
    ok("the server starts without its plugin", health(c, "/version")[0] == 200 and health(c)[0] == 500)
    code, body, _ = c.api.call("GET", SECRETS + "/a")
    ok("what needs it is refused", code == 500 and "unable to transform" in body["message"], body)
    code, body, _ = c.secret("c")
    ok("and not written as it is", code == 500 and "nil transformer" in body["message"] and
       c.raw("secrets/default/c") == b"", (body, c.raw("secrets/default/c")))
    plugin.start()
    ok("until it is there", until(lambda: c.secret("c")[0] in (201, 409)) and c.word("a") == WORD)


def plain(c, plugin):
    c.stop()
    c.write(config((["secrets"], IDENTITY, plugin.provider())))
    c.start()
    c.secret("plain")
    ok("identity first: as it is", c.raw("secrets/default/plain").startswith(b"k8s\0") and c.word("plain") == WORD)
    c.write(config((["secrets"], plugin.provider())))
    ok("without identity what is plain is not read", until(lambda: c.api.call("GET", SECRETS + "/plain")[0] == 500))
    code, body, _ = c.api.call("GET", SECRETS)
    ok("also in a list", code == 500 and "no matching prefix found" in body["message"], body)
    ok("the rest is", c.word("a") == WORD and c.api.call("GET", "/api/v1/namespaces")[0] == 200)
    c.stop()


def refused(c, plugin):
    def start(text):
        c.write(text)
        p = subprocess.run([os.path.join(c.binary, "trireme-apiserver"), "--data-dir=" + c.dir + "/none", "--secure-port=0",
                            "--bind-address=127.0.0.1", "--encryption-provider-config=" + c.file],
                           capture_output=True, text=True, timeout=20)
        return p.stderr.strip().splitlines()[-1] if p.returncode in (1, 2) else "it started"
    at = "resources[0].providers[0].kms."
    for provider, want in (
            (plugin.provider(apiVersion="v1"), at + "apiVersion: Forbidden: KMSv1 is deprecated and will only receive security "
             "updates going forward. Use KMSv2 instead."),
            (plugin.provider(apiVersion="v3"), "for KMS provider, only v1 and v2 are supported"),
            (plugin.provider(name=""), at + "name: Required value: name is a mandatory field for a provider"),
            (plugin.provider(name="a:b"), "invalid KMS provider name a:b, must not contain ':'"),
            (plugin.provider(endpoint="https://x"), 'unsupported scheme "https" for KMS provider, only unix is supported'),
            (plugin.provider(endpoint=""), at + 'endpoint: Invalid value: "": endpoint is a mandatory field for a kms'),
            (plugin.provider(timeout="-1s"), "timeout should be a positive value"),
            (plugin.provider(cachesize=5), "cachesize is not supported in v2")):
        said = start(config((["secrets"], provider)))
        ok("refused: " + want[-50:], want in said, said)
    said = start(config((["secrets"], plugin.provider()), (["configmaps"], plugin.provider())))
    ok("refused: two of one name", "duplicate KMS provider name one, names must be unique" in said, said)


def main():
    if "KMS_PLUGIN" not in os.environ:
        print("  left out: KMS_PLUGIN is not set (make kms-plugin)")
        return checks.finish()
    c = Cluster(sys.argv[1])
    plugin = Plugin(c.dir)
    try:
        written(c, plugin)
        rotated(c, plugin)
        restarted(c, plugin)
        plain(c, plugin)
        refused(c, plugin)
    finally:
        if c.server is not None and c.server.process.poll() is None:
            print(c.server.read_log()[-3000:])
            c.server.stop()
        if plugin.process.poll() is None:
            plugin.process.send_signal(signal.SIGTERM)
            plugin.process.wait()
        shutil.rmtree(c.dir, ignore_errors=True)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
