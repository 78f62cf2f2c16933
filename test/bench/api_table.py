#!/usr/bin/env python3
"""Prints the lines of api_load as a table against the reference of docs/performance.md.

usage: api_table.py RAW_FILE
"""
import sys

# kube-apiserver 1.36.2 on three etcd members, this kind of machine: CPU in ms, and what is wanted.
ROWS = [
    ("create pod, CPU ms", "create", "cpu", "4.0-4.3", 0.3),
    ("get pod, CPU ms", "get", "cpu", "1.1-1.6", 0.05),
    ("list, protobuf, CPU ms", "list-pb", "cpu", "174", 5),
    ("list, JSON, one pod changed since the last, CPU ms", "list-json-fresh", "cpu", "333", 30),
    ("list, JSON, nothing changed, CPU ms", "list-json", "cpu", "333", 8),
    ("patch of the status, CPU ms", "patch", "cpu", "6.3", 0.4),
    ("delete pod, CPU ms", "delete", "cpu", "6.0", 0.3),
    ("one update seen by the watchers, protobuf, CPU ms", "watch-pb", "cpu", "9.4", 1),
    ("one update seen by the watchers, JSON, CPU ms", "watch-json", "cpu", "13.1", 1),
]


def main():
    lines, single = {}, {}
    with open(sys.argv[1]) as f:
        for line in f:
            pairs = dict(p.split("=", 1) for p in line.split())
            if "mode" in pairs:
                lines.setdefault(pairs["mode"], pairs)
            else:
                for k, v in pairs.items():
                    single[k] = max(single.get(k, 0.0), float(v))
    print("\n| operation | reference | wanted | ours | p50 / p99 ms | rate/s |\n|---|---|---|---|---|---|")
    for title, mode, _, reference, wanted in ROWS:
        if mode in lines:
            p = lines[mode]
            print("| %s | %s | %g | %.3f | %s / %s | %s |" % (title, reference, wanted, float(p["cpu_us_per_op"]) / 1e3,
                                                         p["p50_ms"], p["p99_ms"], p["rate"]))
    if "create" in lines:
        print("| creates per second | 400-480 | 5000 | %s | | |" % lines["create"]["rate"])
    for key, title, reference, wanted in (("rss_idle_mb", "resident when idle, MB", "275 + 45", 25),
                                          ("rss_after_churn_mb", "resident after 10,000 pods came and went, MB", "1400 + 350", 80),
                                          ("ready_ms", "ready after start, ms", "3800", 300)):
        if key in single:
            print("| %s | %s | %g | %.1f | | |" % (title, reference, wanted, single[key]))


if __name__ == "__main__":
    main()
