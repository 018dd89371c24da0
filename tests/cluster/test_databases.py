# SPDX-License-Identifier: GPL-3.0-or-later
"""A node comes (back) with a database that is older, newer, empty, diverged or damaged."""

import os
import shutil
import sqlite3

from load import Load

from harness import wait_for
from harness.database import read_rows


def change_alone(node, work):
    """Lets `work` change the database of a node that is not in the cluster: in local mode."""
    node.daemon.local = True
    node.daemon.start()
    try:
        work()
    finally:
        node.daemon.stop()
        node.daemon.local = False


def version(node):
    return max(row[2] for row in node.rows())


def safety_copies(node):
    """Files beside the database that tell what a synchronisation took away."""
    known = {"config.db", "config.db-wal", "config.db-shm", "config.db.journal", ".pmxcfs.lockfile"}
    return [name for name in os.listdir(node.daemon.state_dir) if name not in known]


def test_older_database(cluster, folder):
    node = cluster[3]
    node.write(folder + "/kept", b"old")
    node.write(folder + "/removed", b"old")
    cluster.wait_equal()
    node.daemon.stop()
    copy = node.daemon.database + ".test"
    shutil.copy(node.daemon.database, copy)
    node.daemon.start()
    cluster.wait_settled()
    cluster[1].write(folder + "/kept", b"new")
    cluster[1].os.unlink(cluster[1].path(folder + "/removed"))
    cluster[1].write(folder + "/added", b"new")
    cluster.wait_equal()
    node.daemon.stop()
    os.rename(copy, node.daemon.database)
    node.daemon.start()
    cluster.wait_settled()
    assert node.read(folder + "/kept") == b"new"
    assert not node.exists(folder + "/removed")
    assert node.read(folder + "/added") == b"new"


def test_newer_database(cluster, folder):
    """The highest version leads: what was changed on that node alone is everybody's."""
    node = cluster[2]
    node.daemon.stop()
    change_alone(node, lambda: [node.write(folder + "/file", b"%d" % i) for i in range(10)])
    assert version(node) > version(cluster[1])
    node.daemon.start()
    cluster.wait_settled()
    for each in cluster:
        assert each.read(folder + "/file") == b"9"


def test_empty_database(cluster, folder):
    cluster[1].write(folder + "/file", b"content" * 1000)
    node = cluster[1]
    cluster.wait_equal()
    node.daemon.stop()
    shutil.rmtree(node.daemon.state_dir)
    node.daemon.start()
    cluster.wait_settled()
    assert node.read(folder + "/file") == b"content" * 1000


def test_diverged_database(cluster, folder):
    """What a node has changed alone is taken away when the others have gone further; a copy of it
    stays beside its database, readable by root only."""
    node = cluster[3]
    node.daemon.stop()
    change_alone(node, lambda: node.write(folder + "/alone", b"only here"))
    for i in range(20):
        cluster[1].write(folder + "/file", b"%d" % i)
    assert version(node) < version(cluster[1])
    before = safety_copies(node)
    node.daemon.start()
    cluster.wait_settled()
    assert not node.exists(folder + "/alone")
    assert node.read(folder + "/file") == b"19"
    new = set(safety_copies(node)) - set(before)
    assert new, "no safety copy in %s" % os.listdir(node.daemon.state_dir)
    copy = os.path.join(node.daemon.state_dir, min(new))
    assert os.stat(copy).st_mode & 0o777 == 0o600
    assert (b"only here",) in [row[7:] for row in read_rows(copy) if row[6] == "alone"]
    assert "alone" in node.daemon.log_since_start()


def test_damaged_row(cluster, folder):
    """A content that differs at equal versions is found, and replaced by that of the others."""
    node = cluster[2]
    node.write(folder + "/file", b"right")
    cluster.wait_equal()
    node.daemon.stop()
    connection = sqlite3.connect(node.daemon.database)
    with connection:
        done = connection.execute("UPDATE tree SET data = ? WHERE name = 'file' AND data = ?", (b"wrong", b"right"))
        assert done.rowcount == 1
    connection.close()
    node.daemon.start()
    wait_for(lambda: node.is_quorate(), "the node is back")
    cluster.wait_settled()
    assert node.read(folder + "/file") == b"right"


def test_verification(make_cluster):
    """The lowest node asks for it regularly, all nodes agree, and none has to leave."""
    cluster = make_cluster(options=["--verify-interval", "1"]).start()
    load = Load(cluster, "")
    for node in cluster:
        wait_for(lambda: node.daemon.log_text().count("data verification successful") >= 3, "copies were compared")
    acknowledged = load.end()
    cluster.wait_settled()
    for node, names in acknowledged.items():
        load.check(cluster[1], names)
        assert "leaving the group" not in node.daemon.log_text()
