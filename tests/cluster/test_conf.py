# SPDX-License-Identifier: GPL-3.0-or-later
"""corosync.conf: a change in the tree reaches every host and corosync itself."""

import os
import re

from harness import wait_for
from harness.cluster import Node, corosync_conf


def host_conf(node):
    with open(node.daemon.corosync_conf) as file:
        return file.read()


def cluster_version(node):
    return node.members()["cluster"]["version"]


def test_fourth_node(make_cluster):
    """Edited on one node, as administrators do: a new file is moved over the old one. All hosts have
    it, corosync is told, and the new node joins with nothing but that file."""
    cluster = make_cluster().start()
    text = corosync_conf((1, 2, 3, 4), version=2)
    cluster[2].write("corosync.conf.new", text.encode())
    cluster[2].os.rename(cluster[2].path("corosync.conf.new"), cluster[2].path("corosync.conf"))
    for node in cluster:
        wait_for(lambda: host_conf(node) == text, "the file is on the host of %s" % node.name)
        assert os.stat(node.daemon.corosync_conf).st_mode & 0o777 == 0o644
    for node in cluster:
        wait_for(lambda: "node4" in node.members()["nodelist"], "%s knows the new node" % node.name)
        assert cluster_version(node) == 2
    cluster.nodes.append(Node(cluster, 4))
    cluster[4].write_conf(text)
    cluster[4].start()
    cluster.wait_settled()
    cluster[4].write("file", b"from the new node")
    cluster.wait_equal()


def test_host_file_rules(cluster, folder):
    """A lower version and one without a version are not copied; the same content is not written
    again; corosync is told only by the node that was asked."""
    old = host_conf(cluster[1])
    version = int(re.search(r"config_version: (\d+)", old).group(1))
    stamp = os.stat(cluster[1].daemon.corosync_conf)
    cluster[1].write("corosync.conf", old.replace("config_version: %d" % version, "config_version: 0").encode())
    cluster[1].write("corosync.conf", old.encode())
    newer = old.replace("config_version: %d" % version, "config_version: %d" % (version + 1))
    cluster[1].write("corosync.conf", newer.encode())
    for node in cluster:
        wait_for(lambda: host_conf(node) == newer, "the newer file is on the host of %s" % node.name)
    assert os.stat(cluster[1].daemon.corosync_conf).st_ino != stamp.st_ino
    wait_for(lambda: cluster_version(cluster[3]) == version + 1, "corosync has read it")
    cluster[2].write("corosync.conf", old.encode())
    wait_for(lambda: "local corosync.conf is newer" in cluster[3].daemon.log_since_start(), "the refusal is logged")
    assert host_conf(cluster[3]) == newer
    cluster[2].write("corosync.conf", newer.encode())
    told = [node for node in cluster if "was told to read" in node.daemon.log_since_start()]
    assert cluster[1] in told and cluster[2] not in told and cluster[3] not in told


def test_many_edits_at_once(cluster, folder):
    """Edits in a row, on all nodes: the last version wins everywhere and nothing is held up."""
    version = cluster_version(cluster[1])
    for i in range(1, 31):
        node = cluster[i % 3 + 1]
        node.write("corosync.conf", corosync_conf((1, 2, 3), version=version + i).encode())
        cluster[1].write("%s/f%d" % (folder, i), b"meanwhile")
    last = corosync_conf((1, 2, 3), version=version + 30)
    for node in cluster:
        wait_for(lambda: host_conf(node) == last, "the last file is on the host of %s" % node.name)
        wait_for(lambda: cluster_version(node) == version + 30, "corosync of %s has read it" % node.name)
