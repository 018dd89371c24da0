# SPDX-License-Identifier: GPL-3.0-or-later
"""Random calls on a few files, one after the other, each also made on a file system that is right by definition: what several processes are
answered on a mount must be what they are answered there."""

import errno
import os

NAMES = ["a", "b", "d/a", "e/a"]
DIRECTORIES = ["d", "e", "d/f"]
KEYS = range(3)  # the descriptors of a process

MAP = """
import mmap
size = os.fstat(fd).st_size
result = b""
if size:
    with mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ) as pages:
        result = pages[:]
"""
WRITE_MAP = """
import mmap
size = os.fstat(fd).st_size
if size:
    with mmap.mmap(fd, size) as pages:
        pages[offset % size] = byte
        pages.flush()
"""
READ_DIRECTLY = """
import mmap
fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
try:
    with mmap.mmap(-1, 1 << 20) as buffer:
        result = buffer[:os.preadv(fd, [buffer], 0)]
finally:
    os.close(fd)
"""


class Caller:
    """What a process does in a directory, with descriptors that it keeps by number."""

    def __init__(self, process, directory):
        self.process = process
        self.directory = directory
        self.kept = {}

    def call(self, kind, *arguments):
        """What the call answered, or its errno."""
        try:
            return getattr(self, kind)(*arguments)
        except OSError as error:
            return errno.errorcode[error.errno]

    def is_gone(self, key):
        """True if the descriptor's file has no name any more."""
        return key in self.kept and self.process.fstat(self.kept[key]).st_nlink == 0

    def close_all(self):
        for key in KEYS:
            self.close(key)

    # What concerns a descriptor; nothing, if it is not open.

    def open(self, key, name, flags):
        self.close(key)
        self.kept[key] = self.process.open(self.directory + "/" + name, flags, 0o640)
        return self.fstat(key)

    def close(self, key):
        if key in self.kept:
            self.process.close(self.kept.pop(key))

    def of_descriptor(self, function, key, *arguments):
        return getattr(self.process, function)(self.kept[key], *arguments) if key in self.kept else None

    def pread(self, key, offset):
        return self.of_descriptor("pread", key, 20000, offset)

    def pwrite(self, key, data, offset):
        return self.of_descriptor("pwrite", key, data, offset)

    def write(self, key, data):
        return self.of_descriptor("write", key, data)

    def ftruncate(self, key, size):
        return self.of_descriptor("ftruncate", key, size)

    def fsync(self, key):
        return self.of_descriptor("fsync", key)

    def end(self, key):
        return self.of_descriptor("lseek", key, 0, os.SEEK_END)

    def fstat(self, key):
        found = self.of_descriptor("fstat", key)
        return found and (found.st_size, found.st_nlink)

    def map(self, key):
        return self.process.execute(MAP, {"fd": self.kept[key]}) if key in self.kept else None

    def write_map(self, key, offset, byte):
        return self.process.execute(WRITE_MAP, {"fd": self.kept[key], "offset": offset, "byte": byte}) if key in self.kept else None

    # What concerns a name.

    def truncate(self, name, size):
        return self.process.truncate(self.directory + "/" + name, size)

    def read(self, name):
        return self.process.read_file(self.directory + "/" + name)

    def read_directly(self, name):
        return self.process.execute(READ_DIRECTLY, {"path": self.directory + "/" + name})

    def rewrite(self, name, data):
        return self.process.write_file(self.directory + "/" + name, data)

    def size(self, name):
        return self.process.stat(self.directory + "/" + name).st_size

    def rename(self, name, to):
        return self.process.rename(self.directory + "/" + name, self.directory + "/" + to)

    def unlink(self, name):
        return self.process.unlink(self.directory + "/" + name)

    def mkdir(self, name):
        return self.process.mkdir(self.directory + "/" + name)

    def rmdir(self, name):
        return self.process.rmdir(self.directory + "/" + name)

    def walk(self):
        return self.process.walk(self.directory)


CHANGES = {"open", "pwrite", "write_map", "write", "ftruncate", "truncate", "rewrite", "rename", "unlink", "mkdir", "rmdir"}
FLAGS = [os.O_RDWR, os.O_RDWR, os.O_RDWR | os.O_CREAT, os.O_RDWR | os.O_APPEND, os.O_RDWR | os.O_TRUNC,
         os.O_RDWR | os.O_CREAT | os.O_TRUNC, os.O_RDWR | os.O_CREAT | os.O_EXCL]


def choose_size(chance):
    return chance.choice([0, 1, 3, 5, 10, chance.randrange(64), chance.choice([4096, chance.randrange(9000), 2, 2, 2])])


def choose(chance):
    """A call: its kind and arguments."""
    name, key, size, offset = chance.choice(NAMES), chance.choice(KEYS), choose_size(chance), choose_size(chance)
    directory = chance.choice(DIRECTORIES)
    data = bytes([chance.randrange(1, 256)]) * size
    calls = [
        (6, ("open", key, name, chance.choice(FLAGS))), (1, ("close", key)), (6, ("pwrite", key, data, offset)), (4, ("write", key, data)),
        (8, ("pread", key, chance.choice([0, 0, offset]))), (6, ("ftruncate", key, size)), (3, ("fstat", key)), (2, ("end", key)),
        (4, ("map", key)), (2, ("write_map", key, offset, size % 256)), (5, ("truncate", name, size)), (8, ("read", name)), (2, ("read_directly", name)), (4, ("rewrite", name, data)),
        (3, ("size", name)), (1, ("rename", name, chance.choice(NAMES))), (1, ("unlink", name)), (1, ("walk",)), (2, ("mkdir", directory)), (1, ("rmdir", directory)), (1, ("rename", name, directory)), (1, ("unlink", directory)), (1, ("rmdir", name)), (2, ("fsync", key)),
    ]
    return chance.choices([call for _, call in calls], [weight for weight, _ in calls])[0]


def compare(chance, count, processes, model, settle=lambda number: None):
    """That many calls by processes, each a Worker and its directory, and the same in `model`, a directory that is right. settle(number) is called
    after each change, with the number of who made it. What differs first, with the calls before it; None: nothing."""
    callers = [(Caller(process, directory), Caller(process, model)) for process, directory in processes]
    last = []
    try:
        for number in range(count):
            who = chance.randrange(len(callers))
            caller, right = callers[who]
            call = choose(chance)
            if call[0] in ("pwrite", "write", "write_map", "ftruncate") and right.is_gone(call[1]):
                continue  # what has no name cannot be changed (pmxcfs(8))
            answer, expected = caller.call(*call), right.call(*call)
            last = last[-14:] + ["%d: process %d: %s: %s, expected %s" % (number, who, call, answer, expected)]
            if answer != expected:
                return "\n".join(last)
            if call[0] in CHANGES:
                settle(who)
    finally:
        for both in callers:
            for caller in both:
                caller.close_all()
    return None
