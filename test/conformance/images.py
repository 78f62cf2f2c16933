#!/usr/bin/env python3
"""Images that Kubernetes' end-to-end tests name, made of busybox, a few programs of this machine and agnhost.

usage: e2e.test --list-images | images.py SOURCES/test/images PROGRAMS OUT.tar

PROGRAMS is a folder with agnhost, nnp and kube-sample-apiserver, built from the sources.
"""
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

PROGRAMS = ("bash", "curl", "dig", "nc.openbsd", "ss", "ip")

def needed(program):
    """The shared libraries of a program, and its loader."""
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return [w for line in said.splitlines() for w in line.split() if w.startswith("/") and os.path.exists(w)]


def make_root(root):
    for folder in ("bin", "usr/bin", "usr/local/bin", "lib", "lib64", "etc", "tmp", "uploads", "root", "proc", "sys", "dev", "var/run", "home"):
        os.makedirs(os.path.join(root, folder))
    os.chmod(os.path.join(root, "tmp"), 0o1777)
    shutil.copy("/bin/busybox", root + "/bin/busybox")
    for name in subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
        if name != "busybox":
            os.symlink("busybox", root + "/bin/" + name)
    for program in PROGRAMS:
        found = shutil.which(program)
        if not found:
            continue
        target = root + "/bin/" + program.split(".")[0]
        if os.path.lexists(target):
            os.remove(target)
        shutil.copy(os.path.realpath(found), target)
        for library in needed(found):
            os.makedirs(os.path.dirname(root + library), exist_ok=True)
            if not os.path.exists(root + library):
                shutil.copy(os.path.realpath(library), root + library)
    # Debian's busybox as a shell takes its own nc before any other.
    if os.path.exists(root + "/bin/bash"):
        os.remove(root + "/bin/sh")
        os.symlink("bash", root + "/bin/sh")
    with open(root + "/etc/passwd", "w") as f:
        f.write("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
    with open(root + "/etc/group", "w") as f:
        f.write("root:x:0:\nnobody:x:65534:\n")
    with open(root + "/etc/nsswitch.conf", "w") as f:
        f.write("hosts: files dns\n")


def layer(root, files=()):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(root, arcname=".")
        for content, name, mode in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def write(path, images):
    """The form of `docker save`: images are (names, layer, configuration)."""
    written, manifest = set(), []
    with tarfile.open(path, "w") as tar:
        def put(name, content):
            if name not in written:
                written.add(name)
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        for names, content, settings in images:
            digest = hashlib.sha256(content).hexdigest()
            about = json.dumps({
                "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest]},
                "config": dict(settings, Env=["PATH=/bin:/usr/bin:/usr/local/bin:/"])}).encode()
            config = hashlib.sha256(about).hexdigest() + ".json"
            put(digest + "/layer.tar", content)
            put(config, about)
            manifest.append({"Config": config, "RepoTags": list(names), "Layers": [digest + "/layer.tar"]})
        put("manifest.json", json.dumps(manifest).encode())


def main():
    sources, built, out = sys.argv[1:]
    def read(path):
        with open(path, "rb") as f:
            return f.read()
    with tempfile.TemporaryDirectory() as root:
        make_root(root)
        program, plain = read(built + "/agnhost"), layer(root)
        host = layer(root, [(program, "agnhost", 0o755), (program, "agnhost-2", 0o755),
                            (read(sources + "/agnhost/porter/localhost.crt"), "localhost.crt", 0o644),
                            (read(sources + "/agnhost/porter/localhost.key"), "localhost.key", 0o600)])
        web = layer(root, [(b"<html><body><h1>It works!</h1></body></html>\n", "usr/local/apache2/htdocs/index.html", 0o644)])
        kinds = {
            "agnhost": (host, {"Entrypoint": ["/agnhost"], "Cmd": ["pause"]}),
            "pause": (host, {"Entrypoint": ["/agnhost", "pause"]}),
            "busybox": (plain, {"Cmd": ["sh"]}),
            "jessie-dnsutils": (plain, {"Cmd": ["sh"]}),
            "nonroot": (plain, {"Cmd": ["id"], "User": "1234"}),
            "httpd": (web, {"Cmd": ["httpd", "-f", "-p", "80", "-h", "/usr/local/apache2/htdocs"]}),
        }
        kinds["nginx"] = kinds["httpd"]
        kinds["nonewprivs"] = (layer(root, [(read(built + "/nnp"), "usr/local/bin/nnp", 0o6755)]), {"Cmd": ["nnp"]})
        kinds["sample-apiserver"] = (layer(root, [(read(built + "/kube-sample-apiserver"), "kube-sample-apiserver", 0o755)]),
                                     {"Entrypoint": ["/kube-sample-apiserver"]})
        # Where the image of its maintainers has it.
        kinds["etcd"] = (layer(root, [(read(shutil.which("etcd")), "usr/local/bin/etcd", 0o755)]), {}) if shutil.which("etcd") else None
        for animal in ("kitten", "nautilus"):
            kinds[animal] = (layer(root, [(read(sources + "/" + animal + "/html/data.json"), "data.json", 0o644)]),
                             {"Cmd": ["httpd", "-f", "-p", "80", "-h", "/"]})
        named = {}
        for name in sys.stdin.read().split():
            named.setdefault(name.rsplit("/", 1)[-1].split(":")[0], []).append(name)
        write(out, [(named[kind],) + kinds[kind] for kind in kinds if kind in named and kinds[kind]])


if __name__ == "__main__":
    main()
