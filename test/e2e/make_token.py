#!/usr/bin/env python3
"""Signs tokens and writes key sets with the openssl program.

usage: make_token.py token KEY.pem KID ALG CLAIMS-JSON
       make_token.py keys KID=KEY.pem ...
"""
import base64
import json
import re
import subprocess
import sys


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*args, text=None):
    return subprocess.run(["openssl", *args], input=text, check=True, capture_output=True).stdout


def integers(der):
    """The two numbers of an ECDSA signature."""
    at, out = 2, []
    while at < len(der):
        n = der[at + 1]
        out.append(int.from_bytes(der[at + 2:at + 2 + n], "big"))
        at += 2 + n
    return out


def sign(key, alg, text):
    der = openssl("dgst", "-sha" + alg[2:], "-sign", key, text=text)
    if alg[0] == "R":
        return der
    return b"".join(n.to_bytes({"256": 32, "384": 48}[alg[2:]], "big") for n in integers(der))


def jwk(kid, key):
    text = openssl("pkey", "-in", key, "-noout", "-text_pub").decode()
    if "Modulus" in text:
        n = bytes.fromhex(re.sub(r"[\s:]", "", re.search(r"Modulus:(.*?)Exponent", text, re.S).group(1)))
        return {"kty": "RSA", "kid": kid, "use": "sig", "n": b64(n.lstrip(b"\0")), "e": "AQAB"}
    point = bytes.fromhex(re.sub(r"[\s:]", "", re.search(r"pub:(.*?)ASN1", text, re.S).group(1)))
    half = (len(point) - 1) // 2
    return {"kty": "EC", "kid": kid, "use": "sig", "crv": "P-256", "x": b64(point[1:1 + half]), "y": b64(point[1 + half:])}


if sys.argv[1] == "keys":
    print(json.dumps({"keys": [jwk(*a.split("=", 1)) for a in sys.argv[2:]]}))
else:
    key, kid, alg, claims = sys.argv[2:]
    head = b64(json.dumps({"alg": alg, "kid": kid, "typ": "JWT"}).encode()) + "." + b64(claims.encode())
    print(head + "." + b64(sign(key, alg, head.encode())))
