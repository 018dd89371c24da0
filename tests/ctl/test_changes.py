# SPDX-License-Identifier: GPL-3.0-or-later
"""pmxcfsctl changes: by path, for people, for a command of the shell, and over restarts of the daemon."""

import json
import os
import re

import pytest
from harness import wait_for
from running import Output


def write(daemon, path, data=b"x"):
    daemon.os.makedirs(os.path.dirname(daemon / path), exist_ok=True)
    daemon.os.write_file(daemon / path, data)


def version(daemon):
    return daemon.os.read_file(daemon / ".metrics") and int(re.search(rb'pmxcfs_version{of="tree"} (\d+)', daemon.os.read_file(daemon / ".metrics")).group(1))


def follow(daemon, *arguments):
    """From the first change of this daemon on, so that nobody has to wait until it listens."""
    return Output(daemon, "changes", "--since", "1", *arguments)


def lines(output):
    return [json.loads(line) for line in output.text().splitlines() if line.startswith("{")]


def test_path(daemon):
    """Of several patterns; a rename by both its names; and what is not told by path."""
    write(daemon, "firewall/cluster.fw")
    write(daemon, "storage.cfg")
    write(daemon, "nodes/node1/lxc/100.conf")
    daemon.os.rename(daemon / "storage.cfg", daemon / "firewall/x")
    write(daemon, "end")
    output = follow(daemon, "--path", "firewall/*", "--path=*.conf", "-p", "end")
    output.wait('"path":"end"', 2)
    told = lines(output)
    assert {one["path"] for one in told} == {"firewall/cluster.fw", "nodes/node1/lxc/100.conf", "storage.cfg", "end"}
    assert [one["operation"] for one in told if one["path"] == "storage.cfg"] == ["rename"]
    output.end()


def test_pretty(daemon):
    write(daemon, "storage.cfg", b"x" * 2048)
    daemon.os.rename(daemon / "storage.cfg", daemon / "other\n.cfg")
    output = follow(daemon, "--pretty")
    output.wait("rename")
    shown = [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", "", line) for line in output.text().splitlines()]
    assert shown[-3:] == ["node1         create  storage.cfg", "node1         write   storage.cfg  (2.0 KiB)", "node1         rename  storage.cfg -> other?.cfg"]
    output.end()


def test_exec(daemon):
    """One after the other, with the fields in the environment and the line on standard input; a failure is told, and the next one called."""
    log = os.path.join(daemon.directory, "called")
    write(daemon, "a file")
    write(daemon, "end")
    output = follow(daemon, "--exec", 'echo "$PMXCFS_OPERATION $PMXCFS_PATH $PMXCFS_NODE $PMXCFS_SIZE ${PMXCFS_TARGET-none}" >>%s; cat >>%s; exit 3' % (log, log))
    wait_for(lambda: os.path.exists(log) and open(log).read().count("end") == 4, "it is called for each")
    with open(log) as file:
        text = file.read().splitlines()
    assert text[0::2] == ["create a file node1 0 none", "write a file node1 1 none", "create end node1 0 none", "write end node1 1 none"]
    assert [json.loads(line)["operation"] for line in text[1::2]] == ["create", "write"] * 2
    output.wait("ended with exit code 3", 4)
    output.end()


@pytest.mark.parametrize("stop", ["stop", "kill"])
def test_over_a_restart(daemon, stop):
    """Nothing twice, and what was made meanwhile is told, or counted."""
    write(daemon, "one")
    output = follow(daemon)
    output.wait('"path":"one"', 2)
    getattr(daemon, stop)()
    output.wait("waiting for the daemon")
    daemon.start()
    write(daemon, "two")
    output.wait('"path":"two"', 2)
    told = lines(output)
    assert [one["path"] for one in told] == ["one", "one", "two", "two"]
    assert [one["version"] for one in told] == sorted({one["version"] for one in told})
    output.end()


def test_what_was_made_between_two_daemons(daemon):
    """One that starts and is asked later has forgotten what was there before it."""
    write(daemon, "one")
    output = Output(daemon, "changes", "--since", str(version(daemon)))
    write(daemon, "two")
    output.wait('"path":"two"', 2)
    before = lines(output)[-1]["version"]
    daemon.namespace.kill(output.pid, 19)  # SIGSTOP: it does not see what follows
    daemon.stop()
    daemon.start()
    write(daemon, "three")
    daemon.stop()
    daemon.start()
    daemon.namespace.kill(output.pid, 18)
    output.wait('"operation":"missed"')
    write(daemon, "four")
    output.wait('"path":"four"', 2)
    missed = [one["count"] for one in lines(output) if one["operation"] == "missed"]
    assert missed and lines(output)[-1]["version"] == before + sum(missed) + 2
    output.end()


def test_an_older_database(daemon):
    """After a restore the versions are lower: it goes on with what comes."""
    for number in range(5):
        write(daemon, "file%d" % number)
    output = follow(daemon)
    output.wait('"path":"file4"', 2)
    daemon.stop()
    for suffix in ("", "-wal", "-shm", ".journal"):
        if os.path.exists(daemon.database + suffix):
            os.unlink(daemon.database + suffix)
    daemon.start()
    output.wait("the file system is an older one")
    write(daemon, "new")
    output.wait('"path":"new"', 1)
    output.end()


@pytest.mark.parametrize("arguments", [["--pretty", "--json"], ["--pretty", "--exec", "true"], ["--since", "x"], ["x"]])
def test_wrong_use(ctl, arguments):
    assert ctl("changes", *arguments, code=2).stderr.startswith("error: ")
