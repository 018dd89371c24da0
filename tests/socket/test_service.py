# SPDX-License-Identifier: GPL-3.0-or-later
"""The service among clients that misbehave, die, or stay when the daemon goes."""

import errno
import glob
import os
import re
import struct

import pytest
from harness import GROUP_ID, wait_for
from ipc_client import STRESS, Client, Refused, text

LARGE = 1048552  # bytes of the largest file that fits a reply


def shared_memory(daemon):
    """What is in the namespace's own /dev/shm; None if that is just changing."""
    try:
        return daemon.os.walk("/dev/shm")
    except FileNotFoundError:
        return None


def outer_pid(daemon):
    """The daemon's pid as seen from here."""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                arguments = file.read().split(b"\0")
        except OSError:
            continue
        if daemon.socket_name.encode() in arguments and arguments[0].endswith(b"/pmxcfs"):
            return int(path.split("/")[2])
    raise AssertionError("no such process")


def descriptors(daemon):
    """How many it has, without those of its database and history, which it opens when it likes."""
    links = []
    for path in glob.glob("/proc/%d/fd/*" % outer_pid(daemon)):
        try:
            links.append(os.readlink(path))
        except FileNotFoundError:
            pass
    return sum(not link.startswith(daemon.state_dir) for link in links)


class Leftovers:
    """What clients leave behind in a daemon, compared with what was there before. Something of earlier clients may be
    on its way out by then, so less is as good as the same."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.descriptors = descriptors(daemon)
        self.memory = set(shared_memory(daemon) or ())

    def none(self):
        memory = shared_memory(self.daemon)
        return memory is not None and set(memory) <= self.memory and descriptors(self.daemon) <= self.descriptors


def resident(daemon):
    """Bytes of memory of the daemon's own (the clients' buffers are mapped files)."""
    with open("/proc/%d/status" % outer_pid(daemon)) as file:
        return int(re.search(r"RssAnon:\s+(\d+) kB", file.read()).group(1)) * 1024


# Replies that are not read

def test_replies_that_are_not_read(daemon, root, connect):
    """All replies come, one for each request and in order, however late they are read; others do not notice."""
    daemon.os.write_file(daemon / "large", bytes(LARGE))
    for number in range(12):
        daemon.os.write_file(daemon / ("f%d" % number), b"%d" % number)
    lazy = connect()
    lazy.send(6, text("large"))
    for number in range(12):
        lazy.send(6, text("f%d" % number))
        lazy.send(6, text("large"))
        assert root.config("f%d" % number) == (0, b"%d" % number)
    assert lazy.receive() == (0, bytes(LARGE))
    for number in range(12):
        assert lazy.receive() == (0, b"%d" % number)
        assert lazy.receive() == (0, bytes(LARGE))
    with pytest.raises(OSError):
        lazy.receive(100)  # and no more than one each
    assert lazy.ask(1).error == 0


def test_clients_that_never_read(daemon, root, connect):
    """They hold up nobody, cost bounded memory, and are gone when they are gone."""
    daemon.os.write_file(daemon / "large", bytes(LARGE))
    before = descriptors(daemon)
    lazy = [connect() for _ in range(10)]
    used = resident(daemon)
    for client in lazy:
        with pytest.raises(OSError) as caught:  # until its own buffer is full of requests
            for _ in range(100000):
                client.send(6, text("large") + b"x" * 200000)
                client.send(6, text("large"))
        assert caught.value.errno == errno.EAGAIN
    for _ in range(100):
        assert root.ask(1).error == 0
    assert root.config("large") == (0, bytes(LARGE))
    assert resident(daemon) - used < 30 << 20
    for client in lazy[:5]:
        client.kill()
    wait_for(lambda: descriptors(daemon) <= before + 5, "the killed clients' descriptors")
    lazy[9].process.stdin.close()
    wait_for(lambda: descriptors(daemon) <= before + 4, "the descriptor of one that went")
    # the others, at last, read: each request has its reply
    for _ in range(3):
        lazy[5].receive()
    assert root.ask(1).error == 0


def test_stopped_client(daemon, root, connect):
    """A client that is stopped while it speaks."""
    stopped = connect()
    for _ in range(20):
        stopped.tell("repeat 5000 1")
        stopped.freeze()
        for _ in range(50):
            assert root.ask(2).error == 0
        stopped.thaw()
        line = stopped.read_line()
        assert stopped.parse(line.split(" ", 1)[1], 1).error == 0


def test_garbage_on_the_connection_socket(daemon, root):
    """Whoever speaks to the socket without libqb's handshake is cut off or ignored; others go on."""
    code = """
import socket
result = []
for data in (b"", b"x", b"x" * 24, bytes(100000)):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.connect(("\\0" + name).ljust(108, "\\0"))
    try:
        s.sendall(data)
    except OSError:
        pass
    result.append(s)
for s in result:
    s.close()
result = None
"""
    before = descriptors(daemon)
    for _ in range(5):
        daemon.os.execute(code, {"name": daemon.socket_name})
        assert root.ask(1).error == 0
    # libqb frees no connection that is in its handshake when the service ends.
    wait_for(lambda: descriptors(daemon) <= before, "all of them are gone")


# What clients and daemons leave behind

def test_killed_clients_leave_nothing(daemon, root, connect):
    before = Leftovers(daemon)
    for _ in range(10):
        client = connect(uid=GROUP_ID, gid=GROUP_ID)
        client.ask(1)
        client.kill()
    wait_for(before.none, "nothing left behind")


def test_clients_that_go_leave_nothing(daemon, root):
    before = Leftovers(daemon)
    for _ in range(10):
        Client(daemon).close()
    wait_for(before.none, "nothing left behind")


def test_killed_daemon(daemon, connect, other):
    """The next start takes away what it left, and nothing else."""
    clients = [connect(), connect(uid=GROUP_ID, gid=GROUP_ID), connect()]
    for client in clients:
        assert client.ask(1).error == 0
    assert len(shared_memory(daemon)) == 3 * 7
    clients[2].kill()
    wait_for(lambda: len(shared_memory(daemon) or ()) == 2 * 7, "the daemon to clean up after it")
    mine = set(shared_memory(daemon))
    pid = daemon.pid
    daemon.os.makedirs("/dev/shm/qb-%d-1-20-abcdef" % pid)
    daemon.os.write_file("/dev/shm/qb-%d-1-20-abcdef/qb-request-another-header" % pid, b"another service's")
    daemon.os.makedirs("/dev/shm/qb-1-1-20-ghijkl")
    daemon.os.write_file("/dev/shm/qb-1-1-20-ghijkl/qb-request-%s-header" % daemon.socket_name, b"of a server that lives")
    daemon.os.makedirs("/dev/shm/qb-%d-nothing" % pid)
    daemon.os.symlink("/etc", "/dev/shm/qb-%d-1-20-symlin" % pid)
    others = sorted(set(shared_memory(daemon)) - mine)
    assert len(others) >= 6
    daemon.kill()
    assert mine < set(shared_memory(daemon))
    daemon.start()
    wait_for(lambda: shared_memory(daemon) == others, "only what others own")
    for client in clients[:2]:
        with pytest.raises(OSError):
            client.ask(1)
    assert Client(daemon).ask(1).error == 0


def test_stop_with_clients(daemon, connect):
    """A stop waits for no client, whatever it does; clients hear of it."""
    clients = [connect() for _ in range(5)]
    daemon.os.write_file(daemon / "large", bytes(LARGE))
    clients[0].send(6, text("large"))
    clients[0].send(6, text("large"))
    clients[1].freeze()
    clients[2].tell("repeat 1000000000 1")
    daemon.stop()
    assert shared_memory(daemon) == []
    clients[1].thaw()
    with pytest.raises(OSError):
        clients[2].parse(clients[2].read_line().split(" ", 1)[1])
    for client in (clients[1], clients[3], clients[4]):
        with pytest.raises(OSError):
            client.ask(1)


def test_restart(daemon, connect):
    for _ in range(3):
        client = connect()
        assert client.ask(1).error == 0
        daemon.restart()
    assert connect().ask(1).error == 0


def test_name_in_use(daemon, make_daemon):
    """A second daemon of that socket name says so and ends. (Names are the network namespace's.)"""
    second = make_daemon("node2", namespace=daemon.namespace, socket_name=daemon.socket_name)
    second.launch()
    assert second.wait_exit() != 0
    assert daemon.socket_name in second.log_text() and "in use" in second.log_text()
    assert Client(daemon).ask(1).error == 0


def test_no_room_for_buffers(daemon, root):
    """/dev/shm is full: the client hears it, the log says it, others go on, and nothing is left."""
    before = Leftovers(daemon)
    daemon.namespace.run(["mount", "-o", "remount,size=4m", "/dev/shm"], check=True)
    for _ in range(3):
        with pytest.raises(Refused) as caught:
            Client(daemon)
        assert caught.value.args[0] == errno.ENOSPC
        assert root.ask(1).error == 0
    assert "is /dev/shm full?" in daemon.log_text()
    wait_for(before.none, "nothing left behind")
    daemon.namespace.run(["mount", "-o", "remount,size=64m", "/dev/shm"], check=True)
    assert Client(daemon).ask(1).error == 0


# Many at once

def test_stress(daemon, root, tmp_path):
    """100 clients for a while, killed one after the other in the middle of what they do: no wrong reply, nothing left."""
    seconds = os.environ.get("PMXCFS_TEST_STRESS_SECONDS", "5")
    content = os.urandom(5000)
    (tmp_path / "content").write_bytes(content)
    daemon.os.makedirs(daemon / "nodes/node1/qemu-server")
    for guest in range(100, 150):
        daemon.os.write_file(daemon / ("nodes/node1/qemu-server/%d.conf" % guest), b"name: n%d\ntags: a;b\n" % guest)
    daemon.os.write_file(daemon / "file", content)
    command = [STRESS, daemon.socket_name, "100", seconds, "file", str(tmp_path / "content")]

    def run():
        done = daemon.run(command, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.match(r"requests [1-9]\d* killed [1-9]\d*\n", done.stdout)

    before = Leftovers(daemon)
    run()
    wait_for(before.none, "nothing left behind")
    used = resident(daemon)
    run()
    wait_for(before.none, "nothing left behind")
    # values of clients that were killed stay; each is at most 32 KiB
    assert resident(daemon) - used < 64 << 20
    assert root.config("file") == (0, content)


def test_many_connections_one_after_the_other(daemon, root):
    before = Leftovers(daemon)
    used = None
    for number in range(60):
        client = Client(daemon)
        assert client.ask(6, struct.pack("<I", number) + b"\0").error in (errno.ENOENT, errno.EINVAL)
        client.close()
        if number == 20:
            used = resident(daemon)
    wait_for(before.none, "nothing left behind")
    assert resident(daemon) - used < 8 << 20
