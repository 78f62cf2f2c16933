#!/usr/bin/env python3
"""VerticalPodAutoscalers: definitions, recommendations, admission, evictions and resizes, and what is left after kill -9.

The API server, the scheduler and the manager are real. The node is an object, its kubelet is played here, and an HTTPS server
on an address of this machine plays metrics.k8s.io behind an APIService. Expected amounts are the project's formulas by hand.

usage: vpa.py BIN_DIR
"""
import http.server
import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import aggregation
import checks
from controller_faults import World, eventually, owner_of
from controllers import served

FLAGS = ("--vertical-pod-autoscaler-sync-period=1s",)
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
VPAS = "/apis/autoscaling.k8s.io/v1/namespaces/%s/verticalpodautoscalers"
CHECKPOINTS = "/apis/autoscaling.k8s.io/v1/namespaces/%s/verticalpodautoscalercheckpoints"
PODS, DEPLOYMENTS = "/api/v1/namespaces/%s/pods", "/apis/apps/v1/namespaces/%s/deployments"
TYPE = {"apiVersion": "autoscaling.k8s.io/v1", "kind": "VerticalPodAutoscaler"}
usage = {}  # Namespace -> (cpu, memory) of every container; None: the API fails.
asked = []


class Metrics(http.server.BaseHTTPRequestHandler):
    world = None

    def answer(self, parts):
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        cpu, memory = usage[parts[0]]
        return {"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "items": [
            {"metadata": {"name": p["metadata"]["name"], "namespace": parts[0]}, "timestamp": now, "window": "30s",
             "containers": [{"name": c["name"], "usage": {"cpu": cpu, "memory": memory}} for c in p["spec"]["containers"]]}
            for p in Metrics.world.api.items(PODS % parts[0]) if p.get("status", {}).get("phase") == "Running"]}

    def do_GET(self):
        path = self.path.split("?")[0].strip("/").split("/")
        asked.append(self.path)
        body, status = {"kind": "APIResourceList", "groupVersion": "metrics.k8s.io/v1beta1", "resources": []}, 200
        if len(path) == 6 and path[3] == "namespaces":
            status = 200 if usage.get(path[4]) else 500
            body = self.answer(path[4:]) if status == 200 else {}
        elif len(path) < 3:
            status = 404
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):
        pass


def begin(w, host, port):
    api = w.api
    api.create("/api/v1/namespaces/default/services", {"metadata": {"name": "usage"}, "spec": {
        "ports": [{"port": 443, "targetPort": port}]}})
    api.create("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", {
        "addressType": "IPv4", "metadata": {"name": "usage-1", "labels": {"kubernetes.io/service-name": "usage"}},
        "endpoints": [{"addresses": [host]}], "ports": [{"port": port, "protocol": "TCP"}]})
    name = "v1beta1.metrics.k8s.io"
    api.call("DELETE", "/apis/apiregistration.k8s.io/v1/apiservices/" + name)
    api.create("/apis/apiregistration.k8s.io/v1/apiservices", {"metadata": {"name": name}, "spec": {
        "group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
        "insecureSkipTLSVerify": True, "service": {"namespace": "default", "name": "usage"}}})
    w.node("n0")
    api.merge("/api/v1/nodes/n0/status", {"status": {"capacity": {"cpu": "64", "memory": "256Gi", "pods": "110"},
                                                    "allocatable": {"cpu": "64", "memory": "256Gi", "pods": "110"}}})


RESOURCES = {"requests": {"cpu": "100m", "memory": "100M"}, "limits": {"cpu": "200m", "memory": "400M"}}


def deploy(w, namespace, replicas, resources=None):
    w.namespace(namespace)
    w.api.create(DEPLOYMENTS % namespace, {"metadata": {"name": "web"}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "none", "resources": resources or RESOURCES}]}}}})
    eventually("%d pods run in %s" % (replicas, namespace), lambda: len(running(w, namespace)) == replicas, quiet=True)


def vpa(name="web", mode=None, target="web", **spec):
    body = {**TYPE, "metadata": {"name": name}, "spec": dict({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}}, **spec)}
    if mode:
        body["spec"]["updatePolicy"] = dict({"updateMode": mode}, **spec.get("updatePolicy", {}))
    return body


def running(w, namespace):
    return [p for p in w.api.items(PODS % namespace)
            if p.get("status", {}).get("phase") == "Running" and "deletionTimestamp" not in p["metadata"]]


def resources(p):
    return p["spec"]["containers"][0]["resources"]


def recommended(w, namespace, name="web"):
    status = w.api.get(VPAS % namespace + "/" + name).get("status", {})
    found = status.get("recommendation", {}).get("containerRecommendations", [])
    return found[0] if found else {}


def conditions(w, namespace, name="web"):
    status = w.api.get(VPAS % namespace + "/" + name).get("status", {})
    return {c["type"]: (c["status"], c.get("message", "")) for c in status.get("conditions", [])}


def events(w, namespace, reason):
    return [e["message"] for e in w.api.items("/api/v1/namespaces/%s/events" % namespace) if e["reason"] == reason]


def checkpoint(w, namespace, name="web-c"):
    return w.api.get(CHECKPOINTS % namespace + "/" + name)


# --- scenarios ------------------------------------------------------------------------------------------------------------------


TARGET = {"cpu": "296m", "memory": "813749082"}  # Of 250m and 700M: the buckets' ends, and 15 per cent.


def definitions(w):
    served(w, "/apis/autoscaling.k8s.io/v1")  # Without anybody's doing.
    kinds = ["verticalpodautoscalercheckpoints", "verticalpodautoscalers", "verticalpodautoscalers/status"]
    eventually("the kinds are there, with status and checkpoints", lambda: sorted(
        r["name"] for r in w.api.get("/apis/autoscaling.k8s.io/v1")["resources"]) == kinds)
    w.namespace("bad")
    for what, spec in (("no target", {"updatePolicy": {"updateMode": "Off"}}),
                       ("an unknown mode", dict(vpa()["spec"], updatePolicy={"updateMode": "Sometimes"})),
                       ("an amount that is none", dict(vpa()["spec"], resourcePolicy={"containerPolicies": [
                           {"containerName": "*", "minAllowed": {"cpu": "much"}}]}))):
        status, body = w.api.call("POST", VPAS % "bad", {**TYPE, "metadata": {"name": "x"}, "spec": spec})
        checks.ok("%s is refused" % what, status == 422, body)


def recommend(w):
    usage["off"] = ("250m", "700M")
    deploy(w, "off", 2)
    w.api.create(VPAS % "off", vpa(mode="Off"))
    eventually("what is used is recommended, with a margin", lambda: recommended(w, "off").get("target") == TARGET or recommended(w, "off"))
    checks.ok("the bounds are wide at first", recommended(w, "off")["upperBound"]["cpu"].endswith(("m", "k", "M", "G")) and
              recommended(w, "off")["lowerBound"] != TARGET, recommended(w, "off"))
    checks.ok("conditions say so", conditions(w, "off") == {"RecommendationProvided": ("True", "")}, conditions(w, "off"))
    path = "labelSelector=app%3Dweb"
    checks.ok("only the target's pods are asked about", any(path in a or "labelSelector=app=web" in a for a in asked), asked[-1:])
    pods = running(w, "off")
    w.api.merge(DEPLOYMENTS % "off" + "/web", {"spec": {"replicas": 3}})
    eventually("mode Off changes nothing", lambda: len(running(w, "off")) == 3)
    checks.ok("of old and new pods", all(resources(p) == RESOURCES for p in running(w, "off")) and
              {p["metadata"]["uid"] for p in pods} < {p["metadata"]["uid"] for p in running(w, "off")}, pods)
    text = subprocess.run(["kubectl", "--kubeconfig", os.path.join(w.dir, "kubeconfig"), "get", "vpa", "-n", "off"],
                          capture_output=True, text=True).stdout.splitlines()
    checks.ok("kubectl get vpa shows the columns", text[0].split() == ["NAME", "MODE", "CPU", "MEM", "PROVIDED", "AGE"] and
              text[1].split()[:5] == ["web", "Off", "296m", "813749082", "True"], text)
    w.api.merge(VPAS % "off" + "/web", {"spec": {"resourcePolicy": {"containerPolicies": [
        {"containerName": "*", "maxAllowed": {"cpu": "200m"}, "controlledResources": ["cpu"]}]}}})
    eventually("a policy bounds it", lambda: recommended(w, "off").get("target") == {"cpu": "200m"} or recommended(w, "off"))
    checks.ok("and what was there before shows", recommended(w, "off")["uncappedTarget"] == {"cpu": "296m"}, recommended(w, "off"))


def unsupported(w):
    w.namespace("lost")
    w.api.create(VPAS % "lost", vpa(target="none-such"))
    eventually("a target that is not there is told", lambda: conditions(w, "lost") == {
        "ConfigUnsupported": ("True", "Cannot read targetRef. Reason: Deployment lost/none-such does not exist"),
        "NoPodsMatched": ("True", "No pods match this VPA object"),
        "RecommendationProvided": ("False", "No pods match this VPA object")} or conditions(w, "lost"))
    w.api.create(VPAS % "lost", {**TYPE, "metadata": {"name": "other"}, "spec": {
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "recommenders": [{"name": "mine"}]}})
    owner = [r for r in w.api.items("/apis/apps/v1/namespaces/off/replicasets")][0]["metadata"]["name"]
    body = vpa("parent", target=owner)
    body["spec"]["targetRef"]["kind"] = "ReplicaSet"
    w.api.create(VPAS % "off", body)
    eventually("so is one that another controller runs", lambda: "has a parent controller" in conditions(
        w, "off", "parent").get("ConfigUnsupported", ("", ""))[1] or conditions(w, "off", "parent"))
    w.api.call("DELETE", VPAS % "off" + "/parent")
    checks.ok("another recommender's are left alone", "status" not in w.api.get(VPAS % "lost" + "/other"))


def initial(w):
    usage["first"] = ("250m", "700M")
    deploy(w, "first", 2)
    w.api.create("/api/v1/namespaces/first/limitranges", {"metadata": {"name": "most"}, "spec": {"limits": [
        {"type": "Container", "max": {"memory": "2G"}}]}})
    w.api.create(VPAS % "first", vpa(mode="Initial"))
    eventually("there is a recommendation", lambda: recommended(w, "first").get("target") == TARGET or recommended(w, "first"))
    old = {p["metadata"]["uid"] for p in running(w, "first")}
    w.api.merge(DEPLOYMENTS % "first" + "/web", {"spec": {"replicas": 3}})
    eventually("one more pod runs", lambda: len(running(w, "first")) == 3)
    new = [p for p in running(w, "first") if p["metadata"]["uid"] not in old]
    # 813749082 would mean a limit of 4 times as much; at 2G the request is 500M.
    checks.ok("and starts with it, limits in proportion and within the LimitRange", resources(new[0]) == {
        "requests": {"cpu": "296m", "memory": "500M"}, "limits": {"cpu": "592m", "memory": "2G"}}, resources(new[0]))
    notes = new[0]["metadata"]["annotations"]
    checks.ok("annotations tell", notes["vpaUpdates"] == "Pod resources updated by web: container 0: memory capped to fit Max in "
              "container LimitRange, cpu request, memory request, cpu limit, memory limit" and
              notes["vpaObservedContainers"] == "c", notes)
    checks.ok("pods that run stay", old < {p["metadata"]["uid"] for p in running(w, "first")})
    w.api.merge(VPAS % "first" + "/web", {"spec": {"resourcePolicy": {"containerPolicies": [
        {"containerName": "c", "mode": "Off"}]}}})
    eventually("a container can be left out", lambda: recommended(w, "first") == {} or recommended(w, "first"))


def recreate(w):
    usage["again"] = ("250m", "700M")
    deploy(w, "again", 4)
    w.api.create("/apis/policy/v1/namespaces/again/poddisruptionbudgets", {"metadata": {"name": "all"}, "spec": {
        "minAvailable": 4, "selector": {"matchLabels": {"app": "web"}}}})
    eventually("a budget stands", lambda: w.api.get("/apis/policy/v1/namespaces/again/poddisruptionbudgets/all").get(
        "status", {}).get("currentHealthy") == 4)
    old = {p["metadata"]["uid"] for p in running(w, "again")}
    w.api.create(VPAS % "again", vpa(mode="Recreate"))
    eventually("there is a recommendation", lambda: recommended(w, "again").get("target") == TARGET or recommended(w, "again"))
    time.sleep(3)  # Three rounds.
    checks.ok("a budget is kept", old == {p["metadata"]["uid"] for p in running(w, "again")})
    w.api.call("DELETE", "/apis/policy/v1/namespaces/again/poddisruptionbudgets/all")
    uid = owner_of(running(w, "again")[0])[2]
    least = [4]

    def done():
        pods = running(w, "again")
        least[0] = min(least[0], len(pods))
        return len(pods) == 4 and not old & {p["metadata"]["uid"] for p in pods} or resources(pods[0]) if pods else "none"
    eventually("without it all pods are made anew", done)
    checks.ok("with the recommendation", all(resources(p)["requests"] == TARGET for p in running(w, "again")),
              [resources(p) for p in running(w, "again")])
    checks.ok("never more than half at once", least[0] >= 2, least)
    checks.ok("and none more than once", len(w.history.of(uid)) == 8, len(w.history.of(uid)))
    eventually("events tell", lambda: len(events(w, "again", "EvictedByVPA")) == 4 and
               all("VPA Updater evicted Pod" in m for m in events(w, "again", "EvictedPod")))


def in_place(w):
    usage["place"] = ("250m", "700M")
    deploy(w, "place", 2)
    old = {p["metadata"]["uid"] for p in running(w, "place")}
    w.api.create(VPAS % "place", vpa(mode="InPlaceOrRecreate"))

    def resized():
        return [p for p in running(w, "place") if resources(p)["requests"] == TARGET]
    eventually("a pod is resized", lambda: len(resized()) >= 1 or [resources(p) for p in running(w, "place")])
    eventually("and annotated", lambda: resized()[0]["metadata"].get("annotations", {}).get("vpaInPlaceUpdated") == "true")
    checks.ok("limits follow", resources(resized()[0])["limits"] == {"cpu": "592m", "memory": "3254996328"}, resources(resized()[0]))
    for p in running(w, "place"):  # The node has done it.
        say(w, "place", p, containerStatuses=[dict(name="c", resources=resources(p), ready=True, restartCount=0, image="none",
                                                   imageID="", state={"running": {}})])
    eventually("then the other", lambda: len(resized()) == 2 or [resources(p) for p in running(w, "place")])
    checks.ok("the pods are the same", old == {p["metadata"]["uid"] for p in running(w, "place")})
    eventually("events tell", lambda: len(events(w, "place", "InPlaceResizedByVPA")) == 2)
    refused = [p for p in running(w, "place") if p["metadata"]["uid"] != resized()[0]["metadata"]["uid"]][0]
    say(w, "place", refused, conditions=[{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}],
        containerStatuses=[dict(name="c", resources=RESOURCES, ready=True, restartCount=0, image="none", imageID="",
                                state={"running": {}})])
    eventually("what the node refuses is evicted", lambda: len(running(w, "place")) == 2 and
               refused["metadata"]["uid"] not in {p["metadata"]["uid"] for p in running(w, "place")})


def say(w, namespace, pod, **status):
    w.api.merge(PODS % namespace + "/%s/status" % pod["metadata"]["name"], {"status": status})


def killed(w):
    """A kill for lack of memory: 1.2 times the request of 1Gi is 1288490188, in a bucket that ends at 1352317511."""
    usage["oom"] = ("10m", "100M")
    deploy(w, "oom", 1, {"requests": {"memory": "1Gi"}})
    w.api.create(VPAS % "oom", vpa(mode="Off"))
    eventually("the least is recommended", lambda: recommended(w, "oom").get("target") == {"cpu": "25m", "memory": "262144k"} or
               recommended(w, "oom"))
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    say(w, "oom", running(w, "oom")[0], containerStatuses=[{
        "name": "c", "ready": True, "restartCount": 1, "image": "none", "imageID": "", "state": {"running": {"startedAt": now}},
        "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137, "startedAt": now, "finishedAt": now}}}])
    eventually("a kill asks for more", lambda: recommended(w, "oom").get("target", {}).get("memory") == "1555165137" or
               recommended(w, "oom"))


def restart(w):
    eventually("what is known is saved", lambda: checkpoint(w, "oom").get("status", {}).get("totalSamplesCount", 0) >= 2 or
               checkpoint(w, "oom"))
    before, samples = recommended(w, "oom")["target"], checkpoint(w, "oom")["status"]["totalSamplesCount"]
    usage["oom"] = None
    w.api.call("DELETE", VPAS % "lost" + "/web")
    usage["late"] = ("250m", "700M")
    deploy(w, "late", 4)
    w.api.create(VPAS % "late", vpa(mode="Recreate"))
    uid = owner_of(running(w, "late")[0])[2]
    eventually("pods are being evicted", lambda: len(w.history.of(uid)) > 4)
    w.manager.kill()
    w.api.call("DELETE", VPAS % "place" + "/web")
    w.api.merge(DEFINITIONS + "/verticalpodautoscalers.autoscaling.k8s.io", {"metadata": {"labels": {"mine": "yes"}},
                "spec": {"names": {"shortNames": ["vpa", "vertical"]}}})
    w.manager.start()
    eventually("after kill -9 evicting goes on", lambda: all(resources(p)["requests"] == TARGET for p in running(w, "late")) and
               len(running(w, "late")) == 4 or [resources(p) for p in running(w, "late")])
    time.sleep(2)
    checks.ok("nothing is forgotten", recommended(w, "oom")["target"] == before, recommended(w, "oom"))
    checks.ok("not even without metrics", conditions(w, "oom")["RecommendationProvided"][0] == "True", conditions(w, "oom"))
    usage["oom"] = ("10m", "100M")
    eventually("samples count on", lambda: checkpoint(w, "oom")["status"]["totalSamplesCount"] > samples)
    checks.ok("and the kill is not counted again", recommended(w, "oom")["target"] == before, recommended(w, "oom"))
    eventually("checkpoints of an autoscaler that is gone go", lambda: w.api.call("GET", CHECKPOINTS % "place" + "/web-c")[0] == 404)
    d = w.api.get(DEFINITIONS + "/verticalpodautoscalers.autoscaling.k8s.io")
    checks.ok("a definition that is there stays as it is", d["metadata"]["labels"] == {"mine": "yes"} and
              d["spec"]["names"]["shortNames"] == ["vpa", "vertical"], d["metadata"])


SCENARIOS = {f.__name__: f for f in (definitions, recommend, unsupported, initial, recreate, in_place, killed, restart)}


def main():
    host = aggregation.address()
    if host is None:
        print("left out: this machine has no address but loopback")
        print("0 passed, 0 failed")
        return 0
    folder = tempfile.TemporaryDirectory(prefix="trireme-vpa-")
    path = aggregation.certificates(folder.name)
    server = http.server.ThreadingHTTPServer((host, 0), Metrics)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path("server.crt"), path("server.key"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    w = Metrics.world = World(sys.argv[1], 1, *FLAGS, scheduler=True)
    try:
        begin(w, host, server.server_address[1])
        for name in sys.argv[2:] or SCENARIOS:
            print("%s:" % name, flush=True)
            SCENARIOS[name](w)
        checks.ok("the manager runs to the end", w.manager.process.poll() is None, w.manager.process.returncode)
        if checks.failed:
            with open(w.log) as f:
                print("".join(f.readlines()[-40:]))
    finally:
        w.down()
        server.shutdown()
        folder.cleanup()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
