#!/usr/bin/env python3
"""The controller manager while its wall clock jumps: what is due happens once and soon, what is not due does not happen, and
nothing that measures time between two of its own looks is misled.

usage: controller_clock.py BIN_DIR [SCENARIO...]

libfaketime moves the manager's clock alone; the API server, the kubelets played here and everything else keep the real one.
"""
import base64
import glob
import os
import subprocess
import sys
import tempfile
import time

import checks
from controller_faults import World, eventually, quiet_for, settled, template
from controllers import APPS, BATCH, CORE, Hearts, condition

HOUR, DAY = 3600, 24 * 3600
SOON_S = 8  # A jump is noticed within a second; the rest is for a busy machine.


class Clock:
    """What is added to the manager's wall clock, in seconds."""

    def __init__(self, folder):
        self.file = os.path.join(folder, "clock")
        self.set(0)

    def set(self, seconds):
        with open(self.file + ".new", "w") as f:
            f.write("%+d" % seconds)
        os.rename(self.file + ".new", self.file)
        self.offset = seconds

    def environment(self):
        found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
        if not found:
            sys.exit("libfaketime is missing (Debian package faketime); see make deps")
        return dict(os.environ, LD_PRELOAD=found[0], FAKETIME_TIMESTAMP_FILE=self.file, FAKETIME_NO_CACHE="1",
                    FAKETIME_DONT_FAKE_MONOTONIC="1", DONT_FAKE_MONOTONIC="1")


def soon(name, look):
    start = time.time()
    if eventually(name, look):
        took = time.time() - start
        checks.ok("%s, within seconds" % name, took < SOON_S, took)


def stays(name, look, seconds=3):
    """True all the time."""
    deadline = time.time() + seconds
    while time.time() < deadline:
        seen = look()
        if seen is not True:
            break
        time.sleep(0.1)
    checks.ok(name, seen is True, seen)


def jobs_of(w, namespace):
    return sorted(j["metadata"]["name"] for j in w.api.items(BATCH % namespace + "jobs"))


# --- scenarios ------------------------------------------------------------------------------------------------------------------

def lease(w):
    """Whoever leads goes on leading: a lease's age is what a candidate saw pass, not what its times say."""
    path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-controller-manager"
    eventually("the manager leads", lambda: w.api.get(path).get("spec", {}).get("holderIdentity", "") != "", quiet=True)
    before = w.api.get(path)["spec"]
    for jump in (HOUR, -HOUR, 0):
        w.clock.set(jump)
        old = w.api.get(path)["spec"]["renewTime"]
        eventually("it renews its lease %+d s away" % jump, lambda: w.api.get(path)["spec"]["renewTime"] != old)
    after = w.api.get(path)["spec"]
    checks.ok("and was never replaced", (after["holderIdentity"], after["leaseTransitions"]) == (
        before["holderIdentity"], before["leaseTransitions"]), (before, after))


def nodes(w):
    path = "/api/v1/nodes/n0"

    def fine():
        node = w.api.get(path)
        ready = [c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"]
        return ready == ["True"] and not node["spec"].get("taints") or node
    eventually("a node is ready", fine, quiet=True)
    for jump in (HOUR, 0, -HOUR):
        w.clock.set(jump)
        stays("a node that says it lives is not lost %+d s away" % jump, fine, 5)
    w.hearts.names.discard("n0")
    soon("one that is silent is, in its own time", lambda: condition(w, path, "Ready").get("status") == "Unknown" or w.api.get(path))
    w.hearts.names.add("n0")
    w.clock.set(0)
    eventually("and comes back", fine)


def cron_job(w):
    w.namespace("cron")
    base = BATCH % "cron"
    pods = template({})
    pods["spec"]["restartPolicy"] = "Never"
    # Half an hour from now, every hour: nothing is due until the clock jumps.
    minute = (int(time.time()) // 60 + 30) % 60
    w.api.create(base + "cronjobs", {"metadata": {"name": "tick"}, "spec": {
        "schedule": "%d * * * *" % minute, "jobTemplate": {"spec": {"template": pods}}}})
    stays("nothing is due", lambda: jobs_of(w, "cron") == [] or jobs_of(w, "cron"), 2)
    w.clock.set(HOUR)
    soon("a jump over a time starts its Job", lambda: len(jobs_of(w, "cron")) == 1 or jobs_of(w, "cron"))
    w.clock.set(0)
    stays("back before it nothing starts", lambda: len(jobs_of(w, "cron")) == 1 or jobs_of(w, "cron"))
    w.clock.set(HOUR)
    stays("nor when the time comes again", lambda: len(jobs_of(w, "cron")) == 1 or jobs_of(w, "cron"))
    w.clock.set(5 * HOUR)
    soon("of several missed times the last one counts", lambda: len(jobs_of(w, "cron")) == 2 or jobs_of(w, "cron"))
    stays("once", lambda: len(jobs_of(w, "cron")) == 2 or jobs_of(w, "cron"), 2)
    w.manager.kill()
    w.clock.set(0)
    w.manager.start()
    stays("a new manager with the clock set back starts none", lambda: len(jobs_of(w, "cron")) == 2 or jobs_of(w, "cron"), 5)
    w.api.call("DELETE", base + "cronjobs/tick")


def times_to_live(w):
    w.namespace("ttl")
    pods = template({}, fate="Succeeded")
    pods["spec"]["restartPolicy"] = "Never"
    path = BATCH % "ttl" + "jobs"
    w.api.create(path, {"metadata": {"name": "j"}, "spec": {"ttlSecondsAfterFinished": HOUR, "template": pods}})
    eventually("a Job is done", settled(w, path + "/j", {"succeeded": 1}))
    w.api.create(CORE % "kube-system" + "secrets", {
        "metadata": {"name": "bootstrap-token-fedcba"}, "type": "bootstrap.kubernetes.io/token",
        "stringData": {"token-id": "fedcba", "token-secret": "0123456789abcdef",
                       "expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + HOUR))}})
    w.clock.set(-DAY)
    stays("a day back it stays", lambda: jobs_of(w, "ttl") == ["j"] or jobs_of(w, "ttl"))
    w.clock.set(2 * HOUR)
    soon("after its time it goes", lambda: jobs_of(w, "ttl") == [] or jobs_of(w, "ttl"))
    soon("and a token that ran out", lambda: w.api.call("GET", CORE % "kube-system" + "secrets/bootstrap-token-fedcba")[0] == 404)
    w.clock.set(0)


def deadlines(w):
    w.namespace("late")
    pods = template({})
    pods["spec"]["restartPolicy"] = "Never"
    path = BATCH % "late" + "jobs"
    uid = w.api.create(path, {"metadata": {"name": "j"}, "spec": {
        "activeDeadlineSeconds": HOUR, "template": pods}})["metadata"]["uid"]
    eventually("a Job runs", settled(w, path + "/j", {"active": 1, "ready": 1}))
    w.clock.set(-DAY)
    stays("its deadline does not come by going back", settled(w, path + "/j", {"active": 1, "ready": 1}))
    w.clock.set(2 * HOUR)
    soon("it does by going on", lambda: condition(w, path + "/j", "Failed").get("reason") == "DeadlineExceeded" or w.api.get(path + "/j"))
    w.clock.set(0)
    checks.ok("one pod was made", w.history.made(uid) == 1, w.history.made(uid))


def retries(w):
    """Failures that lie in the future of a clock that was set back hold nothing up, and none is counted twice."""
    w.namespace("retry")
    pods = template({}, fate="Failed")
    pods["spec"]["restartPolicy"] = "Never"
    path = BATCH % "retry" + "jobs"
    w.clock.set(-HOUR)
    uid = w.api.create(path, {"metadata": {"name": "j"}, "spec": {"backoffLimit": 2, "template": pods}})["metadata"]["uid"]
    eventually("a Job whose pods fail is tried again, then fails", lambda: condition(w, path + "/j", "Failed").get("reason")
               == "BackoffLimitExceeded" or w.api.get(path + "/j"))
    checks.ok("after as many tries as it may have", w.history.made(uid) == 3, w.history.made(uid))
    w.clock.set(0)


def rollout(w):
    """A Deployment rolls while the clock goes to and fro: each pod is made once, and no deadline is said to have passed for one
    that was done."""
    w.namespace("roll")
    path = APPS % "roll" + "deployments/web"
    w.api.create(APPS % "roll" + "deployments", {"metadata": {"name": "web"}, "spec": {
        "replicas": 20, "selector": {"matchLabels": {"a": "web"}}, "template": template({"a": "web"})}})
    eventually("a Deployment comes up", settled(w, path, {"readyReplicas": 20, "availableReplicas": 20}))
    for n, jump in enumerate((HOUR, -HOUR, 0)):
        w.api.merge(path, {"spec": {"template": {"metadata": {"annotations": {"v": str(n)}}}}})
        w.clock.set(jump)
        rolled = settled(w, path, {"observedGeneration": w.api.get(path)["metadata"]["generation"], "replicas": 20,
                                   "updatedReplicas": 20, "readyReplicas": 20, "availableReplicas": 20})
        eventually("it rolls %+d s away" % jump, rolled)
        why = condition(w, path, "Progressing")
        eventually("and is done", lambda: condition(w, path, "Progressing").get("reason") == "NewReplicaSetAvailable" or why)
    quiet_for(w)
    sets = [s["metadata"]["uid"] for s in w.api.items(APPS % "roll" + "replicasets")]
    checks.ok("of each version every pod was made once", sorted(w.history.made(u) for u in sets) == [20] * 4,
              [w.history.made(u) for u in sets])


def requests(w):
    """Certificate requests that nobody answers go after a day."""
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    key = os.path.join(w.folder, "key")
    subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-subj", "/CN=x", "-out", key + ".csr"], check=True, stderr=subprocess.DEVNULL)
    with open(key + ".csr", "rb") as f:
        body = base64.b64encode(f.read()).decode()
    w.api.create(path, {"metadata": {"name": "old"}, "spec": {
        "request": body, "signerName": "example.com/none", "usages": ["client auth"]}})
    w.clock.set(DAY - HOUR)
    stays("a request waits", lambda: w.api.call("GET", path + "/old")[0] == 200)
    w.clock.set(DAY + HOUR)
    eventually("not for more than a day", lambda: w.api.call("GET", path + "/old")[0] == 404)
    w.clock.set(0)


SCENARIOS = {f.__name__: f for f in (lease, nodes, cron_job, times_to_live, deadlines, retries, rollout, requests)}


def main():
    with tempfile.TemporaryDirectory(prefix="trireme-clock-") as folder:
        clock = Clock(folder)
        w = World(sys.argv[1], 1, "--node-monitor-grace-period=3s", "--node-monitor-period=500ms", "--leader-elect=true",
                  environment=clock.environment())
        w.clock = clock
        try:
            w.hearts = Hearts(w.api)
            w.node("n0")
            w.hearts.names.add("n0")
            for name in sys.argv[2:] or SCENARIOS:
                print("%s:" % name, flush=True)
                SCENARIOS[name](w)
            checks.ok("the manager runs to the end", w.manager.process.poll() is None, w.manager.process.returncode)
            with open(w.log) as f:
                lines = f.readlines()
            checks.ok("and told of the jumps", any("the clock jumped by" in line for line in lines), lines[-5:])
            lost = [line for line in lines if "already exists" in line]
            checks.ok("no event took another's name", not lost, lost[:3])
            if checks.failed:
                print("".join(lines[-40:]))
        finally:
            w.down()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
