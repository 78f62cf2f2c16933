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
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "replay"))
import run as replay  # noqa: E402

from checks import finish, ok  # noqa: E402

GROUP = "/apis/admissionregistration.k8s.io/v1/"
MAPS = "/api/v1/namespaces/default/configmaps"


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
            text = e.read().decode()
            body = json.loads(text) if text.startswith("{") else {"message": text}  # A group nobody knows yet.
            return e.code, body, e.headers.get_all("Warning") or []

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
    api.call("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", {
        "metadata": {"name": "any", "labels": {"kubernetes.io/service-name": "hook"}}, "addressType": "IPv4",
        "ports": [{"name": "s", "port": hooks.port, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": True}}]})
    code, body, _ = api.config_map("by-service")
    ok("a service is found through its slices", code == 500 and "no endpoints" not in body["message"], body)
    api.drop("validatingwebhookconfigurations", "s")


AUDIT = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
"""


def notes(log, name):
    """The annotations of the last request about the object, without those of authorization."""
    time.sleep(0.2)  # The log has a thread of its own.
    with open(log) as f:
        found = [e for e in map(json.loads, f) if (e.get("objectRef") or {}).get("name") == name]
    return {k: v for k, v in found[-1]["annotations"].items() if not k.startswith("authorization")}


def recorded(api, log):
    api.make("validatingadmissionpolicies", "ValidatingAdmissionPolicy", "a", spec={
        "matchConstraints": {"resourceRules": RULES},
        "validations": [{"expression": "object.metadata.name != 'a1'", "message": "not a1"},
                        {"expression": "object.data.size() < 2", "message": "too much"}],
        "auditAnnotations": [{"key": "size", "valueExpression": "string(object.data.size()) + ' entries'"},
                             {"key": "none", "valueExpression": "null"}]})
    api.make("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", "a", spec={
        "policyName": "a", "validationActions": ["Warn", "Audit"]})
    code, body, warnings = api.config_map("a1", {"x": "", "y": ""})
    ok("Warn and Audit refuse nothing, and warn of all", code == 201 and warnings == [
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'a' with binding 'a': %s\"" % w
        for w in ("not a1", "too much")], (body, warnings))
    said = notes(log, "a1")
    ok("what failed is recorded", json.loads(said["validation.policy.admission.k8s.io/validation_failure"]) == [
        {"message": m, "policy": "a", "binding": "a", "expressionIndex": i, "validationActions": ["Warn", "Audit"]}
        for i, m in enumerate(("not a1", "too much"))], said)
    ok("audit annotations are recorded", said.get("a/size") == "2 entries" and "a/none" not in said, said)
    code, body, _ = api.config_map("a2")
    ok("one that cannot be evaluated refuses", code == 422 and "no such key: data" in body["message"], body)
    api.drop("validatingadmissionpolicybindings", "a")
    api.make("validatingadmissionpolicies", "ValidatingAdmissionPolicy", "cost", spec={
        "matchConstraints": {"resourceRules": RULES},
        "validations": [{"expression": "object.data.all(a, object.data.all(b, object.data.all(c, a + b + c != 'x')))"}]})
    api.make("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", "cost", spec={
        "policyName": "cost", "validationActions": ["Deny"]})
    code, body, _ = api.config_map("c1", {"k%03d" % i: "" for i in range(200)})
    ok("an expression that costs too much", code == 422 and "actual cost limit exceeded" in body["message"], body)
    api.drop("validatingadmissionpolicybindings", "cost")


PODS = "/api/v1/namespaces/default/pods"


def pod(name, **spec):
    return {"metadata": {"name": name}, "spec": dict({"automountServiceAccountToken": False, "containers": [
        {"name": "c", "image": "old"}]}, **spec)}


def subresources(api, hooks, log):
    """Policies and webhooks on what is no object of the resource."""
    for path, body in (("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}}),
                       ("/api/v1/nodes", {"metadata": {"name": "n"}}), (PODS, pod("s")), (PODS, pod("t", nodeName="n"))):
        api.call("POST", path, body)
    api.call("POST", "/apis/apps/v1/namespaces/default/deployments", {"metadata": {"name": "d"}, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]}}})
    patch = "application/merge-patch+json"
    cases = (
        ("", "pods/binding", "CREATE", "object.kind == 'Binding' && object.target.name != 'n'",
         ("POST", PODS + "/s/binding", {"metadata": {"name": "s"}, "target": {"kind": "Node", "name": "n"}})),
        ("", "pods/eviction", "CREATE", "object.kind == 'Eviction' && object.metadata.name != 's'",
         ("POST", PODS + "/s/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "s"}})),
        ("apps", "deployments/scale", "UPDATE", "object.kind == 'Scale' && object.spec.replicas < oldObject.spec.replicas",
         ("PATCH", "/apis/apps/v1/namespaces/default/deployments/d/scale", {"spec": {"replicas": 7}}, patch)),
        ("", "pods/status", "UPDATE", "object.kind == 'Pod' && object.status.message != 'm'",
         ("PATCH", PODS + "/s/status", {"status": {"message": "m"}}, patch)),
        ("", "pods/ephemeralcontainers", "UPDATE", "!has(object.spec.ephemeralContainers)",
         ("PATCH", PODS + "/s/ephemeralcontainers", {"spec": {"ephemeralContainers": [{"name": "e", "image": "i"}]}},
          "application/strategic-merge-patch+json")),
        ("", "serviceaccounts/token", "CREATE", "object.kind == 'TokenRequest' && object.spec.expirationSeconds < 700",
         ("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", {"spec": {"expirationSeconds": 800}})),
        ("", "pods/exec", "CONNECT", "object.kind == 'PodExecOptions' && object.command[0] != 'rm'",
         ("POST", PODS + "/t/exec?command=rm&stdout=true", None)),
        ("", "pods/proxy", "CONNECT", "object.kind == 'PodProxyOptions' && object.path != '/secret'",
         ("GET", PODS + "/t/proxy/secret", None)))
    for group, resource, op, expression, call in cases:
        rules = [{"apiGroups": [group], "apiVersions": ["v1"], "operations": [op], "resources": [resource]}]
        api.make("validatingadmissionpolicies", "ValidatingAdmissionPolicy", "sub", spec={
            "matchConstraints": {"resourceRules": rules}, "validations": [{"expression": expression, "message": "no"}]})
        api.make("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", "sub", spec={
            "policyName": "sub", "validationActions": ["Deny"]})
        code, body, _ = api.call(*call)
        ok("a policy on " + resource, code == 422 and body["message"].endswith("denied request: no"), body)
        api.drop("validatingadmissionpolicybindings", "sub")
        api.drop("validatingadmissionpolicies", "sub")
        api.make("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", "sub", webhooks=[
            hooks.hook("h", "deny", rules=rules)])
        code, body, _ = api.call(*call)
        asked = hooks.asked()[-1]["request"]
        ok("a webhook on " + resource, code == 418 and asked["subResource"] == resource.split("/")[1]
           and asked["operation"] == op and asked["resource"]["resource"] == resource.split("/")[0], (body, asked))
        api.drop("validatingwebhookconfigurations", "sub")
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    api.make("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", "i", webhooks=[
        hooks.hook("i", "image", rules=rules, reinvocationPolicy="IfNeeded"), hooks.hook("n", "note", rules=rules)])
    code, body, _ = api.call("POST", PODS, pod("again"))
    ok("plugins run again behind webhooks", code == 201 and body["spec"]["containers"][0]["image"] == "new"
       and len(body["spec"]["tolerations"]) == 2, body)
    asked = [q["request"]["object"]["spec"] for q in hooks.asked() if q["path"].startswith("/image")]
    ok("and the webhook once more behind them", len(asked) == 2 and "tolerations" in asked[1], asked)
    said = notes(log, "again")
    ok("webhooks in the audit log", said.get("n.example.com/seen") == "again" and
       json.loads(said["mutation.webhook.admission.k8s.io/round_0_index_0"]) == {
           "configuration": "i", "webhook": "i.example.com", "mutated": True}, said)
    api.drop("mutatingwebhookconfigurations", "i")


def custom(api, hooks):
    """Policies with parameters of a custom kind, about one, and equivalent versions of it."""
    def version(name, storage):
        return {"name": name, "served": True, "storage": storage, "schema": {"openAPIV3Schema": {
            "type": "object", "x-kubernetes-preserve-unknown-fields": True}}, "subresources": {"status": {}}}
    api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {
        "metadata": {"name": "gadgets.x.io"}, "spec": {
            "group": "x.io", "scope": "Namespaced", "names": {"plural": "gadgets", "kind": "Gadget"},
            "versions": [version("v1", True), version("v2", False)]}})
    url = "/apis/x.io/%s/namespaces/default/gadgets"
    for _ in range(100):
        if api.call("GET", url % "v2")[0] == 200:
            break
        time.sleep(0.05)
    gadget = lambda name, v, **more: api.call("POST", url % v, dict(
        {"apiVersion": "x.io/" + v, "kind": "Gadget", "metadata": {"name": name}}, **more))
    for name, labels in (("p1", {"use": "it"}), ("p2", {"use": "it"}), ("p3", {})):
        api.call("POST", url % "v1", {"apiVersion": "x.io/v1", "kind": "Gadget", "metadata": {
            "name": name, "labels": labels}, "word": name})
    rules = [{"apiGroups": ["x.io"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
              "resources": ["gadgets", "gadgets/status"]}]
    api.make("validatingadmissionpolicies", "ValidatingAdmissionPolicy", "g", spec={
        "paramKind": {"apiVersion": "x.io/v1", "kind": "Gadget"}, "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": "!has(object.word) || object.word != params.word",
                         "messageExpression": "'not ' + params.word + ' as ' + object.apiVersion"}]})
    api.make("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", "g", spec={
        "policyName": "g", "validationActions": ["Deny"], "paramRef": {
            "selector": {"matchLabels": {"use": "it"}}, "namespace": "default", "parameterNotFoundAction": "Deny"}})
    code, body, _ = gadget("c", "v1", word="p2")
    ok("parameters of a custom kind, selected by labels", code == 422 and body["message"].endswith("not p2 as x.io/v1"),
       body)
    code, body, _ = gadget("c", "v1", word="p3")
    ok("and no others", code == 201, body)
    code, body, _ = gadget("c2", "v2", word="p1")
    ok("an equivalent version of a custom kind", code == 422 and body["message"].endswith("not p1 as x.io/v1"), body)
    code, body, _ = api.call("PATCH", url % "v1" + "/c/status", {"status": {"a": "b"}}, "application/merge-patch+json")
    ok("its status", code == 200, body)
    api.drop("validatingadmissionpolicybindings", "g")
    api.make("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", "g", webhooks=[
        hooks.hook("g", "deny", rules=rules), hooks.hook("e", "deny", rules=rules, matchPolicy="Exact")])
    code, body, _ = gadget("c3", "v2")
    asked = hooks.asked()[-1]["request"]
    ok("a webhook about an equivalent version", code == 418 and asked["kind"]["version"] == "v1"
       and asked["requestKind"]["version"] == "v2" and asked["object"]["apiVersion"] == "x.io/v1", (body, asked))
    api.drop("validatingwebhookconfigurations", "g")


def namespaces(api, hooks):
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["namespaces"]}]
    api.make("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", "n", webhooks=[
        hooks.hook("n", "deny", rules=rules, namespaceSelector={"matchLabels": {"guarded": "yes"}})])
    ok("a namespace is selected by its own labels", api.call("POST", "/api/v1/namespaces", {"metadata": {
        "name": "g", "labels": {"guarded": "yes"}}})[0] == 418)
    ok("or not", api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "h"}})[0] == 201)
    api.drop("validatingwebhookconfigurations", "n")
    api.make("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", "o", webhooks=[
        hooks.hook("o", "deny", objectSelector={"matchLabels": {"old": "label"}},
                   rules=[dict(RULES[0], operations=["UPDATE"])])])
    api.call("POST", MAPS, {"metadata": {"name": "labelled", "labels": {"old": "label"}}})
    code, body, _ = api.call("PATCH", MAPS + "/labelled", {"metadata": {"labels": None}}, "application/merge-patch+json")
    ok("an object is selected by the labels it had, too", code == 418, body)
    api.drop("validatingwebhookconfigurations", "o")


def metrics(api):
    r = urllib.request.Request(api.url + "/metrics", headers={"Authorization": "Bearer " + replay.TOKEN})
    with urllib.request.urlopen(r, context=api.context, timeout=30) as f:
        text = f.read().decode()
    for name in ('apiserver_admission_step_admission_duration_seconds_count{type="validate",operation="CREATE",rejected="true"}',
                 'apiserver_admission_controller_admission_duration_seconds_count{name="ServiceAccount",type="admit"',
                 'apiserver_admission_webhook_rejection_count{name="h.example.com",type="validating",operation="CREATE",'
                 'error_type="no_error",rejection_code="418"}',
                 'apiserver_admission_webhook_fail_open_count{name="h.example.com",type="validating"}',
                 'apiserver_validating_admission_policy_check_total{policy="a",policy_binding="a",error_type="no_error",'
                 'enforcement_action="audit"} 2',
                 'apiserver_admission_match_condition_exclusions_total{name="v",kind="policy",type="validate"'):
        ok("metric " + name.split("{")[0], name in text, [x for x in text.splitlines() if x.startswith(name.split("{")[0])][:4])


def main():
    folder = tempfile.mkdtemp(prefix="trireme-admission-")
    log = os.path.join(folder, "audit.log")
    with open(os.path.join(folder, "policy.yaml"), "w") as f:
        f.write(AUDIT)
    server = replay.Server(os.path.join(sys.argv[1], "trireme-apiserver"), "--audit-log-path=" + log,
                           "--audit-policy-file=" + os.path.join(folder, "policy.yaml"))
    hooks = Hooks(folder)
    try:
        api = Api(server.url)
        policies(api)
        validating(api, hooks)
        mutating(api, hooks)
        by_service(api, hooks)
        recorded(api, log)
        subresources(api, hooks, log)
        custom(api, hooks)
        namespaces(api, hooks)
        metrics(api)
    finally:
        hooks.process.terminate()
        hooks.process.wait()
        clean, log = server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    ok("the server stops in good order", clean, log[-1500:])
    return finish()


if __name__ == "__main__":
    sys.exit(main())
