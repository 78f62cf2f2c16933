#!/usr/bin/env python3
"""An admission webhook for tests: HTTPS on loopback, on a port the kernel picks.

The path says what it does: /allow, /deny, /deny-plain, /warn, /label (adds a
label hook=N, N counting its calls), /image (another image, no tolerations), /note
(an audit annotation), /slow (answers after 5 s; /slow/S: after S), /broken (no
JSON), /error (500), /uid (answers about another question).
Prints its port once it listens; writes each question to the log.

usage: webhook_server.py CERT KEY LOG
"""
import base64
import http.server
import json
import sys
import threading
import time

import checks

calls = {}
lock = threading.Lock()


def answer(path, request):
    response = {"uid": request["uid"], "allowed": True}
    if path == "/deny":
        response.update(allowed=False, status={"code": 418, "message": "not this one", "reason": "Teapot"})
    elif path == "/deny-plain":
        response.update(allowed=False)
    elif path == "/warn":
        response.update(warnings=["think twice about " + request["name"]])
    elif path == "/uid":
        response.update(uid="another")
    elif path == "/image":  # As long as the pod has the image old.
        patch = [{"op": "replace", "path": "/spec/containers/0/image", "value": "new"},
                 {"op": "remove", "path": "/spec/tolerations"}]
        if request["object"]["spec"]["containers"][0]["image"] == "old":
            response.update(patchType="JSONPatch", patch=base64.b64encode(json.dumps(patch).encode()).decode())
    elif path == "/note":
        response.update(auditAnnotations={"seen": request["name"]})
    elif path.startswith("/label"):
        with lock:
            n = calls[path] = calls.get(path, 0) + 1
        has = "labels" in request["object"]["metadata"]
        key = path[1:]
        patch = [] if has else [{"op": "add", "path": "/metadata/labels", "value": {}}]
        patch.append({"op": "add", "path": "/metadata/labels/" + key, "value": str(n)})
        response.update(patchType="JSONPatch", patch=base64.b64encode(json.dumps(patch).encode()).decode())
    return response


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path, request = self.path.split("?")[0], review["request"]
        with lock, open(sys.argv[3], "a") as f:
            f.write(json.dumps({"path": self.path, "request": request}) + "\n")
        if path.startswith("/slow"):
            time.sleep(float(path[6:] or 5))
        status, body = 200, json.dumps({"apiVersion": review["apiVersion"], "kind": "AdmissionReview",
                                        "response": answer(path, request)})
        if path == "/broken":
            body = "no json"
        if path == "/error":
            status, body = 500, "it burns"
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
