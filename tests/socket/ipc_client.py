# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of the local socket, each a process of its own that speaks through libqb (client.c)."""

import json
import os
import select
import signal
import struct
import subprocess
from collections import namedtuple

from harness import BUILD_DIR, PATIENCE, Hang, wait_for

CLIENT = os.path.join(BUILD_DIR, "tests", "socket", "socket_client")
STRESS = os.path.join(BUILD_DIR, "tests", "socket", "socket_stress")

Reply = namedtuple("Reply", "error data")


class Refused(Exception):
    """The service did not take the connection; its errno."""


def text(string):
    """A NUL-ended string."""
    return (string if isinstance(string, bytes) else string.encode()) + b"\0"


def field(string):
    """A name in 256 bytes."""
    return (string if isinstance(string, bytes) else string.encode()).ljust(256, b"\0")


class Client:
    """A connection; requests with checks that hold for every reply."""

    def __init__(self, daemon, uid=None, gid=None, groups=(), buffer_size=1048576):
        self.daemon = daemon
        self.process = daemon.namespace.popen([CLIENT, daemon.socket_name, str(buffer_size)], uid, gid, groups,
                                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.rest = b""
        first = self.read_line()
        if first != "connected":
            self.close()
            raise Refused(int(first.split()[1]))

    def read_line(self, seconds=PATIENCE):
        while b"\n" not in self.rest:
            if not select.select([self.process.stdout], [], [], seconds)[0]:
                raise Hang("no reply")
            part = os.read(self.process.stdout.fileno(), 1 << 20)
            if not part:
                raise Hang("the client has ended")
            self.rest += part
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode()

    def tell(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def parse(self, line, identifier=None):
        word, *fields = line.split(" ")
        if word == "failed":
            raise OSError(int(fields[0]), os.strerror(int(fields[0])))
        number, size, error, data = int(fields[0]), int(fields[1]), int(fields[2]), bytes.fromhex(fields[3])
        assert identifier is None or number == identifier, "a reply to another request"
        assert size == 24 + len(data), "the header's size"
        assert size <= 1048576
        assert error <= 0
        assert not (error and data), "data beside an error"
        return Reply(-error, data)

    def ask(self, identifier, data=b""):
        self.tell("ask %d %s" % (identifier, data.hex()))
        return self.parse(self.read_line(), identifier)

    def claim(self, identifier, size, data=b""):
        """A request whose header says another size."""
        self.tell("claim %d %d %s" % (identifier, size, data.hex()))
        return self.parse(self.read_line(), identifier)

    def raw(self, data):
        """A message of any bytes; libqb's header is part of them."""
        self.tell("raw " + data.hex())
        return self.parse(self.read_line())

    def send(self, identifier, data=b""):
        self.tell("send %d %s" % (identifier, data.hex()))
        line = self.read_line()
        if line != "sent":
            self.parse(line)

    def receive(self, milliseconds=60000):
        self.tell("receive %d" % milliseconds)
        return self.parse(self.read_line())

    def event(self, milliseconds=60000):
        """The JSON object of the next event of the change feed."""
        self.tell("event %d" % milliseconds)
        return json.loads(self.parse(self.read_line(), 100).data)

    def slowest(self, count, identifier, data=b""):
        """Microseconds of the slowest of that many requests, and the last reply."""
        self.tell("repeat %d %d %s" % (count, identifier, data.hex()))
        microseconds, line = self.read_line().split(" ", 1)
        return float(microseconds), self.parse(line, identifier)

    # The requests by name

    def subscribe(self, version=None):
        return self.ask(100, b"" if version is None else struct.pack("<Q", version)).error

    def set_status(self, name, value):
        return self.ask(4, field(name) + value).error

    def get_status(self, name, node=""):
        return self.ask(5, field(name) + field(node))

    def config(self, path):
        return self.ask(6, text(path))

    def log(self, priority, ident, tag, message):
        return self.ask(7, bytes([priority, len(text(ident)), len(text(tag))]) + text(ident) + text(tag) + text(message)).error

    def cluster_log(self, maximum=0, user=""):
        return self.ask(8, struct.pack("<4I", maximum, 0, 0, 0) + text(user))

    def property(self, guest, name):
        return self.ask(11, struct.pack("<I", guest) + text(name))

    def verify_token(self, token):
        return self.ask(12, text(token)).error

    def properties(self, guest, *names):
        return self.ask(13, struct.pack("<IB", guest, len(names)) + b"".join(map(text, names)))

    def kill(self):
        """SIGKILL to the client itself (nsenter passes nothing on)."""
        pid = self.pid_inside()
        self.daemon.namespace.kill(pid)
        self.process.wait(PATIENCE)

    def freeze(self):
        """SIGSTOP to the client."""
        self.daemon.namespace.kill(self.pid_inside(), signal.SIGSTOP)

    def thaw(self):
        """nsenter stops when its child does, and wakes it when it is woken."""
        pid = self.pid_inside()
        wait_for(lambda: self.state(self.process.pid) == "T", "nsenter has stopped, too")
        self.process.send_signal(signal.SIGCONT)
        self.daemon.namespace.kill(pid, signal.SIGCONT)

    def state(self, pid):
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rsplit(")", 1)[1].split()[0]

    def pid_inside(self):
        """The client's pid in the daemon's namespace. nsenter's child is the client."""
        (child,) = open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)).read().split()
        with open("/proc/%s/status" % child) as file:
            (line,) = [line for line in file if line.startswith("NSpid:")]
        return int(line.split()[-1])

    def close(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()
