#!/usr/bin/env python3
"""An extension API server for tests: HTTPS on a port the kernel picks.

Serves example group wardle.example.com/v1alpha1: namespaced flunders and the
cluster's fischers, kept in memory; watches as streams; /echo answers with the
request as it arrived; the subresource flunders/connect joins an upgraded
connection that sends back what it is sent. Callers must show a certificate of the front
proxy. Prints its port once it listens. --legacy: no aggregated discovery, no
OpenAPI.

usage: extension_server.py ADDRESS CERT KEY PROXY_CA [--legacy]
"""
import hashlib
import http.server
import json
import ssl
import sys
import threading

GROUP, VERSION = "wardle.example.com", "v1alpha1"
BASE = "/apis/%s/%s" % (GROUP, VERSION)
LEGACY = "--legacy" in sys.argv
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
lock = threading.Condition()
objects, events = {}, []  # (resource, ns, name) -> object; (type, key, object)

VERBS = ["create", "delete", "get", "list", "watch"]
RESOURCES = [
    {"name": "flunders", "singularName": "flunder", "namespaced": True, "kind": "Flunder", "verbs": VERBS,
     "shortNames": ["fl"], "categories": ["all"]},
    {"name": "flunders/connect", "singularName": "", "namespaced": True, "kind": "Flunder", "verbs": ["get"]},
    {"name": "fischers", "singularName": "fischer", "namespaced": False, "kind": "Fischer", "verbs": VERBS},
]


def aggregated():
    def one(r):
        out = {"resource": r["name"], "responseKind": {"group": GROUP, "version": VERSION, "kind": r["kind"]},
               "scope": "Namespaced" if r["namespaced"] else "Cluster", "singularResource": r["singularName"],
               "verbs": r["verbs"]}
        out.update({k: r[k] for k in ("shortNames", "categories") if k in r})
        return out
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": [
        {"metadata": {"name": GROUP}, "versions": [{
            "version": VERSION, "resources": [one(r) for r in RESOURCES if "/" not in r["name"]],
            "freshness": "Current"}]}]}


def openapi():
    gvk = [{"group": GROUP, "version": VERSION, "kind": "Flunder"}]
    ref = {"$ref": "#/components/schemas/com.example.wardle.v1alpha1.Flunder"}
    return {"openapi": "3.0.0", "info": {"title": "wardle", "version": "1"}, "paths": {
        BASE + "/namespaces/{namespace}/flunders" + end: {"get": {
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk[0],
            "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": ref}}}}}}
        for end, action in (("", "list"), ("/{name}", "get"))},
        "components": {"schemas": {"com.example.wardle.v1alpha1.Flunder": {
            "description": "Flunder is a test's own kind.", "type": "object", "x-kubernetes-group-version-kind": gvk,
            "properties": {"spec": {"description": "What is wanted of it.", "type": "object"}}}}}}


def openapi_v2():
    """Paths of ours and of others; a definition that means the same as the main server's, and one that does not."""
    gvk, name = {"group": GROUP, "version": VERSION, "kind": "Flunder"}, "com.example.wardle.v1alpha1.Flunder"
    time = "io.k8s.apimachinery.pkg.apis.meta.v1.Time"
    other = "io.k8s.apimachinery.pkg.runtime.RawExtension"

    def ref(x):
        return {"$ref": "#/definitions/" + x}

    def get(schema, parameters=()):
        return {"get": {"x-kubernetes-action": "get", "x-kubernetes-group-version-kind": gvk, "parameters": list(parameters),
                        "responses": {"200": {"description": "OK", "schema": schema}}}}
    return {"swagger": "2.0", "info": {"title": "wardle", "version": "1"}, "paths": {
        BASE + "/namespaces/{namespace}/flunders/{name}": get(ref(name), [
            {"$ref": "#/parameters/pretty-wardle"}, {"in": "path", "name": "name", "required": True, "type": "string"}]),
        "/apis/%s/" % GROUP: get(ref("com.example.Unwanted")), "/version/": get(ref("com.example.Unwanted"))},
        "definitions": {
            name: {"description": "Flunder is a test's own kind.", "type": "object", "x-kubernetes-group-version-kind": [gvk],
                   "properties": {"made": ref(time), "extension": ref(other)}},
            time: {"description": "In our own words.", "type": "string", "format": "date-time"},
            other: {"description": "Something else.", "type": "object", "properties": {"raw": {"type": "string"}}},
            "com.example.Unwanted": {"type": "object"}, "com.example.Loose": {"type": "object"}},
        "parameters": {"pretty-wardle": {"in": "query", "name": "pretty", "type": "string"}}}


OPENAPI, OPENAPI_V2 = json.dumps(openapi()), json.dumps(openapi_v2())
V2_TAG = '"%s"' % hashlib.sha256(OPENAPI_V2.encode()).hexdigest()
v2_asked = {200: 0, 304: 0}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def send(self, status, body, kind="application/json", **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for k, v in headers.items():
            self.send_header(k, v)
        self.end_headers()
        self.wfile.write(body)

    def status(self, code, reason, message):
        self.send(code, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
                         "reason": reason, "code": code})

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            out = b""
            while True:
                n = int(self.rfile.readline(), 16)
                out += self.rfile.read(n)
                self.rfile.readline()
                if n == 0:
                    return out
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def watch(self, match):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        at = 0
        while True:
            with lock:
                while at == len(events):
                    if not lock.wait(20):
                        self.chunk(b"")
                        return
                what, key, obj = events[at]
                at += 1
            if match(key):
                self.chunk(json.dumps({"type": what, "object": obj}).encode() + b"\n")

    def echo_stream(self):
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "echo")
        self.end_headers()
        while True:
            data = self.rfile.read1(65536)
            if not data:
                break
            self.wfile.write(data)
            self.wfile.flush()
        self.close_connection = True

    def handle_any(self):
        path, _, query = self.path.partition("?")
        data = self.body()
        if path == BASE + "/echo":
            self.send(200, {"method": self.command, "target": self.path, "size": len(data),
                            "sha256": hashlib.sha256(data).hexdigest(),
                            "headers": [[k.lower(), v] for k, v in self.headers.items()]})
        elif path == "/apis" and AGGREGATED in self.headers.get("Accept", "") and not LEGACY:
            self.send(200, json.dumps(aggregated()).encode(), AGGREGATED)
        elif path == "/openapi/v3" and not LEGACY:
            digest = hashlib.sha256(OPENAPI.encode()).hexdigest().upper()
            self.send(200, {"paths": {BASE[1:]: {"serverRelativeURL": "/openapi/v3%s?hash=%s" % (BASE, digest)}}})
        elif path == "/openapi/v3" + BASE and not LEGACY:
            self.send(200, OPENAPI.encode())
        elif path == "/openapi/v2" and not LEGACY:
            code = 304 if self.headers.get("If-None-Match") == V2_TAG else 200
            v2_asked[code] += 1
            self.send(code, OPENAPI_V2.encode() if code == 200 else b"", ETag=V2_TAG)
        elif path == BASE + "/asked":
            self.send(200, v2_asked)
        elif path == BASE:
            self.send(200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP + "/" + VERSION,
                            "resources": RESOURCES})
        elif path.startswith(BASE + "/"):
            self.resource(path[len(BASE) + 1:].split("/"), query, data)
        else:
            self.status(404, "NotFound", "the server could not find the requested resource")

    def resource(self, parts, query, data):
        ns = ""
        if parts[0] == "namespaces" and len(parts) > 2:
            ns, parts = parts[1], parts[2:]
        kind = {"flunders": "Flunder", "fischers": "Fischer"}.get(parts[0])
        if kind is None:
            self.status(404, "NotFound", "the server could not find the requested resource")
            return
        if parts[2:] == ["connect"]:
            self.echo_stream()
            return
        key = (parts[0], ns, parts[1] if len(parts) > 1 else "")

        def match(k):
            return k[0] == key[0] and (ns == "" or k[1] == ns)

        if self.command == "GET" and not key[2] and "watch=" in query:
            self.watch(match)
            return
        with lock:
            if self.command == "POST":
                obj = json.loads(data)
                key = (key[0], ns, obj["metadata"]["name"])
                obj["metadata"].update(namespace=ns, uid="u", resourceVersion=str(len(events) + 1))
                if not ns:
                    del obj["metadata"]["namespace"]
                obj.update(apiVersion=GROUP + "/" + VERSION, kind=kind)
                objects[key] = obj
                events.append(("ADDED", key, obj))
                lock.notify_all()
                answer = 201, obj
            elif self.command == "GET" and not key[2]:
                answer = 200, {"kind": kind + "List", "apiVersion": GROUP + "/" + VERSION,
                               "metadata": {"resourceVersion": str(len(events))},
                               "items": [o for k, o in sorted(objects.items()) if match(k)]}
            elif key not in objects:
                answer = 404, None
            elif self.command == "DELETE":
                events.append(("DELETED", key, objects.pop(key)))
                lock.notify_all()
                answer = 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
            else:
                answer = 200, objects[key]
        if answer[0] == 404:
            self.status(404, "NotFound", '%s.%s "%s" not found' % (key[0], GROUP, key[2]))
        else:
            self.send(*answer)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    def get_request(self):
        s, a = self.socket.accept()
        return context.wrap_socket(s, server_side=True, do_handshake_on_connect=False), a

    def handle_error(self, request, address):
        """Whoever does not trust us, or goes away, is no news."""


address, cert, key_file, ca = sys.argv[1:5]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key_file)
context.load_verify_locations(ca)
context.verify_mode = ssl.CERT_REQUIRED
server = Server((address, 0), Handler)
server.daemon_threads = True
print(server.server_address[1], flush=True)
server.serve_forever()
