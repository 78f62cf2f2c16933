"""etcdctl put, get, del and compaction, with every flag and format."""
from transcript import case

FORMATS = ("simple", "json", "fields", "table")


def fill(t):
    """Keys whose creation, modification, version and value orders all differ."""
    for key, value in (("b", "3"), ("a", "9"), ("c", "5"), ("a/x", "1"), ("a/y", "7"), ("c", "2"), ("b", "8"), ("c", "4"),
                       ("d", "6"), ("a/x", "0")):
        t.ctl(["put", key, value], show=False)


@case("put")
def put(t):
    t.ctl("put k v1")
    t.ctl("put k v2 --prev-kv")
    t.ctl("put k", stdin="from stdin\n")
    t.ctl("get k")
    t.ctl("put k --prev-kv -- -dash")
    t.ctl("put -- -k v")
    t.ctl("get -- -k")
    t.ctl(["put", "empty value", ""])
    t.ctl(["put", "key with spaces\nand a line", "välue \x01"])
    t.ctl("get key --prefix")
    t.ctl("get key --prefix --hex")
    t.ctl("get key --prefix -w json")
    t.ctl(["put", "", "v"])
    t.ctl("put")
    t.ctl("put a b c")


@case("put-formats")
def put_formats(t):
    for w in FORMATS:
        t.ctl(["put", "k", "v-" + w, "-w", w])
        t.ctl(["put", "k", "w-" + w, "--prev-kv", "-w", w])
    t.ctl("put k v --prev-kv -w protobuf", parse="PutResponse")
    t.ctl("put k v --prev-kv --hex")


@case("put-ignore")
def put_ignore(t):
    t.ctl("put none --ignore-value")
    t.ctl("put none v --ignore-lease")
    lease = t.ctl("lease grant 500").out.split()[1]
    t.ctl(["put", "k", "v1", "--lease", lease])
    t.ctl("put k v2 --ignore-lease")
    t.ctl("get k -w json")
    t.ctl("put k --ignore-value")
    t.ctl("get k -w json")
    t.ctl(["put", "k", "--ignore-value", "--lease", lease, "--prev-kv"])
    t.ctl("get k -w fields")
    t.ctl("put k v --ignore-value")
    t.ctl(["put", "k", "v", "--ignore-lease", "--lease", lease])
    t.ctl("put k v --lease=7777")
    t.ctl("put k v --lease=zz")


@case("get-ranges")
def get_ranges(t):
    fill(t)
    t.ctl("get a")
    t.ctl("get nothing")
    t.ctl("get a c")
    t.ctl("get c a")
    t.ctl("get a a")
    t.ctl("get a --prefix")
    t.ctl(["get", "", "--prefix"])
    t.ctl(["get", "", "--from-key"])
    t.ctl("get b --from-key")
    t.ctl("get z --from-key")
    t.ctl("get a --prefix --from-key")
    t.ctl("get a c --prefix")
    t.ctl("get a c --from-key")
    t.ctl(["get", ""])
    t.ctl("get")
    t.ctl("get a b c")


@case("get-flags")
def get_flags(t):
    fill(t)
    for flags in ("--keys-only", "--print-value-only", "--limit=2", "--limit=3 --keys-only", "--limit=100",
                  "--keys-only --print-value-only", "--consistency=l", "--consistency=s", "--consistency=x",
                  "--rev=3", "--rev=3 --limit=1", "--rev=8 --keys-only", "--rev=1", "--rev=11", "--rev=12", "--rev=-1",
                  "--rev=0", "--count-only", "--write-out=fields --limit=2", "--hex", "--hex --print-value-only"):
        t.ctl("get a --from-key " + flags)
    t.ctl("get a --from-key --limit=2 -w json")
    t.ctl("get a --from-key --keys-only -w json")
    t.ctl("get none -w json")


@case("get-sort")
def get_sort(t):
    fill(t)
    for target in ("CREATE", "KEY", "MODIFY", "VALUE", "VERSION"):
        t.ctl("get a --from-key --sort-by=%s" % target)
        t.ctl("get a --from-key --sort-by=%s --order=DESCEND --limit=3" % target)
    t.ctl("get a --from-key --order=DESCEND")
    t.ctl("get a --from-key --order=ASCEND")
    t.ctl("get a --from-key --order=ascend --sort-by=mod")
    t.ctl("get a --from-key --order=DOWN")
    t.ctl("get a --from-key --sort-by=SIZE")
    t.ctl("get a --from-key --sort-by=CREATE --order=DESCEND --limit=2 --rev=6 --keys-only")


@case("get-formats")
def get_formats(t):
    fill(t)
    for w in FORMATS:
        t.ctl("get c -w " + w)
        t.ctl("get a --prefix -w " + w)
    t.ctl("get a --prefix -w fields --hex")
    t.ctl("get a --prefix -w protobuf", parse="RangeResponse")
    t.ctl("get c -w protobuf", parse="RangeResponse")
    t.ctl("get c -w yaml")
    t.ctl("get c --command-timeout=3s --dial-timeout=3s --keepalive-time=1s --keepalive-timeout=2s")


@case("del")
def delete(t):
    fill(t)
    t.ctl("del nothing")
    t.ctl("del a/x --prev-kv")
    t.ctl("del a c")
    t.ctl("del a")
    t.ctl(["get", "", "--prefix"])
    t.ctl("del b --from-key --prev-kv")
    fill(t)
    t.ctl("del a --prefix --prev-kv")
    t.ctl(["del", "", "--prefix"])
    t.ctl(["get", "", "--prefix", "-w", "json"])
    t.ctl(["del", ""])
    t.ctl("del a --prefix --from-key")
    t.ctl("del a b --prefix")
    t.ctl("del")
    t.ctl("put a again")
    t.ctl("get a -w json")
    t.ctl("get a --rev=3")


@case("del-formats")
def delete_formats(t):
    for w in FORMATS:
        fill(t)
        t.ctl("del a --prefix -w " + w)
        t.ctl("del b --from-key --prev-kv -w " + w)
    fill(t)
    t.ctl("del a --prefix --prev-kv -w protobuf", parse="DeleteRangeResponse")


@case("compaction")
def compaction(t):
    fill(t)
    t.ctl("compaction 5")
    t.ctl("compaction 5")
    t.ctl("compaction 4")
    t.ctl("compaction 100")
    t.ctl("compaction 0")
    t.ctl("compaction -- -1")
    t.ctl("compaction x")
    t.ctl("compaction")
    t.ctl("get c --rev=4")
    t.ctl("get c --rev=5")
    t.ctl("get a --from-key --rev=6")
    t.ctl("get a --from-key --rev=100")
    t.ctl("compaction 11 --physical")
    t.ctl("get a --from-key --rev=10")
    t.ctl("get a --from-key --rev=11")
    t.ctl("compaction 12 --physical")
    t.ctl("get a --from-key -w json")


@case("compaction-formats")
def compaction_formats(t):
    fill(t)
    for i, w in enumerate(FORMATS):
        t.ctl("compaction %d -w %s" % (3 + i, w))


@case("compaction-tombstones")
def compaction_tombstones(t):
    fill(t)
    t.ctl("del c")
    t.ctl("del a --prefix")
    t.ctl("put c new")
    t.ctl("compaction 12 --physical")
    t.ctl("get a --from-key --rev=12")
    t.ctl("get a --from-key --rev=13")
    t.ctl("get c -w json")
    t.ctl("compaction 14 --physical")
    t.ctl("get a --from-key -w json")


@case("large-requests")
def large_requests(t):
    # The limit is 1.5 MiB of request; gRPC refuses beyond 512 KiB more.
    for size in (1 << 20, 1572864 - 100, 1572864, 1572864 + 600000):
        t.ctl(["put", "big"], stdin="x" * size)
    r = t.ctl("get big --print-value-only", show=False)
    t.say(len(r.out))


@case("small-limits", flags=["--max-request-bytes=2048", "--max-txn-ops=3"])
def small_limits(t):
    t.ctl(["put", "a", "x" * 1900])
    t.ctl(["put", "a", "x" * 2100])
    t.ctl("txn", stdin="\nput a 1\nput b 1\nput c 1\n\n\n")
    t.ctl("txn", stdin="\nput a 1\nput b 1\nput c 1\nput d 1\n\n\n")
    t.ctl("txn", stdin='\nget a\n\nget a\nget b\nget c\nget d\n\n')
    t.ctl("txn", stdin='value("a") = "1"\nvalue("b") = "1"\nvalue("c") = "1"\nvalue("d") = "1"\n\n\n\n')


@case("endpoints")
def endpoints(t):
    t.ctl("put a 1")
    t.ctl("get a", endpoints=t.cluster.members[0].address)
    t.ctl("get a", endpoints="127.0.0.1:1," + t.url())
    t.ctl("get a --command-timeout=1s", endpoints="127.0.0.1:1")
    t.ctl("nonsense")
    t.ctl("version")
