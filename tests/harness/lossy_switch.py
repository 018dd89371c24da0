# SPDX-License-Identifier: GPL-3.0-or-later
"""A network between the nodes that loses, delays, reorders and duplicates packets as it is told."""

import os
import select
import subprocess

from .cluster import Switch
from .daemon import BUILD_DIR
from .worker import PATIENCE

PROGRAM = os.path.join(BUILD_DIR, "tests", "cluster", "lossy_switch")


class LossySwitch(Switch):
    """In place of the bridge: a program that has all packets of all ports (tests/cluster/lossy_switch.c)."""

    def begin(self):
        self.program = self.namespace.popen([PROGRAM, "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.ports = []

    def join(self, number):
        self.run("link", "set", "port%d" % number, "up")
        self.command("port %d port%d" % (number, number), "done")
        self.ports = sorted({*self.ports, number})

    def command(self, line, expected=None):
        """The answer."""
        os.write(self.program.stdin.fileno(), (line + "\n").encode())
        assert select.select([self.program.stdout], [], [], PATIENCE)[0], "the switch does not answer: " + line
        answer = os.read(self.program.stdout.fileno(), 512).decode().strip()
        assert expected in (None, answer), "%s: %s" % (line, answer)
        return answer

    def directions(self, number=None):
        """[(from, to)]: all, or those from and to that node."""
        return [(one, other) for one in self.ports for other in self.ports
                if one != other and number in (None, one, other)]

    def disturb(self, directions, **what):
        """From now on: drop, duplicate (percent), over (bytes), delay, jitter (milliseconds)."""
        for one, other in directions:
            self.command("set %d %d %s" % (one, other, " ".join("%s=%d" % item for item in what.items())), "done")

    def calm(self):
        self.disturb(self.directions())

    def counts(self, directions=None):
        """What happened to packets since the start, of these directions (all) together."""
        sums = {}
        for one, other in directions or self.directions():
            for word in self.command("counts %d %d" % (one, other)).split():
                name, value = word.split("=")
                sums[name] = sums.get(name, 0) + int(value)
        return sums

    def handled(self, directions):
        """How many packets have come from there, and are not on their way any more."""
        counts = self.counts(directions)
        return counts["passed"] + counts["dropped"] + counts["oversize"] - int(self.command("waiting"))

    def close(self):
        try:
            self.program.stdin.close()
            self.program.wait(PATIENCE)
            self.program.stdout.close()
        finally:
            super().close()
