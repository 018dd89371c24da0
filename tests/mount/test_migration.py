# SPDX-License-Identifier: GPL-3.0-or-later
"""From another implementation's database to ours and back (doc/migration.md, doc/database.md)."""

import os
import shutil
import sqlite3
import stat

import pytest

from harness import SOURCE_DIR
from support import DIRECTORY, FILE, check_integrity, contents, paths_of, read_rows

VECTORS = os.path.join(SOURCE_DIR, "tests", "vectors")
# At work, after a node came back, after a partition healed, with locks.
RECORDED = ["three-nodes/2-worked.node1.db", "three-nodes/3-back.node3.db", "partition/3-end.node3.db", "timers/1-end.node1.db"]

PRAGMAS = ["journal_mode", "page_size", "encoding", "auto_vacuum", "user_version", "application_id", "schema_version"]
# Offsets in the file: reserved bytes of a page, payload fractions, and the format of the schema.
HEADER = [slice(0, 16), slice(18, 24), slice(44, 48), slice(56, 60)]


def form(path):
    """All of a database that is not its rows."""
    with open(path, "rb") as file:
        header = file.read(100)
    with sqlite3.connect("file:%s?immutable=1" % path, uri=True) as database:
        schema = database.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
        pragmas = {name: database.execute("PRAGMA " + name).fetchone() for name in PRAGMAS}
    return schema, pragmas, [header[part] for part in HEADER]


def kinds_of_rows(path):
    """(type of entry, types of its eight columns) of each row, as SQLite stores them."""
    columns = "inode, parent, version, writer, mtime, type, name, data".split(", ")
    with sqlite3.connect("file:%s?immutable=1" % path, uri=True) as database:
        query = "SELECT inode, type, length(data), %s FROM tree" % ", ".join("typeof(%s)" % name for name in columns)
        return database.execute(query).fetchall()


def take_over(daemon, name):
    os.makedirs(daemon.state_dir)
    shutil.copyfile(os.path.join(VECTORS, name), daemon.database)
    return read_rows(daemon.database)


def work(daemon):
    """Each kind of change, large and small files, and a name that is not UTF-8."""
    worker = daemon.os
    for directory in ("back", "back/empty", "back/gone"):
        worker.mkdir(daemon / directory)
    worker.write_file(daemon / "back/small", b"small\n")
    worker.write_file(daemon / "back/none", b"")
    worker.write_file(daemon / "back/large", bytes(range(256)) * 4096)
    worker.write_file(os.fsencode(daemon / "back/") + b"\xff\xfe", b"\0binary")
    worker.write_file(daemon / "back/small", b"written again\n")
    worker.rename(daemon / "back/small", daemon / "back/empty/moved")
    worker.unlink(daemon / "back/none")
    worker.write_file(daemon / "back/none", b"")
    worker.rmdir(daemon / "back/gone")


@pytest.mark.parametrize("name", RECORDED)
def test_what_is_left_after_a_clean_stop_is_in_the_same_form(make_daemon, name):
    daemon = make_daemon()
    take_over(daemon, name)
    daemon.start()
    work(daemon)
    shown = contents(daemon.os, daemon.mountpoint)
    daemon.stop()
    assert sorted(os.listdir(daemon.state_dir)) == [".pmxcfs.lockfile", "config.db", "history.db"], "all is in the one file"
    assert stat.S_IMODE(os.stat(daemon.database).st_mode) == 0o600
    assert form(daemon.database) == form(os.path.join(VECTORS, name))
    check_integrity(daemon.database)
    assert paths_of(read_rows(daemon.database)) == shown
    integers = ("integer",) * 6
    for inode, kind, size, *types in kinds_of_rows(daemon.database):
        allowed = {"blob"} if size else {"null"}
        assert kind in (FILE, DIRECTORY)
        assert size is None or size > 0 and kind == FILE
        assert tuple(types[:6]) == integers and types[6] == "text" and types[7] in allowed, inode


def test_a_new_database_has_the_form_of_the_others(daemon):
    work(daemon)
    daemon.stop()
    # Counted is what was ever done to the schema: one table, made once.
    assert form(daemon.database) == form(os.path.join(VECTORS, RECORDED[0]))


def change_as_another(path, keep):
    """Makes a file, rewrites one, deletes one, with SQLite alone, as doc/database.md has it; then dies: what
    is on the disk at that moment is copied to `keep`, write-ahead log and all. The new version."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA synchronous=NORMAL")
    (version,) = database.execute("SELECT version FROM tree WHERE inode=0").fetchone()
    statements = [
        ("INSERT INTO tree VALUES (?1, 0, ?1, 9, 1700000001, 8, 'from another', x'6f74686572')", ),
        ("UPDATE tree SET data=x'6e6577', version=?1, writer=9, mtime=1700000002 WHERE name='moved'", ),
        ("DELETE FROM tree WHERE name='none' AND ?1", ),
    ]
    for (statement,) in statements:
        version += 1
        database.execute("BEGIN")
        assert database.execute(statement, (version,)).rowcount == 1
        database.execute("UPDATE tree SET version=?, writer=9, mtime=1700000003 WHERE inode=0", (version,))
        database.execute("COMMIT")
    os.makedirs(keep)
    for suffix in ("", "-wal", "-shm"):
        shutil.copyfile(path + suffix, os.path.join(keep, "config.db" + suffix))
    database.close()
    return version


def test_there_and_back_and_there_again(make_daemon, tmp_path):
    """Ours, another that was killed in the middle, and ours on what it left."""
    daemon = make_daemon()
    before = take_over(daemon, RECORDED[0])
    daemon.start()
    work(daemon)
    daemon.stop()
    version = change_as_another(daemon.database, tmp_path / "killed")
    again = make_daemon("again")
    shutil.copytree(tmp_path / "killed", again.state_dir)
    again.start()
    assert again.os.read_file(again / "from another") == b"other"
    assert again.os.read_file(again / "back/empty/moved") == b"new"
    assert not again.os.exists(again / "back/none")
    again.os.mkdir(again / "next")
    assert again.os.stat(again / "next").st_ino == version + 1
    again.stop()
    assert sorted(os.listdir(again.state_dir)) == [".pmxcfs.lockfile", "config.db", "history.db"]
    check_integrity(again.database)
    after = read_rows(again.database)
    assert {inode: row for inode, row in after.items() if inode in before and inode} == \
        {inode: row for inode, row in before.items() if inode}
