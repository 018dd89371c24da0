# SPDX-License-Identifier: GPL-3.0-or-later
"""pmxcfsctl db check and --repair: every kind of database that a load refuses."""

import glob
import json
import os
import random
import re
import shutil
import stat

import pytest
from damage import CONTENTS_REFUSED, LOST, ROWS_REFUSED, ROWS_WARNED, TABLES_REFUSED, make, read_paths, read_rows, snapshot
from harness import SOURCE_DIR

VECTORS = sorted(glob.glob(os.path.join(SOURCE_DIR, "tests", "vectors", "*", "*.db")))


@pytest.fixture
def database(tmp_path):
    """Where a test makes its database: alone in a directory."""
    os.mkdir(tmp_path / "state")
    return str(tmp_path / "state" / "config.db")


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: "/".join(path.split("/")[-2:]))
def test_databases_of_real_nodes_are_sound(ctl, path, tmp_path):
    done = ctl("db", "check", path)
    assert "nothing is wrong" in done.stdout
    done = ctl("db", "check", "--repair", tmp_path / "new.db", path)
    assert "nothing to repair" in done.stderr
    assert not os.path.exists(tmp_path / "new.db")


@pytest.mark.parametrize("name", ROWS_REFUSED)
def test_rows_that_are_refused(ctl, database, tmp_path, name):
    kind = ROWS_REFUSED[name]
    sound = read_paths(make(str(tmp_path / "sound" / "config.db")))
    make(database, kind)
    before = snapshot(os.path.dirname(database))
    done = ctl("db", "check", database, code=4)
    assert kind.words in done.stdout and "does not load" in done.stdout
    # The same for programs.
    found = json.loads(ctl("db", "check", "--json", database, code=4).stdout)
    assert found["loads"] is False and found["readable"] is True
    assert any(finding["problem"] == kind.problem and kind.words in finding["text"] and finding["severity"] == "refused"
               for finding in found["findings"])
    # The repaired one.
    repaired = str(tmp_path / "repaired.db")
    done = ctl("db", "check", "--repair", repaired, database)
    assert repaired + " is there and loads" in done.stdout
    assert "lost: " not in done.stdout
    assert snapshot(os.path.dirname(database)) == before, "the old one is as it was"
    assert os.stat(repaired).st_mode & 0o7777 == 0o600
    assert sorted(os.listdir(tmp_path)) == ["repaired.db", "sound", "state"]
    ctl("db", "check", repaired)
    paths = read_paths(repaired)
    for path, content in {**sound, **kind.paths}.items():
        if any(path == gone or path.startswith(gone + "/") for gone in kind.gone):
            assert path not in paths
        else:
            assert paths[path] == content, path
    if name != "a circle":
        allowed = set(sound) | set(kind.paths) | ({"priv/lost+found"} if kind.paths else set())
        assert set(paths) <= allowed
    rows = read_rows(repaired)
    assert rows[0][1] >= max(rows)


@pytest.mark.parametrize("name", ["a circle", "a guest twice", "a missing directory", "UTF-16"])
def test_a_daemon_takes_the_repaired_one(ctl, make_daemon, tmp_path, name):
    daemon = make_daemon()
    broken = make(str(tmp_path / "broken" / "config.db"), ROWS_REFUSED[name])
    os.makedirs(daemon.state_dir, mode=0o750)
    ctl("db", "check", "--repair", daemon.database, broken)
    paths = read_paths(daemon.database)
    daemon.start()
    for path, content in paths.items():
        if content is None:
            assert stat.S_ISDIR(daemon.os.stat(daemon / path).st_mode)
        else:
            assert daemon.os.read_file(daemon / path) == content
    assert daemon.os.stat(daemon / LOST).st_mode & 0o777 == 0o700 if LOST in paths else name == "UTF-16"


@pytest.mark.parametrize("name", TABLES_REFUSED)
def test_tables_of_others(ctl, database, tmp_path, name):
    sql, words = TABLES_REFUSED[name]
    make(database, sql=sql)
    before = snapshot(os.path.dirname(database))
    assert words in ctl("db", "check", database, code=4).stdout
    done = ctl("db", "check", "--repair", tmp_path / "new.db", database, code=1)
    assert database + ": nothing of it can be saved" in done.stderr and words in done.stderr
    assert not os.path.exists(tmp_path / "new.db")
    assert snapshot(os.path.dirname(database)) == before


@pytest.mark.parametrize("name", CONTENTS_REFUSED)
def test_what_is_no_database(ctl, database, tmp_path, name):
    content, words = CONTENTS_REFUSED[name]
    with open(database, "wb") as file:
        file.write(content)
    assert words in ctl("db", "check", database, code=4).stdout
    assert "error: " in ctl("db", "check", "--repair", tmp_path / "new.db", database, code=1).stderr
    assert not os.path.exists(tmp_path / "new.db")
    with open(database, "rb") as file:
        assert file.read() == content


@pytest.mark.parametrize("what, words", [("text", "it does not begin as SQLite's files do"), ("nothing", "it is empty"), ("directory", "it is a directory"),
                                         ("short", "it is too short"), ("fifo", "it is no file")])
def test_what_can_be_no_database_is_called_so(ctl, database, tmp_path, what, words):
    """Nobody is sent to a repair that cannot help."""
    if what == "directory":
        os.mkdir(database)
    elif what == "fifo":
        os.mkfifo(database)
    else:
        with open(database, "wb") as file:
            file.write({"text": CONTENTS_REFUSED["text"][0], "nothing": b"", "short": b"SQLite"}[what])
    done = ctl("db", "check", database, code=4)
    assert done.stdout.endswith("%s is no database: %s\n" % (database, words)) and "--repair" not in done.stdout + done.stderr
    told = json.loads(ctl("db", "check", "--json", database, code=4).stdout)
    assert (told["loads"], told["readable"]) == (False, False)
    done = ctl("db", "check", "--repair", tmp_path / "new.db", database, code=1)
    assert "nothing can be repaired" in done.stderr and not os.path.exists(tmp_path / "new.db")
    for command in (["db", "dump", database], ["backup", "--database", database, tmp_path / "copy.db"]):
        done = ctl(*command, code=1)
        assert "--repair" not in done.stderr, done.stderr
    done = ctl("recover", "--state-dir", tmp_path, "--nodename", "a", database, code=4)
    assert "refused: %s is no database: %s" % (database, words) in done.stdout and "--repair" not in done.stdout


def test_the_offer_of_a_repair(ctl, database):
    """Promises no more than it can hold."""
    make(database, ROWS_REFUSED["a guest twice"])
    assert "--repair NEWFILE writes a copy without what is wrong" in ctl("db", "check", database, code=4).stdout
    os.unlink(database)
    make(database, sql=TABLES_REFUSED["no table"][0])
    assert "--repair NEWFILE saves what can be read of it, if anything" in ctl("db", "check", database, code=4).stdout


def test_the_start_names_the_repair(ctl, make_daemon, tmp_path):
    """Its commands can be followed to the letter."""
    daemon = make_daemon()
    make(daemon.database, ROWS_REFUSED["a guest twice"])
    done = daemon.run_to_end("--foreground")
    assert done.returncode != 0 and "sqlite3" not in done.stderr
    check, restore = re.findall(r"'pmxcfsctl ([^']*)'", done.stderr)
    new = str(tmp_path / "new.db")
    ctl(*check.replace("NEWFILE", new).split())
    ctl(*restore.replace("NEWFILE", new).split())
    daemon.start()
    assert daemon.os.exists(daemon / LOST)


def test_a_directory_and_nothing(ctl, database, tmp_path):
    assert "not a regular file" in ctl("db", "check", tmp_path / "state", code=4).stdout
    done = ctl("db", "check", database, code=1)
    assert "there is no " + database in done.stdout
    ctl("db", "check", "--repair", tmp_path / "new.db", database, code=1)
    assert os.listdir(tmp_path / "state") == []


def test_a_log_without_its_database(ctl, database):
    with open(database + "-wal", "wb") as file:
        file.write(b"x" * 100)
    assert "put the database back" in ctl("db", "check", database, code=4).stdout


def test_a_new_file_is_never_written_over(ctl, database, tmp_path):
    make(database, ROWS_REFUSED["a guest twice"])
    before = snapshot(os.path.dirname(database))
    for there in (database, tmp_path / "state" / "link"):
        os.path.lexists(there) or os.symlink("/nowhere", there)
        assert "is there already" in ctl("db", "check", "--repair", there, database, code=1).stderr
    os.unlink(tmp_path / "state" / "link")
    assert snapshot(os.path.dirname(database)) == before


def test_warnings_load(ctl, database, tmp_path):
    make(database, sql="CREATE TABLE other (x); UPDATE tree SET version = 5 WHERE inode = 0")
    done = ctl("db", "check", database)
    assert "warning: there is more than the table 'tree': 'other'" in done.stdout and "2 warnings" in done.stdout
    ctl("db", "check", "--repair", tmp_path / "new.db", database)
    assert "nothing is wrong" in ctl("db", "check", tmp_path / "new.db").stdout
    assert read_rows(tmp_path / "new.db")[0][1] == 13


@pytest.mark.parametrize("name", ROWS_WARNED)
def test_rows_that_no_mount_shows(ctl, database, tmp_path, name):
    kind = ROWS_WARNED[name]
    make(database, kind)
    assert "warning: " + kind.words in ctl("db", "check", database).stdout
    found = json.loads(ctl("db", "check", "--json", database).stdout)
    assert found["loads"] is True and [finding["problem"] for finding in found["findings"]] == [kind.problem]
    ctl("db", "check", "--repair", tmp_path / "new.db", database)
    assert "nothing is wrong" in ctl("db", "check", tmp_path / "new.db").stdout
    paths = read_paths(tmp_path / "new.db")
    assert all(paths[path] == content for path, content in kind.paths.items())
    assert not any(path in paths for path in kind.gone)


def test_all_is_listed(ctl, database):
    make(database, sql="UPDATE tree SET type = 6 WHERE inode IN (2, 9, 11); UPDATE tree SET writer = -1 WHERE inode IN (5, 13)")
    found = json.loads(ctl("--json", "db", "check", database, code=4).stdout)["findings"]
    assert [finding["inode"] for finding in found if finding["problem"] == "type"] == [2, 9, 11]
    assert [finding["inode"] for finding in found if finding["problem"] == "number"] == [5, 13]
    assert {finding["path"] for finding in found if finding["inode"] == 9} == {"nodes/a/qemu-server/100.conf"}
    assert all(finding["remedy"].startswith("UPDATE tree SET ") for finding in found)


def test_a_running_daemon_is_not_disturbed(ctl, daemon):
    daemon.os.mkdir(daemon / "before")
    files = daemon.file_names()
    assert "nothing is wrong" in ctl("db", "check", daemon.database).stdout
    assert daemon.file_names() == files
    daemon.os.mkdir(daemon / "after")


# Damaged pages


@pytest.fixture
def large(database):
    """A database of many pages: {path: content}."""
    rows = [(0, 0, 1000, 1, 1700, 8, "__version__", None), (2, 0, 2, 1, 1, 4, "priv", None), (3, 0, 3, 1, 1, 4, "nodes", None),
            (4, 3, 4, 1, 1, 4, "a", None), (5, 4, 5, 1, 1, 4, "qemu-server", None)]
    rows += [(100 + number, 5, 100 + number, 1, 1, 8, "%d.conf" % (100 + number), os.urandom(500)) for number in range(300)]
    make(database, rows=rows)
    return read_paths(database)


def damaged(database, what):
    with open(database, "r+b") as file:
        what(file)


def test_a_truncated_database(ctl, database, large, tmp_path):
    size = os.path.getsize(database)
    saved = []
    for part in (0.2, 0.5, 0.9):
        shutil.copyfile(database, tmp_path / "cut.db")
        os.truncate(tmp_path / "cut.db", int(size * part))
        assert "refused: " in ctl("db", "check", tmp_path / "cut.db", code=4).stdout
        new = tmp_path / ("new%d.db" % (part * 10))
        done = ctl("db", "check", "--repair", new, tmp_path / "cut.db")
        assert "lost: rows that" in done.stdout
        ctl("db", "check", new)
        paths = read_paths(new)
        for path, content in paths.items():
            name = os.path.basename(path)
            same = [content for path, content in large.items() if os.path.basename(path) == name]
            assert not same or same == [content]
        saved.append(len(paths))
    assert saved == sorted(saved) and saved[0] > 20 and saved[-1] > 200


def leaves(database):
    """Offsets of the pages that hold rows."""
    with open(database, "rb") as file:
        content = file.read()
    return [offset for offset in range(4096, len(content), 4096) if content[offset] == 13]


def test_damaged_pages(ctl, database, large, tmp_path):
    """What is on other pages is saved, between two damaged ones too."""
    pages = leaves(database)
    assert len(pages) > 20
    for number in (3, 10, len(pages) - 1):
        damaged(database, lambda file: (file.seek(pages[number]), file.write(b"\xff" * 4096)))
    assert "refused" in ctl("db", "check", database, code=4).stdout
    done = ctl("db", "check", "--repair", tmp_path / "new.db", database)
    assert done.stdout.count("lost: rows that") == 3
    paths = read_paths(tmp_path / "new.db")
    rows_per_page = len(large) / len(pages)
    assert len(large) - 3 * 2 * rows_per_page <= len(paths) < len(large)
    assert all(large[path] == content for path, content in paths.items())


def test_the_first_rows_are_damaged(ctl, database, large, tmp_path):
    """The directories are lost: what was in one stays together."""
    damaged(database, lambda file: (file.seek(leaves(database)[0]), file.write(b"\xff" * 4096)))
    ctl("db", "check", "--repair", tmp_path / "new.db", database)
    paths = read_paths(tmp_path / "new.db")
    assert sum(path.startswith(LOST + "/inode-5/") and content == large["nodes/a/qemu-server/" + os.path.basename(path)]
               for path, content in paths.items()) > 270
    assert read_rows(tmp_path / "new.db")[0][1] >= 399


def test_nothing_can_be_read(ctl, database, large, tmp_path):
    damaged(database, lambda file: (file.seek(4096), file.write(b"\xff" * (os.path.getsize(database) - 4096))))
    assert "nothing of it can be saved" in ctl("db", "check", "--repair", tmp_path / "new.db", database, code=1).stderr
    assert os.listdir(tmp_path) == ["state"]


def test_altered_bytes(ctl, database, large, tmp_path):
    """Whatever is altered: what repair writes loads, or it says that nothing can be saved."""
    generator = random.Random(8)
    with open(database, "rb") as file:
        good = file.read()
    saved = 0
    for number in range(int(os.environ.get("PMXCFS_REPAIR_ROUNDS", "40"))):
        content = bytearray(good)
        for _ in range(generator.randrange(1, 40)):
            at = generator.randrange(100, 20000 if generator.random() < 0.5 else len(content))
            content[at] = generator.randrange(256)
        with open(database, "wb") as file:
            file.write(content)
        new = tmp_path / "new.db"
        done = ctl("db", "check", "--repair", new, database, code=None)
        if os.path.exists(new):
            assert done.returncode == 0
            ctl("db", "check", new)
            os.unlink(new)
            saved += 1
        else:
            assert done.returncode in (0, 1) and ("error: " in done.stderr or "nothing to repair" in done.stderr)
    assert saved > 10
