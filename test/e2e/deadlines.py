#!/usr/bin/env python3
"""The time that requests have: --request-timeout, ?timeout=, the 34 s of writes; what becomes of those cut off.

usage: deadlines.py BIN_DIR
"""
import http.client
import json
import os
import re
import shutil
import ssl
import sys
import tempfile
import threading
import time

import checks
from admission import MAPS, Api, Hooks, ok, replay

OVER = {"metadata": {}, "status": "Failure", "reason": "Timeout", "details": {}, "code": 504,
        "message": "Timeout: request did not complete within the allotted timeout"}


class Client:
    """One HTTP/1.1 connection."""
    def __init__(self, url):
        self.connection = http.client.HTTPSConnection(url.split("//")[1], context=ssl._create_unverified_context(), timeout=60)

    def ask(self, method, path, body=None):
        self.connection.request(method, path, body and json.dumps(body), {
            "Authorization": "Bearer " + replay.TOKEN, "Content-Type": "application/json"})
        return self.connection.getresponse()

    def call(self, method, path, body=None):
        start = time.time()
        answer = self.ask(method, path, body)
        return answer, answer.read().decode(), time.time() - start


def config_map(name, **labels):
    return {"metadata": {"name": name, "labels": labels}}


def metric(client, name):
    text = client.call("GET", "/metrics")[1]
    return sum(float(x.rsplit(" ", 1)[1]) for x in text.splitlines() if re.match(name, x))


def until(condition, seconds=10):
    end = time.time() + seconds
    while not condition() and time.time() < end:
        time.sleep(0.05)
    return condition()


def hooked(api, hooks, name, seconds):
    """Writes of maps with the label NAME wait for a webhook for so long."""
    api.make("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", name, webhooks=[
        dict(hooks.hook("one.example.com", "slow/%s" % seconds, timeoutSeconds=30),
             objectSelector={"matchLabels": {"wait": name}})])
    api.make("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", name, webhooks=[
        dict(hooks.hook("two.example.com", "slow/%s" % seconds, timeoutSeconds=30),
             objectSelector={"matchLabels": {"wait": name}})])


def writes(api, client):
    answer, body, took = client.call("POST", MAPS + "?timeout=1s", config_map("late", wait="short"))
    ok("a write that takes longer than it may", answer.status == 504 and json.loads(body) == OVER and 0.9 < took < 2.4,
       (answer.status, body, took))
    ok("its answer has the fields of every answer", answer.getheader("Audit-Id") and answer.getheader("Cache-Control") ==
       "no-cache, private" and answer.getheader("Content-Type").startswith("text/plain"), answer.getheaders())
    ok("the connection goes on", client.call("GET", "/version")[0].status == 200)
    ok("the client gone, the write comes to its end",
       until(lambda: metric(client, "apiserver_request_post_timeout_total") >= 1))
    ok("and is not made", client.call("GET", MAPS + "/late")[0].status == 404)
    ok("it is counted", metric(client, 'apiserver_request_terminations_total{code="504",component="apiserver"') >= 1)
    ok("no request is left", until(lambda: metric(client, 'apiserver_current_inflight_requests{request_kind="mutating') <= 1))
    answer, body, took = client.call("POST", MAPS + "?timeout=0s", config_map("zero"))
    ok("no time is the server's time", answer.status == 201, body)
    answer, body, took = client.call("POST", MAPS + "?timeout=-1s", config_map("minus"))
    ok("nor is less", answer.status == 201, body)
    answer, body, took = client.call("GET", MAPS + "?timeout=1", None)
    ok("what is no duration", answer.status == 400 and "time: missing unit in duration" in body, body)


def lists(api, client, url):
    for i in range(24):
        client.call("POST", MAPS, {"metadata": {"name": "big%d" % i}, "data": {"x": "a1" * 500000}})
    slow = Client(url)
    answer = slow.ask("GET", MAPS + "?timeout=1s")
    ok("a list begins", answer.status == 200)
    ok("and is ended", until(lambda: metric(client, 'apiserver_request_terminations_total{code="504".*verb="LIST"') == 1))
    try:
        cut = len(answer.read()) < 24000000
    except (http.client.HTTPException, OSError):
        cut = True
    ok("its client sees it cut off", cut)
    gone = Client(url)
    ok("another list begins", gone.ask("GET", MAPS).status == 200)
    gone.connection.sock.close()
    gone.connection.close()
    ok("and does not stay when its client goes",
       until(lambda: metric(client, 'apiserver_current_inflight_requests{request_kind="readOnly') <= 1))
    watch = Client(url).ask("GET", MAPS + "?watch=1&timeout=1s&timeoutSeconds=3")
    start = time.time()
    watch.read()
    ok("a watch has its own time", time.time() - start > 2)


def long_write(url, results):
    answer, body, took = Client(url).call("POST", MAPS, config_map("longer", wait="long"))
    results.update(code=answer.status, body=json.loads(body), took=took)


def main():
    folder, binary = tempfile.mkdtemp(prefix="trireme-deadlines-"), os.path.join(sys.argv[1], "trireme-apiserver")
    hooks = Hooks(folder)
    server = replay.Server(binary)
    try:
        api, client, results = Api(server.url), Client(server.url), {}
        hooked(api, hooks, "long", 20)
        hooked(api, hooks, "short", 1.5)
        thread = threading.Thread(target=long_write, args=(server.url, results))
        thread.start()
        writes(api, client)
        lists(api, client, server.url)
        thread.join()
        ok("a write has 34 seconds", results["code"] == 504 and 33.5 < results["took"] < 39, results)
        ok("and is told so", results["body"]["kind"] == "Status" and results["body"]["message"] ==
           "Timeout: request did not complete within requested timeout - context deadline exceeded", results)
        ok("the server ends well", server.stop()[0])
        server = replay.Server(binary, "--request-timeout=1s")
        api, client = Api(server.url), Client(server.url)
        hooked(api, hooks, "short", 1.5)
        answer, body, took = client.call("POST", MAPS + "?timeout=1m", config_map("late", wait="short"))
        ok("--request-timeout bounds what a request may ask for", answer.status == 504 and json.loads(body) == OVER, body)
    finally:
        ok("the server ends while a write goes on", server.stop()[0])
        hooks.process.kill()
        hooks.process.wait()
        shutil.rmtree(folder, ignore_errors=True)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
