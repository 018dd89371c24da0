# SPDX-License-Identifier: GPL-3.0-or-later
"""pmxcfsctl kept: what synchronisations took away, looked at and brought back."""

import json
import os
import subprocess

import pytest
from conftest import PMXCFSCTL
from damage import FILE, ROWS, make, snapshot

OLD, NEW = "20261101-120000-30", "20261122-184150-40"
CONF = "nodes/a/qemu-server/100.conf"
SECRET = (20, 13, 20, 1, 1700, FILE, "secret.cfg", b"password hunter2\n")


def copy_path(daemon, name):
    return os.path.join(daemon.state_dir, "config.db.kept-" + name)


@pytest.fixture
def kept(daemon):
    """A running daemon with two safety copies beside its database, of its node's files."""
    make(copy_path(daemon, NEW), rows=[*ROWS, SECRET])
    make(copy_path(daemon, OLD), rows=ROWS[:2])
    return daemon


def test_list(kept, live):
    lines = live("kept", "list").stdout.splitlines()
    assert lines == ["%s  2026-11-01 12:00:00  version 40, 1 file" % OLD, "%s  2026-11-22 18:41:50  version 40, 4 files" % NEW]
    told = json.loads(live("kept", "list", "--json").stdout)
    assert [one["name"] for one in told] == [OLD, NEW] and told[1]["files"] == 4 and told[1]["readable"]
    assert told[0]["file"] == copy_path(kept, OLD)
    # One that is damaged is told, and the others as well.
    with open(copy_path(kept, OLD), "w") as file:
        file.write("x")
    done = live("kept", "list")
    assert done.stdout.splitlines()[0].endswith("cannot be read") and NEW in done.stdout and "is no database" in done.stderr


def test_none(daemon, live):
    assert live("kept", "list").stdout == "no safety copies\n"
    assert json.loads(live("kept", "list", "--json").stdout) == []
    for command in (["show", "latest"], ["diff", "latest"], ["restore", "latest", "--all"]):
        assert "no safety copy is called 'latest'" in live("kept", *command, code=1).stderr


def test_without_a_daemon(ctl, tmp_path):
    """With --state-dir; a restore needs one."""
    make(str(tmp_path / ("config.db.kept-" + NEW)))
    make(str(tmp_path / "config.db"), sql="DELETE FROM tree WHERE inode = 2")
    assert NEW in ctl("kept", "list", "--state-dir", tmp_path).stdout
    assert "storage.cfg" in ctl("kept", "show", "--state-dir", tmp_path, NEW).stdout
    assert ctl("kept", "diff", "--state-dir", tmp_path, NEW, code=4).stdout == "- storage.cfg  (version 3)\n"
    done = ctl("--socket-name", "nobody-is-called-so", "kept", "restore", "--state-dir", tmp_path, NEW, "--all", code=3)
    assert "no daemon answers" in done.stderr


def test_show(kept, live):
    for name in (NEW, "config.db.kept-" + NEW, copy_path(kept, NEW), "latest"):
        assert CONF in live("kept", "show", name).stdout
    assert CONF not in live("kept", "show", OLD).stdout
    entries = [json.loads(line) for line in live("kept", "show", "--json", NEW).stdout.splitlines()]
    assert {entry["path"]: entry.get("text") for entry in entries}[CONF] == "cores: 1"
    done = live("kept", "show", NEW[:-1] + "1", code=1)
    assert done.stderr == "error: no safety copy is called '%s1'; did you mean '%s'?\n" % (NEW[:-1], NEW)


def test_diff(kept, live):
    """What only the database has does not matter."""
    kept.os.makedirs(kept / "nodes/a/qemu-server")
    kept.os.write_file(kept / CONF, b"cores: 2")
    kept.os.write_file(kept / "storage.cfg", b"ab")
    kept.os.write_file(kept / "other", b"x")
    lines = live("kept", "diff", NEW, code=4).stdout.splitlines()
    assert "! %s  (content" % CONF in "\n".join(lines) and not any("other" in line or "storage.cfg" in line for line in lines)
    text = live("kept", "diff", "-u", NEW, code=4).stdout
    assert "-cores: 1\n\\ No newline at end of file\n+cores: 2\n" in text
    assert "hunter2" not in text and "-********\n" in text
    assert "hunter2" not in live("kept", "diff", "-u", "--json", NEW, code=4).stdout
    assert "-password hunter2\n" in live("kept", "diff", "-u", "--show-secrets", NEW, code=4).stdout
    told = json.loads(live("kept", "diff", "--json", NEW, code=4).stdout)
    assert {one["path"] for one in told["differences"]} >= {CONF, "priv/secret.cfg"} and told["same"] is False
    assert live("kept", "diff", OLD).stdout == ""
    assert json.loads(live("kept", "diff", "--json", OLD).stdout) == {"same": True, "differences": []}


def test_restore(kept, live):
    """What is named, with the directories above; nothing else is touched."""
    before = snapshot(kept.state_dir, running=True)[os.path.basename(copy_path(kept, NEW))]
    kept.os.write_file(kept / "storage.cfg", b"another")
    assert live("kept", "restore", "--dry-run", NEW, CONF).stdout == "would restore: %s\n" % CONF
    assert not kept.os.exists(kept / "nodes")
    assert live("kept", "restore", NEW, CONF).stdout == "restored: %s\n" % CONF
    assert kept.os.read_file(kept / CONF) == b"cores: 1"
    assert kept.os.read_file(kept / "storage.cfg") == b"another"
    assert kept.os.listdir(kept / "nodes/a/qemu-server") == ["100.conf"]
    assert live("kept", "restore", NEW, CONF).stdout == "same: %s is there as it is in the copy\n" % CONF
    live("kept", "restore", NEW, "priv/")
    assert kept.os.read_file(kept / "priv/secret.cfg") == b"password hunter2\n"
    assert snapshot(kept.state_dir, running=True)[os.path.basename(copy_path(kept, NEW))] == before


def test_another_content_is_left(kept, live):
    kept.os.write_file(kept / "storage.cfg", b"another")
    done = live("kept", "restore", NEW, "--all", code=1)
    assert "error: storage.cfg: another content is there" in done.stderr and "restored: " + CONF in done.stdout
    assert kept.os.read_file(kept / "storage.cfg") == b"another"
    told = json.loads(live("kept", "restore", "--json", NEW, "--all", code=1).stdout)
    assert {one["path"]: one["result"] for one in told} == {
        "storage.cfg": "refused", CONF: "same", "nodes/b/lxc/200.conf": "same", "priv/secret.cfg": "same"}
    assert live("kept", "restore", "--replace", NEW, "storage.cfg").stdout == "restored: storage.cfg\n"
    assert kept.os.read_file(kept / "storage.cfg") == b"ab"


def test_a_guest_that_is_elsewhere(kept, live):
    kept.os.makedirs(kept / "nodes/c/lxc")
    kept.os.write_file(kept / "nodes/c/lxc/100.conf", b"x")
    done = live("kept", "restore", NEW, "nodes", code=1)
    assert "%s: a guest of this number is there" % CONF in done.stderr and "restored: nodes/b/lxc/200.conf" in done.stdout
    assert kept.os.listdir(kept / "nodes/a/qemu-server") == []


def test_corosync_conf_is_never_among_all(kept, live):
    make(copy_path(kept, "20261123-000000-50"), rows=[*ROWS[:2], (30, 0, 30, 1, 1, FILE, "corosync.conf", b"totem {\n}\n")])
    done = live("kept", "restore", "latest", "--all")
    assert done.stdout == "restored: storage.cfg\n" and "corosync.conf is left out" in done.stderr
    assert not kept.os.exists(kept / "corosync.conf")


@pytest.mark.parametrize("words, part", [(["storage.cgf"], "no file of the copy is called 'storage.cgf'; did you mean 'storage.cfg'?"),
                                         (["nodes/z"], "no file of the copy is called 'nodes/z'")])
def test_what_the_copy_has_not(kept, live, words, part):
    done = live("kept", "restore", NEW, CONF, *words, code=1)
    assert part in done.stderr and not done.stdout and not kept.os.exists(kept / "nodes")


def test_wrong_use(ctl):
    for words in ([], [NEW], [NEW, "--all", "x"], ["--all"]):
        assert ctl("kept", "restore", *words, code=2).stderr.startswith("error: ")
    for command in ("show", "diff"):
        ctl("kept", command, code=2)


def test_completion_of_copies(kept):
    done = subprocess.run([*kept.namespace.enter(), PMXCFSCTL, "--complete", "--socket-name", kept.socket_name, "kept", "show", "2026112"],
                          capture_output=True, text=True)
    assert done.stdout == NEW + "\ta safety copy\n"
