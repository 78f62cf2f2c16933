"""Members of a store as processes, with everything that can be done to them.

Each member has a folder; as root also a small disk (tmpfs) and a network namespace of its own, tied to the others by a
bridge in a namespace for the clients. What cannot be had (an ordinary user) is said in `left_out`.
"""
import json, os, shutil, signal, socket, subprocess, time


def run(*args, check=True, **kw):
    return subprocess.run([str(a) for a in args], check=check, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)


def free_ports(count, base=0):
    """Ports nobody listens on now, one after another from base, or where the system likes."""
    if base:
        return list(range(base, base + count))
    held, ports = [], []
    for _ in range(count):
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        held.append(s)
        ports.append(s.getsockname()[1])
    for s in held:
        s.close()
    return ports


class Network:
    """A namespace for the clients with a bridge, and one for each member. None without root: loopback for all."""

    def __init__(self, count, tag):
        self.names, self.hub = [], None
        if os.geteuid() != 0:
            return
        self.hub = "tt%sh" % tag
        try:
            run("ip", "netns", "add", self.hub)
            self.inside(self.hub, "ip", "link", "set", "lo", "up")
            self.inside(self.hub, "ip", "link", "add", "br0", "type", "bridge")
            self.inside(self.hub, "ip", "addr", "add", "10.99.0.254/24", "dev", "br0")
            self.inside(self.hub, "ip", "link", "set", "br0", "up")
            for i in range(count):
                name = "tt%sm%d" % (tag, i + 1)
                self.names.append(name)
                run("ip", "netns", "add", name)
                self.inside(name, "ip", "link", "set", "lo", "up")
                self.inside(self.hub, "ip", "link", "add", "v%d" % i, "type", "veth", "peer", "name", "eth0", "netns", name)
                self.inside(self.hub, "ip", "link", "set", "v%d" % i, "master", "br0", "up")
                self.inside(name, "ip", "addr", "add", "%s/24" % self.address(i), "dev", "eth0")
                self.inside(name, "ip", "link", "set", "eth0", "up")
                self.inside(name, "nft", "add table inet torture; add chain inet torture in { type filter hook input priority 0; };"
                            " add chain inet torture out { type filter hook output priority 0; }")
        except (OSError, subprocess.CalledProcessError) as e:
            reason = getattr(e, "stderr", None) or str(e)
            self.close()
            self.hub, self.names = None, []
            self.reason = reason.strip()

    reason = "needs root"

    def address(self, i):
        return "10.99.0.%d" % (i + 1) if self.hub else "127.0.0.1"

    def prefix(self, name):
        return ["nsenter", "--net=/run/netns/" + name] if name else []

    def inside(self, name, *args):
        return run(*self.prefix(name), *args)

    def cut(self, i, others, incoming=True, outgoing=True):
        """Member i and the others do not hear each other any more; with one direction only: not that one."""
        for j in others:
            if incoming:
                self.inside(self.names[i], "nft", "add rule inet torture in ip saddr %s drop" % self.address(j))
            if outgoing:
                self.inside(self.names[i], "nft", "add rule inet torture out ip daddr %s drop" % self.address(j))

    def link(self, i, up):
        self.inside(self.hub, "ip", "link", "set", "v%d" % i, "up" if up else "down")

    def heal(self):
        for i, name in enumerate(self.names):
            self.inside(name, "nft", "flush table inet torture")
            self.link(i, True)

    def close(self):
        for name in self.names + ([self.hub] if self.hub else []):
            run("ip", "netns", "del", name, check=False)


class Member:
    def __init__(self, cluster, i, client_port, peer_port):
        self.c, self.i, self.name = cluster, i, "m%d" % (i + 1)
        self.home = os.path.join(cluster.dir, self.name)
        self.disk = os.path.join(self.home, "disk")
        self.data = os.path.join(self.disk, "data")
        self.points = os.path.join(self.home, "failpoints")
        self.log = os.path.join(self.home, "log")
        host = cluster.network.address(i)
        self.client, self.peer = "http://%s:%d" % (host, client_port), "%s://%s:%d" % ("https" if cluster.tls else "http", host, peer_port)
        self.proc, self.stopped, self.id, self.state, self.lost = None, False, None, "new", 0
        os.makedirs(self.disk)
        self.mounted = False
        if cluster.disks:
            run("mount", "-t", "tmpfs", "-o", "size=%dm,mode=700" % cluster.disk_mb, "store-torture", self.disk)
            self.mounted = True
        self.fail("")

    # --- life
    def start(self):
        c = self.c
        members = c.members if self.state == "new" else [m for m in c.members if m is self or m.state != "away"]
        args = [c.program, "--name", self.name, "--data-dir", self.data,
                "--listen-client-urls", self.client, "--advertise-client-urls", self.client,
                "--listen-peer-urls", self.peer, "--initial-advertise-peer-urls", self.peer,
                "--initial-cluster", ",".join("%s=%s" % (m.name, m.peer) for m in members),
                "--initial-cluster-state", "new" if self.state == "new" else "existing",
                "--heartbeat-interval", "100", "--election-timeout", "1000", "--log-level", "info"] + c.extra
        if c.tls:
            args += ["--peer-cert-file", c.pem("member.crt"), "--peer-key-file", c.pem("member.key"),
                     "--peer-trusted-ca-file", c.pem("ca.crt"), "--peer-client-cert-auth"]
        env = dict(os.environ, TRIREME_FAILPOINTS="file:" + self.points)
        with open(self.log, "ab") as out:
            self.log_from = out.tell()
            ns = c.network.names[self.i] if c.network.hub else None
            self.proc = subprocess.Popen(c.network.prefix(ns) + args, stdout=out, stderr=out, env=env, cwd=self.home, start_new_session=True)
        self.stopped = False

    def running(self):
        return self.proc is not None and self.proc.poll() is None

    def kill(self, number=signal.SIGKILL):
        """Ends it; the exit code, negative for a signal."""
        if self.proc is None:
            return None
        if self.proc.poll() is None:
            if self.stopped:
                os.kill(self.proc.pid, signal.SIGCONT)
            os.kill(self.proc.pid, number)
        code, self.proc, self.stopped = self.proc.wait(30), None, False
        return code

    def freeze(self):
        os.kill(self.proc.pid, signal.SIGSTOP)
        self.stopped = True

    def thaw(self):
        if self.running():
            os.kill(self.proc.pid, signal.SIGCONT)
        self.stopped = False

    def said(self):
        """What it wrote since its last start."""
        with open(self.log, "rb") as f:
            f.seek(self.log_from)
            return f.read().decode("utf-8", "replace")

    def fail(self, spec):
        with open(self.points + ".new", "w") as f:
            f.write(spec)
        os.replace(self.points + ".new", self.points)

    # --- its disk
    def fill(self, leave_bytes):
        """Takes all room but so much."""
        st = os.statvfs(self.disk)
        want = st.f_bavail * st.f_frsize - leave_bytes
        fd = os.open(os.path.join(self.disk, "filler"), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            if want > 0:
                os.posix_fallocate(fd, 0, want)
        finally:
            os.close(fd)

    def unfill(self):
        if os.path.exists(os.path.join(self.disk, "filler")):
            os.unlink(os.path.join(self.disk, "filler"))

    def segments(self):
        return sorted(os.path.join(self.data, n) for n in os.listdir(self.data) if n.startswith("log-") and n.endswith(".seg"))

    def batches(self, path):
        """(offset, bytes) of each batch in a log segment, and where the next one would stand."""
        with open(path, "rb") as f:
            raw = f.read()
        found, at, magic, seq = [], 512, raw[512:516], None
        while at + 40 <= len(raw) and raw[at:at + 4] == magic and magic != bytes(4):
            number = int.from_bytes(raw[at + 8:at + 16], "little")
            size = 40 + int.from_bytes(raw[at + 24:at + 28], "little")
            if seq is not None and number != seq + 1 or at + size > len(raw):
                break
            found.append((at, size))
            seq, at = number, at + size
        return found, at

    def damage(self, rng):
        """Flips a bit in a batch that is known to be durable; (file, offset of the batch) or None."""
        places = []
        files = self.segments()
        for path in files:
            found, _ = self.batches(path)
            places += [(path, p) for p in (found[:-3] if path == files[-1] else found)]
        if not places:
            return None
        path, (offset, size) = rng.choice(places)
        self.flip(path, offset + rng.randrange(8, size), rng)
        return os.path.basename(path), offset

    def damage_snapshot(self, rng):
        """Flips a bit of the newest snapshot; its name, or None."""
        folder = os.path.join(self.data, "snapshots")
        names = sorted(n for n in os.listdir(folder) if n.endswith(".snap")) if os.path.isdir(folder) else []
        if not names:
            return None
        path = os.path.join(folder, names[-1])
        self.flip(path, rng.randrange(os.path.getsize(path)), rng)
        return names[-1]

    def flip(self, path, at, rng):
        with open(path, "r+b") as f:
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ (1 << rng.randrange(8))]))

    def tear(self, rng):
        """Leaves the beginning of one more write behind the last one, as a power cut would."""
        path = self.segments()[-1]
        found, end = self.batches(path)
        room = os.path.getsize(path) - end
        if not found or room < 64:
            return False
        offset, size = found[-1]
        with open(path, "r+b") as f:
            f.seek(offset)
            like = bytearray(f.read(size))
            like[8:16] = (int.from_bytes(like[8:16], "little") + 1).to_bytes(8, "little")
            part = like[:rng.randrange(1, min(size, room) + 1)] if rng.random() < 0.5 else rng.randbytes(rng.randrange(1, min(3000, room)))
            f.seek(end)
            f.write(part)
        return True

    def forget(self):
        """Moves its data away, as the operator is told to."""
        self.lost += 1
        away = "%s.away-%d" % (self.data, self.lost)
        os.rename(self.data, away)
        shutil.rmtree(away)


class Cluster:
    def __init__(self, program, kvload, count, work, base_port=0, disk_mb=224, namespaces=True, tls=False, extra=()):
        self.program, self.kvload, self.dir, self.disk_mb, self.extra = program, kvload, work, disk_mb, list(extra)
        self.members, self.left_out = [], []
        self.network = Network(count if namespaces else 0, "%x" % os.getpid()) if namespaces else Network.__new__(Network)
        if not namespaces:
            self.network.names, self.network.hub, self.network.reason = [], None, "not asked for"
        self.disks = os.geteuid() == 0
        if self.network.hub is None:
            self.left_out.append("partitions in network namespaces (%s): members lose messages by failpoint instead" % self.network.reason)
        if not self.disks:
            self.left_out.append("full disks (mounting a small one needs root)")
        self.tls = tls
        try:
            if tls:
                self.make_certificates(count)
            same = self.network.hub is None
            ports = free_ports(2 * count, base_port) if same else [2379, 2380] * count
            for i in range(count):
                self.members.append(Member(self, i, ports[2 * i], ports[2 * i + 1]))
        except BaseException:
            self.close()
            raise

    def pem(self, name):
        return os.path.join(self.dir, "pki", name)

    def make_certificates(self, count):
        os.makedirs(os.path.join(self.dir, "pki"))
        names = ",".join(["IP:127.0.0.1"] + ["IP:" + self.network.address(i) for i in range(count)])
        with open(self.pem("ext"), "w") as f:
            f.write("subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n" % names)
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        run("openssl", "req", "-x509", *key, "-keyout", self.pem("ca.key"), "-out", self.pem("ca.crt"), "-subj", "/CN=torture-ca", "-days", "2")
        run("openssl", "req", *key, "-keyout", self.pem("member.key"), "-out", self.pem("member.csr"), "-subj", "/O=system:trireme:members/CN=member")
        run("openssl", "x509", "-req", "-in", self.pem("member.csr"), "-CA", self.pem("ca.crt"), "-CAkey", self.pem("ca.key"),
            "-CAcreateserial", "-days", "2", "-extfile", self.pem("ext"), "-out", self.pem("member.crt"))

    def endpoints(self, members=None):
        return ",".join(m.client for m in (self.members if members is None else members))

    def ask(self, *args, members=None, check=True):
        """kvload's administration verbs; the lines of the answer."""
        r = run(*self.network.prefix(self.network.hub), self.kvload, *args, "--endpoints", self.endpoints(members), check=False, timeout=60)
        if check and r.returncode != 0:
            raise RuntimeError("%s: %s" % (" ".join(args), r.stderr.strip() or r.stdout.strip()))
        return r.stdout.splitlines()

    def status(self, members=None):
        return [json.loads(line) for line in self.ask("status", members=members)]

    def leader(self):
        """The member that leads, or None."""
        up = [m for m in self.members if m.running() and not m.stopped]
        for m, s in zip(up, self.status(up)):
            if s["ok"] and s["leader"] == s["id"]:
                return m
        return None

    def wait(self, seconds, what, test):
        end = time.monotonic() + seconds
        while True:
            got = test()
            if got:
                return got
            if time.monotonic() > end:
                raise RuntimeError("not within %d s: %s" % (seconds, what))
            time.sleep(0.1)

    def close(self):
        for m in self.members:
            try:
                m.kill()
            except (OSError, subprocess.TimeoutExpired):
                pass
            if m.mounted:
                run("umount", "-l", m.disk, check=False)
        self.network.close()
