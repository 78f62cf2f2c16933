#!/usr/bin/env python3
"""Runs a command in a container over one WebSocket protocol, as dashboards do.

usage: exec_ws.py HOST:PORT TOKEN PROTOCOL POD CONTAINER COMMAND...

Prints what came on each channel, one line each: "1 out". With TOKEN_AS_PROTOCOL set
the token travels as browsers send it.
"""
import base64
import os
import socket
import ssl
import sys
import urllib.parse

where, token, protocol, pod, container = sys.argv[1:6]
query = [("stdout", "true"), ("stderr", "true"), ("container", container)] + [("command", c) for c in sys.argv[6:]]
host, port = where.rsplit(":", 1)
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
s = context.wrap_socket(socket.create_connection((host, int(port)), timeout=10))
offer, authorization = protocol, f"Authorization: Bearer {token}\r\n"
if os.environ.get("TOKEN_AS_PROTOCOL"):
    encoded = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    offer, authorization = f"base64url.bearer.authorization.k8s.io.{encoded}, {protocol}", ""
s.sendall((f"GET /api/v1/namespaces/default/pods/{pod}/exec?{urllib.parse.urlencode(query)} HTTP/1.1\r\n"
           f"Host: {where}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
           f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
           f"Sec-WebSocket-Protocol: {offer}\r\n{authorization}\r\n").encode())
got = b""
while b"\r\n\r\n" not in got:
    got += s.recv(65536)
head, got = got.split(b"\r\n\r\n", 1)
if b" 101 " not in head.split(b"\r\n")[0] or protocol.encode() not in head:
    sys.exit(head.decode() + got.decode())
while data := s.recv(65536):
    got += data
channels = {}
while got:
    opcode, n, at = got[0] & 15, got[1], 2
    if n == 126:
        n, at = int.from_bytes(got[2:4], "big"), 4
    payload, got = got[at:at + n], got[at + n:]
    if opcode == 8:
        channels["closed"] = str(int.from_bytes(payload[:2], "big")).encode()
    elif payload:
        channel = payload[:1].decode() if opcode == 1 else str(payload[0])
        body = base64.b64decode(payload[1:]) if opcode == 1 else payload[1:]
        channels[channel] = channels.get(channel, b"") + body
for channel in sorted(channels):
    print(channel, channels[channel].decode().strip())
