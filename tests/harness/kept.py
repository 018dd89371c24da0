# SPDX-License-Identifier: GPL-3.0-or-later
"""The test's end of ways.py: what a process inside keeps of a file, and how it reaches the file by it later."""

import errno
import os
import subprocess

from .daemon import BUILD_DIR
from .worker import PATIENCE, Module, wait_for

DIRECTORY = os.path.dirname(os.path.abspath(__file__))
HOLD_LISTING = os.path.join(BUILD_DIR, "tests", "mount", "hold_listing")

PREPARE = """
import sys
sys.dont_write_bytecode = True
if directory not in sys.path:
    sys.path.append(directory)
"""


def ways(worker):
    """The functions of ways.py in that process."""
    worker.execute(PREPARE, {"directory": DIRECTORY})
    return Module(worker, "ways")


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
