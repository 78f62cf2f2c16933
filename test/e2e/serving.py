#!/usr/bin/env python3
"""Flags about how the server answers at all: TLS versions, ciphers and names, headers, connections, its end.

usage: serving.py BIN_DIR
"""
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import checks
from admission import ok, replay

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import ports  # noqa: E402


def certificate(folder, name):
    cert, key = os.path.join(folder, name + ".crt"), os.path.join(folder, name + ".key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-keyout", key, "-out", cert, "-subj", "/CN=" + name, "-addext", "subjectAltName=DNS:" + name],
                   check=True, stderr=subprocess.DEVNULL)
    return cert, key


def ask(server, path="/version", method="GET", **headers):
    r = urllib.request.Request(server.url + path, method=method, headers=dict(
        {"Authorization": "Bearer " + replay.TOKEN}, **headers))
    try:
        with urllib.request.urlopen(r, context=ssl._create_unverified_context(), timeout=30) as f:
            return f.status, f.headers
    except urllib.error.HTTPError as e:
        return e.code, e.headers


def shake(server, name=None, most=None, ciphers=None):
    """(version, cipher, the certificate) of a handshake, or None."""
    context = ssl._create_unverified_context()
    if most is not None:
        context.maximum_version = most
    if ciphers is not None:
        context.set_ciphers(ciphers)
    host, port = server.url.split("//")[1].split(":")
    try:
        with socket.create_connection((host, int(port)), 20) as s, context.wrap_socket(s, server_hostname=name) as t:
            return t.version(), t.cipher()[0], t.getpeercert(True)
    except ssl.SSLError:
        return None


def headers(server):
    code, h = ask(server)
    ok("HSTS", code == 200 and h["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains", h.items())
    ok("no CORS without an origin", h["Access-Control-Allow-Origin"] is None)
    code, h = ask(server, Origin="https://console.example.com")
    ok("an origin that is allowed", h["Access-Control-Allow-Origin"] == "https://console.example.com" and
       h["Access-Control-Allow-Credentials"] == "true" and h["Access-Control-Expose-Headers"] == "Date", h.items())
    code, h = ask(server, Origin="https://example.net")
    ok("one that is not", code == 200 and h["Access-Control-Allow-Origin"] is None, h.items())
    code, h = ask(server, "/api/v1/pods", "OPTIONS", Origin="https://console.example.com", Authorization="Bearer none")
    ok("a browser that asks first", code == 204 and h["Access-Control-Allow-Methods"] ==
       "POST, GET, OPTIONS, PUT, DELETE, PATCH", (code, h.items()))


def tls(server, sni):
    ok("TLS 1.2 with the cipher that is allowed", (shake(server, most=ssl.TLSVersion.TLSv1_2) or [0, 0])[1] ==
       "ECDHE-ECDSA-AES256-GCM-SHA384", shake(server, most=ssl.TLSVersion.TLSv1_2))
    ok("no other", shake(server, most=ssl.TLSVersion.TLSv1_2, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256") is None)
    with open(sni[0]) as f:
        wanted = ssl.PEM_cert_to_DER_cert(f.read())
    ok("a name has its certificate", (shake(server, "api.example.org") or [0, 0, 0])[2] == wanted)
    ok("as named by the flag", (shake(server, "other.example.net") or [0, 0, 0])[2] == wanted)
    ok("another name has not", (shake(server, "localhost") or [0, 0, wanted])[2] != wanted)


def read(server, path):
    r = urllib.request.Request(server.url + path, headers={"Authorization": "Bearer " + replay.TOKEN})
    with urllib.request.urlopen(r, context=ssl._create_unverified_context(), timeout=30) as f:
        return f.read().decode()


def metrics(server):
    ask(server, "/readyz")
    ask(server, "/api/v1/namespaces", Authorization="Bearer none")
    text = read(server, "/metrics")
    for wanted in ('apiserver_storage_objects{resource="namespaces"} 4', 'apiserver_storage_objects{resource="pods"} 0',
                   'apiserver_resource_objects{group="rbac.authorization.k8s.io",resource="clusterroles"}',
                   'apiserver_request_sli_duration_seconds_bucket{group="",resource="', 'authentication_attempts{result="failure"} 1',
                   'authentication_attempts{result="success"}', 'git_version="v1.36.2+trireme"',
                   'apiserver_client_certificate_expiration_seconds_count 0', 'apiserver_current_inflight_requests{'):
        ok("metric " + wanted, wanted in text, [x for x in text.splitlines() if x.startswith(wanted.split("{")[0])][:5])
    text = read(server, "/metrics/slis")
    for wanted in ('kubernetes_healthcheck{name="etcd",type="readyz"} 1',
                   'kubernetes_healthchecks_total{name="ping",status="success",type="readyz"} '):
        ok("SLI " + wanted, wanted in text, text[:1500])


def ending(server):
    server.process.send_signal(signal.SIGTERM)
    end = time.time() + 10
    while ask(server, "/readyz")[0] == 200 and time.time() < end:
        time.sleep(0.05)
    ok("an ending server is not ready", ask(server, "/readyz")[0] == 500)
    ok("and says why", ask(server, "/readyz/shutdown")[0] == 500)
    ok("and answers still", ask(server)[0] == 200 and ask(server, "/livez")[0] == 200)
    server.process.wait(60)
    ok("until it ends", server.process.returncode == 0, server.process.returncode)


def refused(binary, folder):
    def start(*args):
        p = subprocess.run([os.path.join(binary, "trireme-apiserver"), "--data-dir=" + folder + "/none", "--secure-port=0",
                            "--bind-address=127.0.0.1", *args], capture_output=True, text=True, timeout=30)
        return p.stderr.strip().splitlines()[-1] if p.returncode in (1, 2) else "it started"
    for flag, want in (
            ("--goaway-chance=0.5", "--goaway-chance can not be less than 0 or greater than 0.02"),
            ("--tls-min-version=VersionTLS9", 'unknown tls version "VersionTLS9"'),
            ("--tls-cipher-suites=NONE", "cipher suite NONE not supported or doesn't exist"),
            ("--cors-allowed-origins=(", "--cors-allowed-origins has an invalid regular expression"),
            ("--strict-transport-security-directives=x", "--strict-transport-security-directives invalid, allowed values"),
            ("--tls-sni-cert-key=one", "expected comma separated certificate and key file paths"),
            ("--feature-gates=A=maybe", "invalid value of A=maybe"),
            ("--feature-gates=NoSuchGate=true", "unrecognized feature gate: NoSuchGate"),
            ("--runtime-config=x.io/v1=true", "unknown api groups x.io/v1"),
            ("--shutdown-delay-duration=-1s", "--shutdown-delay-duration can not be negative value")):
        said = start(flag)
        ok("refused: " + flag, want in said, said)


def apis(server):
    for path, want in (("/apis/batch/v1/jobs", 404), ("/apis/batch/v1/cronjobs", 200), ("/apis/policy/v1", 404),
                       ("/apis/policy/v1/poddisruptionbudgets", 404), ("/apis/apps/v1/daemonsets", 404),
                       ("/apis/apps/v1/deployments", 200), ("/openapi/v3/apis/policy/v1", 404), ("/api/v1/pods", 200),
                       ("/api/v1/pods?timeout=soon", 400), ("/api/v1/pods?timeout=5s", 200)):
        code, _ = ask(server, path)
        ok("--runtime-config: %s" % path, code == want, code)
    r = urllib.request.Request(server.url + "/apis/batch/v1", headers={"Authorization": "Bearer " + replay.TOKEN})
    with urllib.request.urlopen(r, context=ssl._create_unverified_context(), timeout=30) as f:
        names = sorted(x["name"] for x in json.load(f)["resources"])
    ok("discovery of what is left", names == ["cronjobs", "cronjobs/status"], names)


def connections(server, flags=()):
    """How many connections curl makes for 600 requests over HTTP/2."""
    config = "".join('url = "%s/version"\noutput = "/dev/null"\n' % server.url for _ in range(600))
    p = subprocess.run(["curl", "-sk", "--http2", "-H", "Authorization: Bearer " + replay.TOKEN, "-w", "%{num_connects} %{http_code}\n",
                        "-K", "-"], input=config, capture_output=True, text=True, timeout=60)
    answers = [x.split() for x in p.stdout.splitlines()]
    ok("all are answered", len(answers) == 600 and {x[1] for x in answers} == {"200"}, (len(answers), p.stderr[-300:]))
    return sum(int(x[0]) for x in answers)


def starting(binary, folder):
    """A member of three that is alone: it does not come to begin."""
    def start(name, *args):
        log = open(os.path.join(folder, name), "w+")
        p = subprocess.Popen([os.path.join(binary, "trireme-apiserver"), "--data-dir=" + os.path.join(folder, name + ".data"),
                              "--secure-port=0", "--bind-address=127.0.0.1", "--anonymous-auth", *args], stdout=log, stderr=log)
        end, url = time.time() + 20, None
        while time.time() < end and url is None:
            log.seek(0)
            url = next((x.split()[-1] for x in log.read().splitlines() if "serving on https://" in x), None)
            time.sleep(0.02)
        return p, url

    def look(url, path):
        try:
            with urllib.request.urlopen(url + path, context=ssl._create_unverified_context(), timeout=10) as f:
                return f.status
        except urllib.error.HTTPError as e:
            return e.code
    base = ports.free_block()
    cluster = ("--name=a", "--peer-listen-address=127.0.0.1:%d" % base, "--initial-cluster=" + ",".join(
        "%s=127.0.0.1:%d" % (n, base + i) for i, n in enumerate("abc")))
    p, url = start("graceful", "--livez-grace-period=4s", *cluster)
    first, ready = look(url, "/livez"), look(url, "/readyz")
    ok("--livez-grace-period: alive while it begins", first == 200 and ready == 500, (first, ready))
    end = time.time() + 10
    while look(url, "/livez") == 200 and time.time() < end:
        time.sleep(0.1)
    ok("but not for ever", look(url, "/livez") == 500)
    p.kill()
    p.wait()
    p, url = start("strict", *cluster)
    ok("without it: not alive before it has begun", look(url, "/livez") == 500)
    p.kill()
    p.wait()


def expiring(binary):
    server = replay.Server(os.path.join(binary, "trireme-apiserver"), "--event-ttl=2s")
    try:
        event = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"},
                 "reason": "Test", "message": "It will not last."}
        r = urllib.request.Request(server.url + "/api/v1/namespaces/default/events", json.dumps(event).encode(), {
            "Authorization": "Bearer " + replay.TOKEN, "Content-Type": "application/json"})
        with urllib.request.urlopen(r, context=ssl._create_unverified_context(), timeout=30) as f:
            ok("an event", f.status == 201)
        path, start = "/api/v1/namespaces/default/events/e", time.time()
        ok("is there", ask(server, path)[0] == 200)
        while ask(server, path)[0] == 200 and time.time() < start + 20:
            time.sleep(0.1)
        ok("--event-ttl: and then it is not", ask(server, path)[0] == 404 and time.time() - start > 1, time.time() - start)
        ok("no connection is sent away without --goaway-chance", connections(server) == 1)
    finally:
        server.stop()


def main():
    binary, folder = sys.argv[1], tempfile.mkdtemp(prefix="trireme-serving-")
    sni = certificate(folder, "api.example.org")
    server = replay.Server(
        os.path.join(binary, "trireme-apiserver"), "--strict-transport-security-directives=max-age=31536000,includeSubDomains",
        "--cors-allowed-origins=^https://[a-z]+\\.example\\.com$", "--goaway-chance=0.02", "--shutdown-delay-duration=3s",
        "--tls-sni-cert-key=%s,%s:api.example.org,*.example.net" % sni, "--http2-max-streams-per-connection=100",
        "--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "--event-ttl=30m", "--feature-gates=AllBeta=true",
        "--runtime-config=api/beta=true,batch/v1=false,batch/v1/cronjobs=true,policy/v1=false,apps/v1/daemonsets=false")
    try:
        headers(server)
        tls(server, sni)
        metrics(server)
        apis(server)
        ok("--goaway-chance: some connections are", connections(server) > 1)
        ending(server)
        refused(binary, folder)
        starting(binary, folder)
        expiring(binary)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
