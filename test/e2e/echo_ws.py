#!/usr/bin/env python3
"""A WebSocket client for one exchange: sends a text, prints what comes back.

usage: echo_ws.py HOST:PORT PATH TEXT [TOKEN]   (with a token: over TLS, unverified)
"""
import base64
import os
import socket
import ssl
import sys

where, path, text = sys.argv[1:4]
token = sys.argv[4] if len(sys.argv) > 4 else None
host, port = where.rsplit(":", 1)
s = socket.create_connection((host, int(port)), timeout=10)
if token:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    s = context.wrap_socket(s)
head = f"GET {path} HTTP/1.1\r\nHost: {where}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
head += f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
if token:
    head += f"Authorization: Bearer {token}\r\n"
s.sendall((head + "\r\n").encode())
got = b""
while b"\r\n\r\n" not in got:
    data = s.recv(4096)
    if not data:
        sys.exit(f"no answer: {got!r}")
    got += data
answer, got = got.split(b"\r\n\r\n", 1)
if b" 101 " not in answer.split(b"\r\n")[0]:
    sys.exit(answer.decode() + "\n" + got.decode())
payload = text.encode()
s.sendall(bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
while len(got) < 2 + len(payload):
    data = s.recv(4096)
    if not data:
        sys.exit(f"cut off: {got!r}")
    got += data
print(got[2:2 + len(payload)].decode())
