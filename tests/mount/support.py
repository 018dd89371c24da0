# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of a mount share: expected errors, databases made by hand, processes that race."""

import contextlib
import errno
import os
import sqlite3

import pytest

from harness.database import DIRECTORY, FILE, SCHEMA, connect

MTIME = 1700000000
MIB = 1 << 20
CHANGE_MAX = 960 << 10  # bytes of data in one change


@contextlib.contextmanager
def refused(*numbers):
    """The block must fail with an OSError of one of these errno values."""
    with pytest.raises(OSError) as caught:
        yield
    names = [errno.errorcode.get(number) for number in (caught.value.errno, *numbers)]
    assert caught.value.errno in numbers, "%s instead of %s" % (names[0], names[1:])


def make_database(path, entries, version=None, schema=SCHEMA):
    """A config.db of (inode, parent, type, name, data); the version is the highest inode unless given."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute(schema)
    database.execute("BEGIN")
    highest = 1

    def rows():
        nonlocal highest
        for inode, parent, kind, name, data in entries:
            highest = max(highest, inode)
            name = name if isinstance(name, bytes) or name is None else name.encode()
            yield inode, parent, inode, 1, MTIME, kind, name, data

    # The cast stores the bytes as TEXT, whatever they are.
    insert = "INSERT INTO tree VALUES (?, ?, ?, ?, ?, ?, CAST(? AS TEXT), ?)"
    database.executemany(insert, rows())
    database.execute(insert, (0, 0, version or highest, 1, MTIME, FILE, b"__version__", None))
    database.execute("COMMIT")
    database.close()


def read_rows(path):
    """{inode: (parent, version, writer, mtime, type, name, data)} as bytes, also while a daemon works."""
    with connect(path) as database:
        database.text_factory = bytes
        rows = database.execute("SELECT inode, parent, version, writer, mtime, type, name, data FROM tree")
        return {row[0]: row[1:] for row in rows}


def check_integrity(path):
    """Of config.db, and of what the journal makes of it."""
    with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % path, uri=True, timeout=30)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def paths_of(rows):
    """{path: data, None for a directory} of a database's rows."""
    found = {}

    def path_of(inode):
        parent, name = rows[inode][0], os.fsdecode(rows[inode][5])
        return name if parent == 0 else path_of(parent) + "/" + name

    for inode, row in rows.items():
        if inode != 0:
            found[path_of(inode)] = None if row[4] == DIRECTORY else row[6] or b""
    return found


VIRTUAL = {"local", "qemu-server", "lxc", "openvz", ".version", ".members", ".vmlist", ".clusterlog", ".rrd", ".debug",
           ".metrics"}


def contents(worker, path):
    """{path: data, None for a directory} of all that a mount shows, without what is made up."""
    found = {}
    for name in worker.walk(path):
        if name in VIRTUAL:
            continue
        found[name.rstrip("/")] = None if name.endswith("/") else worker.read_file(path + "/" + name)
    return found
