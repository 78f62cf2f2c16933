"""What clients see when members end, come back, or fall behind."""
import json
import signal

from cases_cluster import ids, leader_of
from transcript import case


def fill(t):
    for i in range(1, 6):
        t.ctl("put k%d v%d" % (i, i), show=False)
    t.ctl("put k1 again", show=False)
    t.ctl("del k2", show=False)
    t.rpc("Lease.LeaseGrant", TTL=1000, ID=0x77, show=False)
    t.ctl("put leased v --lease=77", show=False)
    t.ctl("compaction 4", show=False)
    t.ctl("user add u:p", show=False)
    t.ctl("role add r", show=False)
    t.ctl("role grant-permission r readwrite k --prefix", show=False)
    t.ctl("user grant-role u r", show=False)


def look(t):
    t.ctl("get k --prefix -w json")
    t.ctl("get k --prefix --rev=6")
    t.ctl("get k --prefix --rev=3")
    t.ctl("lease list")
    t.ctl("lease timetolive 77 --keys", edit=lambda out: out[:out.find("remaining")] + out[out.find("attached"):])
    t.ctl("user get u --detail")
    w = t.start("watch k --prefix --rev=5 --prev-kv")
    w.wait(16)
    w.end()
    w.say("watch")
    t.ctl("put k1 after")
    t.ctl("get k1 -w json")


def restart(t, kill):
    fill(t)
    m = t.cluster.members[0]
    known = ids(t)
    digest = t.rpc("Maintenance.HashKV", show=False).hash
    if kill:
        m.kill()
    else:
        m.stop()
        t.say("ended when told to: %s" % (m.process.returncode in (0, -signal.SIGTERM)))
    m.start(t.cluster.initial())
    m.wait_healthy()
    t.new_connections()
    t.say(ids(t) == known)
    t.say("same data: %s" % (t.rpc("Maintenance.HashKV", show=False).hash == digest))
    look(t)


@case("restart")
def restart_orderly(t):
    restart(t, False)


@case("restart-killed")
def restart_killed(t):
    restart(t, True)


@case("restart-existing-flags")
def restart_flags(t):
    """Flags of a first start are ignored by a member that has data."""
    t.ctl("put k v")
    m = t.cluster.members[0]
    m.kill()
    m.start("other=http://127.0.0.1:1", "existing")
    m.wait_healthy()
    t.ctl("get k")


@case("member-catches-up", size=3, flags=["--snapshot-count=50"])
def catches_up(t):
    """A member that was away for longer than the log reaches back."""
    t.ctl("put k v")
    lead = leader_of(t)
    away = (lead + 1) % 3
    m = t.cluster.members[away]
    m.kill()
    c = t.channel(lead)
    for i in range(400):
        c.call("KV.Put", key="key%d" % (i % 50), value=b"x" * 100)
    c.call("KV.Compact", revision=300)
    m.start(t.cluster.initial())
    m.wait_healthy()
    r = t.until("endpoint hashkv --cluster -w json", lambda r: r.code == 0 and len(
        {(e["HashKV"]["hash"], e["HashKV"].get("compact_revision")) for e in json.loads(r.out)}) == 1, show=False)
    t.say("equal: %d" % len({e["HashKV"]["hash"] for e in json.loads(r.out)}))
    t.ctl("get key1 -w fields --consistency=s", endpoints=m.url)
    w = t.stream("Watch.Watch", member=away)
    w.send(create_request={"key": "key", "range_end": "kez", "start_revision": 350})
    w.next()
    got = []
    while len(got) < 53:
        a = w.next()
        if not a:
            t.say(a)
            break
        got += [e.kv.mod_revision for e in a.events]
    t.say(got == list(range(350, 403)))
    w.cancel()


@case("watch-survives", size=3)
def watch_survives(t):
    """The client resumes its watch at another member: nothing missed, nothing twice. The leader stays: etcdctl
    asks for a leader and gives up when there is none."""
    t.ctl("put k first")
    lead = leader_of(t)
    followers = [m for i, m in enumerate(t.cluster.members) if i != lead]
    w = t.start("watch k --rev=2", endpoints=",".join(m.url for m in followers))
    w.wait(3)
    for number, victim in enumerate(followers):
        victim.kill()
        t.ctl("put k after-%d" % number, endpoints=t.cluster.members[lead].url)
        w.wait("after-%d" % number)
        victim.start(t.cluster.initial())
        victim.wait_healthy()
    t.ctl("put k last", endpoints=t.cluster.members[lead].url)
    w.wait("last")
    w.end()
    w.errors.clear()
    w.say("watch")


@case("keep-alive-survives", size=3)
def keep_alive_survives(t):
    """A lease that is kept alive lives on under the next leader."""
    lease = t.ctl("lease grant 4", show=False).out.split()[1]
    t.ctl(["put", "k", "v", "--lease", lease], show=False)
    k = t.start(["lease", "keep-alive", lease], endpoints=t.urls())
    k.wait(1)
    lead = leader_of(t)
    t.cluster.members[lead].kill()
    rest = ",".join(m.url for i, m in enumerate(t.cluster.members) if i != lead)
    t.until("put other v --command-timeout=2s", lambda r: r.code == 0, endpoints=rest, show=False)
    t.say(k.wait(5, 15))
    t.ctl("get k", endpoints=rest)
    k.end()


@case("auto-compaction", flags=["--auto-compaction-mode=periodic", "--auto-compaction-retention=1s"])
def auto_compaction(t):
    t.ctl("put k 1")
    t.ctl("put k 2")
    t.ctl("put k 3")
    t.until("get k --rev=3", lambda r: r.code)
    t.ctl("get k --rev=4")
    t.ctl("get k")


@case("leader-change-loses-nothing", size=3)
def loses_nothing(t):
    """Every acknowledged write is there after the leader was killed under load."""
    lead = leader_of(t)
    others = [i for i in range(3) if i != lead]
    futures = []
    for i in range(300):
        futures.append((i, t.channel(others[i % 2]).future("KV.Put", key="k%03d" % i, value="v", timeout=5)))
        if i == 150:
            t.cluster.members[lead].kill()
    acknowledged = []
    for i, f in futures:
        if f.exception() is None:
            acknowledged.append("k%03d" % i)
    t.until("put after v --command-timeout=2s", lambda r: r.code == 0, endpoints=t.cluster.members[others[0]].url,
            show=False)
    there = {kv.key.decode() for kv in t.channel(others[1]).call("KV.Range", key="k", range_end="l").kvs}
    t.say("acknowledged some: %s, all are there: %s" % (len(acknowledged) > 0, set(acknowledged) <= there))
