#!/usr/bin/env python3
"""What users see of controllers besides their work: statuses, conditions, events, with the texts of Kubernetes 1.36.

usage: controllers.py BIN_DIR [SCENARIO...]

The API server and the manager are real; nodes are objects, whose heartbeats are made here.
"""
import sys
import threading
import time

import checks
from controller_faults import World, eventually, settled, template

CORE, APPS, BATCH = "/api/v1/namespaces/%s/", "/apis/apps/v1/namespaces/%s/", "/apis/batch/v1/namespaces/%s/"
BUDGETS = "/apis/policy/v1/namespaces/%s/poddisruptionbudgets"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
LONG_AGO = "2020-01-01T00:00:00Z"


def stamp():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def condition(w, path, kind):
    found = [c for c in w.api.get(path).get("status", {}).get("conditions", []) if c["type"] == kind]
    return found[0] if found else {}


def told(w, namespace, reason, text=""):
    """An event with this reason, whose message has this text; else all of the reason."""
    events = [e for e in w.api.items(CORE % namespace + "events") if e["reason"] == reason]
    return any(text in e["message"] for e in events) or [e["message"] for e in events]


def definition(name, scale=False):
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
        "type": "object", "x-kubernetes-preserve-unknown-fields": True}}, "subresources": {"status": {}}}
    if scale:
        version["subresources"]["scale"] = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "%ss.example.com" % name},
            "spec": {"group": "example.com", "scope": "Namespaced", "versions": [version],
                     "names": {"plural": "%ss" % name, "singular": name, "kind": name.title()}}}


def served(w, path):
    """A resource that is not there (yet) is answered with plain text."""
    def look():
        try:
            return w.api.call("GET", path)[0] == 200
        except ValueError:
            return False
    eventually("%s is served" % path, look, quiet=True)


class Hearts:
    """Nodes that say that they live, until they are stopped."""

    def __init__(self, api):
        self.api, self.names = api, set()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            for name in list(self.names):
                self.beat(name)
            time.sleep(0.5)

    def beat(self, name):
        try:
            self.api.merge("/api/v1/nodes/%s/status" % name, {"status": {"conditions": [
                {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": stamp(),
                 "lastTransitionTime": LONG_AGO}]}})
        except OSError:
            pass  # The test is over.


# --- scenarios ------------------------------------------------------------------------------------------------------------------

def deployments(w):
    w.namespace("roll")
    path = APPS % "roll" + "deployments/d"
    body = {"metadata": {"name": "d"}, "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "d"}},
                                                "template": template({"app": "d"})}}
    w.api.create(CORE % "roll" + "resourcequotas", {"metadata": {"name": "none"},
                                                    "spec": {"hard": {"count/replicasets.apps": "0"}}})
    eventually("the quota counts", settled(w, CORE % "roll" + "resourcequotas/none", {
        "used": {"count/replicasets.apps": "0"}}), quiet=True)
    w.api.create(APPS % "roll" + "deployments", body)
    eventually("a set that cannot be made is told by a condition", lambda: condition(w, path, "Progressing").get(
        "reason") == "ReplicaSetCreateError" or condition(w, path, "Progressing"))
    eventually("and an event", lambda: told(w, "roll", "ReplicaSetCreateError", "Failed to create new replica set"))
    w.api.call("DELETE", CORE % "roll" + "resourcequotas/none")
    eventually("it is made once it can be", lambda: condition(w, path, "Progressing").get("reason")
               == "NewReplicaSetAvailable" or condition(w, path, "Progressing"))
    w.api.merge(path, {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}})
    eventually("a new template is rolled out", lambda: w.api.get(path)["metadata"]["annotations"].get(
        "deployment.kubernetes.io/revision") == "2" or w.api.get(path)["metadata"])
    w.api.merge(path, {"metadata": {"annotations": {"deprecated.deployment.rollback.to": "1"}}})
    eventually("an annotation rolls back", lambda: told(w, "roll", "DeploymentRollback",
                                                        'Rolled back deployment "d" to revision 1'))
    after = w.api.get(path)
    checks.ok("to the template of that revision", "v" not in after["spec"]["template"]["metadata"].get("annotations", {}) and
              "deprecated.deployment.rollback.to" not in after["metadata"]["annotations"], after)


def budgets(w):
    w.namespace("budget")
    path, pods = BUDGETS % "budget", CORE % "budget" + "pods"
    w.api.create(DEFINITIONS, definition("herd", scale=True))
    served(w, "/apis/example.com/v1/namespaces/budget/herds")
    herd = w.api.create("/apis/example.com/v1/namespaces/budget/herds", {
        "apiVersion": "example.com/v1", "kind": "Herd", "metadata": {"name": "h"}, "spec": {"replicas": 7}})
    owner = {"apiVersion": "example.com/v1", "kind": "Herd", "name": "h", "uid": herd["metadata"]["uid"], "controller": True}
    for name, owners in (("h-1", [owner]), ("single", [])):
        w.api.create(pods, {"metadata": dict(template({"app": name})["metadata"], name=name, ownerReferences=owners),
                            "spec": template({})["spec"]})
    for name, app in (("custom", "h-1"), ("single", "single"), ("jobs", "j"), ("none", "none")):
        w.api.create(path, {"metadata": {"name": name}, "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": app}}}})
    w.api.create(BATCH % "budget" + "jobs", {"metadata": {"name": "j"}, "spec": {"template": {
        "metadata": {"labels": {"app": "j"}}, "spec": dict(template({})["spec"], restartPolicy="Never")}}})
    eventually("a custom kind's scale counts", settled(w, path + "/custom", {
        "expectedPods": 7, "desiredHealthy": 6, "currentHealthy": 1}))
    eventually("pods that nobody controls do not", settled(w, path + "/single", {"expectedPods": 0, "currentHealthy": 1}))
    eventually("as an event says", lambda: told(w, "budget", "UnmanagedPods", "(selector: &LabelSelector{MatchLabels:map[string]string"
                                                "{app: single,},MatchExpressions:[]LabelSelectorRequirement{},}) were found to be unmanaged"))
    eventually("of a kind without scale nothing is known", lambda: (
        condition(w, path + "/jobs", "DisruptionAllowed").get("reason"),
        condition(w, path + "/jobs", "DisruptionAllowed").get("message"))
        == ("SyncFailed", "jobs.batch does not implement the scale subresource") or w.api.get(path + "/jobs"))
    eventually("as an event says", lambda: told(w, "budget", "CalculateExpectedPodCountFailed"))
    eventually("and of no pods", lambda: told(w, "budget", "NoPods", "No matching pods found"))
    w.api.merge(pods + "/single/status", {"status": {"conditions": [
        {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "lastTransitionTime": LONG_AGO}]}})
    eventually("a disruption that does not come is taken back", lambda: (
        condition(w, pods + "/single", "DisruptionTarget").get("status"),
        condition(w, pods + "/single", "DisruptionTarget").get("reason")) == ("False", None) or w.api.get(pods + "/single"))


def slices(w):
    w.namespace("slices")
    core, path = CORE % "slices", "/apis/discovery.k8s.io/v1/namespaces/slices/endpointslices"

    def seen():
        return sorted(e["targetRef"]["name"] for s in w.api.items(path) for e in s.get("endpoints") or [])
    for name, node in (("a", "n0"), ("b", "nowhere")):
        w.api.create(core + "pods", {"metadata": {"name": name, "labels": {"app": "s"}},
                                     "spec": {"nodeName": node, "containers": [{"name": "c", "image": "none"}]}})
        w.api.merge(core + "pods/%s/status" % name, {"status": {
            "phase": "Running", "podIP": "10.3.0.%d" % ord(name), "podIPs": [{"ip": "10.3.0.%d" % ord(name)}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": LONG_AGO}]}})
    service = w.api.create(core + "services", {"metadata": {"name": "s"}, "spec": {"selector": {"app": "s"}, "ports": [{"port": 80}]}})
    eventually("pods of unknown nodes are no endpoints", lambda: seen() == ["a"] or seen())
    trigger = "endpoints.kubernetes.io/last-change-trigger-time"
    checks.ok("slices tell what they follow", w.api.items(path)[0]["metadata"].get("annotations", {}).get(trigger)
              == service["metadata"]["creationTimestamp"], w.api.items(path))
    checks.ok("Endpoints do, too", w.api.get(core + "endpoints/s")["metadata"].get("annotations", {}).get(trigger)
              == service["metadata"]["creationTimestamp"], w.api.get(core + "endpoints/s"))
    w.api.merge(core + "services/s", {"spec": {"publishNotReadyAddresses": True}})
    eventually("unless not even readiness counts", lambda: seen() == ["a", "b"] or seen())
    w.api.call("DELETE", core + "services/s")
    eventually("slices go with their Service", lambda: w.api.items(path) == [])


def quotas(w):
    w.namespace("quota")
    w.api.create(DEFINITIONS, definition("gadget"))
    gadgets, quota = "/apis/example.com/v1/namespaces/quota/gadgets", CORE % "quota" + "resourcequotas/q"
    served(w, gadgets)
    w.api.create(gadgets, {"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}})
    w.api.create(CORE % "quota" + "resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"count/gadgets.example.com": "5"}}})
    eventually("objects of custom kinds are counted", settled(w, quota, {"used": {"count/gadgets.example.com": "1"}}))
    w.api.call("DELETE", gadgets + "/g")
    eventually("and no more when they are gone", settled(w, quota, {"used": {"count/gadgets.example.com": "0"}}))


def namespaces(w):
    service = "/apis/apiregistration.k8s.io/v1/apiservices"
    w.namespace("stuck")
    w.api.create(CORE % "stuck" + "configmaps", {"metadata": {"name": "c"}})
    w.api.create(service, {"metadata": {"name": "v1.broken.example.org"}, "spec": {
        "group": "broken.example.org", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 1,
        "insecureSkipTLSVerify": True, "service": {"namespace": "stuck", "name": "none"}}})
    time.sleep(1)
    w.api.call("DELETE", "/api/v1/namespaces/stuck")
    message = "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: " \
        "broken.example.org/v1: stale GroupVersion discovery: broken.example.org/v1"
    eventually("an API that does not answer is told about", lambda: condition(
        w, "/api/v1/namespaces/stuck", "NamespaceDeletionDiscoveryFailure").get("message") == message or
        w.api.get("/api/v1/namespaces/stuck"))
    eventually("what others have goes", lambda: w.api.items(CORE % "stuck" + "configmaps") == [])
    w.api.call("DELETE", service + "/v1.broken.example.org")
    eventually("and the namespace after it", lambda: w.api.call("GET", "/api/v1/namespaces/stuck")[0] == 404)


def owners(w):
    for name in ("here", "there"):
        w.namespace(name)
    owner = w.api.create(CORE % "there" + "configmaps", {"metadata": {"name": "owner"}})
    ref = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    time.sleep(1)
    w.api.create(CORE % "here" + "configmaps", {"metadata": {"name": "child", "ownerReferences": [ref]}})
    w.api.create("/api/v1/persistentvolumes", {
        "metadata": {"name": "stays", "ownerReferences": [ref]},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/none"}}})
    text = "ownerRef [v1/ConfigMap, namespace: here, name: owner, uid: %s] does not exist in namespace \"here\"" % ref["uid"]
    eventually("an owner in another namespace is none", lambda: w.api.call("GET", CORE % "here" + "configmaps/child")[0] == 404)
    eventually("as an event says", lambda: told(w, "here", "OwnerRefInvalidNamespace", text))
    checks.ok("nothing is done to what has no namespace", w.api.call("GET", "/api/v1/persistentvolumes/stays")[0] == 200)
    w.api.call("DELETE", "/api/v1/persistentvolumes/stays")


def nodes(w):
    w.namespace("lost")
    core, path = CORE % "lost" + "pods", "/api/v1/nodes/n1"
    w.node("n1")
    w.hearts.names.add("n1")
    for name, tolerations in (("short", [{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}]),
                              ("long", [{"operator": "Exists", "effect": "NoExecute"}])):
        w.api.create(core, {"metadata": {"name": name}, "spec": {"nodeName": "n1", "tolerations": tolerations,
                                                                "containers": [{"name": "c", "image": "none"}]}})
    eventually("pods run", lambda: condition(w, core + "/long", "Ready").get("status") == "True" or w.api.get(core + "/long"))
    w.hearts.names.discard("n1")

    def taints():
        return sorted((t["key"], t["effect"]) for t in w.api.get(path)["spec"].get("taints", []))
    unreachable = "node.kubernetes.io/unreachable"
    eventually("a silent node is unreachable", lambda: taints() == [(unreachable, "NoExecute"), (unreachable, "NoSchedule")] or taints())
    ready = condition(w, path, "Ready")
    checks.ok("as its conditions say", (ready["status"], ready["reason"], ready["message"]) == (
        "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status."), ready)
    eventually("and events", lambda: told(w, "default", "NodeNotReady", "Node n1 status is now: NodeNotReady"))
    eventually("and its pods", lambda: condition(w, core + "/long", "Ready").get("status") == "False" or w.api.get(core + "/long"))
    eventually("pods that do not tolerate it long leave", lambda: told(w, "lost", "TaintManagerEviction", "Marking for deletion Pod lost/short"))
    w.hearts.names.discard("n0")
    eventually("with all nodes lost nothing has to go", lambda: not any(e == "NoExecute" for _, e in taints()) or taints())
    w.hearts.names.update(["n0", "n1"])
    eventually("until they are back", lambda: taints() == [] or taints())


def collected(w):
    """Pods that no kubelet will ever end."""
    w.namespace("pods")
    core = CORE % "pods" + "pods"
    w.api.create("/api/v1/nodes", {"metadata": {"name": "off"}, "spec": {"taints": [
        {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute", "value": "nodeshutdown"}]}})
    for name, node in (("homeless", None), ("off", "off")):
        w.api.create(core, {"metadata": {"name": name, "finalizers": ["example.com/wait"]},
                            "spec": {"nodeName": node, "tolerations": [{"operator": "Exists"}],
                                     "containers": [{"name": "c", "image": "none"}]}})
        w.api.call("DELETE", core + "/" + name)
    for name in ("homeless", "off"):
        eventually("%s fails before it goes" % name, lambda: w.api.get(core + "/" + name).get("status", {}).get("phase")
                   == "Failed" or w.api.get(core + "/" + name))
        checks.ok("without a disruption", condition(w, core + "/" + name, "DisruptionTarget") == {})
        w.api.merge(core + "/" + name, {"metadata": {"finalizers": None}})
        eventually("then it is gone", lambda: w.api.call("GET", core + "/" + name)[0] == 404)


def device_taints(w, pods, group, spec, result):
    """A driver taints the device of a pod, which leaves."""
    w.api.create(group + "resourceclaims", {"metadata": {"name": "tainted"}, "spec": spec})
    w.api.create(pods, {"metadata": {"name": "q"}, "spec": {"containers": [{"name": "c", "image": "none"}], "nodeName": "n0",
                                                            "resourceClaims": [{"name": "x", "resourceClaimName": "tainted"}]}})
    result = {"devices": {"results": [dict(result["devices"]["results"][0], device="z")]}}
    w.api.merge(group + "resourceclaims/tainted/status", {"status": {"allocation": result, "reservedFor": [
        {"resource": "pods", "name": "q", "uid": w.api.get(pods + "/q")["metadata"]["uid"]}]}})
    w.api.create("/apis/resource.k8s.io/v1/resourceslices", {"metadata": {"name": "slice"}, "spec": {
        "driver": "example.com", "nodeName": "n0", "pool": {"name": "x", "generation": 1, "resourceSliceCount": 1},
        "devices": [{"name": "z", "taints": [{"key": "broken", "effect": "NoExecute"}]}]}})
    eventually("a pod with a tainted device leaves", lambda: told(w, "claims", "DeviceTaintManagerEviction", "Marking for deletion"))
    eventually("and is gone", lambda: w.api.call("GET", pods + "/q")[0] == 404)


def extended_names(w, group):
    """A quota by the names under which pods ask for the devices of a class holds for claims as well."""
    by_name, by_class = "requests.example.com/card", "requests.deviceclass.resource.kubernetes.io/carded"
    w.api.create("/apis/resource.k8s.io/v1/deviceclasses", {"metadata": {"name": "carded"}, "spec": {"extendedResourceName": "example.com/card"}})
    w.api.create(CORE % "claims" + "resourcequotas", {"metadata": {"name": "x"}, "spec": {"hard": {by_name: "3", by_class: "5"}}})
    quota = CORE % "claims" + "resourcequotas/x"
    eventually("a quota counts devices by extended names", settled(w, quota, {"used": {by_name: "0", by_class: "0"}}))
    two = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "carded", "count": 2}}]}}
    w.api.create(group + "resourceclaims", {"metadata": {"name": "two"}, "spec": two})
    eventually("at once", settled(w, quota, {"used": {by_name: "2", by_class: "2"}}))
    status, answer = w.api.call("POST", group + "resourceclaims", {"metadata": {"name": "more"}, "spec": two})
    checks.ok("and refuses what is beyond", status == 403 and "limited: %s=3" % by_name in answer.get("message", ""), answer)
    w.api.call("DELETE", "/apis/resource.k8s.io/v1/deviceclasses/carded")
    eventually("without the class its name counts nothing", settled(w, quota, {"used": {by_name: "0", by_class: "2"}}))
    w.api.call("DELETE", group + "resourceclaims/two")
    eventually("and all is given back", settled(w, quota, {"used": {by_name: "0", by_class: "0"}}))


def claims(w):
    """ResourceClaims of pods: made from templates, reserved, freed. What the scheduler would do is done here."""
    w.namespace("claims")
    group, pods = "/apis/resource.k8s.io/v1/namespaces/claims/", CORE % "claims" + "pods"
    spec = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "none"}}]}}
    pod = {"spec": {"containers": [{"name": "c", "image": "none"}], "restartPolicy": "Never", "resourceClaims": [
        {"name": "own", "resourceClaimTemplateName": "t"}, {"name": "shared", "resourceClaimName": "s"}]}}
    w.api.create(pods, dict(pod, metadata={"name": "p"}))
    eventually("a missing template is told about", lambda: told(w, "claims", "FailedResourceClaimCreation", (
        'PodResourceClaim own: resource claim template "t": resourceclaimtemplate.resource.k8s.io "t" not found')))
    w.api.create(CORE % "claims" + "resourcequotas", {"metadata": {"name": "q"}, "spec": {
        "hard": {"none.deviceclass.resource.k8s.io/devices": "3"}}})
    quota = CORE % "claims" + "resourcequotas/q"
    eventually("a quota counts devices", settled(w, quota, {"used": {"none.deviceclass.resource.k8s.io/devices": "0"}}))
    w.api.create(group + "resourceclaims", {"metadata": {"name": "s"}, "spec": spec})
    w.api.create(group + "resourceclaimtemplates", {"metadata": {"name": "t"}, "spec": {"metadata": {"labels": {"l": "1"}}, "spec": spec}})

    def status():
        return w.api.get(pods + "/p").get("status", {}).get("resourceClaimStatuses", [])
    eventually("the claim is made and noted", lambda: [s["name"] for s in status()] == ["own"] or status())
    name = status()[0]["resourceClaimName"]
    made = w.api.get(group + "resourceclaims/" + name)["metadata"]
    checks.ok("with the template's labels, the pod's name and ownership", made["labels"] == {"l": "1"} and
              made["annotations"] == {"resource.kubernetes.io/pod-claim-name": "own"} and
              made["generateName"] == "p-own-" and made["ownerReferences"][0]["name"] == "p", made)
    checks.ok("once", len(w.api.items(group + "resourceclaims")) == 2)
    result = {"devices": {"results": [{"request": "r", "driver": "example.com", "pool": "x", "device": "y"}]}}
    for claim in ("s", name):
        w.api.merge(group + "resourceclaims/" + claim, {"metadata": {"finalizers": ["resource.kubernetes.io/delete-protection"]}})
        w.api.merge(group + "resourceclaims/%s/status" % claim, {"status": {"allocation": result}})
    w.api.create(pods + "/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n0"}})
    uid = w.api.get(pods + "/p")["metadata"]["uid"]

    def reserved(claim):
        return [r["uid"] for r in w.api.get(group + "resourceclaims/" + claim).get("status", {}).get("reservedFor", [])]
    for claim in ("s", name):
        eventually("what the pod on its node uses is reserved", lambda: reserved(claim) == [uid] or reserved(claim))
    device_taints(w, pods, group, spec, result)
    w.api.merge(pods + "/p/status", {"status": {"phase": "Succeeded"}})
    eventually("a shared claim is freed", lambda: (reserved("s"), w.api.get(group + "resourceclaims/s").get("status", {}).get(
        "allocation"), w.api.get(group + "resourceclaims/s")["metadata"].get("finalizers")) == ([], None, None) or
        w.api.get(group + "resourceclaims/s"))
    eventually("the pod's own goes before it", lambda: w.api.call("GET", group + "resourceclaims/" + name)[0] == 404)
    eventually("a quota has its devices back", settled(w, quota, {"used": {"none.deviceclass.resource.k8s.io/devices": "2"}}))
    big = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "none", "count": 2}}]}}
    status, answer = w.api.call("POST", group + "resourceclaims", {"metadata": {"name": "big"}, "spec": big})
    checks.ok("and gives no more than it has", status == 403 and "exceeded quota: q" in answer.get("message", ""), answer)
    extended_names(w, group)
    w.api.call("DELETE", pods + "/p")


SCENARIOS = {f.__name__: f for f in (deployments, budgets, slices, quotas, namespaces, owners, nodes, collected, claims)}


def main():
    w = World(sys.argv[1], 1, "--node-monitor-grace-period=3s", "--node-monitor-period=500ms", "--node-startup-grace-period=1h", "--node-eviction-rate=10")
    try:
        w.hearts = Hearts(w.api)
        w.node("n0")
        w.hearts.names.add("n0")
        for name in sys.argv[2:] or SCENARIOS:
            print("%s:" % name, flush=True)
            SCENARIOS[name](w)
        checks.ok("the manager runs to the end", w.manager.process.poll() is None, w.manager.process.returncode)
        if checks.failed:
            with open(w.log) as f:
                print("".join(f.readlines()[-40:]))
    finally:
        w.down()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
