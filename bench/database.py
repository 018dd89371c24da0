# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases of a given size, as a daemon would have left them (doc/database.md)."""

import os
import sqlite3

from harness.database import DIRECTORY, FILE, SCHEMA

FILES_PER_DIRECTORY = 100
MTIME = 1700000000


def rows_of(files, size, corosync_conf):
    """All rows but row 0, in the order of their inodes."""
    inode = 1
    if corosync_conf:
        inode += 1
        yield inode, 0, FILE, "corosync.conf", corosync_conf
    inode += 1
    top = inode
    yield top, 0, DIRECTORY, "content", None
    for number in range(files):
        if number % FILES_PER_DIRECTORY == 0:
            inode += 1
            parent = inode
            yield parent, top, DIRECTORY, "directory%d" % (number // FILES_PER_DIRECTORY), None
        inode += 1
        yield inode, parent, FILE, "file%d" % number, (b"%08d" % number) + os.urandom(size - 8)


def make_database(path, files, size, corosync_conf=None):
    """`files` files of `size` bytes (8 at least), content/directoryN/fileN with 100 in each
    directory, and corosync.conf if its text is given. Gives the sum of all sizes."""
    os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute(SCHEMA)
    content, last = 0, 1
    for inode, parent, kind, name, data in rows_of(files, size, corosync_conf):
        database.execute("INSERT INTO tree VALUES (?, ?, ?, 0, ?, ?, ?, ?)",
                         (inode, parent, inode, MTIME, kind, name, data))
        content += len(data) if data else 0
        last = inode
    database.execute("INSERT INTO tree VALUES (0, 0, ?, 0, ?, ?, '__version__', NULL)", (last, MTIME, FILE))
    database.commit()
    database.close()
    os.chmod(path, 0o600)
    return content
