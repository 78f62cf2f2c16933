#!/usr/bin/env python3
"""Pushes an image of deploy/images/build.sh to a registry over plain HTTP.

usage: push_image.py HOST:PORT USER:PASSWORD FILE.tar NAME:TAG [LABEL]

A label makes it another image than the others of the same file.
"""
import base64
import hashlib
import http.client
import json
import sys
import tarfile
import urllib.parse

OCI = "application/vnd.oci.image."


def main():
    host, user, path, image, *label = sys.argv[1:]
    name, tag = image.rsplit(":", 1)
    headers = {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()}
    registry = http.client.HTTPConnection(host, timeout=20)

    def ask(method, url, want, body=None, **more):
        registry.request(method, url, body, dict(headers, **more))
        answer = registry.getresponse()
        text = answer.read()
        if answer.status != want:
            sys.exit("%s %s: %d %s" % (method, url, answer.status, text.decode(errors="replace")))
        return answer

    def blob(kind, data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        where = urllib.parse.urlsplit(ask("POST", "/v2/%s/blobs/uploads/" % name, 202).headers["Location"])
        url = "%s?%s&digest=%s" % (where.path, where.query, digest)
        ask("PUT", url, 201, data, **{"Content-Type": "application/octet-stream"})
        return {"mediaType": OCI + kind, "digest": digest, "size": len(data)}

    with tarfile.open(path) as tar:
        listed = json.load(tar.extractfile(next(m for m in tar if m.name.endswith("manifest.json"))))[0]
        read = {m.name.lstrip("./"): m for m in tar}
        text = tar.extractfile(read[listed["Config"]]).read()
        if label:
            tree = json.loads(text)
            tree["config"]["Labels"] = {"test": label[0]}
            text = json.dumps(tree).encode()
        config = blob("config.v1+json", text)
        layers = [blob("layer.v1.tar", tar.extractfile(read[layer]).read()) for layer in listed["Layers"]]
    manifest = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": config, "layers": layers}
    ask("PUT", "/v2/%s/manifests/%s" % (name, tag), 201, json.dumps(manifest), **{"Content-Type": OCI + "manifest.v1+json"})


if __name__ == "__main__":
    main()
