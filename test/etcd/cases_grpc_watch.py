"""Watch through gRPC: many watches on a stream, filters, fragments, progress, cancelling."""
import rpc
from transcript import case


def show(t, answer):
    t.say_answer(answer)
    return answer


def events(t, stream, count, timeout=10.0):
    """Collects count events; how they are spread over answers is the server's choice."""
    got = []
    while len(got) < count:
        a = stream.next(timeout)
        if a is None or isinstance(a, rpc.Failure):
            t.say("after %d events: %s" % (len(got), a))
            break
        if a.fragment or a.created or a.canceled:
            t.say_answer(a)
        got += [(a.watch_id, e) for e in a.events]
    return got


def say_events(t, got):
    for number, e in got:
        kv, old = e.kv, e.prev_kv
        t.say("%d %s %s=%s %d %d %d %d%s" % (
            number, ("put", "del")[e.type], kv.key.decode(), kv.value.decode()[:20], kv.create_revision, kv.mod_revision,
            kv.version, kv.lease,
            " was %s %d" % (old.value.decode()[:20], old.mod_revision) if e.HasField("prev_kv") else ""))


def quiet(t, stream):
    """Nothing more comes before the answer to a request for progress."""
    stream.send(progress_request={})
    a = stream.next()
    t.say("progress: %s" % (a if not isinstance(a, rpc.MESSAGES["WatchResponse"]) else
                            "id %d rev %d, %d events" % (a.watch_id, a.header.revision, len(a.events))))


def history(c):
    """Revisions 2 to 9."""
    for k, v in (("a", "1"), ("b", "1"), ("a", "2")):
        c.call("KV.Put", key=k, value=v)
    c.call("KV.DeleteRange", key="a")
    c.call("KV.Put", key="c", value="1")
    c.call("KV.Txn", success=[{"request_put": {"key": "a", "value": "3"}}, {"request_put": {"key": "b", "value": "3"}},
                              {"request_delete_range": {"key": "c"}}])
    c.call("KV.Put", key="b", value="4")
    c.call("KV.DeleteRange", key="a", range_end="z")


@case("grpc-watch-create")
def create(t):
    c = t.channel()
    history(c)
    w = t.stream("Watch.Watch")
    for request in ({"key": "a"}, {"key": "a", "watch_id": 7}, {"key": "a", "watch_id": 7}, {"key": "a"},
                    {"key": "a", "watch_id": 1}, {"key": "a"}, {"key": "", "range_end": "\0"}, {"key": "b", "range_end": "a"},
                    {"key": "a", "range_end": "a"}, {"key": ""}):
        t.say(request)
        w.send(create_request=request)
        show(t, w.next())
    quiet(t, w)
    w.cancel()


@case("grpc-watch-history")
def watch_history(t):
    c = t.channel()
    history(c)
    for title, count, request in (
            ("all", 11, {"key": "\0", "range_end": "\0", "start_revision": 1}),
            ("one key", 5, {"key": "a", "start_revision": 1}),
            ("from 5", 4, {"key": "a", "range_end": "b", "start_revision": 4, "prev_kv": True}),
            ("no deletes", 3, {"key": "a", "start_revision": 1, "filters": ["NODELETE"]}),
            ("no puts", 2, {"key": "a", "start_revision": 1, "filters": ["NOPUT"], "prev_kv": True}),
            ("neither", 0, {"key": "a", "start_revision": 1, "filters": ["NOPUT", "NODELETE"]}),
            ("end of all", 2, {"key": "\0", "range_end": "\0", "start_revision": 9, "prev_kv": True})):
        w = t.stream("Watch.Watch")
        w.send(create_request=request)
        a = w.next()
        t.say("%s: created %s, id %d" % (title, a.created, a.watch_id))
        say_events(t, events(t, w, count))
        c.call("KV.Put", key="zz-other", value="x") if title == "neither" else None
        w.cancel()


@case("grpc-watch-live")
def live(t):
    """Several watches on one stream; each sees its own events in order, transactions whole."""
    c = t.channel()
    w = t.stream("Watch.Watch")
    requests = ({"key": "a"}, {"key": "a", "range_end": "c", "prev_kv": True}, {"key": "b", "range_end": "\0"},
                {"key": "a", "range_end": "z", "filters": ["NODELETE"]}, {"key": "none"})
    for r in requests:
        w.send(create_request=r)
        t.say(w.next().watch_id)
    history(c)
    got = events(t, w, 5 + 9 + 6 + 7)
    for i in range(len(requests)):
        say_events(t, [g for g in got if g[0] == i])
    quiet(t, w)
    w.send(cancel_request={"watch_id": 1})
    show(t, w.next())
    w.send(cancel_request={"watch_id": 1})
    w.send(cancel_request={"watch_id": 99})
    c.call("KV.Put", key="aa", value="x")
    say_events(t, events(t, w, 1))
    quiet(t, w)
    w.cancel()


@case("grpc-watch-transaction")
def transaction(t):
    """The events of one revision come in one answer."""
    c = t.channel()
    w = t.stream("Watch.Watch")
    w.send(create_request={"key": "k", "range_end": "l"})
    w.next()
    c.call("KV.Txn", success=[{"request_put": {"key": "k%02d" % i, "value": "v"}} for i in range(50)])
    a = w.next()
    t.say("%d %s" % (len(a.events), {e.kv.mod_revision for e in a.events}))
    t.say([e.kv.key.decode() for e in a.events][:3])
    c.call("KV.DeleteRange", key="k", range_end="l")
    a = w.next()
    t.say("%d %s %s" % (len(a.events), {e.kv.mod_revision for e in a.events}, {e.type for e in a.events}))
    w.cancel()


@case("grpc-watch-fragments")
def fragments(t):
    """One revision of more than an answer may hold comes in pieces, if the client asked for that."""
    c = t.channel()
    for part in range(3):
        t.say(c.call("KV.Txn", success=[{"request_put": {"key": "k%d-%02d" % (part, i), "value": b"x" * 14000}}
                                        for i in range(100)]).header.revision)
    c.call("KV.DeleteRange", key="k", range_end="l")
    for fragment in True, False:
        w = t.stream("Watch.Watch")
        w.send(create_request={"key": "k", "range_end": "l", "start_revision": 2, "prev_kv": True, "fragment": fragment})
        w.next()
        got, pieces, whole = [], 0, True
        while len(got) < 600:
            a = w.next()
            if not a:
                t.say(a)
                break
            pieces += a.fragment
            if not a.fragment:
                whole = whole and (len(got) + len(a.events)) in (100, 200, 300, 600)
            got += a.events
        t.say("fragment %s: %d events, in pieces: %s, ends with a revision: %s" % (fragment, len(got), pieces > 0, whole))
        t.say([e.kv.key.decode() for e in got] == ["k%d-%02d" % (p, i) for p in range(3) for i in range(100)] * 2)
        w.cancel()


@case("grpc-watch-compacted")
def compacted(t):
    c = t.channel()
    history(c)
    c.call("KV.Compact", revision=6)
    w = t.stream("Watch.Watch")
    for rev in (1, 5, 6, 7):
        w.send(create_request={"key": "a", "range_end": "z", "start_revision": rev, "watch_id": 100 + rev})
        show(t, w.next())
        if rev < 6:
            show(t, w.next())
        else:
            say_events(t, events(t, w, {6: 7, 7: 6}[rev]))
    # The stream lives on.
    c.call("KV.Put", key="a", value="new")
    got = events(t, w, 2)
    say_events(t, sorted(got, key=lambda g: g[0]))
    # Compacting does not touch watches that have seen what goes.
    c.call("KV.Compact", revision=10)
    c.call("KV.Put", key="a", value="newer")
    say_events(t, sorted(events(t, w, 2), key=lambda g: g[0]))
    w.cancel()


@case("grpc-watch-future")
def future(t):
    c = t.channel()
    w = t.stream("Watch.Watch")
    w.send(create_request={"key": "a", "start_revision": 4})
    show(t, w.next())
    for i in range(5):
        c.call("KV.Put", key="a", value=str(i))
    say_events(t, events(t, w, 3))
    quiet(t, w)
    w.cancel()


@case("grpc-watch-progress", flags=["--experimental-watch-progress-notify-interval=200ms"])
def progress(t):
    c = t.channel()
    c.call("KV.Put", key="other", value="x")
    w = t.stream("Watch.Watch")
    w.send(create_request={"key": "a", "progress_notify": True})
    show(t, w.next())
    a = w.next()
    t.say_answer(a)
    c.call("KV.Put", key="other", value="y")
    while a and a.header.revision < 3:
        a = w.next()
    t.say_answer(a)
    c.call("KV.Put", key="a", value="z")
    say_events(t, events(t, w, 1))
    while a and a.header.revision < 4:
        a = w.next()
    t.say_answer(a)
    w.cancel()


@case("grpc-watch-manual-progress")
def manual_progress(t):
    c = t.channel()
    w = t.stream("Watch.Watch")
    w.send(create_request={"key": "a"})
    w.next()
    w.send(create_request={"key": "b", "range_end": "d"})
    w.next()
    for i in range(3):
        c.call("KV.Put", key="other", value="x")
        w.send(progress_request={})
        show(t, w.next())
    w.cancel()


@case("grpc-watch-order", size=3)
def order(t):
    """Watchers on all members see the same, while writers write through all members."""
    watches = []
    for i in range(3):
        w = t.stream("Watch.Watch", member=i)
        w.send(create_request={"key": "k", "range_end": "l", "start_revision": 1})
        w.next()
        watches.append(w)
    futures = [t.channel(i % 3).future("KV.Put", key="k%d" % (i % 7), value=str(i)) for i in range(90)]
    for f in futures:
        f.result()
    seen = [[(e.kv.mod_revision, e.kv.key, e.kv.value) for _, e in events(t, w, 90)] for w in watches]
    t.say([s[0][0] for s in seen] + [s[-1][0] for s in seen])
    t.say(seen[0] == seen[1] == seen[2])
    t.say([r for r, _, _ in seen[0]] == list(range(2, 92)))
    for w in watches:
        w.cancel()
