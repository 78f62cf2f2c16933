#!/usr/bin/env python3
"""Holds the OpenAPI documents of our server against recorded facts.

Starts a trireme-apiserver on loopback, fetches /openapi/v2 and every document
of /openapi/v3, and compares with the tables of facts/k8s: which definitions
and members there are, what is required, list and map types, patch keys,
formats, values and defaults; every resource and subresource with its verbs;
the names in the recorded index. Then how they are served: hashes, caching,
compression, media types. With --kubectl-old (a kubectl before 1.27), what that
one explains and refuses by itself. python's openapi-spec-validator judges the
documents where it is installed.

usage: test/replay/openapi.py --bin build/bin --facts FOLDER [--kubectl-old PATH]
"""
import argparse
import csv
import gzip
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from run import Server, TOKEN  # noqa: E402

V2_PB = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
V3_PB = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"
# What a verb of discovery is called as an action, and the method it has.
ACTIONS = {"create": ("post", "post"), "get": ("get", "get"), "list": ("get", "list"), "update": ("put", "put"),
           "patch": ("patch", "patch"), "delete": ("delete", "delete"), "deletecollection": ("delete", "deletecollection")}
# Types whose JSON has a form of its own; their fields are no members.
SPECIAL = {"Time", "MicroTime", "Duration", "Quantity", "IntOrString", "FieldsV1", "RawExtension", "Unknown", "Timestamp",
           "Verbs", "ExtraValue"}
# Stated by a marker that only custom resources' generators read.
FOREIGN_ENUMS = {("Condition", "status")}# The tables read literals only; two of these constants are conversions.
ENUMS = {("EndpointSlice", "addressType"): "FQDN|IPv4|IPv6"}

passed = failed = 0


def check(good, text):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        if failed <= 40:
            print("  FAIL  " + text)


def table(facts, name):
    with open(os.path.join(facts, "k8s", name), newline="") as f:
        return list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


class Client:
    def __init__(self, url):
        self.url = url
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), NoRedirect)

    def get(self, path, **headers):
        request = urllib.request.Request(self.url + path, headers={"Authorization": "Bearer " + TOKEN})
        for k, v in headers.items():
            request.add_header(k.replace("_", "-"), v)
        try:
            with self.opener.open(request, timeout=30) as r:
                return r.status, r.headers, r.read()
        except urllib.error.HTTPError as e:
            return e.code, e.headers, e.read()

    def json(self, path):
        status, _, body = self.get(path)
        check(status == 200, "%s: status %d" % (path, status))
        return json.loads(body)


def definition_name(package, message):
    """k8s.io.api.core.v1, Pod -> io.k8s.api.core.v1.Pod"""
    return "io.k8s." + package[len("k8s.io."):].replace("_", "-") + "." + message


def members(fields, package, message, depth=0):
    """The rows of a message's JSON members, with those of inlined structs."""
    for r in fields.get((package, message), []):
        flags = r["flags"].split(",")
        if "inline" in flags and depth < 8:
            p, m = r["type"].rsplit(".", 1)
            yield from members(fields, p, m, depth + 1)
        elif r["json_name"] and "json_hidden" not in flags:
            yield r


def compare_member(where, row, p2, p3):
    element = lambda p: p.get("items") or p.get("additionalProperties") or p
    single = row["label"] == "optional"
    strategy = row["patchStrategy"]
    check(p2.get("x-kubernetes-patch-strategy", "") == strategy, "%s: patch strategy, want %s" % (where, strategy))
    check(p2.get("x-kubernetes-patch-merge-key", "") == row["patchMergeKey"], "%s: patch merge key" % where)
    check(p2.get("x-kubernetes-list-type", "") == row["listType"], "%s: list type, want %s" % (where, row["listType"]))
    keys = ",".join(p2.get("x-kubernetes-list-map-keys", []))
    check(keys == row["listMapKeys"], "%s: list map keys, want %s" % (where, row["listMapKeys"]))
    if "$ref" not in p2:
        check(p2.get("x-kubernetes-map-type", "") == row["mapType"], "%s: map type, want %s" % (where, row["mapType"]))
        want = row["format"]
        check(element(p2).get("format", "") == want or "$ref" in element(p2), "%s: format, want %s" % (where, want))
    if (row["message"], row["json_name"]) not in FOREIGN_ENUMS:
        enum = ENUMS.get((row["message"], row["json_name"]), row["enum"])
        values = enum.split("|") if enum else None
        check(element(p2).get("enum") == values, "%s: values, want %s" % (where, enum))
        check(element(p3).get("enum") == values, "%s: values in v3, want %s" % (where, enum))
    if row["default"]:
        check(p3.get("default") == json.loads(row["default"]), "%s: default, want %s" % (where, row["default"]))
    check("default" not in p2, "%s: a default in v2" % where)
    check(p2.get("type") == p3.get("type"), "%s: types of v2 and v3" % where)
    if single and "$ref" in p2:
        ref = p2["$ref"].rsplit("/", 1)[1]
        all_of = p3.get("allOf", [p3])[0].get("$ref", "").rsplit("/", 1)[-1]
        check(ref == all_of == definition_name(*row["type"].rsplit(".", 1)), "%s: refers to %s" % (where, ref))


def compare_definitions(facts, v2, v3):
    fields, served = {}, set()
    for r in table(facts, "fields.tsv"):
        fields.setdefault((r["package"], r["message"]), []).append(r)
    messages = table(facts, "messages.tsv")
    for name, definition in v2["definitions"].items():
        served.add(name)
    known = {}
    for m in messages:
        known[definition_name(m["package"], m["message"])] = m
    for name, d2 in v2["definitions"].items():
        m = known.get(name)
        if m is None:
            check(name.endswith("pkg.version.Info"), "%s is nobody's message" % name)
            continue
        check(m["in_swagger"] == "1", "%s is not among upstream's definitions" % name)
        check("description" in d2 or not m["kind_flag"] == "1", "%s is a kind without a description" % name)
        d3 = v3.get(name)
        check(d3 is not None, "%s is missing in v3" % name)
        if d3 is None or m["message"] in SPECIAL or "custom_json" in m["note"]:
            continue
        rows = {r["json_name"]: r for r in members(fields, m["package"], m["message"])}
        have = set(d2.get("properties", {}))
        if m["kind_flag"] == "1" and m["shape"] != "no_typemeta":
            check({"kind", "apiVersion"} <= have, "%s: kind and apiVersion" % name)
            have -= {"kind", "apiVersion"} - set(rows)
        check(have == set(rows), "%s: members differ: %s" % (name, sorted(have ^ set(rows))))
        want = {r["json_name"] for r in rows.values() if "required" in r["flags"].split(",")}
        check(set(d2.get("required", [])) == want, "%s: required %s" % (name, sorted(want)))
        check(set(d3.get("required", [])) == want, "%s: required in v3" % name)
        check((d2.get("x-kubernetes-map-type") == "atomic") == (m["structType"] == "atomic"), "%s: struct type" % name)
        for j in have & set(rows):
            compare_member(name.rsplit(".", 1)[1] + "." + j, rows[j], d2["properties"][j], d3["properties"][j])
    # All that upstream's groups define and ours serve.
    packages = {n.rsplit(".", 1)[0] for n in served}
    for name, m in known.items():
        if m["in_swagger"] == "1" and name.rsplit(".", 1)[0] in packages and "pkg.apis" not in name:
            check(name in served, "%s is missing" % name)


def compare_resources(facts, v2, v3_paths):
    for r in table(facts, "resources.tsv"):
        if r["source"] == "genclient" or "beta" in r["version"] or "alpha" in r["version"]:
            continue
        base = ("/apis/%s/%s" % (r["group"], r["version"]) if r["group"] else "/api/" + r["version"])
        scope = "/namespaces/{namespace}" if r["namespaced"] == "1" else ""
        path = base + scope + "/" + r["resource"]
        sub = "/" + r["subresource"] if r["subresource"] else ""
        kind = {"group": r["kind_group"], "version": r["kind_version"], "kind": r["kind"]}
        verbs = [v for v in r["verbs"].split(",") if v]
        for verb in verbs:
            if verb == "watch":
                where = base + "/watch" + scope + "/" + r["resource"]
                check(v2["paths"].get(where, {}).get("get", {}).get("x-kubernetes-action") == "watchlist", where)
                continue
            if "connect" in verbs:
                method, action = {"connect": "get"}.get(verb, ACTIONS.get(verb, ("", ""))[0]), "connect"
            else:
                method, action = ACTIONS[verb]
            on_object = sub or verb in ("get", "update", "patch", "delete")
            where = path + ("/{name}" + sub if on_object else "")
            for paths in (v2["paths"], v3_paths):
                o = paths.get(where, {}).get(method)
                check(o is not None, "%s %s is missing" % (method, where))
                if o is not None:
                    check(o.get("x-kubernetes-action") == action, "%s %s: action" % (method, where))
                    check(o.get("x-kubernetes-group-version-kind") == kind, "%s %s: kind" % (method, where))


def check_serving(c, index):
    status, h, body = c.get("/openapi/v2")
    check(status == 200 and h["Content-Type"] == "application/json", "v2 as JSON")
    check(c.get("/openapi/v2", If_None_Match=h["ETag"])[0] == 304, "v2: If-None-Match")
    check(c.get("/openapi/v2", If_Modified_Since=h["Last-Modified"])[0] == 304, "v2: If-Modified-Since")
    status, gh, packed = c.get("/openapi/v2", Accept_Encoding="gzip")
    check(gh["Content-Encoding"] == "gzip" and gzip.decompress(packed) == body, "v2: gzip")
    check(gh["ETag"] == h["ETag"], "v2: one ETag")
    for accept in (V2_PB, V2_PB.replace("@", "."), V2_PB + ",application/json;q=0.5"):
        status, ph, pb = c.get("/openapi/v2", Accept=accept)
        check(status == 200 and ph["Content-Type"] == V2_PB.replace("@", "."), "v2 as protobuf")
        check(pb[:5] == b"\x0a\x032.0", "v2: the first field of protobuf")
    check(c.get("/openapi/v2", Accept="text/html")[0] == 406, "v2: 406")
    url = index["apis/apps/v1"]["serverRelativeURL"]
    status, h, _ = c.get(url)
    check(status == 200 and "immutable" in h["Cache-Control"] and h["Expires"], "v3: caching for the right hash")
    check(h["ETag"].strip('"') == url.split("hash=")[1], "v3: hash and ETag")
    status, h, _ = c.get("/openapi/v3/apis/apps/v1")
    check(status == 200 and "immutable" not in h["Cache-Control"], "v3: no caching without a hash")
    status, h, _ = c.get("/openapi/v3/apis/apps/v1?hash=0")
    check(status == 301 and h["Location"] == url, "v3: a hash that is gone")
    status, h, _ = c.get(url, Accept=V3_PB)
    check(status == 200 and h["Content-Type"] == V3_PB.replace("@", "."), "v3 as protobuf")
    check(c.get("/openapi/v3/apis/nothing/v1")[0] == 404, "v3: 404")


def without_defaults(x):
    """Upstream states Go's zero values as defaults, though members are required or values listed: the validator objects."""
    if isinstance(x, dict):
        return {k: without_defaults(v) for k, v in x.items() if k != "default" or v not in ({}, "")}
    return [without_defaults(v) for v in x] if isinstance(x, list) else x


def check_validator(v2, documents):
    try:
        import openapi_spec_validator as osv
    except ImportError:
        print("left out: openapi-spec-validator is not installed")
        return
    checks = [(osv.OpenAPIV2SpecValidator, "v2", v2)]
    checks += [(osv.OpenAPIV30SpecValidator, n, without_defaults(d)) for n, d in documents.items() if d["paths"]]
    for validator, name, document in checks:
        errors = [e.message for e in validator(document).iter_errors()]
        check(not errors, "%s is no valid document: %s" % (name, errors[:2]))


def check_old_kubectl(kubectl, url):
    folder = tempfile.mkdtemp(prefix="trireme-openapi-")
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
                "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": "x"}], "imagee": "y"}]}}
    with open(os.path.join(folder, "pod.json"), "w") as f:
        json.dump(manifest, f)
    base = [kubectl, "--server", url, "--token", TOKEN, "--insecure-skip-tls-verify", "--cache-dir", folder]
    p = subprocess.run(base + ["explain", "pod.spec.containers"], capture_output=True, text=True)
    check("imagePullPolicy\t<string>" in p.stdout and "The containers" in p.stdout, "old kubectl explains: " + p.stderr)
    p = subprocess.run(base + ["create", "-f", folder + "/pod.json"], capture_output=True, text=True)
    check('unknown field "imagee" in io.k8s.api.core.v1.Container' in p.stderr and
          'got "string", expected "integer"' in p.stderr, "old kubectl refuses: " + p.stderr)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--bin", required=True)
    ap.add_argument("--facts", required=True)
    ap.add_argument("--kubectl-old", default=os.environ.get("KUBECTL_OLD"))
    a = ap.parse_args()
    if not os.path.exists(os.path.join(a.facts, "k8s", "fields.tsv")):
        print("left out: there are no tables in %s" % a.facts)
        return 0
    server = Server(os.path.join(a.bin, "trireme-apiserver"))
    try:
        c = Client(server.url)
        v2, index = c.json("/openapi/v2"), c.json("/openapi/v3")["paths"]
        documents = {n: c.json(x["serverRelativeURL"]) for n, x in index.items()}
        schemas, paths = {}, {}
        for name, d in documents.items():
            for n, s in d["components"]["schemas"].items():
                check(schemas.setdefault(n, s) == s, "%s differs between documents: %s" % (n, name))
            paths.update(d["paths"])
        check(set(paths) == set(v2["paths"]), "paths of v2 and v3 differ: %s" % sorted(set(paths) ^ set(v2["paths"]))[:5])
        check(set(schemas) == set(v2["definitions"]), "definitions of v2 and v3 differ")
        compare_definitions(a.facts, v2, schemas)
        compare_resources(a.facts, v2, paths)
        with open(os.path.join(a.facts, "live", "discovery", "openapi-v3-index.json")) as f:
            recorded = {n for n in json.load(f)["paths"]}
        check(recorded == set(index), "the index: %s" % sorted(recorded ^ set(index)))
        check_serving(c, index)
        check_validator(v2, documents)
        if a.kubectl_old:
            check_old_kubectl(a.kubectl_old, server.url)
        else:
            print("left out: no old kubectl (--kubectl-old)")
    finally:
        server.stop()
    if failed > 40:
        print("  ... and %d more" % (failed - 40))
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
