# SPDX-License-Identifier: GPL-3.0-or-later
"""scripts/cluster-demo.sh: what it shows is a cluster, and it leaves nothing behind."""

import os
import signal
import subprocess

import pytest

from harness import BUILD_DIR, PATIENCE, SOURCE_DIR, wait_for
from harness import cluster as clusters

SCRIPT = os.path.join(SOURCE_DIR, "scripts", "cluster-demo.sh")


@pytest.fixture
def demo(possible):
    """Starts the script; it must be gone at the end of the test."""
    if clusters.missing():
        pytest.skip(clusters.missing())
    started = []

    def start(*arguments):
        process = subprocess.Popen([SCRIPT, *arguments], env=dict(os.environ, BUILD_DIR=BUILD_DIR), text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   start_new_session=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def processes_with(text):
    """Command lines of processes that have that text in them."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as file:
                line = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found.append(line)
    return found


def test_nodes_share_what_is_written(demo):
    command = """
        node1 sh -c 'echo hello >note' && node2 sh -c 'until cat note 2>/dev/null; do :; done' && node2 pmxcfsctl members
        dirname "$(command -v node1)"
        exit 7"""
    process = demo("2", "--run", command)
    output, errors = process.communicate(timeout=3 * PATIENCE)
    assert process.returncode == 7, errors
    lines = output.splitlines()
    assert lines[0] == "hello"
    assert lines[1] == "cluster demo, quorate"
    assert not os.path.exists(lines[-1])
    assert not processes_with(os.path.dirname(lines[-1]))


def test_an_interrupt_takes_everything_away(demo):
    process = demo("1")
    lines = iter(process.stdout.readline, "")
    entry = next(line for line in lines if "/bin/node1" in line).split()[0]
    assert next(line for line in lines if "Ctrl-C" in line)
    directory = os.path.dirname(os.path.dirname(entry))
    assert processes_with(directory)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert not os.path.exists(directory)
    wait_for(lambda: not processes_with(directory), "no process is left")


@pytest.mark.parametrize("bad", [["0"], ["many"], ["--nonsense"]])
def test_wrong_use(demo, bad):
    process = demo(*bad)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
