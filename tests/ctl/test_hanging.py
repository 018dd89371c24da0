# SPDX-License-Identifier: GPL-3.0-or-later
"""pmxcfsctl beside a daemon that runs and does not answer: it says so, and does not wait for ever."""

import json
import signal

import pytest
from conftest import PMXCFSCTL
from harness import PATIENCE, wait_for
from running import Output, log_entry

COMMANDS = [["status"], ["--json", "status"], ["log"], ["log", "-f"], ["log", "--node", "node1"], ["locks"], ["locks", "break", "--expired"], ["guests"],
            ["members"], ["versions"], ["top"], ["history"], ["audit"], ["show", "file"], ["revert", "file"], ["undelete", "file"], ["verify"], ["changes"],
            ["guests", "move", "--from", "a", "--to", "b"], ["try", "--list"], ["try", "--", "true"], ["confirm"], ["metrics"]]
WORDS = [["log", "--node", ""], ["locks", "break", ""], ["guests", ""], ["confirm", ""], ["show", ""], ["audit", "--user", ""]]


@pytest.fixture
def hang(daemon):
    """hang(): stops the daemon; it goes on when the test ends, if not before."""
    yield lambda: daemon.send_signal(signal.SIGSTOP)
    daemon.send_signal(signal.SIGCONT)


def run_all(daemon, commands):
    """All at once: each waits by itself. Pairs of exit code and what it wrote to stderr."""
    started = [daemon.namespace.popen(command, stdout=-1, stderr=-1, stdin=-3) for command in commands]
    results = []
    for process in started:
        errors = process.communicate(timeout=PATIENCE)[1].decode()
        results.append((process.returncode, errors))
    return results


def test_commands_end_and_work_again(daemon, hang):
    """Also those for which there is no room in front of the daemon. The feed of changes lasts, however long nothing comes."""
    feed, log = Output(daemon, "changes"), Output(daemon, "log", "-f")
    daemon.os.write_file(daemon / "file", b"x")
    wait_for(lambda: json.loads(daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, "--json", "status"]).stdout)["clients"]["subscribers"] == 1,
             "the feed is heard")
    log.wait("starting cluster log")
    hang()
    for words, (code, errors) in zip(COMMANDS, run_all(daemon, [[PMXCFSCTL, "--socket-name", daemon.socket_name, *words] for words in COMMANDS])):
        assert code == 3, (words, code, errors)
        if words != ["metrics"]:
            assert errors == "error: pmxcfs runs and does not answer at '%s': it hangs, or is stopped; see 'pmxcfsctl doctor'\n" % daemon.socket_name, words
    daemon.send_signal(signal.SIGCONT)
    for command in ("log", "locks", "history", "versions"):
        wait_for(lambda: daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, command]).returncode == 0, "%s works again" % command)
    daemon.os.write_file(daemon / "later", b"x")
    feed.wait('"path":"later"')
    assert "interrupted" not in feed.text()
    log_entry(daemon, "later")
    log.wait("]: later")
    feed.end()
    log.end()


def test_completion_waits_for_a_second(daemon, hang):
    """And not as long as commands do; tried again, since a busy machine may need longer itself."""
    hang()
    commands = [["timeout", "8", "env", "PMXCFS_SOCKET_NAME=" + daemon.socket_name, PMXCFSCTL, "--complete", *words] for words in WORDS]
    wait_for(lambda: {code for code, _ in run_all(daemon, commands)} == {0}, "all end in time")
