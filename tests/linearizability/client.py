# SPDX-License-Identifier: GPL-3.0-or-later
"""A client on one node: does operations without end and writes down what it asked for, when, and the answer.

client.py MOUNT FOLDER NODE NAME SEED LOG PROGRESS STOP    (runs inside of the node's namespaces)

Each line of the log is a JSON list: kind, key, value, source, begin, end, result. Times are those of
CLOCK_MONOTONIC, one for all processes of the machine. The result is "ok", "no" (refused for what is
there or is not: it has changed nothing) or the name of an error, after which the change may or may
not be made. All paths are taken from a directory that was opened before, so that no answer is that
of the bare directory below a mount that is gone.
"""

import errno
import json
import os
import random
import sys
import time

KEYS = 4
KEPT = 12  # files of its own that a client leaves before it removes the oldest
PATIENCE_FOR_LOCK = 20
VALUE_SIZE = 32
# The same with more newlines behind it, which is more than goes into one packet.
SIZES = (VALUE_SIZE, 1400, 4000)
PAUSE = 0.006


class Client:
    def __init__(self, mount, folder, node, name, seed, log, progress, stop):
        self.base = os.path.join(mount, folder)
        self.locks = os.path.join(mount, "priv", "lock")
        self.node = node
        self.name = name
        self.random = random.Random(seed)
        self.log = open(log, "a", buffering=1)
        self.progress = os.open(progress, os.O_WRONLY | os.O_CREAT, 0o600)
        self.stop = stop
        self.number = 0
        self.acknowledged = 0
        self.own = []
        self.listed = set()
        self.claim = 0
        self.lock = 0
        self.lock_tries = 0

    def note(self, kind, key, value, source, begin, result):
        self.log.write(json.dumps([kind, key, value, source, begin, time.monotonic(), result]) + "\n")
        if result == "ok" and kind not in ("read", "list"):
            self.acknowledged += 1
            os.pwrite(self.progress, b"%d" % self.acknowledged, 0)

    def change(self, kind, key, value, source, call, refusals=()):
        """Does and notes one change; True if it was acknowledged."""
        begin = time.monotonic()
        try:
            call()
            result = "ok"
        except OSError as error:
            result = "no" if error.errno in refusals else errno.errorcode[error.errno]
        self.note(kind, key, value, source, begin, result)
        if result not in ("ok", "no"):
            time.sleep(0.02)
        return result == "ok"

    def new_name(self):
        self.number += 1
        return "%s-%d" % (self.name, self.number)

    # Values: files that are read and replaced as a whole.

    def read(self, directory):
        key = "r%d" % self.random.randrange(KEYS)
        begin = time.monotonic()
        fd = os.open(key, os.O_RDONLY, dir_fd=directory)
        try:
            value = os.read(fd, 2 * max(SIZES)).decode().rstrip("\n")
        finally:
            os.close(fd)
        self.note("read", key, value, None, begin, "ok")

    def write(self, directory):
        key = "r%d" % self.random.randrange(KEYS)
        value = self.new_name()
        fd = os.open(key, os.O_WRONLY, dir_fd=directory)
        try:
            # ENOENT: the file was replaced after it was opened.
            self.change("write", key, value, "in place", lambda: os.pwrite(fd, value.ljust(VALUE_SIZE, "\n").encode(), 0),
                        (errno.ENOENT,))
        finally:
            os.close(fd)

    def replace(self, directory):
        """The same as programs do it: another file is renamed onto it."""
        key = "r%d" % self.random.randrange(KEYS)
        value = self.new_name()
        temporary = "." + value
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o640, dir_fd=directory)
        try:
            os.pwrite(fd, value.ljust(self.random.choice(SIZES), "\n").encode(), 0)
        finally:
            os.close(fd)
        # ENOENT: what was to be renamed was lost before.
        self.change("write", key, value, "by a rename",
                    lambda: os.rename(temporary, key, src_dir_fd=directory, dst_dir_fd=directory), (errno.ENOENT,))

    # The token: a name that who sees it may replace by the next.

    def read_token(self, directory):
        begin = time.monotonic()
        names = sorted(name for name in os.listdir(directory) if name.startswith("token."))
        self.note("read", "token", " ".join(names), None, begin, "ok")
        return names

    def pass_token(self, directory):
        names = self.read_token(directory)
        if len(names) != 1:
            return
        value = "token." + self.new_name()
        self.change("rename", "token", value, names[0],
                    lambda: os.rename(names[0], value, src_dir_fd=directory, dst_dir_fd=directory), (errno.ENOENT,))

    # Files that one client alone makes and removes.

    def create(self, directory):
        name = "f." + self.new_name()
        if self.change("create", name, None, None, lambda: make(name, directory), (errno.EEXIST,)):
            self.own.append(name)
        if len(self.own) > KEPT:
            name = self.own.pop(0)
            self.change("remove", name, None, None, lambda: os.unlink(name, dir_fd=directory), (errno.ENOENT,))

    def list(self, directory):
        begin = time.monotonic()
        names = {name for name in os.listdir(directory) if name.startswith("f.")}
        self.note("list", None, sorted(names - self.listed), sorted(self.listed - names), begin, "ok")
        self.listed = names

    # Names that all try to make, one after the other: one wins each.

    def claim_next(self, directory):
        numbers = [int(name[2:]) for name in os.listdir(directory) if name.startswith("c.")]
        self.claim = max([self.claim, *numbers])
        name = "c.%d" % (self.claim + self.random.randrange(2))
        self.claim += 1
        if self.change("claim", name, self.name, None, lambda: make(name, directory), (errno.EEXIST,)):
            old = "c.%d" % (self.claim - 30)
            if int(old[2:]) in numbers:
                self.change("forget", old, None, None, lambda: os.unlink(old, dir_fd=directory), (errno.ENOENT,))

    # Locks. One whose release had no answer is never tried again: a release that comes late must not
    # take away the lock of the next owner.

    def hold_lock(self, directory):
        name = "lin%d" % self.lock
        if not self.change("lock", name, self.name, None, lambda: os.mkdir(name, 0o755, dir_fd=directory), (errno.EEXIST,)):
            self.lock_tries += 1
            if self.lock_tries > PATIENCE_FOR_LOCK:
                self.lock += 1
                self.lock_tries = 0
            return
        self.lock_tries = 0
        time.sleep(self.random.random() * 0.02)
        if not self.change("unlock", name, self.name, None, lambda: os.rmdir(name, dir_fd=directory),
                           (errno.ENOENT,)):
            self.lock += 1

    def step(self):
        work, directory = self.random.choices(
            [(self.read, self.base), (self.write, self.base), (self.replace, self.base), (self.read_token, self.base),
             (self.pass_token, self.base), (self.create, self.base), (self.list, self.base), (self.claim_next, self.base),
             (self.hold_lock, self.locks)],
            [30, 12, 4, 8, 8, 12, 6, 8, 8])[0]
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            time.sleep(0.05)  # the daemon is not there
            return
        try:
            work(fd)
        except OSError:
            time.sleep(0.02)  # a reading call, or an open, failed: nothing is known, nothing was changed
        finally:
            os.close(fd)

    def run(self):
        while not os.path.exists(self.stop):
            self.step()
            time.sleep(self.random.random() * PAUSE)


def make(name, directory):
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640, dir_fd=directory))


if __name__ == "__main__":
    mount, folder, node, name, seed, log, progress, stop = sys.argv[1:]
    Client(mount, folder, int(node), name, seed, log, progress, stop).run()
