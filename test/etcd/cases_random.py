"""Random histories, the same on both: every answer and, at the end, every event must agree.

The names of cases say their seeds. ETCD_RANDOM_SEEDS=FROM-TO adds more of them, for long runs:
ETCD_RANDOM_SEEDS=100-200 test/etcd/run.py 'random-*'
"""
import os
import random

import rpc
from transcript import case

STEPS = 250
KEYS = [b"a", b"a0", b"aa", b"ab", b"b", b"b\0", b"ba", b"c", b"c\xff", b"d"]
LEASES = [11, 12, 13]


class History:
    """Chooses what to ask, knowing roughly what there is."""

    def __init__(self, seed, tame=False):
        self.random = random.Random(seed)
        # Members of etcd 3.4 come apart by a revision over transactions that fail for a range's revision.
        self.tame = tame
        self.rev, self.compacted = 1, 0

    def chance(self, p):
        return self.random.random() < p

    def key(self):
        return self.random.choice(KEYS)

    def span(self):
        """A key and an end that is often not that of one key."""
        r = self.random
        if self.chance(0.4):
            return {"key": self.key()}
        if self.chance(0.3):
            return {"key": self.key(), "range_end": b"\0"}
        if self.chance(0.1):
            return {"key": b"\0", "range_end": b"\0"}
        low, high = sorted(r.sample(KEYS, 2)) if self.chance(0.95) else (b"c", b"a")
        return {"key": low, "range_end": high}

    def some_rev(self):
        """Mostly one that can be read, sometimes one that is gone or yet to come."""
        if self.chance(0.1):
            return self.random.randint(-1, self.rev + 3)
        return self.random.randint(max(self.compacted, 1), self.rev)

    def range(self):
        o = self.span()
        if self.chance(0.3):
            o["limit"] = self.random.randint(0, 6)
        if self.chance(0.3):
            o["revision"] = self.some_rev()
        if self.chance(0.4):
            o["sort_order"] = self.random.choice(["NONE", "ASCEND", "DESCEND"])
            o["sort_target"] = self.random.choice(["KEY", "VERSION", "CREATE", "MOD", "VALUE"])
        for flag in "keys_only", "count_only", "serializable":
            if self.chance(0.1):
                o[flag] = True
        for name in "min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision":
            if self.chance(0.07):
                o[name] = self.random.randint(0, self.rev)
        return o

    def put(self):
        o = {"key": self.key(), "value": b"v%d" % self.random.randint(0, 30)}
        if self.chance(0.15):
            o["lease"] = self.random.choice(LEASES + [99] if self.chance(0.1) else LEASES)
        if self.chance(0.2):
            o["prev_kv"] = True
        if self.chance(0.07):
            o["ignore_value"] = True
            # Which of two faults is told, a lease or a key that is not there, is not compared.
            o.pop("lease", None)
            if self.chance(0.8):
                o.pop("value")
        if self.chance(0.07):
            o["ignore_lease"] = True
            if self.chance(0.8):
                o.pop("lease", None)
        return o

    def delete(self, wide=True):
        o = self.span() if wide else {"key": self.key()}
        if self.chance(0.3):
            o["prev_kv"] = True
        return o

    def compare(self):
        r = self.random
        target, field = r.choice([("VERSION", "version"), ("CREATE", "create_revision"), ("MOD", "mod_revision"),
                                  ("VALUE", "value"), ("LEASE", "lease")])
        value = {"value": b"v%d" % r.randint(0, 30), "version": r.randint(0, 4), "lease": r.choice(LEASES + [0])}.get(
            field, r.choice([0, r.randint(0, self.rev)]))
        o = {"target": target, "result": r.choice(["EQUAL", "GREATER", "LESS", "NOT_EQUAL"]), field: value}
        o.update(self.span() if self.chance(0.3) else {"key": self.key()})
        return o

    def operation(self, depth):
        r = self.random.random()
        if depth < 2 and r < 0.12:
            return {"request_txn": self.txn(depth + 1)}
        if r < 0.45:
            o = self.range()
            if self.tame:
                o.pop("revision", None)
            return {"request_range": o}
        if r < 0.8:
            return {"request_put": self.put()}
        # What etcd misses, a put under a deletion up to the end of all keys, is not asked for.
        o = self.delete()
        if o.get("range_end") == b"\0":
            o["range_end"] = b"zz"
        return {"request_delete_range": o}

    def txn(self, depth=0):
        r = self.random
        return {"compare": [self.compare() for _ in range(r.choice([0, 1, 1, 2]))],
                "success": [self.operation(depth) for _ in range(r.randint(0, 4))],
                "failure": [self.operation(depth) for _ in range(r.randint(0, 3))]}

    def step(self):
        r = self.random.random()
        if r < 0.35:
            return "KV.Put", self.put()
        if r < 0.55:
            return "KV.Range", self.range()
        if r < 0.63:
            return "KV.DeleteRange", self.delete()
        if r < 0.88:
            return "KV.Txn", self.txn()
        if r < 0.91:
            return "KV.Compact", {"revision": self.random.randint(max(self.compacted, 1), self.rev + 1),
                                  "physical": self.chance(0.5)}
        if r < 0.95:
            return "Lease.LeaseGrant", {"ID": self.random.choice(LEASES), "TTL": 3000}
        if r < 0.98:
            return "Lease.LeaseRevoke", {"ID": self.random.choice(LEASES)}
        return "Lease.LeaseTimeToLive", {"ID": self.random.choice(LEASES), "keys": True}

    def saw(self, name, request, answer):
        if not isinstance(answer, rpc.Failure):
            self.rev = max(self.rev, answer.header.revision)
            if name == "KV.Compact":
                self.compacted = max(self.compacted, request["revision"])


def say(t, name, request, answer):
    t.say("> %s %s" % (name, " ".join(t.text(rpc.fill(t.request_class(name)(), request)).split())))
    if name == "Lease.LeaseTimeToLive" and not isinstance(answer, rpc.Failure):
        t.say("  %s %s" % (answer.TTL > 0, sorted(answer.keys)))
    else:
        t.say_answer(answer)


def watch_all(t, c, h, member=0):
    """All events that are left, of three kinds of watches."""
    for request in ({"key": b"\0", "range_end": b"\0", "prev_kv": True}, {"key": b"a", "range_end": b"b"},
                    {"key": b"b", "filters": ["NOPUT"]}):
        w = t.stream("Watch.Watch", member=member)
        w.send(create_request=dict(request, start_revision=h.compacted + 1))
        w.next()
        # The end: an event that each of them sees.
        h.rev = c.call("KV.Txn", success=[{"request_put": {"key": b"a", "value": b"end"}},
                                          {"request_delete_range": {"key": b"b"}},
                                          {"request_put": {"key": b"a1", "value": b"end"}}]).header.revision
        if request["key"] == b"b":
            c.call("KV.Put", key=b"b", value="x")
            h.rev = c.call("KV.DeleteRange", key=b"b").header.revision
        done = False
        while not done:
            a = w.next()
            if not a:
                t.say(a)
                break
            for e in a.events:
                t.say("  " + " ".join(t.text(e).split()))
                done = done or e.kv.mod_revision == h.rev
        w.cancel()


def linearizable(request):
    """Without `serializable`, also inside transactions: such reads may lag behind on any member."""
    if isinstance(request, dict):
        return {k: linearizable(v) for k, v in request.items() if k != "serializable"}
    if isinstance(request, (list, tuple)):
        return [linearizable(v) for v in request]
    if hasattr(request, "DESCRIPTOR"):
        clear_serializable(request)
    return request


def clear_serializable(message):
    for field, value in message.ListFields():
        if field.name == "serializable":
            message.ClearField("serializable")
        elif field.message_type is not None:
            for part in value if field.label == field.LABEL_REPEATED else [value]:
                clear_serializable(part)


def add(seed, size=1):
    """With several members each step asks another one: what is acknowledged by one is seen by all."""
    @case("random-%d" % seed if size == 1 else "random-cluster-%d" % seed, size=size, timeout=60)
    def run(t):
        h = History(seed, tame=size > 1)
        for number in LEASES:
            t.channel().call("Lease.LeaseGrant", ID=number, TTL=3000)
        for _ in range(STEPS):
            name, request = h.step()
            if size > 1:
                request = linearizable(request)
            answer = t.channel(h.random.randrange(size)).call(name, **request)
            h.saw(name, request, answer)
            say(t, name, request, answer)
        watch_all(t, t.channel(size - 1), h, size - 1)
        if size > 1:
            rev = t.channel(0).call("KV.Range", key="x").header.revision
            hashes = set()
            for i in range(size):
                t.channel(i).call("KV.Range", key="x")
                hashes.add(t.channel(i).call("Maintenance.HashKV", revision=rev).hash)
            t.say("the members hold the same: %s" % (len(hashes) == 1))


for number in range(1, 9):
    add(number)
for number in range(1, 4):
    add(number, 3)
if os.environ.get("ETCD_RANDOM_SEEDS"):
    low, high = os.environ["ETCD_RANDOM_SEEDS"].split("-")
    for number in range(max(int(low), 9), int(high) + 1):
        add(number)
        add(number, 3)
