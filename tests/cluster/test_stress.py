# SPDX-License-Identifier: GPL-3.0-or-later
"""Three processes on each of three nodes do anything to a few files, or rewrite and read a single one all the time. Nobody
ever reads a zero of a file that has no hole, and at rest all caches, direct reads, maps, sizes and nodes agree.

PMXCFS_STRESS_SEED repeats what the processes do (not when), PMXCFS_STRESS_SECONDS makes it longer."""

import json
import os
import random

import pytest
from harness import wait_for
from harness.kept import load

CLIENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stress_client.py")
NAMES = ["w0", "w1", "w2", "l0", "a0", "a1"]
REWRITTEN = ["r0"]


def rises(node):
    return json.loads(node.read(".version"))["storage.cfg"]


def wait_told(cluster):
    """Until each node's kernel has been told of all that was changed on the others."""
    for writer in cluster:
        before = {node: rises(node) for node in cluster}
        writer.write("storage.cfg", b"%d" % random.randrange(1 << 30))
        for node in cluster:
            wait_for(lambda: rises(node) > before[node], "the counter rises")


def stored(cluster, folder):
    """{name: (inode number, content)} of the directory, as all databases have it."""
    rows = cluster.wait_equal()
    (directory,) = [row[0] for row in rows if row[6] == folder]
    return {row[6]: (row[0], row[7] or b"") for row in rows if row[1] == directory}


def first_difference(content, other):
    """Where it is, and what is there instead of what is stored, in short."""
    at = next((i for i, (one, two) in enumerate(zip(content, other)) if one != two), min(len(content), len(other)))
    last = max((i for i, (one, two) in enumerate(zip(content, other)) if one != two), default=at)
    return len(other), at, last, content[at:at + 4], other[at:at + 4]


def differences(cluster, folder, clients):
    """What any process sees otherwise than it is stored, in short."""
    files = stored(cluster, folder)
    found = []
    for who, client in clients.items():
        seen, kept = client.at_rest()
        found += [(who, name, "is not stored" if name in seen else "is not seen") for name in seen.keys() ^ files.keys()]
        for name in seen.keys() & files.keys():
            inode, content = files[name]
            if seen[name] != ([inode], [len(content)], [content]):
                inodes, sizes, contents = seen[name]
                found.append((who, name, "inode", inode, inodes, "size", len(content), sizes, [first_difference(content, one) for one in contents if one != content]))
        for name, inode, size, content in kept:
            if name in files and files[name][0] == inode and (size, content) != (len(content), files[name][1]):
                found.append((who, name, "kept", inode, size, first_difference(files[name][1], content)))
    return found


@pytest.mark.parametrize("names", (NAMES, REWRITTEN), ids=("all", "rewritten"))
def test_stress(cluster, folder, names):
    seed = int(os.environ.get("PMXCFS_STRESS_SEED") or random.randrange(1 << 31))
    seconds = float(os.environ.get("PMXCFS_STRESS_SECONDS") or 12)
    print("PMXCFS_STRESS_SEED=%d" % seed)
    clients = {}
    for node in cluster:
        for _ in range(3):
            letter = "abcdefghi"[len(clients)]
            clients["process %s of %s" % (letter, node.name)] = (node, letter, load(node.daemon.worker(), CLIENT))
    running = {
        who: client.worker.begin("stress_client", "run", node.path(folder), names, letter.encode(), seed * 9 + ord(letter), seconds)
        for who, (node, letter, client) in clients.items()
    }
    results = {who: one.result(seconds + 120) for who, one in running.items()}
    print("steps:", sum(count for count, _ in results.values()))
    wait_told(cluster)
    found = [(who, *one) for who, (_, bad) in results.items() for one in bad]
    found += differences(cluster, folder, {who: client for who, (_, _, client) in clients.items()})
    assert not found, "\n".join(map(str, found[:30]))
