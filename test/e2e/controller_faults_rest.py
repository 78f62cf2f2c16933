#!/usr/bin/env python3
"""The controllers that make no pods, under the faults of controller_faults.py: killed, cut off and interfered with while Services,
accounts, nodes, certificates, quotas, budgets, roles, volumes, claims and policies change under them.

usage: controller_faults_rest.py BIN_DIR [SEED [SCENARIO...]]
"""
import base64
import ipaddress
import os
import random
import subprocess
import sys
import time

import checks
from controller_faults import Chaos, World, eventually, quiet_for, settled, template
from controllers import APPS, BATCH, BUDGETS, CORE, Hearts, condition, stamp

CLAIMS = "/apis/resource.k8s.io/v1/namespaces/%s/"
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


def names(w, path):
    return sorted(o["metadata"]["name"] for o in w.api.items(path))


def gone(w, path):
    return lambda: w.api.call("GET", path)[0] == 404 or w.api.get(path)


# --- scenarios ------------------------------------------------------------------------------------------------------------------

def replication(w):
    """ReplicationControllers, and pods that come to have, or lose, an owner."""
    w.namespace("rc")
    path, pods = CORE % "rc" + "replicationcontrollers", CORE % "rc" + "pods"
    orphans = [w.api.create(pods, {"metadata": {"name": "o%d" % i, "labels": {"a": "rc"}}, "spec": template({})["spec"]})
               for i in range(4)]
    with Chaos(w, 6, [path + "/r"]):
        uid = w.api.create(path, {"metadata": {"name": "r"}, "spec": {
            "replicas": 20, "selector": {"a": "rc"}, "template": template({"a": "rc"})}})["metadata"]["uid"]
    eventually("a ReplicationController comes up", settled(w, path + "/r", {"replicas": 20, "readyReplicas": 20, "availableReplicas": 20}))
    checks.ok("it took the pods that fitted and made the rest", w.history.made(uid) == 20 and len(names(w, pods)) == 20,
              (w.history.made(uid), len(names(w, pods))))
    with Chaos(w, 4, [path + "/r"]):
        w.api.merge(pods + "/o0", {"metadata": {"labels": {"a": "other"}}})
    eventually("a pod that no longer fits is let go and replaced", lambda: not w.api.get(pods + "/o0")["metadata"].get(
        "ownerReferences") and w.api.get(path + "/r")["status"].get("readyReplicas") == 20 or w.api.get(pods + "/o0"))
    quiet_for(w)
    checks.ok("by one", w.history.made(uid) == 20, w.history.made(uid))
    with Chaos(w, 4, [path + "/r"]):
        w.api.merge(path + "/r", {"spec": {"replicas": 3}})
    eventually("it shrinks", settled(w, path + "/r", {"replicas": 3, "readyReplicas": 3}))
    with Chaos(w, 4):
        w.api.call("DELETE", path + "/r", {"propagationPolicy": "Foreground"})
    eventually("deleted, its pods go first", gone(w, path + "/r"))
    checks.ok("and only they", names(w, pods) == ["o0"], names(w, pods))
    w.api.call("DELETE", pods + "/o0", {"preconditions": {"uid": orphans[0]["metadata"]["uid"]}})


def endpoints(w):
    """Endpoints and EndpointSlices of 150 pods: each address once when all is quiet, and no slice too many."""
    w.namespace("ep")
    core, slices = CORE % "ep", "/apis/discovery.k8s.io/v1/namespaces/ep/endpointslices"

    def pod(name, address):
        w.api.create(core + "pods", {"metadata": {"name": name, "labels": {"app": "s"}, "annotations": {"fate": "Pending"}},
                                     "spec": template({})["spec"]})
        w.api.merge(core + "pods/%s/status" % name, {"status": {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": stamp()}]}})

    def in_slices():
        return sorted(e["addresses"][0] for s in w.api.items(slices) for e in s.get("endpoints") or [])

    def in_endpoints():
        return sorted(a["ip"] for s in w.api.get(core + "endpoints/s").get("subsets") or [] for a in s.get("addresses") or [])
    wanted = sorted("10.5.0.%d" % i for i in range(1, 151))
    with Chaos(w, 8, [core + "services/s"]):
        w.api.create(core + "services", {"metadata": {"name": "s"}, "spec": {"selector": {"app": "s"}, "ports": [{"port": 80}]}})
        for i in range(1, 151):
            pod("p%d" % i, "10.5.0.%d" % i)
    eventually("slices have every pod once", lambda: in_slices() == wanted or len(in_slices()))
    eventually("Endpoints have", lambda: in_endpoints() == wanted or len(in_endpoints()))
    checks.ok("in two slices", len(w.api.items(slices)) == 2, len(w.api.items(slices)))
    with Chaos(w, 8, [core + "services/s"]):
        for i in range(1, 101):
            w.api.call("DELETE", core + "pods/p%d" % i, {"gracePeriodSeconds": 0})
    wanted = sorted("10.5.0.%d" % i for i in range(101, 151))
    eventually("pods that are gone leave them", lambda: in_slices() == wanted and in_endpoints() == wanted or (
        len(in_slices()), len(in_endpoints())))
    with Chaos(w, 3):
        w.api.call("DELETE", core + "services/s")
    eventually("they go with their Service", lambda: w.api.items(slices) == [] and "s" not in names(w, core + "endpoints"))


def accounts(w):
    """Accounts, the CA's ConfigMap and tokens in Secrets are there again whoever removes them."""
    w.namespace("acc")
    core = CORE % "acc"
    with Chaos(w, 5):
        for n in range(3):
            w.api.call("DELETE", core + "serviceaccounts/default")
            w.api.call("DELETE", core + "configmaps/kube-root-ca.crt")
            time.sleep(0.1)
    eventually("the account is made again", lambda: "default" in names(w, core + "serviceaccounts"))
    eventually("and the CA", lambda: "BEGIN CERTIFICATE" in w.api.get(core + "configmaps/kube-root-ca.crt").get("data", {}).get("ca.crt", ""))
    with Chaos(w, 3, [core + "configmaps/kube-root-ca.crt"]):
        w.api.merge(core + "configmaps/kube-root-ca.crt", {"data": {"ca.crt": "none", "more": "x"}})
    eventually("which nobody can change", lambda: list(w.api.get(core + "configmaps/kube-root-ca.crt")["data"]) == ["ca.crt"] and
               "BEGIN" in w.api.get(core + "configmaps/kube-root-ca.crt")["data"]["ca.crt"])
    account = w.api.create(core + "serviceaccounts", {"metadata": {"name": "robot"}})
    with Chaos(w, 5):
        for i in range(10):
            w.api.create(core + "secrets", {"metadata": {"name": "t%d" % i, "annotations": {
                "kubernetes.io/service-account.name": "robot"}}, "type": "kubernetes.io/service-account-token"})
    eventually("secrets get tokens", lambda: all({"token", "ca.crt", "namespace"} <= set(s.get("data", {})) and s["metadata"][
        "annotations"]["kubernetes.io/service-account.uid"] == account["metadata"]["uid"] for s in w.api.items(core + "secrets")))
    with Chaos(w, 4):
        w.api.call("DELETE", core + "serviceaccounts/robot")
    eventually("which go with their account", lambda: names(w, core + "secrets") == [] or names(w, core + "secrets"))


def quotas(w):
    """What is used is exact again after everything."""
    w.namespace("qt")
    core, quota = CORE % "qt", CORE % "qt" + "resourcequotas/q"
    w.api.create(core + "resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {
        "pods": "40", "requests.cpu": "40", "configmaps": "30", "count/deployments.apps": "5"}}})
    eventually("a quota counts", lambda: "used" in w.api.get(quota).get("status", {}), quiet=True)
    with Chaos(w, 8, [quota]):
        pods = template({"a": "q"})
        pods["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "500m"}}
        w.api.create(APPS % "qt" + "deployments", {"metadata": {"name": "d"}, "spec": {
            "replicas": 30, "selector": {"matchLabels": {"a": "q"}}, "template": pods}})
        for i in range(10):
            w.api.create(core + "configmaps", {"metadata": {"name": "m%d" % i}})
        for i in range(5):
            w.api.call("DELETE", core + "configmaps/m%d" % i)
    wanted = {"pods": "30", "requests.cpu": "15", "configmaps": "6", "count/deployments.apps": "1"}
    eventually("what is used is counted", lambda: w.api.get(quota)["status"]["used"] == wanted or w.api.get(quota)["status"]["used"])
    with Chaos(w, 6, [quota]):
        w.api.merge(APPS % "qt" + "deployments/d", {"spec": {"replicas": 80}})
    eventually("as many pods are made as it allows", lambda: w.api.get(quota)["status"]["used"]["pods"] == "40" or w.api.get(quota)["status"])
    with Chaos(w, 6, [quota]):
        w.api.call("DELETE", APPS % "qt" + "deployments/d", {"propagationPolicy": "Foreground"})
    eventually("and given back", lambda: w.api.get(quota)["status"]["used"] == {
        "pods": "0", "requests.cpu": "0", "configmaps": "6", "count/deployments.apps": "0"} or w.api.get(quota)["status"]["used"])


def short_lives(w):
    """Jobs whose time has come go, with their pods; the others stay."""
    w.namespace("lives")
    path = BATCH % "lives" + "jobs"
    pods = template({}, fate="Succeeded")
    pods["spec"]["restartPolicy"] = "Never"
    with Chaos(w, 8):
        for i in range(12):
            w.api.create(path, {"metadata": {"name": "j%d" % i}, "spec": dict(
                {"ttlSecondsAfterFinished": 1} if i % 2 else {}, template=pods)})
    eventually("finished Jobs go when they should", lambda: names(w, path) == ["j%d" % i for i in (0, 10, 2, 4, 6, 8)] or names(w, path))
    eventually("with their pods", lambda: len(names(w, CORE % "lives" + "pods")) == 6 or names(w, CORE % "lives" + "pods"))
    made = [j["metadata"]["uid"] for j in w.api.items(path)]
    checks.ok("and none ran twice", w.history.made(*made) == 6, w.history.made(*made))


def certificates(w):
    """A node's request is approved and signed, once."""
    key = os.path.join(w.folder, "node.key")
    subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
                    "-subj", "/O=system:nodes/CN=system:node:n7", "-out", key + ".csr"], check=True, stderr=subprocess.DEVNULL)
    with open(key + ".csr", "rb") as f:
        request = base64.b64encode(f.read()).decode()
    spec = {"request": request, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["digital signature", "client auth"]}
    with Chaos(w, 6, [REQUESTS + "/c3"]):
        for i in range(6):
            w.api.create(REQUESTS, {"metadata": {"name": "c%d" % i}, "spec": spec})
            approved = [{"type": "Approved" if i % 3 else "Denied", "status": "True", "reason": "Test", "message": "x"}]
            w.api.merge(REQUESTS + "/c%d/approval" % i, {"status": {"conditions": approved}})

    def signed():
        return [i for i in range(6) if w.api.get(REQUESTS + "/c%d" % i).get("status", {}).get("certificate")]
    eventually("what is approved is signed, what is denied is not", lambda: signed() == [1, 2, 4, 5] or signed())
    first = {i: w.api.get(REQUESTS + "/c%d" % i)["status"]["certificate"] for i in signed()}
    with Chaos(w, 3, [REQUESTS + "/c1"]):
        time.sleep(0.3)
    checks.ok("once", first == {i: w.api.get(REQUESTS + "/c%d" % i)["status"]["certificate"] for i in signed()})
    ca = os.path.join(w.pki, "ca.crt")
    with open(key + ".crt", "wb") as f:
        f.write(base64.b64decode(first[1]))
    shown = subprocess.run(["openssl", "verify", "-CAfile", ca, key + ".crt"], capture_output=True, text=True, check=False)
    checks.ok("by the cluster's CA", shown.returncode == 0, shown.stdout + shown.stderr)


def roles(w):
    """Aggregated roles have the rules of what they select, no more, no less."""
    rule = {"apiGroups": ["example.com"], "resources": ["a0"], "verbs": ["get"]}
    with Chaos(w, 6):
        w.api.create(ROLES, {"metadata": {"name": "sum"}, "aggregationRule": {"clusterRoleSelectors": [
            {"matchLabels": {"into": "sum"}}]}, "rules": []})
        for i in range(8):
            w.api.create(ROLES, {"metadata": {"name": "part-%d" % i, "labels": {"into": "sum"}},
                                 "rules": [dict(rule, resources=["a%d" % i])]})
        w.api.call("DELETE", ROLES + "/part-3")

    def rules():
        return sorted(r["resources"][0] for r in w.api.get(ROLES + "/sum").get("rules") or [])
    eventually("rules are gathered", lambda: rules() == ["a%d" % i for i in (0, 1, 2, 4, 5, 6, 7)] or rules())
    with Chaos(w, 4):
        w.api.merge(ROLES + "/sum", {"rules": [dict(rule, resources=["mine"])]})
        w.api.merge(ROLES + "/part-0", {"metadata": {"labels": {"into": None}}})
    eventually("and are what was selected, whatever is written there", lambda: rules() == ["a%d" % i for i in (1, 2, 4, 5, 6, 7)] or rules())
    for name in ["sum"] + ["part-%d" % i for i in range(8)]:
        w.api.call("DELETE", ROLES + "/" + name)


def budgets(w):
    """Budgets count right at the end, and evictions never take more than they allow."""
    w.namespace("pdb")
    core, path = CORE % "pdb", BUDGETS % "pdb" + "/b"
    w.api.create(BUDGETS % "pdb", {"metadata": {"name": "b"}, "spec": {"minAvailable": 8, "selector": {"matchLabels": {"a": "b"}}}})
    with Chaos(w, 4, [path]):
        w.api.create(APPS % "pdb" + "deployments", {"metadata": {"name": "d"}, "spec": {
            "replicas": 10, "selector": {"matchLabels": {"a": "b"}}, "template": template({"a": "b"})}})
    eventually("a budget counts", settled(w, path, {"currentHealthy": 10, "desiredHealthy": 8, "expectedPods": 10, "disruptionsAllowed": 2}))
    fewest, evicted = 10, 0
    with Chaos(w, 8, [path]):
        deadline = time.time() + 20
        while evicted < 10 and time.time() < deadline:
            alive = [p for p in w.api.items(core + "pods") if "deletionTimestamp" not in p["metadata"]]
            ready = [p for p in alive if condition(w, core + "pods/" + p["metadata"]["name"], "Ready").get("status") == "True"]
            fewest = min(fewest, len(ready))
            if ready:
                name = w.random.choice(ready)["metadata"]["name"]
                evicted += w.api.call("POST", core + "pods/%s/eviction" % name, {
                    "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}})[0] == 201
    checks.ok("ten pods were evicted under it", evicted == 10, evicted)
    checks.ok("and never were there fewer than it wants", fewest >= 8, fewest)
    eventually("it counts right in the end", settled(w, path, {"currentHealthy": 10, "disruptionsAllowed": 2}))


def nodes(w):
    """Ranges of nodes never overlap, taints come and go, pods of a node that is gone are."""
    w.namespace("nd")
    path, pods = "/api/v1/nodes", CORE % "nd" + "pods"
    with Chaos(w, 8):
        for i in range(40):
            w.api.create(path, {"metadata": {"name": "r%d" % i}})
            if i % 4 == 3:
                w.api.call("DELETE", path + "/r%d" % (i - 1))

    def ranges():
        return [n["spec"].get("podCIDR") for n in w.api.items(path) if n["metadata"]["name"].startswith("r")]
    eventually("every node has a range", lambda: None not in ranges() or ranges())
    nets = [ipaddress.ip_network(r) for r in ranges()]
    checks.ok("of its own, within the cluster's", len(set(nets)) == 30 and all(
        n.subnet_of(ipaddress.ip_network("10.244.0.0/16")) and n.prefixlen == 24 for n in nets), ranges())
    notes = [n["metadata"].get("annotations", {}).get("node.alpha.kubernetes.io/ttl") for n in w.api.items(path)]
    checks.ok("and is told how long to cache", all(x == "0" for x in notes), notes)
    w.api.create(pods, {"metadata": {"name": "stays"}, "spec": template({})["spec"]})
    w.stays = 1
    for i in range(6):
        w.api.create(pods, {"metadata": {"name": "p%d" % i}, "spec": dict(template({})["spec"], nodeName="r%d" % i,
                                                                         tolerations=[{"operator": "Exists"}])})
    with Chaos(w, 4):
        for i in range(40):
            w.api.call("DELETE", path + "/r%d" % i)


def lost(w):
    """A node is lost, its pods leave it once; it comes back clean."""
    w.namespace("lost")
    path, pods = "/api/v1/nodes/l0", CORE % "lost" + "pods"
    w.node("l0")
    w.hearts.names.add("l0")
    eventually("a node is there", lambda: not w.api.get(path)["spec"].get("taints"), quiet=True)
    spec = dict(template({})["spec"], nodeName="l0")
    for name, seconds in (("soon", 1), ("never", None)):
        toleration = {"operator": "Exists", "effect": "NoExecute"}
        w.api.create(pods, {"metadata": {"name": name}, "spec": dict(spec, tolerations=[
            dict(toleration, tolerationSeconds=seconds) if seconds else toleration])})
    with Chaos(w, 3):
        w.hearts.names.discard("l0")
        time.sleep(1)
    eventually("a silent node is tainted", lambda: sorted(t["effect"] for t in w.api.get(path)["spec"].get("taints", [])) == [
        "NoExecute", "NoSchedule"] or w.api.get(path)["spec"])
    with Chaos(w, 4):
        time.sleep(1)
    eventually("who does not stand it leaves", lambda: names(w, pods) == ["never"] or names(w, pods))
    with Chaos(w, 3):
        w.hearts.names.add("l0")
        time.sleep(0.5)
    eventually("back it is without taints", lambda: not w.api.get(path)["spec"].get("taints") or w.api.get(path)["spec"])
    w.hearts.names.discard("l0")
    w.api.call("DELETE", path)


def volumes(w):
    """Claims and volumes find each other one to one, and what is in use is not let go."""
    w.namespace("vol")
    claims, pods = CORE % "vol" + "persistentvolumeclaims", CORE % "vol" + "pods"
    path = "/api/v1/persistentvolumes"
    with Chaos(w, 10):
        for i in range(12):
            w.api.create(path, {"metadata": {"name": "v%d" % i}, "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "hand",
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/none"}}})
            w.api.create(claims, {"metadata": {"name": "c%d" % i}, "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "hand", "resources": {"requests": {"storage": "1Gi"}}}})

    def pairs():
        return {c["metadata"]["name"]: c["spec"].get("volumeName") for c in w.api.items(claims) if c["status"].get("phase") == "Bound"}
    eventually("every claim has a volume", lambda: len(pairs()) == 12 or pairs())
    backs = {v["spec"]["claimRef"]["name"]: v["metadata"]["name"] for v in w.api.items(path) if v["spec"].get("claimRef")}
    checks.ok("and every volume that claim", len(set(pairs().values())) == 12 and backs == pairs(), (backs, pairs()))
    w.api.create(pods, {"metadata": {"name": "user"}, "spec": dict(template({})["spec"], volumes=[
        {"name": "v", "persistentVolumeClaim": {"claimName": "c0"}}])})
    with Chaos(w, 5):
        for i in range(12):
            w.api.call("DELETE", claims + "/c%d" % i)
    eventually("claims go, but the one in use", lambda: names(w, claims) == ["c0"] or names(w, claims))
    released = lambda: sorted(v["metadata"]["name"] for v in w.api.items(path) if v["status"].get("phase") == "Released")
    eventually("their volumes are released", lambda: len(released()) == 11 or released())
    checks.ok("the other one is not", w.api.get(path + "/" + backs["c0"])["status"]["phase"] == "Bound")
    with Chaos(w, 4):
        w.api.call("DELETE", path + "/" + backs["c0"])
        w.api.call("DELETE", pods + "/user", {"gracePeriodSeconds": 0})
    eventually("after its pod it goes as well", lambda: names(w, claims) == [] or w.api.items(claims))
    eventually("and its volume", gone(w, path + "/" + backs["c0"]))
    w.api.create(pods, {"metadata": {"name": "own"}, "spec": dict(template({})["spec"], volumes=[{"name": "scratch", "ephemeral": {
        "volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "hand", "resources": {
            "requests": {"storage": "1Mi"}}}}}}])})
    with Chaos(w, 3):
        time.sleep(0.2)
    eventually("a pod's own claim is made", lambda: names(w, claims) == ["own-scratch"] or names(w, claims))
    with Chaos(w, 3):
        w.api.call("DELETE", pods + "/own", {"gracePeriodSeconds": 0})
    eventually("and goes with it", lambda: names(w, claims) == [] or names(w, claims))
    for name in names(w, path):
        w.api.call("DELETE", path + "/" + name)


def device_claims(w):
    """A pod's ResourceClaim is made once and goes with the pod."""
    w.namespace("dev")
    group, pods = CLAIMS % "dev", CORE % "dev" + "pods"
    spec = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "none"}}]}}
    with Chaos(w, 6):
        w.api.create(group + "resourceclaimtemplates", {"metadata": {"name": "t"}, "spec": {"spec": spec}})
        for i in range(10):
            w.api.create(pods, {"metadata": {"name": "p%d" % i}, "spec": dict(
                template({})["spec"], nodeName=None, resourceClaims=[{"name": "own", "resourceClaimTemplateName": "t"}])})

    def named():
        return sorted(s["resourceClaimName"] for p in w.api.items(pods) for s in p["status"].get("resourceClaimStatuses", []))
    eventually("every pod has a claim", lambda: len(named()) == 10 and named() == names(w, group + "resourceclaims") or (
        named(), names(w, group + "resourceclaims")))
    with Chaos(w, 5):
        for i in range(10):
            w.api.call("DELETE", pods + "/p%d" % i, {"gracePeriodSeconds": 0})
    eventually("which goes with it", lambda: names(w, group + "resourceclaims") == [] or names(w, group + "resourceclaims"))


def policies(w):
    """Policies are type checked whatever happens, for the generation they have."""
    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    with Chaos(w, 5, [path + "/p0"]):
        for i in range(4):
            w.api.create(path, {"metadata": {"name": "p%d" % i}, "spec": {
                "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["*"],
                                                        "resources": ["deployments"]}]},
                "validations": [{"expression": "object.spec.replicas < 5" if i % 2 else "object.spec.copies < 5"}]}})

    def seen():
        found = []
        for i in range(4):
            o = w.api.get(path + "/p%d" % i)
            status = o.get("status", {})
            if status.get("observedGeneration") == o["metadata"]["generation"]:
                found.append(len(status.get("typeChecking", {}).get("expressionWarnings", [])))
        return found
    eventually("policies are checked", lambda: seen() == [1, 0, 1, 0] or seen())
    with Chaos(w, 4):
        w.api.merge(path + "/p0", {"spec": {"validations": [{"expression": "object.spec.replicas < 6"}]}})
    eventually("and again when they change", lambda: seen() == [0, 0, 1, 0] or seen())
    for i in range(4):
        w.api.call("DELETE", path + "/p%d" % i)


def leftovers(w):
    """Nodes were removed above with pods on them. A pod is left alone for 40 s after its node was missed, since nodes come back,
    and nodes are looked for every 20 s."""
    eventually("pods of nodes that are gone go", lambda: names(w, CORE % "nd" + "pods") in ([], ["stays"]) and not names(
        w, CORE % "lost" + "pods") or (names(w, CORE % "nd" + "pods"), names(w, CORE % "lost" + "pods")), patience=120)
    checks.ok("and no others", len(names(w, CORE % "nd" + "pods")) == w.stays, names(w, CORE % "nd" + "pods"))


SCENARIOS = {f.__name__: f for f in (replication, endpoints, accounts, quotas, short_lives, certificates, roles, budgets, nodes, lost,
                                     volumes, device_claims, policies, leftovers)}


def main():
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    print("seed %d" % seed, flush=True)
    w = World(sys.argv[1], seed, "--node-monitor-grace-period=3s", "--node-monitor-period=500ms", "--node-startup-grace-period=1h",
              "--node-eviction-rate=10", "--allocate-node-cidrs", "--cluster-signing-cert-file={pki}/ca.crt",
              "--cluster-signing-key-file={pki}/ca.key")
    try:
        w.hearts, w.stays = Hearts(w.api), 0
        w.node("n0")
        w.hearts.names.add("n0")
        for name in sys.argv[3:] or SCENARIOS:
            print("%s:" % name, flush=True)
            SCENARIOS[name](w)
        checks.ok("the manager runs to the end", w.manager.process.poll() is None, w.manager.process.returncode)
        print("  %d kills, %d cuts" % (w.manager.kills, w.cuts))
        if checks.failed:
            with open(w.log) as f:
                print("".join(f.readlines()[-40:]))
    finally:
        w.down()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
