#!/usr/bin/env python3
"""Extenders of the scheduler: HTTP servers of ours that filter, score, evict and bind, fail, answer late or lie, each for the
pods that ask for its resource; the scheduler and the API server are real, nodes are objects.

usage: extenders.py BIN_DIR
"""
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
import time

import checks
from controller_faults import World, eventually
from controllers import CORE, told

NODES = ["n1", "n2", "n3"]


class Extender(http.server.BaseHTTPRequestHandler):
    asked = []  # (path, body)
    answers = {}  # path -> body -> answer, or a number: the status
    lock = threading.Lock()

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock:
            self.asked.append((self.path, body))
        answer = self.answers[self.path](body)
        text = json.dumps(answer if not isinstance(answer, int) else {}).encode()
        self.send_response(answer if isinstance(answer, int) else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        try:
            self.wfile.write(text)
        except OSError:
            pass  # It came too late.

    def log_message(self, *args):
        pass


def serve(context=None):
    server = checks.Server(("127.0.0.1", 0), Extender)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def asked(path):
    return [body for p, body in Extender.asked if p == path]


def configuration(w, port, tls_port):
    def extender(name, **more):
        return dict({"urlPrefix": "http://127.0.0.1:%d/%s/" % (port, name), "filterVerb": "filter", "nodeCacheCapable": True,
                     "managedResources": [{"name": "example.com/" + name, "ignoredByScheduler": True}]}, **more)
    secure = extender("secure", enableHTTPS=True, tlsConfig={"caFile": os.path.join(w.pki, "ca.crt")})
    secure["urlPrefix"] = "https://127.0.0.1:%d/secure" % tls_port
    text = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
            "leaderElection": {"leaderElect": False}, "extenders": [
                extender("names", prioritizeVerb="prioritize", weight=5),
                extender("whole", nodeCacheCapable=False),
                extender("broken"), extender("spare", ignorable=True),
                extender("binder", bindVerb="bind"),
                extender("slow", httpTimeout="1s"),
                extender("liar"),
                dict(extender("victims", preemptVerb="preempt"), filterVerb=""), secure]}
    path = os.path.join(w.folder, "scheduler.json")
    with open(path, "w") as f:
        json.dump(text, f)
    return path


def pod(w, name, resource=None, **more):
    spec = {"containers": [{"name": "c", "image": "none", "env": [{"name": "A", "value": "b"}]}]}
    if resource:
        spec["containers"][0]["resources"] = {"limits": {"example.com/" + resource: "1"}}
    for key, value in more.pop("requests", {}).items():
        spec["containers"][0].setdefault("resources", {}).setdefault("requests", {})[key] = value
    return w.api.create(CORE % "default" + "pods", {"metadata": {"name": name, "annotations": {"note": name}}, "spec": dict(spec, **more)})


def node_of(w, name):
    return w.api.get(CORE % "default" + "pods/" + name).get("spec", {}).get("nodeName")


def placed(w, name, node=None):
    return lambda: (node_of(w, name) == node if node else node_of(w, name) is not None) or w.api.get(CORE % "default" + "pods/" + name)


# --- scenarios ------------------------------------------------------------------------------------------------------------------

def filters(w):
    Extender.answers["/names/filter"] = lambda b: {"NodeNames": ["n2"], "FailedNodes": {"n1": "no", "n3": "no"}}
    Extender.answers["/names/prioritize"] = lambda b: []
    pod(w, "p1", "names")
    eventually("an extender's filter decides", placed(w, "p1", "n2"))
    seen = asked("/names/filter")[0]
    checks.ok("it is told the nodes' names", sorted(seen["NodeNames"]) == NODES and seen["Nodes"] is None, seen)
    checks.ok("and the whole pod", seen["Pod"]["metadata"]["annotations"] == {"note": "p1"} and
              seen["Pod"]["spec"]["containers"][0]["env"] == [{"name": "A", "value": "b"}], seen["Pod"])
    checks.ok("with one node left nobody scores", asked("/names/prioritize") == [])
    pod(w, "p2")
    eventually("pods without its resource are placed without it", placed(w, "p2"))
    checks.ok("unasked", len(Extender.asked) == 1, Extender.asked)
    Extender.answers["/whole/filter"] = lambda b: {"Nodes": {"items": [n for n in b["Nodes"]["items"] if n["metadata"]["name"] == "n3"]}}
    pod(w, "p3", "whole")
    eventually("one that does not know the nodes is shown them", placed(w, "p3", "n3"))
    seen = asked("/whole/filter")[0]
    checks.ok("whole", all(n["metadata"]["labels"]["own"] == n["metadata"]["name"] and n["status"]["conditions"] for n in
                           seen["Nodes"]["items"]) and seen["NodeNames"] is None, seen["Nodes"])
    Extender.answers["/secure/filter"] = lambda b: {"NodeNames": ["n1"]}
    pod(w, "p4", "secure")
    eventually("over TLS with a CA of its own", placed(w, "p4", "n1"))


def scores(w):
    Extender.answers["/names/filter"] = lambda b: {"NodeNames": b["NodeNames"]}
    Extender.answers["/names/prioritize"] = lambda b: [{"Host": n, "Score": 10 if n == "n3" else 0} for n in b["NodeNames"]]
    for i in range(6):
        pod(w, "s%d" % i, "names")
    eventually("scores decide among what fits", lambda: [node_of(w, "s%d" % i) for i in range(6)] == ["n3"] * 6 or [
        node_of(w, "s%d" % i) for i in range(6)])
    Extender.answers["/names/prioritize"] = lambda b: 500
    pod(w, "s6", "names")
    eventually("without scores the pod is placed all the same", placed(w, "s6"))


def refusals(w):
    mood = {"names": []}
    Extender.answers["/names/filter"] = lambda b: {"NodeNames": mood["names"], "FailedNodes": {
        n: "not today" for n in b["NodeNames"] if n not in mood["names"]}}
    pod(w, "r1", "names")
    eventually("a pod that an extender wants nowhere is told so", lambda: told(
        w, "default", "FailedScheduling", "0/3 nodes are available: 3 not today."))
    mood["names"] = ["n1"]
    w.api.merge("/api/v1/nodes/n1", {"metadata": {"labels": {"x": "1"}}})
    eventually("and tried again when something changes", placed(w, "r1", "n1"))
    Extender.answers["/liar/filter"] = lambda b: {"NodeNames": ["elsewhere"]}
    pod(w, "r2", "liar")
    eventually("one that invents nodes is not believed", lambda: told(
        w, "default", "FailedScheduling", 'claims a filtered node "elsewhere" which is not found in the input node list'))
    w.api.call("DELETE", CORE % "default" + "pods/r2")


def failures(w):
    answer = {"broken": 503}
    Extender.answers["/broken/filter"] = lambda b: answer["broken"]
    pod(w, "f1", "broken")
    eventually("an extender that fails holds its pods up", lambda: told(
        w, "default", "FailedScheduling", "failed filter with extender at URL http://127.0.0.1:%d/broken/filter, code 503" % w.port))
    condition = [c for c in w.api.get(CORE % "default" + "pods/f1")["status"].get("conditions", []) if c["type"] == "PodScheduled"]
    checks.ok("as the pod's condition says", condition and condition[0]["reason"] == "SchedulerError", condition)
    answer["broken"] = {"Error": "out of order"}
    eventually("whatever it says", lambda: told(w, "default", "FailedScheduling", "out of order"))
    answer["broken"] = {"NodeNames": ["n2"]}
    eventually("until it works", placed(w, "f1", "n2"))
    Extender.answers["/spare/filter"] = lambda b: 500
    pod(w, "f2", "spare")
    eventually("one that may be ignored holds nothing up", placed(w, "f2"))


def slow_ones(w):
    gate = threading.Event()
    Extender.answers["/slow/filter"] = lambda b: (gate.wait(20), {"NodeNames": ["n1"]})[1]
    pod(w, "w1", "slow")
    eventually("a slow extender is asked", lambda: len(asked("/slow/filter")) > 0)
    start = time.time()
    for i in range(5):
        pod(w, "fast%d" % i)
    eventually("others are placed meanwhile", lambda: all(node_of(w, "fast%d" % i) for i in range(5)))
    checks.ok("at once", time.time() - start < 5, time.time() - start)
    eventually("its time is limited", lambda: told(w, "default", "FailedScheduling", "context deadline exceeded"))
    pod(w, "w2", "slow")
    eventually("it is asked about another", lambda: any(b["Pod"]["metadata"]["name"] == "w2" for b in asked("/slow/filter")))
    w.api.call("DELETE", CORE % "default" + "pods/w2", {"gracePeriodSeconds": 0})
    gate.set()
    eventually("then it answers", placed(w, "w1", "n1"))
    checks.ok("for a pod that is gone nothing comes of it", w.api.call("GET", CORE % "default" + "pods/w2")[0] == 404)


def binders(w):
    bound = []

    def bind(b):
        bound.append(b)
        if len(bound) == 1:
            return {"Error": "not yet"}
        status, answer = w.api.call("POST", CORE % b["PodNamespace"] + "pods/%s/binding" % b["PodName"], {
            "metadata": {"name": b["PodName"], "uid": b["PodUID"]}, "target": {"kind": "Node", "name": b["Node"]}})
        return {} if status == 201 and b["PodName"] != "b2" else {"Error": answer.get("message", "the answer is lost")}
    Extender.answers["/binder/filter"] = lambda b: {"NodeNames": ["n3"]}
    Extender.answers["/binder/bind"] = bind
    made = pod(w, "b1", "binder")
    eventually("an extender binds its pods", placed(w, "b1", "n3"))
    checks.ok("again after it failed", len(bound) == 2 and bound[1] == {
        "PodName": "b1", "PodNamespace": "default", "PodUID": made["metadata"]["uid"], "Node": "n3"}, bound)
    eventually("which an event told", lambda: told(w, "default", "FailedScheduling", "binding rejected: not yet"))
    pod(w, "b2", "binder")
    eventually("a binding that happened counts, whatever the answer", lambda: told(
        w, "default", "Scheduled", "Successfully assigned default/b2 to n3"))
    checks.ok("and is not told as a failure", told(w, "default", "FailedScheduling", "the answer is lost") is not True and len(bound) == 3, bound)


def victims(w):
    for o in w.api.items(CORE % "default" + "pods"):
        w.api.call("DELETE", CORE % "default" + "pods/" + o["metadata"]["name"], {"gracePeriodSeconds": 0})
    w.api.create("/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "high"}, "value": 1000})
    for n in NODES:
        pod(w, "low-" + n, requests={"cpu": "3"}, nodeSelector={"own": n}, terminationGracePeriodSeconds=0)
        eventually("a pod fills %s" % n, placed(w, "low-" + n, n))
    named = []

    def preempt(b):
        nodes = b["NodeNameToMetaVictims"]
        named.extend(nodes)
        return {"NodeNameToMetaVictims": {n: v for n, v in nodes.items() if n == "n3"}}
    Extender.answers["/victims/preempt"] = preempt
    pod(w, "vip", "victims", requests={"cpu": "3"}, priorityClassName="high")
    eventually("room is made where the extender agrees", placed(w, "vip", "n3"))
    checks.ok("others were proposed until it did", named[-1] == "n3" and len(set(named)) == len(named), named)
    left = sorted(o["metadata"]["name"] for o in w.api.items(CORE % "default" + "pods"))
    checks.ok("the other pods stayed", left == ["low-n1", "low-n2", "vip"], left)


def bad_configuration(w, binary):
    path = os.path.join(w.folder, "bad.yaml")
    with open(path, "w") as f:
        f.write("apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nextenders:\n"
                "- {urlPrefix: 'https://x', tlsConfig: {caFile: /none/ca.crt}}\n")
    r = subprocess.run([binary, "--config", path], capture_output=True, text=True, timeout=20, check=False)
    checks.ok("files that are missing are told at the start", r.returncode != 0 and "extenders[0].tlsConfig" in r.stderr and
              "/none/ca.crt" in r.stderr, r.stderr)


def main():
    w = World(sys.argv[1], 1)
    binary = os.path.join(sys.argv[1], "trireme-scheduler")
    scheduler = None
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(w.pki, "apiserver.crt"), os.path.join(w.pki, "apiserver.key"))
        w.port = serve()
        path = configuration(w, w.port, serve(context))
        for n in NODES:
            w.node(n, own=n)
            w.api.merge("/api/v1/nodes/%s/status" % n, {"status": {
                "capacity": {"cpu": "4", "memory": "4Gi", "pods": "110"}, "allocatable": {"cpu": "4", "memory": "4Gi", "pods": "110"}}})
        eventually("pods can be made", lambda: w.api.call("GET", CORE % "default" + "serviceaccounts/default")[0] == 200, quiet=True)
        eventually("nodes can be used", lambda: not any(n["spec"].get("taints") for n in w.api.items("/api/v1/nodes")), quiet=True)
        etc = os.path.dirname(w.pki)
        log = os.path.join(w.folder, "scheduler.log")
        with open(log, "w") as f:
            scheduler = subprocess.Popen([binary, "--kubeconfig=" + os.path.join(etc, "scheduler.kubeconfig"), "--secure-port=0",
                                          "--config", path], stdout=f, stderr=f)
        for scenario in (filters, scores, refusals, failures, slow_ones, binders, victims):
            print("%s:" % scenario.__name__, flush=True)
            scenario(w)
        bad_configuration(w, binary)
        checks.ok("the scheduler runs to the end", scheduler.poll() is None, scheduler.returncode)
        scheduler.terminate()
        checks.ok("and ends when told to", scheduler.wait(20) == 0, scheduler.returncode)
        if checks.failed:
            with open(log) as f:
                print("".join(f.readlines()[-40:]))
    finally:
        if scheduler is not None and scheduler.poll() is None:
            scheduler.kill()
        w.down()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
