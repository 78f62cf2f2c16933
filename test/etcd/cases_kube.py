"""How a kube-apiserver uses its store."""
import rpc
from transcript import case

PREFIX = "/registry/pods/default/"
END = "/registry/pods/default0"


def create(t, c, name, value, lease=0):
    """Only if it is not there."""
    return c.call("KV.Txn", compare=[{"target": "MOD", "key": PREFIX + name, "mod_revision": 0}],
                  success=[{"request_put": {"key": PREFIX + name, "value": value, "lease": lease}}],
                  failure=[{"request_range": {"key": PREFIX + name}}])


def update(t, c, name, value, rev):
    """Only if it is still as of rev; else what it is now."""
    return c.call("KV.Txn", compare=[{"target": "MOD", "key": PREFIX + name, "mod_revision": rev}],
                  success=[{"request_put": {"key": PREFIX + name, "value": value}}],
                  failure=[{"request_range": {"key": PREFIX + name}}])


def delete(t, c, name, rev):
    return c.call("KV.Txn", compare=[{"target": "MOD", "key": PREFIX + name, "mod_revision": rev}],
                  success=[{"request_delete_range": {"key": PREFIX + name}}],
                  failure=[{"request_range": {"key": PREFIX + name}}])


@case("kube-objects")
def objects(t):
    c = t.channel()
    t.say_answer(create(t, c, "a", "1"))
    t.say_answer(create(t, c, "a", "2"))
    t.say_answer(update(t, c, "a", "2", 2))
    t.say_answer(update(t, c, "a", "3", 2))
    t.say_answer(delete(t, c, "a", 2))
    t.say_answer(delete(t, c, "a", 3))
    t.say_answer(delete(t, c, "a", 3))
    t.say_answer(update(t, c, "a", "3", 3))
    t.say_answer(create(t, c, "a", "4"))
    t.rpc("KV.Range", key=PREFIX + "a")


@case("kube-list")
def listing(t):
    """Pages at one revision, while others write."""
    c = t.channel()
    for i in range(25):
        create(t, c, "pod-%02d" % i, "v")
    create(t, c, "zz", "last")
    key, rev, pages = PREFIX, 0, 0
    while True:
        r = c.call("KV.Range", key=key, range_end=END, limit=10, revision=rev)
        t.say("count %d more %s rev %d: %s" % (r.count, r.more, r.header.revision,
                                              " ".join(kv.key.decode()[len(PREFIX):] for kv in r.kvs)))
        rev = rev or r.header.revision
        pages += 1
        if not r.more or pages > 10:
            break
        key = r.kvs[-1].key + b"\0"
        create(t, c, "page-%d" % pages, "v")
        delete(t, c, "pod-%02d" % (12 + pages), 2 + 12 + pages)
    t.rpc("KV.Range", key=PREFIX, range_end=END, count_only=True)
    t.rpc("KV.Range", key=PREFIX, range_end=END, count_only=True, limit=1)
    t.rpc("KV.Range", key=PREFIX, range_end=END, count_only=True, revision=rev)
    t.rpc("KV.Range", key=PREFIX, range_end=END, limit=1, keys_only=True)
    c.call("KV.Compact", revision=rev + 1)
    t.rpc("KV.Range", key=key, range_end=END, limit=10, revision=rev)


@case("kube-watch", flags=["--experimental-watch-progress-notify-interval=300ms"])
def watching(t):
    c = t.channel()
    create(t, c, "before", "1")
    listed = c.call("KV.Range", key=PREFIX, range_end=END)
    w = t.stream("Watch.Watch", metadata=[("hasleader", "true")])
    w.send(create_request={"key": PREFIX, "range_end": END, "start_revision": listed.header.revision + 1, "prev_kv": True,
                           "progress_notify": True})
    t.say_answer(w.next())
    create(t, c, "a", "1")
    update(t, c, "before", "2", 2)
    c.call("KV.Put", key="/registry/other", value="x")
    delete(t, c, "before", 4)
    got = 0
    while got < 3:
        a = w.next()
        if not a:
            t.say(a)
            break
        for e in a.events:
            got += 1
            t.say_answer(e)
    # Bookmarks: by themselves after a while, and asked for.
    last = a
    while last and not (last.header.revision == 6 and not last.events):
        last = w.next()
    t.say_answer(last)
    c.call("KV.Put", key="/registry/other", value="y")
    w.send(progress_request={})
    while last and last.header.revision < 7:
        last = w.next()
    t.say_answer(last)
    w.cancel()


@case("kube-watch-compacted")
def watch_compacted(t):
    """A client that was away too long is told to list again."""
    c = t.channel()
    for i in range(10):
        c.call("KV.Put", key=PREFIX + "a", value=str(i))
    c.call("KV.Compact", revision=8)
    w = t.stream("Watch.Watch")
    w.send(create_request={"key": PREFIX, "range_end": END, "start_revision": 4, "prev_kv": True})
    t.say_answer(w.next())
    t.say_answer(w.next())
    w.cancel()


@case("kube-compaction")
def compaction(t):
    """Several servers agree through a key who of them compacts."""
    c = t.channel()
    for i in range(10):
        c.call("KV.Put", key=PREFIX + "a", value=str(i))

    def turn(version, rev):
        r = c.call("KV.Txn", compare=[{"target": "VERSION", "key": "compact_rev_key", "version": version}],
                   success=[{"request_put": {"key": "compact_rev_key", "value": str(rev)}}],
                   failure=[{"request_range": {"key": "compact_rev_key"}}])
        t.say_answer(r)
        return r
    turn(0, 0)
    turn(0, 0)
    if turn(1, 8).succeeded:
        t.rpc("KV.Compact", revision=8)
    turn(1, 9)
    t.rpc("KV.Compact", revision=8)
    t.rpc("KV.Range", key=PREFIX + "a", revision=7)
    t.rpc("KV.Range", key=PREFIX + "a", revision=8)


@case("kube-events")
def events(t):
    """Objects with a time to live hang on shared leases."""
    c = t.channel()
    c.call("Lease.LeaseGrant", TTL=2, ID=77)
    t.say_answer(create(t, c, "event-1", "x", 77))
    t.say_answer(create(t, c, "event-2", "x", 77))
    w = t.stream("Watch.Watch")
    w.send(create_request={"key": PREFIX, "range_end": END, "prev_kv": True})
    w.next()
    t.say_answer(w.next(15))
    t.say_answer(create(t, c, "event-3", "x", 77))
    w.cancel()


@case("kube-health")
def health(t):
    t.http("/health")
    t.rpc("KV.Range", key="health")
    t.rpc("KV.Put", key="k", value="v", show=False)
    s = t.channel().call("Maintenance.Status")
    t.say(isinstance(s, rpc.Failure) or s.dbSize > 0)
    t.say(len(t.channel().call("Maintenance.Alarm").alarms))


@case("kube-large-list", timeout=60)
def large_list(t):
    """More than a page of memory holds, whole and in pages, with writes beside it."""
    c = t.channel()
    for batch in range(40):
        c.call("KV.Txn", success=[{"request_put": {"key": "%sp%04d" % (PREFIX, batch * 100 + i), "value": b"x" * 1000}}
                                  for i in range(100)])
    r = c.call("KV.Range", key=PREFIX, range_end=END)
    t.say("%d %d %s" % (r.count, len(r.kvs), [kv.key for kv in r.kvs] == sorted(kv.key for kv in r.kvs)))
    t.say(all(len(kv.value) == 1000 and kv.version == 1 for kv in r.kvs))
    for limit in (500, 3999, 4000, 4001):
        r = c.call("KV.Range", key=PREFIX, range_end=END, limit=limit)
        t.say("%d %d %s" % (r.count, len(r.kvs), r.more))
    w = t.stream("Watch.Watch")
    w.send(create_request={"key": PREFIX, "range_end": END, "start_revision": 2})
    w.next()
    got = 0
    while got < 4000:
        a = w.next()
        if not a:
            t.say(a)
            break
        got += len(a.events)
    t.say(got)
    w.cancel()
