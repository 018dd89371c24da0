# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of pmxcfsctl that ask a running daemon: what they print, for people and as JSON, their exit codes, and
their words when there is no daemon."""

import json
import os
import re
import signal
import subprocess
import sys
import termios

import pytest
from conftest import PMXCFSCTL
from harness import GROUP_ID, NOBODY, SOURCE_DIR, wait_for
from running import Output, Terminal, guest, log_entry

sys.path.insert(0, os.path.join(SOURCE_DIR, "tests", "mount"))

from support import DIRECTORY, FILE, make_database  # noqa: E402


@pytest.fixture
def daemon(reused_daemon):
    return reused_daemon


COMMANDS = ["changes", "guests", "guests move", "kept diff", "kept list", "kept restore", "kept show", "locks", "locks break", "log", "members", "status", "top", "verify", "versions"]


# All commands


@pytest.mark.parametrize("command", COMMANDS)
def test_help(ctl, command):
    done = ctl(*command.split(), "--help")
    assert "pmxcfsctl " + command in done.stdout and "--help" in done.stdout


@pytest.mark.parametrize("command", [["guests", "move", "--from", "a", "--to", "b"], ["locks"], ["locks", "break", "--expired"], ["log"], ["log", "-f"],
                                     ["members"], ["status"], ["top"], ["verify"], ["versions"], ["guests"], ["changes"]])
def test_no_daemon(ctl, command):
    done = ctl("--socket-name", "nobody-is-called-so", *command, code=3)
    assert done.stderr.startswith("error: no daemon answers at 'nobody-is-called-so'") and not done.stdout


@pytest.mark.parametrize("command", [["locks", "x"], ["log", "--nonsense"], ["status", "x"], ["top", "-d", "0"],
                                     ["guests", "move"], ["guests", "move", "--from", "a/b", "--to", "c"], ["verify", "x"]])
def test_wrong_use(ctl, command):
    assert ctl(*command, code=2).stderr.startswith("error: ")


def test_no_colours_in_a_pipe(live):
    for command in ("status", "members", "locks", "log", "guests"):
        assert "\033" not in live(command).stdout


def test_colours_on_a_terminal(daemon, live):
    daemon.os.makedirs(daemon / "priv/lock/x")
    status = "%s --socket-name %s status" % (PMXCFSCTL, daemon.socket_name)
    for environment, coloured in ((["TERM=xterm"], True), (["TERM=xterm", "NO_COLOR=1"], False), (["TERM=dumb"], False)):
        done = daemon.run(["env", "-u", "NO_COLOR", *environment, "script", "-qec", status, "/dev/null"], stdin=subprocess.DEVNULL)
        assert ("\033" in done.stdout) == coloured, done.stdout


# status


def test_status(daemon, live):
    daemon.os.write_file(daemon / "file", b"x" * 3 * 1024)
    text = live("status").stdout
    for part in ("node1", daemon.mountpoint, "in sync", "none (local mode)", "3.0 KiB of 128.0 MiB, 0 %", "2 of 262144",
                 "config.db ", "all empty", "takes writes", "\nhistory    "):
        assert part in text, part
    for arguments in (["--json", "status"], ["status", "--json"]):
        told = json.loads(live(*arguments).stdout)
        assert told["quorate"] and told["members"]["nodename"] == "node1" and told["sizes"]["content"]["used"] == 3072


def test_status_tells_of_the_history(make_daemon):
    """Its size and reach; that it cannot be written; that there is none."""
    daemon = make_daemon(options=["--fold-delay=0.1"]).start()

    def told():
        done = daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, "status"])
        return [line for line in done.stdout.splitlines() if line.startswith("history ")][0]

    wait_for(lambda: "KiB, complete since 20" in told(), "it has begun")
    assert "left out" not in told()
    daemon.stop()
    path = os.path.join(daemon.state_dir, "history.db")
    os.unlink(path)
    os.mkdir(path)
    daemon.start()
    daemon.os.write_file(daemon / "file", b"x")
    wait_for(lambda: "not begun yet; CANNOT BE WRITTEN" in told(), "it cannot")
    os.rmdir(path)
    daemon.stop()
    daemon.options = ["--history-size=0"]
    daemon.start()
    assert "none is written" in told()


def test_status_of_a_renamed_host(daemon, live):
    """Told where one looks, and gone when its guests have its name, or it has theirs."""
    def told():
        overview = json.loads(live("status", "--json").stdout)
        assert ("ALL GUESTS ARE UNDER ANOTHER NAME: %s." % overview["old_name"] in live("status").stdout) == (overview["old_name"] is not None)
        return overview["old_name"]

    assert told() is None
    daemon.os.makedirs(daemon / "nodes/node1/qemu-server")
    daemon.os.makedirs(daemon / "nodes/before/lxc")
    assert told() is None
    daemon.os.write_file(daemon / "nodes/node1/qemu-server/100.conf", b"x")
    assert told() is None
    daemon.restart("--nodename", "after")
    assert told() == "node1"
    assert "this host is named 'after', and all guests are under 'node1'" in daemon.log_since_start()
    daemon.os.write_file(daemon / "nodes/before/lxc/101.conf", b"x")
    assert told() is None  # two nodes had guests: of which was it?
    daemon.os.unlink(daemon / "nodes/before/lxc/101.conf")
    daemon.os.makedirs(daemon / "nodes/after/qemu-server")
    live("guests", "move", "--from", "node1", "--to", "after")
    assert told() is None
    daemon.restart()
    daemon.os.rename(daemon / "nodes/after/qemu-server/100.conf", daemon / "nodes/node1/qemu-server/100.conf")
    assert told() is None and "all guests are under" not in daemon.log_since_start().partition("pmxcfs is ready")[2]


def test_status_for_readers(live):
    assert "node1" in live("status", uid=GROUP_ID, gid=GROUP_ID).stdout
    assert "root alone" in live("locks", uid=GROUP_ID, gid=GROUP_ID, code=1).stderr
    assert "root alone" in live("top", uid=GROUP_ID, gid=GROUP_ID, code=1).stderr


def test_status_watch_goes_on_over_a_restart(daemon):
    output = Output(daemon, "--json", "status", "--watch")
    output.wait('"node":"node1"')
    daemon.stop()
    output.wait("error: no daemon answers")
    seen = output.text().count('"node":"node1"')
    daemon.start()
    output.wait('"node":"node1"', seen + 1)
    output.end()
    for line in output.text().splitlines():
        assert line.startswith("error: ") or json.loads(line)["quorate"]


@pytest.mark.parametrize("command", [["status"], ["changes"], ["guests"], ["guests", "--node", "node1"], ["log"], ["log", "-f"], ["top"],
                                     ["verify"], ["locks"], ["versions"]])
def test_who_may_not_connect_is_told_who_may(live, command):
    """It is no daemon that does not answer."""
    done = live(*command, uid=NOBODY, gid=NOBODY, code=1)
    assert "permission denied" in done.stderr and "it talks to root, and to processes whose group is www-data" in done.stderr
    assert not done.stdout


@pytest.mark.parametrize("command, what", [(["status", "--watch=0.2"], rb"node1"), (["status", "-w", "0.2"], rb"node1"), (["status", "--watch"], rb"node1"),
                                           (["top", "-d", "0.2"], rb"operations a second")])
def test_q_ends_what_goes_on(daemon, command, what):
    terminal = Terminal(daemon, *command)
    terminal.wait(what, 1 if command[-1] == "--watch" else 3)
    terminal.press(b"xyz")
    terminal.press(b"q")
    assert terminal.wait_exit() == 0
    terminal.close()


@pytest.mark.parametrize("key, code", [(b"q", 0), (b"\x03", -signal.SIGINT)])
def test_the_terminal_is_left_as_it_was(daemon, key, code):
    """Also by who is interrupted."""
    terminal = Terminal(daemon, "status", "--watch=0.2")
    terminal.wait(rb"queues", 2)
    wait_for(lambda: not terminal.modes() & (termios.ICANON | termios.ECHO), "keys come one by one")
    terminal.press(key)
    assert terminal.wait_exit() == code
    assert terminal.modes() & termios.ICANON and terminal.modes() & termios.ECHO
    terminal.close()


def test_wrong_intervals(ctl):
    for words in (["--watch=0"], ["--watch=-1"], ["--watch", "9999"], ["--watch=x"], ["-w", "0.01"]):
        assert ctl("status", *words, code=2).stderr.startswith("error: ")


# log


def test_log_of_a_node(daemon, live):
    log_entry(daemon, "one")
    assert live("log", "--node", "node1", "-n", "1").stdout.endswith("one\n")
    assert json.loads(live("log", "--node", "node1", "-n", "1", "--json").stdout)["data"][0]["msg"] == "one"
    guest(daemon, "other", "lxc", 100)
    assert live("log", "--node", "other").stdout == ""


@pytest.mark.parametrize("number", ["0", "-3", "100001", "x"])
def test_log_of_no_number(ctl, number):
    assert ctl("log", "-n", number, code=2).stderr.startswith("error: ")


def test_log(daemon, live):
    log_entry(daemon, "one")
    log_entry(daemon, "two\nlines \033[31m")
    lines = live("log", "-n", "2").stdout.splitlines()
    assert [line.split("]: ")[1] for line in lines] == ["one", "two#010lines #027[31m"]
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d node1 root@pam test\[\d+\]: one$", lines[0])
    assert [entry["msg"] for entry in json.loads(live("log", "-n", "1", "--json").stdout)["data"]] == ["two#010lines #027[31m"]
    assert len(live("log", "--user", "nobody").stdout) == 0


def test_log_with_nuls(daemon, live):
    """\\u0000 stands for a NUL in an entry, which spoils neither what follows it nor the other entries."""
    log_entry(daemon, "before")
    log_entry(daemon, "a \\u0000 b \\u001b[31m\\u009b c", tag="t\\u0000\\u001bx")
    for arguments in ([], ["--node", "node1"], ["--user", "root@pam"]):
        lines = live("log", "-n", "2", *arguments).stdout.splitlines()
        assert lines[0].endswith("]: before")
        assert re.search(r" root@pam t\?\?x\[\d+\]: a \? b \?\[31m\? c$", lines[1]), lines[1]
    entries = json.loads(live("--json", "log", "-n", "2").stdout)["data"]
    assert (entries[0]["msg"], entries[0]["tag"]) == ("a \0 b \033[31m\x9b c", "t\0\033x")
    assert entries[1]["msg"] == "before"
    output = Output(daemon, "log", "-f", "-n", "1", "--json")
    output.wait("u0000 b")
    log_entry(daemon, "after")
    output.wait("after")
    output.end()


def test_log_follow(daemon):
    log_entry(daemon, "before one")
    log_entry(daemon, "before two")
    output = Output(daemon, "log", "-f", "-n", "1")
    output.wait("before two")
    log_entry(daemon, "after one")
    output.wait("after one")
    # What comes in a burst comes once, and all of it.
    for number in range(60):
        log_entry(daemon, "many %d." % number)
    output.wait("many 59.")
    assert "before one" not in output.text()
    assert [output.text().count("many %d." % number) for number in range(60)] == [1] * 60
    daemon.restart()
    log_entry(daemon, "after the restart")
    output.wait("after the restart")
    output.end()
    assert output.text().count("after one") == 1


# locks, top, verify


def test_locks(daemon, live):
    assert live("locks").stdout == "no locks\n"
    daemon.os.makedirs(daemon / "priv/lock/one")
    assert re.match(r"priv/lock/one +node1 +\d+ s  held     process \d+ \(python3[\w.]*\)\n$", live("locks").stdout)
    (lock,) = json.loads(live("locks", "--json").stdout)
    assert (lock["path"], lock["node"], lock["expired"]) == ("priv/lock/one", "node1", False)
    daemon.restart("--lock-lifetime", "0.01")
    wait_for(lambda: "expired" in live("locks").stdout, "the lock expires")


def test_the_holder_of_a_lock_outlives_its_thread(daemon, live):
    daemon.os.makedirs(daemon / "priv/lock")
    worker = daemon.worker()
    code = "import threading\nthread = threading.Thread(target=os.mkdir, args=(path,))\nthread.start()\nthread.join()\nresult = (os.getpid(), thread.native_id)"
    process, thread = worker.execute(code, {"path": daemon / "priv/lock/job"})
    wait_for(lambda: daemon.run(["test", "-e", "/proc/%d" % thread]).returncode != 0, "the thread has ended")
    assert " held     process %d (python3" % process in live("locks").stdout
    (lock,) = json.loads(live("locks", "--json").stdout)
    assert lock["holder"]["pid"] == process and lock["holder"]["alive"]
    worker.close()
    wait_for(lambda: "process %d, which has ended" % process in live("locks").stdout, "it has ended")


@pytest.fixture
def expired(make_daemon):
    """A daemon with two locks that have expired."""
    daemon = make_daemon(options=["--lock-lifetime", "0.01"]).start()
    for name in ("one", "two"):
        daemon.os.makedirs(daemon / ("priv/lock/" + name))
    return daemon


def break_locks(daemon, *arguments, code=0):
    done = daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, "locks", "break", *arguments])
    assert done.returncode == code, "%d: %s%s" % (done.returncode, done.stdout, done.stderr)
    return done


def locks_of(daemon):
    return json.loads(daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, "locks", "--json"], check=True).stdout)


def test_break_of_expired_locks(expired):
    wait_for(lambda: all(lock["expired"] for lock in locks_of(expired)), "both have expired")
    assert re.match(r"broken: priv/lock/two, of node1, \d+ s old\n$", break_locks(expired, "--expired", "two").stdout)
    assert expired.os.listdir(expired / "priv/lock") == ["one"]
    (told,) = json.loads(break_locks(expired, "--expired", "--json").stdout)
    assert (told["path"], told["node"], told["broken"]) == ("priv/lock/one", "node1", True)
    assert expired.os.listdir(expired / "priv/lock") == []
    assert break_locks(expired, "--expired").stdout == "no lock has expired\n"
    assert json.loads(break_locks(expired, "--expired", "--json").stdout) == []


def test_held_locks_are_not_broken(daemon, live):
    daemon.os.makedirs(daemon / "priv/lock/held")
    assert live("locks", "break", "--expired").stdout == "no lock has expired\n"
    for name in ("held", "priv/lock/held"):
        assert "priv/lock/held has not expired: node1 holds it" in live("locks", "break", "--expired", name, code=1).stderr
    assert "no lock is called 'priv/lock/hled'; did you mean 'priv/lock/held'?" in live("locks", "break", "--expired", "hled", code=1).stderr
    assert "say so with --expired" in live("locks", "break", code=2).stderr
    assert "did you mean 'locks break'?" in live("locks", "brek", code=2).stderr
    assert daemon.os.listdir(daemon / "priv/lock") == ["held"]
    assert "root alone" in live("locks", "break", "--expired", uid=GROUP_ID, gid=GROUP_ID, code=1).stderr


def test_top(daemon):
    output = Output(daemon, "top", "-d", "0.3", "--json")
    output.wait("rows")
    worker = daemon.worker()
    for _ in range(20):
        worker.write_file(daemon / "busy", b"x")

    def answers():
        """Of the lines that are whole."""
        return [json.loads(line) for line in output.text().rpartition("\n")[0].splitlines()]

    def rows():
        return [row for answer in answers() for row in answer["rows"] if (row["path"], row["operation"]) == ("busy", "write")]

    # They may be spread over several looks.
    wait_for(lambda: sum(row["count"] for row in rows()) >= 20, "all writes are shown")
    output.end()
    assert sum(row["count"] for row in rows()) == 20
    assert all(row["command"].startswith("python") for row in rows())
    assert all(answer["milliseconds"] >= 250 for answer in answers())


def test_top_as_a_table(daemon, live):
    worker = daemon.worker()
    pending = worker.start("execute", "while not os.path.exists(stop):\n    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))\n",
                           {"path": daemon / "loop", "stop": daemon.directory + "/stop"})
    text = live("top", "-d", "1", "-n", "1", "-r", "3").stdout
    open(daemon.directory + "/stop", "w").close()
    pending.result()
    assert re.search(r"^ +\d+\.\d  \w+ +\d+  python\S* +loop$", text, re.MULTILINE), text
    assert len(text.splitlines()) <= 8


def test_verify_needs_a_cluster(live):
    assert "local mode" in live("verify", code=1).stderr


# guests


def test_guests(daemon, live):
    guest(daemon, "node1", "lxc", 100)
    guest(daemon, "node2", "qemu-server", 101)
    assert len(live("guests").stdout.splitlines()) == 2
    assert live("guests", "--node", "node2").stdout.split() == ["101", "qemu", "node2"]
    whole = json.loads(live("guests", "--json").stdout)
    assert set(whole["ids"]) == {"100", "101"}
    # The same shape, whatever is chosen.
    chosen = json.loads(live("guests", "--node", "node2", "--json").stdout)
    assert chosen == {"version": whole["version"], "ids": {"101": whole["ids"]["101"]}, "deleted": []}


def test_no_guests(live):
    assert live("guests").stdout.splitlines()[0] == "no guests"  # those that were deleted follow
    assert json.loads(live("guests", "--json").stdout)["ids"] == {}


def test_more_guests_than_a_reply_holds(make_daemon):
    """The guest list of 25 000 is over 1 MiB: it is read from the mount instead."""
    daemon = make_daemon()
    entries = [(2, 0, DIRECTORY, "nodes", None), (3, 2, DIRECTORY, "some-node-with-a-name", None),
               (4, 3, DIRECTORY, "qemu-server", None)]
    entries += [(5 + number, 4, FILE, "%d.conf" % (100000 + number), b"x") for number in range(25000)]
    make_database(daemon.database, entries)
    daemon.start()
    done = daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, "guests"])
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 25000, done.stderr


def test_move_of_guests(daemon, live):
    """In local mode: guests of a node that this one was once called."""
    for number, kind in ((103, "lxc"), (9, "qemu-server"), (20, "qemu-server")):
        guest(daemon, "old", kind, number)
    guest(daemon, "other", "lxc", 50)
    move = ["guests", "move", "--from", "old", "--to", "node1"]
    assert "nodes/node1/qemu-server is not there" in live(*move, code=1).stderr
    daemon.os.makedirs(daemon / "nodes/node1/qemu-server")
    daemon.os.makedirs(daemon / "nodes/node1/lxc")
    daemon.os.makedirs(daemon / "ha")
    daemon.os.write_file(daemon / "ha/resources.cfg", b"vm: 20\n\tstate started\n")
    dry = live(*move, "--dry-run").stdout.splitlines()
    assert [line.split()[:3] for line in dry] == [["would", "move", number] for number in ("9", "20", "103")]
    assert ["high availability" in line for line in dry] == [False, True, False]
    assert sorted(daemon.os.listdir(daemon / "nodes/old/qemu-server")) == ["20.conf", "9.conf"]
    told = json.loads(live(*move, "--json").stdout)
    assert [(one["id"], one["type"], one["moved"], one["managed"]) for one in told] == [
        (9, "qemu", True, False), (20, "qemu", True, True), (103, "lxc", True, False)]
    assert sorted(daemon.os.listdir(daemon / "nodes/node1/qemu-server")) == ["20.conf", "9.conf"]
    assert daemon.os.listdir(daemon / "nodes/node1/lxc") == ["103.conf"]
    assert live("guests", "--node", "other").stdout.split() == ["50", "lxc", "other"]
    assert live(*move).stdout == "old has no guests\n"


def test_move_is_refused(daemon, live):
    guest(daemon, "node1", "lxc", 100)
    guest(daemon, "old", "lxc", 101)
    daemon.os.makedirs(daemon / "nodes/old2")
    for source, target, words in (("node1", "old", "node1 is online"), ("old", "old2", "old2 is no node of this cluster"),
                                  ("old", "old", "both nodes are the same")):
        assert words in live("guests", "move", "--from", source, "--to", target, code=1).stderr
    assert daemon.os.listdir(daemon / "nodes/old/lxc") == ["101.conf"]


def test_move_stops_at_the_first_that_fails(daemon, live):
    """Those before it have moved, the rest stays, and that is told. Another mount in the way makes it fail."""
    guest(daemon, "old", "qemu-server", 200)
    guest(daemon, "old", "lxc", 201)
    guest(daemon, "old", "lxc", 202)
    daemon.os.makedirs(daemon / "nodes/node1/lxc")
    daemon.os.makedirs(daemon / "nodes/node1/qemu-server")
    daemon.run(["mount", "-t", "tmpfs", "tmpfs", daemon / "nodes/node1/lxc"], check=True)
    done = live("guests", "move", "--from", "old", "--to", "node1", code=1)
    daemon.run(["umount", daemon / "nodes/node1/lxc"], check=True)
    assert "moved        200" in done.stdout and "201" not in done.stdout
    assert "cannot move" in done.stderr and "moved 1 of 3 guests" in done.stderr
    assert daemon.os.listdir(daemon / "nodes/node1/qemu-server") == ["200.conf"]
    assert sorted(daemon.os.listdir(daemon / "nodes/old/lxc")) == ["201.conf", "202.conf"]


def test_a_dry_run_fails_as_the_move_would(daemon, live):
    """Who may read may not write."""
    guest(daemon, "old", "lxc", 101)
    daemon.os.makedirs(daemon / "nodes/node1/lxc")
    move = ["guests", "move", "--from", "old", "--to", "node1"]
    for command in ([*move, "--dry-run"], [*move, "--dry-run", "--json"], move):
        done = live(*command, uid=GROUP_ID, gid=GROUP_ID, code=1)
        assert "this user cannot move files in /mnt/pve/nodes/old/lxc: Permission denied" in done.stderr and not done.stdout
    assert "would move" in live(*move, "--dry-run").stdout
    assert daemon.os.listdir(daemon / "nodes/old/lxc") == ["101.conf"]
