# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that another node renames lives on: changes through its descriptors that are under way follow it, as on other file systems."""

import os
import signal

import pytest

from harness import wait_for

OLD = b"0123456789"


def append(worker, fd):
    return worker.start("write", fd, b"MORE")


def empty(worker, fd):
    worker.close(worker.open("/proc/self/fd/%d" % fd, os.O_WRONLY | os.O_TRUNC))
    return worker.start("fsync", fd)


# Each with what the file is afterwards. (A time that is set before the rename does not stay.)
CALLS = {
    "write": (lambda worker, fd: worker.start("pwrite", fd, b"WRITTEN", 0), b"WRITTEN789"),
    "append": (append, OLD + b"MORE"),
    "rewrite": (lambda worker, fd: worker.start("write_file", "/proc/self/fd/%d" % fd, b"new"), b"new"),
    "truncate": (lambda worker, fd: worker.start("ftruncate", fd, 3), OLD[:3]),
    "grow": (lambda worker, fd: worker.start("ftruncate", fd, 12), OLD + bytes(2)),
    "empty": (empty, b""),
    "time": (lambda worker, fd: worker.start("utime", fd, (5, 5)), OLD),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_change_that_a_rename_overtakes(cluster, folder, call):
    here, there = cluster[1], cluster[2]
    start, expected = CALLS[call]
    worker, mover = here.daemon.worker(), there.daemon.worker()
    overtaken = 0
    for number in range(40):
        name, other = "%s/file%d" % (folder, number), "%s/moved%d" % (folder, number)
        there.write(name, OLD)
        wait_for(lambda: here.exists(name) and here.read(name) == OLD, "the file is there")
        fd = worker.open(here.path(name), os.O_RDWR | (os.O_APPEND if call == "append" else 0))
        misses = here.misses()
        there.signal_corosync(signal.SIGSTOP)
        try:
            renaming = mover.start("rename", there.path(name), there.path(other))
            waiting = not renaming.done(0.05)
            changing = start(worker, fd)
            waiting = not changing.done(0.05) and waiting
        finally:
            there.signal_corosync(signal.SIGCONT)
        wait_for(lambda: renaming.done() and changing.done(), "both are answered")
        cluster.wait_settled()
        if here.misses() > misses:
            continue  # on a busy machine the others had gone on without it
        assert waiting, "they wait for the group"
        renaming.result()
        changing.result()
        worker.close(fd)
        assert [node.read(other) for node in cluster] == [expected] * 3
        assert not here.exists(name)
        overtaken += 1
        if overtaken == 4:
            return
    pytest.fail("the others went on each time")
