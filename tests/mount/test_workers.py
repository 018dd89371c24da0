# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests are served while others are held up."""

import sqlite3


def test_reading_goes_on_while_changes_wait(daemon):
    """Another program holds the database: changes wait for it, and whoever needs their directory's lock in the kernel;
    nobody else does, and they are made in the end."""
    for name in ("read", "change"):
        daemon.os.mkdir(daemon / name)
    for number in range(50):
        daemon.os.write_file(daemon / ("read/file%d" % number), b"%d" % number)
    daemon.restart()  # the kernel knows none of them
    database = sqlite3.connect(daemon.database)
    database.execute("BEGIN IMMEDIATE")
    writers = [daemon.worker() for _ in range(3)]
    waiting = [writer.start("write_file", daemon / ("change/new%d" % number), b"new")
               for number, writer in enumerate(writers)]
    for number in range(50):
        assert daemon.os.read_file(daemon / ("read/file%d" % number)) == b"%d" % number
        assert daemon.os.statvfs(daemon.mountpoint)
    database.rollback()
    database.close()
    for change in waiting:
        change.result()
    for number, writer in enumerate(writers):
        assert daemon.os.read_file(daemon / ("change/new%d" % number)) == b"new"
        writer.close()


def test_many_at_once(daemon):
    """All workers have their turns, and none is lost."""
    code = """
import os
for number in range(200):
    with open(path, "wb") as file:
        file.write(b"%d" % number)
    os.mkdir(path + ".lock")
    assert open(path, "rb").read() == b"%d" % number
    os.rename(path, path + ".old")
    os.rename(path + ".old", path)
    os.rmdir(path + ".lock")
result = None
"""
    workers = [daemon.worker() for _ in range(8)]
    running = [worker.start("execute", code, {"path": daemon / ("file%d" % number)})
               for number, worker in enumerate(workers)]
    for work in running:
        work.result()
    for worker in workers:
        worker.close()
