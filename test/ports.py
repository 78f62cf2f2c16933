#!/usr/bin/env python3
"""Ports of loopback for tests, kept apart between runs on one machine by locks on files of a shared folder.

Below the ports the kernel gives to outgoing connections, which could take a port between the look and the server's bind.
Single ports are for servers that want any; a block of 40 is for a cluster and its base port. A lock lasts as long as the
process that took it, so nothing is left to clean up. lib.sh of the end-to-end tests takes its blocks the same way.

usage: test/ports.py BASE   succeeds when nobody listens on the block of ports that begins there
"""
import fcntl
import os
import random
import socket
import sys
import threading

HOST = "127.0.0.1"
FOLDER = os.path.join(os.environ.get("TMPDIR", "/tmp"), "trireme-ports")
SINGLE = (10000, 24000)
BLOCKS = (24000, 32000)
BLOCK_STEP, BLOCK_SIZE = 50, 40

_given = {}  # name -> descriptor of its lock
_lock = threading.Lock()


def _take(name):
    """Says to other runs beside this one that it is taken, for as long as this process lives."""
    if name in _given:
        return False
    f = -1
    try:
        os.makedirs(FOLDER, exist_ok=True)
        f = os.open(os.path.join(FOLDER, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if f >= 0:
            os.close(f)
        return False
    _given[name] = f
    return True


def _give_back(name):
    os.close(_given.pop(name))


def unused(first, count=1):
    """Nobody listens on these ports now."""
    for port in range(first, first + count):
        with socket.socket() as s:
            try:
                s.bind((HOST, port))
            except OSError:
                return False
    return True


def _find(choose, name, count):
    with _lock:
        for _ in range(1000):
            first = choose()
            if not _take(name % first):
                continue
            if unused(first, count):
                return first
            _give_back(name % first)
    raise RuntimeError("no free ports (locks are in %s)" % FOLDER)


def free_port():
    """A port nobody listens on now; never given twice by this process."""
    return _find(lambda: random.randrange(*SINGLE), "%d", 1)


def free_block():
    """The first of 40 ports, for `trireme up --base-port`."""
    return _find(lambda: random.randrange(*BLOCKS, BLOCK_STEP), "block-%d", BLOCK_SIZE)


if __name__ == "__main__":
    sys.exit(0 if unused(int(sys.argv[1]), BLOCK_SIZE) else 1)
