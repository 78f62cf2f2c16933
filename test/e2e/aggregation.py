#!/usr/bin/env python3
"""Another API server behind ours: registered with kubectl, used, lost and taken away.

Starts a trireme-apiserver and test/e2e/extension_server.py on an address of this
machine that is not loopback (endpoints may not be).

usage: aggregation.py BIN_DIR
"""
import base64
import json
import os
import re
import shutil
import socket
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

GROUP = "wardle.example.com"
BASE = "/apis/%s/v1alpha1" % GROUP
SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
NAME = "v1alpha1." + GROUP
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def eventually(name, ask, good, seconds=20):
    end = time.time() + seconds
    while True:
        got = ask()
        if good(got) or time.time() > end:
            ok(name, good(got), got)
            return got
        time.sleep(0.05)


class Api:
    def __init__(self, url):
        self.url, self.context = url, ssl._create_unverified_context()

    def open(self, method, path, body=None, kind="application/json", **headers):
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        r = urllib.request.Request(self.url + path, method=method, data=data, headers=dict(
            {"Authorization": "Bearer " + replay.TOKEN, "Content-Type": kind}, **headers))
        return urllib.request.urlopen(r, context=self.context, timeout=30)

    def call(self, *args, **kw):
        """Status, body (parsed when it is JSON), content type."""
        try:
            f = self.open(*args, **kw)
        except urllib.error.HTTPError as e:
            f = e
        with f:
            text, kind = f.read().decode(), f.headers.get("Content-Type", "")
            return f.status, json.loads(text) if "json" in kind else text, kind

    def openapi_v2(self, **headers):
        """Status, body, ETag."""
        try:
            f = self.open("GET", "/openapi/v2", **headers)
        except urllib.error.HTTPError as e:
            f = e
        with f:
            return f.status, f.read(), f.headers["ETag"]

    def condition(self):
        code, body, _ = self.call("GET", SERVICES + "/" + NAME)
        found = [c for c in body.get("status", {}).get("conditions", []) if c["type"] == "Available"]
        return (found[0]["status"], found[0]["reason"], found[0]["message"]) if found else (None, code, None)

    def freshness(self):
        groups = self.call("GET", "/apis", Accept=AGGREGATED)[1]["items"]
        return [v.get("freshness") for g in groups if g["metadata"]["name"] == GROUP for v in g["versions"]]


def address():
    """One of ours that others could reach."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        s.connect(("198.51.100.1", 9))
        return s.getsockname()[0]
    except OSError:
        text = subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout.split()
        return next((a for a in text if "." in a), None)
    finally:
        s.close()


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, stderr=subprocess.DEVNULL)


def certificates(folder):
    def path(name):
        return os.path.join(folder, name)
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    for ca in ("ca", "proxy-ca"):
        openssl("req", "-x509", *new, "-keyout", path(ca + ".key"), "-out", path(ca + ".crt"), "-days", "2",
                "-subj", "/CN=" + ca)
    for name, ca, subject, extra in (("server", "ca", "/CN=wardle", "subjectAltName=DNS:api.wardle.svc"),
                                     ("proxy", "proxy-ca", "/CN=front-proxy-client", "extendedKeyUsage=clientAuth")):
        openssl("req", *new, "-keyout", path(name + ".key"), "-out", path(name + ".csr"), "-subj", subject)
        with open(path(name + ".ext"), "w") as f:
            f.write(extra)
        openssl("x509", "-req", "-in", path(name + ".csr"), "-CA", path(ca + ".crt"), "-CAkey", path(ca + ".key"),
                "-CAcreateserial", "-out", path(name + ".crt"), "-days", "2", "-extfile", path(name + ".ext"))
    return path


class Extension:
    def __init__(self, path, host, *flags):
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "extension_server.py"), host, path("server.crt"), path("server.key"),
             path("proxy-ca.crt"), *flags], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


class Kubectl:
    def __init__(self, folder, url):
        self.config = os.path.join(folder, "kubeconfig")
        with open(self.config, "w") as f:
            json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "c",
                       "clusters": [{"name": "c", "cluster": {"server": url, "insecure-skip-tls-verify": True}}],
                       "users": [{"name": "u", "user": {"token": replay.TOKEN}}],
                       "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}, f)

    def __call__(self, *args, stdin=None):
        r = subprocess.run(["kubectl", "--kubeconfig", self.config, "--cache-dir", self.config + ".cache", *args],
                           input=stdin, capture_output=True, text=True, timeout=60)
        return r.returncode, r.stdout + r.stderr


def manifest(ca):
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "wardle"}},
        {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": NAME}, "spec": {
            "group": GROUP, "version": "v1alpha1", "groupPriorityMinimum": 2000, "versionPriority": 15,
            "caBundle": ca, "service": {"namespace": "wardle", "name": "api"}}}]})


def slices(host, port, ready=True, name="https"):
    return json.dumps({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                       "metadata": {"name": "api-1", "namespace": "wardle",
                                    "labels": {"kubernetes.io/service-name": "api"}},
                       "ports": [{"name": name, "port": port, "protocol": "TCP"}],
                       "endpoints": [{"addresses": [host], "conditions": {"ready": ready}}]})


SERVICE = json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", "namespace": "wardle"},
                      "spec": {"selector": {"app": "api"}, "ports": [{"name": "https", "port": 443}]}})


def becomes(api, name, status, reason, text=""):
    eventually(name, api.condition, lambda c: c[:2] == (status, reason) and text in (c[2] or ""))


def registering(api, kubectl, ca, host, port):
    code, text = kubectl("apply", "-f", "-", stdin=manifest(ca))
    ok("an APIService is applied", code == 0 and "apiservice.apiregistration.k8s.io/%s created" % NAME in text, text)
    becomes(api, "without its service", "False", "ServiceNotFound", 'service/api in "wardle" is not present')
    code, body, kind = api.call("GET", BASE + "/flunders")
    ok("its requests are refused", (code, body, kind) == (503, "service unavailable\n", "text/plain; charset=utf-8"),
       (code, body, kind))
    groups = [g["name"] for g in api.call("GET", "/apis")[1]["groups"]]
    ok("its group is listed, behind the built-in ones", groups[-1] == GROUP, groups)
    ok("and stale", api.freshness() == ["Stale"], api.freshness())
    code, text = kubectl("get", "apiservice", NAME)
    ok("kubectl shows why", "wardle/api" in text and "False (ServiceNotFound)" in text, text)
    kubectl("apply", "-f", "-", stdin=SERVICE)
    becomes(api, "without endpoints", "False", "EndpointsNotFound", 'cannot find endpointslices for service/api in "wardle"')
    kubectl("apply", "-f", "-", stdin=slices(host, port, ready=False))
    becomes(api, "without ready endpoints", "False", "MissingEndpoints",
            'endpointslices for service/api in "wardle" have no addresses with port name "https"')
    kubectl("apply", "-f", "-", stdin=slices(host, 1))
    becomes(api, "nobody there", "False", "FailedDiscoveryCheck", "connection refused")
    kubectl("apply", "-f", "-", stdin=slices(host, port))
    becomes(api, "available", "True", "Passed", "all checks passed")
    eventually("and current", api.freshness, lambda f: f == ["Current"])


def using(api, kubectl, host, port):
    code, text = kubectl("api-resources", "--api-group=" + GROUP)
    ok("kubectl api-resources", re.search(r"flunders +fl +%s/v1alpha1 +true +Flunder" % re.escape(GROUP), text) and
       "fischers" in text, text)
    code, text = kubectl("create", "--validate=false", "-f", "-", stdin=json.dumps({
        "apiVersion": GROUP + "/v1alpha1", "kind": "Flunder", "metadata": {"name": "f1", "namespace": "default"}}))
    ok("kubectl create", code == 0 and "flunder.%s/f1 created" % GROUP in text, text)
    code, text = kubectl("get", "flunders", "-o", "name")
    ok("kubectl get", text.strip() == "flunder.%s/f1" % GROUP, text)
    code, text = kubectl("get", "fl", "f2")
    ok("its errors come through", code != 0 and 'flunders.%s "f2" not found' % GROUP in text, text)
    code, text = kubectl("explain", "flunder.spec")
    ok("kubectl explain", "What is wanted of it." in text, text)
    code, body, _ = api.call("POST", BASE + "/echo?x=%2F&y", b"z" * 5000000, "application/octet-stream", **{
        "X-Remote-User": "mallory", "X-Remote-Group": "system:masters", "X-Remote-Extra-A": "b",
        "Impersonate-User": "jane", "Impersonate-Group": "system:masters", "Impersonate-Extra-Scopes%2fx": "view",
        "Impersonate-Uid": "7"})
    ok("a body beyond our own limit is passed on", code == 200 and body.get("size") == 5000000 and
       body["target"] == BASE + "/echo?x=%2F&y", body)
    got = body.get("headers", [])
    ours = sorted((k, v) for k, v in got if k.startswith("x-remote"))
    ok("the user is told, and nobody else's word counts", ours == [
        ("x-remote-extra-scopes%2fx", "view"), ("x-remote-group", "system:authenticated"), ("x-remote-group", "system:masters"),
        ("x-remote-uid", "7"), ("x-remote-user", "jane")], ours)
    names = [k for k, _ in got]
    ok("credentials stay here", "authorization" not in names and "impersonate-user" not in names, names)
    ok("as do the ways of proxies", dict(got).get("x-forwarded-uri") == BASE + "/echo" and "x-forwarded-for" in names and
       dict(got).get("x-forwarded-proto") == "https" and dict(got).get("audit-id"), got)


def watching(api):
    f = api.open("GET", BASE + "/flunders?watch=true")
    first = json.loads(f.readline())
    api.call("POST", BASE + "/namespaces/default/flunders", {"metadata": {"name": "f3"}})
    second = json.loads(f.readline())
    ok("a watch streams", (first["type"], first["object"]["metadata"]["name"], second["object"]["metadata"]["name"]) ==
       ("ADDED", "f1", "f3"), (first, second))
    f.close()


def upgrading(api):
    host, port = api.url[len("https://"):].split(":")
    s = ssl._create_unverified_context().wrap_socket(socket.create_connection((host, int(port))))
    s.sendall(("GET %s/namespaces/default/flunders/f1/connect HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
               "Connection: Upgrade\r\nUpgrade: echo\r\n\r\n" % (BASE, replay.TOKEN)).encode())
    head = b""
    while b"\r\n\r\n" not in head:
        more = s.recv(4096)
        if not more:
            break
        head += more
    back = b""
    if head.startswith(b"HTTP/1.1 101"):
        s.sendall(b"ping")
        back = s.recv(4)
    ok("an upgraded connection", back == b"ping", (head, back))
    s.close()


def authorization(api):
    code, body, _ = api.call("GET", BASE + "/flunders", **{"Impersonate-User": "nobody"})
    ok("who may not is refused here", code == 403 and body["message"].startswith(
        'flunders.%s is forbidden: User "nobody" cannot list resource "flunders"' % GROUP), body)


def openapi(api):
    paths = api.call("GET", "/openapi/v3")[1]["paths"]
    url = paths.get(BASE[1:], {}).get("serverRelativeURL", "")
    ok("the OpenAPI index has it", url.startswith("/openapi/v3%s?hash=" % BASE), url)
    code, body, _ = api.call("GET", url)
    ok("and its document", code == 200 and "com.example.wardle.v1alpha1.Flunder" in body["components"]["schemas"], code)


def openapi_v2(api, kubectl):
    code, data, tag = api.openapi_v2()
    body = json.loads(data)
    name, raw = "com.example.wardle.v1alpha1.Flunder", "io.k8s.apimachinery.pkg.runtime.RawExtension"
    paths, definitions = body["paths"], body["definitions"]
    own = BASE + "/namespaces/{namespace}/flunders/{name}"
    ok("OpenAPI v2 has its paths", own in paths and "/api/v1/pods" in paths)
    ok("and no others", "/apis/%s/" % GROUP not in paths and paths["/version/"]["get"]["responses"]["200"]["schema"] !=
       {"$ref": "#/definitions/com.example.Unwanted"})
    ok("its definitions", name in definitions and "com.example.Loose" in definitions and
       "com.example.Unwanted" not in definitions, sorted(x for x in definitions if "example" in x))
    properties = definitions[name]["properties"]
    ok("one that means the same is shared", properties["made"]["$ref"] ==
       "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.Time" and
       "io.k8s.apimachinery.pkg.apis.meta.v1.Time_v2" not in definitions, properties)
    ok("one that does not has another name", properties["extension"]["$ref"] == "#/definitions/%s_v2" % raw and
       "properties" in definitions[raw + "_v2"] and "properties" not in definitions[raw], properties)
    ok("its parameters", body["parameters"]["pretty-wardle"]["name"] == "pretty")
    ok("an ETag of the whole", api.openapi_v2(**{"If-None-Match": tag})[0] == 304)
    code, data, same = api.openapi_v2(Accept="application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
    ok("as protobuf too", code == 200 and same == tag and own.encode() in data and (raw + "_v2").encode() in data, code)
    kubectl("annotate", "-n", "wardle", "endpointslice", "api-1", "asked=again", "--overwrite")
    asked = eventually("it is asked for again by its ETag", lambda: api.call("GET", BASE + "/asked")[1],
                       lambda a: a["304"] >= 1)
    ok("and came over once", asked["200"] == 1, asked)
    ok("which changes nothing", api.openapi_v2()[2] == tag)
    return tag


def losing(api, kubectl, path, host, extension, ca):
    extension.stop()
    eventually("it is gone: 503", lambda: api.call("GET", BASE + "/flunders")[:2], lambda a: a[0] == 503)
    # The probe of every half minute would find out; a change of the endpoints says so at once.
    kubectl("annotate", "-n", "wardle", "endpointslice", "api-1", "x=y")
    becomes(api, "and the condition says so", "False", "FailedDiscoveryCheck", "failing or missing response from https://")
    ok("requests need not try any more", api.call("GET", BASE + "/flunders")[:2] == (503, "service unavailable\n"))
    text = api.call("GET", "/metrics")[1]
    ok("as do the metrics", 'aggregator_unavailable_apiservice{name="%s"} 1' % NAME in text, "")
    eventually("what it had is stale", api.freshness, lambda f: f == ["Stale"])
    code, text = kubectl("api-resources", "--api-group=apps")
    ok("other groups do not suffer", code == 0 and "deployments" in text, text)
    fresh = Extension(path, host, "--legacy")
    try:
        kubectl("apply", "-f", "-", stdin=slices(host, fresh.port))
        becomes(api, "another one, of an older kind", "True", "Passed")
        eventually("its discovery is converted", api.freshness, lambda f: f == ["Current"])
        groups = {g["metadata"]["name"]: g for g in api.call("GET", "/apis", Accept=AGGREGATED)[1]["items"]}
        found = groups[GROUP]["versions"][0]["resources"][0]
        ok("with its subresources", found["resource"] == "flunders" and
           [s["subresource"] for s in found["subresources"]] == ["connect"], found)
        with open(path("proxy-ca.crt"), "rb") as f:
            wrong = base64.b64encode(f.read()).decode()
        kubectl("patch", "apiservice", NAME, "--type=merge", "-p", json.dumps({"spec": {"caBundle": wrong}}))
        becomes(api, "a certificate nobody vouches for", "False", "FailedDiscoveryCheck", "certificate")
        kubectl("patch", "apiservice", NAME, "--type=merge", "-p",
                json.dumps({"spec": {"caBundle": None, "insecureSkipTLSVerify": True}}))
        becomes(api, "unless that is asked for", "True", "Passed")
    finally:
        fresh.stop()


def leaving(api, kubectl):
    code, text = kubectl("delete", "apiservice", NAME)
    ok("the APIService is deleted", code == 0, text)
    eventually("its paths are gone", lambda: api.call("GET", BASE + "/flunders")[0], lambda c: c == 404)
    eventually("and its group", lambda: [g["name"] for g in api.call("GET", "/apis")[1]["groups"]], lambda g: GROUP not in g)
    ok("everywhere", api.freshness() == [] and BASE[1:] not in api.call("GET", "/openapi/v3")[1]["paths"])


CRD = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
       "metadata": {"name": "widgets.shop.example.com"}, "spec": {
           "group": "shop.example.com", "scope": "Namespaced",
           "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
           "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}]}}


def customs(api, kubectl):
    kubectl("apply", "-f", "-", stdin=json.dumps(CRD))
    own = SERVICES + "/v1.shop.example.com"
    body = eventually("a custom resource gets an APIService", lambda: api.call("GET", own), lambda a: a[0] == 200)[1]
    ok("with upstream's numbers", body["spec"] == {"group": "shop.example.com", "version": "v1",
       "groupPriorityMinimum": 1000, "versionPriority": 100} and
       body["metadata"]["labels"] == {"kube-aggregator.kubernetes.io/automanaged": "true"}, body)
    api.call("DELETE", own)
    again = eventually("deleted, it comes back", lambda: api.call("GET", own),
                       lambda a: a[0] == 200 and a[1]["metadata"]["uid"] != body["metadata"]["uid"])
    ok("available", again[1]["status"]["conditions"][0]["reason"] == "Local", again)
    kubectl("delete", "crd", "widgets.shop.example.com")
    eventually("and goes with the last definition", lambda: api.call("GET", own)[0], lambda c: c == 404)


def built_in(api):
    items = api.call("GET", SERVICES)[1]["items"]
    ok("every built-in group version has an APIService", len(items) == 21 and all(
        i["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"] == "onstart" and
        i["status"]["conditions"][0]["status"] == "True" for i in items), len(items))
    code, body, _ = api.call("GET", "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")
    data = body.get("data", {})
    ok("extension servers learn whom to trust", "BEGIN CERTIFICATE" in data.get("requestheader-client-ca-file", "") and
       data.get("requestheader-allowed-names") == '["front-proxy-client"]' and
       data.get("requestheader-username-headers") == '["X-Remote-User"]' and
       data.get("requestheader-group-headers") == '["X-Remote-Group"]' and
       data.get("requestheader-extra-headers-prefix") == '["X-Remote-Extra-"]', data)


# What metrics-server's release brings, but for its pods.
METRICS = """
apiVersion: v1
kind: ServiceAccount
metadata: {labels: {k8s-app: metrics-server}, name: metrics-server, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  labels: {k8s-app: metrics-server, rbac.authorization.k8s.io/aggregate-to-admin: "true",
           rbac.authorization.k8s.io/aggregate-to-edit: "true", rbac.authorization.k8s.io/aggregate-to-view: "true"}
  name: system:aggregated-metrics-reader
rules:
- {apiGroups: [metrics.k8s.io], resources: [pods, nodes], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {labels: {k8s-app: metrics-server}, name: metrics-server-auth-reader, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: extension-apiserver-authentication-reader}
subjects:
- {kind: ServiceAccount, name: metrics-server, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {labels: {k8s-app: metrics-server}, name: "metrics-server:system:auth-delegator"}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}
subjects:
- {kind: ServiceAccount, name: metrics-server, namespace: kube-system}
---
apiVersion: v1
kind: Service
metadata: {labels: {k8s-app: metrics-server}, name: metrics-server, namespace: kube-system}
spec:
  ports:
  - {appProtocol: https, name: https, port: 443, protocol: TCP, targetPort: https}
  selector: {k8s-app: metrics-server}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {labels: {k8s-app: metrics-server}, name: v1beta1.metrics.k8s.io}
spec:
  group: metrics.k8s.io
  groupPriorityMinimum: 100
  insecureSkipTLSVerify: true
  service: {name: metrics-server, namespace: kube-system}
  version: v1beta1
  versionPriority: 100
"""


def metrics_server(api, kubectl):
    code, text = kubectl("apply", "-f", "-", stdin=METRICS)
    ok("metrics-server's manifest is taken as it is", code == 0 and text.count(" created") == 6, text)
    sa = {"Impersonate-User": "system:serviceaccount:kube-system:metrics-server"}
    code, body, _ = api.call("GET", "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication", **sa)
    ok("it may read whom to trust", code == 200, body)
    code, body, _ = api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews",
                             {"spec": {"user": "x", "nonResourceAttributes": {"path": "/", "verb": "get"}}}, **sa)
    ok("and ask about users", code == 201, body)
    kubectl("delete", "apiservice", "v1beta1.metrics.k8s.io")


def main():
    host = address()
    if host is None:
        print("left out: this machine has no address but loopback")
        print("0 passed, 0 failed")
        return 0
    folder = tempfile.mkdtemp(prefix="trireme-aggregation-")
    path = certificates(folder)
    server = replay.Server(os.path.join(sys.argv[1], "trireme-apiserver"),
        "--proxy-client-cert-file=" + path("proxy.crt"), "--proxy-client-key-file=" + path("proxy.key"),
        "--requestheader-client-ca-file=" + path("proxy-ca.crt"), "--requestheader-allowed-names=front-proxy-client")
    extension = Extension(path, host)
    try:
        api, kubectl = Api(server.url), Kubectl(folder, server.url)
        with open(path("ca.crt"), "rb") as f:
            ca = base64.b64encode(f.read()).decode()
        built_in(api)
        registering(api, kubectl, ca, host, extension.port)
        using(api, kubectl, host, extension.port)
        watching(api)
        upgrading(api)
        authorization(api)
        openapi(api)
        tag = openapi_v2(api, kubectl)
        losing(api, kubectl, path, host, extension, ca)
        leaving(api, kubectl)
        code, data, now = api.openapi_v2()
        body = json.loads(data)
        ok("OpenAPI v2 as before it came", now != tag and "com.example.wardle.v1alpha1.Flunder" not in
           body["definitions"] and BASE + "/namespaces/{namespace}/flunders/{name}" not in body["paths"])
        customs(api, kubectl)
        metrics_server(api, kubectl)
    finally:
        if extension.process.poll() is None:
            extension.stop()
        clean, log = server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    ok("the server stops in good order", clean, log[-1500:])
    return finish()


if __name__ == "__main__":
    sys.exit(main())
