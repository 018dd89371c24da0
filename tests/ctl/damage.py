# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases that a load refuses, of every kind there is (doc/database.md, "What a load refuses")."""

import contextlib
import hashlib
import os
import sqlite3

from harness.database import DIRECTORY, FILE, SCHEMA

# A small, proper database; inode 30 is free.
ROWS = [(0, 0, 40, 1, 1700, FILE, "__version__", None), (2, 0, 3, 0, 1600, FILE, "storage.cfg", b"ab"),
        (4, 0, 4, 1, 1601, DIRECTORY, "nodes", None), (5, 4, 5, 1, 1602, DIRECTORY, "a", None),
        (6, 5, 6, 1, 1603, DIRECTORY, "qemu-server", None), (7, 4, 7, 1, 1604, DIRECTORY, "b", None),
        (8, 7, 8, 1, 1605, DIRECTORY, "lxc", None), (9, 6, 10, 2, 1606, FILE, "100.conf", b"cores: 1"),
        (11, 8, 12, 2, 1607, FILE, "200.conf", b"\0"), (13, 0, 13, 1, 1608, DIRECTORY, "priv", None)]

LOST = "priv/lost+found"


class Kind:
    """What is done to the proper database, what check says of it, and what a repair makes of it.

    `paths`: what the repaired database has besides what is as it was, {path: content, None for a directory};
    `gone`: what it has not any more. `schema`: another table."""

    def __init__(self, problem, sql, words, paths=None, gone=(), schema=SCHEMA):
        self.problem, self.sql, self.words, self.schema = problem, sql, words, schema
        self.paths, self.gone = paths or {}, gone


# Without the conditions that keep numbers numbers; and without the types, too.
LOOSE = "CREATE TABLE tree (inode INTEGER PRIMARY KEY, parent INTEGER, version INTEGER, writer INTEGER, mtime INTEGER, type INTEGER, name TEXT, data BLOB)"
PLAIN = "CREATE TABLE tree (inode INTEGER PRIMARY KEY, parent, version, writer, mtime, type, name, data)"
CONF = "nodes/a/qemu-server/100.conf"
LOST_CONF = {LOST + "/100.conf.inode-9": b"cores: 1"}


def lost(name, content=b"cores: 1", path=CONF):
    return {"paths": {LOST + "/" + name: content}, "gone": [path]}


# Of rows: each is repaired, and nothing of what they hold is lost.
ROWS_REFUSED = {
    "no name": Kind("name", "UPDATE tree SET name = '' WHERE inode = 9", "inode 9 has no name", **lost("inode-9")),
    "name NULL": Kind("name", "UPDATE tree SET name = NULL WHERE inode = 9", "inode 9 has no name", schema=LOOSE, **lost("inode-9")),
    "a slash in the name": Kind("name", "UPDATE tree SET name = 'a/b' WHERE inode = 9", "has a slash", **lost("a_b.inode-9")),
    "a dot": Kind("name", "UPDATE tree SET name = '.' WHERE inode = 9", "means another directory", **lost("..inode-9")),
    "two dots": Kind("name", "UPDATE tree SET name = '..' WHERE inode = 9", "means another directory", **lost("...inode-9")),
    "a zero byte in the name": Kind("name", "UPDATE tree SET name = CAST(x'410042' AS TEXT) WHERE inode = 9", "zero byte", **lost("A.inode-9")),
    "a directory's name": Kind("name", "UPDATE tree SET name = '' WHERE inode = 5", "inode 5 has no name", gone=["nodes/a"],
                               paths={LOST + "/inode-5": None, LOST + "/inode-5/qemu-server": None, LOST + "/inode-5/qemu-server/100.conf": b"cores: 1"}),
    "the name of row 0": Kind("name", "UPDATE tree SET name = 'version' WHERE inode = 0", "'version' and not '__version__'"),
    "the type of row 0": Kind("type", "UPDATE tree SET type = 9 WHERE inode = 0", "inode 0 has type 9"),
    "a directory with data": Kind("directory-data", "UPDATE tree SET data = x'01' WHERE inode = 5", "inode 5 is a directory and has 1 bytes",
                                  {LOST + "/a.inode-5.data": b"\1"}),
    "a type of a file": Kind("type", "UPDATE tree SET type = 10 WHERE inode = 9", "inode 9 has type 10"),
    "a type of a directory": Kind("type", "UPDATE tree SET type = 10 WHERE inode = 6", "inode 6 has type 10"),
    "a type of a directory with data": Kind("type", "UPDATE tree SET type = 10, data = 'x' WHERE inode = 6", "inode 6 has type 10",
                                            {LOST + "/qemu-server.inode-6.data": b"x"}),
    "a type that is text": Kind("type", "UPDATE tree SET type = 'x' WHERE inode = 9", "inode 9 has type unknown", schema=LOOSE),
    "a missing parent": Kind("parent", "UPDATE tree SET parent = 77 WHERE inode IN (9, 2)", "lies in inode 77, which is missing", gone=[CONF, "storage.cfg"],
                             paths={LOST + "/inode-77": None, LOST + "/inode-77/100.conf": b"cores: 1", LOST + "/inode-77/storage.cfg": b"ab"}),
    "a missing directory": Kind("parent", "DELETE FROM tree WHERE inode = 6", "inode 9 ('100.conf') lies in inode 6", gone=["nodes/a/qemu-server", CONF],
                                paths={LOST + "/inode-6": None, LOST + "/inode-6/100.conf": b"cores: 1"}),
    "a negative parent": Kind("parent", "UPDATE tree SET parent = -3 WHERE inode = 9", "inode -3, which is missing", gone=[CONF],
                              paths={LOST + "/inode--3": None, LOST + "/inode--3/100.conf": b"cores: 1"}),
    "a parent that is a file": Kind("parent", "UPDATE tree SET parent = 2 WHERE inode = 9", "in inode 2, which is no directory", **lost("100.conf.inode-9")),
    "a parent that is no number": Kind("parent", "UPDATE tree SET parent = 'x' WHERE inode = 9", "the parent of inode 9 is no number", schema=LOOSE,
                                       **lost("100.conf.inode-9")),
    "its own parent": Kind("loop", "UPDATE tree SET parent = 5 WHERE inode = 5", "lies within itself", gone=["nodes/a"],
                           paths={LOST + "/a.inode-5": None, LOST + "/a.inode-5/qemu-server": None, LOST + "/a.inode-5/qemu-server/100.conf": b"cores: 1"}),
    "a circle": Kind("loop", "UPDATE tree SET parent = 6 WHERE inode = 4", "lies within itself", gone=["nodes"]),
    "a name twice": Kind("same-name", "INSERT INTO tree VALUES (30, 6, 30, 1, 1, 8, '100.conf', x'31')", "inode 9 and inode 30 have the same name '100.conf'",
                         {CONF: b"1", **LOST_CONF}),
    "a name twice, the first is newer": Kind("same-name", "INSERT INTO tree VALUES (30, 6, 1, 1, 1, 8, '100.conf', x'31')", "the same name",
                                             {LOST + "/100.conf.inode-30": b"1"}),
    "a name three times": Kind("same-name", "INSERT INTO tree VALUES (30, 0, 2, 1, 1, 8, 'storage.cfg', x'31'), (31, 0, 9, 1, 1, 8, 'storage.cfg', x'32')",
                               "the same name", {"storage.cfg": b"2", LOST + "/storage.cfg.inode-2": b"ab", LOST + "/storage.cfg.inode-30": b"1"}),
    "a file named like a directory": Kind("same-name", "INSERT INTO tree VALUES (30, 5, 30, 1, 1, 8, 'qemu-server', x'31')", "the same name 'qemu-server'",
                                          {LOST + "/qemu-server.inode-30": b"1"}),
    "directories of one name": Kind("same-name", "INSERT INTO tree VALUES (30, 4, 30, 1, 1, 4, 'a', NULL), (31, 30, 31, 1, 1, 4, 'qemu-server', NULL), "
                                    "(32, 31, 32, 1, 1, 8, '300.conf', x'31')", "the same name 'a'", {"nodes/a/qemu-server/300.conf": b"1"}),
    "a file named priv": Kind("same-name", "UPDATE tree SET parent = 0, name = 'priv' WHERE inode = 9", "the same name 'priv'",
                              **lost("priv.inode-9")),
    "a guest twice": Kind("same-guest", "INSERT INTO tree VALUES (30, 8, 30, 1, 1, 8, '100.conf', x'31')", "are both the configuration of guest 100",
                          {"nodes/b/lxc/100.conf": b"1", **LOST_CONF}, [CONF]),
    "an mtime that is too high": Kind("number", "UPDATE tree SET mtime = 4294967296 WHERE inode = 9", "the mtime of inode 9 is 4294967296"),
    "the mtime of row 0": Kind("number", "UPDATE tree SET mtime = -1 WHERE inode = 0", "the mtime of inode 0 is -1"),
    "an mtime that is no integer": Kind("number", "UPDATE tree SET mtime = 1.5 WHERE inode = 9", "the mtime of inode 9 is no number", schema=LOOSE),
    "a writer that is too high": Kind("number", "UPDATE tree SET writer = 4294967296 WHERE inode = 9", "the writer of inode 9"),
    "a negative version": Kind("number", "UPDATE tree SET version = -1 WHERE inode = 0", "the version of inode 0 is -1"),
    "a version that is NULL": Kind("number", "UPDATE tree SET version = NULL WHERE inode = 9", "the version of inode 9 is no number", schema=LOOSE),
    "a negative inode": Kind("negative-inode", "INSERT INTO tree VALUES (-7, 5, 30, 1, 1, 4, 'x', NULL), (30, -7, 30, 1, 1, 8, 'below', x'31')",
                             "inode -7 is negative", {"nodes/a/x": None, "nodes/a/x/below": b"1"}),
    "a negative inode without a place": Kind("negative-inode", "INSERT INTO tree VALUES (-7, 'x', 30, 1, 1, 8, '', x'31')", "inode -7 is negative",
                                             {LOST + "/inode--7": b"1"}, schema=LOOSE),
    "a trigger": Kind("file", "CREATE TRIGGER spoiler AFTER INSERT ON tree BEGIN DELETE FROM tree; END", "a trigger, 'spoiler'"),
    "a unique index": Kind("file", "CREATE UNIQUE INDEX names ON tree (name, inode)", "a unique index, 'names'"),
    "one more column": Kind("file", "ALTER TABLE tree ADD COLUMN more", "has not the columns"),
    "columns without types": Kind("file", "UPDATE tree SET name = 17, mtime = 'x', type = '8' WHERE inode = 9", "has not the columns", schema=PLAIN,
                                  **lost("inode-9")),
    "UTF-16": Kind("file", "", "texts are encoded as UTF-16le", schema="PRAGMA encoding='UTF-16le'; " + SCHEMA),
}

# Of rows that load, as another member's change may have made them: a warning, and a repair brings them to where they can be used.
ROWS_WARNED = {
    "a long name": Kind("name", "UPDATE tree SET name = replace(hex(zeroblob(513)), '0', 'n') WHERE inode = 9", "inode 9 has a name of 1026 bytes",
                        **lost("n" * 200 + ".inode-9")),
    "a file where guests live": Kind("guest-directory", "INSERT INTO tree VALUES (30, 7, 30, 1, 1, 8, 'openvz', x'31')",
                                     "inode 30 is a file where a directory of guests should be", {LOST + "/openvz.inode-30": b"1"}),
}

# Of which nothing can be saved: {name: (SQL, words of check, words of repair)}
TABLES_REFUSED = {
    "no table": ("ALTER TABLE tree RENAME TO shrub", "no table 'tree'"),
    "a column of another name": ("ALTER TABLE tree RENAME COLUMN writer TO author", "has not the columns"),
    "a missing column": ("ALTER TABLE tree DROP COLUMN data", "has not the columns"),
    "a view": ("ALTER TABLE tree RENAME TO shrub; CREATE VIEW tree AS SELECT * FROM shrub", "'tree' is no ordinary table"),
}
CONTENTS_REFUSED = {
    "text": (b"this is no database\n" * 1000, "not a database"),
    "a header alone": (b"SQLite format 3\0", "is no database, with a size of 16 bytes"),
    "a header and noise": (b"SQLite format 3\0" + b"\xff" * 8000, "cannot"),
    "nothing": (b"", "is no database, with a size of 0 bytes"),
}


def make(path, kind=None, sql="", schema=SCHEMA, rows=ROWS):
    """The proper database, altered."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous=OFF")
        database.executescript(kind.schema if kind else schema)
        database.executemany("INSERT INTO tree VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        database.executescript("PRAGMA ignore_check_constraints=ON;" + (kind.sql if kind else sql))
    return path


def snapshot(directory, running=False):
    """All files with their bytes: what must not be touched. Not the history of a daemon that runs, which it writes meanwhile."""
    found = {}
    for name in sorted(os.listdir(directory)):
        if running and name.startswith("history.db"):
            continue
        with open(os.path.join(directory, name), "rb") as file:
            found[name] = hashlib.sha256(file.read()).hexdigest()
    return found


def read_rows(path):
    """The rows; what stands still is read without a trace."""
    mode = "mode=ro" if os.path.exists("%s-wal" % path) else "immutable=1"
    with contextlib.closing(sqlite3.connect("file:%s?%s" % (path, mode), uri=True, timeout=30)) as database:
        database.text_factory = bytes
        assert database.execute("PRAGMA integrity_check").fetchall() == [(b"ok",)]
        rows = database.execute("SELECT inode, parent, version, writer, mtime, type, name, data FROM tree")
        return {row[0]: row[1:] for row in rows}


def read_paths(path):
    """{path: content, None for a directory}"""
    rows = read_rows(path)

    paths = {0: ""}

    def path_of(inode):
        """In steps: some are thousands of levels deep."""
        unknown = []
        while inode not in paths:
            unknown.append(inode)
            inode = rows[inode][0]
        for below in reversed(unknown):
            parent = paths[rows[below][0]]
            paths[below] = (parent + "/" if parent else "") + os.fsdecode(rows[below][5])
        return paths[(unknown or [inode])[0]]

    return {path_of(inode): None if row[4] == DIRECTORY else row[6] or b"" for inode, row in rows.items() if inode}
