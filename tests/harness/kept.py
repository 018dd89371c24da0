# SPDX-License-Identifier: GPL-3.0-or-later
"""The test's end of ways.py: what a process inside keeps of a file, and how it reaches the file by it later."""

import errno
import os
import struct
import subprocess

from .daemon import BUILD_DIR
from .worker import PATIENCE, Module, wait_for

WAYS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ways.py")
HOLD_LISTING = os.path.join(BUILD_DIR, "tests", "mount", "hold_listing")

PREPARE = """
import sys
sys.dont_write_bytecode = True
if directory not in sys.path:
    sys.path.append(directory)
"""


def load(worker, path):
    """The functions of a source file, in that process; it needs the standard library only."""
    directory, name = os.path.split(path)
    worker.execute(PREPARE, {"directory": directory})
    return Module(worker, name.removesuffix(".py"))


def ways(worker):
    """The functions of ways.py in that process."""
    return load(worker, WAYS)


def read_all_ways(user, numbers, size=-1):
    """{way: the first `size` bytes of what it shows, or the name of its error} of {way: number}."""
    found = {}
    for way, number in numbers.items():
        try:
            data = user.read(number)
            found[way] = data if size < 0 else data[:size]
        except OSError as error:
            found[way] = errno.errorcode[error.errno]
    return found


class StuckListing:
    """A process that is stuck in the listing of a directory, and so holds the directory's lock in the kernel."""

    def __init__(self, namespace, path):
        self.process = namespace.popen([HOLD_LISTING, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("listing "), "no listing is held: %r" % line
        self.pid = int(line.split()[1])

    def is_stuck(self):
        return self.process.poll() is None

    def end(self):
        """Lets it go on, and waits for its end."""
        self.process.stdin.close()
        wait_for(lambda: self.process.poll() is not None, "the end of a listing", PATIENCE)
        assert self.process.returncode == 0
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


WATCH = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
result = libc.inotify_init1(os.O_NONBLOCK)
assert libc.inotify_add_watch(result, path.encode(), 0xfff) > 0
"""

EVENTS = {0x1: "ACCESS", 0x2: "MODIFY", 0x4: "ATTRIB", 0x8: "CLOSE_WRITE", 0x10: "CLOSE_NOWRITE", 0x20: "OPEN",
          0x40: "MOVED_FROM", 0x80: "MOVED_TO", 0x100: "CREATE", 0x200: "DELETE", 0x400: "DELETE_SELF", 0x800: "MOVE_SELF", 0x8000: "IGNORED"}


class Watch:
    """inotify on one path."""

    def __init__(self, worker, path):
        self.worker = worker
        self.fd = worker.execute(WATCH, {"path": path})

    def events(self):
        """Names of what has happened since the last call."""
        try:
            data = self.worker.read(self.fd, 65536)
        except BlockingIOError:
            return []
        found, at = [], 0
        while at < len(data):
            _, mask, _, length = struct.unpack_from("iIII", data, at)
            found += [name for bit, name in EVENTS.items() if mask & bit]
            at += 16 + length
        return found

    def expect(self, *names):
        """Waits until all these have happened since the last call."""
        found = []

        def all_there():
            found.extend(self.events())
            return set(names) <= set(found)

        wait_for(all_there, "%s are told" % (names,))
        return found
