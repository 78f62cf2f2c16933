"""KV through gRPC: every combination of Range options, nested transactions, codes and texts."""
import itertools
import threading

import rpc
from transcript import case


def data(t, c):
    """Revisions 2 to 16: six keys left of eight, all orders differ."""
    for k, v in (("b", "3"), ("a", "9"), ("c", "5"), ("ab", "1"), ("e", "7"), ("c", "2"), ("b", "8"), ("x", "gone"),
                 ("c", "4"), ("d", "6"), ("a", "0"), ("f", "5")):
        c.call("KV.Put", key=k, value=v)
    c.call("KV.DeleteRange", key="x")
    c.call("KV.Put", key="e", value="70")
    c.call("KV.DeleteRange", key="f")


def brief(answer):
    """A range answer in one line."""
    if isinstance(answer, rpc.Failure):
        return str(answer)
    return "rev %d count %d more %s: %s" % (answer.header.revision, answer.count, answer.more, " ".join(
        "%s=%s/%d,%d,%d,%d" % (kv.key.decode(), kv.value.decode(), kv.create_revision, kv.mod_revision, kv.version,
                               kv.lease) for kv in answer.kvs))


def ranges(t, options):
    """Asks for each set of options, written down as asked and answered."""
    c = t.channel()
    data(t, c)
    for o in options:
        t.say("%s -> %s" % (" ".join("%s=%s" % (k, v if v != "\0" else "0") for k, v in o.items()),
                            brief(c.call("KV.Range", **o))))


@case("grpc-range-sorted")
def range_sorted(t):
    ranges(t, (dict(key="a", range_end="\0", sort_target=target, sort_order=order, limit=limit, revision=rev, **more)
               for target, order, limit, rev, more in itertools.product(
                   ("KEY", "VERSION", "CREATE", "MOD", "VALUE"), ("NONE", "ASCEND", "DESCEND"), (0, 1, 3, 6, 100), (0, 10),
                   ({}, {"keys_only": True}, {"serializable": True}))))


@case("grpc-range-filters")
def range_filters(t):
    names = ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision")
    options = []
    for n in names:
        for v in (1, 3, 8, 12, 100):
            for more in ({}, {"limit": 2}, {"count_only": True}, {"sort_target": "MOD", "sort_order": "DESCEND"},
                         {"limit": 1, "sort_target": "VALUE", "sort_order": "ASCEND"}, {"revision": 9}):
                options.append(dict(key="a", range_end="z", **{n: v}, **more))
    for low, high in itertools.product((2, 6, 9), (7, 10, 15)):
        options.append(dict(key="a", range_end="z", min_mod_revision=low, max_mod_revision=high))
        options.append(dict(key="a", range_end="z", min_mod_revision=low, max_create_revision=high, limit=1))
    ranges(t, options)


@case("grpc-range-bounds")
def range_bounds(t):
    keys = ("a", "b", "c", "z", "\0", "")
    ends = ("", "\0", "a", "b", "c", "zz")
    options = [dict(key=k, range_end=e, **more) for k, e in itertools.product(keys, ends)
               for more in ({}, {"count_only": True}, {"keys_only": True, "limit": 1}, {"count_only": True, "limit": 1})]
    for rev in (-1, 0, 1, 2, 9, 15, 16, 17, 100):
        options += [dict(key="a", range_end="z", revision=rev), dict(key="b", revision=rev, keys_only=True),
                    dict(key="a", range_end="z", revision=rev, serializable=True, count_only=True)]
    options += [dict(key="a", range_end="z", limit=-1), dict(key="a", range_end="z", keys_only=True, count_only=True)]
    ranges(t, options)


@case("grpc-range-compacted")
def range_compacted(t):
    c = t.channel()
    data(t, c)
    t.rpc("KV.Compact", revision=9)
    for rev in range(0, 18):
        for more in ({}, {"serializable": True}, {"count_only": True}, {"limit": 2}):
            t.say("%d %s -> %s" % (rev, more, brief(c.call("KV.Range", key="a", range_end="z", revision=rev, **more))))
    for rev in (0, 9, -1, 100, 5):
        t.rpc("KV.Compact", revision=rev)
    t.rpc("KV.Compact", revision=16, physical=True)
    t.rpc("KV.Range", key="a", range_end="z", revision=15)
    t.rpc("KV.Range", key="a", range_end="z", revision=16)
    t.rpc("KV.Range", key="a", range_end="z")


@case("grpc-put")
def put(t):
    t.rpc("KV.Put", key="k", value="v")
    t.rpc("KV.Put", key="k", value="w", prev_kv=True)
    t.rpc("KV.Put", key="k", ignore_value=True, prev_kv=True)
    t.rpc("KV.Put", key="k", value="x", ignore_value=True)
    t.rpc("KV.Put", key="none", ignore_value=True)
    t.rpc("KV.Put", key="none", ignore_lease=True)
    t.rpc("KV.Put", key="k", lease=5)
    t.rpc("Lease.LeaseGrant", TTL=100, ID=5)
    t.rpc("KV.Put", key="k", value="x", lease=5)
    t.rpc("KV.Put", key="k", value="y", lease=5, ignore_lease=True)
    t.rpc("KV.Put", key="k", value="y", ignore_lease=True, prev_kv=True)
    t.rpc("KV.Put", key="k", lease=-1)
    t.rpc("KV.Put", key="")
    t.rpc("KV.Put", key="empty", value="")
    t.rpc("KV.Put", key=bytes(range(256)), value=bytes(range(255, -1, -1)))
    t.rpc("KV.Range", key="\0", range_end="\0")
    t.rpc("KV.DeleteRange", key="")
    t.rpc("KV.DeleteRange", key="k", prev_kv=True)
    t.rpc("KV.DeleteRange", key="k", prev_kv=True)
    t.rpc("KV.DeleteRange", key="\0", range_end="\0", prev_kv=True)
    t.rpc("KV.Range", key="\0", range_end="\0", count_only=True)
    t.rpc("Lease.LeaseTimeToLive", ID=5, keys=True, show=False)


def op_put(key, value="", **more):
    return {"request_put": dict(key=key, value=value, **more)}


def op_get(key, end="", **more):
    return {"request_range": dict(key=key, range_end=end, **more)}


def op_del(key, end="", **more):
    return {"request_delete_range": dict(key=key, range_end=end, **more)}


def op_txn(**more):
    return {"request_txn": more}


def txn(t, compare=(), success=(), failure=()):
    return t.rpc("KV.Txn", compare=list(compare), success=list(success), failure=list(failure))


@case("grpc-txn-compare")
def txn_compare(t):
    c = t.channel()
    c.call("Lease.LeaseGrant", TTL=1000, ID=50)
    c.call("KV.Put", key="a", value="m")
    c.call("KV.Put", key="a", value="n")
    c.call("KV.Put", key="b", value="n", lease=50)
    c.call("KV.Put", key="bb", value="p")
    fields = {"VERSION": ("version", (0, 1, 2, 3)), "CREATE": ("create_revision", (0, 2, 4)),
              "MOD": ("mod_revision", (0, 3, 4, 9)), "VALUE": ("value", (b"", b"m", b"n", b"na")),
              "LEASE": ("lease", (0, 50, 51))}
    for target, (field, values) in fields.items():
        for key, end in (("a", ""), ("b", ""), ("none", ""), ("a", "c"), ("b", "\0"), ("x", "z")):
            row = []
            for result, value in itertools.product(("EQUAL", "GREATER", "LESS", "NOT_EQUAL"), values):
                r = c.call("KV.Txn", compare=[{"result": result, "target": target, "key": key, "range_end": end,
                                               field: value}])
                row.append(str(r.succeeded)[0] if not isinstance(r, rpc.Failure) else str(r))
            t.say("%s [%s, %s): %s" % (target, key, end, " ".join(row)))
    txn(t, [{"target": "VERSION", "key": ""}])
    # A target without its value compares with nothing.
    txn(t, [{"target": "VERSION", "key": "a"}])
    txn(t, [{"target": "VALUE", "key": "a"}])
    txn(t, [{"target": "VALUE", "key": "a", "version": 2}])
    txn(t, [{"target": "MOD", "key": "none"}], [op_get("a")])
    txn(t, [{"target": "MOD", "key": "a", "mod_revision": 3}, {"target": "MOD", "key": "b", "mod_revision": 9}],
        [op_get("a")], [op_get("b")])


@case("grpc-txn-nested")
def txn_nested(t):
    is_there = [{"target": "VERSION", "result": "GREATER", "key": "a", "version": 0}]
    inner = op_txn(compare=is_there, success=[op_put("in", "1"), op_get("in")], failure=[op_put("in", "2"), op_get("in")])
    txn(t, (), [op_put("b", "1"), inner, op_get("b")])
    # Compares see what was there before the whole transaction.
    txn(t, (), [op_put("a", "1"), inner])
    txn(t, (), [op_put("c", "1"), inner, op_del("c2", "d"), op_txn(success=[op_txn(success=[op_put("deep", "x")])])])
    txn(t, is_there, [op_txn(compare=[{"target": "VALUE", "key": "none", "value": b"x"}], success=[op_put("x", "1")],
                             failure=[op_del("a", prev_kv=True), op_get("a")])])
    txn(t, (), [op_txn(success=[op_put("q", "1")]), op_txn(success=[op_put("q", "2")])])
    txn(t, (), [op_put("q", "1"), op_txn(success=[op_put("q", "2")])])
    txn(t, (), [op_txn(success=[op_put("q", "1")], failure=[op_put("q", "2")])])
    txn(t, (), [op_txn(success=[op_put("q", "1")]), op_del("q")])
    txn(t, (), [op_del("a", "z"), op_txn(success=[op_put("q", "2")])])
    txn(t, (), [op_txn(success=[op_put("", "2")])])
    txn(t, (), [op_txn(success=[op_get("q", revision=1000)])])
    txn(t, (), [op_txn(failure=[op_get("q", revision=1000)])])
    t.rpc("KV.Range", key="\0", range_end="\0")


@case("grpc-txn-operations")
def txn_operations(t):
    txn(t)
    txn(t, (), [{}])
    txn(t, (), [op_put("a", "1"), op_get("a"), op_del("b"), op_get("a", "\0", count_only=True)])
    txn(t, (), [op_put("a", "2", prev_kv=True), op_put("b", "2", prev_kv=True), op_del("c", "d", prev_kv=True)])
    txn(t, (), [op_del("a", "b"), op_del("b", "c"), op_get("a", "\0")])
    txn(t, (), [op_put("a", "1"), op_put("ab", "1"), op_put("b", "1")])
    txn(t, (), [op_get("a", "\0", limit=1, sort_order="DESCEND"), op_get("a", "\0", revision=2), op_get("a", revision=3)])
    txn(t, (), [op_put("a", ignore_value=True), op_put("new", ignore_value=True)])
    txn(t, (), [op_put("new", "1"), op_put("b", lease=99)])
    txn(t, (), [op_put("same", "1"), op_put("same", "1")])
    txn(t, (), [op_del("a", "c"), op_put("b", "1")])
    txn(t, (), [op_put("b", "1"), op_del("a", "c")])
    txn(t, (), [op_del("a", "c"), op_put("c", "1")])
    # Reads alone leave the revision where it is; so does deleting nothing.
    txn(t, (), [op_get("a"), op_del("nothing")])
    t.rpc("KV.Range", key="\0", range_end="\0")
    c = t.channel()
    t.say(c.call("KV.Txn", success=[op_put("k%d" % i, "") for i in range(128)]).header.revision)
    t.say(c.call("KV.Txn", success=[op_put("k%d" % i, "") for i in range(129)]))
    t.say(c.call("KV.Txn", failure=[op_put("k%d" % i, "") for i in range(129)]))
    t.say(c.call("KV.Txn", compare=[{"key": "k%d" % i} for i in range(129)]))
    t.say(bool(c.call("KV.Txn", success=[op_txn(success=[op_put("k%d%d" % (j, i), "") for i in range(100)])
                                         for j in range(2)])))
    t.rpc("KV.Compact", revision=5)
    txn(t, (), [op_put("after", "1"), op_get("a", revision=4)])
    t.rpc("KV.Range", key="after")


@case("grpc-calls")
def calls(t):
    """What belongs to gRPC rather than to a method."""
    c = t.channel()
    for path in ("/etcdserverpb.KV/Nonsense", "/etcdserverpb.Nonsense/Range", "/etcdserverpb.KV/range"):
        t.say("%s: %s" % (path, c.raw(path)))
    # Broken protobuf; what of the text is a library's, so only the code.
    for name, junk in (("KV/Range", b"\xff\xff\xff"), ("KV/Put", b"\x0a\x7fab"), ("KV/Txn", b"\x12\x05\x0a"),
                       ("Lease/LeaseGrant", b"\x0a\x7fab"), ("Auth/UserAdd", b"\x08\x01\xff")):
        r = c.raw("/etcdserverpb." + name, junk)
        t.say("%s: %s" % (name, r.code if isinstance(r, rpc.Failure) else "answered"))
    # Unknown fields are skipped.
    t.say(rpc.MESSAGES["RangeResponse"].FromString(c.raw("/etcdserverpb.KV/Range", b"\x0a\x01a\xf8\x3f\x05")).count)
    c.call("KV.Put", key="k", value="v")
    # The header's last revision, on all that have one.
    for name in ("KV.Range", "Lease.LeaseLeases", "Cluster.MemberList", "Maintenance.Status", "Auth.UserList"):
        r = c.call(name, **({"key": "k"} if name == "KV.Range" else {}))
        t.say("%s: %d %s %s" % (name, r.header.revision, bool(r.header.cluster_id), bool(r.header.member_id)))
    t.rpc("KV.Range", key="k", metadata=[("hasleader", "true")])
    t.rpc("KV.Range", key="k", metadata=[("hasleader", "nonsense"), ("other", "x"), ("client-api-version", "3.4")])
    big = c.call("KV.Put", key="big", value=b"x" * 1572864)
    t.say(big)
    t.say(c.call("KV.Put", key="big", value=b"x" * (1572864 + 512 * 1024)))
    # Many at once over one connection.
    futures = [c.future("KV.Put", key="many%d" % i, value="v") for i in range(200)]
    t.say(sorted(f.result().header.revision for f in futures) == list(range(3, 203)))
    # Answers larger than a flow-control window.
    for i in range(20):
        c.call("KV.Put", key="large%02d" % i, value=bytes([i]) * 500000)
    r = c.call("KV.Range", key="large", range_end="largf")
    t.say("%d %s" % (r.count, [len(kv.value) for kv in r.kvs] == [500000] * 20 and
                     all(kv.value == bytes([i]) * 500000 for i, kv in enumerate(r.kvs))))


@case("grpc-concurrent")
def concurrent(t):
    """Writers of one counter by compare and swap lose none."""
    c = t.channel()
    c.call("KV.Put", key="n", value="0")

    def work():
        for _ in range(20):
            while True:
                kv = c.call("KV.Range", key="n").kvs[0]
                r = c.call("KV.Txn", compare=[{"target": "MOD", "key": "n", "mod_revision": kv.mod_revision}],
                           success=[op_put("n", str(int(kv.value) + 1))])
                if r and r.succeeded:
                    break
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    t.rpc("KV.Range", key="n")
