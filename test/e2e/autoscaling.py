#!/usr/bin/env python3
"""HorizontalPodAutoscalers against metrics APIs that say what the test wants.

Starts a control plane on loopback with `trireme up`, a node and pods that are objects only, and an HTTPS server on an
address of this machine that plays metrics.k8s.io, custom.metrics.k8s.io and external.metrics.k8s.io behind APIServices.

usage: autoscaling.py BIN_DIR
"""
import http.server
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import aggregation as base
import checks

sys.path.insert(0, os.path.join(base.HERE, ".."))
import ports  # noqa: E402

FLAGS = ("--controllers=*,-node-lifecycle-controller,-taint-eviction-controller "
         "--horizontal-pod-autoscaler-sync-period=1s --horizontal-pod-autoscaler-cpu-initialization-period=0s")
told = {"cpu": "500m", "custom": "10", "external": "10", "object": "10", "broken": False}
asked = []


class Metrics(http.server.BaseHTTPRequestHandler):
    """Tells every pod the same."""
    kubectl = None

    def answer(self, path):
        group = path.split("/")[2]
        parts = path.split("/")[4:]
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if not parts or parts == [""]:
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group + "/" + path.split("/")[3],
                    "resources": []}
        if group == "metrics.k8s.io":
            return {"kind": "PodMetricsList", "items": [
                {"metadata": {"name": p}, "timestamp": now, "window": "30s",
                 "containers": [{"name": "c", "usage": {"cpu": told["cpu"]}}]} for p in Metrics.kubectl.pods()]}
        if group == "external.metrics.k8s.io":
            return {"kind": "ExternalMetricValueList", "items": [{"metricName": parts[2], "value": told["external"]}]}
        if parts[2] == "pods":
            return {"kind": "MetricValueList", "items": [
                {"describedObject": {"kind": "Pod", "name": p}, "timestamp": now, "value": told["custom"]}
                for p in Metrics.kubectl.pods()]}
        return {"kind": "MetricValueList", "items": [{"describedObject": {}, "timestamp": now, "value": told["object"]}]}

    def do_GET(self):
        path = self.path.split("?")[0].rstrip("/")
        asked.append(self.path)
        if told["broken"] and "/namespaces/" in path:
            self.send_error(500)
            return
        body = json.dumps(self.answer(path)).encode() if path.startswith("/apis/") and len(path.split("/")) > 3 else b"{}"
        self.send_response(200 if body != b"{}" else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Cluster:
    def __init__(self, binaries, folder):
        self.trireme, self.dir = os.path.join(binaries, "trireme"), os.path.join(folder, "c")
        subprocess.run([self.trireme, "up", "--control-planes", "1", "--workers", "0", "--loopback", "--dir", self.dir,
                        "--base-port", str(ports.free_block()), "--controller-manager-args", FLAGS], check=True,
                       stdout=subprocess.DEVNULL)

    def kill_manager(self):
        with open(os.path.join(self.dir, "hosts", "cp-1", "run", "controller-manager.pid")) as f:
            os.kill(int(f.read().split()[0]), signal.SIGKILL)
        subprocess.run([self.trireme, "host", "start", "cp-1", "--dir", self.dir], check=True, stdout=subprocess.DEVNULL)

    def kubectl(self, *args, stdin=None):
        r = subprocess.run(["kubectl", "--kubeconfig", os.path.join(self.dir, "kubeconfig"), *args], input=stdin,
                           capture_output=True, text=True, timeout=60)
        return r.returncode, r.stdout + r.stderr

    def get(self, *args):
        code, text = self.kubectl("get", *args, "-o", "json")
        return json.loads(text) if code == 0 else {}

    def apply(self, *objects):
        code, text = self.kubectl("apply", "-f", "-", stdin=json.dumps(
            {"apiVersion": "v1", "kind": "List", "items": list(objects)}))
        checks.ok("objects are applied", code == 0, text)

    def pods(self):
        return [p["metadata"]["name"] for p in self.get("pods").get("items", []) if "deletionTimestamp" not in p["metadata"]]

    def run_pods(self):
        """What a kubelet would say and do of each pod; how many run."""
        running = 0
        for p in self.get("pods").get("items", []):
            if "deletionTimestamp" in p["metadata"]:
                self.kubectl("delete", "pod", p["metadata"]["name"], "--force", "--grace-period=0", "--wait=false")
                continue
            running += 1
            if p.get("status", {}).get("phase") == "Running":
                continue
            old = "2020-01-01T00:00:00Z"
            status = {"status": {"phase": "Running", "startTime": old, "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": old}]}}
            self.kubectl("patch", "pod", p["metadata"]["name"], "--subresource=status", "--type=merge", "-p", json.dumps(status))
        return running

    def hpa(self, name="web"):
        return self.get("hpa.v2.autoscaling", name)

    def replicas(self):
        self.run_pods()
        return self.get("deployment", "web").get("spec", {}).get("replicas")

    def condition(self, kind):
        found = [c for c in self.hpa().get("status", {}).get("conditions", []) if c["type"] == kind]
        return (found[0]["status"], found[0]["reason"], found[0]["message"]) if found else None

    def down(self):
        subprocess.run([self.trireme, "down", "--dir", self.dir], check=False)


def hpa(*metrics, most=10):
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": most,
                     "metrics": list(metrics), "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}}


CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
CUSTOM = {"type": "Pods", "pods": {"metric": {"name": "requests"}, "target": {"type": "AverageValue", "averageValue": "10"}}}
EXTERNAL = {"type": "External", "external": {"metric": {"name": "queue", "selector": {"matchLabels": {"q": "a"}}},
                                             "target": {"type": "AverageValue", "averageValue": "10"}}}
OBJECT = {"type": "Object", "object": {"metric": {"name": "hits"}, "target": {"type": "Value", "value": "10"},
                                       "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "api"}}}


def begin(c, host, port):
    services = [{"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": v + "." + g}, "spec": {
        "group": g, "version": v, "groupPriorityMinimum": 100, "versionPriority": 100, "insecureSkipTLSVerify": True,
        "service": {"namespace": "default", "name": "api"}}} for g, v in (
            ("metrics.k8s.io", "v1beta1"), ("custom.metrics.k8s.io", "v1beta2"), ("external.metrics.k8s.io", "v1beta1"))]
    c.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", "namespace": "default"},
             "spec": {"ports": [{"port": 443, "targetPort": port}]}},
            {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
             "metadata": {"name": "api-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "api"}},
             "endpoints": [{"addresses": [host]}], "ports": [{"port": port, "protocol": "TCP"}]},
            {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "api", "namespace": "default"},
             "subsets": [{"addresses": [{"ip": host}], "ports": [{"port": port}]}]},
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}, *services,
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}, "spec": {
                "replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
                    "metadata": {"labels": {"app": "web"}}, "spec": {"nodeName": "n", "containers": [
                        {"name": "c", "image": "busybox", "resources": {"requests": {"cpu": "1"}}}]}}}})
    base.eventually("two pods run", c.run_pods, lambda n: n == 2)


def scale_by_cpu(c):
    c.apply(hpa(CPU))
    base.eventually("half the request is what is wanted", lambda: c.condition("ScalingActive"),
                    lambda x: x == ("True", "ValidMetricFound", "the HPA was able to successfully calculate a replica count "
                                    "from cpu resource utilization (percentage of request)"))
    checks.ok("and nothing changes", c.replicas() == 2, c.replicas())
    told["cpu"] = "1"
    base.eventually("busy pods become more", c.replicas, lambda n: n == 4)
    told["cpu"] = "500m"
    base.eventually("describe shows the event", lambda: c.kubectl("describe", "hpa", "web")[1], lambda text:
                    "New size: 4; reason: cpu resource utilization (percentage of request) above target" in text)
    told["cpu"] = "3"
    base.eventually("never more than maxReplicas", c.replicas, lambda n: n == 10, 40)
    base.eventually("and that shows", lambda: (c.run_pods(), c.condition("ScalingLimited"))[1],
                    lambda x: x is not None and x[:2] == ("True", "TooManyReplicas"), 40)
    told["cpu"] = "50m"
    base.eventually("idle pods become fewer", c.replicas, lambda n: n == 1, 40)
    status = c.hpa()["status"]
    checks.ok("the status has the metric", status["currentMetrics"][0]["resource"]["name"] == "cpu", status)


def lose_metrics(c):
    told["broken"] = True
    base.eventually("lost metrics are told", lambda: c.condition("ScalingActive"),
                    lambda x: x is not None and x[:2] == ("False", "FailedGetResourceMetric") and
                    "unable to fetch metrics from resource metrics API" in x[2])
    checks.ok("and nothing changes", c.replicas() == 1, c.replicas())
    told["broken"] = False
    base.eventually("and it goes on", lambda: c.condition("ScalingActive"), lambda x: x[1] == "ValidMetricFound")


def other_metrics(c):
    told.update(custom="30", external="10", object="10")
    c.apply(hpa(CUSTOM))
    base.eventually("a metric of pods", c.replicas, lambda n: n is not None and n >= 3)
    told["custom"] = "1"
    c.apply(hpa(EXTERNAL))
    told["external"] = "50"
    base.eventually("an external metric", c.replicas, lambda n: n == 5)
    checks.ok("is asked for with its selector", any("/queue?labelSelector=q%3Da" in p or "/queue?labelSelector=q=a" in p for p in asked),
            [p for p in asked if "queue" in p][:1])
    told["object"] = "4"
    c.apply(hpa(OBJECT))
    base.eventually("an object's metric", c.replicas, lambda n: n == 1)
    checks.ok("is asked for at its object", any("/namespaces/default/services/api/hits" in p for p in asked), asked[-1:])
    c.apply(hpa(EXTERNAL, {"type": "Pods", "pods": dict(CUSTOM["pods"], metric={"name": "other"})}))
    told["custom"] = "1"
    base.eventually("the largest wins", c.replicas, lambda n: n == 5)


def killed(c):
    """The manager is killed again and again while it scales: the number is right in the end, and no more pods than that were made."""
    told["cpu"] = "500m"
    c.kubectl("delete", "hpa", "web")
    c.kubectl("scale", "deployment", "web", "--replicas=2")
    base.eventually("two pods run", c.run_pods, lambda n: n == 2)
    before = c.pods()
    c.apply(hpa(CPU, most=8))
    told["cpu"] = "2"
    for _ in range(5):
        c.kill_manager()
        time.sleep(0.3)
        c.run_pods()
    base.eventually("killed five times, it scales all the same", c.replicas, lambda n: n == 8, 60)
    base.eventually("to as many as may be", c.run_pods, lambda n: n == 8)
    checks.ok("and keeps the pods that there were", set(before) <= set(c.pods()), (before, c.pods()))
    told["cpu"] = "50m"
    for _ in range(3):
        c.kill_manager()
        time.sleep(0.3)
    base.eventually("and down again", c.replicas, lambda n: n == 1, 60)


def refuse(c):
    bad = hpa(CPU)
    bad["metadata"]["name"] = "lost"
    bad["spec"]["scaleTargetRef"]["name"] = "none-such"
    c.apply(bad)
    base.eventually("a target that is not there", lambda: json.dumps(c.hpa("lost").get("status", {})),
                    lambda s: 'deployments.apps \\"none-such\\" not found' in s)
    c.kubectl("delete", "hpa", "lost")
    c.kubectl("scale", "deployment", "web", "--replicas=0")
    base.eventually("nothing is woken from zero", lambda: c.condition("ScalingActive"),
                    lambda x: x[:2] == ("False", "ScalingDisabled"))
    checks.ok("and stays", c.replicas() == 0, c.replicas())


def main():
    host = base.address()
    if host is None:
        print("left out: this machine has no address but loopback")
        print("0 passed, 0 failed")
        return 0
    folder = tempfile.mkdtemp(prefix="trireme-autoscaling-")
    path = base.certificates(folder)
    server = http.server.ThreadingHTTPServer((host, 0), Metrics)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path("server.crt"), path("server.key"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    c = Metrics.kubectl = Cluster(sys.argv[1], folder)
    try:
        begin(c, host, server.server_address[1])
        scale_by_cpu(c)
        lose_metrics(c)
        other_metrics(c)
        killed(c)
        refuse(c)
    finally:
        c.down()
        server.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
