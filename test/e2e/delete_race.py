#!/usr/bin/env python3
"""Deletes the same pods from several clients at once: each pod goes once, each client gets an answer.

usage: delete_race.py --server https://HOST:PORT --token T [--pods 200] [--clients 6]
Prints how many deletions were answered with 200 and 404; exit code 1 when any other answer came or a
connection broke.
"""
import argparse
import http.client
import json
import ssl
import sys
import threading
import urllib.parse

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {},
       "spec": {"automountServiceAccountToken": False, "containers": [{"name": "c", "image": "none"}]}}


class Client:
    def __init__(self, server, token):
        context = ssl._create_unverified_context()
        self.connection = http.client.HTTPSConnection(urllib.parse.urlsplit(server).netloc, context=context, timeout=30)
        self.headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}

    def call(self, method, path, body=None):
        self.connection.request(method, path, json.dumps(body) if body is not None else None, self.headers)
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--server", required=True)
    ap.add_argument("--token", required=True)
    ap.add_argument("--pods", type=int, default=200)
    ap.add_argument("--clients", type=int, default=6)
    a = ap.parse_args()
    base = "/api/v1/namespaces/default/pods"
    clients = [Client(a.server, a.token) for _ in range(a.clients)]
    barrier = threading.Barrier(a.clients)
    counts, problems = {200: 0, 404: 0}, []

    def work(client, number):
        try:
            for i in range(a.pods):
                if number == 0:
                    POD["metadata"]["name"] = "race-%d" % i
                    status, answer = client.call("POST", base, POD)
                    if status != 201:
                        problems.append("create: %d %s" % (status, answer.get("message")))
                barrier.wait(60)
                status, answer = client.call("DELETE", base + "/race-%d?gracePeriodSeconds=0" % i)
                if status not in counts:
                    problems.append("delete: %d %s" % (status, answer.get("message")))
                elif status == 200 and answer.get("metadata", {}).get("name") != "race-%d" % i:
                    problems.append("delete: answered with %s" % json.dumps(answer)[:200])
                else:
                    counts[status] += 1
                barrier.wait(60)
        except (OSError, ValueError, http.client.HTTPException, threading.BrokenBarrierError) as e:
            problems.append(repr(e))
            barrier.abort()

    threads = [threading.Thread(target=work, args=(c, i)) for i, c in enumerate(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print("%d deleted, %d found nothing, %d problems%s" % (counts[200], counts[404], len(problems),
                                                          ": " + problems[0] if problems else ""))
    return 1 if problems or counts[200] < a.pods else 0


if __name__ == "__main__":
    sys.exit(main())
