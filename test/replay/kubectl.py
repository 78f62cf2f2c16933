#!/usr/bin/env python3
"""Compares what kubectl prints against our cluster with recorded transcripts.

Starts a one-member control plane with scheduler and controllers on loopback,
runs the comparer of facts/kubectl over the topics in scope, and holds the
result against test/replay/kubectl-passing.txt, the list of commands that print
what they should. The list only grows: a listed command that differs is a
failure, an unlisted one that passes is printed so that it can be added
(--update does).

usage: test/replay/kubectl.py --bin BIN_DIR --facts FOLDER [--update] [TOPIC...]
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "test"))
sys.dont_write_bytecode = True
from ports import free_block  # noqa: E402

PASSING = os.path.join(ROOT, "test", "replay", "kubectl-passing.txt")
TOPICS = ["apply-client", "apply-server-side", "auth", "create-generators", "describe", "diff", "discovery", "errors",
          "get-outputs", "kustomize-events", "label-annotate-set", "nodes", "patch-replace-edit", "run-expose-autoscale", "scale-rollout",
          "wait-delete", "workload-status"]
# The recorded cluster had no metrics-server.
NO_METRICS = "--runtime-config=metrics.k8s.io/v1beta1=false"
# The reference was recorded without the first two; the others, which bring kinds of their own, have no counterpart there.
CONTROLLERS = ("--controllers=*,-node-lifecycle-controller,-taint-eviction-controller,-podgroup-controller,"
               "-vertical-pod-autoscaler-controller")


def key(topic, command, seen):
    """A command's name in the list: repeated commands of a topic are numbered."""
    k = topic + ": " + command.strip()
    seen[k] = seen.get(k, 0) + 1
    return k if seen[k] == 1 else "%s #%d" % (k, seen[k])


def run_topics(compare, kubeconfig, topics):
    """Command -> passed, in order."""
    results, seen = {}, {}
    p = subprocess.run([sys.executable, compare, "--kubeconfig", kubeconfig, "--only", ",".join(topics), "--settle", "15", "-v"],
                       capture_output=True, text=True)
    details, current = {}, None
    for line in p.stdout.split("\n"):
        m = re.match(r"^(ok|differs) +([a-z-]+): (.*)$", line)
        if m:
            current = key(m.group(2), m.group(3), seen)
            results[current] = m.group(1) == "ok"
            details[current] = []
        elif current is not None and line.startswith("    "):
            details[current].append(line)
    if not results:
        print(p.stdout + p.stderr)
    return results, details


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--bin", required=True)
    ap.add_argument("--facts", required=True)
    ap.add_argument("--update", action="store_true", help="add what passes to the list")
    ap.add_argument("--show", action="store_true", help="print the differences of commands that are not listed, too")
    ap.add_argument("topics", nargs="*")
    a = ap.parse_args()
    compare = os.path.join(a.facts, "kubectl", "compare.py")
    if not os.path.exists(compare):
        print("left out: kubectl transcripts, since there are none in %s" % a.facts)
        return 0
    if shutil.which("kubectl") is None:
        raise SystemExit("kubectl is not installed: make deps")
    topics = a.topics or TOPICS
    trireme = os.path.join(a.bin, "trireme")
    work = tempfile.mkdtemp(prefix="trireme-kubectl-")
    cluster = os.path.join(work, "c")
    subprocess.run([trireme, "up", "--control-planes", "1", "--workers", "0", "--loopback", "--dir", cluster,
                    "--base-port", str(free_block()), "--controller-manager-args", CONTROLLERS, "--apiserver-args", NO_METRICS], check=True, stdout=subprocess.DEVNULL)
    try:
        results, details = run_topics(compare, os.path.join(cluster, "kubeconfig"), topics)
    finally:
        subprocess.run([trireme, "down", "--dir", cluster], check=False)
        shutil.rmtree(work, ignore_errors=True)
    listed = set()
    if os.path.exists(PASSING):
        with open(PASSING) as f:
            listed = {line.rstrip("\n") for line in f if line.strip() and not line.startswith("#")}
    passed = failed = 0
    for name, good in results.items():
        if name in listed and good:
            passed += 1
        elif name in listed:
            failed += 1
            print("  FAIL  " + name)
            print("\n".join(details[name]))
        elif good and not a.update:
            print("  new   " + name)
        elif not good and a.show:
            print("  differs " + name)
            print("\n".join(details[name][:14]))
    for name in sorted(listed):
        if name.split(":")[0] in topics and name not in results:
            failed += 1
            print("  FAIL  %s was not run" % name)
    if a.update:
        with open(PASSING, "w") as f:
            f.write("# Commands of facts/kubectl that print what the recorded server's kubectl printed. Only grows.\n")
            f.write("\n".join(sorted(listed | {n for n, good in results.items() if good})) + "\n")
    print("%d of %d commands print what they should" % (sum(results.values()), len(results)))
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
