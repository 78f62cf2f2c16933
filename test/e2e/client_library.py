#!/usr/bin/python3
"""Kubernetes' own Python client (Debian's python3-kubernetes) against a control plane on loopback.

Typed objects, whose required fields the client checks on arrival, the dynamic client over discovery, watches, pages,
patches of all types, server-side apply, custom resources, create_from_yaml, access reviews, errors, leader election.

usage: client_library.py BIN_DIR
"""
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid

import checks

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import ports  # noqa: E402

try:
    import websocket
    from kubernetes import client, config, dynamic, utils, watch
    from kubernetes.client.rest import ApiException
    from kubernetes.leaderelection import electionconfig, leaderelection
    from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock
except ImportError as why:
    print("left out: Kubernetes' Python client is not installed (python3-kubernetes): %s" % why)
    print("0 passed, 0 failed")
    sys.exit(0)

ok = checks.ok
NS = "library"
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "boats.example.com"},
    "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "boats", "singular": "boat", "kind": "Boat"},
             "versions": [{"name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
                           "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                               "spec": {"type": "object", "required": ["oars"],
                                        "properties": {"oars": {"type": "integer", "minimum": 1}, "name": {"type": "string"}}},
                               "status": {"type": "object", "properties": {"afloat": {"type": "boolean"}}}}}}}]}}
MANIFEST = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: from-yaml}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: from-yaml}
spec:
  replicas: 2
  selector: {matchLabels: {app: from-yaml}}
  template:
    metadata: {labels: {app: from-yaml}}
    spec: {containers: [{name: c, image: example.com/none}]}
"""


def refused(call):
    """The code and reason that a call is refused with."""
    try:
        call()
    except ApiException as e:
        return e.status, e.reason, e.body
    return None, None, None


def eventually(probe, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = probe()
        if found:
            return found
        time.sleep(0.1)
    return None


def typed(core):
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NS)))
    ok("create and read a typed object", core.read_namespace(NS).status.phase == "Active")
    made = core.create_namespaced_config_map(NS, client.V1ConfigMap(
        metadata=client.V1ObjectMeta(generate_name="made-", labels={"n": "0"}), data={"a": "1"}, binary_data={"b": "AAE="}))
    ok("generateName", made.metadata.name.startswith("made-") and len(made.metadata.name) == 10, made.metadata.name)
    made.data["a"] = "2"
    replaced = core.replace_namespaced_config_map(made.metadata.name, NS, made)
    ok("replace", replaced.data["a"] == "2" and replaced.binary_data == {"b": "AAE="})
    status, reason, body = refused(lambda: core.replace_namespaced_config_map(made.metadata.name, NS, made))
    ok("a stale replace is a conflict", status == 409 and "the object has been modified" in body, (status, reason, body))
    patched = core.patch_namespaced_config_map(made.metadata.name, NS, {"data": {"a": None, "c": "3"}})
    ok("patch of a dict", patched.data == {"c": "3"}, patched.data)
    patched = core.patch_namespaced_config_map(made.metadata.name, NS,
                                               [{"op": "replace", "path": "/data/c", "value": "4"}])
    ok("patch of a list of operations", patched.data == {"c": "4"}, patched.data)
    ok("dry run", core.create_namespaced_config_map(NS, client.V1ConfigMap(metadata={"name": "dry"}), dry_run="All")
       .metadata.uid is not None and refused(lambda: core.read_namespaced_config_map("dry", NS))[0] == 404)
    answer = core.delete_namespaced_config_map(made.metadata.name, NS)
    ok("delete answers a Status", answer.status == "Success", answer)
    status, _, body = refused(lambda: core.read_namespaced_config_map(made.metadata.name, NS))
    ok("gone", status == 404 and '"reason":"NotFound"' in body, (status, body))
    status, _, body = refused(lambda: core.create_namespaced_config_map(NS, {"metadata": {"name": "Not Valid"}}))
    ok("an invalid name is told with its field", status == 422 and '"field":"metadata.name"' in body, (status, body))


def pages(core):
    for i in range(25):
        core.create_namespaced_secret(NS, client.V1Secret(metadata={"name": "s%02d" % i, "labels": {"odd": str(i % 2)}},
                                                          string_data={"k": str(i)}))
    names, token, rounds = [], None, 0
    while rounds == 0 or token:
        page = core.list_namespaced_secret(NS, limit=10, _continue=token)
        names += [s.metadata.name for s in page.items]
        token, rounds = page.metadata._continue, rounds + 1
    ok("three pages hold all once and in order", rounds == 3 and names == ["s%02d" % i for i in range(25)], (rounds, names))
    ok("what is left is told", core.list_namespaced_secret(NS, limit=10).metadata.remaining_item_count == 15)
    ok("labels", len(core.list_namespaced_secret(NS, label_selector="odd in (1)").items) == 12)
    ok("fields", [s.metadata.name for s in core.list_namespaced_secret(NS, field_selector="metadata.name=s03").items] == ["s03"])
    core.delete_collection_namespaced_secret(NS, label_selector="odd=1")
    ok("delete of a collection", len(core.list_namespaced_secret(NS).items) == 13)


def watches(core):
    start = core.list_namespaced_config_map(NS).metadata.resource_version
    def write():
        for i in range(3):
            core.create_namespaced_config_map(NS, client.V1ConfigMap(metadata={"name": "w%d" % i}))
        core.patch_namespaced_config_map("w1", NS, {"data": {"x": "y"}})
        core.delete_namespaced_config_map("w1", NS)
    writer = threading.Thread(target=write)
    writer.start()
    seen, w = [], watch.Watch()
    for event in w.stream(core.list_namespaced_config_map, NS, resource_version=start, timeout_seconds=10):
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            w.stop()
    writer.join()
    ok("a watch tells each change once, in order",
       seen == [("ADDED", "w0"), ("ADDED", "w1"), ("ADDED", "w2"), ("MODIFIED", "w1"), ("DELETED", "w1")], seen)
    began = time.monotonic()
    ended = list(watch.Watch().stream(core.list_namespaced_config_map, NS, timeout_seconds=1, label_selector="no=one"))
    ok("timeoutSeconds ends a watch", ended == [] and time.monotonic() - began < 10, ended)
    first = list(watch.Watch().stream(core.list_namespaced_config_map, NS, timeout_seconds=1))
    ok("without a version it starts with what is there", {("ADDED", "w0"), ("ADDED", "w2")} <=
       {(e["type"], e["object"].metadata.name) for e in first}, first)


def messages(core):
    """Watches in WebSocket messages, as clients of other languages ask for them."""
    c = core.api_client.configuration
    url = c.host.replace("https", "wss") + "/api/v1/namespaces/%s/configmaps?watch=true" % NS
    tls = {"ca_certs": c.ssl_ca_cert, "certfile": c.cert_file, "keyfile": c.key_file}

    def dial(query, **more):
        return websocket.create_connection(url + query, sslopt=tls, timeout=20, **more)

    def events(w, want):
        seen = []
        while len(seen) < want:
            opcode, data = w.recv_data(control_frame=True)
            seen.append((opcode, data))
        return seen

    since = core.list_namespaced_config_map(NS).metadata.resource_version
    w = dial("&resourceVersion=" + since, subprotocols=["v1.events.example.com"])
    ok("messages: the subprotocol that was offered", w.subprotocol == "v1.events.example.com", w.subprotocol)
    core.create_namespaced_config_map(NS, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="told"), data={"a": "x" * 70000}))
    core.delete_namespaced_config_map("told", NS)
    got = events(w, 2)
    ok("messages: an event is one text", [o for o, _ in got] == [websocket.ABNF.OPCODE_TEXT] * 2, got)
    got = [json.loads(d) for _, d in got]
    ok("messages: what happened", [(e["type"], e["object"]["metadata"]["name"], len(e["object"]["data"]["a"])) for e in got] ==
       [("ADDED", "told", 70000), ("DELETED", "told", 70000)], got)
    w.send("nobody listens")
    w.ping("here?")
    ok("messages: a ping is answered", events(w, 1) == [(websocket.ABNF.OPCODE_PONG, b"here?")])
    w.send_close()
    opcode, data = w.recv_data(control_frame=True)
    ok("messages: a close is answered", (opcode, data) == (websocket.ABNF.OPCODE_CLOSE, b"\x03\xe8"), (opcode, data))
    w.shutdown()
    w = dial("&timeoutSeconds=1&resourceVersion=" + since, header=["Accept: application/vnd.kubernetes.protobuf"])
    opcode, data = w.recv_data(control_frame=True)
    ok("messages: protobuf, no length in front", opcode == websocket.ABNF.OPCODE_BINARY and data[:7] == b"\n\x05ADDED", data[:20])
    last = None
    while last != websocket.ABNF.OPCODE_CLOSE:
        last, data = w.recv_data(control_frame=True)
    ok("messages: the watch's end", data == b"\x03\xe8", data)
    try:
        dial("&fieldSelector=nonsense")
        ok("messages: bad options", False, "a connection")
    except websocket.WebSocketBadStatusException as why:
        ok("messages: bad options", why.status_code == 400, why)


def workloads(api, core):
    apps = client.AppsV1Api(api)
    container = client.V1Container(name="c", image="example.com/none", resources=client.V1ResourceRequirements(
        requests={"cpu": "10m"}), ports=[client.V1ContainerPort(container_port=80)])
    apps.create_namespaced_deployment(NS, client.V1Deployment(
        metadata=client.V1ObjectMeta(name="web"), spec=client.V1DeploymentSpec(
            replicas=2, selector=client.V1LabelSelector(match_labels={"app": "web"}),
            template=client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels={"app": "web"}),
                                              spec=client.V1PodSpec(containers=[container])))))
    ok("its pods are made", eventually(lambda: len(core.list_namespaced_pod(NS, label_selector="app=web").items) == 2))
    ok("scale", apps.patch_namespaced_deployment_scale("web", NS, {"spec": {"replicas": 3}}).spec.replicas == 3)
    ok("observed", eventually(lambda: apps.read_namespaced_deployment_status("web", NS).status.replicas == 3))
    # A list of containers merges by name: the client sends strategic merge patches.
    image = apps.patch_namespaced_deployment("web", NS, {"spec": {"template": {"spec": {"containers": [
        {"name": "c", "image": "example.com/other"}]}}}}).spec.template.spec.containers
    ok("a strategic merge patch keeps the rest", len(image) == 1 and image[0].image == "example.com/other" and
       image[0].resources.requests == {"cpu": "10m"}, image)
    labels = []
    for i in range(20):  # While the controller reports: neither write may undo the other.
        if labels:
            labels[-1] = (labels[-1], (apps.read_namespaced_deployment("web", NS).metadata.labels or {}).get("n"))
        labels.append(apps.patch_namespaced_deployment("web", NS, {
            "metadata": {"labels": {"n": str(i)}},
            "spec": {"template": {"metadata": {"annotations": {"n": str(i)}}}}}).metadata.labels["n"])
        time.sleep(0.01 * (i % 5))
    ok("labels that are written during a rollout stay", all(a == b for a, b in labels[:-1]), labels)
    apps.patch_namespaced_deployment_status("web", NS, {"metadata": {"labels": {"n": "status"}}})
    ok("a status brings no labels", (apps.read_namespaced_deployment("web", NS).metadata.labels or {}).get("n") == "19")
    service = core.create_namespaced_service(NS, client.V1Service(metadata={"name": "web"}, spec=client.V1ServiceSpec(
        selector={"app": "web"}, ports=[client.V1ServicePort(port=80, target_port="http")])))
    ok("a Service gets its address", service.spec.cluster_ip.count(".") == 3, service.spec.cluster_ip)
    # This client cannot read the slice of a Service without pods: "endpoints": null, as Kubernetes itself says it.
    core.delete_namespaced_service("web", NS)
    batch = client.BatchV1Api(api)
    batch.create_namespaced_job(NS, {"metadata": {"name": "job"}, "spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "example.com/none"}]}}}})
    ok("a job's pod", eventually(lambda: core.list_namespaced_pod(NS, label_selector="job-name=job").items))
    apps.delete_namespaced_deployment("web", NS, propagation_policy="Foreground")
    ok("foreground deletion", eventually(lambda: refused(lambda: apps.read_namespaced_deployment("web", NS))[0] == 404) and
       not core.list_namespaced_pod(NS, label_selector="app=web").items)


def circle(core, name):
    """Three objects, each owned by the one before, and their deletion held up by it."""
    made = [core.create_namespaced_config_map(NS, {"metadata": {"name": "%s-%d" % (name, i), "labels": {"circle": name}}}) for i in range(3)]
    for i in range(3):
        owner = made[i - 1].metadata
        core.patch_namespaced_config_map(made[i].metadata.name, NS, {"metadata": {"ownerReferences": [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": owner.name, "uid": owner.uid, "blockOwnerDeletion": True}]}})
    return [m.metadata.name for m in made]


def circles(core):
    def gone(name):
        return eventually(lambda: not core.list_namespaced_config_map(NS, label_selector="circle=" + name).items)
    names = circle(core, "first")
    core.delete_namespaced_config_map(names[0], NS, propagation_policy="Foreground")
    ok("one of a circle of owners deleted in the foreground takes all", gone("first"))
    for name in circle(core, "all"):
        # The others may have taken it with them by now.
        status, _, body = refused(lambda name=name: core.delete_namespaced_config_map(name, NS, propagation_policy="Foreground"))
        if status not in (None, 404):
            ok("delete " + name, False, body)
    ok("all of a circle deleted in the foreground go", gone("all"))


def from_yaml(api, core, folder):
    path = os.path.join(folder, "manifest.yaml")
    with open(path, "w") as f:
        f.write(MANIFEST)
    utils.create_from_yaml(api, path, namespace=NS)
    ok("create_from_yaml", core.read_namespaced_service_account("from-yaml", NS).metadata.name == "from-yaml")
    try:
        utils.create_from_yaml(api, path, namespace=NS)
        told = ""
    except utils.FailToCreateError as e:
        told = str(e)
    ok("and again tells what exists", told.count("AlreadyExists") == 2, told)


def dynamically(api):
    dyn = dynamic.DynamicClient(api)
    crds = dyn.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
    crds.create(body=CRD)
    def conditions():
        return (crds.get(name="boats.example.com").to_dict().get("status") or {}).get("conditions") or []
    established = eventually(lambda: ("Established", "True") in [(c["type"], c["status"]) for c in conditions()])
    ok("a definition is established", established)

    def found():
        try:
            dyn.resources.invalidate_cache()
            return dyn.resources.get(api_version="example.com/v1", kind="Boat")
        except dynamic.exceptions.ResourceNotFoundError:
            return None
    boats = eventually(found)
    ok("discovery finds the kind", boats is not None and boats.namespaced and boats.name == "boats")
    boats.create(namespace=NS, body={"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": "b"}, "spec": {"oars": 2}})
    try:
        boats.create(namespace=NS, body={"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": "x"}, "spec": {"oars": 0}})
        told = None
    except dynamic.exceptions.UnprocessibleEntityError as e:
        told = e.body
    ok("its schema holds", told is not None and b"spec.oars" in told, told)
    merged = boats.patch(namespace=NS, name="b", body={"spec": {"name": "Argo"}}, content_type="application/merge-patch+json")
    ok("merge patch", merged.spec.oars == 2 and merged.spec.name == "Argo", merged)
    afloat = boats.status.patch(namespace=NS, name="b", body={"status": {"afloat": True}}, content_type="application/merge-patch+json")
    ok("its status", afloat.status.afloat is True, afloat)
    maps = dyn.resources.get(api_version="v1", kind="ConfigMap")
    applied = maps.patch(namespace=NS, name="applied", content_type="application/apply-patch+yaml", field_manager="a",
                         body=json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"x": "1"}}))
    ok("server-side apply creates", applied.metadata.managedFields[0].operation == "Apply", applied)
    try:
        maps.patch(namespace=NS, name="applied", content_type="application/apply-patch+yaml", field_manager="b",
                   body=json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"x": "2"}}))
        told = None
    except dynamic.exceptions.ConflictError as e:
        told = e.body
    ok("and tells conflicts", told is not None and b'conflict with \\"a\\": .data.x' in told, told)
    events = []
    for event in boats.watch(namespace=NS, timeout=2, resource_version=0):
        events.append((event["type"], event["object"].metadata.name))
    ok("a watch of a custom kind", ("ADDED", "b") in events, events)
    ok("a list of it has its kind", boats.get(namespace=NS).kind == "BoatList")


def reviews(api):
    auth = client.AuthorizationV1Api(api)
    def may(verb, resource):
        return auth.create_self_subject_access_review(client.V1SelfSubjectAccessReview(
            spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=client.V1ResourceAttributes(
                verb=verb, resource=resource, namespace=NS)))).status
    ok("an administrator may", may("delete", "pods").allowed)
    token = client.CoreV1Api(api).create_namespaced_service_account_token("from-yaml", NS, {
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}})
    poor = client.Configuration()
    poor.host, poor.ssl_ca_cert = api.configuration.host, api.configuration.ssl_ca_cert
    poor.api_key, poor.api_key_prefix = {"authorization": token.status.token}, {"authorization": "Bearer"}
    with client.ApiClient(poor) as limited:
        status, _, body = refused(lambda: client.CoreV1Api(limited).list_namespaced_secret(NS))
        ok("a service account's token is known, and may not", status == 403 and
           "system:serviceaccount:%s:from-yaml" % NS in body, (status, body))
        answer = client.AuthorizationV1Api(limited).create_self_subject_rules_review(client.V1SelfSubjectRulesReview(
            spec=client.V1SelfSubjectRulesReviewSpec(namespace=NS)))
        ok("its rules", any("selfsubjectaccessreviews" in (r.resources or []) for r in answer.status.resource_rules))


def every_list(api):
    """Every list that the typed client has for kinds of a fresh cluster deserializes with its checks on."""
    calls = [(client.CoreV1Api, "list_" + n) for n in (
        "namespace", "node", "service_for_all_namespaces", "endpoints_for_all_namespaces", "config_map_for_all_namespaces",
        "secret_for_all_namespaces", "service_account_for_all_namespaces", "event_for_all_namespaces", "pod_for_all_namespaces",
        "persistent_volume", "replication_controller_for_all_namespaces", "limit_range_for_all_namespaces", "resource_quota_for_all_namespaces")]
    calls += [(client.RbacAuthorizationV1Api, "list_" + n) for n in (
        "cluster_role", "cluster_role_binding", "role_for_all_namespaces", "role_binding_for_all_namespaces")]
    calls += [(client.ApiregistrationV1Api, "list_api_service"), (client.SchedulingV1Api, "list_priority_class"),
              (client.CoordinationV1Api, "list_lease_for_all_namespaces"), (client.DiscoveryV1Api, "list_endpoint_slice_for_all_namespaces"),
              (client.StorageV1Api, "list_storage_class"), (client.ApiextensionsV1Api, "list_custom_resource_definition"),
              (client.AdmissionregistrationV1Api, "list_validating_webhook_configuration"),
              (client.AppsV1Api, "list_replica_set_for_all_namespaces"), (client.AppsV1Api, "list_controller_revision_for_all_namespaces"),
              (client.NetworkingV1Api, "list_ingress_class"), (client.NodeV1Api, "list_runtime_class"),
              (client.PolicyV1Api, "list_pod_disruption_budget_for_all_namespaces"), (client.AutoscalingV1Api, "list_horizontal_pod_autoscaler_for_all_namespaces"),
              (client.CertificatesV1Api, "list_certificate_signing_request")]
    wrong = []
    for group, name in calls:
        try:
            getattr(group(api), name)()
        except Exception as e:  # Whatever the library makes of it.
            wrong.append((name, repr(e)[:200]))
    ok("%d kinds deserialize" % len(calls), not wrong, wrong)
    ok("version", client.VersionApi(api).get_code().major == "1")
    ok("groups", "apps" in [g.name for g in client.ApisApi(api).get_api_versions().groups])


def keep_electing(election):
    try:
        election.run()
    except Exception:
        pass  # The cluster ends before it does.


def elect(kubeconfig):
    config.load_kube_config(kubeconfig)
    led, name, identity = threading.Event(), "lock-" + uuid.uuid4().hex[:6], uuid.uuid4()
    election = leaderelection.LeaderElection(electionconfig.Config(
        ConfigMapLock(name, NS, identity), lease_duration=3, renew_deadline=2, retry_period=1,
        onstarted_leading=led.set, onstopped_leading=lambda: None))
    threading.Thread(target=keep_electing, args=(election,), daemon=True).start()
    ok("leader election of the library", led.wait(20))
    core = client.CoreV1Api()
    ok("its record", str(identity) in str(core.read_namespaced_config_map(name, NS).metadata.annotations))


def main():
    logging.disable(logging.WARNING)
    binaries, folder = sys.argv[1], tempfile.mkdtemp(prefix="trireme-library-")
    cluster, kubeconfig = os.path.join(folder, "c"), os.path.join(folder, "c", "kubeconfig")
    try:
        subprocess.run([os.path.join(binaries, "trireme"), "up", "--control-planes", "1", "--workers", "0", "--loopback",
                        "--dir", cluster, "--base-port", str(ports.free_block())], check=True, stdout=subprocess.DEVNULL)
        api = config.new_client_from_config(kubeconfig)
        core = client.CoreV1Api(api)
        typed(core)
        pages(core)
        watches(core)
        messages(core)
        workloads(api, core)
        circles(core)
        from_yaml(api, core, folder)
        dynamically(api)
        reviews(api)
        every_list(api)
        elect(kubeconfig)
    finally:
        subprocess.run([os.path.join(binaries, "trireme"), "down", "--dir", cluster], stdout=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
