#!/usr/bin/env python3
"""A little resolver for test_dns.sh: answers on ADDRESS, port 53, UDP and TCP.

usage: dns_upstream.py ADDRESS LOG      each question is a line of LOG

  www.example.test   192.0.2.1      big.example.test   200 addresses, cut over UDP
  slow.example.test  no answer      anything else      no such name
"""
import socket
import socketserver
import struct
import sys
import threading

log = open(sys.argv[2], "a", buffering=1)


def name_of(msg):
    labels, at = [], 12
    while msg[at]:
        labels.append(msg[at + 1:at + 1 + msg[at]].decode())
        at += msg[at] + 1
    return ".".join(labels).lower(), at + 5


def answer(msg, tcp):
    name, end = name_of(msg)
    kind = struct.unpack_from("!H", msg, end - 4)[0]
    log.write(f"{'tcp' if tcp else 'udp'} {name} {kind}\n")
    question, flags, records, authority = msg[12:end], 0x8180, [], b""
    soa = b"\0\0\6\0\1\0\0\0\x1e\0\x16\0\0" + struct.pack("!5I", 1, 30, 30, 30, 30)
    if name == "slow.example.test":
        return None
    if name == "www.example.test":
        records = [bytes([192, 0, 2, 1])] if kind == 1 else []
    elif name == "big.example.test" and kind == 1:
        records = [bytes([192, 0, 2, i]) for i in range(200)]
        if not tcp:
            flags, records = flags | 0x200, []
    elif name != "big.example.test":
        flags |= 3
    if not records and not flags & 0x200:
        authority = soa
    body = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + r for r in records)
    head = msg[:2] + struct.pack("!HHHHH", flags, 1, len(records), 1 if authority else 0, 0)
    return head + question + body + authority


class Tcp(socketserver.StreamRequestHandler):
    def handle(self):
        while len(size := self.rfile.read(2)) == 2:
            reply = answer(self.rfile.read(struct.unpack("!H", size)[0]), True)
            if reply:
                self.wfile.write(struct.pack("!H", len(reply)) + reply)


socketserver.ThreadingTCPServer.allow_reuse_address = True
tcp = socketserver.ThreadingTCPServer((sys.argv[1], 53), Tcp)
threading.Thread(target=tcp.serve_forever, daemon=True).start()
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind((sys.argv[1], 53))
log.write("ready\n")
while True:
    query, sender = udp.recvfrom(4096)
    reply = answer(query, False)
    if reply:
        udp.sendto(reply, sender)
