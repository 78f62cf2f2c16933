#!/usr/bin/env python3
"""Runs a command on a terminal of a given size and types a text once a prompt has come.

usage: on_terminal.py ROWS COLUMNS PROMPT TEXT COMMAND...

Prints what the terminal shows and ends with the command's exit code; 124 after 40 seconds.
"""
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time


def main():
    rows, columns = int(sys.argv[1]), int(sys.argv[2])
    prompt = sys.argv[3].encode()
    text = sys.argv[4].encode().decode("unicode_escape").encode()
    pid, fd = pty.fork()
    if pid == 0:
        os.execvp(sys.argv[5], sys.argv[5:])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    os.kill(pid, signal.SIGWINCH)
    shown, typed, end = b"", False, time.time() + 40
    while time.time() < end:
        if not select.select([fd], [], [], 0.2)[0]:
            continue
        try:
            data = os.read(fd, 65536)
        except OSError:  # The other end is closed.
            data = b""
        if not data:
            break
        shown += data
        if not typed and prompt in shown:
            os.write(fd, text)
            typed = True
    else:
        os.kill(pid, signal.SIGKILL)
        print("no end after 40 seconds")
    sys.stdout.buffer.write(shown)
    sys.stdout.flush()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    sys.exit(124 if code < 0 else code)


main()
