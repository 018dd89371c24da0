# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes come and go in any order, with and without corosync, and end up with one database."""

import errno
import itertools

import pytest

from harness import wait_for


def end_all(cluster):
    for node in cluster:
        node.daemon.stop()
        node.end_corosync(15)


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))), ids=lambda order: "".join(map(str, order)))
def test_join_in_every_order(cluster, folder, order):
    """Each node starts when those before it are in sync; the first two make quorum and write."""
    end_all(cluster)
    first, second, third = (cluster[number] for number in order)
    first.start()
    wait_for(lambda: first.online() == [first.name], "the first node is alone")
    assert not first.is_quorate()
    second.start()
    cluster.wait_settled([first, second])
    second.write(folder + "/before", b"written by two of three")
    third.start()
    cluster.wait_settled()
    assert third.read(folder + "/before") == b"written by two of three"
    third.write(folder + "/after", b"written by the last")
    cluster.wait_equal()
    assert first.read(folder + "/after") == b"written by the last"


def test_join_all_at_once(cluster, folder):
    end_all(cluster)
    for node in cluster:
        node.start_corosync()
        node.daemon.launch()
    for node in cluster:
        node.daemon.wait_ready()
    cluster.wait_settled()


def test_start_without_corosync(cluster, folder):
    """The daemon is ready and serves reads; nothing can be written until corosync is there."""
    cluster[1].write(folder + "/file", b"content")
    cluster.wait_equal()
    node = cluster[3]
    node.daemon.stop()
    node.end_corosync(15)
    node.daemon.start()
    assert node.read(folder + "/file") == b"content"
    assert not node.is_quorate()
    with pytest.raises(OSError) as caught:
        node.write(folder + "/new", b"")
    assert caught.value.errno == errno.EACCES
    node.start_corosync()
    cluster.wait_settled()
    node.write(folder + "/new", b"now")
    cluster.wait_equal()


def test_fresh_cluster(make_cluster):
    """Three nodes that were never there before: each takes the host's corosync.conf into its new
    database, and they agree on one."""
    cluster = make_cluster().start()
    rows = cluster.wait_equal()
    assert [row[6] for row in rows if row[0]] == ["corosync.conf"]
    assert [row[0] for row in rows] == [0, 2]
    for node in cluster:
        with open(node.daemon.corosync_conf, "rb") as file:
            assert node.read("corosync.conf") == file.read()


def test_large_tree_to_a_new_node(cluster, folder):
    """A node without a database gets all there is, with files that do not fit in one message of
    corosync, while the others go on writing."""
    import os
    import shutil

    node = cluster[3]
    node.daemon.stop()
    shutil.rmtree(node.daemon.state_dir)
    code = """
for i in range(count):
    os.mkdir("%s/d%d" % (folder, i))
    fd = os.open("%s/d%d/f" % (folder, i), os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"x" * (1 << 20) if i < 3 else b"%d" % i)
    os.close(fd)
"""
    cluster[1].os.execute(code, {"folder": cluster[1].path(folder), "count": 500})
    node.daemon.start()
    other = cluster[2].daemon.worker().start("execute", code.replace("/d%d", "/e%d").replace("i < 3", "False"),
                                             {"folder": cluster[2].path(folder), "count": 300})
    cluster.wait_settled()
    other.result()
    cluster.wait_equal()
    assert node.read(folder + "/d1/f") == b"x" * (1 << 20)
    assert os.path.exists(node.daemon.database)
