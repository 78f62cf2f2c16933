#!/usr/bin/env python3
"""The controller manager under faults: in the middle of each operation it is killed with SIGKILL and started again, its
connections are cut, and others write to the same objects. Every pod that ever existed is seen by a watch of its own: none may
be made twice, none may be left, and all must come to what was asked for.

usage: controller_faults.py BIN_DIR [SEED [SCENARIO...]]

The API server is real; nodes are objects, and a few threads here say of each pod what its kubelet would.
"""
import base64
import hmac
import http.client
import json
import os
import queue
import random
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import checks

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import ports  # noqa: E402

PATIENCE_S = 40
NODES = 12


class Api:
    """One connection per thread that asks."""

    def __init__(self, port, pki):
        self.port, self.local = port, threading.local()
        self.context = ssl.create_default_context(cafile=os.path.join(pki, "ca.crt"))
        self.context.load_cert_chain(os.path.join(pki, "client-admin.crt"), os.path.join(pki, "client-admin.key"))

    def connect(self, timeout=30):
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=timeout)

    def call(self, method, path, body=None, kind="application/json"):
        for _ in range(3):
            if getattr(self.local, "connection", None) is None:
                self.local.connection = self.connect()
            try:
                self.local.connection.request(method, path, json.dumps(body) if body is not None else None,
                                              {"Content-Type": kind})
                answer = self.local.connection.getresponse()
                return answer.status, json.loads(answer.read() or b"{}")
            except (OSError, http.client.HTTPException):
                self.local.connection = None
        raise OSError("no answer to %s %s" % (method, path))

    def get(self, path):
        return self.call("GET", path)[1]

    def items(self, path):
        return self.get(path).get("items", [])

    def create(self, path, body):
        status, answer = self.call("POST", path, body)
        if status != 201:
            raise AssertionError("%s: %s" % (path, answer))
        return answer

    def merge(self, path, body):
        return self.call("PATCH", path, body, "application/merge-patch+json")


def owner_of(pod):
    for ref in pod["metadata"].get("ownerReferences", []):
        if ref.get("controller"):
            return ref["kind"], ref["name"], ref["uid"]
    return None


def lives(pod):
    return "deletionTimestamp" not in pod["metadata"] and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


class History:
    """All pods that ever were, by what the watch says."""

    def __init__(self, api):
        self.api, self.lock = api, threading.Lock()
        self.pods, self.events, self.most = {}, 0, {}
        self.alive = {}  # Owner's uid -> uids of pods that live.
        self.listeners = []
        answer = api.get("/api/v1/pods")
        self.version = answer["metadata"]["resourceVersion"]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection = self.api.connect(None)
                connection.request("GET", "/api/v1/pods?watch=1&resourceVersion=" + self.version)
                answer = connection.getresponse()
                if answer.status != 200:
                    raise OSError(answer.status)
                for line in answer:
                    self.see(json.loads(line))
            except (OSError, ValueError, http.client.HTTPException):
                time.sleep(0.05)

    def see(self, event):
        pod = event["object"]
        uid, owner = pod["metadata"]["uid"], (owner_of(pod) or (None, None, None))[2]
        with self.lock:
            self.version = pod["metadata"]["resourceVersion"]
            self.events += 1
            gone = event["type"] == "DELETED"
            self.pods[uid] = dict(pod, gone=gone)
            alive = self.alive.setdefault(owner, set())
            (alive.add if lives(pod) and not gone else alive.discard)(uid)
            self.most[owner] = max(self.most.get(owner, 0), len(alive))
        for listener in self.listeners:
            listener(event)

    def of(self, uid):
        """Every pod that ever belonged to this owner."""
        with self.lock:
            return [p for p in self.pods.values() if (owner_of(p) or (0, 0, 0))[2] == uid]

    def made(self, *uids):
        return sum(len(self.of(u)) for u in uids)


class Kubelets:
    """Runs each pod that has a node as its annotations say: for ever, or to an end."""

    def __init__(self, api, history):
        self.api, self.queue, self.known = api, queue.Queue(), set()
        history.listeners.append(self.listen)
        for _ in range(3):
            threading.Thread(target=self.run, daemon=True).start()

    def listen(self, event):
        pod = event["object"]
        going = "deletionTimestamp" in pod["metadata"]
        key = (pod["metadata"]["uid"], going)
        if event["type"] != "DELETED" and pod["spec"].get("nodeName") and key not in self.known:
            self.known.add(key)
            self.queue.put((pod, going))

    def run(self):
        while True:
            pod, going = self.queue.get()
            path = "/api/v1/namespaces/%s/pods/%s" % (pod["metadata"]["namespace"], pod["metadata"]["name"])
            if going:
                self.api.call("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}})
                continue
            notes = pod["metadata"].get("annotations", {})
            index = notes.get("batch.kubernetes.io/job-completion-index", "")
            phase = notes.get("fate", "Running")
            if index and index in notes.get("bad-indexes", "").split(","):
                phase = "Failed"
            status = {"phase": phase}
            if phase == "Running":
                status["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}]
            self.api.merge(path + "/status", {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status})


class Proxy:
    """Between the manager and the API server, so that its connections can be cut."""

    def __init__(self, target):
        self.target, self.pairs, self.lock = target, [], threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near = self.listener.accept()[0]
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            with self.lock:
                self.pairs.append((near, far))
            threading.Thread(target=self.copy, args=(near, far), daemon=True).start()
            threading.Thread(target=self.copy, args=(far, near), daemon=True).start()

    def copy(self, source, sink):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                sink.sendall(data)
        except OSError:
            pass
        self.shut(source, sink)

    @staticmethod
    def shut(*sockets):
        for s in sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for pair in pairs:
            self.shut(*pair)


class Manager:
    def __init__(self, binary, etc, proxy, log, *more, environment=None):
        pki = os.path.join(etc, "pki")
        self.args = [binary, "--kubeconfig=" + os.path.join(etc, "controller-manager.kubeconfig"), "--leader-elect=false",
                     "--master=https://127.0.0.1:%d" % proxy.port, "--secure-port=0",
                     "--root-ca-file=" + os.path.join(pki, "ca.crt"),
                     "--node-monitor-grace-period=1h",
                     "--service-account-private-key-file=" + os.path.join(pki, "sa.key"), *(flag.format(pki=pki) for flag in more)]
        self.log, self.process, self.kills, self.environment = open(log, "w"), None, 0, environment

    def start(self):
        self.process = subprocess.Popen(self.args, stdout=self.log, stderr=self.log, env=self.environment)

    def kill(self):
        """What it had sent may still be under way in the server, which no successor can see: give it a moment. (A successor
        that has to wait for a lease comes much later.)"""
        self.process.kill()
        self.process.wait()
        self.kills += 1
        time.sleep(0.05)


class Chaos:
    """While it runs: after a few more pod events, or a little time, a kill or a cut; and writes to the objects named."""

    def __init__(self, world, kills, objects=()):
        self.world, self.left, self.objects, self.over = world, kills, objects, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.meddler = threading.Thread(target=self.meddle, daemon=True)

    def __enter__(self):
        self.thread.start()
        self.meddler.start()
        return self

    def run(self):
        w = self.world
        while self.left > 0 and not self.over.is_set():
            target, deadline = w.history.events + w.random.randrange(1, 12), time.time() + w.random.uniform(0.02, 0.4)
            while w.history.events < target and time.time() < deadline:
                time.sleep(0.002)
            self.left -= 1
            if w.random.random() < 0.6:
                w.manager.kill()
                w.manager.start()
            else:
                w.proxy.cut()
                w.cuts += 1

    def meddle(self):
        n = 0
        while not self.over.wait(0.03):
            for path in self.objects:
                n += 1
                self.world.api.merge(path, {"metadata": {"annotations": {"meddled": str(n)}}})

    def __exit__(self, *_):
        self.thread.join()
        self.over.set()
        self.meddler.join()


class World:
    def __init__(self, binaries, seed, *more, environment=None, scheduler=False):
        """more, environment: for the manager; {pki} in a flag is the folder of certificates."""
        self.random, self.cuts = random.Random(seed), 0
        self.folder = tempfile.mkdtemp(prefix="trireme-faults-")
        self.trireme, self.dir = os.path.join(binaries, "trireme"), os.path.join(self.folder, "c")
        port = ports.free_block()
        subprocess.run([self.trireme, "up", "--control-planes", "1", "--workers", "0", "--loopback", "--no-controllers",
                        *([] if scheduler else ["--no-scheduler"]), "--dir", self.dir, "--base-port", str(port)], check=True, stdout=subprocess.DEVNULL)
        etc = os.path.join(self.dir, "hosts", "cp-1", "etc")
        self.pki = os.path.join(etc, "pki")
        self.api = Api(port, self.pki)
        self.proxy = Proxy(port)
        self.log = os.path.join(self.folder, "manager.log")
        self.manager = Manager(os.path.join(binaries, "trireme-controller-manager"), etc, self.proxy, self.log,
                               *more, environment=environment)
        self.manager.start()
        self.history = History(self.api)
        self.kubelets = Kubelets(self.api, self.history)

    def down(self):
        if self.manager.process.poll() is None:
            self.manager.process.terminate()
            self.manager.process.wait()
        subprocess.run([self.trireme, "down", "--dir", self.dir], check=False, stdout=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def node(self, name, **labels):
        """One that is ready, and need not say so again while the test runs."""
        self.api.create("/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.api.merge("/api/v1/nodes/%s/status" % name, {"status": {"conditions": [
            {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now, "lastTransitionTime": now}]}})

    def namespace(self, name):
        self.api.create("/api/v1/namespaces", {"metadata": {"name": name}})
        eventually("namespace %s has its account" % name, lambda: "metadata" in self.api.get(
            "/api/v1/namespaces/%s/serviceaccounts/default" % name) and self.api.get(
                "/api/v1/namespaces/%s/serviceaccounts/default" % name).get("kind") == "ServiceAccount", quiet=True)


def eventually(name, look, quiet=False, patience=PATIENCE_S):
    deadline, seen = time.time() + patience, None
    while time.time() < deadline:
        seen = look()
        if seen is True:
            break
        time.sleep(0.05)
    if not quiet or seen is not True:
        checks.ok(name, seen is True, seen)
    return seen is True


def settled(w, path, wanted):
    """The status has these fields, or what it has."""
    def look():
        status = w.api.get(path).get("status", {})
        return all(status.get(k, 0) == v for k, v in wanted.items()) or status
    return look


def template(labels, **annotations):
    return {"metadata": {"labels": labels, "annotations": annotations},
            "spec": {"nodeName": "n0", "containers": [{"name": "c", "image": "none"}]}}


def quiet_for(w, seconds=0.7):
    """Nothing more happens to pods."""
    while True:
        before = w.history.events
        time.sleep(seconds)
        if w.history.events == before:
            return


# --- scenarios ------------------------------------------------------------------------------------------------------------------


def deployment(w):
    base = "/apis/apps/v1/namespaces/dep/"
    w.namespace("dep")
    with Chaos(w, 5, [base + "deployments/web"]):
        w.api.create(base + "deployments", {"metadata": {"name": "web"}, "spec": {
            "replicas": 30, "selector": {"matchLabels": {"a": "web"}}, "template": template({"a": "web"})}})
    eventually("a Deployment comes up", settled(w, base + "deployments/web", {"replicas": 30, "readyReplicas": 30, "availableReplicas": 30}))
    sets = w.api.items(base + "replicasets")
    checks.ok("one ReplicaSet", len(sets) == 1, [s["metadata"]["name"] for s in sets])
    checks.ok("no pod was made twice", w.history.made(sets[0]["metadata"]["uid"]) == 30, w.history.made(sets[0]["metadata"]["uid"]))
    with Chaos(w, 8, [base + "deployments/web"]):
        w.api.merge(base + "deployments/web", {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}})
    eventually("it rolls", settled(w, base + "deployments/web", {
        "replicas": 30, "updatedReplicas": 30, "readyReplicas": 30, "unavailableReplicas": 0}))
    quiet_for(w)
    sets = w.api.items(base + "replicasets")
    new = [s for s in sets if s["spec"]["replicas"] == 30]
    checks.ok("to one new ReplicaSet", len(sets) == 2 and len(new) == 1, [s["metadata"]["name"] for s in sets])
    checks.ok("whose pods were made once", w.history.made(new[0]["metadata"]["uid"]) == 30, w.history.made(new[0]["metadata"]["uid"]))
    with Chaos(w, 4, [base + "deployments/web"]):
        w.api.merge(base + "deployments/web", {"spec": {"replicas": 5}})
    eventually("it shrinks", settled(w, base + "deployments/web", {"replicas": 5, "readyReplicas": 5}))
    quiet_for(w)
    checks.ok("to no less", w.history.made(new[0]["metadata"]["uid"]) == 30 and len(w.api.items("/api/v1/namespaces/dep/pods")) == 5,
              w.history.made(new[0]["metadata"]["uid"]))


def stateful_set(w):
    base = "/apis/apps/v1/namespaces/sts/"
    w.namespace("sts")
    with Chaos(w, 6, [base + "statefulsets/db"]):
        uid = w.api.create(base + "statefulsets", {"metadata": {"name": "db"}, "spec": {
            "replicas": 8, "serviceName": "db", "selector": {"matchLabels": {"a": "db"}},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}],
            "template": template({"a": "db"})}})["metadata"]["uid"]
        time.sleep(0.3)
    eventually("a StatefulSet comes up", settled(w, base + "statefulsets/db", {"replicas": 8, "readyReplicas": 8, "currentReplicas": 8}))
    names = sorted(p["metadata"]["name"] for p in w.history.of(uid))
    checks.ok("each ordinal was made once", names == ["db-%d" % i for i in range(8)], names)
    with Chaos(w, 8, [base + "statefulsets/db"]):
        w.api.merge(base + "statefulsets/db", {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}})
    eventually("it rolls", settled(w, base + "statefulsets/db", {"updatedReplicas": 8, "readyReplicas": 8, "currentReplicas": 8}))
    quiet_for(w)
    checks.ok("each pod replaced once", w.history.made(uid) == 16, w.history.made(uid))
    with Chaos(w, 4, [base + "statefulsets/db"]):
        w.api.merge(base + "statefulsets/db", {"spec": {"replicas": 2}})
    eventually("it shrinks", settled(w, base + "statefulsets/db", {"replicas": 2, "readyReplicas": 2}))
    left = sorted(p["metadata"]["name"] for p in w.api.items("/api/v1/namespaces/sts/pods"))
    checks.ok("to the first", left == ["db-0", "db-1"], left)

    def claims():
        return sorted(o["metadata"]["name"] for o in w.api.items("/api/v1/namespaces/sts/persistentvolumeclaims"))
    eventually("the others' claims went with them", lambda: claims() == ["data-db-0", "data-db-1"] or claims())
    with Chaos(w, 4):
        w.api.merge(base + "statefulsets/db", {"spec": {"replicas": 3}})
    eventually("a claim is made anew with its pod", lambda: claims() == ["data-db-0", "data-db-1", "data-db-2"] or claims())
    eventually("and the pod runs", settled(w, base + "statefulsets/db", {"replicas": 3, "readyReplicas": 3}))
    with Chaos(w, 4):
        w.api.call("DELETE", base + "statefulsets/db", {})
    eventually("the set takes its claims with it", lambda: claims() == [] or claims())


def job(w):
    base = "/apis/batch/v1/namespaces/job/jobs"
    w.namespace("job")
    with Chaos(w, 10, [base + "/sum"]):
        spec = template({}, fate="Succeeded")
        spec["spec"]["restartPolicy"] = "Never"
        uid = w.api.create(base, {"metadata": {"name": "sum"}, "spec": {
            "completions": 60, "parallelism": 10, "template": spec}})["metadata"]["uid"]
        time.sleep(0.5)
    eventually("a Job completes", settled(w, base + "/sum", {"succeeded": 60, "active": 0, "failed": 0}))
    eventually("and says so", lambda: any(c["type"] == "Complete" for c in w.api.get(base + "/sum")["status"].get("conditions", [])))
    quiet_for(w)
    checks.ok("no pod too many", w.history.made(uid) == 60, w.history.made(uid))
    checks.ok("never more at once than allowed", w.history.most[uid] <= 10, w.history.most[uid])
    held = [p["metadata"]["name"] for p in w.api.items("/api/v1/namespaces/job/pods") if p["metadata"].get("finalizers")]
    checks.ok("no pod is held", not held, held)

    bad = [3, 4, 5, 11, 29]
    with Chaos(w, 10, [base + "/map"]):
        spec = template({}, fate="Succeeded", **{"bad-indexes": ",".join(map(str, bad))})
        spec["spec"]["restartPolicy"] = "Never"
        uid = w.api.create(base, {"metadata": {"name": "map"}, "spec": {
            "completions": 40, "parallelism": 8, "completionMode": "Indexed", "backoffLimitPerIndex": 0,
            "template": spec}})["metadata"]["uid"]
        time.sleep(0.5)
    eventually("an Indexed Job decides all its indexes", settled(w, base + "/map", {
        "succeeded": 35, "failed": 5, "active": 0, "failedIndexes": "3-5,11,29", "completedIndexes": "0-2,6-10,12-28,30-39"}))
    eventually("and fails", lambda: any(c["type"] == "Failed" and c["reason"] == "FailedIndexes"
                                        for c in w.api.get(base + "/map")["status"].get("conditions", [])))
    quiet_for(w)
    checks.ok("each index was tried once", w.history.made(uid) == 40, w.history.made(uid))

    with Chaos(w, 8, [base + "/nap"]):
        spec = template({})
        spec["spec"]["restartPolicy"] = "Never"
        uid = w.api.create(base, {"metadata": {"name": "nap"}, "spec": {
            "completions": 20, "parallelism": 20, "template": spec}})["metadata"]["uid"]
        time.sleep(0.3)
        w.api.merge(base + "/nap", {"spec": {"suspend": True}})
        time.sleep(0.2)
    eventually("a suspended Job has no pods", settled(w, base + "/nap", {"active": 0, "terminating": 0, "failed": 0, "ready": 0}))
    eventually("and no start", lambda: "startTime" not in w.api.get(base + "/nap")["status"])
    more = {"containers": [{"name": "c", "image": "none", "resources": {"requests": {"cpu": "2"}}}], "nodeSelector": {"a": "b"}}
    status, answer = w.api.call("PATCH", base + "/nap", {"spec": {"template": {"spec": more}}}, "application/strategic-merge-patch+json")
    checks.ok("its pods may ask for more", status == 200, answer.get("message"))
    more["containers"][0]["image"] = "other"
    status, answer = w.api.call("PATCH", base + "/nap", {"spec": {"template": {"spec": more}}}, "application/strategic-merge-patch+json")
    checks.ok("and be nothing else", status == 422 and "field is immutable" in answer["message"], answer.get("message"))
    with Chaos(w, 4, [base + "/nap"]):
        w.api.merge(base + "/nap", {"spec": {"suspend": False}})
    eventually("resumed it has them again", settled(w, base + "/nap", {"active": 20, "ready": 20, "failed": 0}))
    with Chaos(w, 4):
        w.api.call("DELETE", base + "/nap", {"propagationPolicy": "Foreground"})
    eventually("deleted it is gone, and its pods", lambda: w.api.call("GET", base + "/nap")[0] == 404 and all(
        p["gone"] for p in w.history.of(uid)))


def cron_job(w):
    """Times in the past are made up for once; the name of a Job follows from its time."""
    base = "/apis/batch/v1/namespaces/cron/"
    w.namespace("cron")
    spec = template({})
    spec["spec"]["restartPolicy"] = "Never"
    now = int(time.time())
    if now % 60 > 45:
        time.sleep(61 - now % 60)  # So that no time comes due between the two halves.
    with Chaos(w, 6, [base + "cronjobs/tick"]):
        w.api.create(base + "cronjobs", {"metadata": {"name": "tick"}, "spec": {
            "schedule": "* * * * *", "concurrencyPolicy": "Forbid", "suspend": True, "jobTemplate": {"spec": {"template": spec}}}})
        w.api.merge(base + "cronjobs/tick/status", {"status": {"lastScheduleTime": time.strftime(
            "%Y-%m-%dT%H:%M:00Z", time.gmtime(time.time() - 7 * 24 * 3600))}})
        w.api.merge(base + "cronjobs/tick", {"spec": {"suspend": False}})
        time.sleep(0.3)
    eventually("a CronJob starts what is due", lambda: len(w.api.get(base + "cronjobs/tick").get("status", {}).get("active", [])) == 1)
    jobs = [j["metadata"]["name"] for j in w.api.items(base + "jobs")]
    checks.ok("once", jobs == ["tick-%d" % (int(time.time()) // 60)], jobs)
    checks.ok("with the time it was due", "batch.kubernetes.io/cronjob-scheduled-timestamp" in w.api.items(base + "jobs")[0]["metadata"]["annotations"])
    events = [e for e in w.api.items("/api/v1/namespaces/cron/events") if e["reason"] == "TooManyMissedTimes"]
    checks.ok("and says how many were missed", len(events) > 0, [e["reason"] for e in w.api.items("/api/v1/namespaces/cron/events")])
    with Chaos(w, 3):
        w.api.call("DELETE", base + "jobs/" + jobs[0], {"propagationPolicy": "Background"})
    eventually("a Job that is gone leaves the list", lambda: not w.api.get(base + "cronjobs/tick")["status"].get("active"))


def daemon_set(w):
    base = "/apis/apps/v1/namespaces/ds/"
    w.namespace("ds")
    for i in range(NODES):
        w.node("d%d" % i, daemons="yes")
    pods = template({"a": "d"})
    del pods["spec"]["nodeName"]
    pods["spec"]["nodeSelector"] = {"daemons": "yes"}

    def bind(event):  # In place of a scheduler: where the affinity says.
        pod = event["object"]
        if event["type"] == "ADDED" and pod["metadata"]["namespace"] == "ds" and not pod["spec"].get("nodeName"):
            term = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            node = term["nodeSelectorTerms"][0]["matchFields"][0]["values"][0]
            w.kubelets.queue.put((dict(pod, spec=dict(pod["spec"], nodeName=node)), False))
            w.api.call("POST", "/api/v1/namespaces/ds/pods/%s/binding" % pod["metadata"]["name"],
                       {"metadata": {"name": pod["metadata"]["name"]}, "target": {"kind": "Node", "name": node}})
    w.history.listeners.append(bind)
    with Chaos(w, 6, [base + "daemonsets/agent"]):
        uid = w.api.create(base + "daemonsets", {"metadata": {"name": "agent"}, "spec": {
            "selector": {"matchLabels": {"a": "d"}}, "template": pods,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 4}}}})["metadata"]["uid"]
        time.sleep(0.2)
    eventually("a DaemonSet comes up", settled(w, base + "daemonsets/agent", {
        "desiredNumberScheduled": NODES, "currentNumberScheduled": NODES, "numberReady": NODES, "numberAvailable": NODES}))
    checks.ok("one pod on each node", w.history.made(uid) == NODES, w.history.made(uid))
    with Chaos(w, 8, [base + "daemonsets/agent"]):
        w.api.merge(base + "daemonsets/agent", {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}})
    eventually("it rolls", settled(w, base + "daemonsets/agent", {"updatedNumberScheduled": NODES, "numberReady": NODES, "numberAvailable": NODES}))
    quiet_for(w)
    checks.ok("each pod replaced once", w.history.made(uid) == 2 * NODES, w.history.made(uid))
    w.history.listeners.remove(bind)
    with Chaos(w, 3):
        w.api.call("DELETE", base + "daemonsets/agent", {})
    eventually("deleted, its pods go", lambda: all(p["gone"] for p in w.history.of(uid)))
    for i in range(NODES):
        w.api.call("DELETE", "/api/v1/nodes/d%d" % i)


def collector(w):
    path = "/api/v1/namespaces/gc/configmaps"
    w.namespace("gc")

    def family(name, size):
        owner = w.api.create(path, {"metadata": {"name": name}})["metadata"]
        ref = {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": owner["uid"], "blockOwnerDeletion": True}
        for i in range(size):
            child = w.api.create(path, {"metadata": {"name": "%s-%d" % (name, i), "ownerReferences": [ref]}})["metadata"]
            w.api.create(path, {"metadata": {"name": "%s-%d-x" % (name, i), "ownerReferences": [dict(
                ref, name=child["name"], uid=child["uid"])]}})

    def left(prefix):
        return sorted(o["metadata"]["name"] for o in w.api.items(path) if o["metadata"]["name"].startswith(prefix))

    for name, policy in (("back", "Background"), ("fore", "Foreground")):
        family(name, 30)
        with Chaos(w, 5):
            w.api.call("DELETE", path + "/" + name, {"propagationPolicy": policy})
        eventually("%s deletion takes all that is owned" % policy.lower(), lambda: left(name) == [] or left(name)[:5])
    family("keep", 20)
    with Chaos(w, 5):
        w.api.call("DELETE", path + "/keep", {"propagationPolicy": "Orphan"})
    eventually("orphaning ends", lambda: w.api.call("GET", path + "/keep")[0] == 404)
    time.sleep(1)
    refs = [o["metadata"]["name"] for o in w.api.items(path) if not o["metadata"]["name"].endswith("-x")
            and o["metadata"].get("ownerReferences")]
    checks.ok("and keeps what was owned", len(left("keep")) == 40 and not refs, (len(left("keep")), refs))


def namespaces(w):
    w.namespace("end")
    core, apps, batch = "/api/v1/namespaces/end/", "/apis/apps/v1/namespaces/end/", "/apis/batch/v1/namespaces/end/"
    for i in range(40):
        w.api.create(core + "configmaps", {"metadata": {"name": "m%d" % i}})
        w.api.create(core + "secrets", {"metadata": {"name": "s%d" % i}})
    w.api.create(apps + "deployments", {"metadata": {"name": "web"}, "spec": {
        "replicas": 10, "selector": {"matchLabels": {"a": "web"}}, "template": template({"a": "web"})}})
    spec = template({})
    spec["spec"]["restartPolicy"] = "Never"
    w.api.create(batch + "jobs", {"metadata": {"name": "run"}, "spec": {"parallelism": 5, "completions": 5, "template": spec}})
    w.api.create(core + "configmaps", {"metadata": {"name": "last", "finalizers": ["example.com/wait"]}})
    eventually("pods run", lambda: len([p for p in w.api.items(core + "pods") if p["status"].get("phase") == "Running"]) == 15, quiet=True)
    with Chaos(w, 6):
        w.api.call("DELETE", "/api/v1/namespaces/end")
        time.sleep(0.3)
    eventually("only what has a finalizer is left", lambda: [o["metadata"]["name"] for k in ("pods", "secrets", "configmaps")
                                                           for o in w.api.items(core + k)] == ["last"])
    eventually("and the namespace says so", lambda: any(
        c["type"] == "NamespaceFinalizersRemaining" and c["status"] == "True"
        for c in w.api.get("/api/v1/namespaces/end")["status"].get("conditions", [])))
    with Chaos(w, 3):
        w.api.merge(core + "configmaps/last", {"metadata": {"finalizers": None}})
    eventually("then it is gone", lambda: w.api.call("GET", "/api/v1/namespaces/end")[0] == 404)
    w.api.create("/api/v1/namespaces", {"metadata": {"name": "end"}})
    checks.ok("a new one of its name is empty", w.api.items(core + "pods") == [] and w.api.items(apps + "deployments") == [])


def mirroring(w):
    """Endpoints by hand, for a Service without selector, come as slices."""
    core, slices = "/api/v1/namespaces/mirror/", "/apis/discovery.k8s.io/v1/namespaces/mirror/endpointslices"
    w.namespace("mirror")

    def seen():
        return sorted((s["addressType"], tuple(e["addresses"][0] for e in s["endpoints"]), tuple(
            e["conditions"]["ready"] for e in s["endpoints"]), s["ports"][0]["port"]) for s in w.api.items(slices))
    subsets = [{"addresses": [{"ip": "10.9.0.1"}, {"ip": "fd00::1"}], "notReadyAddresses": [{"ip": "10.9.0.2"}],
                "ports": [{"port": 80}]}, {"addresses": [{"ip": "10.9.0.3"}], "ports": [{"port": 81, "name": "b"}]}]
    wanted = [("IPv4", ("10.9.0.1", "10.9.0.2"), (True, False), 80), ("IPv4", ("10.9.0.3",), (True,), 81),
              ("IPv6", ("fd00::1",), (True,), 80)]
    with Chaos(w, 4):
        w.api.create(core + "services", {"metadata": {"name": "x"}, "spec": {"ports": [{"port": 80}]}})
        w.api.create(core + "endpoints", {"metadata": {"name": "x", "labels": {"l": "1"}}, "subsets": subsets})
    eventually("Endpoints are mirrored", lambda: seen() == wanted or seen())
    one = w.api.items(slices)[0]["metadata"]
    checks.ok("with their labels", one["labels"] == {
        "l": "1", "kubernetes.io/service-name": "x",
        "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io"}, one["labels"])
    checks.ok("and owner", one["ownerReferences"][0]["kind"] == "Endpoints", one["ownerReferences"])
    before = {s["metadata"]["uid"] for s in w.api.items(slices)}
    with Chaos(w, 3, [core + "endpoints/x"]):
        w.api.merge(core + "endpoints/x", {"subsets": [dict(subsets[0], addresses=[{"ip": "10.9.0.9"}]), subsets[1]]})
    eventually("changes follow", lambda: seen() == [("IPv4", ("10.9.0.3",), (True,), 81),
                                                    ("IPv4", ("10.9.0.9", "10.9.0.2"), (True, False), 80)] or seen())
    checks.ok("in the same slices", {s["metadata"]["uid"] for s in w.api.items(slices)} < before)
    w.api.merge(core + "endpoints/x", {"metadata": {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}})
    eventually("unless they say not to", lambda: seen() == [] or seen())


def cidrs(w):
    path = "/apis/networking.k8s.io/v1/servicecidrs"

    def ready():
        found = [c for c in w.api.get(path + "/more").get("status", {}).get("conditions", []) if c["type"] == "Ready"]
        return (found[0]["status"], found[0].get("reason", "")) if found else None
    with Chaos(w, 3):
        w.api.create(path, {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.77.0.0/24"]}})
    eventually("a ServiceCIDR becomes ready", lambda: ready() == ("True", "") or ready())
    w.api.create("/apis/networking.k8s.io/v1/ipaddresses", {
        "metadata": {"name": "10.77.0.5"}, "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "none"}}})
    with Chaos(w, 3):
        w.api.call("DELETE", path + "/more")
    eventually("it stays while an address is in use", lambda: ready() == ("False", "Terminating") or ready())
    with Chaos(w, 2):
        w.api.call("DELETE", "/apis/networking.k8s.io/v1/ipaddresses/10.77.0.5")
    eventually("and goes after it", lambda: w.api.call("GET", path + "/more")[0] == 404)


def signer(w):
    """RFC 7515 by hand: the signature that a joining node looks for."""
    core = "/api/v1/namespaces/"
    w.api.call("DELETE", core + "kube-public/configmaps/cluster-info")
    with Chaos(w, 3):
        w.api.create(core + "kube-public/configmaps", {"metadata": {"name": "cluster-info"}, "data": {"kubeconfig": "it: is\n"}})
        w.api.create(core + "kube-system/secrets", {
            "metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token",
            "stringData": {"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-signing": "true"}})

    def encoded(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")
    head = encoded(b'{"alg":"HS256","kid":"abcdef"}')
    wanted = (head + b".." + encoded(hmac.digest(b"0123456789abcdef", head + b"." + encoded(b"it: is\n"), "sha256"))).decode()

    def signature():
        return w.api.get(core + "kube-public/configmaps/cluster-info").get("data", {}).get("jws-kubeconfig-abcdef")
    eventually("cluster-info is signed", lambda: signature() == wanted or (signature(), wanted))
    w.api.call("DELETE", core + "kube-system/secrets/bootstrap-token-abcdef")
    eventually("as long as the token is there", lambda: signature() is None)


SCENARIOS = {f.__name__: f for f in (deployment, stateful_set, job, cron_job, daemon_set, collector, namespaces, mirroring, cidrs, signer)}


def main():
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    print("seed %d" % seed, flush=True)
    w = World(sys.argv[1], seed)
    try:
        w.node("n0")
        for name in sys.argv[3:] or SCENARIOS:
            print("%s:" % name, flush=True)
            SCENARIOS[name](w)
        checks.ok("the manager runs to the end", w.manager.process.poll() is None, w.manager.process.returncode)
        print("  %d kills, %d cuts, %d events of %d pods" % (w.manager.kills, w.cuts, w.history.events, len(w.history.pods)))
        if checks.failed:
            with open(w.log) as f:
                print("".join(f.readlines()[-40:]))
    finally:
        w.down()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
