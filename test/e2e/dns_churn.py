#!/usr/bin/env python3
"""Asks for one Service's name again and again while others change: counts what is lost or wrong.

usage: dns_churn.py SERVER NAME ADDRESS SECONDS     prints "N asked, M lost, K wrong"
"""
import socket
import struct
import sys
import time

server, name, address, seconds = sys.argv[1:]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(2)
s.connect((server, 53))
question = b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + b"\0\0\1\0\1"
asked = lost = wrong = 0
end = time.monotonic() + float(seconds)
while time.monotonic() < end:
    asked += 1
    query = struct.pack("!HHHHHH", asked & 0xFFFF, 0x100, 1, 0, 0, 0) + question
    s.send(query)
    try:
        reply = s.recv(4096)
        while reply[:2] != query[:2]:
            reply = s.recv(4096)
        if reply[3] & 15 or reply[-4:] != socket.inet_aton(address):
            wrong += 1
    except socket.timeout:
        lost += 1
    time.sleep(0.0005)
print(f"{asked} asked, {lost} lost, {wrong} wrong")
sys.exit(0 if asked > 100 and lost == 0 and wrong == 0 else 1)
