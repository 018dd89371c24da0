# SPDX-License-Identifier: GPL-3.0-or-later
"""Completion in bash and zsh: what the tool offers, that it offers all it has, and both shells at a terminal."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time

import pytest
from harness import BUILD_DIR, PATIENCE, SOURCE_DIR
from running import guest

PMXCFSCTL = os.path.join(BUILD_DIR, "src", "ctl", "pmxcfsctl")
DIST = os.path.join(SOURCE_DIR, "dist")


def offered(ctl, *words):
    return [line.split("\t")[0] for line in ctl("--complete", *words).stdout.splitlines()]


def commands(ctl):
    return re.findall(r"^  ([a-z]+(?: [a-z]+)?) ", ctl("--help").stdout, re.MULTILINE)


def test_all_commands_and_options_are_offered(ctl):
    found = commands(ctl)
    assert len(found) > 10 and "guests move" in found
    for command in found:
        words = command.split()
        for number in range(len(words)):
            assert words[number] in offered(ctl, *words[:number], "")
        options = set(re.findall(r"^  (?:-\w, )?(--[\w-]+)", ctl(*words, "--help").stdout, re.MULTILINE)) - {"--help-all"}
        assert options <= set(offered(ctl, *words, "--")), command
    for line in ctl("--complete", "").stdout.splitlines():
        assert re.fullmatch(r"\w+\t\S.*", line)


def test_what_is_begun_narrows_it(ctl):
    assert offered(ctl, "st") == ["status"]
    assert offered(ctl, "--json", "verif") == ["verify"]
    assert offered(ctl, "--socket-name", "x", "verif") == ["verify"]
    assert offered(ctl, "--socket-name", "") == []
    assert offered(ctl, "log", "--f") == ["--follow"]
    assert offered(ctl, "log", "-n", "") == []
    assert offered(ctl, "db", "check", "") == [":files"]
    assert offered(ctl, "db", "check", "--repair", "") == [":files"]
    assert offered(ctl, "nonsense", "") == []
    assert offered(ctl, "help", "memb") == ["members"] and offered(ctl, "help", "db", "chec") == ["check"]
    assert "status" in offered(ctl, "help", "") and "move" in offered(ctl, "help", "guests", "")
    # A "=" as zsh gives it, in the word, and as bash does, alone.
    assert offered(ctl, "--socket-name=x", "verif") == offered(ctl, "--socket-name", "=", "x", "verif") == ["verify"]
    assert offered(ctl, "db", "check", "--repair", "=", "") == offered(ctl, "db", "check", "--repair", "=") == [":files"]


def test_names_of_nodes(ctl, daemon):
    done = daemon.run([PMXCFSCTL, "--complete", "--socket-name", daemon.socket_name, "guests", "--node", ""])
    assert done.stdout == "node1\tthis node\n"
    assert offered(ctl, "--socket-name", "nobody-is-called-so", "guests", "--node", "") == []


def test_names_of_nodes_that_are_gone(daemon):
    """Whose guests are to be moved; and the guests."""
    guest(daemon, "old", "lxc", 100)
    guest(daemon, "node1", "lxc", 101)

    def lines(*words, environment=()):
        return daemon.run(["env", *environment, PMXCFSCTL, "--complete", *words]).stdout.splitlines()

    name = daemon.socket_name
    both = ["node1\tthis node", "old\tno member"]
    assert lines("--socket-name", name, "guests", "move", "--from", "") == both
    assert lines("guests", "move", "--socket-name=" + name, "--to", "") == both
    assert lines("guests", "move", "--from", "", environment=["PMXCFS_SOCKET_NAME=" + name]) == both
    assert lines("--socket-name", "=", name, "guests", "move", "--from", "=", "o") == ["old\tno member"]
    assert lines("--socket-name=" + name, "guests", "move", "--from=o") == ["--from=old\tno member"]
    assert lines("--socket-name", name, "log", "--node", "n") == ["node1\tthis node"]
    assert lines("--socket-name", name, "guests", "1") == ["100\told", "101\tnode1"]


class Terminal:
    """A shell at a terminal of its own. A `pmxcfsctl` there completes, and else tells what it was called with."""

    def __init__(self, directory, argv):
        tool = os.path.join(directory, "pmxcfsctl")
        with open(tool, "w") as file:
            file.write("#!/bin/sh\n[ \"$1\" = --complete ] && exec %s \"$@\"\necho \"RAN<$*>\"\n" % PMXCFSCTL)
        os.chmod(tool, 0o755)
        environment = {"PATH": directory + ":/usr/bin:/bin", "TERM": "dumb", "HOME": directory, "PS1": "> ", "INPUTRC": "/dev/null"}
        self.output = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            os.execve(argv[0], argv, environment)

    def tell(self, text):
        os.write(self.fd, text.encode())

    def wait(self, pattern):
        """Waits until the shell has written that; the match."""
        end = time.monotonic() + PATIENCE
        while not re.search(pattern.encode(), self.output):
            assert time.monotonic() < end, self.output
            if select.select([self.fd], [], [], 0.1)[0]:
                self.output += os.read(self.fd, 65536)
        return re.search(pattern.encode(), self.output)

    def complete(self, text):
        """What the tool is called with when that line is completed and entered."""
        self.output = b""
        self.tell(text + "\t\n")
        return self.wait(r"RAN<([^>]*)>").group(1).decode().strip()

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def terminal(tmp_path):
    made = []

    def make(*argv):
        made.append(Terminal(str(tmp_path), argv))
        return made[-1]

    yield make
    for one in made:
        one.close()


def check_lines(shell, directory):
    (directory / "some-file").write_bytes(b"")
    assert shell.complete("pmxcfsctl st") == "status"
    assert shell.complete("pmxcfsctl guests mo") == "guests move"
    assert shell.complete("pmxcfsctl guests move --dry") == "guests move --dry-run"
    assert shell.complete("pmxcfsctl db check so") == "db check some-file"
    assert shell.complete("pmxcfsctl --socket-name=x st") == "--socket-name=x status"
    assert shell.complete("pmxcfsctl db check --repair=so") == "db check --repair=some-file"


def check_odd_names(shell, directory):
    """What the shell would take apart, or run, is one word, also if it is begun as the shell wants it."""
    with open(directory / "pmxcfsctl", "w") as tool:
        tool.write("""#!/bin/sh
name='odd name;$(reboot)'
[ "$1" != --complete ] || { case $name in "$3"*) printf '%s\\t\\n' "$name";; esac; exit; }
echo "RAN<$#:$2>"
""")
    assert shell.complete("pmxcfsctl show od") == "2:odd name;$(reboot)"
    assert shell.complete("pmxcfsctl show odd\\ na") == "2:odd name;$(reboot)"


def test_bash(terminal, tmp_path):
    shell = terminal("/bin/bash", "--norc", "--noprofile", "-i")
    shell.tell("bind 'set bell-style none'; . %s/pmxcfsctl.bash; echo rea''dy\n" % DIST)
    shell.wait("ready\r?\n")
    check_lines(shell, tmp_path)
    check_odd_names(shell, tmp_path)


def test_bash_loads_it_by_itself(terminal, tmp_path):
    """As installed: bash-completion finds it by its name."""
    if not os.path.exists("/usr/share/bash-completion/bash_completion"):
        pytest.skip("no bash-completion")
    (tmp_path / "completions").mkdir()
    shutil.copy(os.path.join(DIST, "pmxcfsctl.bash"), tmp_path / "completions/pmxcfsctl")
    shell = terminal("/bin/bash", "--norc", "--noprofile", "-i")
    shell.tell("BASH_COMPLETION_USER_DIR=%s; . /usr/share/bash-completion/bash_completion; echo rea''dy\n" % tmp_path)
    shell.wait("ready\r?\n")
    check_lines(shell, tmp_path)


def test_zsh(terminal, tmp_path):
    zsh = shutil.which("zsh")
    if not zsh:
        pytest.skip("no zsh")
    subprocess.run([zsh, "-n", os.path.join(DIST, "_pmxcfsctl")], check=True)
    shell = terminal(zsh, "-f", "-i")
    shell.tell("fpath=(%s $fpath); autoload -Uz compinit; compinit -u -D; echo rea''dy\n" % DIST)
    shell.wait("ready\r?\n")
    check_lines(shell, tmp_path)
    check_odd_names(shell, tmp_path)


def test_what_the_history_knows(daemon):
    """Paths, deleted ones too, users, and words for moments."""

    def lines(*words):
        return daemon.run([PMXCFSCTL, "--complete", "--socket-name", daemon.socket_name, *words]).stdout.splitlines()

    daemon.os.write_file(daemon / "storage.cfg", b"x")
    daemon.os.write_file(daemon / "gone.cfg", b"x")
    daemon.os.unlink(daemon / "gone.cfg")
    assert daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, "history"]).returncode == 0  # all is written down
    for command in ("show", "diff", "blame", "history"):
        assert lines(command, "sto") == ["storage.cfg\t"] and lines(command, "gon") == ["gone.cfg\tdeleted"]
    assert lines("audit", "--path", "sto") == ["storage.cfg\t"]
    assert lines("audit", "--user", "ro") == ["root\tchanged something here"]
    assert lines("export", "--at", "yes") == lines("history", "--since", "yes") == ["yesterday\tits beginning"]
    assert lines("export", "") == [":files"]
    daemon.os.write_file(daemon / "odd\n\033[31m", b"x")
    daemon.os.write_file(daemon / "odd name", b"x")
    assert daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, "history"]).returncode == 0
    assert lines("show", "odd") == ["odd name\t"]
