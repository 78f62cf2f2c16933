#!/usr/bin/env python3
"""Admission plugins: Pod Security, those that are optional, their flags and configuration.

usage: admission_plugins.py BIN_DIR
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import admission as base
import checks
from admission import Api, ok, replay

PODS = "/api/v1/namespaces/%s/pods"
POLICY = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata}
"""
CONFIG = """apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodSecurity
  configuration:
    apiVersion: pod-security.admission.config.k8s.io/v1
    kind: PodSecurityConfiguration
    defaults: {warn: baseline, warn-version: v1.30}
    exemptions: {namespaces: [free], usernames: [], runtimeClasses: []}
- name: EventRateLimit
  path: limits.yaml
- name: PodNodeSelector
  configuration:
    podNodeSelectorPluginConfig: {clusterDefaultNodeSelector: "pool=common"}
"""
LIMITS = """apiVersion: eventratelimit.admission.k8s.io/v1alpha1
kind: Configuration
limits: [{type: Namespace, qps: 1, burst: 2}]
"""


def pod(name, **spec):
    return {"metadata": {"name": name}, "spec": dict({"automountServiceAccountToken": False, "containers": [
        {"name": "c", "image": "i", **spec.pop("container", {})}]}, **spec)}


GOOD = {"container": {"securityContext": {
    "allowPrivilegeEscalation": False, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"}}}}


def make_namespace(api, name, annotations=None, **labels):
    labels = {"pod-security.kubernetes.io/" + k.replace("_", "-"): v for k, v in labels.items()}
    answer = api.call("POST", "/api/v1/namespaces", {"metadata": {
        "name": name, "labels": labels, "annotations": annotations or {}}})
    api.call("POST", "/api/v1/namespaces/%s/serviceaccounts" % name, {"metadata": {"name": "default"}})
    return answer


def pod_security(api):
    api.call("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    code, body, _ = make_namespace(api, "odd", enforce="strict", warn_version="1.2")
    ok("labels that are none", code == 422 and [c["message"] for c in body["details"]["causes"]] == [
        'Invalid value: "strict": must be one of privileged, baseline, restricted',
        'Invalid value: "1.2": must be "latest" or "v1.x"'], body)
    make_namespace(api, "r", enforce="restricted")
    code, body, _ = api.call("POST", PODS % "r", pod("bad"))
    ok("restricted refuses", (code, body["message"]) == (
        403, 'pods "bad" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false '
        '(container "c" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities '
        '(container "c" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container '
        '"c" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "c" must set '
        'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'), body)
    code, body, warnings = api.call("POST", PODS % "r", pod("good", **GOOD))
    ok("restricted lets the restricted in", code == 201 and warnings == [], (body, warnings))
    code, body, warnings = api.call("PATCH", PODS % "r" + "/good/ephemeralcontainers", {"spec": {
        "ephemeralContainers": [{"name": "e", "image": "i"}]}}, "application/strategic-merge-patch+json")
    ok("an ephemeral container as well", code == 403 and 'container "e" must' in body["message"], body)
    workload = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
        "metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]}}}
    code, body, warnings = api.call("POST", "/apis/apps/v1/namespaces/r/deployments", workload)
    ok("workloads are warned of", code == 201 and len(warnings) == 1 and warnings[0].startswith(
        '299 - "would violate PodSecurity \\"restricted:latest\\": allowPrivilegeEscalation != false'), warnings)
    make_namespace(api, "b", enforce="baseline", enforce_version="v1.20")
    code, body, _ = api.call("POST", PODS % "b", pod("net", hostNetwork=True, volumes=[
        {"name": "h", "hostPath": {"path": "/"}}], container={"securityContext": {"privileged": True}, "ports": [
            {"containerPort": 80, "hostPort": 80}]}))
    ok("baseline refuses the host", (code, body["message"]) == (
        403, 'pods "net" is forbidden: violates PodSecurity "baseline:v1.20": host namespaces (hostNetwork=true), '
        'hostPath volumes (volume "h"), hostPort (container "c" uses hostPort 80), privileged (container "c" must '
        'not set securityContext.privileged=true)'.replace("hostNetwork=true", "hostNetwork")), body)
    for name in "xyz":
        api.call("POST", PODS % "b", pod(name))
    code, body, warnings = api.call("PATCH", "/api/v1/namespaces/b", {"metadata": {"labels": {
        "pod-security.kubernetes.io/enforce": "restricted"}}}, "application/merge-patch+json")
    ok("a stricter namespace tells of its pods", code == 200 and warnings == [
        '299 - "existing pods in namespace \\"b\\" violate the new PodSecurity enforce level \\"restricted:v1.20\\""',
        '299 - "x (and 2 other pods): allowPrivilegeEscalation != false, runAsNonRoot != true, seccompProfile"'],
       warnings)
    code, body, warnings = api.call("POST", PODS % "default", pod("hp", hostPID=True))
    ok("the configuration's default warns", code == 201 and warnings == [
        '299 - "would violate PodSecurity \\"baseline:v1.30\\": host namespaces (hostPID)"'], warnings)
    code, body, warnings = make_namespace(api, "free", enforce="restricted")
    ok("an exempt namespace says so", warnings == [
        '299 - "namespace \\"free\\" is exempt from Pod Security, and the policy (enforce=restricted:latest) will be '
        'ignored"'], warnings)
    code, body, warnings = api.call("POST", PODS % "free", pod("any", hostPID=True))
    ok("and lets all in", code == 201 and warnings == [], (body, warnings))


def optional(api):
    code, body, _ = api.call("GET", PODS % "r" + "/good")
    ok("AlwaysPullImages", body["spec"]["containers"][0]["imagePullPolicy"] == "Always", body)
    ok("PodNodeSelector: the cluster's", body["spec"]["nodeSelector"] == {"pool": "common"}, body["spec"])
    make_namespace(api, "pools", {"scheduler.alpha.kubernetes.io/node-selector": "pool=own"})
    code, body, _ = api.call("POST", PODS % "pools", pod("n", nodeSelector={"pool": "other"}))
    ok("PodNodeSelector: a conflict", code == 403 and body["message"] == 'pods "n" is forbidden: pod node label '
       'selector conflicts with its namespace node label selector', body)
    code, body, _ = api.call("POST", PODS % "pools", pod("n", nodeSelector={"b": "c"}))
    ok("PodNodeSelector: merged", code == 201 and body["spec"]["nodeSelector"] == {"b": "c", "pool": "own"}, body)
    event = {"metadata": {"generateName": "e"}, "involvedObject": {"namespace": "pools"}, "reason": "r"}
    codes = [api.call("POST", "/api/v1/namespaces/pools/events", event)[0] for _ in range(3)]
    ok("EventRateLimit", codes == [201, 201, 429], codes)
    code, body, _ = api.call("POST", "/api/v1/namespaces/pools/services", {
        "metadata": {"name": "s"}, "spec": {"ports": [{"port": 1}], "externalIPs": ["1.2.3.4"]}})
    ok("DenyServiceExternalIPs", code == 403 and "external IPs is denied" in body["message"], body)
    code, body, _ = api.call("POST", PODS % "pools", pod("dev", container={"resources": {"limits": {"ex.io/gpu": 1}}}))
    ok("ExtendedResourceToleration", {"key": "ex.io/gpu", "operator": "Exists", "effect": "NoSchedule"} in
       body["spec"].get("tolerations", []), body)
    ok("without DefaultTolerationSeconds, which is off", not any(
        t["key"].startswith("node.kubernetes.io") for t in body["spec"]["tolerations"]), body["spec"])


def defaults(api):
    for name, default in (("slow", "false"), ("fast", "true")):
        api.call("POST", "/apis/storage.k8s.io/v1/storageclasses", {"provisioner": "p", "metadata": {
            "name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": default}},
            "allowVolumeExpansion": True})
        api.call("POST", "/apis/networking.k8s.io/v1/ingressclasses", {"spec": {"controller": "x.io/y"}, "metadata": {
            "name": name, "annotations": {"ingressclass.kubernetes.io/is-default-class": default}}})
    claims = "/api/v1/namespaces/default/persistentvolumeclaims"
    claim = {"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
                                                 "resources": {"requests": {"storage": "1Gi"}}}}
    code, body, _ = api.call("POST", claims, claim)
    ok("DefaultStorageClass", body["spec"].get("storageClassName") == "fast", body)
    code, body, _ = api.call("POST", "/apis/networking.k8s.io/v1/namespaces/default/ingresses", {
        "metadata": {"name": "i"}, "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 1}}}}})
    ok("DefaultIngressClass", body["spec"].get("ingressClassName") == "fast", body)
    api.call("POST", "/api/v1/nodes", {"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "z1"}}})
    api.call("POST", PODS % "default", pod("bound"))
    api.call("POST", PODS % "default" + "/bound/binding", {"metadata": {"name": "bound"},
                                                           "target": {"kind": "Node", "name": "n1"}})
    code, body, _ = api.call("GET", PODS % "default" + "/bound")
    ok("PodTopologyLabels", body["metadata"].get("labels") == {"topology.kubernetes.io/zone": "z1"}, body["metadata"])


def events(path, **want):
    time.sleep(0.2)  # The log has a thread of its own.
    with open(path) as f:
        return [e for e in map(json.loads, f)
                if all((e.get("objectRef") or {}).get(k) == v for k, v in want.items())]


def audit(api, log):
    last = events(log, resource="pods", name="bad")[-1]["annotations"]
    ok("the audit log says what was enforced", last["pod-security.kubernetes.io/enforce-policy"] == "restricted:latest",
       last)
    last = events(log, resource="pods", name="any")[-1]["annotations"]
    ok("and what was exempt", last["pod-security.kubernetes.io/exempt"] == "namespace", last)


def flags(binary, folder):
    def start(*args):
        p = subprocess.run([os.path.join(binary, "trireme-apiserver"), "--data-dir=" + os.path.join(folder, "none"),
                            "--secure-port=0", "--bind-address=127.0.0.1", *args], capture_output=True, text=True, timeout=20)
        return p.stderr.strip().splitlines()[-1] if p.returncode in (1, 2) else "it started"
    ok("an unknown plugin", start("--enable-admission-plugins=Nope") ==
       'trireme-apiserver: enable-admission-plugins plugin "Nope" is unknown', start("--enable-admission-plugins=Nope"))
    both = start("--enable-admission-plugins=Priority", "--disable-admission-plugins=Priority")
    ok("one that is both", both.endswith("[Priority] in enable-admission-plugins and disable-admission-plugins "
                                         "overlapped"), both)


def main():
    binary, folder = sys.argv[1], tempfile.mkdtemp(prefix="trireme-plugins-")
    for name, text in (("policy.yaml", POLICY), ("config.yaml", CONFIG), ("limits.yaml", LIMITS)):
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
    log = os.path.join(folder, "audit.log")
    flags(binary, folder)
    server = replay.Server(
        os.path.join(binary, "trireme-apiserver"), "--audit-policy-file=" + os.path.join(folder, "policy.yaml"),
        "--audit-log-path=" + log, "--admission-control-config-file=" + os.path.join(folder, "config.yaml"),
        "--enable-admission-plugins=AlwaysPullImages,PodNodeSelector,EventRateLimit,DenyServiceExternalIPs,"
        "ExtendedResourceToleration,NamespaceExists,OwnerReferencesPermissionEnforcement",
        "--disable-admission-plugins=DefaultTolerationSeconds")
    try:
        api = Api(server.url)
        pod_security(api)
        optional(api)
        defaults(api)
        audit(api, log)
    finally:
        clean, text = server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    ok("the server stops in good order", clean, text[-1500:])
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
