# SPDX-License-Identifier: GPL-3.0-or-later
"""The switch that disturbs packets (lossy_switch.c) does to them what it is told, and else nothing: two hosts that
send datagrams to each other."""

import pytest

from harness import Namespace, wait_for
from harness.cluster import NETWORK
from harness.lossy_switch import LossySwitch

# On the other host, before anything is sent.
LISTEN = """
import socket
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
listener.bind((address, 5000))
listener.settimeout(0.3)
os.listener = listener
"""

SEND = """
import socket
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(count):
    sender.sendto(b"%08d" % number + bytes(size - 8), (address, 5000))
"""

RECEIVE = """
result = []
try:
    while True:
        result.append(int(os.listener.recv(2000)[:8]))
except TimeoutError:
    pass
"""


class Hosts:
    def __init__(self):
        self.parts = []
        self.switch = self.keep(LossySwitch())
        self.hosts = [self.keep(Namespace(network=True)) for _ in range(2)]
        for number, host in enumerate(self.hosts, 1):
            self.switch.connect(number, host)
        self.workers = [host.worker() for host in self.hosts]
        self.workers[1].execute(LISTEN, {"address": NETWORK + "2"})

    def keep(self, part):
        self.parts.append(part)
        return part

    def send(self, count=200, size=100):
        """From the first to the second: the numbers that arrive."""
        before = self.switch.handled([(1, 2)])
        self.workers[0].execute(SEND, {"address": NETWORK + "2", "count": count, "size": size})
        wait_for(lambda: self.switch.handled([(1, 2)]) >= before + count, "the switch has handled them")
        return self.workers[1].execute(RECEIVE, {})

    def reach(self):
        """Whether a datagram arrives. None is sent while a host does not know the other's address."""
        self.workers[0].execute(SEND, {"address": NETWORK + "2", "count": 1, "size": 100})
        return self.workers[1].execute(RECEIVE, {})

    def close(self):
        for part in reversed(self.parts):
            part.close()


@pytest.fixture(scope="module")
def started(possible):
    hosts = Hosts()
    wait_for(hosts.reach, "datagrams arrive")
    yield hosts
    hosts.close()


@pytest.fixture
def hosts(started):
    yield started
    started.switch.calm()


def test_nothing_is_disturbed(hosts):
    before = hosts.switch.counts()
    assert hosts.send() == list(range(200))
    after = hosts.switch.counts()
    assert after.pop("passed") >= before.pop("passed") + 200
    assert before == after


def test_drop(hosts):
    before = hosts.switch.counts()
    hosts.switch.disturb([(1, 2)], drop=30)
    arrived = hosts.send(1000)
    assert 550 < len(arrived) < 850
    assert arrived == sorted(arrived)
    assert hosts.switch.counts()["dropped"] - before["dropped"] >= 1000 - len(arrived)
    hosts.switch.disturb([(1, 2)], drop=100)
    assert hosts.send() == []


def test_one_direction_is_none_of_the_other(hosts):
    hosts.switch.disturb([(2, 1)], over=50)
    assert hosts.send() == list(range(200))


def test_drop_by_size(hosts):
    before = hosts.switch.counts()
    hosts.switch.disturb([(1, 2)], over=900)
    assert hosts.send(size=873) == []  # with 28 bytes of headers 901
    assert hosts.switch.counts()["oversize"] - before["oversize"] >= 200
    assert hosts.send(size=872) == list(range(200))


def test_delay_keeps_the_order(hosts):
    before = hosts.switch.counts()
    hosts.switch.disturb([(1, 2)], delay=20)
    assert hosts.send() == list(range(200))
    after = hosts.switch.counts()
    assert after["delayed"] - before["delayed"] >= 200 and after["reordered"] == before["reordered"]


def test_jitter_reorders(hosts):
    before = hosts.switch.counts()
    hosts.switch.disturb([(1, 2)], jitter=20)
    arrived = hosts.send()
    assert sorted(arrived) == list(range(200)) != arrived
    assert hosts.switch.counts()["reordered"] > before["reordered"]


def test_duplicates(hosts):
    before = hosts.switch.counts()
    hosts.switch.disturb([(1, 2)], duplicate=50)
    arrived = hosts.send()
    assert set(arrived) == set(range(200))
    assert 50 < len(arrived) - 200 < 150
    assert hosts.switch.counts()["duplicated"] - before["duplicated"] >= len(arrived) - 200


def test_port_that_is_down_and_one_that_is_new(hosts):
    hosts.switch.set_port(2, False)
    assert hosts.send() == []
    hosts.switch.set_port(2, True)
    wait_for(hosts.reach, "datagrams arrive again")
    with pytest.raises(AssertionError, match="No such device"):
        hosts.switch.command("port 3 nothing", "done")
    assert hosts.switch.command("set 1 2 nonsense=1") == "not understood"
    assert hosts.switch.command("set 1 9 drop=1") == "not understood"
