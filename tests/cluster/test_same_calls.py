# SPDX-License-Identifier: GPL-3.0-or-later
"""Random calls by processes on several nodes, each after the others' kernels were told of the one before, are answered as on one node.
tests/mount/test_same_calls.py is the same on one."""

import json
import os
import random
import time

import pytest

from harness import wait_for
from harness.same_calls import NAMES, compare

# Each day others.
FIRST_SEED = int(os.environ.get("PMXCFS_TEST_SEED", time.time() // 86400 * 100))

SETTLING = "storage.cfg"


FSYNC = """
for name in names:
    try:
        fd = os.open(directory + "/" + name, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        continue
    os.fsync(fd)
    os.close(fd)
"""


class Settling:
    """Waits after a change until all nodes' kernels know of it: a truncation by an open is sent, and the counter of another file rises when what
    was changed before has been told."""

    def __init__(self, nodes, processes):
        self.nodes = list(nodes)
        self.processes = processes

    def counter(self, node):
        return json.loads(node.read(".version"))[SETTLING]

    def after(self, number):
        process, directory = self.processes[number]
        process.execute(FSYNC, {"names": NAMES, "directory": directory})
        before = [self.counter(node) for node in self.nodes]
        self.nodes[number].write(SETTLING, b"%d" % before[0])
        for node, counter in zip(self.nodes, before):
            wait_for(lambda: self.counter(node) > counter, "the counter rises on node %d" % node.number)


@pytest.mark.parametrize("number", range(4))
def test_same_calls(cluster, folder, tmp_path, number):
    processes = [(node.daemon.worker(), node.path(folder)) for node in cluster]
    difference = compare(random.Random(FIRST_SEED + number), 300, processes, str(tmp_path), Settling(cluster, processes).after)
    assert not difference, "PMXCFS_TEST_SEED=%d:\n%s" % (FIRST_SEED, difference)
