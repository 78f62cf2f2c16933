#!/usr/bin/env python3
"""ImagePolicyWebhook, NamespaceAutoProvision, PodTolerationRestriction and the cache of EventRateLimit.

usage: admission_images.py BIN_DIR
"""
import http.server
import json
import os
import shutil
import sys
import tempfile
import threading

import checks
from admission import Api, ok, replay
from admission_plugins import PODS, make_namespace, pod

CONFIG = """apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: ImagePolicyWebhook
  configuration:
    imagePolicy: {kubeConfigFile: %s/images.kubeconfig, allowTTL: 60, denyTTL: -1, retryBackoff: 1, defaultAllow: false}
- name: PodTolerationRestriction
  configuration:
    apiVersion: podtolerationrestriction.admission.k8s.io/v1alpha1
    kind: Configuration
    default: [{key: pool, operator: Equal, value: common, effect: NoSchedule}]
- name: EventRateLimit
  configuration:
    apiVersion: eventratelimit.admission.k8s.io/v1alpha1
    kind: Configuration
    limits: [{type: Namespace, qps: 1, burst: 1, cacheSize: 2}]
"""
KUBECONFIG = """apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:%d/images"}}]
contexts: [{name: x, context: {cluster: c}}]
current-context: x
"""
asked = []


class Images(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked.append(review)
        images = [c["image"] for c in review["spec"]["containers"]]
        status = {"allowed": "evil" not in images, "auditAnnotations": {"seen": ",".join(images)}}
        if "evil" in images:
            status["reason"] = "evil is not signed"
        body = json.dumps(dict(review, status=status)).encode()
        self.send_response(500 if "broken" in images else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def images(api):
    make_namespace(api, "i")
    good = pod("good", container={"image": "good"}, initContainers=[{"name": "n", "image": "first"}])
    good["metadata"]["annotations"] = {"a.image-policy.k8s.io/ticket": "1", "other": "2"}
    code, body, _ = api.call("POST", PODS % "i", good)
    ok("an image is let in", code == 201 and len(asked) == 1 and asked[0]["kind"] == "ImageReview" and asked[0]["spec"] == {
        "containers": [{"image": "good"}, {"image": "first"}], "annotations": {"a.image-policy.k8s.io/ticket": "1"},
        "namespace": "i"}, (body, asked))
    code, body, _ = api.call("POST", PODS % "i", dict(good, metadata=dict(good["metadata"], name="again")))
    ok("what was allowed is known", code == 201 and len(asked) == 1, (body, len(asked)))
    code, body, _ = api.call("POST", PODS % "i", pod("bad", container={"image": "evil"}))
    ok("a denied image", (code, body["message"]) == (403, 'pods "bad" is forbidden: image policy webhook backend denied one '
                                                     'or more images: evil is not signed'), body)
    n = len(asked)
    api.call("POST", PODS % "i", pod("bad", container={"image": "evil"}))
    ok("denials are not kept, as configured", len(asked) == n + 1, len(asked))
    code, body, _ = api.call("POST", PODS % "i", pod("b", container={"image": "broken"}))
    ok("a webhook that fails refuses", code == 403 and body["message"].startswith('pods "b" is forbidden: '), body)
    code, body, _ = api.call("PATCH", PODS % "i" + "/good/ephemeralcontainers", {"spec": {
        "ephemeralContainers": [{"name": "e", "image": "evil"}]}}, "application/strategic-merge-patch+json")
    ok("ephemeral containers are asked about", code == 403 and asked[-1]["spec"]["containers"] == [{"image": "evil"}], body)


def namespaces(api):
    code, body, _ = api.call("POST", "/api/v1/namespaces/dry/configmaps?dryRun=All", {"metadata": {"name": "c"}})
    ok("a dry run makes no namespace", code == 404 and api.call("GET", "/api/v1/namespaces/dry")[0] == 404, body)
    code, body, _ = api.call("POST", "/api/v1/namespaces/new/configmaps", {"metadata": {"name": "c"}})
    ok("what is made in a namespace makes it", code == 201, body)
    code, body, _ = api.call("GET", "/api/v1/namespaces/new")
    ok("as if somebody had", code == 200 and body["spec"] == {"finalizers": ["kubernetes"]} and
       body["status"] == {"phase": "Active"} and body["metadata"]["labels"] == {"kubernetes.io/metadata.name": "new"}, body)
    code, body, _ = api.call("POST", PODS % "newer", pod("p"))
    ok("it stays when the write is refused", code == 403 and api.call("GET", "/api/v1/namespaces/newer")[0] == 200, body)
    code, body, _ = api.call("GET", "/api/v1/namespaces/newest/configmaps")
    ok("reading makes none", code == 200 and api.call("GET", "/api/v1/namespaces/newest")[0] == 404, body)


def tolerations(api):
    wanted = {"key": "pool", "operator": "Equal", "value": "common", "effect": "NoSchedule"}
    code, body, _ = api.call("POST", PODS % "i", pod("t"))
    ok("the cluster's tolerations are added", code == 201 and wanted in body["spec"]["tolerations"], body["spec"])
    listed = [{"key": "own", "operator": "Exists"}, {"operator": "Exists", "effect": "NoExecute"}]
    make_namespace(api, "t", {
        "scheduler.alpha.kubernetes.io/defaultTolerations": json.dumps([{"key": "own", "operator": "Exists"}]),
        "scheduler.alpha.kubernetes.io/tolerationsWhitelist": json.dumps(listed)})
    code, body, _ = api.call("POST", PODS % "t", pod("in", tolerations=[{"key": "own", "value": "v", "effect": "NoSchedule"}]))
    ok("the namespace's own, of which the wider ones stay", code == 201 and
       [t for t in body["spec"]["tolerations"] if t.get("key") == "own"] == [{"key": "own", "operator": "Exists"}], body)
    code, body, _ = api.call("POST", PODS % "t", pod("out", tolerations=[{"key": "pool", "operator": "Exists"}]))
    ok("one that is not listed", code == 500 and body["message"] == "pod tolerations (possibly merged with namespace "
       "default tolerations) conflict with its namespace whitelist", body)
    make_namespace(api, "q", {"scheduler.alpha.kubernetes.io/defaultTolerations": ""})
    code, body, _ = api.call("POST", PODS % "q", pod("r", container={"resources": {"limits": {"memory": "1Mi"}}}))
    keys = [t["key"] for t in body["spec"]["tolerations"]]
    ok("pods with a guarantee bear little memory; an empty annotation adds nothing", code == 201 and
       "node.kubernetes.io/memory-pressure" in keys and "pool" not in keys, body["spec"])


def rates(api):
    def event(ns):
        return api.call("POST", "/api/v1/namespaces/%s/events" % ns, {
            "metadata": {"generateName": "e"}, "involvedObject": {"namespace": ns}, "reason": "r"})[0]
    codes = [event(ns) for ns in ("i", "i", "t", "i")]
    ok("each namespace has its bucket", codes == [201, 429, 201, 429], codes)
    codes = [event(ns) for ns in ("q", "t", "i")]
    ok("the one that was used longest ago makes room", codes[0] == 201 and codes[1] == 201, codes)


def main():
    binary, folder = sys.argv[1], tempfile.mkdtemp(prefix="trireme-images-")
    webhook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Images)
    threading.Thread(target=webhook.serve_forever, daemon=True).start()
    for name, text in (("config.yaml", CONFIG % folder), ("images.kubeconfig", KUBECONFIG % webhook.server_port)):
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
    server = replay.Server(
        os.path.join(binary, "trireme-apiserver"), "--admission-control-config-file=" + os.path.join(folder, "config.yaml"),
        "--enable-admission-plugins=ImagePolicyWebhook,NamespaceAutoProvision,PodTolerationRestriction,EventRateLimit")
    try:
        api = Api(server.url)
        images(api)
        namespaces(api)
        tolerations(api)
        rates(api)
    finally:
        clean, text = server.stop()
        webhook.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
    ok("the server stops in good order", clean, text[-1500:])
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
