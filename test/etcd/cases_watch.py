"""etcdctl watch: history and live events, formats, exec commands, compaction."""
from transcript import case


def history(t):
    """Revisions 2 to 10."""
    for command in ("put a 1", "put b 1", "put a/x 1", "put a 2", "del a", "put a 3", "put c 1", "del b c --prev-kv"):
        t.ctl(command, show=False)
    t.ctl("txn", stdin="\nput a 4\nput d 1\ndel c\n\n\n", show=False)


def watched(t, args, count, sort=False):
    """What a watch prints: count lines, and nothing after them but the end marker's."""
    w = t.start("watch " + args)
    w.wait(count)
    w.end()
    w.say("watch " + args, sort)


@case("watch-history")
def watch_history(t):
    history(t)
    watched(t, "a --rev=1", 15)
    watched(t, "a --rev=2", 15)
    watched(t, "a --rev=6", 9)
    watched(t, "a --rev=2 --prev-kv", 21)
    watched(t, "a --prefix --rev=2", 18)
    watched(t, "a c --rev=4 --prev-kv", 26)
    watched(t, "--rev=9 --prefix --prev-kv a", 5)
    watched(t, "-w json --rev=5 --prefix a", 1)
    watched(t, "-w json --prev-kv --rev=5 a zz", 1)
    watched(t, "-w fields --rev=9 a zz", 32)
    watched(t, "--hex --rev=9 a zz", 12)
    t.say(t.ctl("watch a --rev=2 -w table", show=False, timeout=0.3).code)


@case("watch-live")
def watch_live(t):
    watches = {args: t.start("watch " + args) for args in
               ("k", "k --prefix", "k l", "--prev-kv k --prefix")}
    # Nothing says that a watch is there, so write until each of them has seen something.
    for _ in range(200):
        t.ctl("put k 0", show=False)
        if all(w.wait(3, 0.02) for w in watches.values()):
            break
    for w in watches.values():
        w.wait(3)
    for command in ("put k start", "put k v1", "put k1 v2", "del k", "put j no", "put k v3", "del k1 --prev-kv",
                    "put l no", "del k --prefix", "put k end"):
        t.ctl(command)
    for args, w in watches.items():
        w.wait("end")
        w.end()
        w.edit(lambda lines: lines[lines.index("start") - 2:] if "start" in lines else lines)
        w.say(args)


@case("watch-future-revision")
def watch_future(t):
    w = t.start("watch k --rev=5")
    for i in range(2, 7):
        t.ctl("put k %d" % i, show=False)
    w.wait(6)
    w.end()
    w.say("watch k --rev=5")


@case("watch-compacted")
def watch_compacted(t):
    history(t)
    t.ctl("compaction 5")
    w = t.start("watch a --rev=3")
    t.say(w.end(0))
    w.say("watch a --rev=3")
    w = t.start("watch a --prefix --rev=4 -w json")
    t.say(w.end(0))
    w.say("watch json")
    watched(t, "a --rev=5", 12)
    watched(t, "a --rev=6", 9)


@case("watch-interactive")
def watch_interactive(t):
    history(t)
    w = t.start("watch -i", stdin=True)
    w.send("watch a --rev=5\n")
    w.wait(8)
    w.send("watch b c --rev=2 --prev-kv\n")
    w.wait(14)
    w.send("watch zz --rev=11\n")
    w.send("nonsense\n")
    w.wait_error("nonsense")
    t.ctl("put zz 1", show=False)
    w.wait(lambda lines: "zz" in lines)
    w.end()
    w.say("watch -i")


@case("watch-interactive-progress")
def watch_interactive_progress(t):
    w = t.start("watch -i", stdin=True)
    w.send("watch a --rev=1\n")
    t.ctl("put a 1")
    w.wait(3)
    w.send("progress\n")
    w.wait(4)
    w.end()
    w.say("watch -i, progress")


@case("watch-exec")
def watch_exec(t):
    history(t)
    script = 'echo "$ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE"'
    for args in (["a", "--rev=5"], ["--prefix", "--prev-kv", "a", "--rev=7"]):
        w = t.start(["watch"] + args + ["--", "sh", "-c", script])
        w.wait(lambda lines: sum('"' in x for x in lines) >= (2 if "--prefix" in args else 4))
        w.end()
        w.say("watch %s -- sh" % args)
    w = t.start(["watch", "a", "--rev=10", "--", "false"])
    w.end(0)
    w.say("watch a -- false")


@case("watch-errors")
def watch_errors(t):
    t.ctl("watch")
    t.ctl("watch a b --prefix")
    t.ctl("watch -- sh")
    t.ctl("put a 1")
    # An empty key is "\0"; with --prefix it is everything.
    w = t.start(["watch", "", "--prefix", "--rev=1"])
    w.wait(3)
    w.end()
    w.say("watch ''")


@case("watch-lease-expiry")
def watch_lease_expiry(t):
    lease = t.ctl("lease grant 1").out.split()[1]
    t.ctl(["put", "k1", "v", "--lease", lease])
    t.ctl(["put", "k2", "v", "--lease", lease])
    w = t.start("watch k --prefix --rev=2 --prev-kv -w json")
    w.wait(lambda lines: "".join(lines).count('"type":1') >= 2, 15)
    w.end()
    # The writes can come in one answer or in two.
    w.edit(lambda lines: [line for line in lines if '"type":1' in line])
    w.say("after the lease ran out")
    t.ctl("get k --prefix")
