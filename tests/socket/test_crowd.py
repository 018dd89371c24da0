# SPDX-License-Identifier: GPL-3.0-or-later
"""More connections than there are descriptors: nobody keeps root out."""

import errno
import subprocess
import sys

import pytest
from harness import GROUP_ID, NOBODY, wait_for
from ipc_client import Client, Refused
from test_service import descriptors

# Connects to libqb's name as often as it is told, says nothing, and stays until its input ends.
SILENT = r"""
import resource, socket, sys, time
count = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, count + 100))
connections = []
while len(connections) < count:
    connection = socket.socket(socket.AF_UNIX)
    connection.setblocking(False)
    try:
        connection.connect(("\0" + sys.argv[1]).ljust(108, "\0"))
        connections.append(connection)
    except BlockingIOError:
        time.sleep(0.001)
print("there", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def daemon(make_daemon):
    """One that may have few descriptors."""

    def make(limit):
        daemon = make_daemon()
        command = daemon.command
        daemon.command = lambda *options: ["prlimit", "--nofile=%d:%d" % (limit, limit), *command(*options)]
        return daemon.start()

    return make


def silent(daemon, count, uid, gid):
    process = daemon.namespace.popen([sys.executable, "-c", SILENT, daemon.socket_name, str(count)], uid, gid, (),
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"there\n"
    return process


def connect(daemon, gid):
    """A client, once the daemon has taken those who came before: until then the kernel's queue is full."""
    client = []

    def is_connected():
        try:
            client.append(Client(daemon, uid=gid, gid=gid))
        except Refused as refused:
            assert refused.args[0] == errno.EAGAIN
        return bool(client)

    wait_for(is_connected, "a client gets in")
    return client[0]


@pytest.mark.parametrize("uid, gid", [(NOBODY, NOBODY), (GROUP_ID, GROUP_ID)])
def test_silent_connections(daemon, uid, gid):
    """Who connects and does not say who he is has some descriptors at most, and they come back."""
    daemon = daemon(600)
    before = descriptors(daemon)
    process = silent(daemon, 800, uid, gid)
    for client_gid in (0, GROUP_ID):
        client = connect(daemon, client_gid)
        assert client.ask(1).error == 0
        client.close()
    daemon.os.write_file(daemon / "file", b"content")
    process.communicate()
    wait_for(lambda: descriptors(daemon) <= before, "no connection is left")


def test_stop_with_silent_connections(daemon):
    daemon = daemon(600)
    process = silent(daemon, 10, NOBODY, NOBODY)
    daemon.stop()
    process.communicate()


def test_too_many_readers(daemon):
    """They may have half of what clients may have; the log says why one is refused."""
    daemon = daemon(80)
    readers = []
    with pytest.raises(Refused) as caught:
        for _ in range(80):
            readers.append(Client(daemon, uid=GROUP_ID, gid=GROUP_ID))
    assert caught.value.args[0] == errno.EMFILE and len(readers) == 20
    wait_for(lambda: "gid %d refused: there are too many connections" % GROUP_ID in daemon.log_since_start(), "the refusal in the log")
    root = Client(daemon)
    assert root.ask(1).error == 0 and readers[0].ask(1).error == 0
    readers.pop().close()

    def takes_one_more():
        try:
            readers.append(Client(daemon, uid=GROUP_ID, gid=GROUP_ID))
        except Refused:
            return False
        return True

    wait_for(takes_one_more, "room for another")
    for client in (root, *readers):
        client.close()
