"""What a case does and sees, as lines that must be equal on both servers.

A case is a function of one argument, a Transcript: it runs etcdctl, gRPC calls and
HTTP requests against a fresh server or cluster and writes down what came back.
What legitimately differs between two servers is replaced by placeholders: ids
by order of appearance (the same id keeps its placeholder), raft terms, ports,
folders, versions, sizes, times. Revisions, leases' times to live, texts, codes
and exit statuses are compared as they are.
"""
import base64
import os
import re
import signal
import shlex
import subprocess
import threading
import time
import urllib.error
import urllib.request

import rpc

CASES = {}
COMMAND_S = 30.0


class Case:
    def __init__(self, name, run, size, flags, timeout, peers, setup, scheme):
        self.name, self.run, self.size, self.flags = name, run, size, flags
        self.timeout, self.peers, self.setup, self.scheme = timeout, peers, setup, scheme


def case(name, size=1, flags=(), timeout=60, peers=1, setup=None, scheme="http"):
    """Registers a case. size: members of its cluster; flags: for the servers, {dir} is their
    folder; peers: how many clusters of that kind it wants; setup: run with the cluster before
    its start; scheme: https serves clients with the certificates that setup makes."""
    def register(run):
        assert name not in CASES, name
        CASES[name] = Case(name, run, size, flags, timeout, peers, setup, scheme)
        return run
    return register


class Result:
    def __init__(self, out, err, code):
        self.out, self.err, self.code = out, err, code


# (pattern, replacement), in this order.
RULES = [(re.compile(p, re.M), r) for p, r in [
    (r'"ts":"[^"]*"', '"ts":"<time>"'),
    (r'endpoint://client-[0-9a-f-]*/', 'endpoint://<client>/'),
    (r'(took[ =:]*|for |in )[0-9.]+(ns|µs|us|ms|s)\b', r'\1<took>'),
    (r'"took":"[^"]*"', '"took":"<took>"'),
    (r'("health":"[a-z]+"),"reason":"[^"]*"', r'\1'),
    (r'\| [0-9.]+(µs|ms|s) +\|', '| <took> |'),
    (r'"attempt":\d+', '"attempt":<n>'),
    (r'(raft_?term"? ?: ?"?)\d+', r'\1<term>'),
    (r'("RaftTerm" : )\d+', r'\1<term>'),
    (r'((?:raft_?(?:applied_)?index)"? ?: ?)\d+', r'\1<index>'),
    (r'("Raft(?:Applied)?Index" : )\d+', r'\1<index>'),
    (r'\b3\.[0-9]\.[0-9]+(-[a-z0-9.]+)?\b', '<version>'),
    (r'\b\d+(\.\d+)? [kMG]?B\b', '<size>'),
    (r'("?dbSize(?:InUse)?"? ?: ?)\d+', r'\1<bytes>'),
    (r'("DBSize(?:InUse)?" : )\d+', r'\1<bytes>'),
    # %16x of an id whose first digit is 0.
    (r'\b(Member|cluster) +<', r'\1 <'),
    # Of tables: the widths of columns follow the widths of ids.
    (r'-{2,}(?=\+)', '-'),
    (r' +\|', ' |'),
    (r'\| +', '| '),
]]
# Where a 64-bit id can stand: decimal of 17 to 20 digits, hexadecimal of 13 to 16.
ID = re.compile(r'(?<![\w.])(?:(-?\d{17,20})|([0-9a-f]{13,16}))(?![\w.])')


# Keys and values in JSON: readable, and with the lease ids that names of lock keys end with.
BASE64 = re.compile(r'"(key|value|range_end|name|keys)":(\[?)"([A-Za-z0-9+/]+={0,2})"')


def plain(m):
    try:
        return '"%s":%s"%s"' % (m.group(1), m.group(2), base64.b64decode(m.group(3), validate=True).decode())
    except ValueError:
        return m.group(0)


class Transcript:
    def __init__(self, case, clusters, etcdctl, cancelled):
        self.case, self.clusters, self.etcdctl = case, clusters, etcdctl
        self.cluster = clusters[0]
        self.folder = self.cluster.folder
        self.lines = []
        self.ids = {}
        self.words = []  # (literal, placeholder), longest first
        self.channels = {}
        self.running = []
        self.cancelled = cancelled
        for i, cluster in enumerate(clusters):
            self.word(cluster.folder, "<dir>" if i == 0 else "<dir%d>" % i)
            for m in cluster.members:
                self.know_member(m)

    # --- normal form ---
    def know_member(self, m):
        suffix = m.name if m.folder == self.folder else "other-" + m.name
        self.word(m.address, "<client-%s>" % suffix)
        self.word("127.0.0.1:%d" % m.peer_port, "<peer-%s>" % suffix)

    def word(self, literal, placeholder):
        self.words = [w for w in self.words if w[0] != literal] + [(literal, placeholder)]
        self.words.sort(key=lambda w: -len(w[0]))

    def id(self, number, placeholder=None):
        """The placeholder of a 64-bit id; given here or numbered by appearance."""
        number = int(number) & (2**64 - 1)
        if number not in self.ids:
            if placeholder is None:
                placeholder = "<id%d>" % (len([v for v in self.ids.values() if v.startswith("<id")]) + 1)
            self.ids[number] = placeholder
        return self.ids[number]

    def normal(self, text):
        text = BASE64.sub(plain, text)
        for literal, placeholder in self.words:
            text = text.replace(literal, placeholder)
        text = ID.sub(lambda m: self.id(m.group(1) if m.group(1) else int(m.group(2), 16)), text)
        for pattern, replacement in RULES:
            text = pattern.sub(replacement, text)
        return text

    def say(self, text):
        self.lines.extend(self.normal(str(text)).splitlines() or [""])

    # --- etcdctl ---
    def url(self):
        return self.cluster.members[0].url

    def urls(self):
        return ",".join(m.url for m in self.cluster.members)

    def env(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
        env.update(ETCDCTL_API="3", TZ="UTC", HOME=self.folder)
        return env

    def command(self, args, endpoints):
        if isinstance(args, str):
            args = shlex.split(args)
        return [self.etcdctl, "--endpoints=" + (endpoints or self.url())] + list(args)

    def check(self):
        if self.cancelled.is_set():
            raise TimeoutError("the case took too long")

    def ctl(self, args, stdin=None, endpoints=None, show=True, sort=False, parse=None, timeout=COMMAND_S,
            edit=None):
        """Runs etcdctl to its end. show: writes it down; sort: output lines in
        sorted order; parse: -w protobuf output as this message; edit: a function
        of the output's text, for what only the case knows to vary."""
        self.check()
        if isinstance(stdin, str):
            stdin = stdin.encode()
        try:
            p = subprocess.run(self.command(args, endpoints), input=stdin or b"", capture_output=True,
                               timeout=timeout, env=self.env(), cwd=self.folder)
            r = Result(p.stdout, p.stderr.decode(errors="backslashreplace"), p.returncode)
        except subprocess.TimeoutExpired as e:
            r = Result(e.stdout or b"", "did not end", -1)
        if parse:
            try:
                r.out = self.text(rpc.MESSAGES[parse].FromString(r.out)) if r.code == 0 else r.out.decode()
            except Exception as e:  # What the server sent is not that message.
                r.out = "not a %s: %s" % (parse, e)
        else:
            r.out = r.out.decode(errors="backslashreplace")
        if show:
            self.write_down(args, r, sort, edit, stdin)
        return r

    def write_down(self, args, r, sort=False, edit=None, stdin=None):
        self.say(shorter("$ " + (args if isinstance(args, str) else shlex.join(args))))
        for line in (stdin or b"").decode(errors="backslashreplace").splitlines():
            self.say(shorter("< " + line))
        self.say_output(edit(r.out) if edit else r.out, sort)
        self.say_errors(r.err.splitlines(), sort)
        if r.code:
            self.say("exit %d" % r.code)

    def say_errors(self, lines, sort=False):
        """How often a client tries again is a matter of luck."""
        last = None
        for line in sorted(self.normal(line) for line in lines) if sort else (self.normal(line) for line in lines):
            if line != last or '"attempt"' not in line:
                self.lines.append("! " + line)
            last = line

    def say_output(self, out, sort=False):
        lines = self.normal(out).splitlines()
        self.lines.extend("  " + line for line in (sorted(lines) if sort else lines))

    def until(self, args, good, timeout=15.0, **kw):
        """Runs etcdctl until good(result); writes down the last run only."""
        end = time.monotonic() + timeout
        show = kw.pop("show", True)
        while True:
            r = self.ctl(args, show=False, **kw)
            if good(r) or time.monotonic() > end:
                if show:
                    self.write_down(args, r, kw.get("sort", False))
                return r
            time.sleep(0.05)

    def start(self, args, endpoints=None, stdin=False):
        """Starts an etcdctl that runs on; see Running."""
        self.check()
        r = Running(self, self.command(args, endpoints), stdin)
        self.running.append(r)
        return r

    # --- gRPC ---
    def channel(self, member=0, cluster=0):
        m = self.clusters[cluster].members[member]
        if m.address not in self.channels:
            self.channels[m.address] = rpc.Channel(m.address, self.check)
        return self.channels[m.address]

    # Fields that one server's version has and the other's has not.
    NEWER = ("storageVersion", "dbSizeQuota", "downgradeInfo", "version", "hash_revision")

    def text(self, m):
        """A message as lines of text; ids and terms of headers as placeholders."""
        lines = []
        self.message_lines(m, "", lines)
        return "\n".join(lines)

    def message_lines(self, m, indent, lines):
        for field, value in m.ListFields():
            if field.name in self.NEWER and field.containing_type.name != "RangeRequest" and \
                    field.containing_type.full_name != "mvccpb.KeyValue":
                continue
            many = field.label == field.LABEL_REPEATED
            for v in value if many else [value]:
                if field.message_type:
                    lines.append("%s%s {" % (indent, field.name))
                    self.message_lines(v, indent + " ", lines)
                    lines.append(indent + "}")
                elif field.enum_type:
                    lines.append("%s%s: %s" % (indent, field.name, field.enum_type.values_by_number[v].name
                                               if v in field.enum_type.values_by_number else v))
                elif isinstance(v, bytes):
                    lines.append("%s%s: %s" % (indent, field.name, bytes_text(v)))
                elif field.name in ("cluster_id", "member_id", "memberID", "leader") and v:
                    lines.append("%s%s: %s" % (indent, field.name, self.id(v)))
                else:
                    lines.append("%s%s: %s" % (indent, field.name, v))

    def new_connections(self):
        """After servers were started again: no waiting for the client's next try."""
        for c in self.channels.values():
            c.close()
        self.channels.clear()

    def rpc(self, name, /, metadata=(), member=0, show=True, timeout=rpc.TIMEOUT_S, **values):
        """A unary gRPC call, written down with its answer."""
        self.check()
        answer = self.channel(member).call(name, metadata=metadata, timeout=timeout, **values)
        if show:
            request = " ".join(self.text(rpc.fill(self.request_class(name, member)(), values)).split())
            self.say("> %s %s" % (name, request))
            self.say_answer(answer)
        return answer

    def request_class(self, name, member=0):
        return self.channel(member).method(name)[1]

    def say_answer(self, answer):
        if answer is None:
            self.say("  nothing came")
        elif isinstance(answer, rpc.Failure):
            self.say("  " + str(answer))
        else:
            self.say("  " + "\n  ".join(self.text(answer).splitlines()))

    def stream(self, name, member=0, metadata=()):
        self.check()
        return self.channel(member).stream(name, metadata)

    # --- HTTP ---
    def http(self, path, data=None, headers=None, method=None, show=True, member=0):
        self.check()
        m = self.cluster.members[member]
        request = urllib.request.Request("http://%s%s" % (m.address, path), data=data, headers=headers or {},
                                         method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                code, kind, body = answer.status, answer.headers.get("Content-Type"), answer.read()
        except urllib.error.HTTPError as e:
            code, kind, body = e.code, e.headers.get("Content-Type"), e.read()
        except OSError as e:
            code, kind, body = 0, "", str(e).encode()
        body = body.decode(errors="backslashreplace")
        if show:
            self.say("%s %s %s" % (method or ("POST" if data is not None else "GET"), path,
                                   data.decode() if data else ""))
            self.say("  %s %s" % (code, kind))
            self.say_output(body)
        return code, body

    def close(self):
        for r in self.running:
            r.end()
        self.new_connections()


class Running:
    """An etcdctl that runs beside the case. Its lines are gathered as they come."""

    def __init__(self, transcript, command, stdin):
        self.transcript = transcript
        self.lines = []
        self.errors = []
        self.open_pipes = 2
        self.arrived = threading.Condition()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                                        env=transcript.env(), cwd=transcript.folder)
        self.readers = [threading.Thread(target=self._read, args=pair, daemon=True)
                        for pair in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))]
        for r in self.readers:
            r.start()

    def _read(self, f, lines):
        for line in f:
            with self.arrived:
                lines.append(line.decode(errors="backslashreplace").rstrip("\n"))
                self.arrived.notify_all()
        with self.arrived:
            self.open_pipes -= 1
            self.arrived.notify_all()

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wait(self, good, timeout=10.0):
        """Waits until good(lines so far); a number waits for that many lines, a text for a line
        that contains it. False when it ended or the time was over before that."""
        if isinstance(good, int):
            count = good
            good = lambda lines: len(lines) >= count
        elif isinstance(good, str):
            text = good
            good = lambda lines: any(text in line for line in lines)
        with self.arrived:
            self.arrived.wait_for(lambda: good(self.lines) or not self.open_pipes, timeout)
            return good(self.lines)

    def wait_error(self, text, timeout=10.0):
        with self.arrived:
            return self.arrived.wait_for(lambda: any(text in line for line in self.errors) or not self.open_pipes,
                                         timeout)

    def edit(self, function):
        """What of the output is worth comparing."""
        with self.arrived:
            self.lines[:] = function(list(self.lines))

    def say(self, title, sort=False):
        with self.arrived:
            lines, errors = list(self.lines), list(self.errors)
        t = self.transcript
        t.say("& " + title)
        t.say_output("\n".join(lines), sort)
        t.say_errors(errors)

    def end(self, number=signal.SIGTERM, timeout=10.0):
        """Signals it unless number is 0, and waits for its end; the exit status."""
        if self.process.poll() is None and number:
            self.process.send_signal(number)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for r in self.readers:
            r.join(5)
        return self.process.returncode


def shorter(line):
    return line if len(line) < 500 else "%s... (%d)" % (line[:60], len(line))


def bytes_text(b):
    if len(b) > 200:
        return "%d bytes, %r..." % (len(b), b[:20])
    return repr(b)[1:]
