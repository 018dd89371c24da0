# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a running daemon: killed, folded without a start, overtaken, and how far config.db is behind."""

import contextlib
import errno
import itertools
import json
import os
import shutil
import sqlite3
import subprocess

import pytest
from harness import BUILD_DIR, wait_for
from harness.database import SCHEMA
from support import check_integrity, contents, paths_of, read_rows

CTL = os.path.join(BUILD_DIR, "src", "ctl", "pmxcfsctl")
# Nothing is folded for its age alone.
LONG = "--fold-delay=86400"


def stored_version(path):
    """The version that config.db itself is at."""
    with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % path, uri=True, timeout=30)) as database:
        row = database.execute("SELECT version FROM tree WHERE inode = 0").fetchone()
    return row[0] if row else 1


def fold(path, *options):
    return subprocess.run([CTL, *options, "db", "fold", path], capture_output=True, text=True)


def asides(daemon):
    return sorted(name for name in os.listdir(daemon.state_dir) if name.startswith("config.db.journal."))


@pytest.fixture
def killed(make_daemon):
    """A daemon that was killed with all that it ever acknowledged in its journal; and what that is."""
    daemon = make_daemon(options=[LONG]).start()
    daemon.os.mkdir(daemon / "directory")
    daemon.os.write_file(daemon / "directory/file", b"content")
    daemon.os.write_file(daemon / "other", b"x" * 300000)
    daemon.os.rename(daemon / "directory/file", daemon / "file")
    assert stored_version(daemon.database) == 1
    shown = contents(daemon.os, daemon.mountpoint)
    daemon.kill()
    return daemon, shown


def test_killed_and_started(killed):
    daemon, shown = killed
    assert os.stat(daemon.database + ".journal").st_mode & 0o7777 == 0o600
    assert os.path.getsize(daemon.database + ".journal") < 302000
    daemon.start()
    assert contents(daemon.os, daemon.mountpoint) == shown
    assert "config.db.journal is brought in" in daemon.log_since_start()
    daemon.stop()
    assert not [name for name in os.listdir(daemon.state_dir) if name.startswith("config.db") and name != "config.db"]
    with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % daemon.database, uri=True)) as database:
        assert database.execute("SELECT count(*) FROM tree WHERE inode > 0").fetchone() == (len(shown),)


def test_killed_and_folded(killed):
    daemon, shown = killed
    # The guard's end is awaited by the lock.
    done = wait_for(lambda: (lambda done: done if "a pmxcfs runs" not in done.stderr else None)(fold(daemon.database)),
                    "nobody holds the lock")
    assert done.returncode == 0, done.stderr
    assert "changes brought in: version 1 became" in done.stdout
    assert sorted(name for name in os.listdir(daemon.state_dir) if name.startswith("config.db")) == ["config.db"]
    assert paths_of(read_rows(daemon.database)) == shown
    check_integrity(daemon.database)
    done = fold(daemon.database)
    assert (done.returncode, done.stdout, done.stderr) == (0, "nothing to bring in\n", "")
    assert json.loads(fold(daemon.database, "--json").stdout) == {"changes": 0, "aside": None}
    daemon.start("--fold-delay=0")
    assert contents(daemon.os, daemon.mountpoint) == shown


def test_fold_refuses(make_daemon, tmp_path):
    daemon = make_daemon(options=[LONG]).start()
    daemon.os.mkdir(daemon / "directory")
    done = fold(daemon.database)
    assert done.returncode == 1 and "a pmxcfs runs on it" in done.stderr
    assert stored_version(daemon.database) == 1
    done = fold(str(tmp_path / "missing.db"))
    assert done.returncode == 1 and "there is no" in done.stderr
    assert not os.path.exists(tmp_path / "missing.db")


def test_overtaken(killed):
    """What another implementation did meanwhile is not undone."""
    daemon, _ = killed
    with contextlib.closing(sqlite3.connect(daemon.database)) as database:
        database.execute("INSERT INTO tree VALUES (2, 0, 2, 0, 1, 4, 'of another', NULL)")
        database.execute("INSERT INTO tree VALUES (0, 0, 2, 0, 1, 8, '__version__', NULL)")
        database.commit()
    with open(daemon.database + ".journal", "rb") as file:
        journal = file.read()
    daemon.start()
    assert contents(daemon.os, daemon.mountpoint) == {"of another": None}
    (aside,) = asides(daemon)
    assert aside.startswith("config.db.journal.overtaken-")
    path = os.path.join(daemon.state_dir, aside)
    assert os.stat(path).st_mode & 0o7777 == 0o600
    with open(path, "rb") as file:
        assert file.read() == journal
    log = daemon.log_since_start()
    assert aside in log and "(other) was changed" in log and "from version 1 to" in log


def test_config_db_follows(make_daemon):
    """Within the time that the option sets, also under a steady load, and it loads at every moment."""
    daemon = make_daemon(options=["--fold-delay=0.5"]).start()
    stop = daemon.directory + "/stop"
    pending = daemon.os.start("execute", """
count = 0
while not os.path.exists(stop):
    count += 1
    path = root + "/file%d" % (count % 5)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(file, b"x" * count)
    os.close(file)
result = count
""", {"root": daemon.mountpoint, "stop": stop})
    for _ in range(5):
        version = stored_version(daemon.database)
        wait_for(lambda: stored_version(daemon.database) > version, "config.db goes on")
        check_integrity(daemon.database)
    with open(stop, "w"):
        pass
    assert pending.result() > 0
    last = read_rows(daemon.database)[0][1]
    wait_for(lambda: stored_version(daemon.database) == last, "config.db has it all")


def test_refused_while_another_program_locks_it(make_daemon):
    """Nobody waits for it before config.db would be too far behind; then changes are refused, and undone."""
    daemon = make_daemon(options=[LONG]).start()
    with contextlib.closing(sqlite3.connect(daemon.database, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        daemon.os.mkdir(daemon / "first")
        daemon.os.write_file(daemon / "first/file", b"content")
        database.execute("ROLLBACK")
    daemon.stop()
    daemon.start("--fold-delay=0.001")
    with contextlib.closing(sqlite3.connect(daemon.database, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        made = itertools.count()

        def is_refused():
            name = daemon / ("made%d" % next(made))
            shown = contents(daemon.os, daemon.mountpoint)
            try:
                daemon.os.mkdir(name)
                return None
            except OSError as error:
                assert error.errno == errno.EIO and contents(daemon.os, daemon.mountpoint) == shown
                return shown

        shown = wait_for(is_refused, "config.db is too far behind")
        database.execute("ROLLBACK")
    daemon.os.mkdir(daemon / "fourth")
    shown["fourth"] = None
    daemon.kill()
    daemon.start()
    assert contents(daemon.os, daemon.mountpoint) == shown


def test_copies_have_what_is_in_the_journal(make_daemon, tmp_path):
    """pmxcfsctl's looks at a running daemon's database, and its copies."""
    daemon = make_daemon(options=[LONG]).start()
    daemon.os.write_file(daemon / "file", b"content")
    copy = str(tmp_path / "copy.db")
    done = subprocess.run([CTL, "backup", "--database", daemon.database, copy], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert paths_of(read_rows(copy)) == {"file": b"content"}
    done = subprocess.run([CTL, "db", "dump", daemon.database], capture_output=True, text=True)
    assert done.returncode == 0 and "file" in done.stdout, done.stderr
    assert stored_version(daemon.database) == 1


def test_a_journal_for_another_database(killed, tmp_path):
    """Beside a copy of config.db that never was there, it is left alone by those who only look."""
    daemon, _ = killed
    other = tmp_path / "config.db"
    with contextlib.closing(sqlite3.connect(other)) as database:
        database.execute(SCHEMA)
        database.execute("INSERT INTO tree VALUES (0, 0, 77, 0, 1, 8, '__version__', NULL)")
        database.commit()
    shutil.copy(daemon.database + ".journal", str(other) + ".journal")
    done = subprocess.run([CTL, "db", "dump", str(other)], capture_output=True, text=True)
    assert done.returncode == 0 and "directory" not in done.stdout
    assert "cannot be brought in" in done.stderr
    done = fold(str(other))
    assert done.returncode == 4 and "set aside" in done.stdout
