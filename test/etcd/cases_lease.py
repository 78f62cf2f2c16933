"""etcdctl lease, lock and elect."""
import re
import signal
import time

from transcript import case


def granted(r):
    return r.out.split()[1] if r.code == 0 else "0"


@case("lease")
def lease(t):
    t.ctl("lease list", sort=True)
    a = granted(t.ctl("lease grant 100"))
    b = granted(t.ctl("lease grant 200"))
    t.ctl("lease list", sort=True)
    t.ctl(["put", "k1", "v", "--lease", a])
    t.ctl(["put", "k3", "v", "--lease", a])
    t.ctl(["put", "k2", "v", "--lease", a])
    t.ctl(["put", "k2", "v", "--lease", b])
    for l in a, b:
        t.ctl(["lease", "timetolive", l, "--keys"], edit=left_to)
        t.ctl(["lease", "timetolive", l], edit=left_to)
    t.ctl(["put", "k3", "v"])
    t.ctl(["del", "k1"])
    t.ctl(["lease", "timetolive", a, "--keys"], edit=left_to)
    t.ctl(["lease", "keep-alive", "--once", a])
    t.ctl(["put", "k1", "v", "--lease", a])
    t.ctl(["lease", "revoke", a])
    t.ctl("get k --prefix -w json")
    t.ctl(["lease", "revoke", b])
    t.ctl("get k --prefix -w json")
    t.ctl(["lease", "revoke", b])
    t.ctl(["lease", "timetolive", b])
    t.ctl(["lease", "timetolive", b, "--keys"])
    t.ctl(["lease", "keep-alive", "--once", b])
    t.ctl(["put", "k", "v", "--lease", b])
    t.ctl("lease list", sort=True)


def left_to(out):
    """The remaining time, little of which can have gone; and the keys, which have no order."""
    def near(m):
        whole, left = int(m.group(1)), int(m.group(2))
        return "granted with TTL(%ds), remaining(%s)" % (whole, "near all" if whole - 3 <= left <= whole else left)
    out = re.sub(r"keys\(\[(.*)\]\)", lambda m: "keys([%s])" % " ".join(sorted(m.group(1).split())), out)
    return re.sub(r"granted with TTL\((\d+)s\), remaining\((\d+)s\)", near, out)


@case("lease-formats")
def lease_formats(t):
    for w in "json", "fields", "table":
        t.ctl("lease grant 300 -w " + w)
    r = t.ctl("lease grant 300 -w protobuf", parse="LeaseGrantResponse")
    a = granted(t.ctl("lease grant 400"))
    t.ctl(["put", "k", "v", "--lease", a])
    for w in "json", "fields", "table":
        t.ctl(["lease", "timetolive", a, "--keys", "-w", w], edit=lambda out: re.sub(r"\b399\b", "400", out))
        t.ctl(["lease", "keep-alive", "--once", a, "-w", w])
        t.ctl(["lease", "timetolive", "1234", "-w", w])
    t.ctl("lease list -w json", edit=lambda out: str(out.count('"id"')))
    t.ctl("lease list -w fields", edit=lambda out: str(out.count('"ID"')))
    t.ctl(["lease", "revoke", a, "-w", "json"])


@case("lease-errors")
def lease_errors(t):
    for args in ("lease grant", "lease grant x", "lease grant 0", "lease grant -- -5", "lease grant 9000000001",
                 "lease grant 9000000000", "lease revoke", "lease revoke 1234", "lease revoke zz", "lease timetolive",
                 "lease timetolive 1234", "lease timetolive zz", "lease keep-alive", "lease keep-alive zz",
                 "lease keep-alive 1234", "lease keep-alive 1234 --once"):
        t.ctl(args)


@case("lease-expiry")
def lease_expiry(t):
    short = granted(t.ctl("lease grant 1"))
    long = granted(t.ctl("lease grant 600"))
    t.ctl(["put", "a", "short", "--lease", short])
    t.ctl(["put", "b", "short", "--lease", short])
    t.ctl(["put", "c", "long", "--lease", long])
    t.until("get a --from-key", lambda r: "short" not in r.out)
    t.ctl("lease list", sort=True)
    t.ctl(["lease", "timetolive", short, "--keys"])
    t.ctl(["put", "d", "late", "--lease", short])
    t.ctl("get c -w json")


@case("lease-keep-alive")
def lease_keep_alive(t):
    a = granted(t.ctl("lease grant 3"))
    t.ctl(["put", "a", "v", "--lease", a])
    k = t.start(["lease", "keep-alive", a])
    # Beyond its time to live, and beyond the time after which an expired one is gone.
    time.sleep(5)
    t.ctl("get a")
    k.wait(2)
    t.ctl(["lease", "revoke", a])
    k.end(0, 10)
    k.edit(lambda lines: sorted(set(lines)))
    k.say("keep-alive")
    t.ctl("get a")


@case("lock")
def lock(t):
    t.ctl(["lock", "l", "echo", "in the lock"])
    t.ctl(["lock", "l", "--ttl=20", "--", "sh", "-c", "echo key is set; exit 3"])
    t.ctl(["get", "l", "--prefix", "--keys-only"])
    first = t.start("lock l")
    first.wait(1)
    t.normal(first.lines[0])  # So that ids are numbered the same on both sides.
    second = t.start("lock l --ttl=15")
    t.until("get l --prefix --keys-only", lambda r: len(r.out.split()) == 2, show=False)
    t.say("second holds it: %s" % second.wait(1, 0.3))
    t.say("first: %s" % first.end(signal.SIGINT))
    second.wait(1)
    t.ctl("get l --prefix --keys-only")
    t.ctl("get l --prefix -w json")
    t.say("second: %s" % second.end(signal.SIGTERM))
    first.say("first")
    second.say("second")
    t.ctl("get l --prefix")
    t.ctl("lease list", sort=True)


@case("lock-contention")
def lock_contention(t):
    t.ctl("put count 0")
    bump = "n=$($0 --endpoints=$1 get count --print-value-only); $0 --endpoints=$1 put count $((n + 1)) >/dev/null"
    several = [t.start(["lock", "l", "--", "sh", "-c", bump, t.etcdctl, t.url()]) for _ in range(5)]
    for r in several:
        t.say(r.end(0, 20))
    t.ctl("get count")
    t.ctl("lock")


@case("lock-holder-dies")
def lock_holder_dies(t):
    first = t.start("lock l --ttl=1")
    first.wait(1)
    second = t.start("lock l")
    t.until("get l --prefix --keys-only", lambda r: len(r.out.split()) == 2, show=False)
    first.end(signal.SIGKILL)
    t.say("second holds it: %s" % second.wait(1, 15))
    second.end(signal.SIGINT)


@case("elect")
def elect(t):
    listener = t.start("elect e --listen")
    first = t.start("elect e one")
    first.wait(2)
    second = t.start("elect e two")
    t.until("get e --prefix --print-value-only", lambda r: "two" in r.out, sort=True)
    t.say("second leads: %s" % second.wait(1, 0.3))
    listener.wait("one")
    t.say("first: %s" % first.end(signal.SIGINT))
    second.wait(2)
    listener.wait("two")
    t.ctl("get e --prefix -w json")
    t.say("listener: %s" % listener.end(signal.SIGINT))
    t.say("second: %s" % second.end(signal.SIGINT))
    for name, r in ("first", first), ("second", second), ("listener", listener):
        r.say(name)
    t.ctl("get e --prefix")
    t.ctl("elect")
    t.ctl("elect e --listen one")
    t.ctl("elect e")
