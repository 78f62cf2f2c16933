#!/usr/bin/env python3
"""What people do to workloads and nodes with kubectl, on real controllers and a real scheduler: rollouts with all verbs, scaling,
exposing, Jobs and CronJobs, cordon, drain under a budget, taints, cascades. Outputs are those of a real 1.36 server.

usage: kubectl_workloads.py BIN_DIR

Nodes are objects here, and their kubelets a few threads that let every pod run.
"""
import json
import os
import re
import subprocess
import sys
import threading
import time

import checks
from controller_faults import World, eventually
from controllers import Hearts

NODES = 4


class Kubectl:
    def __init__(self, world):
        self.base = ["kubectl", "--kubeconfig", os.path.join(world.dir, "kubeconfig")]

    def __call__(self, *args, stdin=None, timeout=60):
        """Its exit code and all that it said."""
        r = subprocess.run([*self.base, *args], input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
        return r.returncode, r.stdout + r.stderr

    def says(self, name, wanted, *args, code=0, stdin=None):
        """wanted: the whole text, or a pattern when it is compiled."""
        got, text = self(*args, stdin=stdin)
        match = wanted.search(text) is not None if isinstance(wanted, re.Pattern) else text == wanted
        checks.ok(name, got == code and match, (got, text))

    def get(self, *args):
        """Without the warnings that come along."""
        r = subprocess.run([*self.base, "get", *args, "-o", "json"], capture_output=True, text=True, timeout=60, check=False)
        return json.loads(r.stdout) if r.returncode == 0 else {}

    def value(self, path, *args):
        return self("get", *args, "-o", "jsonpath=" + path)[1]


def rollouts(w, k):
    k.says("create", "deployment.apps/web created\n", "create", "deployment", "web", "--image=one", "--replicas=3")
    k.says("rollout status waits for the end", re.compile('deployment "web" successfully rolled out\n$'), "rollout", "status", "deployment/web")
    k.says("set image", "deployment.apps/web image updated\n", "set", "image", "deployment/web", "one=two")
    k.says("annotate a cause", re.compile("annotated"), "annotate", "deployment/web", "kubernetes.io/change-cause=second image")
    k.says("status again", re.compile("successfully rolled out"), "rollout", "status", "deployment/web")
    eventually("history lists revisions with their cause", lambda: re.search(
        r"^deployment.apps/web \nREVISION  CHANGE-CAUSE\n1         <none>\n2         second image\n",
        k("rollout", "history", "deployment/web")[1]) is not None or k("rollout", "history", "deployment/web"))
    k.says("and shows one", re.compile(r"deployment.apps/web with revision #1\nPod Template:\n  Labels:\tapp=web\n(.*\n)*.*Image:\tone\n"),
           "rollout", "history", "deployment/web", "--revision=1")
    k.says("undo", "deployment.apps/web rolled back\n", "rollout", "undo", "deployment/web")
    k.says("rolls", re.compile("successfully rolled out"), "rollout", "status", "deployment/web")
    checks.ok("back", k.value("{.spec.template.spec.containers[0].image}", "deployment", "web") == "one")
    k.says("undo to a revision", "deployment.apps/web rolled back\n", "rollout", "undo", "deployment/web", "--to-revision=2")
    k.says("that is not there", re.compile("unable to find specified revision 77 in history"), "rollout", "undo", "deployment/web",
           "--to-revision=77", code=1)
    k.says("rolls", re.compile("successfully rolled out"), "rollout", "status", "deployment/web")
    k.says("pause", "deployment.apps/web paused\n", "rollout", "pause", "deployment/web")
    k.says("no restart of what is paused", re.compile("can't restart paused deployment"), "rollout", "restart", "deployment/web", code=1)
    k("set", "image", "deployment/web", "one=three")
    time.sleep(1)
    checks.ok("paused, nothing rolls", k.value("{.status.updatedReplicas}", "deployment", "web") in ("", "0"),
              k.value("{.status}", "deployment", "web"))
    k.says("resume", "deployment.apps/web resumed\n", "rollout", "resume", "deployment/web")
    k.says("rolls", re.compile("successfully rolled out"), "rollout", "status", "deployment/web")
    k.says("restart", "deployment.apps/web restarted\n", "rollout", "restart", "deployment/web")
    k.says("rolls", re.compile("successfully rolled out"), "rollout", "status", "deployment/web")
    images = [p["spec"]["containers"][0]["image"] for p in k.get("pods", "-l", "app=web")["items"] if "deletionTimestamp" not in p["metadata"]]
    checks.ok("three pods of the last image are left", images == ["three"] * 3, images)
    k.says("a rollout that cannot end", "deployment.apps/stuck created\n", "create", "deployment", "stuck", "--image=one", "--replicas=1")
    k("patch", "deployment", "stuck", "-p", '{"spec":{"progressDeadlineSeconds":2,"template":{"spec":{"nodeSelector":{"no":"where"}}}}}')
    k.says("is told", re.compile('error: deployment "stuck" exceeded its progress deadline'), "rollout", "status", "deployment/stuck", code=1)
    k.says("and that waiting for it took too long", re.compile("error: timed out waiting for the condition on deployments/stuck"), "wait",
           "--for=delete", "deployment/stuck", "--timeout=1s", code=1)
    k("delete", "deployment", "stuck")


def sets(w, k):
    template = {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "one"}]}}
    for kind, more in (("StatefulSet", {"serviceName": "db", "replicas": 3}), ("DaemonSet", {})):
        name = kind.lower()
        labels = {"app": name}
        body = {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": dict(
            more, selector={"matchLabels": labels}, template=dict(template, metadata={"labels": labels}))}
        k.says("apply a %s" % kind, "%s.apps/%s created\n" % (name, name), "apply", "-f", "-", stdin=json.dumps(body))
        k.says("it rolls out", re.compile("rolling update complete|partitioned roll out complete|successfully rolled out"),
               "rollout", "status", name + "/" + name)
        k("set", "image", name + "/" + name, "c=two")
        k.says("and again", re.compile("rolling update complete|partitioned roll out complete|successfully rolled out"),
               "rollout", "status", name + "/" + name)
        k.says("with history", re.compile("%s.apps/%s \nREVISION  CHANGE-CAUSE\n1         <none>\n2         <none>\n" % (name, name)),
               "rollout", "history", name + "/" + name)
        k.says("undo", "%s.apps/%s rolled back\n" % (name, name), "rollout", "undo", name + "/" + name)
        k.says("and back", re.compile("rolling update complete|partitioned roll out complete|successfully rolled out"),
               "rollout", "status", name + "/" + name)
        images = {p["spec"]["containers"][0]["image"] for p in k.get("pods", "-l", "app=" + name)["items"]}
        checks.ok("all pods", images == {"one"}, images)
        k.says("restart", "%s.apps/%s restarted\n" % (name, name), "rollout", "restart", name + "/" + name)
        k.says("rolls", re.compile("rolling update complete|partitioned roll out complete|successfully rolled out"),
               "rollout", "status", name + "/" + name)


def scaling(w, k):
    k.says("scale", "deployment.apps/web scaled\n", "scale", "deployment/web", "--replicas=5")
    k.says("only from what was expected", re.compile("Expected replicas to be 2, was 5"), "scale", "deployment/web",
           "--current-replicas=2", "--replicas=3", code=1)
    k.says("several at once", "deployment.apps/web scaled\nstatefulset.apps/statefulset scaled\n", "scale", "--replicas=2",
           "deployment/web", "statefulset/statefulset")
    k.says("wait for it", re.compile("deployment.apps/web condition met"), "wait", "--for=jsonpath={.status.readyReplicas}=2", "deployment/web")
    k.says("autoscale", "horizontalpodautoscaler.autoscaling/web autoscaled\n", "autoscale", "deployment", "web", "--min=4", "--max=6",
           "--cpu-percent=50")
    eventually("the least number holds at once", lambda: k.value("{.spec.replicas}", "deployment", "web") == "4")
    k.says("delete it", re.compile('horizontalpodautoscaler.autoscaling "web" deleted'), "delete", "hpa", "web")


def services(w, k):
    k.says("expose", "service/web exposed\n", "expose", "deployment", "web", "--port=80", "--target-port=8080")
    pods = sorted(p["status"]["podIP"] for p in k.get("pods", "-l", "app=web")["items"] if "deletionTimestamp" not in p["metadata"])
    eventually("its endpoints are the pods", lambda: sorted(a["ip"] for s in k.get("endpoints", "web").get("subsets", []) for a in s.get(
        "addresses", [])) == pods or (k.get("endpoints", "web"), pods))
    k.says("describe shows them", re.compile(r"TargetPort: +8080/TCP\nEndpoints: +10\.99\.\d+\.\d+:8080"), "describe", "service", "web")
    k.says("as a node port", re.compile("service/out exposed"), "expose", "deployment", "web", "--port=80", "--type=NodePort", "--name=out")
    port = k.value("{.spec.ports[0].nodePort}", "service", "out")
    checks.ok("which is given", port.isdigit() and 30000 <= int(port) <= 32767, port)


def jobs(w, k):
    k.says("create a job", "job.batch/once created\n", "create", "job", "once", "--image=ends")
    k.says("wait for its end", "job.batch/once condition met\n", "wait", "--for=condition=complete", "job/once", "--timeout=30s")
    k.says("get shows it", re.compile(r"once +Complete +1/1 +\d"), "get", "job", "once")
    k.says("create a cronjob", "cronjob.batch/often created\n", "create", "cronjob", "often", "--image=ends", "--schedule=0 0 1 1 *")
    k.says("run it by hand", "job.batch/now created\n", "create", "job", "now", "--from=cronjob/often")
    k.says("to its end", "job.batch/now condition met\n", "wait", "--for=condition=complete", "job/now", "--timeout=30s")
    checks.ok("it belongs to the cronjob", k.value("{.metadata.ownerReferences[0].kind}", "job", "now") == "CronJob")
    k.says("delete the cronjob", re.compile('cronjob.batch "often" deleted'), "delete", "cronjob", "often")
    eventually("its job goes with it", lambda: k.get("job", "now") == {})


def on_node(k, node, *more):
    return [p["metadata"]["name"] for p in k.get("pods", "--field-selector", "spec.nodeName=" + node, *more)["items"]
            if "deletionTimestamp" not in p["metadata"]]


def drains(w, k):
    k("scale", "deployment/web", "--replicas=8")
    k("rollout", "status", "deployment/web")
    k.says("cordon", "node/n1 cordoned\n", "cordon", "n1")
    k.says("shows", re.compile(r"n1 +Ready,SchedulingDisabled"), "get", "node", "n1")
    k.says("twice is no error", "node/n1 already cordoned\n", "cordon", "n1")
    before = set(on_node(k, "n1"))
    k("rollout", "restart", "deployment/web")
    k("rollout", "status", "deployment/web")
    checks.ok("nothing new comes to it", set(on_node(k, "n1", "-l", "app=web")) <= before)
    k.says("uncordon", "node/n1 uncordoned\n", "uncordon", "n1")
    k("apply", "-f", "-", stdin=json.dumps({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
                                            "spec": {"minAvailable": 7, "selector": {"matchLabels": {"app": "web"}}}}))
    w.api.create("/api/v1/namespaces/default/pods", {"metadata": {"name": "bare"}, "spec": {
        "nodeName": "n2", "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "one"}]}})
    k.says("drain does not take daemons and bare pods unasked", re.compile(
        r'(?s)cannot delete.*(DaemonSet-managed|declare no controller).*(DaemonSet-managed|declare no controller)'), "drain", "n2", code=1)
    fewest, stop = [99], threading.Event()

    def watch():
        while not stop.wait(0.02):
            ready = [p for p in w.api.items("/api/v1/namespaces/default/pods") if p["metadata"].get("labels", {}).get("app") == "web"
                     and "deletionTimestamp" not in p["metadata"]
                     and any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", []))]
            fewest[0] = min(fewest[0], len(ready))
    eventually("the budget counts eight", lambda: k.value("{.status.disruptionsAllowed}", "pdb", "web") == "1")
    watcher = threading.Thread(target=watch)
    watcher.start()
    k.says("drain", re.compile("node/n2 drained\n"), "drain", "n2", "--ignore-daemonsets", "--force", "--timeout=50s")
    stop.set()
    watcher.join()
    checks.ok("under its budget", fewest[0] >= 7, fewest)
    eventually("only daemons are left", lambda: len(on_node(k, "n2")) == 1 and "daemonset" in on_node(k, "n2")[0] or on_node(k, "n2"))
    k("uncordon", "n2")
    k.says("taint", "node/n3 tainted\n", "taint", "node", "n3", "only=friends:NoExecute")
    eventually("who does not tolerate it leaves", lambda: not on_node(k, "n3", "-l", "app=web") or on_node(k, "n3"))
    k.says("describe shows it", re.compile(r"Taints: +only=friends:NoExecute\n"), "describe", "node", "n3")
    k.says("untaint", "node/n3 untainted\n", "taint", "node", "n3", "only-")
    k.says("what is not there", re.compile('taint "none" not found'), "taint", "node", "n3", "none-", code=1)


def cascades(w, k):
    k("delete", "pdb", "web")
    k.says("delete without what it owns", re.compile('deployment.apps "web" deleted'), "delete", "deployment", "web", "--cascade=orphan")
    time.sleep(1)
    sets_left = k.get("rs", "-l", "app=web")["items"]
    checks.ok("its ReplicaSets stay, and are free", sets_left and not any(s["metadata"].get("ownerReferences") for s in sets_left))
    k.says("delete in the foreground", re.compile("deleted"), "delete", "rs", "-l", "app=web", "--cascade=foreground")
    checks.ok("waits until the pods are gone", k.get("pods", "-l", "app=web")["items"] == [])


SCENARIOS = (rollouts, sets, scaling, services, jobs, drains, cascades)


class Addresses:
    """What a CNI plugin would do: every running pod has an address."""

    def __init__(self, api, history):
        self.api, self.count, self.known = api, 0, set()
        history.listeners.append(self.see)

    def see(self, event):
        pod = event["object"]
        uid = pod["metadata"]["uid"]
        if event["type"] == "DELETED" or not pod["spec"].get("nodeName") or uid in self.known:
            return
        self.known.add(uid)
        self.count += 1
        ip = "10.99.%d.%d" % (self.count // 250, self.count % 250 + 1)
        phase = "Succeeded" if pod["spec"]["containers"][0]["image"] == "ends" else "Running"
        status = {"phase": phase, "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [] if phase != "Running" else [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}]}
        path = "/api/v1/namespaces/%s/pods/%s/status" % (pod["metadata"]["namespace"], pod["metadata"]["name"])
        threading.Thread(target=lambda: self.api.merge(path, {"status": status}), daemon=True).start()


def main():
    w = World(sys.argv[1], 1, scheduler=True)
    try:
        Addresses(w.api, w.history)
        hearts, k = Hearts(w.api), Kubectl(w)
        for i in range(NODES):
            name = "n%d" % i
            w.node(name)
            w.api.merge("/api/v1/nodes/%s/status" % name, {"status": {
                "capacity": {"cpu": "64", "memory": "64Gi", "pods": "110"}, "allocatable": {"cpu": "64", "memory": "64Gi", "pods": "110"}}})
            hearts.names.add(name)
        for scenario in SCENARIOS:
            print("%s:" % scenario.__name__, flush=True)
            scenario(w, k)
        if checks.failed:
            with open(w.log) as f:
                print("".join(f.readlines()[-20:]))
    finally:
        w.down()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
