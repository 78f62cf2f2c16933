#!/usr/bin/env python3
"""Several schedulers at once: two of one name without an election, which race for every pod, and one of another name. Each pod is
bound once, lost races are counted, and when one of them is killed the other goes on.

usage: schedulers.py BIN_DIR
"""
import http.client
import json
import os
import re
import subprocess
import sys
import time

import checks
from controller_faults import World, eventually, ports
from controllers import CORE, told

PODS = 400


class Scheduler:
    def __init__(self, w, binary, name, *more):
        self.port, self.api = ports.free_block(), w.api
        etc = os.path.dirname(w.pki)
        with open(os.path.join(w.folder, name + ".log"), "w") as f:
            self.process = subprocess.Popen([
                binary, "--kubeconfig=" + os.path.join(etc, "scheduler.kubeconfig"), "--leader-elect=false", "--bind-address=127.0.0.1",
                "--secure-port=%d" % self.port, "--client-ca-file=" + os.path.join(w.pki, "ca.crt"), *more], stdout=f, stderr=f)

    def get(self, path):
        context = self.api.context
        context.check_hostname, context.verify_mode = False, 0  # Its own certificate.
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=10)
        connection.request("GET", path)
        return connection.getresponse().read().decode()

    def metrics(self):
        return self.get("/metrics")

    def value(self, pattern):
        """The sum of the series whose line begins like this."""
        return sum(float(line.rsplit(" ", 1)[1]) for line in self.metrics().splitlines() if re.match(pattern, line))


def pods(w, first, count, **spec):
    for i in range(first, first + count):
        w.api.create(CORE % "default" + "pods", {"metadata": {"name": "p%d" % i}, "spec": dict(
            spec, containers=[{"name": "c", "image": "none"}])})


def unbound(w):
    return [p["metadata"]["name"] for p in w.api.items(CORE % "default" + "pods") if not p["spec"].get("nodeName")]


def storage_room(w):
    """A volume is made where its driver says that there is room."""
    storage, claims = "/apis/storage.k8s.io/v1/", CORE % "default" + "persistentvolumeclaims"
    w.api.merge("/api/v1/nodes/n3", {"metadata": {"labels": {"shelf": "x"}}})
    w.api.create(storage + "csidrivers", {"metadata": {"name": "disks.io"}, "spec": {"storageCapacity": True}})
    w.api.create(storage + "storageclasses", {
        "metadata": {"name": "disks"}, "provisioner": "disks.io", "volumeBindingMode": "WaitForFirstConsumer"})
    w.api.create(claims, {"metadata": {"name": "data"}, "spec": {
        "storageClassName": "disks", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}})
    w.api.create(CORE % "default" + "pods", {"metadata": {"name": "keeper"}, "spec": {
        "containers": [{"name": "c", "image": "none"}], "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}})
    eventually("without room no volume is ordered", lambda: told(
        w, "default", "FailedScheduling", "0/6 nodes are available: 6 node(s) did not have enough free storage."))
    room = storage + "namespaces/default/csistoragecapacities"
    w.api.create(room, {"metadata": {"name": "r"}, "storageClassName": "disks", "capacity": "1Gi",
                        "nodeTopology": {"matchLabels": {"shelf": "x"}}})
    w.api.merge(room + "/r", {"capacity": "3Gi"})
    eventually("and once there is, on the node that has it", lambda: (w.api.call("GET", claims + "/data")[1]["metadata"].get(
        "annotations") or {}).get("volume.kubernetes.io/selected-node") == "n3" or w.api.call("GET", claims + "/data"))


def main():
    w = World(sys.argv[1], 1)
    binary = os.path.join(sys.argv[1], "trireme-scheduler")
    running = []
    try:
        for i in range(6):
            w.node("n%d" % i)
            w.api.merge("/api/v1/nodes/n%d/status" % i, {"status": {
                "capacity": {"cpu": "64", "memory": "64Gi", "pods": "250"}, "allocatable": {"cpu": "64", "memory": "64Gi", "pods": "250"}}})
        eventually("pods can be made", lambda: w.api.call("GET", CORE % "default" + "serviceaccounts/default")[0] == 200 and not any(
            n["spec"].get("taints") for n in w.api.items("/api/v1/nodes")), quiet=True)
        pods(w, 0, PODS // 2)  # There when they start: they race for all of these.
        running = [Scheduler(w, binary, "a"), Scheduler(w, binary, "b")]
        pods(w, PODS // 2, PODS // 2)
        eventually("two schedulers place all pods", lambda: unbound(w) == [] or unbound(w)[:5])
        bound = [sum(s.value(r'scheduler_schedule_attempts_total\{.*result="scheduled"') for s in running),
                 sum(s.value("trireme_scheduler_binding_conflicts_total") for s in running)]
        checks.ok("each once", bound[0] == PODS, bound)
        checks.ok("and count the races they lost", bound[1] > 0, bound)
        moved = [p["metadata"]["name"] for p in w.history.pods.values() if p.get("spec", {}).get("nodeName") is None]
        checks.ok("no pod lost its node", moved == [], moved[:5])
        eventually("both know all pods", lambda: [s.value(r'scheduler_scheduler_cache_size\{type="pods"') for s in running] == [PODS] * 2)
        checks.ok("none is taken for granted any more", [s.value(
            r'scheduler_scheduler_cache_size\{type="assumed_pods"') for s in running] == [0, 0])
        running[0].process.kill()
        running[0].process.wait()
        pods(w, PODS, 20)
        eventually("when one is killed the other goes on", lambda: unbound(w) == [] or unbound(w)[:5])
        pods(w, PODS + 20, 5, schedulerName="other")
        time.sleep(1)
        checks.ok("pods of another scheduler wait for it", len(unbound(w)) == 5, unbound(w))
        path = os.path.join(w.folder, "other.yaml")
        with open(path, "w") as f:
            f.write("apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofiles:\n- schedulerName: other\n")
        running.append(Scheduler(w, binary, "other", "--config", path))
        eventually("until it comes", lambda: unbound(w) == [] or unbound(w))
        config = json.loads(running[-1].get("/configz"))["componentconfig"]
        checks.ok("it tells its configuration", [p["schedulerName"] for p in config["profiles"]] == ["other"], config)
        w.api.create(CORE % "default" + "pods", {"metadata": {"name": "big"}, "spec": {"containers": [
            {"name": "c", "image": "none", "resources": {"requests": {"cpu": "100"}}}]}})
        eventually("why a pod waits is told", lambda: told(w, "default", "FailedScheduling", "0/6 nodes are available: 6 Insufficient cpu."))
        eventually("and counted, by plugin", lambda: running[1].value(
            r'scheduler_unschedulable_pods\{plugin="NodeResourcesFit",profile="default-scheduler"\}') == 1 or running[1].metrics())
        w.api.call("DELETE", CORE % "default" + "pods/big", {"gracePeriodSeconds": 0})
        eventually("until it is gone", lambda: running[1].value(r"scheduler_unschedulable_pods\{") == 0)
        storage_room(w)
        checks.ok("they run to the end", [s.process.poll() for s in running[1:]] == [None, None])
    finally:
        for s in running:
            if s.process.poll() is None:
                s.process.kill()
        w.down()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
