"""TLS for clients: certificates asked for, and names in them as users."""
import subprocess

from transcript import case


def certificate(folder, name, common_name, usage, names=""):
    key = "%s/%s.key" % (folder, name)
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key], check=True)
    request = subprocess.run(["openssl", "req", "-new", "-key", key, "-subj", "/CN=" + common_name], check=True,
                             capture_output=True).stdout
    extensions = "%s/%s.ext" % (folder, name)
    with open(extensions, "w") as f:
        f.write("extendedKeyUsage=%s\n%s" % (usage, "subjectAltName=%s\n" % names if names else ""))
    subprocess.run(["openssl", "x509", "-req", "-CA", folder + "/ca.crt", "-CAkey", folder + "/ca.key", "-CAcreateserial",
                    "-days", "2", "-extfile", extensions, "-out", "%s/%s.crt" % (folder, name)], input=request, check=True,
                   capture_output=True)


def certificates(cluster):
    folder = cluster.folder
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder + "/ca.key"],
                   check=True)
    subprocess.run(["openssl", "req", "-x509", "-new", "-key", folder + "/ca.key", "-subj", "/CN=test ca", "-days", "2",
                    "-out", folder + "/ca.crt"], check=True, capture_output=True)
    certificate(folder, "server", "server", "serverAuth,clientAuth", "IP:127.0.0.1,DNS:localhost")
    certificate(folder, "client", "carol", "clientAuth")
    certificate(folder, "root", "root", "clientAuth")


SERVER = ["--cert-file={dir}/server.crt", "--key-file={dir}/server.key"]
STRICT = SERVER + ["--trusted-ca-file={dir}/ca.crt", "--client-cert-auth"]


def secure(t, who="client"):
    flags = ["--cacert=%s/ca.crt" % t.folder]
    return flags + (["--cert=%s/%s.crt" % (t.folder, who), "--key=%s/%s.key" % (t.folder, who)] if who else [])


def failing(t, args, endpoints=None):
    r = t.ctl(["--command-timeout=1s", "--dial-timeout=1s"] + args, endpoints=endpoints, show=False)
    t.say("%d %s" % (r.code, r.err.splitlines()[-1:]))


@case("tls", scheme="https", setup=certificates, flags=SERVER)
def tls(t):
    t.ctl(["put", "k", "v"] + secure(t, None))
    t.ctl(["get", "k"] + secure(t))
    t.ctl(["get", "k", "--insecure-skip-tls-verify", "--insecure-transport=false"])
    failing(t, ["get", "k"])
    failing(t, ["get", "k"], endpoints="http://" + t.cluster.members[0].address)
    t.ctl(["endpoint", "health"] + secure(t))


@case("tls-client-certificates", scheme="https", setup=certificates, flags=STRICT + ["--bcrypt-cost=4"])
def client_certificates(t):
    t.ctl(["put", "k", "v"] + secure(t))
    failing(t, ["get", "k"] + secure(t, None))
    # The name in the certificate is the user, unless a token says otherwise.
    for args in (["user", "add", "root", "--no-password"], ["role", "add", "root"], ["user", "grant-role", "root", "root"],
                 ["user", "add", "carol", "--no-password"], ["role", "add", "r"], ["role", "grant-permission", "r", "read", "k"],
                 ["user", "grant-role", "carol", "r"], ["user", "add", "dave:pw"], ["auth", "enable"]):
        t.ctl(args + secure(t, "root"))
    for args in ["get", "k"], ["put", "k", "w"], ["get", "j"], ["user", "list"], ["get", "k", "--user=dave:pw"]:
        t.ctl(args + secure(t))
    t.ctl(["put", "k", "w"] + secure(t, "root"))
    t.ctl(["auth", "disable"] + secure(t))
    t.ctl(["auth", "disable"] + secure(t, "root"))
