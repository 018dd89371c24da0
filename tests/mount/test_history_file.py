# SPDX-License-Identifier: GPL-3.0-or-later
"""history.db beside a running daemon: what is in it after changes, kills, restarts, damage, and a full disk."""

import contextlib
import hashlib
import os
import shutil
import sqlite3
import subprocess

import pytest
from harness import wait_for

WRITE, MKDIR, DELETE, RENAME, CREATE, RESYNC, FOUND, GAP = 1, 2, 3, 4, 5, 16, 17, 18
PRIVATE = 1
# Nothing is folded for its age alone, so nothing is written down for that either.
LONG = "--fold-delay=86400"


def rows_of(directory, where="1"):
    """[(operation, path, other, old bytes or None, new bytes or None, row)] in the order of changes."""
    path = os.path.join(directory, "history.db")
    with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % path, uri=True, timeout=30)) as database:
        database.row_factory = sqlite3.Row
        contents = {None: None}
        for row in database.execute("SELECT * FROM contents"):
            data = row["data"] if row["codec"] == 0 else unpack(row["data"])
            assert hashlib.sha256(data).digest() == row["digest"] and len(data) == row["size"]
            contents[row["id"]] = data
        rows = database.execute("SELECT c.*, p.path AS name, o.path AS other_name, a.uid, a.pid, a.name AS process, "
                                "a.command FROM changes c JOIN paths p ON p.id = c.path LEFT JOIN paths o ON "
                                "o.id = c.other LEFT JOIN actors a ON a.id = c.actor WHERE %s ORDER BY c.id" % where)
        return [(row["operation"], row["name"], row["other_name"], contents[row["old_content"]],
                 contents[row["new_content"]], dict(row)) for row in rows]


def unpack(data):
    return subprocess.run(["zstd", "-dc"], input=data, capture_output=True, check=True).stdout


def short(rows):
    return [row[:5] for row in rows]


@pytest.fixture
def daemon(make_daemon):
    return make_daemon(options=[LONG]).start()


def test_what_is_kept(daemon):
    daemon.os.write_file(daemon / "first", b"one")
    daemon.os.write_file(daemon / "first", b"two")
    daemon.os.mkdir(daemon / "directory")
    daemon.os.rename(daemon / "first", daemon / "directory/second")
    daemon.os.unlink(daemon / "directory/second")
    daemon.stop()
    assert os.stat(os.path.join(daemon.state_dir, "history.db")).st_mode & 0o7777 == 0o600
    rows = rows_of(daemon.state_dir)
    assert short(rows) == [
        (CREATE, "first", None, None, None),
        (WRITE, "first", None, None, b"one"),
        (WRITE, "first", None, b"one", b"two"),
        (MKDIR, "directory", None, None, None),
        (RENAME, "first", "directory/second", b"two", None),
        (RENAME, "directory/second", "first", None, b"two"),
        (DELETE, "directory/second", None, b"two", None),
    ]
    versions = [row[5]["version"] for row in rows]
    assert versions == sorted(versions) and versions[4] == versions[5]


def test_who_asked(daemon):
    daemon.os.write_file(daemon / "file", b"x")
    daemon.stop()
    row = rows_of(daemon.state_dir)[-1][5]
    assert row["uid"] == 0 and row["pid"] > 0
    assert "python" in row["process"] and "python" in row["command"]


def test_a_temporary_file_is_a_step_in_writing_its_target(daemon):
    daemon.os.write_file(daemon / "storage.cfg", b"old")
    daemon.os.write_file(daemon / "storage.cfg.tmp.123", b"new")
    daemon.os.rename(daemon / "storage.cfg.tmp.123", daemon / "storage.cfg")
    daemon.stop()
    assert short(rows_of(daemon.state_dir))[-1] == (WRITE, "storage.cfg", None, b"old", b"new")
    assert not rows_of(daemon.state_dir, "p.path LIKE '%tmp%'")


def test_what_is_not_kept(make_daemon):
    daemon = make_daemon(options=[LONG, "--history-skip=!ha/manager_status,noise-*"]).start()
    for directory in ("ha", "nodes", "nodes/node1", "priv", "priv/lock"):
        daemon.os.mkdir(daemon / directory)
    daemon.os.mkdir(daemon / "priv/lock/one")
    for name in ("ha/manager_status", "ha/crm_commands", "nodes/node1/lrm_status", "noise-1", "kept"):
        daemon.os.write_file(daemon / name, name.encode())
    daemon.os.write_file(daemon / "priv/secret", b"secret")
    daemon.stop()
    rows = rows_of(daemon.state_dir, "c.new_type = 8 AND c.new_size > 0")
    assert [row[1] for row in rows] == ["ha/manager_status", "kept", "priv/secret"]
    assert rows[-1][4] is None and rows[-1][5]["new_kept"] == PRIVATE and rows[-1][5]["new_size"] == 6
    assert not rows_of(daemon.state_dir, "p.path LIKE 'priv/lock%' AND p.path <> 'priv/lock'")


def test_private_contents_with_an_option(make_daemon):
    daemon = make_daemon(options=[LONG, "--history-private"]).start()
    daemon.os.mkdir(daemon / "priv")
    daemon.os.write_file(daemon / "priv/secret", b"secret")
    daemon.stop()
    assert rows_of(daemon.state_dir)[-1][4] == b"secret"


def test_killed_before_anything_was_written_down(daemon):
    """What the journal has is in the history after the next start: each change, and nothing twice."""
    daemon.os.write_file(daemon / "file", b"one")
    daemon.os.write_file(daemon / "file", b"two")
    daemon.os.write_file(daemon / "file.tmp.1", b"three")
    daemon.os.rename(daemon / "file.tmp.1", daemon / "file")
    daemon.os.write_file(daemon / "gone", b"four")
    daemon.os.unlink(daemon / "gone")
    daemon.kill()
    assert not [row for row in rows_of(daemon.state_dir) if row[1] == "file"]
    daemon.start()
    daemon.stop()
    texts = [row[3:5] for row in rows_of(daemon.state_dir, "p.path = 'file'") if row[3] != row[4]]
    assert texts == [(None, b"one"), (b"one", b"two"), (b"two", b"three")]
    assert short(rows_of(daemon.state_dir, "p.path = 'gone'"))[-1] == (DELETE, "gone", None, b"four", None)
    before = rows_of(daemon.state_dir)
    assert not [row for row in before if row[0] in (FOUND, GAP)]
    daemon.start()
    daemon.stop()
    assert rows_of(daemon.state_dir) == before


def test_killed_after_a_fold(make_daemon):
    """What config.db has is in the history: that goes first."""
    daemon = make_daemon(options=["--fold-delay=0.2"]).start()
    daemon.os.write_file(daemon / "file", b"x" * 1000)

    def folded():
        with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % daemon.database, uri=True, timeout=30)) as database:
            return database.execute("SELECT 1 FROM tree WHERE name = 'file' AND length(data) = 1000").fetchone()

    wait_for(folded, "the file is in config.db")
    daemon.kill()
    assert [row[4] for row in rows_of(daemon.state_dir, "p.path = 'file'")][-1] == b"x" * 1000


def test_a_restored_database_is_found(daemon):
    daemon.os.write_file(daemon / "file", b"old")
    daemon.os.write_file(daemon / "same", b"same")
    daemon.stop()
    shutil.copy(daemon.database, daemon.directory + "/backup")
    daemon.start()
    daemon.os.write_file(daemon / "file", b"new")
    daemon.os.write_file(daemon / "further", b"x")
    daemon.stop()
    shutil.copy(daemon.directory + "/backup", daemon.database)
    last = rows_of(daemon.state_dir)[-1][5]["id"]
    daemon.start()
    daemon.stop()
    assert sorted(short(rows_of(daemon.state_dir, "c.id > %d" % last))) == [
        (FOUND, "file", None, b"new", b"old"),
        (FOUND, "further", None, b"x", None),
    ]


def test_a_history_begins_with_what_there_is(make_daemon):
    daemon = make_daemon(options=[LONG, "--history-size=0"]).start()
    daemon.os.write_file(daemon / "file", b"x")
    daemon.stop()
    assert not os.path.exists(os.path.join(daemon.state_dir, "history.db"))
    daemon.options = [LONG]
    daemon.start()
    daemon.stop()
    assert short(rows_of(daemon.state_dir)) == [(FOUND, "file", None, None, b"x")]


@pytest.mark.parametrize("damage", ["rubbish", "truncated", "foreign"])
def test_a_damaged_history_is_set_aside(daemon, damage):
    path = os.path.join(daemon.state_dir, "history.db")
    daemon.os.write_file(daemon / "file", b"x")
    daemon.stop()
    if damage == "rubbish":
        with open(path, "r+b") as file:
            file.write(os.urandom(4096))
    elif damage == "truncated":
        os.truncate(path, 8192)
    else:
        os.unlink(path)
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE other (x)")
    daemon.start()
    daemon.os.write_file(daemon / "further", b"y")
    daemon.stop()
    assert "a new history begins" in daemon.log_since_start()
    assert os.path.exists(path + ".damaged")
    assert {row[1]: row[4] for row in rows_of(daemon.state_dir)} == {"file": b"x", "further": b"y"}


def test_no_room_for_the_history(make_daemon):
    """The tree goes on, and what was left out is said."""
    daemon = make_daemon(options=["--fold-delay=0.2"]).start()
    path = os.path.join(daemon.state_dir, "history.db")
    daemon.os.write_file(daemon / "before", b"x")
    daemon.stop()
    shutil.move(path, path + ".kept")
    os.mkdir(path)
    daemon.start()
    daemon.os.write_file(daemon / "during", b"y")
    wait_for(lambda: "the history is not written" in daemon.log_since_start(), "that is said")
    assert daemon.os.read_file(daemon / "during") == b"y"
    daemon.stop()
    os.rmdir(path) if os.path.isdir(path) else None
    shutil.move(path + ".kept", path)
    daemon.start()
    daemon.stop()
    assert {row[1]: row[4] for row in rows_of(daemon.state_dir)}["during"] == b"y"


def test_nothing_is_written_for_what_is_not_kept(make_daemon):
    daemon = make_daemon(options=["--fold-delay=0.1"]).start()
    daemon.os.mkdir(daemon / "ha")
    daemon.os.write_file(daemon / "file", b"x")
    wait_for(lambda: rows_of(daemon.state_dir, "p.path = 'file' AND c.new_size = 1"), "the file is in the history")

    def state():
        names = [os.path.join(daemon.state_dir, "history.db" + suffix) for suffix in ("", "-wal")]
        return [hashlib.sha256(open(name, "rb").read()).digest() for name in names]

    before = state()
    for number in range(5):
        daemon.os.write_file(daemon / "ha/manager_status", b"%d" % number)

    def folded():
        with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % daemon.database, uri=True, timeout=30)) as database:
            row = database.execute("SELECT data FROM tree WHERE name = 'manager_status'").fetchone()
            return row and row[0] == b"4"

    wait_for(folded, "the last is in config.db")
    assert state() == before
