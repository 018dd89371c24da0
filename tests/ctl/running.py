# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of pmxcfsctl do beside a running daemon."""

import os
import pty
import re
import select
import signal
import sys
import termios
import time

from conftest import PMXCFSCTL
from harness import PATIENCE, SOURCE_DIR, wait_for

sys.path.insert(0, os.path.join(SOURCE_DIR, "tests", "socket"))

from ipc_client import Client  # noqa: E402


def guest(daemon, node, kind, number):
    daemon.os.makedirs(daemon / ("nodes/%s/%s" % (node, kind)), exist_ok=True)
    daemon.os.write_file(daemon / ("nodes/%s/%s/%d.conf" % (node, kind, number)), b"name: x\n")


def log_entry(daemon, message, tag="test"):
    """One entry in the cluster log, through the socket."""
    client = Client(daemon)
    assert client.log(6, "root@pam", tag, message) == 0
    client.close()


class Output:
    """A pmxcfsctl that goes on, its output in a file."""

    def __init__(self, daemon, *arguments):
        self.daemon = daemon
        self.path = os.path.join(daemon.directory, "output-%d" % len(os.listdir(daemon.directory)))
        self.pid = daemon.namespace.spawn([PMXCFSCTL, "--socket-name", daemon.socket_name, *arguments], self.path, cwd="/")

    def text(self):
        if not os.path.exists(self.path):
            return ""
        with open(self.path) as file:
            return file.read()

    def wait(self, part, times=1):
        wait_for(lambda: self.text().count(part) >= times, "%r is printed, not %r" % (part, self.text()))

    def end(self):
        self.daemon.namespace.kill(self.pid)
        self.daemon.namespace.wait(self.pid)


class Terminal:
    """A pmxcfsctl at a terminal, whose keys are pressed here.

    As under a shell, whoever began the session outlives the command: a terminal is hung up with its session's first
    process, and nobody can set its modes from then on. So nsenter, and a shell in between that tells by which signal the
    command ended, ignore the interrupt that the key gives to all of them.
    """

    session = ()  # what begins one inside the namespace, for who has to see his own process group

    def __init__(self, daemon, *arguments):
        command = [*daemon.namespace.enter(), *self.session, "sh", "-c", 'env --default-signal=INT "$@"; exit $?', "sh",
                   "TERM=xterm", PMXCFSCTL, "--socket-name", daemon.socket_name, *arguments]
        self.output = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            os.execvp(command[0], command)

    def wait(self, pattern, times=1):
        end = time.monotonic() + PATIENCE
        while len(re.findall(pattern, self.output)) < times:
            assert time.monotonic() < end, self.output
            if select.select([self.fd], [], [], 0.1)[0]:
                self.output += os.read(self.fd, 65536)

    def press(self, keys):
        os.write(self.fd, keys)

    def wait_exit(self):
        """The exit code, or minus the number of the signal."""
        end = time.monotonic() + PATIENCE
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                return 128 - code if code > 128 else code
            assert time.monotonic() < end, self.output
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.output += os.read(self.fd, 65536)
                except OSError:
                    time.sleep(0.05)

    def modes(self):
        """The terminal's local modes."""
        return termios.tcgetattr(self.fd)[3]

    def close(self):
        os.close(self.fd)
