# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs and journals of a database that was moved away: none is played into the next one of that name."""

import contextlib
import json
import os
import shutil
import sqlite3

import pytest
from damage import ROWS_REFUSED, make, read_paths, read_rows

SUFFIXES = ["-wal", "-journal", ".journal"]
suffixes = pytest.mark.parametrize("suffix", SUFFIXES)


@pytest.fixture
def saved(tmp_path):
    """A database to put in place."""
    return make(str(tmp_path / "saved" / "config.db"))


@pytest.fixture
def leave(tmp_path):
    """leave(path, suffix): what an older database of that path left, which SQLite plays into whatever is there; its bytes."""

    def run(path, suffix):
        old = make(str(tmp_path / ("older" + suffix) / "config.db"), sql="UPDATE tree SET data = zeroblob(50000)")
        with contextlib.closing(sqlite3.connect(old, isolation_level=None)) as database:
            database.executescript("PRAGMA journal_mode=%s; PRAGMA cache_size=1; BEGIN" % ("WAL" if suffix == "-wal" else "DELETE"))
            database.execute("UPDATE tree SET data = randomblob(60000)")
            if suffix == "-wal":
                database.execute("COMMIT")
            if suffix == ".journal":
                with open(old + suffix, "wb") as file:
                    file.write(b"of the older one")
            shutil.copyfile(old + suffix, "%s%s" % (path, suffix))
        return read_bytes("%s%s" % (path, suffix))

    return run


@pytest.fixture
def state_dir(tmp_path):
    os.mkdir(tmp_path / "state")
    (tmp_path / "state" / ".pmxcfs.lockfile").touch(0o600)
    return tmp_path / "state"


def read_bytes(path):
    with open(path, "rb") as file:
        return file.read()


def assert_loads_as(ctl, path, saved):
    assert "nothing is wrong" in ctl("db", "check", path).stdout
    ctl("db", "diff", path, saved)
    assert read_rows(path) == read_rows(saved)


# ---- In the place of the daemon's ----


def assert_set_aside(state_dir, suffix, left, told):
    """It has a name that goes with the one of a database that is kept."""
    (name,) = [name for name in os.listdir(state_dir) if name not in (".pmxcfs.lockfile", "config.db")]
    assert name.startswith("config.db.replaced-") and name.endswith(suffix) and read_bytes(state_dir / name) == left
    assert told == [str(state_dir / name)]


@suffixes
@pytest.mark.parametrize("as_json", [False, True])
def test_restore(ctl, leave, state_dir, saved, suffix, as_json):
    left = leave(state_dir / "config.db", suffix)
    names = sorted(os.listdir(state_dir))
    path = str(state_dir / "config.db") + suffix
    restore = ["restore", "--state-dir", state_dir, saved]
    assert "%s, left of one that is missing, would be set aside\n" % path in ctl(*restore, "--dry-run").stdout
    assert json.loads(ctl("--json", *restore, "--dry-run").stdout)["set_aside"] == [path]
    assert sorted(os.listdir(state_dir)) == names and read_bytes(path) == left
    done = ctl(*(["--json"] if as_json else []), *restore)
    if as_json:
        told = json.loads(done.stdout)["set_aside"]
    else:
        told = [line.partition("left of one that is missing: ")[2] for line in done.stdout.splitlines() if line.startswith("left of")]
    assert_set_aside(state_dir, suffix, left, told)
    assert_loads_as(ctl, state_dir / "config.db", saved)
    # The next one is kept under a name of its own, whatever the time.
    kept = json.loads(ctl("--json", *restore).stdout)["kept"]
    assert_loads_as(ctl, kept, saved)


@suffixes
def test_recover(ctl, leave, state_dir, saved, suffix):
    left = leave(state_dir / "config.db", suffix)
    recover = ["recover", "--state-dir", state_dir, "--nodename", "a", saved]
    path = str(state_dir / "config.db") + suffix
    assert "warning: %s is left of a database that is missing; it will be kept\n" % path in ctl(*recover, "--dry-run").stdout
    assert read_bytes(path) == left
    told = json.loads(ctl("--json", *recover).stdout)
    assert told["done"] and told["kept"] is None
    assert_set_aside(state_dir, suffix, left, told["set_aside"])
    assert_loads_as(ctl, state_dir / "config.db", saved)


def test_the_mistake_that_is_in_the_journal_does_not_come_back(ctl, make_daemon, tmp_path):
    """It is made on just what was backed up, so the next start would bring it in."""
    daemon = make_daemon(options=["--fold-delay", "600"]).start()
    daemon.os.write_file(daemon / "important", b"content")
    daemon.stop()
    shutil.copy(daemon.database, tmp_path / "saved.db")
    daemon.start()
    daemon.os.unlink(daemon / "important")
    daemon.kill()
    os.rename(daemon.database, daemon.database + ".bad")
    done = ctl("restore", "--state-dir", daemon.state_dir, tmp_path / "saved.db")
    (kept,) = [name for name in os.listdir(daemon.state_dir) if ".replaced-" in name and name.endswith(".journal")]
    assert kept in done.stdout
    daemon.start()
    assert daemon.os.read_file(daemon / "important") == b"content"
    daemon.stop()
    # With its database it is whole again.
    os.rename(daemon.database + ".bad", os.path.join(daemon.state_dir, kept[:-len(".journal")]))
    ctl("restore", "--state-dir", daemon.state_dir, os.path.join(daemon.state_dir, kept[:-len(".journal")]))
    assert read_paths(daemon.database) == {}


# ---- New files ----


def files(directory):
    return {name: read_bytes(os.path.join(directory, name)) for name in os.listdir(directory)}


@pytest.fixture(params=["backup", "import", "repair"])
def write(request, ctl, saved, tmp_path):
    """write(path, code=0): a command that makes a database of that name."""
    os.mkdir(tmp_path / "tree")
    (tmp_path / "tree" / "storage.cfg").write_text("ab")
    bad = make(str(tmp_path / "bad" / "config.db"), ROWS_REFUSED["a guest twice"])
    return {"backup": lambda path, code=0: ctl("backup", "--database", saved, path, code=code),
            "import": lambda path, code=0: ctl("db", "import", tmp_path / "tree", path, code=code),
            "repair": lambda path, code=0: ctl("db", "check", "--repair", path, bad, code=code)}[request.param]


@suffixes
def test_a_new_file(ctl, leave, write, tmp_path, suffix):
    os.mkdir(tmp_path / "new")
    path = str(tmp_path / "new" / "config.db")
    leave(path, suffix)
    before = files(tmp_path / "new")
    done = write(path, code=1)
    assert "error: " in done.stderr and "%s is there, which holds changes to another database" % (path + suffix) in done.stderr
    assert "move it to where that database is now, or remove it" in done.stderr
    assert files(tmp_path / "new") == before
    os.unlink(path + suffix)
    write(path)
    assert read_paths(path)["storage.cfg"] == b"ab"


@suffixes
def test_an_empty_one_is_in_nobodys_way(ctl, write, tmp_path, suffix):
    """A reader who may not write leaves an empty log."""
    os.mkdir(tmp_path / "new")
    path = str(tmp_path / "new" / "config.db")
    open(path + suffix, "wb").close()
    write(path)
    assert "nothing is wrong" in ctl("db", "check", path).stdout


@suffixes
def test_a_backup_in_the_place_of_another(ctl, leave, saved, tmp_path, suffix):
    """What lies there is of the one that is there, or of one before: that stays."""
    path = make(str(tmp_path / "new" / "config.db"), sql="UPDATE tree SET data = 'older' WHERE inode = 2")
    leave(path, suffix)
    before = files(tmp_path / "new")
    assert "is there, which holds changes to another database" in ctl("backup", "--database", saved, path, code=1).stderr
    assert files(tmp_path / "new") == before
    os.unlink(path + suffix)
    ctl("backup", "--database", saved, path)
    assert_loads_as(ctl, path, saved)
