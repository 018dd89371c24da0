# SPDX-License-Identifier: GPL-3.0-or-later
"""pmxcfsctl: wrong use, full disks, sudden ends."""

import os
import random
import re
import signal
import subprocess

import pytest
from conftest import PMXCFSCTL
from damage import FILE, ROWS, ROWS_REFUSED, make, read_paths
from harness import SOURCE_DIR

HELP = subprocess.run([PMXCFSCTL, "--help"], capture_output=True, text=True).stdout if os.path.exists(PMXCFSCTL) else ""
COMMANDS = re.findall(r"^  ([a-z]+(?: [a-z]+)?) .*", HELP.partition("Options:")[0], re.M)


def test_all_commands_are_known():
    assert {"backup", "restore", "recover", "db check", "db diff", "db dump", "db export", "db import", "db stat"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each(ctl, command):
    """Of each command, and its place in the manual page."""
    done = ctl(*command.split(), "--help")
    assert done.stdout.startswith("Usage:\n  pmxcfsctl %s" % command)
    with open(os.path.join(SOURCE_DIR, "doc", "man", "pmxcfsctl.8")) as file:
        assert re.search(r"^\.(It )?Ic %s\b" % command, file.read(), re.M)
    assert ctl(*command.split(), "--no-such-option", code=2).stderr.startswith("error: ")
    assert ctl("help", *command.split()).stdout == done.stdout == ctl(*command.split(), "-h").stdout
    for name in ("--json", "--socket-name=NAME", "-h, --help"):
        assert name in done.stdout


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_help_can_be_read_everywhere(ctl, locale):
    """Letters that a terminal may not have are not in it, nor are question marks for them."""
    environment = dict(os.environ, LC_ALL=locale)
    help = ctl("status", "--help", env=environment).stdout
    assert "pmxcfsctl status [OPTION...]" in help and help.isascii()
    assert ctl("log", "-n", "x", code=2, env=environment).stderr.isascii()


def test_help_without_a_command(ctl):
    assert ctl("help").stdout == ctl("--help").stdout == HELP
    assert ctl("help", "db").stdout == ctl("db", "--help").stdout and "  db check " in ctl("help", "db").stdout
    assert "error: no command is called 'nonsense'" in ctl("help", "nonsense", code=2).stderr


@pytest.mark.parametrize("arguments", [["backup"], ["restore"], ["recover"], ["restore", "a", "b"], ["db", "import", "a"], ["db", "export"],
                                       ["db", "diff"], ["db", "diff", "a", "b", "c"], ["db", "check", "a", "b"], ["db"], ["db", "nothing"], ["nothing"]])
def test_wrong_use(ctl, arguments):
    done = ctl(*arguments, code=2)
    assert done.stdout == "" and done.stderr != ""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["db", "dump", "{}"], ["--json", "db", "stat", "{}"]])
def test_output_that_is_not_taken(tmp_path, arguments):
    """A full disk behind a redirection: what is there is not all, and the exit code says so."""
    path = tmp_path / "config.db"
    make(path, rows=ROWS)
    with open("/dev/full", "w") as full:
        done = subprocess.run([PMXCFSCTL, *(one.format(path) for one in arguments)], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and "error: standard output did not take all" in done.stderr


def large(path, sql=""):
    rows = [(0, 0, 1000, 1, 1700, FILE, "__version__", None)]
    rows += [(100 + number, 0, 100 + number, 1, 1, FILE, "file%d" % number, os.urandom(10000)) for number in range(100)]
    return make(path, rows=rows, sql=sql)


def test_a_full_disk(make_namespace, tmp_path):
    """What cannot be written is not half there, and what was there stays."""
    namespace = make_namespace()
    database = large(str(tmp_path / "large" / "config.db"))
    bad = large(str(tmp_path / "bad" / "config.db"), sql="UPDATE tree SET parent = 7 WHERE inode = 100")
    small = make(str(tmp_path / "small.db"))
    subprocess.run([PMXCFSCTL, "db", "export", "--database", database, tmp_path / "files"], check=True, capture_output=True)
    disk = str(tmp_path / "disk")
    os.mkdir(disk)
    namespace.run(["mount", "-t", "tmpfs", "-o", "size=500k,mode=0700", "tmpfs", disk], check=True)
    namespace.run(["cp", small, disk + "/config.db"], check=True)
    namespace.run([PMXCFSCTL, "backup", "--database", small, disk + "/backup"], check=True)
    before = namespace.run(["sh", "-c", "sha256sum %s/*" % disk], check=True).stdout
    for command in (["backup", "--database", database, disk + "/backup"], ["db", "import", str(tmp_path / "files"), disk + "/new.db"],
                    ["db", "check", "--repair", disk + "/new.db", bad], ["restore", "--state-dir", disk, database]):
        done = namespace.run([PMXCFSCTL, *command])
        assert done.returncode == 1 and "full" in done.stderr, (command, done.stderr)
        assert namespace.run(["sh", "-c", "sha256sum %s/*" % disk], check=True).stdout == before, command
    done = namespace.run([PMXCFSCTL, "db", "export", "--database", database, disk + "/files"])
    assert done.returncode == 1 and "No space left" in done.stderr


def test_a_sudden_end_of_a_restore(ctl, tmp_path):
    """At no moment is there another database than the old or the new one, whole."""
    state_dir = tmp_path / "state"
    os.mkdir(state_dir)
    new = large(str(tmp_path / "new" / "config.db"))
    first = make(str(tmp_path / "first" / "config.db"))
    expected = [read_paths(first), read_paths(new)]
    generator = random.Random(3)
    ends = set()
    for _ in range(40):
        ctl("restore", "--state-dir", state_dir, first)
        process = subprocess.Popen([PMXCFSCTL, "restore", "--state-dir", state_dir, new], stdout=subprocess.PIPE)
        try:
            process.wait(generator.random() * 0.06)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        ends.add(process.returncode)
        ctl("db", "check", state_dir / "config.db")
        assert read_paths(state_dir / "config.db") in expected
        for name in os.listdir(state_dir):
            if ".replaced-" in name:
                ctl("db", "check", state_dir / name)
                os.unlink(state_dir / name)
    assert -signal.SIGKILL in ends
