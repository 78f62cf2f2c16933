#!/usr/bin/env python3
"""What admission costs a write: CPU of the API server for each update of a ConfigMap, with policies
and webhook configurations that are about it and that are not.

usage: admission.py BIN_DIR [WRITES]
"""
import http.client
import json
import os
import ssl
import sys
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "replay"))
import run as replay  # noqa: E402

GROUP = "/apis/admissionregistration.k8s.io/v1/"
WEBHOOKS, POLICIES, BINDINGS = (GROUP + "validating" + n for n in (
    "webhookconfigurations", "admissionpolicies", "admissionpolicybindings"))
ROUNDS = 4
MAP = "/api/v1/namespaces/default/configmaps/m"


class Client:
    def __init__(self, url):
        self.http = http.client.HTTPSConnection(urllib.parse.urlparse(url).netloc,
                                                context=ssl._create_unverified_context())

    def call(self, method, path, body=None):
        self.http.request(method, path, json.dumps(body) if body is not None else None, {
            "Authorization": "Bearer " + replay.TOKEN, "Content-Type": "application/json"})
        with self.http.getresponse() as r:
            text = r.read()
            if r.status >= 300:
                raise SystemExit("%s %s: %s" % (method, path, text.decode()))


def cpu_us(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000000 / os.sysconf("SC_CLK_TCK")


def rules(resource):
    return [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": [resource]}]


def add(client, count, resource, webhooks):
    for i in range(count):
        if webhooks:
            client.call("POST", WEBHOOKS, {"metadata": {"name": "w%d" % i}, "webhooks": [{
                "name": "w.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "rules": rules(resource), "clientConfig": {"url": "https://127.0.0.1:1/"}}]})
            continue
        client.call("POST", POLICIES, {"metadata": {"name": "p%d" % i}, "spec": {
            "matchConstraints": {"resourceRules": rules(resource)},
            "variables": [{"name": "data", "expression": "has(object.data) ? object.data : {}"}],
            "validations": [{"expression": "variables.data.all(k, v, size(v) < 100)", "message": "too long"},
                            {"expression": "!object.metadata.name.startsWith('kube-')"}]}})
        client.call("POST", BINDINGS, {"metadata": {"name": "p%d" % i}, "spec": {
            "policyName": "p%d" % i, "validationActions": ["Deny"]}})


def measure(client, pid, writes, text):
    """The best of several rounds, the first of which is to warm up."""
    best = []
    for _ in range(ROUNDS):
        before, start = cpu_us(pid), time.time()
        for i in range(writes):
            client.call("PUT", MAP, {"metadata": {"name": "m"}, "data": {"a": str(i), "b": "x", "c": "y"}})
        best.append(((cpu_us(pid) - before) / writes, (time.time() - start) * 1e6 / writes))
    print("%-52s %7.0f us CPU  %7.0f us" % (text, min(b[0] for b in best[1:]), min(b[1] for b in best[1:])), flush=True)


def main():
    binary, writes = os.path.join(sys.argv[1], "trireme-apiserver"), int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    for title, resource, webhooks in (("policies about other kinds", "secrets", False),
                                      ("policies about the object", "configmaps", False),
                                      ("webhook configurations about other kinds", "secrets", True)):
        for count in (0, 10, 100):
            if count == 0 and resource != "configmaps":
                continue
            server = replay.Server(binary, "--unsafe-no-fsync", "--threads=1")
            client = Client(server.url)
            client.call("POST", os.path.dirname(MAP), {"metadata": {"name": "m"}})
            add(client, count, resource, webhooks)
            measure(client, server.process.pid, writes,
                    "%d %s" % (count, title) if count else "none")
            server.stop()


if __name__ == "__main__":
    main()
