#!/usr/bin/env python3
"""Reclamation with a real API server, controller manager and scheduler: nodes are objects, and metrics.k8s.io is a custom resource
that says what the test wants.

usage: reclaim.py BIN_DIR
"""
import os
import sys
import threading
import time

import checks
from controller_faults import eventually
from gangs import PODS, Cluster

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
METRICS = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods"
CONFIG = """apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- schedulerName: default-scheduler
  pluginConfig:
  - name: NodeResourcesFit
    args: {reclaim: {periodSeconds: 1, warmUpSeconds: 1, halfLifeSeconds: 1}}
"""


def define_metrics(w):
    w.api.create(DEFINITIONS, {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "pods.metrics.k8s.io", "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}},
        "spec": {"group": "metrics.k8s.io", "scope": "Namespaced", "names": {"plural": "pods", "kind": "PodMetrics"},
                 "versions": [{"name": "v1beta1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                     "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}})

    def served():
        try:
            return w.api.call("GET", METRICS)[0] == 200
        except ValueError:
            return False
    eventually("metrics are served", served, quiet=True)


class Usage:
    """What pods use, told every second."""

    def __init__(self, w):
        self.w, self.told = w, {}
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            for name, cpu in list(self.told.items()):
                body = {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "window": "10s",
                        "containers": [{"name": "c", "usage": {"cpu": cpu, "memory": "1Mi"}}]}
                try:
                    if self.w.api.merge(METRICS + "/" + name, body)[0] == 404:
                        self.w.api.call("POST", METRICS, dict(body, apiVersion="metrics.k8s.io/v1beta1", kind="PodMetrics",
                                                              metadata={"name": name}))
                except OSError:
                    return  # The test is over.
            time.sleep(0.5)


def main():
    w = Cluster(sys.argv[1])
    try:
        config = os.path.join(w.folder, "scheduler.yaml")
        with open(config, "w") as f:
            f.write(CONFIG)
        w.kill_scheduler()
        w.begin_scheduling("--config=" + config)
        define_metrics(w)
        w.api.create("/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "batch"}, "value": -10})
        w.cpu_node("n", 8)
        for i in range(2):
            w.pod("default", "web-%d" % i, cpu="3500m")
        bound = lambda prefix: sum(1 for p in w.api.items(PODS % "default") if p["metadata"]["name"].startswith(prefix)
                                   and p["spec"].get("nodeName") and "deletionTimestamp" not in p["metadata"])
        eventually("pods reserve most of a node", lambda: bound("web") == 2)

        def batch(first, last):
            for i in range(first, last):
                w.api.create(PODS % "default", {"metadata": {"name": "batch-%d" % i, "labels": {"trireme.io/reclaim": "true"}}, "spec": {
                    "priorityClassName": "batch", "terminationGracePeriodSeconds": 0,
                    "containers": [{"name": "c", "image": "none", "resources": {"requests": {"cpu": "1"}}}]}})
        batch(0, 4)
        eventually("without news of their usage one batch pod fits beside them", lambda: bound("batch") == 1 or bound("batch"))
        w.quiet_scheduler(3)
        checks.ok("and no more", bound("batch") == 1, bound("batch"))
        usage = Usage(w)
        usage.told = {"web-0": "800m", "web-1": "800m"}
        eventually("what they do not use is given to the others", lambda: bound("batch") == 4 or bound("batch"))
        w.pod("default", "web-2", cpu="1")
        eventually("a pod with a reservation has it all the same", lambda: bound("web") == 3 or bound("web"))
        w.pod("default", "web-3", cpu="1")
        w.quiet_scheduler(3)
        checks.ok("but reservations are not given twice, and no batch pod goes for that", bound("web") == 3 and bound("batch") == 4,
                  (bound("web"), bound("batch")))
        w.api.call("DELETE", PODS % "default" + "/web-3")
        usage.told = {"web-0": "2400m", "web-1": "2400m"}
        eventually("when usage rises, as many go as are in the way", lambda: bound("batch") == 1 or bound("batch"))
        w.quiet_scheduler(3)
        checks.ok("and no more", bound("batch") == 1, bound("batch"))
        checks.ok("an event tells why", any("needed by pods that reserved it" in e["message"] for e in w.api.items(
            "/api/v1/namespaces/default/events") if e["reason"] == "Reclaimed"))
        usage.told = {}
        w.kill_scheduler()
        w.begin_scheduling("--config=" + config)
        w.quiet_scheduler(4)
        checks.ok("a new scheduler that knows nothing yet evicts nobody", bound("batch") == 1 and bound("web") == 3,
                  (bound("batch"), bound("web")))
    finally:
        if os.environ.get("KEEP_LOG"):
            print(open(os.path.join(w.folder, "scheduler.log")).read())
        w.down()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
