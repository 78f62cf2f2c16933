#!/usr/bin/env python3
"""Replays recorded exchanges of an upstream API server against ours.

For each topic of facts/live/exchanges, starts a trireme-apiserver
on loopback with a directory of its own and a port the kernel picks, replays it
(several topics side by side: they mostly wait), and compares with test/replay/passing.txt, the list of steps that pass. The list
only grows: a listed step that differs is a failure, an unlisted one that passes
is printed so that it can be added (--update does).

usage: test/replay/run.py [--bin build/bin] [--facts FOLDER] [--update] [TOPIC...]
"""
import argparse
import concurrent.futures
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PASSING = os.path.join(ROOT, "test", "replay", "passing.txt")
TOKEN = "replay-token"
WORKERS = 8


class Server:
    def __init__(self, binary, *more):
        self.dir = tempfile.mkdtemp(prefix="trireme-replay-")
        tokens = os.path.join(self.dir, "tokens.csv")
        with open(tokens, "w") as f:
            f.write("%s,admin,1,system:masters\n" % TOKEN)
        key = os.path.join(self.dir, "sa.key")
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key],
                       check=True, stderr=subprocess.DEVNULL)
        self.log_path = os.path.join(self.dir, "log")
        self.log = open(self.log_path, "w")
        self.process = subprocess.Popen(
            [binary, "--bind-address=127.0.0.1", "--secure-port=0", "--data-dir=" + os.path.join(self.dir, "data"),
             "--token-auth-file=" + tokens, "--service-account-signing-key-file=" + key,
             "--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.96.0.0/16",
             "--enable-bootstrap-token-auth", *more], stderr=self.log, stdout=self.log)
        self.url = self.wait_ready()

    def read_log(self):
        with open(self.log_path) as f:
            return f.read()

    def wait_ready(self):
        end = time.time() + 30
        while time.time() < end:
            text = self.read_log()
            m = re.search(r"serving on (https://\S+)", text)
            if m and " ready after " in text:
                return m.group(1)
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise SystemExit("the server did not start:\n" + self.read_log())

    def stop(self):
        alive = self.process.poll() is None
        if alive:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                alive = False
        self.log.close()
        text = self.read_log()
        shutil.rmtree(self.dir, ignore_errors=True)
        return alive and self.process.returncode == 0, text


def replay(binary, folder, topic):
    """Steps of one topic as (name, passed, differences), and what went wrong with the server."""
    server = Server(binary)
    report = os.path.join(server.dir, "report.json")
    steps = []
    try:
        subprocess.run([sys.executable, os.path.join(folder, "replay.py"), "--server", server.url, "--token", TOKEN,
                        "--insecure", "--quiet", "--report", report,
                        os.path.join(folder, "exchanges", topic + ".json")],
                       stdout=subprocess.DEVNULL, timeout=300)
        with open(report) as f:
            steps = json.load(f)
    finally:
        clean, log = server.stop()
    seen, out = {}, []
    for s in steps:
        n = seen[s["step"]] = seen.get(s["step"], 0) + 1  # Names repeat: a number tells them apart.
        out.append((s["step"] if n == 1 else "%s #%d" % (s["step"], n), s["ok"], s["diff"]))
    return out, None if clean else log[-2000:]


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--bin", default=os.path.join(ROOT, "build", "bin"), help="folder of the programs")
    ap.add_argument("--facts", default=os.environ.get("TRIREME_FACTS", os.path.join(ROOT, "..", "shared", "facts")))
    ap.add_argument("--update", action="store_true", help="add the steps that newly pass to passing.txt")
    ap.add_argument("topics", nargs="*")
    a = ap.parse_args()
    folder = os.path.join(a.facts, "live")
    if not os.path.isdir(folder):
        print("replay: no facts at %s (set TRIREME_FACTS): nothing was checked" % folder)
        print("0 passed, 0 failed")
        return 0
    with open(PASSING) as f:
        ratchet = {tuple(l.rstrip("\n").split("\t", 1)) for l in f if "\t" in l}
    topics = a.topics or sorted(n[:-5] for n in os.listdir(os.path.join(folder, "exchanges"))
                                if n.endswith(".json"))
    binary = os.path.join(a.bin, "trireme-apiserver")
    passed, failed, total, new, ran = 0, 0, 0, [], set()
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        for topic, (steps, broken) in zip(topics, pool.map(lambda t: replay(binary, folder, t), topics)):
            if broken:
                failed += 1
                print("FAIL  %s: the server did not stop in good order:\n%s" % (topic, broken))
            for name, ok, diff in steps:
                total += ok
                ran.add((topic, name))
                if (topic, name) not in ratchet:
                    new += [(topic, name)] if ok else []
                    continue
                passed += ok
                if not ok:
                    failed += 1
                    print("FAIL  %s: %s\n      %s" % (topic, name, "\n      ".join(d[:300] for d in diff[:5])))
    for step in sorted(s for s in ratchet if s[0] in topics and s not in ran):
        failed += 1
        print("FAIL  %s: %s: was not run" % step)
    if new:
        print("%d steps pass that are not in passing.txt%s" % (len(new), "" if a.update else " (--update adds them)"))
        if a.update:
            with open(PASSING, "w") as f:
                for step in sorted(ratchet | set(new)):
                    f.write("\t".join(step) + "\n")
    print("%d steps pass in all" % total)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
