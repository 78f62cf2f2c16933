#!/usr/bin/env python3
"""Pod groups with a real API server, controller manager and scheduler: nodes are objects, and a few threads say of each pod what
its kubelet would. What users type, they type with kubectl.

usage: gangs.py BIN_DIR [SCENARIO...]
"""
import json
import os
import subprocess
import sys
import time

import checks
from controller_faults import World, eventually

PODS, GROUPS = "/api/v1/namespaces/%s/pods", "/apis/scheduling.x-k8s.io/v1alpha1/namespaces/%s/podgroups"
DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/podgroups.scheduling.x-k8s.io"
LABEL = "scheduling.x-k8s.io/pod-group"


class Cluster(World):
    def __init__(self, binaries):
        super().__init__(binaries, 1)
        etc = os.path.join(self.dir, "hosts", "cp-1", "etc")
        self.admin = os.path.join(etc, "admin.kubeconfig")
        self.scheduler_args = [os.path.join(binaries, "trireme-scheduler"),
                               "--kubeconfig=" + os.path.join(etc, "scheduler.kubeconfig"), "--leader-elect=false",
                               "--secure-port=0"]
        self.scheduler_log = open(os.path.join(self.folder, "scheduler.log"), "w")
        self.scheduler = None
        self.begin_scheduling()

    def begin_scheduling(self, *more):
        self.scheduler = subprocess.Popen(self.scheduler_args + list(more), stdout=self.scheduler_log, stderr=self.scheduler_log)

    def kill_scheduler(self):
        self.scheduler.kill()
        self.scheduler.wait()

    def down(self):
        self.kill_scheduler()
        super().down()

    def kubectl(self, *args, text=None):
        done = subprocess.run(["kubectl", "--kubeconfig", self.admin, "--request-timeout=20s", *args], input=text, text=True,
                              capture_output=True, check=False)
        return done.stdout + done.stderr

    def cpu_node(self, name, cpu, pods=110, **labels):
        self.node(name, **dict(labels, **{"kubernetes.io/hostname": name}))
        self.api.merge("/api/v1/nodes/%s/status" % name, {"status": {"allocatable": {
            "cpu": str(cpu), "memory": "64Gi", "pods": str(pods)}}})

    def group(self, namespace, name, least, **more):
        self.api.create(GROUPS % namespace, {"apiVersion": "scheduling.x-k8s.io/v1alpha1", "kind": "PodGroup", "metadata": {
            "name": name}, "spec": dict(more, minMember=least)})

    def pod(self, namespace, name, group=None, cpu="1", where=None, **spec):
        """where: a label of the nodes that it may run on."""
        spec["containers"] = [{"name": "c", "image": "none", "resources": {"requests": {"cpu": cpu}}}]
        spec["terminationGracePeriodSeconds"] = 0
        if where:
            spec["nodeSelector"] = {"pool": where}
        self.api.create(PODS % namespace, {"metadata": {"name": name, "labels": {LABEL: group} if group else {}}, "spec": spec})

    def gang(self, namespace, name, count, least=None, first=0, **pod):
        if first == 0:
            self.group(namespace, name, least or count)
        for i in range(first, count):
            self.pod(namespace, "%s-%d" % (name, i), name, **pod)

    def bound(self, namespace, group):
        return sum(1 for p in self.api.items(PODS % namespace) if p["metadata"].get("labels", {}).get(LABEL) == group
                   and p["spec"].get("nodeName"))

    def bound_eventually(self, name, namespace, group, count):
        eventually(name, lambda: self.bound(namespace, group) == count or self.why(namespace, group))

    def why(self, namespace, group):
        """What its pods say."""
        said = set()
        for p in self.api.items(PODS % namespace):
            if p["metadata"].get("labels", {}).get(LABEL) == group and not p["spec"].get("nodeName"):
                said |= {c.get("message", "") for c in p.get("status", {}).get("conditions", []) if c["type"] == "PodScheduled"}
        return said

    def phase(self, namespace, group):
        return self.api.get(GROUPS % namespace + "/" + group).get("status", {}).get("phase")

    def told(self, namespace, reason, about):
        return [e["message"] for e in self.api.items("/api/v1/namespaces/%s/events" % namespace)
                if e["reason"] == reason and e["involvedObject"]["name"] == about]

    def quiet_scheduler(self, seconds=1.5):
        """Long enough that it has seen all there is."""
        time.sleep(seconds)


# --- scenarios ------------------------------------------------------------------------------------------------------------------

def definition(w):
    eventually("the kind is there without anybody's doing", lambda: w.api.call("GET", DEFINITION)[0] == 200)
    eventually("and is served", lambda: "No resources found" in w.kubectl("get", "podgroups", "-A") or w.kubectl("get", "pg", "-A"))
    checks.ok("kubectl explains it", "minMember" in w.kubectl("explain", "podgroup.spec"), w.kubectl("explain", "podgroup.spec"))
    said = w.kubectl("create", "-f", "-", text=json.dumps({"apiVersion": "scheduling.x-k8s.io/v1alpha1", "kind": "PodGroup",
                     "metadata": {"name": "none", "namespace": "default"}, "spec": {"minMember": -1}}))
    checks.ok("a group of less than nobody is refused",
              "spec.minMember in body should be greater than or equal to 0" in said, said)
    w.api.merge(DEFINITION, {"metadata": {"labels": {"mine": "yes"}}})
    before = w.api.get(DEFINITION)["metadata"]["resourceVersion"]
    w.manager.kill()
    w.manager.start()
    w.namespace("later")  # The new manager works.
    checks.ok("a definition that is there is left alone", w.api.get(DEFINITION)["metadata"]["resourceVersion"] == before,
              w.api.get(DEFINITION)["metadata"])


def fits(w):
    w.namespace("fits")
    w.cpu_node("fits-1", 2, pool="fits")
    w.cpu_node("fits-2", 2, pool="fits")
    said = w.kubectl("apply", "-n", "fits", "-f", "-", text=json.dumps({
        "apiVersion": "scheduling.x-k8s.io/v1alpha1", "kind": "PodGroup", "metadata": {"name": "train"},
        "spec": {"minMember": 3, "scheduleTimeoutSeconds": 20, "minResources": {"cpu": "3"}}}))
    checks.ok("kubectl makes a group", "podgroup.scheduling.x-k8s.io/train created" in said, said)
    for i in range(2):
        w.pod("fits", "train-%d" % i, "train", where="fits")
    eventually("fewer pods than it needs wait, and say so", lambda: w.why("fits", "train") == {
        "pod group fits/train has 2 of the 3 pods that it needs"} or w.why("fits", "train"))
    checks.ok("none of them has a node", w.bound("fits", "train") == 0)
    checks.ok("the group is pending", w.phase("fits", "train") == "Pending", w.phase("fits", "train"))
    w.pod("fits", "train-2", "train", where="fits")
    w.bound_eventually("with the last one all get nodes", "fits", "train", 3)
    eventually("the group runs", lambda: w.phase("fits", "train") == "Running" or w.phase("fits", "train"))
    status = w.api.get(GROUPS % "fits" + "/train")["status"]
    checks.ok("its status counts them", status.get("scheduled") == 3 and status.get("running") == 3 and "scheduleStartTime" in status,
              status)
    shown = w.kubectl("get", "podgroup", "-n", "fits")
    checks.ok("kubectl shows it", "PHASE" in shown and "Running" in shown and "MINMEMBER" in shown, shown)
    eventually("an event tells it", lambda: "3 pods were given nodes at once" in w.told("fits", "Scheduled", "train")
               or w.told("fits", "Scheduled", "train"))
    w.pod("fits", "train-3", "train", where="fits")
    w.bound_eventually("a further pod is placed alone", "fits", "train", 4)
    for i in range(4):
        w.api.merge(PODS % "fits" + "/train-%d/status" % i, {"status": {"phase": "Succeeded"}})
    eventually("it is finished when its pods are", lambda: w.phase("fits", "train") == "Finished" or w.phase("fits", "train"))


def does_not_fit(w):
    w.namespace("big")
    w.cpu_node("big-1", 2, pool="big")
    w.gang("big", "g", 4, where="big")
    wanted = "pod group big/g needs 4 more pods placed at once and there is room for 2: g-"
    eventually("a group that does not fit says why", lambda: any(
        m.startswith(wanted) and "1 Insufficient cpu" in m for m in w.why("big", "g")) or w.why("big", "g"))
    eventually("on the group as well", lambda: any(m.startswith(wanted) for m in w.told("big", "FailedScheduling", "g"))
               or w.told("big", "FailedScheduling", "g"))
    checks.ok("none of its pods has a node", w.bound("big", "g") == 0)
    eventually("its phase says that it waits for room", lambda: w.phase("big", "g") == "PreScheduling" or w.phase("big", "g"))
    w.pod("big", "small", where="big", cpu="1500m")
    eventually("nothing is kept from others meanwhile", lambda: w.api.get(PODS % "big" + "/small")["spec"].get("nodeName") == "big-1")
    w.cpu_node("big-2", 4, pool="big")
    w.bound_eventually("with another node all get places", "big", "g", 4)
    w.group("big", "asks", 1, minResources={"cpu": "1000"})
    w.pod("big", "asks-0", "asks", cpu="1m", where="big")
    eventually("minResources that are not there are waited for", lambda: w.why("big", "asks") == {
        "pod group big/asks: the nodes have less free than its minResources: cpu"} or w.why("big", "asks"))
    w.api.merge(GROUPS % "big" + "/asks", {"spec": {"minResources": {"cpu": "1m"}}})
    w.bound_eventually("until the group asks for less", "big", "asks", 1)


def compete(w):
    w.namespace("duel")
    w.cpu_node("duel-1", 3, pool="duel")
    w.cpu_node("duel-2", 3, pool="duel")
    for name in ("a", "b"):
        w.group("duel", name, 4)
    for i in range(4):  # Each would take half of the room, if pods were placed one by one.
        for name in ("a", "b"):
            w.pod("duel", "%s-%d" % (name, i), name, where="duel")
    eventually("of two groups one gets the room", lambda: sorted((w.bound("duel", "a"), w.bound("duel", "b"))) == [0, 4]
               or (w.bound("duel", "a"), w.bound("duel", "b")))
    w.quiet_scheduler()
    counts = (w.bound("duel", "a"), w.bound("duel", "b"))
    checks.ok("and the other nothing", sorted(counts) == [0, 4], counts)
    winner, loser = ("a", "b") if counts[0] else ("b", "a")
    for i in range(4):
        w.api.call("DELETE", PODS % "duel" + "/%s-%d" % (winner, i))
    w.bound_eventually("it comes next", "duel", loser, 4)


def preempts(w):
    w.namespace("war")
    for name, value in (("low", 10), ("high", 1000)):
        w.api.create("/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": name}, "value": value})
    for i in range(3):
        w.cpu_node("war-%d" % i, 2, pool="war")
        for k in range(2):
            w.pod("war", "low-%d-%d" % (i, k), where="war", priorityClassName="low")
    eventually("pods of low priority fill the nodes", lambda: sum(1 for p in w.api.items(PODS % "war") if p["spec"].get("nodeName")) == 6)
    w.gang("war", "huge", 7, where="war", priorityClassName="high")
    eventually("a group that would not fit even without them evicts nobody", lambda: any(
        "room for 0" in m for m in w.why("war", "huge")) or w.why("war", "huge"))
    w.quiet_scheduler()
    left = [p["metadata"]["name"] for p in w.api.items(PODS % "war") if p["metadata"]["name"].startswith("low")]
    checks.ok("all of them are still there", len(left) == 6 and w.bound("war", "huge") == 0, left)
    w.gang("war", "four", 4, where="war", priorityClassName="high")
    w.bound_eventually("a group that fits with evictions gets its room", "war", "four", 4)
    left = [p["metadata"]["name"] for p in w.api.items(PODS % "war") if p["metadata"]["name"].startswith("low")]
    checks.ok("no more than needed were evicted", len(left) == 2, left)
    w.gang("war", "equal", 3, where="war", priorityClassName="high")
    w.quiet_scheduler()
    checks.ok("groups of its own priority do not evict it", w.bound("war", "equal") == 0 and w.bound("war", "four") == 4,
              (w.bound("war", "equal"), w.bound("war", "four")))


def killed(w):
    """SIGKILL in the middle of the bindings of a gang, many times."""
    w.namespace("kill")
    for i in range(4):
        w.cpu_node("kill-%d" % i, 200, pods=200, pool="kill")
    partly = 0
    for round_number in range(6):
        name = "g%d" % round_number
        w.kill_scheduler()
        w.gang("kill", name, 60, where="kill")
        w.begin_scheduling("--kube-api-qps=40", "--kube-api-burst=20")  # So slow that there is a middle.
        deadline, least = time.time() + 20, 1 + 8 * round_number
        while time.time() < deadline and w.bound("kill", name) < least:
            pass
        w.kill_scheduler()
        count = w.bound("kill", name)
        partly += 0 < count < 60
        w.begin_scheduling()
        w.bound_eventually("killed with %d of 60 bound, it goes on" % count, "kill", name, 60)
    checks.ok("most rounds were cut in the middle", partly >= 3, partly)
    nodes = {}
    for p in w.api.items(PODS % "kill"):
        nodes[p["spec"].get("nodeName")] = nodes.get(p["spec"].get("nodeName"), 0) + 1
    checks.ok("no node has more than it can take", all(n <= 200 for n in nodes.values()) and None not in nodes, nodes)


def members_go(w):
    w.namespace("loss")
    w.cpu_node("loss-1", 3, pool="loss")
    w.gang("loss", "g", 3, where="loss")
    w.bound_eventually("a group fills a node", "loss", "g", 3)
    w.gang("loss", "next", 2, where="loss")
    eventually("another waits", lambda: any("room for 0" in m for m in w.why("loss", "next")) or w.why("loss", "next"))
    w.api.call("DELETE", PODS % "loss" + "/g-1")
    w.pod("loss", "g-1b", "g", where="loss")
    w.bound_eventually("what replaces a lost pod is placed alone, before others", "loss", "g", 3)
    w.api.call("DELETE", PODS % "loss" + "/next-0")
    eventually("a group that loses a waiting pod waits for pods again", lambda: w.why("loss", "next") == {
        "pod group loss/next has 1 of the 2 pods that it needs"} or w.why("loss", "next"))
    for name in ("g-0", "g-1b", "g-2"):
        w.api.call("DELETE", PODS % "loss" + "/" + name)
    w.quiet_scheduler()
    checks.ok("even when there is room", w.bound("loss", "next") == 0)
    w.pod("loss", "next-0b", "next", where="loss")
    w.bound_eventually("and is placed when it is whole", "loss", "next", 2)
    w.pod("loss", "lost", "none", where="loss")
    eventually("a pod whose group is not there waits", lambda: w.why("loss", "none") == {"pod group loss/none does not exist"}
               or w.why("loss", "none"))
    w.group("loss", "none", 1)
    w.bound_eventually("until it is", "loss", "none", 1)


SCENARIOS = (definition, fits, does_not_fit, compete, preempts, killed, members_go)


def main():
    w = Cluster(sys.argv[1])
    chosen = sys.argv[2:]
    try:
        for scenario in SCENARIOS:
            if not chosen or scenario.__name__ in chosen or scenario is definition:
                print("-- %s" % scenario.__name__.replace("_", " "), flush=True)
                scenario(w)
    finally:
        if os.environ.get("KEEP_LOG"):
            print(open(os.path.join(w.folder, "scheduler.log")).read())
        w.down()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
