"""Lease, Lock and Election through gRPC; deadlines and cancelling."""
import time

import rpc
from transcript import case


def near(t, answer):
    """A lease's answer, whose remaining time may have fallen by a little."""
    if isinstance(answer, rpc.Failure):
        t.say(answer)
        return
    t.say("ID %d granted %d left %s keys %s rev %d" % (answer.ID, answer.grantedTTL, answer.TTL if answer.TTL < 0 else
          answer.grantedTTL - 3 <= answer.TTL <= answer.grantedTTL, sorted(answer.keys), answer.header.revision))


@case("grpc-lease")
def lease(t):
    t.rpc("Lease.LeaseGrant", TTL=100, ID=5)
    t.rpc("Lease.LeaseGrant", TTL=100, ID=5)
    t.rpc("Lease.LeaseGrant", TTL=0, ID=6)
    t.rpc("Lease.LeaseGrant", TTL=-3, ID=7)
    t.rpc("Lease.LeaseGrant", TTL=9000000001, ID=8)
    t.rpc("Lease.LeaseGrant", TTL=300, ID=-9)
    r = t.rpc("Lease.LeaseGrant", TTL=200, show=False)
    t.say("%s %d %s" % (r.ID > 0, r.TTL, r.error))
    for key, number in (("k2", 5), ("k1", 5), ("k3", r.ID)):
        t.rpc("KV.Put", key=key, value="v", lease=number, show=False)
    near(t, t.rpc("Lease.LeaseTimeToLive", ID=5, keys=True, show=False))
    near(t, t.rpc("Lease.LeaseTimeToLive", ID=5, show=False))
    near(t, t.rpc("Lease.LeaseTimeToLive", ID=77, keys=True, show=False))
    near(t, t.rpc("Lease.LeaseTimeToLive", ID=0, keys=True, show=False))
    answer = t.rpc("Lease.LeaseLeases", show=False)
    ids = sorted(x.ID for x in answer.leases if x.ID in (5, -9, r.ID))
    t.say(len(ids))
    t.rpc("Lease.LeaseRevoke", ID=77)
    t.rpc("Lease.LeaseRevoke", ID=0)
    t.rpc("Lease.LeaseRevoke", ID=5)
    t.rpc("KV.Range", key="k", range_end="l")
    t.rpc("Lease.LeaseRevoke", ID=r.ID, show=False)
    t.rpc("KV.Range", key="k", range_end="l")


@case("grpc-lease-keep-alive")
def keep_alive(t):
    c = t.channel()
    c.call("Lease.LeaseGrant", TTL=100, ID=5)
    c.call("Lease.LeaseGrant", TTL=200, ID=6)
    k = t.stream("Lease.LeaseKeepAlive")
    for number in (5, 6, 5, 77, 0, 6):
        k.send(ID=number)
        t.say_answer(k.next())
    c.call("Lease.LeaseRevoke", ID=6)
    k.send(ID=6)
    t.say_answer(k.next())
    k.end_requests()
    t.say_answer(k.next())


@case("grpc-lease-expiry")
def expiry(t):
    """Both keys of an expired lease go in one revision."""
    c = t.channel()
    c.call("Lease.LeaseGrant", TTL=1, ID=5)
    for key in "b", "a", "c":
        c.call("KV.Put", key=key, value="v", lease=5)
    w = t.stream("Watch.Watch")
    w.send(create_request={"key": "a", "range_end": "z"})
    w.next()
    a = w.next(15)
    t.say_answer(a)
    t.rpc("KV.Range", key="a", range_end="z")
    w.cancel()


@case("grpc-lease-kept", size=3)
def kept(t):
    """Kept alive through followers, a lease outlives its time; then it runs out."""
    c = t.channel()
    c.call("Lease.LeaseGrant", TTL=2, ID=5)
    c.call("KV.Put", key="k", value="v", lease=5)
    streams = [t.stream("Lease.LeaseKeepAlive", member=i) for i in range(3)]
    end = time.monotonic() + 4
    i = 0
    while time.monotonic() < end:
        streams[i % 3].send(ID=5)
        a = streams[i % 3].next()
        if not a or a.TTL != 2:
            t.say(a)
            break
        i += 1
        time.sleep(0.3)
    t.say(len(c.call("KV.Range", key="k").kvs))
    near(t, t.channel(1).call("Lease.LeaseTimeToLive", ID=5, keys=True))
    end = time.monotonic() + 15
    while time.monotonic() < end and len(c.call("KV.Range", key="k").kvs):
        time.sleep(0.05)
    t.say(len(c.call("KV.Range", key="k").kvs))
    for i in range(3):
        t.say(len(t.channel(i).call("Lease.LeaseLeases").leases))
        near(t, t.channel(i).call("Lease.LeaseTimeToLive", ID=5))


@case("grpc-lock")
def lock(t):
    c = t.channel()
    for number in (5, 6, 7):
        c.call("Lease.LeaseGrant", TTL=100, ID=number)
    t.rpc("Lock.Lock", name="l", lease=5)
    t.rpc("Lock.Lock", name="l", lease=5)
    second = c.future("Lock.Lock", name="l", lease=6)
    while c.call("KV.Range", key="l/", range_end="l0", count_only=True).count < 2:
        time.sleep(0.01)
    third = c.future("Lock.Lock", name="l", lease=7)
    while c.call("KV.Range", key="l/", range_end="l0", count_only=True).count < 3:
        time.sleep(0.01)
    t.say("waiting: %s %s" % (not second.done(), not third.done()))
    # The one in the middle gives up; the key of its lease goes with the lease.
    second.cancel()
    c.call("Lease.LeaseRevoke", ID=6)
    t.rpc("Lock.Unlock", key="l/5")
    t.say_answer(third.result())
    t.rpc("KV.Range", key="l/", range_end="l0")
    t.rpc("Lock.Unlock", key="l/7")
    t.rpc("Lock.Unlock", key="l/7")
    t.rpc("Lock.Unlock", key="nonsense")
    t.rpc("Lock.Lock", name="l", lease=99)
    t.rpc("Lock.Lock", name="", lease=5)
    t.rpc("KV.Range", key="\0", range_end="\0")
    # Without a lease the server makes one.
    r = c.call("Lock.Lock", name="free")
    t.say(r.key.decode().startswith("free/") if r else r)


def observed(t, name, count, /, **values):
    stream = t.channel().observe(name, **values)
    got = []
    for answer in stream:
        got.append(answer.kv.value.decode())
        if len(got) == count:
            break
    stream.cancel()
    return got


@case("grpc-election")
def election(t):
    c = t.channel()
    for number in (5, 6):
        c.call("Lease.LeaseGrant", TTL=100, ID=number)
    t.rpc("Election.Leader", name="e")
    first = t.rpc("Election.Campaign", name="e", lease=5, value="one")
    t.rpc("Election.Leader", name="e")
    second = c.future("Election.Campaign", name="e", lease=6, value="two")
    while c.call("KV.Range", key="e/", range_end="e0", count_only=True).count < 2:
        time.sleep(0.01)
    t.rpc("Election.Campaign", name="e", lease=5, value="one again")
    leader = {"name": "e", "key": first.leader.key, "rev": first.leader.rev, "lease": 5}
    t.rpc("Election.Proclaim", leader=leader, value="one more")
    t.rpc("Election.Leader", name="e")
    t.say(observed(t, "Election.Observe", 1, name="e"))
    t.rpc("Election.Proclaim", leader=dict(leader, rev=1), value="no")
    t.rpc("Election.Resign", leader=leader)
    t.say_answer(second.result())
    t.rpc("Election.Leader", name="e")
    t.rpc("Election.Resign", leader=leader)
    t.rpc("Election.Resign")
    t.rpc("Election.Proclaim", value="no")
    t.rpc("Election.Proclaim", leader=leader, value="no")
    t.rpc("Election.Campaign", name="e2", lease=99, value="x")
    t.rpc("KV.Range", key="e", range_end="f")


@case("grpc-election-observe")
def observe(t):
    c = t.channel()
    c.call("Lease.LeaseGrant", TTL=100, ID=5)
    stream = c.observe("Election.Observe", name="e")
    first = c.call("Election.Campaign", name="e", lease=5, value="one")
    t.say(next(stream).kv.value)
    leader = {"name": "e", "key": first.leader.key, "rev": first.leader.rev, "lease": 5}
    for i in range(3):
        c.call("Election.Proclaim", leader=leader, value="value %d" % i)
        t.say_answer(next(stream))
    stream.cancel()


@case("grpc-deadlines")
def deadlines(t):
    """What waits ends with the client's deadline or cancelling, and leaves nothing behind that should not be."""
    c = t.channel()
    c.call("Lease.LeaseGrant", TTL=100, ID=5)
    c.call("Lease.LeaseGrant", TTL=100, ID=6)
    c.call("Lock.Lock", name="l", lease=5)
    t.say(c.call("Lock.Lock", name="l", lease=6, timeout=0.5).code)
    # A waiter that gave up takes its key away.
    end = time.monotonic() + 5
    while time.monotonic() < end and c.call("KV.Range", key="l/", range_end="l0", count_only=True).count > 1:
        time.sleep(0.02)
    t.rpc("KV.Range", key="l/", range_end="l0", keys_only=True)
    t.say_answer(c.call("Election.Leader", name="none", timeout=0.5))
    w = t.stream("Watch.Watch")
    w.send(create_request={"key": "k"})
    w.next()
    w.cancel()
    t.say_answer(w.next())
    t.rpc("KV.Put", key="k", value="v")
