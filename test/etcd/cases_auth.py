"""Users, roles, permissions and tokens."""
import base64
import json
import re
import subprocess

from transcript import case

# Hashing passwords is meant to be slow; the lowest cost keeps the test quick.
CHEAP = ["--bcrypt-cost=4"]
ROOT = " --user=root:secret"


def add_user(t, name, password, *roles, user=""):
    t.ctl("user add %s:%s%s" % (name, password, user), show=False)
    for r in roles:
        t.ctl("user grant-role %s %s%s" % (name, r, user), show=False)


def denied(text):
    """3.4 gives some reasons as they are inside of it."""
    return re.sub(r"rpc error: code = \w+ desc = auth: |UNKNOWN: auth: |[A-Z_]+: etcdserver: |etcdserver: ", "", text)


def enable(t):
    add_user(t, "root", "secret")
    t.ctl("role add root", show=False)
    t.ctl("user grant-role root root", show=False)
    t.ctl("auth enable")


@case("users", flags=CHEAP)
def users(t):
    for args in ("user list", "user add u1 --new-user-password=p", "user add u2:p", "user add u2:p",
                 "user add u3 --no-password", "user add", "user add :p", "user list", "user get u1", "user get none", "user get", "role add r1",
                 "role add r2", "user grant-role u1 r1", "user grant-role u1 r2", "user grant-role u1 r1",
                 "user grant-role u1 none", "user grant-role none r1", "user grant-role u1", "user get u1",
                 "user get u1 --detail", "user revoke-role u1 r1", "user revoke-role u1 r1", "user revoke-role none r1",
                 "user revoke-role u1 none", "user get u1", "user delete u1", "user delete u1", "user delete", "user list",
                 "user list -w json", "user get u2 -w json", "user get u2 -w fields", "user add u4:p -w json",
                 "user delete u4 -w json", "user delete root"):
        t.ctl(args)
    t.ctl("user add u5 --interactive=false", stdin="pass\n")
    t.ctl("user passwd u5 --interactive=false", stdin="other\n")
    t.ctl("user passwd none --interactive=false", stdin="other\n")
    t.ctl("user passwd")
    t.ctl("user list")


@case("roles", flags=CHEAP)
def roles(t):
    for args in ("role list", "role add r1", "role add r1", "role add r2", "role add", "role list", "role get r1",
                 "role get none", "role get", "role grant-permission r1 read a", "role grant-permission r1 write b",
                 "role grant-permission r1 readwrite c d", "role grant-permission r1 readwrite p/ --prefix",
                 "role grant-permission r1 read f --from-key", "role grant-permission r1 write a",
                 "role get r1", "role get r1 -w json", "role get r1 -w fields", "role grant-permission r1 read",
                 "role grant-permission r1 all x", "role grant-permission none read x",
                 "role grant-permission r1 read x --prefix --from-key",
                 "role revoke-permission r1 a", "role revoke-permission r1 a", "role revoke-permission r1 c",
                 "role revoke-permission r1 c d", "role revoke-permission r1 p/ --prefix",
                 "role revoke-permission r1 f --from-key", "role revoke-permission none f", "role revoke-permission r1",
                 "role get r1", "user add u:p", "user grant-role u r2", "role delete r2", "user get u", "role delete r2",
                 "role delete", "role list", "role list -w json"):
        t.ctl(args)
    t.ctl(["role", "grant-permission", "r1", "readwrite", "", "--prefix"])
    t.ctl(["role", "grant-permission", "r1", "readwrite", "", "--from-key"])
    t.ctl("role get r1")


@case("auth-enable", flags=CHEAP)
def auth_enable(t):
    t.ctl("auth enable")
    t.ctl("auth disable")
    add_user(t, "root", "secret")
    t.ctl("auth enable", stdin="")
    t.ctl("role add root")
    t.ctl("user grant-role root root")
    t.ctl("put a 1")
    t.ctl("auth enable")
    t.ctl("auth enable" + ROOT)
    # Not here: what 3.4 lets anybody do and later versions do not (leases, alarms, compaction, the list of members).
    for args in ("get a", "put a 2", "user list", "role list", "auth disable", "endpoint health", "defrag", "endpoint hashkv",
                 "snapshot save x.db", "lock l true", "watch a", "member add m9 --peer-urls=http://127.0.0.1:1"):
        r = t.ctl(args, show=False, timeout=3)
        t.say("%s: exit %d" % (args, r.code))
        for line in r.err.splitlines():
            if not line.startswith("{"):
                t.say("! " + denied(line))
    t.ctl("get a" + ROOT)
    t.ctl("get a --user=root --password=secret")
    t.ctl("get a --user=root:wrong")
    t.ctl("get a --user=nobody:x")
    t.ctl("user list" + ROOT)
    t.ctl("user delete root" + ROOT)
    t.ctl("user revoke-role root root" + ROOT)
    t.ctl("role delete root" + ROOT)
    t.ctl("auth disable" + ROOT)
    t.ctl("auth disable" + ROOT)
    t.ctl("get a")
    t.ctl("get a" + ROOT)


@case("auth-permissions", flags=CHEAP)
def auth_permissions(t):
    for name, perms in (("reader", ("read a", "read p/ --prefix")), ("writer", ("write a", "write w/ --prefix")),
                        ("both", ("readwrite a c", "readwrite x --from-key"))):
        t.ctl("role add " + name, show=False)
        for p in perms:
            t.ctl("role grant-permission %s %s" % (name, p), show=False)
        add_user(t, name, "pw", name)
    add_user(t, "mixed", "pw", "reader", "writer")
    add_user(t, "none", "pw")
    for key in "a", "b", "p/1", "w/1", "x", "y", "q":
        t.ctl("put %s v" % key, show=False)
    enable(t)
    tries = ("get a", "get b", "get a b", "get a c", "get p/ --prefix", "get p --prefix", "get x --from-key",
             "get a --from-key", "put a 2", "put b 2", "put w/1 2", "put y 2", "put a 2 --prev-kv", "del a", "del a c", "del a --prev-kv",
             "del w/ --prefix", "del y --from-key", "get a --count-only --keys-only")
    for user in "reader", "writer", "both", "mixed", "none":
        for args in tries:
            r = t.ctl(args + " --user=%s:pw" % user, show=False)
            # What goes wrong is said in the last line.
            t.say("%s: %s: %d %s %s" % (user, args, r.code, r.out.split(), r.err.splitlines()[-1:]))


@case("auth-txn", flags=CHEAP)
def auth_txn(t):
    t.ctl("role add r", show=False)
    for p in "read a", "write b", "readwrite c":
        t.ctl("role grant-permission r " + p, show=False)
    add_user(t, "u", "pw", "r")
    enable(t)
    for text in ('value("a") = "1"\n\nput b 1\n\nget a\n\n', 'value("b") = "1"\n\nput b 1\n\n\n', '\nget b\n\n\n',
                 '\nput a 1\n\n\n', '\n\nput a 1\n\n', '\nput c 1\ndel b\nget c\n\n\n', '\ndel b --prev-kv\n\n\n',
                 '\ndel a\n\n\n'):
        t.ctl("txn --user=u:pw", stdin=text)


@case("auth-watch-lease", flags=CHEAP)
def auth_watch_lease(t):
    t.ctl("role add r", show=False)
    t.ctl("role grant-permission r readwrite a", show=False)
    t.ctl("role grant-permission r read p/ --prefix", show=False)
    add_user(t, "u", "pw", "r")
    lease = t.ctl("lease grant 600").out.split()[1]
    t.ctl(["put", "b", "v", "--lease", lease])
    enable(t)
    t.ctl("put a 1" + ROOT)
    for args in "a --rev=2", "b --rev=2", "a --prefix --rev=2", "p/x --rev=2", "p/ --prefix --rev=2":
        w = t.start("watch %s --user=u:pw" % args)
        t.say("%s: saw something %s" % (args, w.wait(3, 0.7)))
        w.end()
        w.say(args)
    for args in (["lease", "revoke", lease], ["lease", "timetolive", lease],
                 ["lease", "list"], ["lease", "keep-alive", "--once", lease], ["put", "a", "2", "--lease", lease]):
        r = t.ctl(args + ["--user=u:pw"], show=False)
        t.say("%s: %d %s" % (args[:2], r.code, r.err.splitlines()[-1:]))
    t.ctl("lease grant 10 --user=u:pw")
    t.ctl(["lease", "revoke", lease, "--user=root:secret"])
    t.ctl("lock a true --user=u:pw")
    t.ctl("lock zz true --user=u:pw")


@case("auth-changes", flags=CHEAP)
def auth_changes(t):
    """What changes while auth is on takes effect at once."""
    t.ctl("role add r", show=False)
    t.ctl("role grant-permission r readwrite a", show=False)
    add_user(t, "u", "pw", "r")
    enable(t)
    c = t.channel()

    def token(name, password):
        r = c.call("Auth.Authenticate", name=name, password=password)
        return [("token", r.token)] if r else []
    mine, root = token("u", "pw"), token("root", "secret")
    t.say("a token each: %d %d" % (len(mine), len(root)))

    def attempt(title):
        t.say(title)
        t.say_answer(c.call("KV.Put", key="a", value="v", metadata=mine) or
                     c.call("KV.Put", key="a", value="v", metadata=mine))
    attempt("as it is")
    t.say(c.call("Auth.RoleRevokePermission", role="r", key="a", metadata=root) is not None)
    attempt("the permission is revoked")
    t.say_answer(c.call("KV.Put", key="a", value="v", metadata=token("u", "pw")))
    c.call("Auth.RoleGrantPermission", name="r", perm={"permType": "WRITE", "key": "a"}, metadata=token("root", "secret"))
    t.say_answer(c.call("KV.Put", key="a", value="v", metadata=token("u", "pw")))
    c.call("Auth.UserChangePassword", name="u", password="new", metadata=token("root", "secret"))
    t.say_answer(c.call("Auth.Authenticate", name="u", password="pw"))
    mine = token("u", "new")
    attempt("with the new password")
    c.call("Auth.UserRevokeRole", name="u", role="r", metadata=token("root", "secret"))
    t.say_answer(c.call("KV.Put", key="a", value="v", metadata=token("u", "new")))
    c.call("Auth.UserDelete", name="u", metadata=token("root", "secret"))
    t.say_answer(c.call("Auth.Authenticate", name="u", password="new"))
    attempt("the user is gone")


@case("auth-rpc", flags=CHEAP)
def auth_rpc(t):
    t.rpc("Auth.Authenticate", name="u", password="pw")
    t.rpc("Auth.UserAdd", name="", password="x")
    t.rpc("Auth.UserAdd", name="u", password="pw")
    t.rpc("Auth.UserAdd", name="u", password="pw")
    t.rpc("Auth.UserAdd", name="certificate", options={"no_password": True})
    t.rpc("Auth.UserAdd", name="empty")
    t.rpc("Auth.UserList")
    t.rpc("Auth.UserGet", name="u")
    t.rpc("Auth.UserGet", name="none")
    t.rpc("Auth.RoleAdd", name="")
    t.rpc("Auth.RoleAdd", name="r")
    t.rpc("Auth.RoleGrantPermission", name="r", perm={"permType": "READ", "key": "a", "range_end": "c"})
    t.rpc("Auth.RoleGrantPermission", name="r", perm={"permType": "WRITE", "key": "a", "range_end": "c"})
    t.rpc("Auth.RoleGrantPermission", name="r", perm={"permType": "READWRITE", "key": "0", "range_end": "\0"})
    t.rpc("Auth.RoleGrantPermission", name="r", perm={"permType": "READWRITE", "key": "\0", "range_end": "\0"})
    t.rpc("Auth.RoleGet", role="r")
    t.rpc("Auth.RoleRevokePermission", role="r", key="a", range_end="b")
    t.rpc("Auth.RoleRevokePermission", role="r", key="a", range_end="c")
    t.rpc("Auth.RoleGet", role="r")
    t.rpc("Auth.RoleGet", role="none")
    t.rpc("Auth.RoleList")
    t.rpc("Auth.UserGrantRole", user="u", role="r")
    t.rpc("Auth.UserGet", name="u")
    t.rpc("Auth.AuthDisable")
    t.rpc("Auth.AuthEnable")
    add_user(t, "root", "secret")
    t.rpc("Auth.AuthEnable")
    t.ctl("role add root")
    t.ctl("user grant-role root root")
    t.rpc("Auth.AuthEnable")
    t.rpc("Auth.AuthEnable")
    t.rpc("Auth.Authenticate", name="u", password="wrong")
    t.rpc("Auth.Authenticate", name="none", password="wrong")
    t.say(denied(str(t.channel().call("Auth.Authenticate", name="certificate", password=""))))
    t.say(bool(t.rpc("Auth.Authenticate", name="empty", password="", show=False)))
    r = t.rpc("Auth.Authenticate", name="u", password="pw", show=False)
    t.say("a token: %s" % (len(r.token) > 16 if r else r))
    for token in None, "nonsense", "x.5":
        metadata = [("token", token)] if token else []
        t.say("token %s" % token)
        for name, values in (("KV.Range", {"key": "a"}), ("KV.Put", {"key": "a"}), ("Auth.UserAdd", {"name": "x"}),
                             ("Auth.UserList", {}), ("Auth.UserGet", {"name": "u"}), ("Maintenance.Defragment", {}),
                             ("Maintenance.HashKV", {}), ("Maintenance.Hash", {}),
                             ("Cluster.MemberAdd", {"peerURLs": ["http://127.0.0.1:1"]})):
            t.say("%s: %s" % (name, denied(str(t.channel().call(name, metadata=metadata, **values)))))
    metadata = [("token", r.token)] if r else []
    t.say("token of a user")
    t.rpc("KV.Range", key="a", metadata=metadata)
    t.rpc("KV.Range", key="c", metadata=metadata)
    t.rpc("KV.Put", key="b", value="v", metadata=metadata)
    t.rpc("Auth.UserAdd", name="x", password="y", metadata=metadata)
    t.rpc("Auth.UserList", metadata=metadata)
    t.rpc("Auth.UserGet", name="u", metadata=metadata)
    t.rpc("Auth.UserGet", name="root", metadata=metadata)
    t.rpc("Auth.RoleGet", role="r", metadata=metadata)
    t.rpc("Auth.RoleGet", role="root", metadata=metadata)
    t.rpc("Auth.AuthDisable", metadata=metadata)


@case("auth-cluster", size=3, flags=CHEAP)
def auth_cluster(t):
    """A token of one member is good on that member; passwords on all of them."""
    enable(t)
    for m in t.cluster.members:
        t.until("put a 1" + ROOT, lambda r: r.code == 0, endpoints=m.url)
        t.ctl("get a --user=root:no", endpoints=m.url, edit=lambda line: line.replace(m.address, "<any>"))


def jwt_keys(cluster):
    key = cluster.folder + "/jwt.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-out", cluster.folder + "/jwt.pub"], check=True,
                   capture_output=True)


@case("auth-jwt", setup=jwt_keys, flags=CHEAP + [
    "--auth-token=jwt,pub-key={dir}/jwt.pub,priv-key={dir}/jwt.key,sign-method=RS256,ttl=10m"])
def auth_jwt(t):
    enable(t)
    r = t.rpc("Auth.Authenticate", name="root", password="secret", show=False)
    if not r:
        t.say(r)
        return
    parts = r.token.split(".")
    t.say(len(parts))
    head, claims = (json.loads(base64.urlsafe_b64decode(p + "=" * (-len(p) % 4))) for p in parts[:2])
    t.say(sorted(head.items()))
    t.say("%s %s %s" % (sorted(claims), claims["username"], isinstance(claims["revision"], int)))
    t.rpc("KV.Put", key="a", value="1", metadata=[("token", r.token)], show=False)
    t.say_answer(t.channel().call("KV.Range", key="a", metadata=[("token", r.token)]))
    t.say_answer(t.channel().call("KV.Range", key="a", metadata=[("token", r.token[:-5] + "AAAAA")]))
    t.say_answer(t.channel().call("KV.Range", key="a", metadata=[("token", "x.y.z")]))
    t.ctl("get a" + ROOT)
