# SPDX-License-Identifier: GPL-3.0-or-later
"""One process of the stress (test_stress.py), run inside a node's namespaces: does whatever comes to its mind to a few
files, and writes down what must not be.

What may be done to a file is told by the first letter of its name:
  w  written as a whole, so that no hole can come to be: rewritten, written to at its start, emptied, replaced, unlinked
  l  a log that is only appended to
  a  anything, so that it has holes
  r  rewritten, and nothing else
"""

import errno
import mmap
import os
import random
import time

MIB = 1 << 20
UNDISTURBED = 20000  # nanoseconds, in which no rewrite has room
SIZES = (1, 100, 4095, 4096, 5000, 20000, 140000)
# Of a file that somebody has unlinked or replaced; and of one that has become too large.
EXPECTED = (errno.ENOENT, errno.EFBIG)


class Client:
    """`letter`: what this process alone writes."""

    def __init__(self, directory, letter, seed):
        self.directory = directory
        self.letter = letter
        self.chance = random.Random(seed)
        self.kept = {}
        self.bad = []
        self.count = 0
        self.scheduled = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        self.waited = 0

    def without_processor(self):
        """Nanoseconds that this thread has waited for one so far."""
        return int(os.pread(self.scheduled, 100, 0).split()[1])

    def path(self, name):
        return self.directory + "/" + name

    def keep(self, name):
        """A descriptor of that file, kept from some time before; None if there was none to be had."""
        if name in self.kept and self.chance.random() < 0.1:
            os.close(self.kept.pop(name))
        if name not in self.kept:
            flags = os.O_APPEND if name[0] == "l" else 0
            self.kept[name] = self.open(name, os.O_RDWR | flags)
        if self.kept[name] is None:
            return self.kept.pop(name)
        return self.kept[name]

    def open(self, name, flags, path=None):
        """A descriptor, or None if there is no such file. There must not be another error, and with O_CREAT none."""
        try:
            return os.open(path or self.path(name), flags, 0o640)
        except OSError as error:
            if error.errno != errno.ENOENT or flags & os.O_CREAT:
                self.bad.append((name, "open", flags, errno.errorcode[error.errno]))
            return None

    def some(self):
        return self.letter * self.chance.choice(SIZES)

    def check(self, name, what, data):
        """Linux itself can show zeros to a reader that has found a page and has no processor before it looks how long
        the file is, if the page is replaced meanwhile: such a read says nothing."""
        if name[0] != "a" and b"\0" in data and self.without_processor() - self.waited < UNDISTURBED:
            self.bad.append((name, what, len(data), data.find(b"\0"), data.count(b"\0")))

    # What is done

    def rewrite(self, name):
        fd = self.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        if fd is None:
            return
        try:
            if self.chance.random() < 0.9:
                os.write(fd, self.some())
        finally:
            os.close(fd)

    def replace(self, name):
        temporary = "t-%s" % self.letter.decode()
        self.rewrite(temporary)
        os.rename(self.path(temporary), self.path(name))

    def unlink(self, name):
        if self.chance.random() < 0.3:
            os.unlink(self.path(name))

    def empty(self, name):
        os.truncate(self.path(name), 0)

    def write_at_the_start(self, name):
        fd = self.keep(name)
        if fd is not None:
            os.pwrite(fd, self.some(), 0)

    def append(self, name):
        fd = self.keep(name)
        if fd is not None:
            os.write(fd, self.letter * self.chance.randrange(1, 200))

    def append_by_name(self, name):
        fd = self.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        if fd is None:
            return
        try:
            os.write(fd, self.letter * self.chance.randrange(1, 200))
        finally:
            os.close(fd)

    def write_anywhere(self, name):
        fd = self.keep(name)
        if fd is not None:
            os.pwrite(fd, self.some(), self.chance.randrange(300000))

    def truncate_anywhere(self, name):
        fd = self.keep(name)
        if fd is not None:
            os.ftruncate(fd, self.chance.randrange(300000))

    # What is looked at

    def read(self, name):
        fd = self.open(name, os.O_RDONLY)
        if fd is not None:
            self.check(name, "read", os.read(fd, 2 * MIB))
            size = os.fstat(fd).st_size
            self.check(name, "pread", os.pread(fd, size, 0))
            os.close(fd)

    def read_kept(self, name):
        fd = self.keep(name)
        if fd is not None:
            self.check(name, "kept", os.pread(fd, 2 * MIB, 0))

    def read_directly(self, name):
        fd = self.open(name, os.O_RDONLY | os.O_DIRECT)
        if fd is not None:
            self.check(name, "direct", read_directly(fd))
            os.close(fd)

    def reopen(self, name):
        """Of a file that is unlinked or replaced meanwhile there may be no more to open."""
        fd = self.keep(name)
        if fd is not None:
            again = self.open(name, os.O_RDONLY, "/proc/self/fd/%d" % fd)
            if again is not None:
                self.check(name, "reopened", os.read(again, 2 * MIB))
                os.close(again)

    def map(self, name):
        """In a child, since who reads a map behind the end of its file gets SIGBUS. What is read is not checked: a page
        has zeros behind the end."""
        fd = self.keep(name)
        if fd is None:
            return
        child = os.fork()
        if child == 0:
            try:
                read_map(fd)
            finally:
                os._exit(0)
        os.waitpid(child, 0)

    def look(self, name):
        os.stat(self.path(name))
        os.listdir(self.directory)

    LOOKS = (read, read, read_kept, read_kept, read_directly, reopen, map, look)
    CHANGES = {
        "w": (rewrite, rewrite, rewrite, replace, unlink, empty, write_at_the_start, write_at_the_start),
        "l": (append, append, append_by_name),
        "r": (rewrite,),
        "a": (rewrite, replace, unlink, empty, append, append_by_name, write_anywhere, truncate_anywhere),
    }
    OF_NAMES = (replace, unlink)

    def step(self, names):
        name = self.chance.choice(names)
        self.waited = self.without_processor()
        act = self.chance.choice(self.LOOKS if self.chance.random() < 0.6 else self.CHANGES[name[0]])
        try:
            act(self, name)
        except OSError as error:
            # What was open when another node renamed a file to its name: the change was made to that one.
            overtaken = error.errno == errno.EBUSY and act not in self.LOOKS + self.OF_NAMES
            if error.errno not in EXPECTED and not overtaken:
                self.bad.append((name, act.__name__, errno.errorcode[error.errno]))
        self.count += 1


client = None


def read_directly(fd):
    with mmap.mmap(-1, 2 * MIB) as buffer:
        return buffer[:os.preadv(fd, [buffer], 0)]


def read_map(fd):
    size = os.fstat(fd).st_size
    if size == 0:
        return b""
    with mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ) as map:
        return map[:]


# What the test calls


def run(directory, names, letter, seed, seconds):
    """Works for that long; how many steps, and what must not be."""
    global client
    client = Client(directory, letter, seed)
    end = time.monotonic() + seconds
    while client.count < 50 or time.monotonic() < end:
        client.step(names)
        time.sleep(client.chance.choice((0, 0, 0.001, 0.003)))
    return client.count, client.bad


def at_rest():
    """{name: (inode number, size, and the content as it is read in all ways)} of all files, and of the kept
    descriptors [(name, inode number, size, content)]."""
    found = {}
    for name in sorted(os.listdir(client.directory)):
        path = client.path(name)
        fd, direct = os.open(path, os.O_RDONLY), os.open(path, os.O_RDONLY | os.O_DIRECT)
        sizes = {os.stat(path).st_size, os.fstat(fd).st_size}
        inodes = {os.stat(path).st_ino, os.fstat(fd).st_ino, os.fstat(direct).st_ino}
        contents = {os.pread(fd, 2 * MIB, 0), read_directly(direct), read_map(fd)}
        found[name] = (sorted(inodes), sorted(sizes), sorted(contents))
        os.close(fd)
        os.close(direct)
    kept = [(name, os.fstat(fd).st_ino, os.fstat(fd).st_size, os.pread(fd, 2 * MIB, 0)) for name, fd in client.kept.items()]
    return found, kept
