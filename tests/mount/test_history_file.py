# SPDX-License-Identifier: GPL-3.0-or-later
"""history.db beside a running daemon: what is in it after changes, kills, restarts, damage, and a full disk."""

import contextlib
import errno
import hashlib
import itertools
import os
import shutil
import sqlite3
import time

import pytest
from harness import wait_for
from harness.database import FILE
from harness.history import CREATE, DELETE, FOUND, GAP, MKDIR, PRIVATE, RENAME, WRITE, rows_of, short
from support import contents, make_database

# Nothing is folded for its age alone, so nothing is written down for that either.
LONG = "--fold-delay=86400"


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


def test_names_are_bytes(daemon):
    """Also those that end within what would be a character: the daemon goes on, and starts with them."""
    names = [b"lat\xe9n", b"\xff", b"\xf0", b"a\xc3", b"line\nfeed"]
    for name in names:
        daemon.os.write_file(os.path.join(os.fsencode(daemon / "."), name), b"x")
    daemon.kill()
    daemon.start()
    daemon.stop()
    paths = rows_of(daemon.state_dir, "c.operation = %d" % WRITE)
    assert [os.fsencode(row[1]) for row in paths] == names


def test_who_asked(daemon):
    names = ("file%d" % number for number in itertools.count())

    def told():
        """Who asked is looked up beside the change, and waited for for a second at most."""
        daemon.os.write_file(daemon / next(names), b"x")
        daemon.stop()
        row = rows_of(daemon.state_dir)[-1][5]
        daemon.start()
        assert row["uid"] == 0 and row["pid"] > 0
        return "python" in row["process"] and "python" in row["command"]

    wait_for(told, "name and command are told")


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


def test_a_fold_does_not_overtake_a_whole_tree(make_daemon):
    """A new history takes its time with a large tree: what is changed meanwhile is in it all the same, each step, though so
    much is changed that a fold is wanted at once."""
    daemon = make_daemon(options=[LONG])
    make_database(daemon.database, [(i, 0, FILE, "file%d" % i, os.urandom(20000)) for i in range(2, 2500)])
    daemon.start()
    texts = [b"%d" % i for i in range(10)]
    for text in texts:
        daemon.os.write_file(daemon / "new", text)
    for i in range(5):
        daemon.os.write_file(daemon / "large", b"%d" % i * 900000)
    time.sleep(0.3)  # for a fold that does not wait
    daemon.kill()
    daemon.start()
    daemon.stop()
    found = [row[4] for row in rows_of(daemon.state_dir, "p.path = 'new'") if row[3] != row[4]]
    assert found == texts


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


@pytest.mark.parametrize("damage", ["rubbish", "truncated", "foreign", "later"])
def test_a_damaged_history_is_set_aside(daemon, damage):
    path = os.path.join(daemon.state_dir, "history.db")
    daemon.os.write_file(daemon / "file", b"x")
    daemon.stop()
    if damage == "rubbish":
        with open(path, "r+b") as file:
            file.write(os.urandom(4096))
    elif damage == "truncated":
        os.truncate(path, 8192)
    elif damage == "later":
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA user_version = 2")
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


def test_a_history_that_goes_while_it_is_written(make_daemon):
    """A new one begins with what there is, and that is said."""
    daemon = make_daemon(options=["--fold-delay=0.1"]).start()
    write_and_wait(daemon, "before", b"x")
    os.unlink(os.path.join(daemon.state_dir, "history.db"))
    daemon.os.write_file(daemon / "after", b"x")
    wait_for(lambda: "a new history begins" in daemon.log_since_start(), "that is said")
    wait_for(lambda: os.path.exists(os.path.join(daemon.state_dir, "history.db-wal")), "it is there")

    def is_found():
        """What there is goes along with a change, once the new file has been made."""
        daemon.os.write_file(daemon / "further", b"x")
        return rows_of(daemon.state_dir, "c.operation = 17 AND p.path = 'before'")

    wait_for(is_found, "what there was is found")
    assert "history.db is gone: a new history begins" in daemon.log_since_start()


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


@pytest.fixture
def small(make_daemon):
    """A daemon whose state directory is a file system of 16 MB."""
    daemon = make_daemon(options=["--fold-delay=0.1"])
    os.makedirs(daemon.state_dir)
    daemon.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=0750", "tmpfs", daemon.state_dir], check=True)
    return daemon.start()


def write_until_refused(daemon):
    """Files that were acknowledged, on a disk that takes less and less; empty ones may be there too."""
    taken = {}
    for number in range(200):
        data = os.urandom(50000)
        try:
            daemon.os.write_file(daemon / ("file%d" % number), data)
        except OSError as error:
            assert error.errno == errno.ENOSPC
            return taken
        taken["file%d" % number] = data
    raise AssertionError("it is never full")


def test_full_disk(small, tmp_path):
    """Changes are refused as without a history; when there is room again all that was taken is in it."""
    daemon = small
    daemon.os.write_file(daemon / "before", b"x")
    filler = daemon.state_dir + "/filler"
    daemon.os.write_file(filler, bytes(12 << 20))
    taken = write_until_refused(daemon)
    assert taken  # the history may have had what it needed before
    daemon.os.unlink(filler)
    wait_for(lambda: try_write(daemon, "after", b"y"), "there is room again")
    for name in list(taken)[:3]:
        daemon.os.unlink(daemon / name)
    shown = contents(daemon.os, daemon.mountpoint)
    assert shown["before"] == b"x" and shown["after"] == b"y"
    daemon.stop()
    (tmp_path / "history.db").write_bytes(daemon.os.read_file(os.path.join(daemon.state_dir, "history.db")))
    last = {row[1]: row[4] or b"" for row in rows_of(tmp_path) if row[5]["new_type"] == 8}
    gone = {row[1] for row in rows_of(tmp_path) if row[0] == DELETE}
    assert {path: data for path, data in last.items() if path not in gone} == shown
    for name in gone:
        assert [row[3] for row in rows_of(tmp_path, "p.path = '%s' AND c.operation = 3" % name)] == [taken[name]]


def try_write(daemon, name, data):
    try:
        daemon.os.write_file(daemon / name, data)
        return True
    except OSError as error:
        assert error.errno == errno.ENOSPC
        return False


def test_restarts_in_between(daemon):
    """One after the other, as if there had been none."""
    for text in (b"one", b"two", b"three"):
        daemon.os.write_file(daemon / "file", text)
        daemon.restart()
    daemon.stop()
    rows = rows_of(daemon.state_dir)
    assert [row[3:5] for row in rows if row[0] == WRITE] == [(None, b"one"), (b"one", b"two"), (b"two", b"three")]
    assert not [row for row in rows if row[0] in (FOUND, GAP)]


def test_a_file_that_grows_is_one_version(daemon):
    """However many writes that takes; others' changes in between stay where they are. Records that meet in the queue's table
    (one pair of 256) cost a row: not so with every file."""
    other = daemon.worker()
    whole = b"".join(b"%099d\n" % number for number in range(300))
    for attempt in range(4):
        name = "grown%d" % attempt
        fd = daemon.os.open(daemon / name, os.O_WRONLY | os.O_CREAT)
        for number in range(300):
            daemon.os.write(fd, b"%099d\n" % number)
            if number == 150:
                other.write_file(daemon / ("other%d" % attempt), b"x")
        daemon.os.close(fd)
    daemon.stop()
    rows = [row[:2] + (row[4],) for row in rows_of(daemon.state_dir)]
    assert any([row for row in rows if row[1] in ("grown%d" % attempt, "other%d" % attempt)] == [
        (CREATE, "grown%d" % attempt, None), (CREATE, "other%d" % attempt, None), (WRITE, "other%d" % attempt, b"x"),
        (WRITE, "grown%d" % attempt, whole)] for attempt in range(4))


def test_nothing_is_written_for_what_is_not_kept(make_daemon):
    daemon = make_daemon(options=["--fold-delay=0.1"]).start()
    daemon.os.mkdir(daemon / "ha")
    daemon.os.write_file(daemon / "file", b"x")
    wait_for(lambda: rows_of(daemon.state_dir, "p.path = 'file' AND c.new_size = 1"), "the file is in the history")

    def state():
        names = [os.path.join(daemon.state_dir, "history.db" + suffix) for suffix in ("", "-wal")]
        return [hashlib.sha256(open(name, "rb").read()).digest() for name in names]

    daemon.os.mkdir(daemon / "nodes")
    daemon.os.mkdir(daemon / "nodes/node1")
    wait_for(lambda: rows_of(daemon.state_dir, "p.path = 'nodes/node1'"), "directories too")
    before = state()
    for number in range(5):
        for name in ("ha/manager_status", "nodes/node1/lrm_status"):
            # As the resource manager writes: all day long, on a cluster where nothing happens.
            daemon.os.write_file(daemon / (name + ".tmp.%d" % number), b"%d" % number)
            daemon.os.rename(daemon / (name + ".tmp.%d" % number), daemon / name)
        daemon.os.write_file(daemon / "ha/crm_commands", b"")

    def folded():
        with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % daemon.database, uri=True, timeout=30)) as database:
            row = database.execute("SELECT data FROM tree WHERE name = 'manager_status'").fetchone()
            return row and row[0] == b"4"

    wait_for(folded, "the last is in config.db")
    assert state() == before


def write_and_wait(daemon, name, data):
    daemon.os.write_file(daemon / name, data)
    wait_for(lambda: rows_of(daemon.state_dir, "p.path = '%s' AND c.new_size = %d" % (name, len(data))), "it is in the history")


def test_no_index_without_readers(make_daemon):
    """Whose pages would cost more than a small transaction; who comes makes one. At a stop one file has all."""
    daemon = make_daemon(options=["--fold-delay=0.1"]).start()
    path = os.path.join(daemon.state_dir, "history.db")
    log = path + "-wal"
    daemon.os.write_file(daemon / "first", b"x")
    for number in range(3):
        before = os.stat(log).st_size if os.path.exists(log) else 0
        daemon.os.write_file(daemon / "file", b"x" * (number + 1))
        wait_for(lambda: os.path.exists(log) and os.stat(log).st_size > before, "it is written down")
    assert not os.path.exists(path + "-shm")
    write_and_wait(daemon, "read", b"x")
    assert os.path.exists(path + "-shm")
    daemon.stop()
    assert not os.path.exists(log)
    assert rows_of(daemon.state_dir, "p.path = 'read'")


def test_readers_that_stay(make_daemon):
    """Hold nothing up; the log is emptied when they are gone."""
    daemon = make_daemon(options=["--fold-delay=0.1"]).start()
    path = os.path.join(daemon.state_dir, "history.db")
    write_and_wait(daemon, "before", b"x")
    with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % path, uri=True)) as reader:
        reader.execute("BEGIN")
        (count,) = reader.execute("SELECT count(*) FROM changes").fetchone()
        for number in range(10):
            daemon.os.write_file(daemon / "large", os.urandom(500000 + number))
            write_and_wait(daemon, "during", b"x" * (number + 1))
        assert os.stat(path + "-wal").st_size > 4200000
        assert reader.execute("SELECT count(*) FROM changes").fetchone() == (count,)
    wait_for(lambda: write_and_wait(daemon, "after", os.urandom(10)) is None and os.stat(path + "-wal").st_size < 1000000, "the log is emptied")
    assert "not written" not in daemon.log_since_start()
