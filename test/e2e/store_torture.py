#!/usr/bin/env python3
"""Real members of the store, real faults: rounds of them under load, then proof that nothing was lost.

kvload writes, reads and watches all the time; each round does one thing to one or more members, undoes it, and waits until
writes go on and every member has caught up. At the end kvload holds every acknowledged write, every read and every watch
event against one history. Needs root for disks and namespaces and says what it left out without. Standard library only.
"""
import argparse, json, os, random, shutil, signal, subprocess, sys, tempfile, time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "torture"))
from cluster import Cluster  # noqa: E402

FAILPOINT_EXIT = 86
RECOVER_S = 40          # For writes to go on and all members to catch up once a fault is undone.
CRASH_POINTS = [        # Where a running member writes, sends, applies; "torn" where a write can be cut.
    "log.write=crash", "log.write=torn", "log.fsync=crash", "log.synced=crash", "log.segment.create=crash",
    "log.segment.allocate=crash", "log.segment.write=torn", "log.segment.fsync=crash", "log.segment.rename=crash",
    "log.segment.dirsync=crash", "log.trim=crash", "log.mark=torn", "snapshot.create=crash", "snapshot.write=torn",
    "snapshot.footer=torn", "snapshot.fsync=crash", "snapshot.rename=crash", "snapshot.dirsync=crash", "snapshot.prune=crash",
    "peer.send=crash", "peer.receive=crash", "store.vote=crash", "store.propose=crash", "store.apply=crash",
    "store.publish=crash", "store.answer=crash"]
START_POINTS = ["log.boot=crash", "log.recover.write=torn", "log.recover.fsync=crash", "log.write=torn@1", "log.segment.rename=crash@1",
                "peer.dial=crash", "snapshot.read=crash"]


class Torture:
    def __init__(self, a):
        self.a, self.rng = a, random.Random(a.seed)
        self.why = ""
        self.dir = a.dir or tempfile.mkdtemp(prefix="store-torture-")
        os.makedirs(self.dir, exist_ok=True)
        self.load, self.cluster, self.crashes, self.passed = None, None, 0, 0
        self.cluster = Cluster(a.program, a.kvload, a.members, self.dir, a.port, a.disk_mb, not a.loopback, a.tls, a.extra.split())
        self.m = self.cluster.members

    # --- the load
    def start_load(self):
        c = self.cluster
        self.status_file = os.path.join(self.dir, "load.json")
        args = [self.a.kvload, "run", "--endpoints", c.endpoints(), "--status-file", self.status_file,
                "--record-file", os.path.join(self.dir, "writes"), "--seed", self.a.seed, "--rate", self.a.rate,
                "--watchers", len(self.m), "--big-percent", self.a.big_percent]
        self.load_out = open(os.path.join(self.dir, "load.out"), "w+")
        self.load = subprocess.Popen([str(x) for x in c.network.prefix(c.network.hub) + args], stdout=self.load_out, stderr=subprocess.STDOUT)
        c.wait(60, "the load runs", lambda: self.seen()["acked"] > 20)

    def seen(self):
        if self.load.poll() is not None:
            raise RuntimeError("the load ended by itself")
        try:
            with open(self.status_file) as f:
                now = json.load(f)
        except (OSError, ValueError):
            return {"acked": 0, "refused": 0, "reads": 0, "silent_ms": 0, "violations": 0, "last_error": ""}
        if now["violations"]:
            raise RuntimeError("%d violations while running" % now["violations"])
        return now

    def hold(self, seconds):
        """Lets time go by; remembers the longest silence of writes."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.pause = max(self.pause, self.seen()["silent_ms"])
            time.sleep(0.1)

    def recovered(self):
        """Everything up, writing, and no member behind."""
        for m in self.m:
            if not m.running():
                raise RuntimeError("%s ended with %s by itself:\n%s" % (m.name, m.proc.returncode if m.proc else None, m.said()[-1500:]))
        c, before, start = self.cluster, self.seen()["acked"], time.monotonic()
        c.wait(RECOVER_S, "writes go on (%s)" % self.seen()["last_error"], lambda: self.note() and self.seen()["acked"] > before + 30)
        back = time.monotonic() - start

        def caught_up():
            self.note()
            all_ = c.status()
            return all(s["ok"] and not s["learner"] for s in all_) and max(s["rev"] for s in all_) - min(s["rev"] for s in all_) < 2000
        c.wait(RECOVER_S, "all members caught up", caught_up)
        return back

    def note(self):
        self.pause = max(self.pause, self.seen()["silent_ms"])
        return True

    # --- choosing
    def some(self, count=1, leader=None):
        """Members; the leader among them half the time, or as told."""
        lead = self.cluster.leader()
        rest = [m for m in self.m if m is not lead]
        self.rng.shuffle(rest)
        first = lead is not None and (self.rng.random() < 0.5 if leader is None else leader)
        return ([lead] + rest)[:count] if first else (rest + ([lead] if lead else []))[:count]

    def minority(self):
        return (len(self.m) - 1) // 2

    # --- the rounds; each returns what it did
    def kill(self, count, text):
        chosen = self.some(count)
        for m in chosen:
            m.kill()
        self.hold(self.rng.uniform(0.1, 2))
        self.rng.shuffle(chosen)
        for m in chosen:
            m.start()
            self.hold(self.rng.choice([0, 0, 0.3]))
        return text % ", ".join(m.name for m in chosen)

    def round_kill_one(self):
        return self.kill(1, "kill -9 of %s")

    def round_kill_majority(self):
        return self.kill(self.minority() + 1, "kill -9 of a majority: %s")

    def round_kill_all(self):
        return self.kill(len(self.m), "kill -9 of all: %s")

    def round_kill_again(self):
        m = self.some()[0]
        for _ in range(4):
            m.kill()
            m.start()
            self.hold(self.rng.uniform(0, 0.4))
        return "kill -9 of %s, four times as it starts" % m.name

    def round_stop(self):
        m = self.some()[0]
        m.kill(signal.SIGTERM)
        m.start()
        return "orderly restart of %s" % m.name

    def round_freeze(self):
        chosen = self.some(self.rng.choice([1, 1, self.minority() + 1]))
        for m in chosen:
            m.freeze()
        self.hold(self.rng.uniform(0.5, 4))
        for m in chosen:
            m.thaw()
        return "SIGSTOP and SIGCONT of %s" % ", ".join(m.name for m in chosen)

    def round_full_disk(self):
        c = self.cluster
        chosen = self.some(self.rng.choice([1, 1, self.minority() + 1, len(self.m)]))
        brim = self.rng.random() < 0.5
        before = self.seen()
        for m in chosen:
            m.fill(0 if brim else 20 << 20)
        try:
            c.wait(20, "writes are refused for want of room", lambda: self.note() and self.seen()["refused"] > before["refused"] + 10)
            error = self.seen()["last_error"]
            if "database space exceeded" not in error:
                raise RuntimeError("a full disk was told as: " + error)
            reads = self.seen()["reads"]
            c.wait(10, "reads go on while the disk is full", lambda: self.seen()["reads"] > reads + 20)
            c.wait(10, "the alarm is shown", lambda: any("%s:NOSPACE" % m.id in s.get("alarms", []) for s in c.status() for m in chosen))
        finally:
            for m in chosen:
                m.unfill()
        c.wait(30, "the alarm clears by itself", lambda: self.note() and all(not s.get("alarms", ["?"]) for s in c.status()))
        return "disk of %s full%s: refused, read, alarm, cleared" % (", ".join(m.name for m in chosen), " to the brim" if brim else "")

    def round_full_start(self):
        """A member starts on a disk that is full to the last byte, or says that it cannot, and does once there is room."""
        m, c = self.some()[0], self.cluster
        m.kill()
        m.tear(self.rng) # So that it wants a new segment.
        m.fill(0)
        m.start()
        try:
            code = m.proc.wait(3)
            said = m.said()
            m.proc = None
            if code == 0 or "No space left on device" not in said:
                raise RuntimeError("%s ended with %d and does not say that its disk is full:\n%s" % (m.name, code, said[-1500:]))
            text = "said so and ended"
        except subprocess.TimeoutExpired:
            text = "ran"
        finally:
            m.unfill()
        if m.proc is None:
            m.start()
        c.wait(30, "the alarm clears by itself", lambda: self.note() and all(s["ok"] and not s["alarms"] for s in c.status()))
        return "%s started on a full disk: %s" % (m.name, text)

    def refuse_and_rejoin(self, m, place):
        """A member with damaged data ends with a message that says where and what to do; then that is done."""
        c, others = self.cluster, [x for x in self.m if x is not m]
        m.start()
        try:
            code = m.proc.wait(20)
        except subprocess.TimeoutExpired:
            return False
        said = m.said()
        m.proc = None
        missing = [w for w in place + ("remove", "move", "member") if w not in said]
        if code <= 0 or missing:
            raise RuntimeError("%s ended with %d and does not say %s:\n%s" % (m.name, code, missing, said[-1500:]))
        c.wait(20, "member remove", lambda: self.change(others, "member-remove", m.id, lambda x: x["id"] == m.id, False))
        m.forget()
        m.state = "existing"
        c.wait(20, "member add", lambda: self.change(others, "member-add", m.peer, lambda x: x["peer"] == m.peer, True))
        m.start()
        c.wait(RECOVER_S, "%s is back" % m.name, lambda: c.status([m])[0]["ok"])
        m.id = c.status([m])[0]["id"]
        return True

    def round_damage(self):
        m = self.some()[0]
        m.kill()
        place = m.damage(self.rng)
        if place is None:
            m.start()
            return "the log of %s is too short to damage" % m.name
        if not self.refuse_and_rejoin(m, (place[0], "offset")):
            raise RuntimeError("%s runs with damage at %s, offset %d" % (m.name, *place))
        return "log of %s damaged in %s at %d: refused, removed, moved away, added, joined" % (m.name, *place)

    def round_damaged_snapshot(self):
        """The older snapshot serves if the log still continues it."""
        m = self.some()[0]
        m.kill()
        path = m.damage_snapshot(self.rng)
        if path is None:
            m.start()
            return "%s has no snapshot to damage" % m.name
        again = self.refuse_and_rejoin(m, (path,))
        return "newest snapshot of %s damaged: %s" % (m.name, "refused, removed, moved away, added, joined" if again else "started with the older one")

    def change(self, others, verb, what, is_it, there):
        """Asks for a change of members. One that seemed to fail, for its answer was lost, may have been made."""
        try:
            self.cluster.ask(verb, what, members=others)
            return True
        except RuntimeError as e:
            self.why = str(e)
        try:
            listed = [json.loads(line) for line in self.cluster.ask("member-list", members=others)]
            return any(is_it(x) for x in listed) == there
        except RuntimeError:
            return False

    def round_torn(self):
        m = self.some()[0]
        m.kill()
        done = m.tear(self.rng)
        m.start()
        return "torn write at the end of the log of %s%s" % (m.name, "" if done else " (no room for it)")

    def round_partition(self):
        chosen, c = self.some(self.minority()), self.cluster
        inside = [self.m.index(m) for m in chosen]
        outside = [i for i in range(len(self.m)) if i not in inside]
        if c.network.hub is None:
            for m in chosen:
                m.fail("peer.send=drop;peer.receive=drop")
            how = "by failpoint"
        else:
            how = self.rng.choice(["both ways", "incoming only", "outgoing only", "from one other", "link down"])
            for i in inside:
                if how == "link down":
                    c.network.link(i, False)
                else:
                    c.network.cut(i, outside[:1] if how == "from one other" else outside, how != "outgoing only", how != "incoming only")
        self.hold(self.rng.uniform(1, 5))
        if c.network.hub:
            c.network.heal()
        for m in chosen:
            m.fail("")
        return "partition of %s, %s" % (", ".join(m.name for m in chosen), how)

    def round_split_all(self):
        c = self.cluster
        for i, m in enumerate(self.m):
            if c.network.hub is None:
                m.fail("peer.send=drop;peer.receive=drop")
            else:
                c.network.cut(i, [j for j in range(len(self.m)) if j != i])
        self.hold(self.rng.uniform(1, 3))
        if c.network.hub:
            c.network.heal()
        for m in self.m:
            m.fail("")
        return "every member cut off from every other one"

    def round_loss(self):
        for m in self.m:
            m.fail("peer.send=drop%%%d;peer.receive=drop%%%d;peer.accept=drop%%30" % (self.rng.randrange(1, 30), self.rng.randrange(1, 15)))
        self.hold(self.rng.uniform(1, 3))
        for m in self.m:
            m.fail("")
        return "messages lost between all"

    def crash_at(self, m, spec, seconds):
        """True when the member reached the failpoint."""
        try:
            code = m.proc.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if code != FAILPOINT_EXIT:
            raise RuntimeError("%s with %s ended with %d:\n%s" % (m.name, spec, code, m.said()[-1500:]))
        self.crashes += 1
        m.proc = None
        return True

    def round_crash_point(self):
        m, spec = self.some()[0], self.rng.choice(CRASH_POINTS)
        if "store.vote" in spec:
            m = self.some(leader=False)[0]
        rare = any(w in spec for w in ("segment", "snapshot", "trim", "mark", "vote"))
        text = "%s@%d" % (spec, 1 if rare else self.rng.choice([1, 2, 3, 5, 20]))
        m.fail(text)
        if "store.vote" in spec:
            lead = self.cluster.leader()
            if lead:
                lead.freeze()
        self.hold(0.2)
        reached = self.crash_at(m, text, 12 if rare else 4)
        for x in self.m:
            if x.stopped:
                x.thaw()
        if not reached:
            m.kill()
        m.fail("")
        m.start()
        return "%s: %s%s" % (m.name, text, "" if reached else " was not reached, killed")

    def round_crash_start(self):
        m, spec = self.some()[0], self.rng.choice(START_POINTS)
        m.kill()
        m.fail(spec)
        m.start()
        reached = self.crash_at(m, spec, 3)
        if not reached:
            m.kill()
        m.fail("")
        m.start()
        return "%s while starting: %s%s" % (m.name, spec, "" if reached else " was not reached, killed")

    def round_slow_disk(self):
        chosen = self.some(self.rng.choice([1, 1, len(self.m)]))
        ms = self.rng.choice([30, 150, 600, 1500])
        for m in chosen:
            m.fail("log.fsync=delay(%d)" % ms)
        self.hold(self.rng.uniform(1.5, 4))
        for m in chosen:
            m.fail("")
        return "syncs of %s take %d ms" % (", ".join(m.name for m in chosen), ms)

    def round_bad_disk(self):
        m = self.some()[0]
        spec = self.rng.choice(["log.fsync=eio%20", "log.write=eio%20", "log.write=short", "snapshot.*=eio%50", "log.segment.*=enospc%60",
                                "log.trim=eio;snapshot.prune=eio", "snapshot.write=enospc"])
        m.fail(spec)
        self.hold(self.rng.uniform(1.5, 4))
        m.fail("")
        return "%s with %s" % (m.name, spec)

    def round_mix(self):
        """Several at once: losses, slow and failing disks, and a kill in the middle of it."""
        specs = ["peer.send=drop%15;peer.receive=drop%10", "log.fsync=delay(120)", "log.fsync=eio%10", "log.write=short;peer.dial=eio%50",
                 "snapshot.*=eio%30;peer.send=delay(5)%20"]
        for m in self.m:
            m.fail(self.rng.choice(specs))
        self.hold(self.rng.uniform(0.5, 1.5))
        chosen = self.some(self.rng.randrange(1, len(self.m) + 1))
        for m in chosen:
            m.kill()
        self.hold(self.rng.uniform(0, 0.5))
        for m in chosen:
            m.start()
        self.hold(self.rng.uniform(0.5, 2))
        for m in self.m:
            m.fail("")
        for m in chosen: # A disk that fails while a member starts ends it; its supervisor would try again.
            if not m.running() and m.proc.returncode == 1 and "Input/output error" in m.said():
                m.start()
        return "losses, slow and failing disks, kill -9 of %s" % ", ".join(m.name for m in chosen)

    def round_snapshot(self):
        """A member that was away for long needs a snapshot; one of the two ends dies while it is sent."""
        c, lead = self.cluster, self.cluster.leader()
        m = self.some(leader=False)[0]
        m.kill()
        self.hold(self.a.away_s)
        spec = self.rng.choice(["snapshot.chunk.write=crash@1", "snapshot.chunk.write=crash@2", "snapshot.install=crash", "snapshot.install.log=crash",
                                "snapshot.install.state=crash", "sender", "kill"])
        reached = False
        if spec == "sender" and lead and lead.running():
            lead.fail("peer.send.chunk=crash@2")
            m.start()
            reached = self.crash_at(lead, "peer.send.chunk=crash@2", 6)
            lead.fail("")
            if reached:
                lead.start()
        elif spec == "kill":
            m.start()
            self.hold(self.rng.uniform(0, 0.5))
            m.kill()
            m.start()
        else:
            m.fail(spec)
            m.start()
            reached = self.crash_at(m, spec, 6)
            m.fail("")
            if reached:
                m.start()
        c.wait(RECOVER_S, "%s is back" % m.name, lambda: c.status([m])[0]["ok"])
        return "%s away for %d s, then %s%s" % (m.name, self.a.away_s, spec, "" if reached or spec == "kill" else " (not reached)")

    def rounds(self):
        """The kinds of rounds, each as often as the next, in an order of chance."""
        kinds = [self.round_kill_one, self.round_kill_majority, self.round_kill_all, self.round_kill_again, self.round_stop, self.round_freeze,
                 self.round_damage, self.round_damaged_snapshot, self.round_mix, self.round_torn, self.round_partition, self.round_split_all, self.round_loss, self.round_crash_point,
                 self.round_crash_point, self.round_crash_start, self.round_slow_disk, self.round_bad_disk, self.round_snapshot]
        if self.cluster.disks:
            kinds += [self.round_full_disk, self.round_full_start]
        if self.a.kinds:
            wanted = ["round_" + k for k in self.a.kinds.split(",")]
            kinds = [k for k in kinds if k.__name__ in wanted]
        # A short run takes the first ones, which are the ones that matter most.
        first = [k for n in ("kill_all", "damage", "full_disk", "partition", "snapshot", "crash_point", "torn", "freeze", "bad_disk", "kill_majority")
                 for k in dict.fromkeys(kinds) if k.__name__ == "round_" + n]
        todo = first[:self.a.rounds]
        while len(todo) < self.a.rounds:
            deck = list(kinds)
            self.rng.shuffle(deck)
            todo += deck
        return todo[:self.a.rounds]

    # --- the whole
    def torture(self):
        c = self.cluster
        for text in c.left_out:
            print("left out: " + text, flush=True)
        for m in self.m:
            m.start()
        c.wait(60, "a leader", c.leader)
        for m, s in zip(self.m, c.wait(30, "every member answers", lambda: (lambda x: x if all(s["ok"] for s in x) else None)(c.status()))):
            m.id = s["id"]
        self.start_load()
        end = time.monotonic() + self.a.limit
        for number, kind in enumerate(self.rounds(), 1):
            if time.monotonic() > end:
                raise RuntimeError("the time of %d s is over after %d rounds" % (self.a.limit, number - 1))
            self.pause, start = 0, time.monotonic()
            self.doing = kind.__name__
            text = kind()
            self.doing = text
            back = self.recovered()
            print("round %d: %s; longest pause %.1f s, writes %.1f s after its end, %.1f s in all; %d acknowledged" %
                  (number, text, self.pause / 1000, back, time.monotonic() - start, self.seen()["acked"]), flush=True)
            self.hold(self.rng.uniform(0.1, 0.5))
            self.passed += 1
        return self.verdict()

    def verdict(self):
        self.load.send_signal(signal.SIGTERM)
        code = self.load.wait(200)
        self.load_out.seek(0)
        sys.stdout.write(self.load_out.read())
        hashes = [json.loads(line) for line in self.cluster.ask("hash", check=False)]
        same = len({h["hash"] for h in hashes}) == 1 and len(hashes) == len(self.m)
        print("%d crashes at failpoints; the members' hashes %s" % (self.crashes, "agree" if same else "DIFFER: %s" % hashes))
        ends = [m.kill(signal.SIGTERM) for m in self.m]
        orderly = all(e in (0, -signal.SIGTERM) for e in ends) # etcd, which this can run as well, ends by the signal.
        if not orderly:
            print("members ended with %s when told to" % ends)
        return code == 0 and same and orderly

    def close(self, failed):
        if self.load is not None and self.load.poll() is None:
            self.load.kill()
            self.load.wait()
        if failed:
            for m in self.m:
                with open(m.log, "rb") as f:
                    tail = f.read()[-4000:].decode("utf-8", "replace").splitlines()[-25:]
                print("--- last lines of %s" % m.name)
                print("\n".join(line[:300] for line in tail))
        if self.a.keep:
            for m in self.m: # What is on a tmpfs would go.
                m.kill()
                shutil.copytree(m.disk, os.path.join(m.home, "kept"), dirs_exist_ok=True)
        self.cluster.close()
        if self.a.keep:
            print("kept: " + self.dir)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--program", required=True, help="trireme-raftstore, or another program with etcd's flags")
    p.add_argument("--kvload", required=True)
    p.add_argument("--members", type=int, default=3)
    p.add_argument("--rounds", type=int, default=10)
    p.add_argument("--limit", type=int, default=0, help="seconds for all rounds; 0: 25 for each and 60")
    p.add_argument("--seed", type=int, default=int(time.time()))
    p.add_argument("--kinds", default="", help="only these, by the names behind round_")
    p.add_argument("--dir", default="", help="must not exist; default: a temporary one")
    p.add_argument("--port", type=int, default=0, help="first of two for each member on loopback; 0: any free ones")
    p.add_argument("--loopback", action="store_true", help="no namespaces")
    p.add_argument("--tls", action="store_true", help="between members")
    p.add_argument("--disk-mb", type=int, default=224)
    p.add_argument("--rate", type=int, default=300)
    p.add_argument("--big-percent", type=int, default=10)
    p.add_argument("--away-s", type=float, default=6, help="how long a member is away to need a snapshot")
    p.add_argument("--extra", default="--snapshot-count 1", help="more flags for members")
    p.add_argument("--keep", action="store_true", help="leave the folder, with what was on the disks")
    a = p.parse_args()
    a.limit = a.limit or a.rounds * 25 + 60
    signal.signal(signal.SIGTERM, lambda *x: sys.exit(130))
    print("%d members, %d rounds, --seed %d" % (a.members, a.rounds, a.seed), flush=True)
    t = Torture(a)
    good = False
    try:
        good = t.torture()
    except (RuntimeError, OSError, subprocess.SubprocessError) as e:
        print("FAILED in %s: %s %s" % (getattr(t, "doing", "the beginning"), e, t.why))
        if t.load is not None:
            t.load_out.seek(0)
            print(t.load_out.read())
            print("\n".join(t.cluster.ask("status", check=False)))
            with open(t.status_file) as f:
                print(f.read())
    finally:
        t.close(not good)
    print("%d passed, %d failed" % (t.passed + good, not good)) # Rounds, and the verdict.
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
