# SPDX-License-Identifier: GPL-3.0-or-later
"""pmxcfsctl try: a command whose changes undo themselves unless they are confirmed."""

import contextlib
import json
import os
import pty
import re
import shlex
import signal
import sqlite3
import termios
import time

import pytest
from conftest import PMXCFSCTL
from harness import wait_for
from harness.history import let_pass
from running import Output
from running import Terminal as OuterTerminal

# As editors do it: a temporary file that is renamed over the other.
EDIT = 'echo new > "$1.tmp.1" && mv "$1.tmp.1" "$1"'


class Terminal(OuterTerminal):
    """One that the command can be given."""

    session = ("setsid", "--ctty", "--wait")


class Shell(OuterTerminal):
    """A shell with job control at a terminal, as people have it. What it says ends with "$ "."""

    def __init__(self, daemon):
        command = [*daemon.namespace.enter(), "setsid", "--ctty", "--wait", "env", "--default-signal=INT", "PS1=$ ", "TERM=dumb", "bash", "--norc", "--noediting", "-i"]
        self.output = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)
        self.wait(rb"\$ $")

    def run(self, *words):
        self.press(shlex.join(map(str, words)).encode() + b"\n")

    def echoes(self):
        return bool(self.modes() & termios.ECHO)


@pytest.fixture
def file(daemon):
    """A file of the tree that says "old"."""
    daemon.os.makedirs(daemon / "firewall")
    daemon.os.write_file(daemon / "firewall/cluster.fw", b"old\n")
    return daemon / "firewall/cluster.fw"


def content(daemon, file):
    return daemon.os.read_file(file).decode().strip()


def edit(file, script=EDIT):
    """By bash: dash loses an interrupt, and stops by half, if a key is pressed between its vfork() and the program that it starts."""
    return ["--", "bash", "-c", script, "edit", str(file)]


def run(daemon, *arguments, code=0):
    """pmxcfsctl, as its exit code and its JSON."""
    done = daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, "--json", *arguments])
    assert done.returncode == code, done
    return json.loads(done.stdout) if done.stdout else None


def trials(daemon):
    return run(daemon, "try", "--list")


def wait_until_over(daemon, number):
    wait_for(lambda: number not in [one["id"] for one in trials(daemon)], "trial %d is over" % number)


def test_it_is_undone(daemon, file):
    """By the daemon, at its time; what somebody else changed meanwhile, elsewhere, stays."""
    told = run(daemon, "try", "--for", "12s", *edit(file))
    assert told["result"] == "waiting" and told["deadline"] <= time.time() + 12
    assert told["changed"] == [{"path": "firewall/cluster.fw", "operation": "write", "kept": True}]
    daemon.os.write_file(daemon / "other", b"x")
    assert content(daemon, file) == "new"
    waiting = trials(daemon)
    assert [(one["id"], one["ended"]) for one in waiting] == [(told["id"], True)] and "bash -c echo new" in waiting[0]["command"]
    wait_until_over(daemon, told["id"])
    assert time.time() >= told["deadline"]
    assert content(daemon, file) == "old" and daemon.os.read_file(daemon / "other") == b"x"


def test_confirm_keeps_it(daemon, live, file):
    done = live("try", "--for", "1h", *edit(file))
    assert "changed:\n  write    firewall/cluster.fw\n" in done.stdout and "pmxcfsctl confirm 1' is said until" in done.stdout
    assert re.search(r"  (59 min \d+ s|1 h 0 min) +ended  bash -c echo new", live("try", "--list").stdout)
    assert "what was changed stays" in live("confirm").stdout
    assert content(daemon, file) == "new" and trials(daemon) == []
    assert "there are no trials" in live("try", "--list").stdout
    assert "no trial that waits" in live("confirm", code=1).stderr and "no trial 1" in live("confirm", "1", code=1).stderr


def test_abort_undoes_it_at_once(daemon, live, file):
    told = run(daemon, "try", "--for", "1h", *edit(file))
    assert "as it was before" in live("try", "--abort", str(told["id"])).stdout
    assert content(daemon, file) == "old" and trials(daemon) == []


def test_two_at_once(daemon, live, file):
    """Each has its own changes, and they have to be named."""
    first = run(daemon, "try", *edit(file))["id"]
    second = run(daemon, "try", *edit(daemon / "storage.cfg"))["id"]
    assert "several trials: which one?" in live("confirm", code=1).stderr
    assert "several trials" in live("try", "--abort", code=1).stderr
    offered = daemon.run([PMXCFSCTL, "--complete", "--socket-name", daemon.socket_name, "confirm", ""]).stdout.splitlines()
    assert [line.split("\t")[0] for line in offered] == [str(first), str(second)]
    assert run(daemon, "try", "--abort", str(first)) == {"id": first, "result": "reverted"}
    assert run(daemon, "confirm", str(second)) == {"id": second, "result": "confirmed"}
    assert content(daemon, file) == "old" and content(daemon, daemon / "storage.cfg") == "new"


def test_a_command_that_fails(daemon, live, file):
    """What it had changed by then is brought back, and the terminal's user hears why."""
    done = live("try", *edit(file, EDIT + "; exit 3"), code=1)
    assert "ended with exit code 3" in done.stderr and "as it was before" in done.stdout
    assert content(daemon, file) == "old" and trials(daemon) == []
    live("try", *edit(file, EDIT + "\n# \033[31mstopped\nexit 3"), code=1)
    assert re.search(r"try \d+ \(bash -c .*\?# \?\[31mstopped\?exit 3 edit .*\) was not confirmed", daemon.log_text())
    assert "cannot run no-such-command" in live("try", "--", "no-such-command", code=1).stderr
    assert "signal 15" in live("try", "--", "sh", "-c", "kill $$", code=1).stderr


def test_a_command_that_changes_nothing(daemon, live):
    assert live("try", "--", "true").stdout == "the command changed nothing\n"
    assert run(daemon, "try", "--", "true")["result"] == "unchanged" and trials(daemon) == []


def test_what_cannot_be_brought_back(daemon, live, file):
    """Of private files the history has no content: that is said when it is known, and again when it counts."""
    secret = daemon / "priv/secret"
    daemon.os.makedirs(daemon / "priv")
    daemon.os.write_file(secret, b"old")
    shown = live("try", *edit(file, EDIT + "; echo new > %s" % secret)).stdout
    assert "priv/secret  (cannot be brought back" in shown and "cluster.fw\n" in shown
    assert "priv/secret could not be brought back" in live("try", "--abort", code=1).stderr
    assert content(daemon, file) == "old" and content(daemon, secret) == "new"


def test_nothing_is_brought_back_by_half(daemon, live, file):
    """The public half of a pair whose private one is not kept stays; that, too, is said twice."""
    public, secret = daemon / "authkey.pub", daemon / "priv/authkey.key"
    daemon.os.makedirs(daemon / "priv")
    daemon.os.write_file(public, b"old")
    daemon.os.write_file(secret, b"old")
    shown = live("try", *edit(file, EDIT + "; echo new > %s; echo new > %s" % (secret, public))).stdout
    assert "authkey.pub  (cannot be brought back: it belongs together with priv/authkey.key, of which that is so)" in shown
    assert "authkey.pub could not be brought back" in live("try", "--abort", code=1).stderr
    assert content(daemon, file) == "old" and content(daemon, public) == content(daemon, secret) == "new"
    assert "authkey.pub: stays, for it belongs together with priv/authkey.key" in daemon.log_text()


def test_only_what_the_command_changes(daemon, file):
    """But with --all whatever anybody changes on this node while it runs."""
    wait = 'touch "$2"; until [ -e "$3" ]; do sleep 0.05; done'

    def during(number, *options):
        begun, go = (os.path.join(daemon.directory, "%s-%d" % (name, number)) for name in ("begun", "go"))
        output = Output(daemon, "try", *options, *edit(file, EDIT + "; " + wait), begun, go)
        wait_for(lambda: os.path.exists(begun), "the command runs")
        daemon.os.write_file(daemon / "theirs", b"x")
        open(go, "w").close()
        output.wait("unless")
        output.end()
        run(daemon, "try", "--abort")
        assert content(daemon, file) == "old"
        return daemon.os.exists(daemon / "theirs")

    assert during(1)
    daemon.os.unlink(daemon / "theirs")
    assert not during(2, "--all")


def test_the_command_begins_when_the_trial_is_in_force(daemon, live, file):
    """Without a daemon, without a history or as another user it does not begin at all."""
    for arguments, code in ((["--socket-name", "nobody-is-called-so"], 3), ([], 1)):
        done = daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, *arguments, "try", *edit(file)], uid=None if arguments else 33, gid=None if arguments else 33)
        assert done.returncode == code, done
    assert content(daemon, file) == "old"


@contextlib.contextmanager
def unwritable_history(daemon):
    """Another program is in the midst of a change of history.db: readers go on. Until the daemon has found out."""
    other = sqlite3.connect(os.path.join(daemon.state_dir, "history.db"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()
    wait_for(lambda: "the history is written again" in daemon.log_text(), "it is written again")


def test_no_trial_without_a_history_that_is_written(daemon, file):
    """What is not written down when it begins would be called the command's: somebody's work would be lost with it."""
    with unwritable_history(daemon):
        daemon.os.write_file(file, b"middle\n")
        done = daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, "try", *edit(file)])
        assert done.returncode == 1 and "the history cannot be written" in done.stderr, done
        assert content(daemon, file) == "middle"
    wait_for(lambda: trials(daemon) == [], "nothing is left of it")


def test_a_history_that_is_not_written_when_the_command_ends(daemon, file):
    """What is not known to be nothing is not called so: it is brought back when it is known."""
    begun, go = (os.path.join(daemon.directory, name) for name in ("begun", "go"))
    wait = 'touch "$2"; until [ -e "$3" ]; do sleep 0.05; done; '
    output = Output(daemon, "try", "--for", "10s", *edit(file, wait + EDIT), begun, go)
    wait_for(lambda: os.path.exists(begun), "the command runs")
    with unwritable_history(daemon):
        open(go, "w").close()
        output.wait("the history cannot be written")
        (trial,) = trials(daemon)
        assert (trial["state"], trial["until"]) == ("waiting", 0) and content(daemon, file) == "new"
        wait_for(lambda: "cannot be brought back yet: the history cannot be written" in daemon.log_text(), "its time is over")
        assert content(daemon, file) == "new"
        assert "goes on trying" in daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, "try", "--abort"]).stderr
    wait_until_over(daemon, trial["id"])
    assert content(daemon, file) == "old"


def test_confirmed_between_attempts(daemon, live, file):
    with_history = run(daemon, "try", "--for", "1h", *edit(file))["id"]
    with unwritable_history(daemon):
        daemon.os.write_file(daemon / "other", b"x")
        run(daemon, "try", "--abort", code=1)
        wait_for(lambda: run_until_confirmed(daemon, with_history), "it can be confirmed")
    assert content(daemon, file) == "new" and trials(daemon) == []


def run_until_confirmed(daemon, number):
    """False while an attempt is under way."""
    done = daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, "confirm", str(number)])
    assert done.returncode == 0 or "is being brought back already" in done.stderr, done
    return done.returncode == 0


def test_something_in_the_way_of_one_path(daemon, live):
    """All else is brought back, once; which one is not is said, also to who aborts it, and later."""
    worker = daemon.os
    guest, moved = "nodes/node1/qemu-server/100.conf", "nodes/node2/qemu-server/100.conf"
    for path in (guest, moved):
        worker.makedirs(daemon / os.path.dirname(path), exist_ok=True)
    for path in ("datacenter.cfg", guest, "storage.cfg"):
        worker.write_file(daemon / path, b"old\n")
    script = 'cd "$1"; for file in datacenter.cfg storage.cfg %s; do echo new > $file; done' % guest
    number = run(daemon, "try", "--for", "1h", "--", "bash", "-c", script, "edit", str(daemon.mountpoint))["id"]
    worker.rename(daemon / guest, daemon / moved)
    assert guest + ": File exists; that is left as it is" in live("try", "--abort", code=1).stderr
    assert [content(daemon, daemon / path) for path in ("datacenter.cfg", moved, "storage.cfg")] == ["old", "new", "old"]
    assert "2 paths are as they were before; %s: File exists" % guest in daemon.log_text()
    assert re.search(r"failed +ended .*\(%s: File exists\)" % guest, live("try", "--list").stdout)
    worker.write_file(daemon / "datacenter.cfg", b"newer\n")
    assert guest in live("try", "--abort", code=1).stderr
    assert content(daemon, daemon / "datacenter.cfg") == "newer"
    daemon.kill()
    daemon.start()
    assert (content(daemon, daemon / "datacenter.cfg"), trials(daemon)) == ("newer", [])
    assert number == 1


def test_a_path_that_is_not_utf8(daemon, live):
    """What is said of it is in the list, and the list is whole."""
    daemon.run(["bash", "-c", 'cd "$1"; mkdir d$\'\\xff\'; echo old > d$\'\\xff\'/file; echo old > last', "sh", str(daemon.mountpoint)], check=True)
    script = 'cd "$1"; for file in d*/file last; do echo new > $file; done'
    number = run(daemon, "try", "--for", "1h", "--", "bash", "-c", script, "edit", str(daemon.mountpoint))["id"]
    daemon.run(["bash", "-c", 'rm -r "$1"/d*', "sh", str(daemon.mountpoint)], check=True)
    assert "/file: No such file or directory" in live("try", "--abort", code=1).stderr
    assert [one["id"] for one in trials(daemon)] == [number] and content(daemon, daemon / "last") == "old"
    live("confirm")
    assert trials(daemon) == []


def test_pmxcfsctl_is_killed_meanwhile(daemon, file):
    output = Output(daemon, "try", "--for", "12s", *edit(file, EDIT + "; sleep 60"))
    wait_for(lambda: content(daemon, file) == "new", "the command has changed it")
    output.end()
    wait_for(lambda: content(daemon, file) == "old", "it is brought back")
    wait_for(lambda: trials(daemon) == [], "the trial is over")


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_the_daemon_is_restarted_meanwhile(daemon, file, how):
    """What is left of its time passes."""
    run(daemon, "try", "--for", "1h", *edit(file))
    getattr(daemon, how)()
    let_pass(daemon.state_dir, 3599)
    daemon.start()
    wait_for(lambda: content(daemon, file) == "old", "it is brought back")
    wait_for(lambda: trials(daemon) == [], "the trial is over")


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_confirmed_after_a_restart(daemon, live, file, how):
    run(daemon, "try", "--for", "1h", *edit(file))
    getattr(daemon, how)()
    daemon.start()
    live("confirm")
    assert content(daemon, file) == "new" and trials(daemon) == []


@pytest.mark.parametrize("answer, left", [(b"y\n", "new"), (b"n\n", "old"), (b"what\ny\n", "new")])
def test_a_terminal_is_asked(daemon, file, answer, left):
    terminal = Terminal(daemon, "try", *edit(file))
    terminal.wait(rb"Keep it\? \[y/n\] \(within [45] min")
    terminal.press(answer)
    assert terminal.wait_exit() == 0
    terminal.close()
    assert (content(daemon, file), trials(daemon)) == (left, []), terminal.output


def test_the_command_has_the_terminal(daemon, file):
    """As an editor needs it; an interrupt is the command's."""
    terminal = Terminal(daemon, "try", *edit(file, EDIT + '; echo ready; read word; echo "said $word"'))
    terminal.wait(rb"ready")
    terminal.press(b"hello\n")
    terminal.wait(rb"said hello\r\n(?s:.*)Keep it")
    terminal.press(b"y\n")
    assert terminal.wait_exit() == 0
    terminal.close()
    terminal = Terminal(daemon, "try", *edit(file, "echo newer > $1; echo ready; read word"))
    terminal.wait(rb"ready")
    terminal.press(b"\x03")
    assert terminal.wait_exit() == 1
    assert b"ended by signal 2" in terminal.output and content(daemon, file) == "new"
    terminal.close()


def test_a_terminal_that_is_gone(daemon, file):
    terminal = Terminal(daemon, "try", "--for", "12s", *edit(file))
    terminal.wait(rb"Keep it")
    terminal.close()
    os.waitpid(terminal.pid, 0)
    assert content(daemon, file) == "new"
    wait_for(lambda: content(daemon, file) == "old", "it is brought back")


# As editors do it: modes of its own, also when it goes on; its process id is told.
EDITOR = ("set_modes() { stty -echo -icanon; }; trap set_modes CONT; set_modes; " + EDIT +
          "; echo process $$; until [ -e \"$2\" ]; do sleep 0.05; done; stty echo icanon; exit ${3:-0}")


def edit_at(shell, daemon, file, seconds, *code):
    """Begins an editor there; what lets it end."""
    go = os.path.join(daemon.directory, "go")
    shell.run(PMXCFSCTL, "--socket-name", daemon.socket_name, "try", "--for", seconds, *edit(file, EDITOR), go, *code)
    shell.wait(rb"process \d+\r\n")
    assert not shell.echoes() and content(daemon, file) == "new"
    return go


def stop(shell):
    """Presses Ctrl-Z; the shell has the terminal then, with its modes."""
    shell.press(b"\x1a")
    shell.wait(rb"Stopped(?s:.*)\$ $")
    assert shell.echoes()
    shell.press(b"echo $((6 * 7)) here; jobs\n")
    shell.wait(rb"42 here\r\n(?s:.*)Stopped(?s:.*)\$ $")


def runs(daemon, process):
    """Not one that has ended and is left to the namespace's first process."""
    try:
        return daemon.os.read_file("/proc/%s/stat" % process).rpartition(b")")[2].split()[0] != b"Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_ctrl_z(daemon, file):
    """As with other programs: command and pmxcfsctl stop and go on together, twice; the terminal is whose turn it is."""
    shell = Shell(daemon)
    go = edit_at(shell, daemon, file, "1h")
    for _ in range(2):
        stop(shell)
        assert [(one["ended"], one["state"]) for one in trials(daemon)] == [(False, "waiting")]
        shell.output = b""
        shell.run("fg")
        wait_for(lambda: not shell.echoes(), "the editor has its modes again")
    open(go, "w").close()
    shell.wait(rb"Keep it\?")
    assert shell.echoes()
    shell.press(b"y\n")
    shell.wait(rb"what was changed stays\r\n\$ $")
    assert (content(daemon, file), trials(daemon)) == ("new", [])
    shell.close()


def test_the_deadline_of_what_is_stopped(daemon, file):
    """It goes on; whoever comes back hears that the trial is over. The modes are restored if the command did not do well."""
    shell = Shell(daemon)
    go = edit_at(shell, daemon, file, "10s")
    stop(shell)
    wait_for(lambda: content(daemon, file) == "old" and trials(daemon) == [], "it is brought back")
    open(go, "w").close()
    shell.run("fg")
    shell.wait(rb"is over: its time has passed, or it was settled elsewhere\r\n\$ $")
    os.unlink(go)
    shell.output = b""
    edit_at(shell, daemon, file, "1h")
    shell.press(b"\x03")
    shell.wait(rb"ended by signal 2(?s:.*)as it was before\r\n\$ $")
    assert shell.echoes() and content(daemon, file) == "old"
    shell.close()


@pytest.mark.parametrize("stopped", [False, True])
def test_a_terminal_that_goes_away_under_an_editor(daemon, file, stopped):
    """All that ran there ends, and what was changed is brought back."""
    shell = Shell(daemon)
    edit_at(shell, daemon, file, "15s")
    process = re.search(rb"process (\d+)", shell.output).group(1).decode()
    if stopped:
        stop(shell)
    shell.close()
    os.waitpid(shell.pid, 0)
    wait_for(lambda: not runs(daemon, process), "the editor has ended")
    wait_for(lambda: content(daemon, file) == "old" and trials(daemon) == [], "it is brought back")


def test_a_shell_hangs_up(daemon, file):
    """It tells its jobs, and so pmxcfsctl; what that runs is a job of pmxcfsctl's."""
    shell = Shell(daemon)
    edit_at(shell, daemon, file, "1h")
    process = re.search(rb"process (\d+)", shell.output).group(1).decode()
    parent = daemon.os.read_file("/proc/%s/stat" % process).rpartition(b")")[2].split()[1]
    daemon.namespace.kill(int(parent), signal.SIGHUP)
    wait_for(lambda: not runs(daemon, process), "the editor has ended")
    shell.close()
    os.waitpid(shell.pid, 0)


def test_a_question_that_nobody_answers(daemon, file):
    terminal = Terminal(daemon, "try", "--for", "10s", *edit(file))
    assert terminal.wait_exit() == 1
    assert b"not confirmed in time" in terminal.output and content(daemon, file) == "old"
    terminal.close()


def test_what_is_wrong(live, daemon):
    for arguments in (["--for", "soon", "--", "true"], ["--for", "2d", "--", "true"], ["--for", "0s", "--", "true"], ["--list", "--abort"],
                      ["--abort", "1", "2"], []):
        assert "error: " in live("try", *arguments, code=2).stderr
    assert "no number of a trial" in live("confirm", "x", code=2).stderr
    assert trials(daemon) == []


def test_without_a_history(make_daemon):
    daemon = make_daemon(options=["--history-size=0"]).start()
    done = daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, "try", *edit(daemon / "file")])
    assert done.returncode == 1 and "writes no history" in done.stderr and not daemon.os.exists(daemon / "file")
