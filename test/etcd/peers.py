"""Servers under comparison: Debian's etcd and trireme-raftstore, started with the same flags.

A Peer is one implementation; a Cluster is one to three running members of it, on
loopback ports of their own and with a directory of their own, ended by pid.
"""
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from ports import free_port  # noqa: E402

HOST = "127.0.0.1"
SLOWDOWN = int(os.environ.get("SLOWDOWN", "1"))  # How many times slower than usual programs are: see test/sanitized.sh.
START_S = 20.0 * SLOWDOWN


class Peer:
    """One implementation: its program, the flags only it takes, and whether its members are told to end, not killed."""

    def __init__(self, name, binary, flags=(), orderly=False):
        self.name = name
        self.binary = binary
        self.flags = list(flags)
        self.orderly = orderly


ETCD_FLAGS = ["--logger=zap", "--log-outputs=stderr", "--log-level=warn"]


class Member:
    def __init__(self, peer, name, folder, flags):
        self.peer = peer
        self.name = name
        self.folder = folder
        self.data_dir = os.path.join(folder, name)
        self.log_path = os.path.join(folder, name + ".log")
        self.flags = flags
        self.client_port, self.peer_port = free_port(), free_port()
        self.scheme = "http"
        self.process = None

    @property
    def address(self):
        return "%s:%d" % (HOST, self.client_port)

    @property
    def url(self):
        return "%s://%s" % (self.scheme, self.address)

    @property
    def peer_url(self):
        return "http://%s:%d" % (HOST, self.peer_port)

    def command(self, initial, state):
        return [self.peer.binary, "--name=" + self.name, "--data-dir=" + self.data_dir,
                "--listen-client-urls=" + self.url, "--advertise-client-urls=" + self.url,
                "--listen-peer-urls=" + self.peer_url, "--initial-advertise-peer-urls=" + self.peer_url,
                "--initial-cluster=" + initial, "--initial-cluster-state=" + state,
                "--initial-cluster-token=compare", "--heartbeat-interval=20",
                "--election-timeout=200"] + self.peer.flags + self.flags

    def start(self, initial, state="new"):
        env = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(initial, state), stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, cwd=self.folder, env=env)

    def signal(self, number):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)

    def tell_to_end(self):
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)

    def wait_for_end(self):
        try:
            self.process.wait(5 * SLOWDOWN)
        except subprocess.TimeoutExpired:
            print("%s %s did not end within %d s" % (self.peer.name, self.name, 5 * SLOWDOWN), file=sys.stderr)
            self.kill()

    def stop(self):
        if self.process:
            self.tell_to_end()
            self.wait_for_end()

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def healthy(self):
        context = None
        if self.scheme == "https":
            context = ssl.create_default_context(cafile=self.folder + "/ca.crt")
            context.load_cert_chain(self.folder + "/client.crt", self.folder + "/client.key")
        try:
            with urllib.request.urlopen(self.url + "/health", timeout=2, context=context) as answer:
                return b'"true"' in answer.read()
        except OSError:
            return False

    def wait_healthy(self):
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            if self.healthy():
                return
            time.sleep(0.01)
        raise RuntimeError("%s %s did not become healthy:\n%s" % (self.peer.name, self.name, self.log_tail()))

    def log_tail(self, lines=15):
        with open(self.log_path, errors="replace") as f:
            return "".join(f.readlines()[-lines:])


class Cluster:
    def __init__(self, peer, folder, size=1, flags=(), scheme="http"):
        self.peer = peer
        self.folder = tempfile.mkdtemp(prefix=peer.name + "-", dir=folder)
        self.flags = [f.replace("{dir}", self.folder) for f in flags]
        self.members = [Member(peer, "m%d" % i, self.folder, self.flags) for i in range(size)]
        for m in self.members:
            m.scheme = scheme

    def initial(self, members=None):
        return ",".join("%s=%s" % (m.name, m.peer_url) for m in members or self.members)

    def start(self):
        for m in self.members:
            m.start(self.initial())
        for m in self.members:
            m.wait_healthy()

    def new_member(self, name):
        """A member that is not started; the case adds it first."""
        m = Member(self.peer, name, self.folder, self.flags)
        self.members.append(m)
        return m

    def stop(self):
        """Our members end in good order, all at once, since sanitizers look for leaks then."""
        if self.peer.orderly:
            running = [m for m in self.members if m.process and m.process.poll() is None]
            for m in running:
                m.tell_to_end()
            for m in running:
                m.wait_for_end()
        for m in self.members:
            m.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
