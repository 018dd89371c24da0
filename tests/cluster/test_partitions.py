# SPDX-License-Identifier: GPL-3.0-or-later
"""The network falls apart and heals: the larger part goes on, the smaller reads."""

import errno

import pytest
from load import Load

from harness import wait_for


def wait_read_only(node):
    wait_for(lambda: not node.is_quorate(), "%s is read-only" % node.name)


def assert_read_only(node, folder):
    """No change is possible, modes say so, and reads go on."""
    for attempt in (
        lambda: node.write(folder + "/minority", b"x"),
        lambda: node.os.mkdir(node.path(folder + "/directory")),
        lambda: node.os.unlink(node.path(folder + "/file")),
        lambda: node.os.utime(node.path(folder + "/file")),
    ):
        with pytest.raises(OSError) as caught:
            attempt()
        assert caught.value.errno == errno.EACCES
    assert node.os.stat(node.path(folder + "/file")).st_mode & 0o777 == 0o440
    assert node.os.stat(node.path(folder)).st_mode & 0o777 == 0o555
    assert node.read(folder + "/file") == b"before"


@pytest.mark.parametrize("number", (1, 2, 3))
def test_two_and_one(cluster, folder, number):
    """Changes are tried on both sides, all the time; nothing that the majority acknowledged is lost."""
    alone = cluster[number]
    others = [node for node in cluster if node is not alone]
    alone.write(folder + "/file", b"before")
    load = Load(cluster, folder)
    for node in cluster:
        load.wait_progress(node)
    alone.cut()
    wait_read_only(alone)
    assert_read_only(alone, folder)
    for node in others:
        load.wait_progress(node)
        assert node.is_quorate()
    wait_for(lambda: others[0].online() == [node.name for node in others], "the majority is among itself")
    alone.mend()
    wait_for(lambda: alone.is_quorate(), "the network has healed")
    load.wait_progress(alone)
    acknowledged = load.end()
    cluster.wait_settled()
    for node, names in acknowledged.items():
        # A sender has its own message before the others are known to have it.
        load.check(others[0], names, lost=1 if node is alone else 0)
    assert alone.os.stat(alone.path(folder + "/file")).st_mode & 0o777 == 0o640


def test_one_and_one_and_one(cluster, folder):
    cluster[1].write(folder + "/file", b"before")
    load = Load(cluster, folder)
    for node in cluster:
        load.wait_progress(node)
    for node in cluster:
        node.cut()
    for node in cluster:
        wait_read_only(node)
        assert_read_only(node, folder)
    for node in (cluster[3], cluster[1]):
        node.mend()
    wait_for(lambda: cluster[1].is_quorate() and cluster[3].is_quorate(), "two of three are quorate")
    load.wait_progress(cluster[1])
    assert not cluster[2].is_quorate()
    cluster[2].mend()
    wait_for(lambda: cluster[2].is_quorate(), "the third is back")
    acknowledged = load.end()
    cluster.wait_settled()
    assert all(load.check(cluster[1], names, lost=1) is not None for names in acknowledged.values())


def test_link_that_comes_and_goes(cluster, folder):
    """Cuts that heal while the synchronisation of the last one is under way."""
    load = Load([cluster[1], cluster[2]], folder)
    for _ in range(4):
        cluster[3].cut()
        wait_read_only(cluster[3])
        cluster[3].mend()
        wait_for(lambda: cluster[3].is_quorate(), "node3 has quorum")
    acknowledged = load.end()
    cluster.wait_settled()
    for names in acknowledged.values():
        load.check(cluster[3], names)
