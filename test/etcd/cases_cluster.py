"""Members, leaders and endpoints of clusters."""
import json
import re
import time

from transcript import case

NO_MEMBER = "a1b2c3d4e5f60718"


def ids(t):
    """Member ids by name; and their placeholders made known, since their order differs."""
    r = t.ctl("member list -w json", show=False)
    found = {}
    for m in json.loads(r.out)["members"]:
        name = m.get("name") or "unstarted"
        found[name] = "%x" % m["ID"]
        t.id(m["ID"], "<member-%s>" % name)
    return found


def by_member(t):
    """Sorts the lines of an output by their normal form."""
    return lambda out: "\n".join(sorted(t.normal(out).splitlines()))


def leader_of(t):
    """The index of the member that leads, once there is one."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for i, m in enumerate(t.cluster.members):
            if m.process is None or m.process.poll() is not None:
                continue
            s = t.channel(i).call("Maintenance.Status", timeout=2)
            if s and s.leader and s.leader == s.header.member_id:
                return i
        time.sleep(0.05)
    raise RuntimeError("no leader")


def member_json(t):
    """Members as JSON prints them, in the order of their names."""
    r = t.ctl("member list -w json", show=False)
    if r.code:
        t.say(r.err)
        return
    for m in sorted(json.loads(r.out)["members"], key=lambda m: (m.get("name", ""), m["peerURLs"])):
        t.say("  " + json.dumps(m, sort_keys=True))


@case("member-list", size=3)
def member_list(t):
    ids(t)
    t.ctl("member list", edit=by_member(t))
    member_json(t)
    t.ctl("member list -w table", edit=by_member(t))
    t.ctl("member list -w fields", edit=by_member(t))
    for m in t.cluster.members:
        t.ctl("member list", endpoints=m.url, edit=by_member(t))
    t.ctl("member list", endpoints=t.urls(), edit=by_member(t))
    t.ctl("member")


@case("member-errors", size=3)
def member_errors(t):
    known = ids(t)
    for args in ("member add", "member add m9", "member add m9 --peer-urls=", "member add --peer-urls=http://127.0.0.1:1",
                 "member add m9 --peer-urls=nonsense", "member remove", "member remove zz", "member remove " + NO_MEMBER,
                 "member update " + known["m1"], "member update %s --peer-urls=http://127.0.0.1:2" % NO_MEMBER,
                 "member update zz --peer-urls=http://127.0.0.1:2", "member promote", "member promote " + NO_MEMBER,
                 "member promote zz", "member promote " + known["m1"]):
        t.ctl(args)
    t.until(["member", "add", "m9", "--peer-urls=" + t.cluster.members[0].peer_url],
            lambda r: "unhealthy" not in r.err)
    t.until(["member", "update", known["m1"], "--peer-urls=" + t.cluster.members[2].peer_url],
            lambda r: "unhealthy" not in r.err)
    t.ctl("member list", edit=by_member(t))


def say_added(t, r, name):
    """What member add prints: the order of members is by their random ids."""
    out = r.out.splitlines()
    known = ids(t)
    for line in out:
        if line.startswith("ETCD_INITIAL_CLUSTER="):
            line = "ETCD_INITIAL_CLUSTER=" + ",".join(sorted(t.normal(line.split("=", 1)[1].strip('"')).split(",")))
        elif line.startswith("Member "):
            t.id(int(known["unstarted"], 16), "<member-%s>" % name)
        t.say("  " + line)
    t.say_errors(r.err.splitlines())
    return known.get("unstarted")


def add(t, name, *flags):
    """Adds a member that is not started yet; the server wants to have met all others for five seconds first."""
    m = t.cluster.new_member(name)
    t.know_member(m)
    t.say("$ member add %s %s" % (name, " ".join(flags)))
    r = t.until(["member", "add", name, "--peer-urls=" + m.peer_url] + list(flags),
                lambda r: "unhealthy" not in r.err, show=False)
    number = say_added(t, r, name)
    if number:
        t.ids[int(number, 16)] = "<member-%s>" % name
    return m, number


@case("member-add-remove", size=3)
def member_add_remove(t):
    t.ctl("put before 1")
    ids(t)
    m, number = add(t, "m3")
    t.ctl("member list", edit=by_member(t))
    m.start(t.cluster.initial(), "existing")
    m.wait_healthy()
    t.until("member list", lambda r: r.out.count("started") == 4 and "unstarted" not in r.out, edit=by_member(t),
            show=False)
    t.ctl("member list", edit=by_member(t))
    t.ctl("get before -w fields", endpoints=m.url)
    t.ctl("put after 2", endpoints=m.url)
    t.until(["member", "remove", number], lambda r: "unhealthy" not in r.err)
    t.ctl(["member", "remove", number])
    t.ctl("member list", edit=by_member(t))
    t.ctl("get after")
    # A removed member ends by itself.
    try:
        m.process.wait(10)
        t.say("the removed member ended")
    except Exception:
        t.say("the removed member still runs")


@case("member-learner", size=3)
def member_learner(t):
    t.ctl("put before 1")
    ids(t)
    m, number = add(t, "m3", "--learner")
    t.ctl("member list", edit=by_member(t))
    t.until(["member", "promote", number], lambda r: True)
    second = t.cluster.new_member("m4")
    t.know_member(second)
    t.until(["member", "add", "m4", "--learner", "--peer-urls=" + second.peer_url], lambda r: "unhealthy" not in r.err)
    t.cluster.members.remove(second)
    m.start(t.cluster.initial(), "existing")
    t.until("member list", lambda r: r.out.count(", started,") == 4, show=False)
    t.ctl("member list", edit=by_member(t))
    member_json(t)
    # A learner answers for itself, and refuses what voters do.
    t.until("get before --consistency=s", lambda r: "before" in r.out, endpoints=m.url)
    for args in "get before", "put k v":
        r = t.ctl(args + " --command-timeout=1s", endpoints=m.url, show=False)
        t.say("%s: %d %s" % (args, r.code, r.err.splitlines()[-1:]))
    t.rpc("KV.Range", key="before", member=3)
    t.rpc("KV.Put", key="k", value="v", member=3)
    t.ctl("member list", endpoints=m.url, edit=by_member(t))
    t.rpc("Lease.LeaseGrant", TTL=10, member=3)
    t.ctl("endpoint status", endpoints=m.url, edit=lambda out: ", ".join(out.split(", ")[:6]))
    t.ctl("endpoint status -w json", endpoints=m.url, edit=lambda out: str('"isLearner":true' in out))
    r = t.ctl(["move-leader", number], endpoints=t.cluster.members[leader_of(t)].url, show=False)
    t.say(r.err.splitlines()[-1:])
    t.until(["member", "promote", number], lambda r: r.code == 0)
    t.ctl(["member", "promote", number])
    t.ctl("member list", edit=by_member(t))
    t.until("put k v", lambda r: r.code == 0, endpoints=m.url)


@case("member-update", size=3)
def member_update(t):
    known = ids(t)
    t.until(["member", "update", known["m1"], "--peer-urls=" + t.cluster.members[1].peer_url],
            lambda r: "unhealthy" not in r.err)
    t.ctl("member list", edit=by_member(t))
    t.ctl("put k v")


@case("member-rpc", size=3)
def member_rpc(t):
    known = ids(t)

    def members(answer):
        for m in sorted(answer.members, key=lambda m: m.name) if answer else ():
            t.say_answer(m)
        if not answer:
            t.say(answer)
    members(t.rpc("Cluster.MemberList", show=False))
    members(t.rpc("Cluster.MemberList", linearizable=True, show=False, member=1))
    bad = int(NO_MEMBER, 16)
    t.rpc("Cluster.MemberAdd")
    t.rpc("Cluster.MemberAdd", peerURLs=["nonsense"])
    t.rpc("Cluster.MemberAdd", peerURLs=["http://127.0.0.1"])
    t.rpc("Cluster.MemberAdd", peerURLs=["ftp://127.0.0.1:3"])
    t.rpc("Cluster.MemberAdd", peerURLs=["http://127.0.0.1:3/path"])
    t.rpc("Cluster.MemberUpdate", ID=bad, peerURLs=["http://127.0.0.1:3"])
    t.rpc("Cluster.MemberRemove", ID=bad)
    t.rpc("Cluster.MemberRemove")
    t.rpc("Cluster.MemberPromote", ID=bad)
    t.rpc("Cluster.MemberPromote", ID=int(known["m0"], 16))


@case("endpoint-status", size=3)
def endpoint_status(t):
    ids(t)
    lead = leader_of(t)
    t.ctl("put k v")
    t.until("get k --consistency=s", lambda r: "v" in r.out, endpoints=t.cluster.members[1].url, show=False)
    t.until("get k --consistency=s", lambda r: "v" in r.out, endpoints=t.cluster.members[2].url, show=False)
    for i, m in enumerate(t.cluster.members):
        r = t.ctl("endpoint status", endpoints=m.url, show=False)
        fields = r.out.strip().split(", ")
        t.say("%d fields, leads as expected: %s, learner %s" % (len(fields), (fields[4] == "true") == (i == lead),
                                                                fields[5]))
        t.say(", ".join(fields[:4] + fields[5:6]))
        t.say("term is a number: %s, index: %s %s" % tuple(f.strip(",").isdigit() and int(f.strip(",")) > 0
                                                         for f in fields[6:9]))
        t.say("errors: %s" % fields[9:])
    for w in "json", "fields", "table":
        r = t.ctl("endpoint status --cluster -w " + w, show=False)
        text = t.normal(r.out)
        if w == "json":
            for s in sorted(json.loads(r.out), key=lambda s: t.normal(s["Endpoint"])):
                t.say("%s %s" % (s["Endpoint"], sorted(s["Status"])))
                t.say(sorted(s["Status"]["header"]))
        else:
            t.say("%s: %d lines, %s" % (w, len(text.splitlines()), sorted(
                {line.split(":")[0].strip() for line in text.splitlines() if '" :' in line})))
    t.ctl("endpoint status --command-timeout=1s", endpoints="127.0.0.1:1")


@case("endpoint-health", size=3)
def endpoint_health(t):
    ids(t)
    t.ctl("endpoint health", endpoints=t.urls(), sort=True)
    t.ctl("endpoint health --cluster", sort=True)
    t.ctl("endpoint health -w json")
    t.ctl("endpoint health -w table")
    t.cluster.members[2].kill()
    r = t.ctl("endpoint health --command-timeout=2s", endpoints=t.urls(), show=False)
    for line in sorted(t.normal(r.out + r.err).splitlines()):
        if not line.startswith("{"):
            t.say(line)
    t.say(r.code)
    t.until("put k v --command-timeout=2s", lambda r: r.code == 0, endpoints=t.urls())


@case("endpoint-hashkv", size=3)
def endpoint_hashkv(t):
    for i in range(20):
        t.ctl(["put", "k%d" % (i % 7), "v%d" % i], show=False)

    def equal(args):
        r = t.until("endpoint hashkv --cluster -w json " + args,
                    lambda r: r.code or len({e["HashKV"]["hash"] for e in json.loads(r.out)}) == 1, show=False)
        if r.code:
            t.say(r.err)
            return
        for e in sorted(json.loads(r.out), key=lambda e: t.normal(e["Endpoint"])):
            t.say("%s %s" % (e["Endpoint"], sorted(e["HashKV"])))
        t.say("equal hashes: %s" % (len({e["HashKV"]["hash"] for e in json.loads(r.out)}) == 1))
    equal("")
    equal("--rev=10")
    t.ctl("endpoint hashkv", endpoints=t.urls(), edit=lambda out: str(len(out.splitlines())))
    t.ctl("endpoint hashkv --rev=100")
    t.ctl("compaction 15 --physical", show=False)
    t.ctl("endpoint hashkv --rev=10")
    equal("--rev=16")
    equal("")


@case("hashkv-changes", peers=2)
def hashkv_changes(t):
    """What hashes say: equal writes hash equally, all that can be read goes in."""
    first, second = t.channel(), t.channel(cluster=1)

    def both(*args, **values):
        for c in first, second:
            c.call(*args, **values)

    def equal(title, rev=0):
        t.say("%s: %s" % (title, first.call("Maintenance.HashKV", revision=rev).hash ==
                          second.call("Maintenance.HashKV", revision=rev).hash))
    both("KV.Put", key="a", value="1")
    equal("one key")
    both("KV.Put", key="b", value="2")
    both("KV.DeleteRange", key="a")
    equal("a deletion")
    first.call("KV.Put", key="a", value="x")
    second.call("KV.Put", key="a", value="y")
    equal("another value")
    equal("before that", 4)
    both("KV.Put", key="a", value="z")
    both("KV.Compact", revision=6, physical=True)
    equal("the history is gone")
    first.call("KV.Put", key="c", value="1")
    second.call("KV.Put", key="d", value="1")
    equal("another key")


@case("move-leader", size=3)
def move_leader(t):
    known = ids(t)
    lead = leader_of(t)
    to = (lead + 1) % 3
    t.word(known["m%d" % lead], "<leader>")
    t.word(known["m%d" % to], "<other>")
    t.word(t.cluster.members[lead].address, "<leader-url>")
    t.word(t.cluster.members[to].address, "<other-url>")
    leader_url, other_url = t.cluster.members[lead].url, t.cluster.members[to].url
    t.ids.clear()
    t.ctl(["move-leader", known["m%d" % to]], endpoints=other_url)
    t.ctl(["move-leader", known["m%d" % to]], endpoints=t.urls())
    t.say(leader_of(t) == to)
    t.ctl(["move-leader", known["m%d" % to]], endpoints=other_url)
    t.ctl(["move-leader", NO_MEMBER], endpoints=other_url)
    t.ctl(["move-leader"], endpoints=other_url)
    t.ctl(["move-leader", "zz"], endpoints=other_url)
    t.ctl("put k v", endpoints=leader_url)
    answer = t.channel(lead).call("Maintenance.MoveLeader", targetID=int(known["m%d" % lead], 16))
    t.say(answer)


@case("leader-dies", size=3)
def leader_dies(t):
    """What was acknowledged is there under the next leader."""
    for i in range(5):
        t.ctl("put k%d v" % i, endpoints=t.cluster.members[i % 3].url)
    lead = leader_of(t)
    rest = ",".join(m.url for i, m in enumerate(t.cluster.members) if i != lead)
    t.cluster.members[lead].kill()
    t.until("put after v --command-timeout=2s", lambda r: r.code == 0, endpoints=rest, show=False)
    t.ctl("get after -w json", endpoints=rest, edit=lambda out: out[out.index('"kvs"'):])
    t.ctl("get k --prefix", endpoints=rest)


@case("no-quorum", size=3, timeout=40)
def no_quorum(t):
    t.ctl("put k v")
    t.until("get k --consistency=s", lambda r: "v" in r.out, show=False)
    for m in t.cluster.members[1:]:
        m.kill()

    def failed(args):
        r = t.ctl(args, show=False)
        t.say("%s: exit %d" % (args, r.code))
        t.say(r.out)
        # The server's and the client's own time limit race.
        t.say_errors([re.sub("etcdserver: request timed out|rpc error: .* = (?=context deadline)", "", line)
                      .replace("Error: context deadline exceeded", "Error: ")
                      for line in r.err.splitlines() if not line.startswith("{")])
    failed("put k w --command-timeout=1s")
    failed("get k --consistency=s")
    failed("get k --command-timeout=1s")
    failed("endpoint health --command-timeout=1s")
    # The member has noticed by now that it has no leader.
    c = t.channel()
    end = time.monotonic() + 10
    while time.monotonic() < end and t.channel().call("Maintenance.Status").leader:
        time.sleep(0.1)
    t.say(t.channel().call("Maintenance.Status").errors)
    t.say(c.call("KV.Range", key="k", metadata=[("hasleader", "true")]))
    t.say(c.call("KV.Range", key="k", serializable=True, metadata=[("hasleader", "true")]))
    t.say_answer(c.call("KV.Range", key="k", serializable=True))
    t.say(c.call("KV.Put", key="k", value="w", timeout=1).code)
    code, body = t.http("/health")
    w = c.stream("Watch.Watch", metadata=[("hasleader", "true")])
    w.send(create_request={"key": "k"})
    t.say_answer(w.next(3))
    w.cancel()
