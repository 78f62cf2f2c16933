#!/usr/bin/env python3
"""A WebSocket server that sends every short message back. usage: echo_ws_server.py PORT"""
import base64
import hashlib
import socket
import sys

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
listener = socket.create_server(("0.0.0.0", int(sys.argv[1])))
while True:
    s, _ = listener.accept()
    got = b""
    while b"\r\n\r\n" not in got:
        got += s.recv(4096)
    head, got = got.split(b"\r\n\r\n", 1)
    key = [l.split(b": ", 1)[1] for l in head.split(b"\r\n") if l.lower().startswith(b"sec-websocket-key")]
    accept = base64.b64encode(hashlib.sha1(key[0] + GUID).digest())
    s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    while True:
        while len(got) < 6 or len(got) < 6 + (got[1] & 0x7F):
            data = s.recv(4096)
            if not data:
                break
            got += data
        else:
            n = got[1] & 0x7F
            mask, payload, got = got[2:6], got[6:6 + n], got[6 + n:]
            s.sendall(bytes([0x81, n]) + bytes(c ^ mask[i & 3] for i, c in enumerate(payload)))
            continue
        break
    s.close()
