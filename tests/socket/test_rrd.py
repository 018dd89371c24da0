# SPDX-License-Identifier: GPL-3.0-or-later
"""RRD values from the socket to files, read back by rrdtool; rrdcached that works, stops, or is not there."""

import itertools
import math
import os
import signal
import stat
import time

import pytest
from harness import wait_for

NODE_SOURCES = ("loadavg maxcpu cpu iowait memtotal memused swaptotal swapused roottotal rootused netin netout memavailable arcsize "
                "pressurecpusome pressureiosome pressureiofull pressurememorysome pressurememoryfull").split()
VM_SOURCES = ("maxcpu cpu maxmem mem maxdisk disk netin netout diskread diskwrite memhost pressurecpusome pressurecpufull "
              "pressureiosome pressureiofull pressurememorysome pressurememoryfull").split()

@pytest.fixture
def minute():
    """The end of a full minute that is later than midnight."""
    return int(time.time()) // 60 * 60 + 120


class Rrdcached:
    """A real rrdcached in the daemon's namespace; with a journal, as a distribution starts it."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.socket = os.path.join(daemon.directory, "rrdcached.sock")
        journal = os.path.join(daemon.directory, "rrdjournal")
        os.makedirs(daemon.rrd_dir, exist_ok=True)
        os.makedirs(journal, exist_ok=True)
        self.log = os.path.join(daemon.directory, "rrdcached.log")
        command = ["rrdcached", "-g", "-l", "unix:" + self.socket, "-p", os.path.join(daemon.directory, "rrdcached.pid"),
                   "-b", daemon.rrd_dir, "-B", "-w", "3600", "-f", "7200", "-j", journal]
        self.pid = daemon.namespace.spawn(command, self.log)
        wait_for(self.listens, "rrdcached listens")

    def signal(self, number):
        self.daemon.namespace.kill(self.pid, number)

    def listens(self):
        """Its socket has a name a moment before anybody can connect to it."""
        try:
            return self.received() >= 0
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    def ask(self, command, last):
        """The answer up to the line that has the word `last`."""
        code = """
import socket
s = socket.socket(socket.AF_UNIX)
s.connect(path)
s.sendall(command + b"\\n")
data = b""
while last not in data or not data.endswith(b"\\n"):
    more = s.recv(4096)
    if not more:
        raise ConnectionRefusedError("it has ended")
    data += more
s.close()
result = data
"""
        return self.daemon.os.execute(code, {"path": self.socket, "command": command.encode(), "last": last.encode()}).decode()

    def flush(self, path):
        """Writes what it holds for a file."""
        answer = self.ask("FLUSH " + os.path.join(self.daemon.rrd_dir, path), "")
        assert answer.startswith("0 "), answer

    def received(self):
        """Updates that it took so far, with those of its journal."""
        answer = self.ask("STATS", "TreeDepth")
        (line,) = [line for line in answer.splitlines() if line.startswith("UpdatesReceived")]
        return int(line.split()[1])

    def wait_used(self, client, key):
        """One that never answered, and then late, gets no values for 10 s: they go to the files."""
        before, last = self.received(), 0

        def used():
            nonlocal last
            if int(time.time()) > last:
                last = int(time.time())
                put(client, key, "%d:1:2" % (last + 60))
            return self.received() > before

        wait_for(used, "this rrdcached is used")

    def kill(self):
        self.signal(signal.SIGKILL)
        self.daemon.namespace.wait(self.pid)
        os.unlink(self.socket)

    def terminate(self):
        self.signal(signal.SIGTERM)
        self.daemon.namespace.wait(self.pid)


@pytest.fixture
def rrdcached(daemon):
    # the daemon may have met its absence already, and asks again after a while only
    daemon.stop()
    cached = Rrdcached(daemon)
    daemon.start()
    return cached


def fetch(daemon, path, end, cached=None):
    """{source: average} of the minute that ends at `end`; None if there is no such file."""
    full = os.path.join(daemon.rrd_dir, path)
    if not os.path.exists(full):
        return None
    command = ["rrdtool", "fetch", full, "AVERAGE", "--start", str(end - 60), "--end", str(end - 60), "--resolution", "60"]
    command += ["--daemon", "unix:" + cached.socket] if cached else []
    found = []

    def has_fetched():  # the daemon may have the file locked just now
        found.append(daemon.run(command))
        return "could not lock" not in found[-1].stderr

    wait_for(has_fetched, "the file is not locked")
    assert found[-1].returncode == 0, found[-1].stderr
    lines = found[-1].stdout.split("\n")
    names = lines[0].split()
    for line in lines[1:]:
        if line.startswith("%d:" % end):
            return dict(zip(names, map(float, line.split(":")[1].split())))
    raise AssertionError("no row for %d in %s" % (end, lines))


def put(client, key, value):
    assert client.set_status("rrd/" + key, value.encode() + b"\0") == 0


def wait_value(daemon, path, end, source, expected, cached=None):
    def there():
        row = fetch(daemon, path, end, cached)
        return row is not None and math.isclose(row[source], expected, rel_tol=1e-6)

    wait_for(there, "%s of %s" % (source, path))


def test_node(daemon, root, minute):
    for second in (minute - 60, minute):
        columns = [str(number) for number in range(1, 20)]
        columns[10] = str(60000 + (second - minute) * 100)  # netin rises by 100 a second
        put(root, "pve-node-9.0/node1", "12345:c:%d:%s" % (second, ":".join(columns)))
    wait_value(daemon, "pve-node-9.0/node1", minute, "netin", 100)
    row = fetch(daemon, "pve-node-9.0/node1", minute)
    assert list(row) == NODE_SOURCES
    for number, name in enumerate(NODE_SOURCES):
        assert math.isclose(row[name], {"netin": 100, "netout": 0}.get(name, number + 1)), name


def test_guest_of_an_old_node(daemon, root, minute):
    for second in (minute - 60, minute):
        put(root, "pve2.3-vm/100", "1:a name:running:0:%d:1:2:3:4:5:6:7:8:9:10" % second)
    wait_value(daemon, "pve-vm-9.0/100", minute, "disk", 6)
    row = fetch(daemon, "pve-vm-9.0/100", minute)
    assert list(row) == VM_SOURCES
    assert all(math.isnan(row[name]) for name in VM_SOURCES[10:])


def test_clock_that_was_ahead(daemon, root, minute):
    """A value from the future does not keep out those that come before it."""
    for second in (minute + 400 * 86400, minute - 60, minute):
        put(root, "pve2-storage/node2/local", "%d:1000:500" % second)
    wait_value(daemon, "pve-storage-9.0/node2/local", minute, "used", 500)
    assert "ahead of this node's clock" in daemon.log_since_start()


def test_storage_of_a_newer_node(daemon, root, minute):
    for second in (minute - 60, minute):
        put(root, "pve-storage-12.3/node2/local", "%d:1000:500:7:8:9" % second)
    wait_value(daemon, "pve-storage-9.0/node2/local", minute, "used", 500)
    assert fetch(daemon, "pve-storage-9.0/node2/local", minute) == {"total": 1000, "used": 500}
    for path in ("", "pve-storage-9.0", "pve-storage-9.0/node2"):
        assert stat.S_IMODE(os.stat(os.path.join(daemon.rrd_dir, path)).st_mode) == 0o750


def test_bad_keys(daemon, root, minute):
    """Logged, no file, but shown all the same."""
    keys = ["pve2-node/../x", "pve2-node/a/b", "pve2-storage/a", "nonsense", "pve-vm-9.0/.", "pve-node-/a"]
    for key in keys:
        put(root, key, "1:2:%d:1:1:1:1:1:1:1" % minute)
        wait_for(lambda: '"%s": of no known form' % key in daemon.log_text(), "the message about " + key)
    put(root, "pve2-storage/node1/good", "%d:1:1" % minute)
    wait_for(lambda: os.path.exists(os.path.join(daemon.rrd_dir, "pve-storage-9.0/node1/good")), "a good file")
    assert sorted(os.listdir(daemon.rrd_dir)) == ["pve-storage-9.0"]
    wait_for(lambda: all(key.encode() + b":" in root.ask(10).data for key in keys), "the values in .rrd")


def test_older_files_are_left_alone(daemon, root, minute):
    old = os.path.join(daemon.rrd_dir, "pve2-storage/node1")
    os.makedirs(old)
    with open(os.path.join(old, "local"), "w") as file:
        file.write("an old file")
    for second in (minute - 60, minute):
        put(root, "pve2-storage/node1/local", "%d:1:2" % second)
    wait_value(daemon, "pve-storage-9.0/node1/local", minute, "used", 2)
    with open(os.path.join(old, "local")) as file:
        assert file.read() == "an old file"


def test_rrdcached(daemon, root, rrdcached, connect, minute):
    """It gets the values, and files are made for it."""
    root = connect()
    paths = ("pve-storage-9.0/node1/with space %d" % number for number in itertools.count())
    path = None

    def both_taken():
        """Of a new file: one that once answers late gets no values for 10 s."""
        nonlocal path
        path, before, end = next(paths), rrdcached.received(), time.monotonic() + 5
        for second in (minute - 60, minute):
            put(root, path, "%d:1000:500" % second)
        while rrdcached.received() < before + 2 and time.monotonic() < end:
            time.sleep(0.01)
        return rrdcached.received() == before + 2

    wait_for(both_taken, "both updates")
    assert math.isnan(fetch(daemon, path, minute)["used"])  # it keeps them
    assert fetch(daemon, path, minute, rrdcached)["used"] == 500


def put_half_an_hour(client, minute, rrdcached):
    """Thirty values that rrdcached holds and the file lacks."""
    before = rrdcached.received()
    for number in range(1, 31):
        put(client, "pve-storage-9.0/node1/b", "%d:%d:2" % (minute + 60 * number, number))
    wait_for(lambda: rrdcached.received() == before + 30, "rrdcached has all of them")


def check_half_an_hour(daemon, minute):
    for number in range(2, 31):
        assert fetch(daemon, "pve-storage-9.0/node1/b", minute + 60 * number)["total"] == number


def test_value_that_is_not_newer(daemon, rrdcached, connect, minute):
    """One with the time of the last, or older, costs nothing of what rrdcached holds."""
    root = connect()
    rrdcached.wait_used(root, "pve2-storage/node1/a")
    put_half_an_hour(root, minute, rrdcached)
    for second in (minute + 1800, minute + 1000):
        put(root, "pve-storage-9.0/node1/b", "%d:30:2" % second)
        wait_for(lambda: "to update using time %d" % second in daemon.log_text(), "the refusal is logged")
    rrdcached.flush("pve-storage-9.0/node1/b")
    check_half_an_hour(daemon, minute)


def test_rrdcached_that_is_restarted(daemon, rrdcached, connect, minute):
    """What it held is in its journal; what came while it was away waits for it."""
    root = connect()
    rrdcached.wait_used(root, "pve2-storage/node1/a")
    put_half_an_hour(root, minute, rrdcached)
    rrdcached.terminate()
    for number in (31, 32):
        put(root, "pve-storage-9.0/node1/b", "%d:%d:2" % (minute + 60 * number, number))
    wait_for(lambda: "RRD values wait for it" in daemon.log_text(), "its end is noticed")
    assert root.ask(1).error == 0
    wait_value(daemon, "pve-storage-9.0/node1/b", minute + 60 * 32, "total", 32, Rrdcached(daemon))
    check_half_an_hour(daemon, minute)
    assert fetch(daemon, "pve-storage-9.0/node1/b", minute + 60 * 31)["total"] == 31
    assert "rrdcached answers again" in daemon.log_text()


def test_rrdcached_that_was_killed(daemon, rrdcached, connect, minute):
    """Values wait for a new one, which is used again."""
    root = connect()
    rrdcached.wait_used(root, "pve2-storage/node1/a")
    rrdcached.kill()
    for second in (minute - 60, minute):
        put(root, "pve2-storage/node1/b", "%d:1:2" % second)
    wait_for(lambda: "RRD values wait for it" in daemon.log_text(), "its end is noticed")
    rrdcached = Rrdcached(daemon)
    wait_value(daemon, "pve-storage-9.0/node1/b", minute, "used", 2, rrdcached)
    rrdcached.wait_used(root, "pve2-storage/node1/c")


def test_rrdcached_that_hangs(daemon, root, rrdcached, connect, minute):
    """It holds up nobody: neither requests nor the mount nor the stop, and values wait for it."""
    root, reader = connect(), connect()
    daemon.os.write_file(daemon / "file", b"content")
    rrdcached.wait_used(root, "pve2-storage/node1/a")
    rrdcached.signal(signal.SIGSTOP)
    for number in range(300):
        put(root, "pve2-storage/node1/s%d" % number, "%d:1:1" % (minute - 60))
        put(root, "pve2-storage/node1/s%d" % number, "%d:1:2" % minute)
        assert reader.config("file") == (0, b"content")
        assert reader.ask(10).error == 0
        assert daemon.os.read_file(daemon / "file") == b"content"
        assert daemon.os.read_file(daemon / ".version")
        daemon.os.write_file(daemon / "other", b"%d" % number)
    wait_for(lambda: "RRD values wait for it" in daemon.log_text(), "its silence is noticed")
    rrdcached.signal(signal.SIGCONT)
    for number in (0, 150, 299):
        wait_value(daemon, "pve-storage-9.0/node1/s%d" % number, minute, "used", 2, rrdcached)
    assert "RRD value for" not in daemon.log_text()  # what it took and could not answer is no failure
    rrdcached.signal(signal.SIGSTOP)
    put(root, "pve2-storage/node1/last", "%d:1:1" % minute)
    daemon.stop()
    rrdcached.signal(signal.SIGCONT)


def library(daemon):
    """Where the daemon's librrd is, as the linker finds it for rrdtool."""
    lines = daemon.run(["sh", "-c", "ldd $(which rrdtool)"], check=True).stdout.splitlines()
    (path,) = [line.split()[2] for line in lines if line.split()[0] == "librrd.so.8"]
    return os.path.realpath(path)


def has_mapped(daemon, name):
    return name in daemon.namespace.init.read_file("/proc/%d/maps" % daemon.pid).decode()


def test_library(daemon, root, minute):
    """librrd is loaded for the first value. One that cannot be loaded is told of, and found when it is there again."""
    assert not has_mapped(daemon, "librrd")
    path = library(daemon)
    daemon.run(["mount", "--bind", "/dev/null", path], check=True)
    put(root, "pve2-storage/node1/a", "%d:1:1" % (minute - 60))
    wait_for(lambda: "librrd cannot be loaded" in daemon.log_text(), "the message about librrd")
    assert root.ask(1).error == 0
    daemon.run(["umount", path], check=True)
    for second in (minute - 60, minute):
        put(root, "pve2-storage/node1/a", "%d:1:2" % second)
    wait_value(daemon, "pve-storage-9.0/node1/a", minute, "used", 2)
    assert has_mapped(daemon, "librrd")


def test_full_disk(make_daemon, minute):
    """Values that cannot be written are lost, and nothing else is; when there is room they are written again."""
    from ipc_client import Client

    daemon = make_daemon(tmpfs=["/mnt/rrd"])
    daemon.rrd_dir = "/mnt/rrd/db"
    daemon.namespace.run(["mount", "-o", "remount,size=3m", "/mnt/rrd"], check=True)
    daemon.start()
    client = Client(daemon)
    try:
        for guest in range(100, 110):  # each takes 1.3 MB
            for second in (minute - 60, minute):
                put(client, "pve-vm-9.0/%d" % guest, "1:n:r:0:%d:1:2:3:4:5" % second)
        wait_for(lambda: "the file cannot be made" in daemon.log_text(), "the message about the disk")
        daemon.os.write_file(daemon / "file", b"content")
        assert client.config("file") == (0, b"content")
        assert client.get_status("x").error

        def files():
            return daemon.os.listdir("/mnt/rrd/db/pve-vm-9.0")

        put(client, "pve-storage-9.0/node1/last", "%d:1:1" % minute)
        wait_for(lambda: len(files()) in (1, 2) and all(name.isdigit() for name in files()), "whole files alone")
        daemon.namespace.run(["mount", "-o", "remount,size=20m", "/mnt/rrd"], check=True)

        def written():
            put(client, "pve-vm-9.0/109", "1:n:r:0:%d:1:2:3:4:5" % minute)
            return "109" in files()

        wait_for(written, "writing goes on")
    finally:
        client.close()
