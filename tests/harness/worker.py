# SPDX-License-Identifier: GPL-3.0-or-later
"""The test's end of a process inside: calls that happen inside the namespaces."""

import os
import pickle
import select
import signal
import struct
import subprocess
import time

INSIDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "inside.py")

# Seconds until a call that should answer counts as hanging. Never part of what a test promises.
PATIENCE = float(os.environ.get("PMXCFS_TEST_PATIENCE", "180"))


# For code that a worker executes. Linux itself shows zeros to a reader who has found a page and has no processor before it looks how long the
# file is, if the file is rewritten or grows in between (on any file system): the page was taken away, or came late after it was waited for. Such
# a read says nothing of its zeros. What is done to a file takes longer than these 10 us; of 100 reads 98 wait less.
DISTURBED = """
class Scheduled:
    file = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
    waited = 0

def disturbed():
    "Whether this thread has waited for a processor since the call before."
    before, Scheduled.waited = Scheduled.waited, int(os.pread(Scheduled.file, 100, 0).split()[1])
    return Scheduled.waited - before >= 10000
"""


class Hang(Exception):
    """A call did not return within PATIENCE seconds."""


class Pending:
    """A call under way in a worker; the worker does nothing else until it has returned."""

    def __init__(self, worker):
        self.worker = worker
        self.answer = None

    def done(self, seconds=0.0):
        """True once the call has returned; waits up to that many seconds."""
        if self.answer is None and self.worker.readable(seconds):
            self.answer = self.worker.receive()
        return self.answer is not None

    def result(self, seconds=None):
        """What the call returned or raised (OSError with its errno)."""
        if not self.done(PATIENCE if seconds is None else seconds):
            raise Hang("no answer from process %d" % self.worker.process.pid)
        succeeded, value = self.answer
        if not succeeded:
            raise value
        return value


class Module:
    """A module of the standard library as the process inside sees it."""

    def __init__(self, worker, name):
        self.worker = worker
        self.name = name

    def __getattr__(self, function):
        return lambda *arguments, **keywords: self.worker.call(self.name, function, *arguments, **keywords)


class Worker:
    """A process inside the namespaces that does calls for the test.

    worker.mkdir(path), worker.open(path, flags), worker.stat(path) ...: any function of `os`;
    worker.read_file(path), worker.write_file(path, data), worker.walk(path), worker.execute(code);
    worker.fcntl.flock(fd, op): a function of another module (fcntl, socket, shutil, resource).
    Errors are raised here as OSError with the errno of there. worker.start("mkdir", path) does not
    wait: it gives a Pending.
    """

    OWN = {"read_file", "write_file", "walk", "execute", "become", "start_process", "wait_child", "wait_gone"}
    MODULES = {"fcntl", "socket", "shutil", "resource", "mmap"}

    def __init__(self, command, kind="worker"):
        self.process = subprocess.Popen(
            command + ["/usr/bin/python3", "-IS", INSIDE, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self.last = None

    @property
    def busy(self):
        """True while a call is under way, or if the process is gone."""
        return self.process.poll() is not None or (self.last is not None and not self.last.done())

    def readable(self, seconds):
        return bool(select.select([self.process.stdout], [], [], seconds)[0])

    def read_exactly(self, size):
        parts = []
        while size:
            part = os.read(self.process.stdout.fileno(), min(size, 1 << 20))
            if not part:
                raise Hang("the process inside is gone (killed?)")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def receive(self):
        (size,) = struct.unpack("<I", self.read_exactly(4))
        return pickle.loads(self.read_exactly(size))

    def begin(self, module, name, *arguments, **keywords):
        data = pickle.dumps((module, name, arguments, keywords))
        data = memoryview(struct.pack("<I", len(data)) + data)
        while data:
            data = data[os.write(self.process.stdin.fileno(), data):]
        self.last = Pending(self)
        return self.last

    def call(self, module, name, *arguments, **keywords):
        return self.begin(module, name, *arguments, **keywords).result()

    def start(self, name, *arguments, **keywords):
        """Begin a call and do not wait for it."""
        return self.begin("" if name in self.OWN else "os", name, *arguments, **keywords)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self.MODULES:
            return Module(self, name)
        return lambda *arguments, **keywords: self.start(name, *arguments, **keywords).result()

    def exists(self, path):
        """True if there is something (a symlink counts, whether or not its target exists)."""
        try:
            self.lstat(path)
            return True
        except FileNotFoundError:
            return False

    def wait_for(self, condition, what, seconds=PATIENCE):
        """Waits until condition(self) is true; fails with `what` otherwise."""
        wait_for(lambda: condition(self), what, seconds)

    def close(self, fd=None):
        """Closes a descriptor there; without one, ends the process: it exits when its input ends, and
        one that hangs is killed."""
        if fd is not None:
            self.call("os", "close", fd)
            return
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.process.stdout.close()


def wait_for(condition, what, seconds=PATIENCE):
    """Waits until condition() is true, with a generous limit; its last value."""
    end = time.monotonic() + seconds
    pause = 0.001
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, "waited in vain: " + what
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
