#!/usr/bin/env python3
"""A conversion webhook for tests: HTTPS on loopback, on a port the kernel picks.

Objects of v1 have spec.host and spec.port, those of v2 spec.address
("host:port"), those of v3 spec.ends (a list of such). The path says what goes
wrong: /convert (nothing), /slow (2 s), /fail (a failed result), /silent (one
without a message), /uid, /few (one object is missing), /version, /kind, /name,
/label (adds one), /bad-label, /number-label, /no-metadata, /rename-meta
(changes what may not change), /broken (no JSON), /error (500), /gone (404).
Prints its port once it listens; writes each question to the log.

usage: conversion_server.py CERT KEY LOG
"""
import http.server
import json
import sys
import threading
import time

import checks

lock = threading.Lock()


def ends_of(o):
    spec = o.get("spec") or {}
    if "ends" in spec:
        return spec["ends"]
    if "address" in spec:
        return [spec["address"]]
    return ["%s:%s" % (spec["host"], spec.get("port", 0))] if "host" in spec else []


def convert(o, desired):
    ends, out = ends_of(o), json.loads(json.dumps(o))
    spec = out.get("spec") or {}
    rest = {k: v for k, v in spec.items() if k not in ("host", "port", "address", "ends")}
    version = desired.split("/")[1]
    if version == "v3":
        rest["ends"] = ends
    elif version == "v2" and ends:
        rest["address"] = ends[0]
    elif ends:
        host, port = ends[0].rsplit(":", 1)
        rest.update(host=host, port=int(port))
    if "spec" in out:
        out["spec"] = rest
    out["apiVersion"] = desired
    return out


def answer(path, request):
    objects = [convert(o, request["desiredAPIVersion"]) for o in request["objects"]]
    result, uid = {"status": "Success"}, request["uid"]
    for o in objects:
        if path == "/version":
            o["apiVersion"] = "example.com/v9"
        elif path == "/kind":
            o["kind"] = "Another"
        elif path == "/name":
            o["metadata"]["name"] = "another"
        elif path == "/label":
            o["metadata"].setdefault("labels", {})["converted-to"] = request["desiredAPIVersion"].split("/")[1]
        elif path == "/bad-label":
            o["metadata"]["labels"] = {"a b": "c"}
        elif path == "/number-label":
            o["metadata"]["labels"] = {"a": 1}
        elif path == "/no-metadata":
            o["metadata"] = "none"
        elif path == "/rename-meta":
            o["metadata"].update(generation=77, finalizers=["example.com/x"], creationTimestamp="2001-01-01T00:00:00Z")
    if path == "/fail":
        result = {"status": "Failed", "message": "cannot do that"}
    elif path == "/silent":
        result = {"status": "Failed"}
    elif path == "/uid":
        uid = "another"
    elif path == "/few":
        objects = objects[1:]
    return {"uid": uid, "convertedObjects": objects, "result": result}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path, request = self.path.split("?")[0], review["request"]
        with lock, open(sys.argv[3], "a") as f:
            f.write(json.dumps({"path": self.path, "version": review["apiVersion"], "request": request}) + "\n")
        if path == "/slow":
            time.sleep(2)
        status, body = 200, json.dumps({"apiVersion": review["apiVersion"], "kind": "ConversionReview",
                                        "response": answer(path, request)})
        if path == "/broken":
            body = "no json"
        if path in ("/error", "/gone"):
            status, body = (500, "it burns") if path == "/error" else (404, "not here")
        body = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass  # The caller had no time for it.

    def log_message(self, *args):
        pass


checks.serve(Handler, sys.argv[1], sys.argv[2])
