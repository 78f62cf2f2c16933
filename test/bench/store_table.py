#!/usr/bin/env python3
"""Makes the tables of test/bench/store.sh out of the lines of its measurements.

usage: store_table.py RAW

A line is "LABEL name=value ...", LABEL being server-members-what or server-what. What was measured several times (rounds)
is shown by its median."""
import collections
import statistics
import sys

# What, field, unit, scale, target of the ratio (ours / etcd, or etcd / ours where less is better), less is better.
ROWS = [
    ("fill", "", "rate", "writes/s, new keys one after another", "{:.0f}", 4, False),
    ("put", "", "rate", "writes/s, random keys", "{:.0f}", 4, False),
    ("put", "", "p50_ms", "p50 of writes, ms", "{:.2f}", None, True),
    ("put", "", "p99_ms", "p99 of writes, ms", "{:.2f}", 3, True),
    ("fill", "", "cpu_us_per_op", "CPU of all members per write, new keys, us", "{:.1f}", 4, True),
    ("put", "", "cpu_us_per_op", "CPU of all members per write, random keys, us", "{:.1f}", 4, True),
    ("put1", "", "p50_ms", "p50 of writes of one client, ms", "{:.2f}", None, True),
    ("get", "", "rate", "linearizable reads/s", "{:.0f}", 4, False),
    ("get", "", "p99_ms", "p99 of linearizable reads, ms", "{:.2f}", None, True),
    ("get", "", "cpu_us_per_op", "CPU per linearizable read, us", "{:.1f}", None, True),
    ("sget", "", "rate", "serializable reads/s", "{:.0f}", None, False),
    ("watch", "", "rate", "watch events/s, 100 watchers, 1 KiB", "{:.0f}", 4, False),
    ("watch", "", "cpu_us_per_op", "CPU per watch event, us", "{:.2f}", None, True),
    ("watch128", "", "rate", "watch events/s, 100 watchers, 128 bytes", "{:.0f}", None, False),
    ("rss", "", "rss_max_mb", "resident MiB of the largest member, 100,000 keys of 1 KiB", "{:.0f}", 3, True),
    ("idle", "", "rss_max_mb", "resident MiB when empty", "{:.1f}", None, True),
    ("list", "", "p50_ms", "list of 100,000 keys, ms", "{:.0f}", None, True),
    ("snapshot", "", "p50_ms", "snapshot, ms", "{:.0f}", None, True),
    ("steady-list", "before", "p99_ms", "1,000 writes/s: p99 before, ms", "{:.2f}", None, True),
    ("steady-list", "during", "p99_ms", "... while lists run, ms", "{:.2f}", None, True),
    ("steady-list", "mixed", "p99_ratio", "... times as much as before", "{:.2f}", None, True),
    ("steady-list", "list", "done", "... lists meanwhile", "{:.0f}", None, False),
    ("steady-snapshot", "before", "p99_ms", "1,000 writes/s: p99 before, ms", "{:.2f}", None, True),
    ("steady-snapshot", "during", "p99_ms", "... while snapshots run, ms", "{:.2f}", None, True),
    ("steady-snapshot", "mixed", "p99_ratio", "... times as much as before", "{:.2f}", None, True),
    ("mixed-list", "mixed", "p99_ratio", "128 writers: p99 while lists run, times as much", "{:.2f}", None, True),
    ("mixed-snapshot", "mixed", "p99_ratio", "128 writers: p99 while snapshots run, times as much", "{:.2f}", None, True),
    ("big-rss", "", "rss_max_mb", "resident MiB, {big} keys of 1 KiB", "{:.0f}", None, True),
    ("restart", "", "seconds", "restart with that until serving, s", "{:.2f}", None, True),
    ("restart9", "", "seconds", "the same after kill -9, s", "{:.2f}", None, True),
]


def read(path):
    """{(server, members, what, mode): {field: [values]}}, and the lines without a label."""
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    notes = []
    for line in open(path):
        words = line.split()
        if not words or "=" in words[0] or "-" not in words[0] or "=" not in words[-1]:
            notes.append(line.strip())
            continue
        server, _, rest = words[0].partition("-")
        members, _, what = rest.partition("-")
        if not members.isdigit():
            members, what = "0", rest
        fields = dict(w.split("=", 1) for w in words[1:] if "=" in w)
        for name, value in fields.items():
            try:
                number = float(value)
            except ValueError:
                continue
            modes = {"", fields.get("mode", "")}
            for mode in modes:
                found[server, members, what, mode][name].append(number)
    return found, notes


def row(found, members, spec):
    what, mode, field, text, form, target, less = spec
    values = []
    for server in ("etcd", "ours"):
        got = found.get((server, members, what, mode), {}).get(field)
        values.append(statistics.median(got) if got else None)
    if values == [None, None]:
        return
    cells = [form.format(v) if v is not None else "-" for v in values]
    ratio = ""
    if None not in values and min(values) > 0:
        r = values[0] / values[1] if less else values[1] / values[0]
        ratio = f"{r:.1f}x"
        if target is not None:
            ratio += f" (wanted {target}x{'' if r >= target else ', MISSED'})"
    print(f"| {text} | {cells[0]} | {cells[1]} | {ratio} |")


def growth(found):
    rows = sorted((int(k[2].split("-")[1]), k) for k in found if k[2].startswith("growth-") and k[3] == "fill")
    if not rows:
        return
    print("\n| keys of 64 bytes | bytes per key | bytes per further revision | p50 / p99 of one writer, ms | p99 of 16 writers, ms |\n|---|---|---|---|---|")
    for keys, (server, members, what, _) in rows:
        def get(mode, field):
            return found[server, members, what, mode][field][0]
        start = found[server, members, what, "start"]["rss_max_mb"][0]
        filled, again = get("fill", "rss_max_mb"), get("again", "rss_max_mb")
        print(f"| {keys:,} | {(filled - start) * 1048576 / keys:.0f} | {(again - filled) * 1048576 / keys:.0f} | "
              f"{get('one', 'p50_ms'):.2f} / {get('one', 'p99_ms'):.2f} | {get('some', 'p99_ms'):.2f} |")


def main():
    found, notes = read(sys.argv[1])
    print("\n".join(notes))
    for members, title in (("3", "three members"), ("1", "one member"), ("0", "one member, a large state")):
        if any(k[1] == members and not k[2].startswith("growth") for k in found):
            print(f"\n| {title} | etcd | ours | times better |\n|---|---|---|---|")
            for spec in ROWS:
                row(found, members, spec)
    growth(found)


main()
