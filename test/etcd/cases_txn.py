"""etcdctl txn: what its little language can say."""
from transcript import case


def txn(t, compares="", success="", failure="", args=("txn",), **kw):
    return t.ctl(list(args), stdin="%s\n%s\n%s\n" % tuple(s + "\n" if s else "" for s in (compares, success, failure)), **kw)


@case("txn-compares")
def compares(t):
    t.ctl("put a 1")
    t.ctl("put b 1")
    t.ctl("put a 2")
    values = {"value": ('"1"', '"2"', '"3"', '""'), "version": ('"1"', '"2"', '"3"', '"0"'),
              "create": ('"1"', '"2"', '"3"', '"0"'), "mod": ('"3"', '"4"', '"5"', '"0"'),
              "c": ('"2"',), "m": ('"4"',), "val": ('"2"',), "ver": ('"2"',)}
    for target, numbers in values.items():
        for op in "=", "!=", "<", ">":
            for number in numbers if len(numbers) > 1 else ():
                txn(t, '%s("a") %s %s' % (target, op, number), "get a", "get b")
        if len(numbers) == 1:
            txn(t, '%s("a") = %s' % (target, numbers[0]), "get a", "get b")
    for op in "=", "!=", "<", ">":
        txn(t, 'mod("none") %s "0"' % op, "get a", "get b")
        txn(t, 'value("none") %s ""' % op, "get a", "get b")


@case("txn-operations")
def operations(t):
    txn(t)
    txn(t, "", "put a 1")
    txn(t, "", "put a 2\nput b 2\nget a\nget a --from-key")
    txn(t, "", "get a --from-key\ndel a\nget a --from-key\nput c 3\nget a --from-key")
    txn(t, 'value("b") = "2"\nversion("c") = "1"', "del b c --prev-kv\nput b x --prev-kv", "get nothing")
    txn(t, 'value("b") = "2"\nversion("c") = "1"', "put b unreachable", "put b y --prev-kv\ndel c")
    txn(t, "", 'put "key with spaces" "value with \\"quotes\\""\nget "key with spaces"')
    txn(t, "", "get a --from-key --limit=1\nget a --from-key --keys-only\nget a --from-key --sort-by=MODIFY --order=DESCEND")
    txn(t, "", "get a --from-key --rev=3\nget b --rev=2")
    t.ctl("get a --from-key -w json")
    for w in "json", "fields", "table", "simple":
        txn(t, 'mod("b") > "0"', "put w %s\nget w\ndel w --prev-kv" % w, args=["txn", "-w", w])
    txn(t, 'mod("b") > "0"', "put w 1\nget w\ndel w --prev-kv", args=["txn", "-w", "protobuf"], parse="TxnResponse")


@case("txn-interactive")
def interactive(t):
    t.ctl("txn -i", stdin='mod("a") = "0"\n\nput a 1\nget a\n\nget b\n\n')
    t.ctl("txn -i", stdin='mod("a") = "0"\n\nput a 1\n\nget a\n\n')


@case("txn-errors")
def errors(t):
    t.ctl("put a 1")
    txn(t, "", "put a 1\nput a 2")
    txn(t, "", "put a 1\ndel a")
    txn(t, "", "del a\nput a 1")
    txn(t, "", "del a b\nput a 1")
    txn(t, "", "del a\ndel a")
    txn(t, "", "put a 1", "put a 1\nput a 2")
    txn(t, "", "get a --rev=100")
    txn(t, "", "put b 1\nget a --rev=100")
    t.ctl("compaction 2")
    txn(t, "", "get a --rev=1")
    txn(t, "", "put b 1\nget a --rev=1")
    txn(t, "", "put b 1 --lease=1234")
    txn(t, "", "put c 1\nput b 1 --lease=1234")
    txn(t, "", "put nothing --ignore-value")
    txn(t, "", 'put "" 1')
    txn(t, "", 'get ""')
    txn(t, 'mod("") = "0"')
    txn(t, 'size("a") = "0"')
    txn(t, 'mod("a") = 0')
    txn(t, 'mod("a") = "x"')
    txn(t, "", "watch a")
    t.ctl(["get", "", "--prefix", "-w", "json"])


@case("txn-many")
def many(t):
    for count in 128, 129:
        txn(t, "", "\n".join("put k%d %d" % (i, i) for i in range(count)))
    t.ctl("get k --prefix --keys-only --limit=3 -w json")
    txn(t, "\n".join('mod("k%d") > "0"' % i for i in range(129)), "get k1")
