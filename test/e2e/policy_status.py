#!/usr/bin/env python3
"""Type checking of ValidatingAdmissionPolicies by the controller manager, against built-in and custom kinds.

usage: policy_status.py BIN_DIR
"""
import shutil
import sys
import tempfile
import time

import autoscaling as base
import checks

ADMISSION = "admissionregistration.k8s.io/v1"


def rule(group, version, *resources):
    return {"apiGroups": [group], "apiVersions": [version], "operations": ["CREATE"], "resources": list(resources)}


def policy(name, rules, *expressions, **more):
    return {"apiVersion": ADMISSION, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": dict(
        {"matchConstraints": {"resourceRules": rules},
         "validations": [e if isinstance(e, dict) else {"expression": e} for e in expressions]}, **more)}


DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "gadgets.example.com"},
    "spec": {"group": "example.com", "scope": "Namespaced",
             "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget"},
             "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                 "type": "object", "properties": {"spec": {"type": "object", "properties": {
                     "size": {"type": "integer"}, "port": {"x-kubernetes-int-or-string": True}}}}}}}]}}


def status(cluster, name, generation=1):
    for _ in range(200):
        s = cluster.get("validatingadmissionpolicy", name).get("status", {})
        if s.get("observedGeneration") == generation:
            return s
        time.sleep(0.1)
    return {}


def warnings(s):
    return [(w["fieldRef"], w["warning"]) for w in s.get("typeChecking", {}).get("expressionWarnings", [])]


def built_in(cluster):
    deployments = [rule("apps", "v1", "deployments")]
    cluster.apply(
        policy("right", deployments, "object.spec.replicas <= 5",
               "object.spec.template.spec.containers.all(c, c.resources.limits['cpu'] != '')",
               "object.metadata.creationTimestamp < timestamp('2100-01-01T00:00:00Z')",
               "object.spec.strategy.rollingUpdate.maxSurge == '25%' && namespaceObject.metadata.name == 'x'",
               "authorizer.requestResource.check('create').allowed()"),
        policy("wrong", deployments, {"expression": "object.spec.nothing > 5", "messageExpression": "string(object.none)"},
               "object.spec.replicas > 'x'"),
        policy("both", [rule("apps", "v1", "daemonsets", "deployments", "deployments/scale"), rule("*", "*", "*")],
               "variables.n > 1", variables=[{"name": "n", "expression": "object.spec.replicas"}]),
        policy("params", [rule("", "v1", "pods")], "params.data.max == 'x' && params.nothing == 1",
               paramKind={"apiVersion": "v1", "kind": "ConfigMap"}))
    s = status(cluster, "right")
    checks.ok("what is right has no warnings", s.get("observedGeneration") == 1 and warnings(s) == [], s)
    s = warnings(status(cluster, "wrong"))
    checks.ok("unknown fields are told, with their place", s[:2] == [
        ("spec.validations[0].expression", "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'nothing'\n"
         " | object.spec.nothing > 5\n | ...........^\n"),
        ("spec.validations[0].messageExpression", "apps/v1, Kind=Deployment: ERROR: <input>:1:14: undefined field 'none'"
         "\n | string(object.none)\n | .............^\n")], s)
    checks.ok("types that do not go together", len(s) == 3 and s[2][0] == "spec.validations[1].expression" and
              "found no matching overload for '_>_' applied to '(int, string)'" in s[2][1], s)
    s = warnings(status(cluster, "both"))
    checks.ok("a variable is checked for each kind, and patterns are not",
              len(s) == 0 or (len(s) == 1 and "DaemonSet" in s[0][1] and "Deployment" not in s[0][1]), s)
    s = warnings(status(cluster, "params"))
    checks.ok("parameters have their kind's type", len(s) == 1 and "undefined field 'nothing'" in s[0][1] and
              "'data'" not in s[0][1], s)


def changes(cluster):
    cluster.apply(policy("wrong", [rule("apps", "v1", "deployments")], "object.spec.replicas > 5"))
    s = status(cluster, "wrong", 2)
    checks.ok("a change is checked again", s.get("observedGeneration") == 2 and warnings(s) == [], s)


def custom(cluster):
    cluster.apply(DEFINITION)
    cluster.kubectl("wait", "--for=condition=Established", "crd/gadgets.example.com", "--timeout=20s")
    cluster.apply(policy("gadgets", [rule("example.com", "v1", "gadgets", "gizmos")],
                         "object.spec.size > 1 && object.spec.port == 80", "object.spec.colour == 'red'"))
    s = warnings(status(cluster, "gadgets"))
    checks.ok("custom kinds have their definition's schema", len(s) == 1 and s[0][0] == "spec.validations[1].expression"
              and s[0][1].startswith("example.com/v1, Kind=Gadget: ERROR: <input>:1:12: undefined field 'colour'"), s)


def main():
    folder = tempfile.mkdtemp(prefix="trireme-policies-")
    cluster = base.Cluster(sys.argv[1], folder)
    try:
        built_in(cluster)
        changes(cluster)
        custom(cluster)
    finally:
        cluster.down()
        shutil.rmtree(folder, ignore_errors=True)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
