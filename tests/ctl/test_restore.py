# SPDX-License-Identifier: GPL-3.0-or-later
"""pmxcfsctl backup, restore, recover."""

import json
import os
import re
import shutil
import sqlite3
import stat

import pytest
from damage import FILE, ROWS, ROWS_REFUSED, make, read_paths, read_rows, snapshot

CONF = "nodes/a/qemu-server/100.conf"


def assert_private(path):
    assert os.stat(path).st_mode == stat.S_IFREG | 0o600


def replaced(directory):
    return sorted(name for name in os.listdir(directory) if ".replaced-" in name)


@pytest.fixture
def state_dir(tmp_path):
    """A state directory where a daemon once was."""
    os.mkdir(tmp_path / "state")
    (tmp_path / "state" / ".pmxcfs.lockfile").touch(0o600)
    return tmp_path / "state"


@pytest.fixture
def saved(tmp_path):
    """A database to put in place."""
    os.mkdir(tmp_path / "saved")
    return make(str(tmp_path / "saved" / "config.db"))


# backup


def test_a_backup_while_a_daemon_works(ctl, daemon, tmp_path):
    """What was acknowledged before is in it, and each one loads."""
    worker = daemon.worker()
    pending = worker.start("execute", """
import time
for number in range(300):
    with open(path + "/file%d" % number, "w") as file:
        file.write("x" * number)
result = None
""", {"path": daemon.mountpoint})
    copies = 0
    while not pending.done() or copies < 3:
        daemon.os.write_file(daemon / "marker", b"%d" % copies)
        done = ctl("backup", "--database", daemon.database, tmp_path / "copy.db")
        assert "version" in done.stdout
        assert_private(tmp_path / "copy.db")
        paths = read_paths(tmp_path / "copy.db")
        assert paths["marker"] == b"%d" % copies
        ctl("db", "check", tmp_path / "copy.db")
        copies += 1
    pending.result()
    assert [name for name in os.listdir(tmp_path) if name.startswith("copy.db")] == ["copy.db"]


def test_a_backup_of_what_a_killed_daemon_left(ctl, daemon, tmp_path):
    daemon.os.write_file(daemon / "file", b"content")
    daemon.kill()
    ctl("backup", "--database", daemon.database, tmp_path / "copy.db")
    assert read_paths(tmp_path / "copy.db") == {"file": b"content"}
    daemon.start()
    assert daemon.os.read_file(daemon / "file") == b"content"


def test_a_bad_backup_replaces_nothing(ctl, tmp_path, saved):
    (tmp_path / "copy.db").write_text("an older backup")
    bad = make(str(tmp_path / "bad" / "config.db"), ROWS_REFUSED["a guest twice"])
    before = snapshot(tmp_path / "bad")
    for source in (bad, tmp_path / "none"):
        ctl("backup", "--database", source, tmp_path / "copy.db", code=1)
        assert (tmp_path / "copy.db").read_text() == "an older backup"
    assert snapshot(tmp_path / "bad") == before
    assert "is the database itself" in ctl("backup", "--database", saved, saved, code=1).stderr
    ctl("backup", "--database", saved, tmp_path / "no" / "directory", code=1)
    ctl("backup", "--database", saved, tmp_path, code=1)
    assert sorted(os.listdir(tmp_path)) == ["bad", "copy.db", "saved"]
    ctl("backup", "--database", saved, tmp_path / "copy.db")
    assert_private(tmp_path / "copy.db")
    assert read_rows(tmp_path / "copy.db") == read_rows(saved)


def test_a_backup_as_json(ctl, tmp_path, saved):
    told = json.loads(ctl("backup", "--database", saved, "--json", tmp_path / "copy.db").stdout)
    counted = json.loads(ctl("db", "stat", "--json", tmp_path / "copy.db").stdout)
    assert ctl("backup", "--database", saved, tmp_path / "copy.db").stdout == "%s: version 40, %d entries\n" % (tmp_path / "copy.db", counted["entries"])
    assert told == {"file": str(tmp_path / "copy.db"), "version": 40, "entries": counted["entries"]}
    assert ctl("backup", "--json", "--database", tmp_path / "none", tmp_path / "copy.db", code=1).stdout == ""


# restore


def test_restore(ctl, make_daemon, saved, tmp_path):
    """A daemon goes on with what was restored, and what was there is kept."""
    daemon = make_daemon()
    daemon.start()
    daemon.os.write_file(daemon / "old", b"old content")
    done = ctl("restore", "--state-dir", daemon.state_dir, saved, code=1)
    assert "a pmxcfs runs on it" in done.stderr and "systemctl stop" in done.stderr
    assert daemon.os.read_file(daemon / "old") == b"old content"
    daemon.stop()
    before = snapshot(os.path.dirname(saved))
    done = ctl("restore", "--state-dir", daemon.state_dir, saved)
    kept = replaced(daemon.state_dir)
    assert len(kept) == 1 and kept[0] in done.stdout
    assert_private(daemon.database)
    assert_private(os.path.join(daemon.state_dir, kept[0]))
    assert read_paths(os.path.join(daemon.state_dir, kept[0])) == {"old": b"old content"}
    assert read_rows(daemon.database) == read_rows(saved)
    assert snapshot(os.path.dirname(saved)) == before
    daemon.start()
    assert daemon.os.read_file(daemon / CONF) == b"cores: 1"
    assert not daemon.os.exists(daemon / "old")
    daemon.stop()
    # And back again.
    ctl("restore", "--state-dir", daemon.state_dir, os.path.join(daemon.state_dir, kept[0]))
    assert read_paths(daemon.database) == {"old": b"old content"}
    assert len(replaced(daemon.state_dir)) == 2


def test_what_a_killed_daemon_left_is_kept(ctl, daemon, saved):
    daemon.os.write_file(daemon / "old", b"old content")
    daemon.kill()
    ctl("restore", "--state-dir", daemon.state_dir, saved)
    kept = os.path.join(daemon.state_dir, replaced(daemon.state_dir)[0])
    assert read_paths(kept) == {"old": b"old content"}
    daemon.start()
    assert not daemon.os.exists(daemon / "old")


def test_a_damaged_one_is_replaced_and_kept(ctl, make_daemon, saved, tmp_path):
    """With its log, which must not be played into the new one."""
    daemon = make_daemon()
    os.makedirs(daemon.state_dir)
    make(daemon.database, ROWS_REFUSED["a guest twice"])
    database = sqlite3.connect(daemon.database)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("UPDATE tree SET data = 'in the log' WHERE inode = 2")
    database.commit()
    for suffix in ("", "-wal"):
        shutil.copyfile(daemon.database + suffix, str(tmp_path / "crashed") + suffix)
    database.close()
    for suffix in ("", "-wal"):
        shutil.move(str(tmp_path / "crashed") + suffix, daemon.database + suffix)
    before = snapshot(daemon.state_dir)
    assert list(before) == ["config.db", "config.db-wal"]
    ctl("restore", "--state-dir", daemon.state_dir, saved)
    kept = replaced(daemon.state_dir)
    assert {name.partition(".replaced-")[0] + ("-wal" if name.endswith("-wal") else ""): snapshot(daemon.state_dir)[name]
            for name in kept} == before
    assert read_paths(os.path.join(daemon.state_dir, kept[0]))["storage.cfg"] == b"in the log"
    daemon.start()
    assert daemon.os.read_file(daemon / "storage.cfg") == b"ab"


def test_restore_refuses(ctl, state_dir, saved, tmp_path):
    """Nothing is touched by what cannot be."""
    here = make(str(state_dir / "config.db"), rows=ROWS[:2])
    before = snapshot(state_dir)
    bad = make(str(tmp_path / "bad" / "config.db"), ROWS_REFUSED["a name twice"])
    assert "same name" in ctl("restore", "--state-dir", state_dir, bad, code=1).stderr
    assert "there is no" in ctl("restore", "--state-dir", state_dir, tmp_path / "none", code=1).stderr
    assert "is the database itself" in ctl("restore", "--state-dir", state_dir, here, code=1).stderr
    assert snapshot(state_dir) == before
    done = ctl("restore", "--state-dir", tmp_path / "nowhere", saved, code=1)
    assert str(tmp_path / "nowhere") in done.stderr and not os.path.exists(tmp_path / "nowhere")
    ctl("restore", "--state-dir", state_dir, code=2)


def test_restore_where_there_is_none(ctl, state_dir, saved):
    ctl("restore", "--state-dir", state_dir, saved)
    assert sorted(os.listdir(state_dir)) == [".pmxcfs.lockfile", "config.db"]
    assert read_rows(state_dir / "config.db") == read_rows(saved)


def test_restore_as_json(ctl, state_dir, saved):
    restore = ["--json", "restore", "--state-dir", state_dir, saved]
    told = json.loads(ctl(*restore).stdout)
    assert told == {"file": str(state_dir / "config.db"), "version": 40, "entries": len(ROWS), "kept": None, "set_aside": [],
                    "next": ["systemctl start pve-cluster"]}
    told = json.loads(ctl(*restore).stdout)
    assert os.path.dirname(told["kept"]) == str(state_dir) and [os.path.basename(told["kept"])] == replaced(state_dir)


# restore --dry-run


def test_what_a_restore_would_lose(ctl, daemon, tmp_path):
    """While the daemon runs, which must go on, and when it has stopped."""
    daemon.os.write_file(daemon / "same", b"same")
    daemon.os.write_file(daemon / "altered", b"old")
    daemon.os.write_file(daemon / "gone", b"gone")
    ctl("backup", "--database", daemon.database, tmp_path / "saved.db")
    daemon.os.write_file(daemon / "altered", b"new")
    daemon.os.write_file(daemon / "later", b"later")
    daemon.os.unlink(daemon / "gone")
    restore = ["restore", "--dry-run", "--state-dir", daemon.state_dir, tmp_path / "saved.db"]
    lines = ctl(*restore, code=4).stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[:3]] == ["! altered", "+ gone", "- later"]
    assert "1 entry would be lost, 1 would get another content, 1 would come back" in lines[3]
    assert "a pmxcfs runs on it" in lines[4]
    told = json.loads(ctl("--json", *restore, code=4).stdout)
    assert (told["lost"], told["altered"], told["added"], told["running"], told["dry_run"]) == (1, 1, 1, True, True)
    assert {one["path"] for one in told["differences"]} == {"altered", "gone", "later"} and told["present"] > told["version"]
    assert daemon.os.read_file(daemon / "later") == b"later"
    daemon.stop()
    before = snapshot(daemon.state_dir)
    assert "a pmxcfs runs" not in ctl(*restore, code=4).stdout
    assert not json.loads(ctl("--json", *restore, code=4).stdout)["running"]
    assert snapshot(daemon.state_dir) == before
    # Nothing would be lost.
    ctl("restore", "--state-dir", daemon.state_dir, tmp_path / "saved.db")
    assert "0 entries would be lost" in ctl(*restore).stdout


def test_a_dry_run_without_a_database_or_with_a_bad_one(ctl, state_dir, saved, tmp_path):
    restore = ["restore", "-n", "--state-dir", state_dir]
    assert "version 40 would be put in place" in ctl(*restore, saved).stdout
    assert json.loads(ctl("--json", *restore, saved).stdout)["present"] is None
    ctl(*restore, tmp_path / "none", code=1)
    ctl("restore", "-n", "--state-dir", tmp_path / "nowhere", saved, code=1)
    make(str(state_dir / "config.db"), ROWS_REFUSED["a guest twice"])
    before = snapshot(state_dir)
    assert "nobody can say what of it would be lost" in ctl(*restore, saved, code=4).stderr
    assert snapshot(state_dir) == before


# recover

COROSYNC = """totem {
  cluster_name: lab
  config_version: 3
}
nodelist {
  node {
    name: a
    nodeid: 1
    ring0_addr: 127.0.0.1
    ring1_addr: %s
  }
  node {
    name: b
    nodeid: 2
    ring0_addr: 192.0.2.2
  }
}
"""


@pytest.fixture
def recover(ctl, state_dir, tmp_path):
    """recover(FILE, ...): on the host a, whose database is in state_dir."""
    os.mkdir(tmp_path / "corosync")

    def run(*arguments, name="a", code=0):
        return ctl("recover", "--state-dir", state_dir, "--corosync-dir", tmp_path / "corosync", "--nodename", name, *arguments, code=code).stdout

    return run


def test_recover(recover, state_dir, saved):
    said = recover("--dry-run", saved)
    assert "ok: this host, a, is one of its nodes (a, b), with 1 guest\n" in said
    assert "ok: no pmxcfs runs here" in said and "no database here yet" in said and "not of a cluster" in said
    assert "nothing is in the way" in said
    assert os.listdir(state_dir) == [".pmxcfs.lockfile"]
    said = recover(saved)
    assert "What to do next" in said and "never started again" in said and "reboot" in said
    assert read_rows(state_dir / "config.db") == read_rows(saved)
    assert_private(state_dir / "config.db")


def test_recover_on_a_host_of_another_name(recover, state_dir, saved):
    said = recover(saved, name="c", code=4)
    assert "refused: this host is called c, and the database is one of a, b" in said and "/etc/hostname" in said
    assert "1 thing is in the way: nothing was changed" in said and os.listdir(state_dir) == [".pmxcfs.lockfile"]
    assert "nothing was changed" in recover("--dry-run", saved, name="c", code=4)


def test_recover_of_a_name_without_an_address(ctl, state_dir, saved, tmp_path):
    """It is a warning, and no error beside a success."""
    os.mkdir(tmp_path / "corosync")
    done = ctl("recover", "--state-dir", state_dir, "--corosync-dir", tmp_path / "corosync", "--nodename", "a", saved)
    assert re.search(r"^warning: a has no address \(.+\): add it to /etc/hosts$", done.stdout, re.M), done.stdout
    assert done.stderr == ""


def test_recover_of_a_damaged_one(recover, state_dir, tmp_path):
    bad = make(str(tmp_path / "bad" / "config.db"), ROWS_REFUSED["a guest twice"])
    assert "does not load: pmxcfsctl db check --repair" in recover(bad, code=4)
    assert "refused" in recover(tmp_path / "none", code=4)
    assert os.listdir(state_dir) == [".pmxcfs.lockfile"]


def test_recover_over_another_database(recover, state_dir, saved):
    """A new host has some files; guests are not replaced without a word."""
    here = str(state_dir / "config.db")
    make(here, rows=ROWS[:2])
    assert "warning: the database here has 2 entries, 0 guests; it will be kept" in recover("--dry-run", saved)
    os.unlink(here)
    make(here, sql="UPDATE tree SET version = 99 WHERE inode = 0")
    assert "refused: the database here has 2 guests: if they are not needed, --replace" in recover(saved, code=4)
    assert read_rows(here)[0][1] == 99
    assert "is the database of this host" in recover(here, code=4)
    recover("--replace", saved)
    kept, = replaced(state_dir)
    assert read_rows(here)[0][1] == 40 and read_rows(state_dir / kept)[0][1] == 99


def test_recover_beside_a_running_daemon(ctl, daemon, saved):
    before = snapshot(daemon.state_dir, running=True)
    for options in ([], ["--dry-run"]):
        done = ctl("recover", *options, "--state-dir", daemon.state_dir, "--nodename", "a", saved, code=4)
        assert "refused: a pmxcfs runs here: systemctl stop pve-cluster" in done.stdout
    assert snapshot(daemon.state_dir, running=True) == before


def test_recover_as_json(recover, state_dir, saved, tmp_path):
    """Each finding, and what was done, whether it was or not."""
    def told(*arguments, **keywords):
        return json.loads(recover("--json", *arguments, **keywords))

    looked = told("--dry-run", saved)
    assert {finding["severity"] for finding in looked["findings"]} <= {"ok", "warning"}
    assert "no pmxcfs runs here" in [finding["text"] for finding in looked["findings"]]
    assert looked["dry_run"] and looked["refused"] == 0 and not looked["done"] and looked["next"] == []
    refused = told(saved, name="c", code=4)
    (finding,) = [finding for finding in refused["findings"] if finding["severity"] == "refused"]
    assert "this host is called c" in finding["text"]
    assert refused["refused"] == 1 and not refused["done"] and not os.path.exists(state_dir / "config.db")
    done = told(saved)
    assert done["done"] and done["file"] == str(state_dir / "config.db") and done["kept"] is None
    assert any("never started again" in step for step in done["next"])
    assert read_rows(state_dir / "config.db") == read_rows(saved)
    assert told("--replace", saved)["kept"] == str(state_dir / replaced(state_dir)[0])
    assert told(tmp_path / "none", code=4)["refused"] >= 1


def test_recover_of_a_cluster(recover, tmp_path):
    """What its corosync.conf says is compared with this host."""
    def cluster(path, text):
        return make(str(tmp_path / path), rows=[*ROWS, (30, 0, 31, 1, 1700, FILE, "corosync.conf", text.encode())])

    said = recover("--dry-run", cluster("one", COROSYNC % "203.0.113.9"))
    assert "of a cluster of 2 nodes: if others are alive" in said
    assert "ok: this host has the address 127.0.0.1" in said
    assert "warning: this host has not the address 203.0.113.9" in said
    assert "authkey is missing" in said
    (tmp_path / "corosync" / "authkey").write_bytes(b"key")
    assert "authkey is there" in recover("--dry-run", tmp_path / "one")
    assert "has no node called a" in recover("--dry-run", cluster("two", "nodelist {\n node {\n name: z\n}}\n"))
    assert "has no node called a" in recover("--dry-run", cluster("three", "\x00{ node {\nname" * 1000))
    assert "pvecm expected 1" in recover(tmp_path / "one")


def test_recover_where_corosync_was_used(recover, saved, tmp_path):
    (tmp_path / "corosync" / "corosync.conf").write_text("totem {\n}\n")
    assert "corosync.conf is there, from another use of this host: remove it" in recover("--dry-run", saved)


def test_a_daemon_on_what_was_recovered(ctl, make_daemon, saved):
    daemon = make_daemon(name="a")
    os.makedirs(daemon.state_dir)
    ctl("recover", "--state-dir", daemon.state_dir, "--nodename", "a", saved)
    daemon.start()
    assert daemon.os.readlink(daemon / "local") == "nodes/a"
    assert daemon.os.read_file(daemon / "qemu-server/100.conf") == b"cores: 1"
