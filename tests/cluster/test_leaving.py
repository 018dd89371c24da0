# SPDX-License-Identifier: GPL-3.0-or-later
"""Leaving a cluster for good, as pmxcfs(8) has it: LEAVING A CLUSTER."""


def test_a_node_that_leaves_keeps_all_and_is_alone(make_cluster):
    cluster = make_cluster(2).start()
    staying, leaving = cluster
    staying.write("note", b"from both")
    cluster.wait_equal()
    leaving.daemon.stop()
    leaving.end_corosync()
    leaving.daemon.start("--local")
    leaving.os.unlink(leaving.path("corosync.conf"))
    leaving.os.unlink(leaving.daemon.corosync_conf)
    leaving.daemon.stop()
    leaving.daemon.start()
    assert leaving.read("note") == b"from both"
    assert not leaving.exists("corosync.conf")
    assert leaving.is_quorate() and "cluster" not in leaving.members()
    leaving.write("note", b"its own")
    assert staying.read("note") == b"from both"
    assert staying.exists("corosync.conf")
