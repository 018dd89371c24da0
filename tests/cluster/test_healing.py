# SPDX-License-Identifier: GPL-3.0-or-later
"""A node whose copy differs gets back in sync by itself: a failed verification, a full disk, a commit
that fails, an altered database. What differed is in the log, what was taken away beside the database."""

import errno
import os

import pytest
from conftest import OPTIONS, missing_or_skip
from load import Load

from harness import wait_for
from harness import cluster as clusters
from harness.database import read_rows

# SQLite follows links like /proc/PID/root, so that the database has to be opened inside.
SQL = """
import sqlite3
connection = sqlite3.connect(path, timeout=30)
with connection:
    cursor = connection.execute(statement, arguments)
    result = cursor.fetchall() if cursor.description else cursor.rowcount
connection.close()
"""
ALL_ROWS = "SELECT inode, parent, version, writer, mtime, type, name, data FROM tree ORDER BY inode"

# Room for the state directory of node3, in bytes.
ROOM = 32 << 20


class Healing:
    """Three nodes; node3 has its state directory on a small file system of its own."""

    def __init__(self, directory):
        self.cluster = clusters.Cluster(directory, 3, [*OPTIONS, "--verify-interval", "1"])
        self.node = self.cluster[3]
        daemon = self.node.daemon
        os.makedirs(daemon.state_dir, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", "mode=0700,size=%d" % ROOM, "tmpfs", daemon.state_dir]
        self.node.namespace.run(command, check=True)
        self.state_dir = self.node.namespace.outside(daemon.state_dir)
        self.database = self.node.namespace.outside(daemon.database)
        self.node.rows = lambda: read_rows(daemon.database, daemon.run)
        self.filler = os.path.join(self.state_dir, "filler")

    def execute(self, path, statement, *arguments):
        """SQL on a database inside node3: its rows, or how many rows it altered."""
        return self.node.os.execute(SQL, {"path": path, "statement": statement, "arguments": arguments})

    def change_database(self, statement, *arguments):
        assert self.execute(self.node.daemon.database, statement, *arguments) == 1

    def fill_disk(self):
        """Takes all the room that is left on node3's disk."""
        with open(self.filler, "ab", buffering=0) as file:
            for size in (1 << 16, 4096):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError as error:
                    assert error.errno == errno.ENOSPC

    def free_disk(self):
        os.unlink(self.filler)

    def copies(self):
        return sorted(name for name in os.listdir(self.state_dir) if name.startswith("config.db.kept-"))

    def new_copy(self, before):
        """The only safety copy that was not there `before`: {name: content}; for root alone."""
        (name,) = set(self.copies()) - set(before)
        assert os.stat(os.path.join(self.state_dir, name)).st_mode & 0o777 == 0o600
        path = os.path.join(self.node.daemon.state_dir, name)
        return {row[6]: row[7] for row in self.execute(path, ALL_ROWS)}


@pytest.fixture(scope="module")
def started(possible, tmp_path_factory):
    missing_or_skip()
    healing = Healing(tmp_path_factory.mktemp("healing"))
    try:
        healing.cluster.start()
        yield healing
    finally:
        healing.cluster.close()


@pytest.fixture
def healing(started, request):
    request.node.daemons = [node.daemon for node in started.cluster]
    yield started
    if getattr(request.node, "succeeded", False):
        started.cluster.wait_settled()


def alter_memory(node, old, new):
    """Replaces these bytes wherever the daemon of a node has them."""
    process = "/proc/%d/root/proc/%d" % (node.namespace.pid, node.daemon.pid)
    found = 0
    with open(process + "/maps") as file:
        maps = [line.split() for line in file]
    with open(process + "/mem", "r+b", buffering=0) as memory:
        for fields in maps:
            first, last = (int(part, 16) for part in fields[0].split("-"))
            if not fields[1].startswith("rw") or last - first > 1 << 29 or fields[-1].startswith("/dev/"):
                continue
            try:
                memory.seek(first)
                data = memory.read(last - first)
            except OSError:
                continue
            at = data.find(old)
            while at >= 0:
                memory.seek(first + at)
                memory.write(new)
                found += 1
                at = data.find(old, at + 1)
    return found


def count_log(node, text):
    return node.daemon.log_text().count(text)


def test_failed_verification(healing):
    """A content that has changed in a node's memory is found, named, kept, and replaced."""
    cluster, node = healing.cluster, healing.node
    right = b"content of the file that is altered in memory " + b"r" * 60
    cluster[1].write("altered", right)
    cluster[1].write("untouched", b"newer")
    cluster.wait_equal()
    before = healing.copies()
    failures = count_log(node, "data verification failed")
    connections = count_log(node, "connected to corosync as node")
    assert alter_memory(node, right, right.upper()) > 0
    wait_for(lambda: count_log(node, "data verification failed") > failures, "the verification finds it")
    wait_for(lambda: "differed from the others: 'altered' (is replaced)" in node.daemon.log_text(), "it is named")
    cluster.wait_settled()
    assert node.read("altered") == right
    assert "'untouched'" not in node.daemon.log_text()
    assert healing.new_copy(before)["altered"] == right.upper()
    done = count_log(node, "data verification successful")
    wait_for(lambda: count_log(node, "data verification successful") > done, "the copies are equal again")
    for other in (cluster[1], cluster[2]):
        assert "leaving the group" not in other.daemon.log_text()
    # It has left one group, and nothing else: quorum and the status group were there all the time.
    assert "cannot join" not in node.daemon.log_text()
    assert count_log(node, "connected to corosync as node") == connections


def test_full_disk(healing):
    """A node whose disk is full refuses changes, serves reads, leaves, and comes back when there is room,
    with all that the others have acknowledged."""
    cluster, node = healing.cluster, healing.node
    cluster[1].os.mkdir(cluster[1].path("full"))
    wait_for(lambda: node.exists("full"), "node3 has it too")
    node.write("full/here", b"before")
    healing.fill_disk()
    load = Load([cluster[1], cluster[2]], "full")
    for number in range(4):
        cluster[1].write("full/large%d" % number, b"%d" % number * 500000)
    wait_for(lambda: "the database did not take a change" in node.daemon.log_text(), "the disk is full")
    for number in range(20):
        with pytest.raises(OSError) as caught:
            node.os.mkdir(node.path("full/refused"))
        assert caught.value.errno in (errno.EIO, errno.ENOSPC)
    assert count_log(node, "refused to change 'full/refused': the database does not take writes; look for a full") == 1
    assert node.read("full/here") == b"before"
    load.wait_progress(cluster[1])
    healing.free_disk()
    # Databases that are read one after the other while changes go on are equal by luck alone.
    wait_for(lambda: node.exists("full/%s-%d" % (cluster[1].name, load.count(cluster[1]))), "it follows the others again")
    acknowledged = load.end()
    cluster.wait_settled()
    for names in acknowledged.values():
        assert load.check(node, names) == []
    assert node.read("full/large3") == b"3" * 500000
    node.write("full/here", b"after")
    cluster.wait_equal()


def test_failed_commit(healing):
    """A synchronisation that the disk does not take leaves the old state in place, and is repeated."""
    cluster, node = healing.cluster, healing.node
    node.write("old", b"old")
    cluster.wait_equal()
    node.cut()
    wait_for(lambda: not node.is_quorate(), "node3 is alone")
    wait_for(lambda: cluster[1].online() == ["node1", "node2"], "the others notice")
    # More than the log beside the database has room for without growing.
    for number in range(16):
        cluster[1].write("commit%d" % number, b"%x" % number * 500000)
    cluster[1].write("old", b"new")
    healing.fill_disk()
    node.mend()
    wait_for(lambda: "the database did not take it" in node.daemon.log_text(), "the commit fails")
    assert node.read("old") == b"old"
    assert not node.exists("commit0")
    healing.free_disk()
    cluster.wait_settled()
    wait_for(lambda: node.read("old") == b"new", "the kernel knows")
    assert node.read("commit9") == b"9" * 500000


def test_altered_database(healing):
    """Rows that were altered, taken out, and put in while the daemon was stopped, at the version that
    all have: the others' come back, by name in the log, and what was here is kept. Of the safety
    copies ten stay, the newest."""
    cluster, node = healing.cluster, healing.node
    for name in ("edited", "lost", "later"):
        cluster[1].write(name, name.encode())
    cluster.wait_equal()
    node.daemon.stop()
    for number in range(12):
        with open(os.path.join(healing.state_dir, "config.db.kept-2001%04d-000000-1" % number), "w") as file:
            file.write("not a database")
    before = healing.copies()
    healing.change_database("UPDATE tree SET data = ? WHERE name = 'edited'", b"other")
    healing.change_database("DELETE FROM tree WHERE name = 'lost'")
    node.daemon.start()
    cluster.wait_settled()
    assert node.read("edited") == b"edited"
    assert node.read("lost") == b"lost"
    log = node.daemon.log_since_start()
    assert "differed from the others: 'edited' (is replaced)" in log
    assert "differed from the others: 'lost' (was missing here)" in log
    assert "'later'" not in log
    assert healing.new_copy(before)["edited"] == b"other"
    assert len(healing.copies()) == 10


def test_restored_backup(healing):
    """A database from a backup is older than the others': it is brought up to date, and nothing that
    the others have is kept for it."""
    cluster, node = healing.cluster, healing.node
    node.write("backup", b"old")
    cluster.wait_equal()
    node.daemon.stop()
    with open(healing.database, "rb") as file:
        backup = file.read()
    node.daemon.start()
    cluster.wait_settled()
    node.write("backup", b"new")
    node.write("since", b"the backup")
    cluster.wait_equal()
    before = healing.copies()
    node.daemon.stop()
    for end in ("-wal", "-shm"):
        if os.path.exists(healing.database + end):
            os.unlink(healing.database + end)
    with open(healing.database, "wb") as file:
        file.write(backup)
    node.daemon.start()
    cluster.wait_settled()
    assert node.read("backup") == b"new"
    assert node.read("since") == b"the backup"
    log = node.daemon.log_since_start()
    assert "differed from the others: 'backup' (is replaced)" in log
    assert "differed from the others: 'since' (was missing here)" in log
    assert len(set(healing.copies()) - set(before)) <= 1
