#!/usr/bin/python3
"""Reads a container's log from a WebSocket; prints each message: "binary", "text" or "close", then what it holds.

usage: log_ws.py HOST:PORT TOKEN SUBPROTOCOL|"" POD CONTAINER
"""
import ssl
import sys

import websocket

where, token, protocol, pod, container = sys.argv[1:6]
try:
    w = websocket.create_connection(
        "wss://%s/api/v1/namespaces/default/pods/%s/log?container=%s" % (where, pod, container), timeout=20,
        sslopt={"cert_reqs": ssl.CERT_NONE, "check_hostname": False}, header=["Authorization: Bearer " + token],
        subprotocols=[protocol] if protocol else None)
except websocket.WebSocketBadStatusException as why:
    sys.exit(str(why.status_code))
print("subprotocol", w.subprotocol)
names, opcode = {1: "text", 2: "binary", 8: "close"}, None
while opcode != websocket.ABNF.OPCODE_CLOSE:
    opcode, data = w.recv_data(control_frame=True)
    print(names[opcode], "1000" if data == b"\x03\xe8" else data.decode().strip())
