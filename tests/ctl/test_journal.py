# SPDX-License-Identifier: GPL-3.0-or-later
"""pmxcfsctl on a database with a journal beside it: what was acknowledged counts."""

import contextlib
import json
import os
import shutil
import sqlite3

import pytest
from damage import make, read_paths, read_rows


@pytest.fixture
def left(make_daemon):
    """A daemon that was killed, with the file `journaled` in its journal only."""
    daemon = make_daemon(options=["--fold-delay", "3600"])
    daemon.start()
    daemon.os.write_file(daemon / "first", b"x")
    daemon.stop()
    daemon.start()
    daemon.os.write_file(daemon / "journaled", b"content")
    daemon.kill()
    assert os.path.exists(daemon.database + ".journal")
    assert "journaled" not in read_paths(daemon.database)
    return daemon


def snapshot(directory):
    found = {}
    for name in sorted(os.listdir(directory)):
        with open(os.path.join(directory, name), "rb") as file:
            found[name] = file.read()
    return found


def alter(path, sql):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript("PRAGMA ignore_check_constraints=ON;" + sql)


def dumped(ctl, path):
    lines = map(json.loads, ctl("db", "dump", "--json", path).stdout.splitlines())
    return {entry["path"]: entry.get("text") for entry in lines if entry["path"]}


def test_the_journal_counts(ctl, left, tmp_path):
    before = snapshot(left.state_dir)
    done = ctl("db", "check", left.database)
    assert "note: 2 changes are in the journal and not yet in config.db" in done.stdout and "nothing is wrong" in done.stdout
    assert json.loads(ctl("db", "check", "--json", left.database).stdout)["findings"][0]["problem"] == "journal"
    expected = {"first": "x", "journaled": "content"}
    assert dumped(ctl, left.database) == expected
    found = json.loads(ctl("db", "stat", "--json", left.database).stdout)
    assert found["files"] == 2 and found["disk"]["journal_bytes"] == os.path.getsize(left.database + ".journal")
    ctl("db", "export", "--database", left.database, tmp_path / "files")
    assert sorted(os.listdir(tmp_path / "files")) == sorted(expected)
    ctl("backup", "--database", left.database, tmp_path / "copy.db")
    assert read_paths(tmp_path / "copy.db") == {"first": b"x", "journaled": b"content"}
    ctl("db", "diff", left.database, tmp_path / "copy.db")
    after = snapshot(left.state_dir)
    assert {name: after[name] for name in ("config.db", "config.db.journal")} == \
        {name: before[name] for name in ("config.db", "config.db.journal")}
    # Saved together with its journal, as from a dead host.
    os.mkdir(tmp_path / "dead")
    for suffix in ("", "-wal", ".journal"):
        if os.path.exists(left.database + suffix):
            shutil.copyfile(left.database + suffix, str(tmp_path / "dead" / "config.db") + suffix)
    os.mkdir(tmp_path / "here")
    ctl("restore", "--state-dir", tmp_path / "here", tmp_path / "dead" / "config.db")
    assert read_paths(tmp_path / "here" / "config.db") == {"first": b"x", "journaled": b"content"}
    left.start()
    assert left.os.read_file(left / "journaled") == b"content"


def test_a_restore_keeps_it(ctl, left, tmp_path):
    new = make(str(tmp_path / "new.db"))
    ctl("restore", "--state-dir", left.state_dir, new)
    kept, = [name for name in os.listdir(left.state_dir) if ".replaced-" in name]
    assert read_paths(os.path.join(left.state_dir, kept)) == {"first": b"x", "journaled": b"content"}
    assert read_rows(left.database) == read_rows(new)
    assert not os.path.exists(left.database + ".journal")


def test_a_journal_of_a_damaged_one_is_kept_with_it(ctl, left, tmp_path):
    alter(left.database, "UPDATE tree SET type = 5 WHERE name = 'first'")
    ctl("restore", "--state-dir", left.state_dir, make(str(tmp_path / "new.db")))
    assert sum(name.endswith(".journal") and ".replaced-" in name for name in os.listdir(left.state_dir)) == 1
    assert not os.path.exists(left.database + ".journal")


def test_repair_brings_it_in(ctl, left, tmp_path):
    alter(left.database, "UPDATE tree SET writer = -1 WHERE name = 'first'")
    before = snapshot(left.state_dir)
    done = ctl("db", "check", "--repair", tmp_path / "new.db", left.database)
    assert "2 changes were in the journal: they are in the new database" in done.stdout
    assert read_paths(tmp_path / "new.db") == {"first": b"x", "journaled": b"content"}
    assert snapshot(left.state_dir) == before


def test_repair_says_what_it_cannot_bring_in(ctl, left, tmp_path):
    """After a repair that is a change of its own, the journal does not go with the database."""
    alter(left.database, "UPDATE tree SET name = '' WHERE name = 'first'")
    done = ctl("db", "check", "--repair", tmp_path / "new.db", left.database)
    assert "lost: changes in %s.journal are not in the new database" % left.database in done.stdout and ", 1 lost" in done.stdout
    assert set(read_paths(tmp_path / "new.db").values()) == {None, b"x"}


@pytest.mark.parametrize("how", ["overtaken", "damaged"])
def test_a_journal_that_cannot_be_brought_in(ctl, left, how):
    """It is told as what the next start does, and nothing is refused."""
    if how == "overtaken":
        alter(left.database, "UPDATE tree SET version = 77 WHERE inode = 0")
    else:
        with open(left.database + ".journal", "r+b") as file:
            file.seek(40)
            file.write(b"\xff" * 8)
    done = ctl("db", "check", left.database)
    assert "warning: %s.journal holds changes that cannot be brought in" % left.database in done.stdout
    assert "the next start sets it aside" in done.stdout
    done = ctl("db", "dump", left.database)
    assert "warning: " in done.stderr and "journaled" not in done.stdout
    left.start()
    assert not left.os.exists(left / "journaled")
    assert any(".journal." + how in name for name in os.listdir(left.state_dir))


def test_a_journal_that_cannot_be_read(ctl, left):
    """A start is refused then; so is a check."""
    os.unlink(left.database + ".journal")
    os.mkdir(left.database + ".journal")
    done = ctl("db", "check", left.database, code=1)
    assert "refused: cannot read %s.journal" % left.database in done.stdout
    assert left.run_to_end("--foreground").returncode != 0
    assert "cannot read" in ctl("backup", "--database", left.database, left.database + ".copy", code=1).stderr
