#!/usr/bin/env python3
"""Admission by expressions and by webhooks, against a trireme-apiserver of its own.

usage: admission.py BIN_DIR
"""
import base64
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "replay"))
import run as replay  # noqa: E402

GROUP = "/apis/admissionregistration.k8s.io/v1/"
MAPS = "/api/v1/namespaces/default/configmaps"
passed = failed = 0


def ok(name, condition, shown=""):
    global passed, failed
    passed += bool(condition)
    failed += not condition
    print("  %s  %s%s" % ("ok  " if condition else "FAIL", name, "" if condition else ": %r" % (shown,)))


class Api:
    def __init__(self, url):
        self.url, self.context = url, ssl._create_unverified_context()

    def call(self, method, path, body=None, kind="application/json"):
        r = urllib.request.Request(self.url + path, method=method, headers={
            "Authorization": "Bearer " + replay.TOKEN, "Content-Type": kind},
            data=None if body is None else json.dumps(body).encode())
        try:
            with urllib.request.urlopen(r, context=self.context, timeout=30) as f:
                return f.status, json.load(f), f.headers.get_all("Warning") or []
        except urllib.error.HTTPError as e:
            return e.code, json.load(e), e.headers.get_all("Warning") or []

    def make(self, plural, kind, name, **more):
        code, body, _ = self.call("POST", GROUP + plural, dict(
            {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}}, **more))
        if code != 201:
            raise SystemExit("%s %s: %s" % (kind, name, body.get("message")))

    def drop(self, plural, name):
        self.call("DELETE", GROUP + plural + "/" + name)

    def config_map(self, name, data=None, query=""):
        return self.call("POST", MAPS + query, {"metadata": {"name": name}, "data": data or {}})


RULES = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}]


def policies(api):
    api.make("validatingadmissionpolicies", "ValidatingAdmissionPolicy", "v", spec={
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": {"resourceRules": [dict(RULES[0], operations=["CREATE"])]},
        "variables": [{"name": "max", "expression": "int(params.data.max)"},
                      {"name": "twice", "expression": "variables.max * 2"}],
        "matchConditions": [{"name": "named", "expression": "object.metadata.name.startsWith('p')"}],
        "validations": [
            {"expression": "object.data.size() <= variables.twice", "reason": "Forbidden",
             "messageExpression": "'at most ' + string(variables.twice)"},
            {"expression": "authorizer.requestResource.check('create').allowed()"},
            {"expression": "namespaceObject.metadata.name == 'default' && request.operation == 'CREATE'"}]})

    def bind():
        api.make("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", "v", spec={
            "policyName": "v", "validationActions": ["Deny"],
            "paramRef": {"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"}})

    bind()
    code, body, _ = api.config_map("p0")
    ok("a missing parameter refuses", code == 422 and "no params found" in body["message"], body)
    api.drop("validatingadmissionpolicybindings", "v")
    api.config_map("limits", {"max": "1"})
    bind()
    code, body, _ = api.config_map("p1", {"a": "", "b": "", "c": ""})
    ok("an expression with parameters and variables refuses",
       code == 403 and body["message"].endswith("denied request: at most 2"), body)
    code, body, _ = api.config_map("p2", {"a": "", "b": ""})
    ok("what holds passes", code == 201, body)
    code, body, _ = api.config_map("q", {"a": "", "b": "", "c": ""})
    ok("match conditions narrow a policy", code == 201, body)
    api.drop("validatingadmissionpolicybindings", "v")
    code, body, _ = api.config_map("p3", {"a": "", "b": "", "c": ""})
    ok("without its binding a policy does nothing", code == 201, body)

    api.make("mutatingadmissionpolicies", "MutatingAdmissionPolicy", "m", spec={
        "reinvocationPolicy": "Never", "matchConstraints": {"resourceRules": RULES}, "mutations": [
            {"patchType": "ApplyConfiguration", "applyConfiguration": {
                "expression": "Object{metadata: Object.metadata{labels: Object.metadata.labels{op: request.operation}}}"}},
            {"patchType": "JSONPatch", "jsonPatch": {
                "expression": "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('x/y'), value: 'z'}]"}}]})
    api.make("mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", "m", spec={"policyName": "m"})
    code, body, _ = api.config_map("m1")
    ok("a mutating policy changes what is created", body["metadata"].get("labels") == {"op": "CREATE", "x/y": "z"}, body)
    code, body, _ = api.call("PATCH", MAPS + "/m1", {"data": {"k": "v"}}, "application/merge-patch+json")
    ok("and what is updated", body["metadata"].get("labels") == {"op": "UPDATE", "x/y": "z"}, body)
    api.drop("mutatingadmissionpolicybindings", "m")


class Hooks:
    def __init__(self, folder):
        cert, key, self.log = (os.path.join(folder, n) for n in ("hook.crt", "hook.key", "hook.log"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=hook",
                        "-addext", "subjectAltName=IP:127.0.0.1,DNS:hook.default.svc"],
                       check=True, stderr=subprocess.DEVNULL)
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "webhook_server.py"), cert, key, self.log],
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        with open(cert, "rb") as f:
            self.ca = base64.b64encode(f.read()).decode()

    def asked(self):
        if not os.path.exists(self.log):
            return []
        with open(self.log) as f:
            return [json.loads(line) for line in f]

    def hook(self, name, path, **more):
        return dict({"name": name + ".example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                     "rules": RULES, "timeoutSeconds": 1, "clientConfig": {
                         "url": "https://127.0.0.1:%d/%s" % (self.port, path), "caBundle": self.ca}}, **more)


def validating(api, hooks):
    def with_hook(path, **more):
        api.make("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", "w",
                 webhooks=[hooks.hook("h", path, **more)])
        answer = api.config_map("w-" + path)
        api.drop("validatingwebhookconfigurations", "w")
        return answer

    code, body, _ = with_hook("allow")
    ok("a webhook that allows", code == 201, body)
    request = hooks.asked()[-1]["request"]
    ok("is asked about the object", request["object"]["metadata"]["name"] == "w-allow" and request["oldObject"] is None
       and request["operation"] == "CREATE" and request["resource"]["resource"] == "configmaps"
       and request["userInfo"]["username"] == "admin" and hooks.asked()[-1]["path"] == "/allow?timeout=1s", request)
    code, body, _ = with_hook("deny")
    ok("a refusal carries code, reason and message", (code, body["reason"], body["message"]) == (
        418, "Teapot", 'admission webhook "h.example.com" denied the request: not this one'), body)
    code, body, _ = with_hook("deny-plain")
    ok("a refusal without a word", (code, body["message"]) == (
        400, 'admission webhook "h.example.com" denied the request without explanation'), body)
    code, body, warnings = with_hook("warn")
    ok("warnings are passed on", code == 201 and warnings == ['299 - "think twice about w-warn"'], warnings)
    for path, words in (("slow", "context deadline exceeded"), ("broken", "invalid character"),
                        ("error", 'an error on the server ("it burns") has prevented the request from succeeding'),
                        ("uid", "expected response.uid=")):
        code, body, _ = with_hook(path)
        ok("%s: refused when it must not fail" % path, code == 500 and body["message"].startswith(
            'Internal error occurred: failed calling webhook "h.example.com": ') and words in body["message"], body)
    code, body, _ = with_hook("error", failurePolicy="Ignore")
    ok("a failure that is ignored", code == 201, body)
    code, body, _ = with_hook("deny", clientConfig={"url": "https://127.0.0.1:1/x", "caBundle": hooks.ca})
    ok("nobody there", code == 500 and "127.0.0.1:1/x?timeout=1s" in body["message"], body)
    code, body, _ = with_hook("warn2", clientConfig={"url": "https://127.0.0.1:%d/deny" % hooks.port})
    ok("a certificate nobody vouches for", code == 500 and "certificate" in body["message"], body)
    before = len(hooks.asked())
    for more in ({"objectSelector": {"matchLabels": {"no": "such"}}},
                 {"namespaceSelector": {"matchLabels": {"no": "such"}}},
                 {"matchConditions": [{"name": "c", "expression": "object.metadata.name == 'other'"}]}):
        code, body, _ = with_hook("deny", **more)
        ok("not asked: %s" % list(more)[0], code == 201 and len(hooks.asked()) == before, body)
        api.call("DELETE", MAPS + "/w-deny")
    api.make("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", "d", webhooks=[
        hooks.hook("h", "deny", rules=[dict(RULES[0], operations=["DELETE"])])])
    code, body, _ = api.call("DELETE", MAPS + "/w-allow")
    request = hooks.asked()[-1]["request"]
    ok("deletions are asked about", code == 418 and request["object"] is None
       and request["oldObject"]["metadata"]["name"] == "w-allow", body)
    api.drop("validatingwebhookconfigurations", "d")


def mutating(api, hooks):
    api.make("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", "m", webhooks=[
        hooks.hook("a", "label-a", reinvocationPolicy="IfNeeded"), hooks.hook("b", "label-b")])
    code, body, _ = api.config_map("x")
    ok("patches are applied, and asked again for when others change the object",
       code == 201 and body["metadata"]["labels"] == {"label-a": "2", "label-b": "1"}, body)
    stored = api.call("GET", MAPS + "/x")[1]
    ok("what is stored is what was answered", stored["metadata"] == body["metadata"], stored)
    shown = [q["request"]["object"]["metadata"] for q in hooks.asked() if "label" in q["path"]]
    ok("every question is about the same object", len({m["uid"] for m in shown}) == 1
       and shown[0]["uid"] == body["metadata"]["uid"], shown)
    code, body, _ = api.call("PATCH", MAPS + "/x", {"data": {"k": "v"}}, "application/merge-patch+json")
    ok("an update as well", code == 200 and body["metadata"]["labels"] == {"label-a": "4", "label-b": "2"}
       and hooks.asked()[-1]["request"]["oldObject"]["metadata"]["name"] == "x", body)
    code, body, _ = api.call("POST", MAPS, {"metadata": {"generateName": "g-"}})
    asked = hooks.asked()[-1]["request"]["object"]["metadata"]["name"]
    ok("a generated name stays", code == 201 and body["metadata"]["name"] == asked, (body, asked))
    code, body, _ = api.config_map("dry", query="?dryRun=All")
    ok("dry runs ask too", code == 201 and "label-b" in body["metadata"]["labels"]
       and hooks.asked()[-1]["request"]["dryRun"], body)
    api.drop("mutatingwebhookconfigurations", "m")


def by_service(api, hooks):
    hook = hooks.hook("s", "", clientConfig={"caBundle": hooks.ca, "service": {
        "namespace": "default", "name": "hook", "path": "/deny"}})
    api.make("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", "s", webhooks=[hook])
    code, body, _ = api.config_map("by-service")
    ok("a service that is missing", code == 500 and body["message"].endswith(
        'Post "https://hook.default.svc:443/deny?timeout=1s": service "hook" not found'), body)
    api.call("POST", "/api/v1/namespaces/default/services", {
        "metadata": {"name": "hook"}, "spec": {"selector": {"a": "b"}, "ports": [{"name": "s", "port": 443}]}})
    code, body, _ = api.config_map("by-service")
    ok("a service without endpoints", code == 500 and body["message"].endswith(
        'no endpoints available for service "hook"'), body)
    api.drop("validatingwebhookconfigurations", "s")


def main():
    folder = tempfile.mkdtemp(prefix="trireme-admission-")
    server = replay.Server(os.path.join(sys.argv[1], "trireme-apiserver"))
    hooks = Hooks(folder)
    try:
        api = Api(server.url)
        policies(api)
        validating(api, hooks)
        mutating(api, hooks)
        by_service(api, hooks)
    finally:
        hooks.process.terminate()
        hooks.process.wait()
        clean, log = server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    ok("the server stops in good order", clean, log[-1500:])
    print("%d passed, %d failed" % (passed, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
