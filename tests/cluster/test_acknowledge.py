# SPDX-License-Identifier: GPL-3.0-or-later
"""--acknowledge=all: what was acknowledged all members have, whatever the network lets through."""

import errno
import json
import os
import signal

import pytest
from conftest import OPTIONS, missing_or_skip

from harness import BUILD_DIR, wait_for
from harness import cluster as clusters

PMXCFSCTL = os.path.join(BUILD_DIR, "src", "ctl", "pmxcfsctl")

# A switch whose ports to node2 and node3 let through no packets above this: corosync lives, longer messages do not.
SMALL_PACKETS = 900
LONG = b"x" * 1100


@pytest.fixture(scope="module")
def started(possible, tmp_path_factory):
    missing_or_skip()
    options = [*OPTIONS, "--acknowledge", "all", "--durability", "full", "--answer-timeout", "60"]
    cluster = clusters.Cluster(tmp_path_factory.mktemp("acknowledge"), 3, options)
    try:
        yield cluster.start()
    finally:
        cluster.close()


@pytest.fixture
def cluster(started, request):
    """Three nodes, in sync, as the test before has left them."""
    request.node.daemons = [node.daemon for node in started]
    started.wait_settled()
    return started


def set_packet_size(cluster, size):
    for number in (2, 3):
        cluster.switch.run("link", "set", "port%d" % number, "mtu", str(size))


def overview(node):
    done = node.daemon.run([PMXCFSCTL, "--socket-name", node.daemon.socket_name, "--json", "status"])
    return json.loads(done.stdout)


def version(node):
    return overview(node)["versions"]["tree"]


def test_long_packets_are_dropped(cluster):
    """Node 1 sends a change that no other node gets: it is not acknowledged while that is so, and never, if it is lost."""
    cluster[1].write("short", b"before")
    shown = overview(cluster[1])
    assert shown["acknowledge"] == "all" and [member["confirms"] for member in shown["group"]] == [True] * 3
    set_packet_size(cluster, SMALL_PACKETS)
    writer = cluster[1].namespace.worker()
    file = writer.open(cluster[1].path("long"), os.O_CREAT | os.O_WRONLY)
    before = version(cluster[1])
    writing = writer.start("write", file, LONG)
    # Corosync has delivered it to node 1 itself: that is what once was taken for an answer.
    wait_for(lambda: version(cluster[1]) > before, "node1 has its own change")
    assert not writing.done(1.0), "acknowledged, and nobody else has it"
    assert overview(cluster[1])["queues"]["callers"] == 1
    assert [version(cluster[number]) for number in (2, 3)] == [before, before]
    cluster[1].cut()
    others = [cluster[2], cluster[3]]
    set_packet_size(cluster, 1500)
    wait_for(lambda: all(node.is_quorate() and node.online() == ["node2", "node3"] for node in others), "the others are among themselves")
    assert not writing.done(0.5)
    for number in range(8):
        cluster[2].write("newer%d" % number, b"x")
    cluster[1].mend()
    cluster.wait_settled()
    with pytest.raises(OSError) as caught:
        writing.result()
    assert caught.value.errno == errno.EBUSY
    assert all(cluster[1].exists("newer%d" % number) for number in range(8))


def test_the_network_heals(cluster):
    """The others get it after all: then it is acknowledged."""
    set_packet_size(cluster, SMALL_PACKETS)
    writer = cluster[1].namespace.worker()
    writing = writer.start("write_file", cluster[1].path("late"), LONG)
    assert not writing.done(0.3)
    set_packet_size(cluster, 1500)
    writing.result()
    for number in (2, 3):
        assert cluster[number].read("late") == LONG


def test_a_member_ends(cluster):
    """A node that is gone is waited for no longer than corosync takes to say so; one that does not answer is."""
    cluster[3].end()
    cluster[1].write("without", b"x")
    assert cluster[2].read("without") == b"x"
    cluster[3].start()
    cluster.wait_settled()
    cluster[3].daemon.send_signal(signal.SIGSTOP)
    writer = cluster[1].namespace.worker()
    writing = writer.start("write_file", cluster[1].path("stopped"), b"x")
    wait_for(lambda: cluster[2].exists("stopped"), "node2 has the change")
    assert not writing.done(0.5)
    cluster[3].daemon.send_signal(signal.SIGCONT)
    writing.result()
    assert cluster[3].read("stopped") == b"x"
