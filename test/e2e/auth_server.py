#!/usr/bin/env python3
"""Whoever the API server asks about users, for tests: HTTPS on loopback, on a
port the kernel picks.

  POST /authz          SubjectAccessReview: ann may do everything, eve nothing,
                       about others it has no opinion
  POST /authn          TokenReview: the token hook-NAME is of user NAME
  POST /audit          EventList: its events go to the log
  POST /broken, /slow  no JSON; an answer after 5 s
  GET  /issuer/...     discovery document and keys, from DIR/keys.json

Prints its port once it listens; writes what it was asked to DIR/asked.log.

usage: auth_server.py CERT KEY DIR
"""
import http.server
import json
import os
import sys
import threading
import time

import checks

lock = threading.Lock()
folder = sys.argv[3]


def note(path, what):
    with lock, open(os.path.join(folder, "asked.log"), "a") as f:
        f.write(json.dumps({"path": path, "what": what}) + "\n")


def authorize(review):
    spec = review["spec"]
    user = spec.get("user", "")
    return {"allowed": user == "ann", "denied": user == "eve", "reason": "asked about " + user}


def authenticate(review):
    token = review["spec"]["token"]
    if not token.startswith("hook-"):
        return {"authenticated": False}
    return {"authenticated": True,
            "user": {"username": token[5:], "uid": "7", "groups": ["hooked"], "extra": {"scope": ["a", "b"]}}}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body, kind="application/json"):
        body = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass  # The caller had no time for it.

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body["_authorization"] = self.headers.get("Authorization", "")
        note(self.path, body)
        if os.path.exists(os.path.join(folder, "refuse")):
            return self.answer(503, "not now", "text/plain")
        if self.path == "/slow":
            time.sleep(5)
        if self.path == "/broken":
            return self.answer(200, "no json")
        if self.path == "/audit":
            return self.answer(200, "{}")
        made = {"apiVersion": body["apiVersion"], "kind": body["kind"]}
        made["status"] = authenticate(body) if self.path == "/authn" else authorize(body)
        return self.answer(200, json.dumps(made))

    def do_GET(self):
        note(self.path, None)
        issuer = "https://127.0.0.1:%d/issuer" % self.server.server_port
        if self.path == "/issuer/.well-known/openid-configuration":
            return self.answer(200, json.dumps({"issuer": issuer, "jwks_uri": issuer + "/keys"}))
        if self.path == "/issuer/keys":
            with open(os.path.join(folder, "keys.json")) as f:
                return self.answer(200, f.read())
        return self.answer(404, "{}")

    def log_message(self, *args):
        pass


checks.serve(Handler, sys.argv[1], sys.argv[2])
