#!/usr/bin/env python3
"""Compares trireme-raftstore with Debian's etcd, case by case, as clients see them.

Each case runs on a fresh etcd and on a fresh trireme-raftstore at the same time;
what etcdctl, a gRPC client and HTTP saw must be equal once ids, times and the
like are replaced (see transcript.py). test/etcd/passing.txt lists the cases that
must pass: a listed case that differs is a failure; an unlisted one that passes is
printed so that it can be added (--update does). PATTERNs are shell patterns of case names.

ETCD_RANDOM_SEEDS=FROM-TO adds random histories, see cases_random.py.

usage: test/etcd/run.py [--bin build/bin] [--jobs N] [--dir FOLDER] [--list] [--show]
                        [--update] [--itself] [PATTERN...]
"""
import argparse
import concurrent.futures
import difflib
import fnmatch
import os
import shutil
import signal
import sys
import tempfile
import threading
import time

# Debian's grpc belongs to Debian's python, which need not be the first on PATH.
try:
    import grpc  # noqa: F401
    import google.protobuf  # noqa: F401
except ImportError:
    if os.path.exists("/usr/bin/python3") and os.path.realpath(sys.executable) != os.path.realpath("/usr/bin/python3"):
        os.execv("/usr/bin/python3", ["/usr/bin/python3"] + sys.argv)
    print("left out: etcd conformance needs python3-grpcio and python3-protobuf")
    sys.exit(0)

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import peers  # noqa: E402
import rpc  # noqa: E402
import transcript  # noqa: E402

PASSING = os.path.join(HERE, "passing.txt")
live = set()


def run_side(case, peer, folder, etcdctl, cancelled):
    """One case on one implementation: the lines of its transcript."""
    clusters = []
    t = None
    try:
        for _ in range(case.peers):
            cluster = peers.Cluster(peer, folder, case.size, case.flags, case.scheme)
            clusters.append(cluster)
            live.add(cluster)
            if case.setup:
                case.setup(cluster)
            cluster.start()
        t = transcript.Transcript(case, clusters, etcdctl, cancelled)
        try:
            case.run(t)
        except Exception as e:  # A case that cannot go on: what it saw so far, and why, is the result.
            t.say("the case ended early: %s: %s" % (type(e).__name__, e))
            for m in t.cluster.members:
                if m.process and m.process.poll() is not None:
                    t.say("%s ended with %s" % (m.name, m.process.returncode))
                    print("%s %s:\n%s" % (peer.name, m.name, m.log_tail()), file=sys.stderr)
        return t.lines
    except RuntimeError as e:
        return ["%s: %s" % (peer.name, e)]
    finally:
        if t:
            t.close()
        for cluster in clusters:
            cluster.stop()
            live.discard(cluster)


def run_case(case, both, folder, etcdctl):
    """Both sides at the same time."""
    start = time.monotonic()
    cancelled = threading.Event()
    timer = threading.Timer(case.timeout, cancelled.set)
    timer.daemon = True
    timer.start()
    lines = [None, None]

    def side(i):
        lines[i] = run_side(case, both[i], folder, etcdctl, cancelled)
    threads = [threading.Thread(target=side, args=(i,), daemon=True) for i in (0, 1)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    timer.cancel()
    return lines, time.monotonic() - start


def read_passing():
    try:
        with open(PASSING) as f:
            return {line.strip() for line in f if line.strip() and not line.startswith("#")}
    except FileNotFoundError:
        return set()


def stop_all(*_):
    for cluster in list(live):
        cluster.stop()
    sys.stdout.flush()
    os._exit(1)


def early(lines):
    return any(line.startswith("the case ended early") for line in lines)


def report(name, lines, seconds, show, color=False):
    if show:
        print("---- %s (%.1f s)" % (name, seconds))
        print("\n".join(lines[0]))
    if lines[0] != lines[1]:
        print("\n".join(difflib.unified_diff(lines[0], lines[1], "etcd: " + name, "trireme: " + name,
                                             lineterm="", n=3)))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bin", default="build/bin")
    p.add_argument("--jobs", type=int, default=4)
    p.add_argument("--dir", help="where servers keep their data; a temporary folder by default")
    p.add_argument("--list", action="store_true", help="names of the cases")
    p.add_argument("--show", action="store_true", help="print what etcd answered")
    p.add_argument("--update", action="store_true", help="add cases that pass now to passing.txt")
    p.add_argument("--itself", action="store_true", help="compare etcd with itself: a test of this test")
    p.add_argument("patterns", nargs="*")
    args = p.parse_args()

    for module in sorted(f[:-3] for f in os.listdir(HERE) if f.startswith("cases_") and f.endswith(".py")):
        __import__(module)
    chosen = [c for n, c in transcript.CASES.items()
              if not args.patterns or any(fnmatch.fnmatch(n, q) for q in args.patterns)]
    if args.list:
        print("\n".join(c.name for c in chosen))
        return 0
    etcd, etcdctl, protoc = (shutil.which(x) for x in ("etcd", "etcdctl", "protoc"))
    if not (etcd and etcdctl and protoc):
        print("left out: etcd conformance needs etcd, etcdctl and protoc (Debian: etcd-server, etcd-client, "
              "protobuf-compiler)")
        return 0
    ours = os.path.join(args.bin, "trireme-raftstore")
    if not args.itself and not os.access(ours, os.X_OK):
        print("left out: %s is not built" % ours)
        return 0
    if not args.dir and os.access("/dev/shm", os.W_OK):
        args.dir = "/dev/shm"
    folder = tempfile.mkdtemp(prefix="trireme-etcd-", dir=args.dir)
    both = [peers.Peer("etcd", etcd, peers.ETCD_FLAGS)]
    both.append(peers.Peer("etcd2", etcd, peers.ETCD_FLAGS) if args.itself
                else peers.Peer("trireme", os.path.abspath(ours), orderly=True))
    for s in (signal.SIGTERM, signal.SIGINT):
        signal.signal(s, stop_all)
    try:
        rpc.build_stubs(folder)
        return compare(args, chosen, both, folder, etcdctl)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def compare(args, chosen, both, folder, etcdctl):
    passing = set() if args.itself else read_passing()
    passed, failed, unlisted, added = 0, [], [], []
    # The long ones first, so that none runs alone at the end.
    order = sorted(chosen, key=lambda c: -c.timeout)
    with concurrent.futures.ThreadPoolExecutor(max_workers=args.jobs) as pool:
        futures = {pool.submit(run_case, c, both, folder, etcdctl): c for c in order}
        for f in concurrent.futures.as_completed(futures):
            name = futures[f].name
            lines, seconds = f.result()
            good = lines[0] == lines[1] and not early(lines[0])
            if args.show or not good:
                report(name, lines, seconds, args.show or early(lines[0]))
            if not good and name in passing:
                # An election in either cluster while a case runs shows in its texts: once more, and aloud.
                print("  again %s (%.1f s)" % (name, seconds), flush=True)
                lines, seconds = run_case(futures[f], both, folder, etcdctl)
                good = lines[0] == lines[1] and not early(lines[0])
                if not good:
                    report(name, lines, seconds, args.show or early(lines[0]))
            print("  %-5s %s (%.1f s)" % ("ok" if good else "DIFF", name, seconds), flush=True)
            if good:
                passed += 1
                if name not in passing:
                    added.append(name)
            elif args.itself or name in passing:
                failed.append(name)
            else:
                unlisted.append(name)
    gone = [n for n in passing if n not in transcript.CASES]
    for name in sorted(gone):
        print("passing.txt lists %s, which is no case" % name)
    if unlisted:
        print("differ, not listed as passing: " + " ".join(sorted(unlisted)))
    if failed:
        print("differ, though listed as passing: " + " ".join(sorted(failed)))
    if added and not args.itself:
        print("pass, not listed yet: " + " ".join(sorted(added)))
        if args.update and not os.environ.get("ETCD_RANDOM_SEEDS"):
            with open(PASSING, "w") as out:
                out.write("# Cases that must pass: make check-etcd fails when one of them differs.\n" +
                          "".join(n + "\n" for n in sorted((passing | set(added)) - set(gone))))
    print("%d equal of %d" % (passed, len(chosen)))
    print("%d passed, %d failed" % (passed, len(failed) + len(gone)))
    return 1 if failed or gone else 0


if __name__ == "__main__":
    sys.exit(main())
