# SPDX-License-Identifier: GPL-3.0-or-later
"""The first commands of the README: scripts/cluster-demo.sh, what it shows is a cluster, and it leaves nothing behind;
and both it and scripts/quickstart.sh from a fresh clone."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time

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


def test_hints_are_seen_at_the_start_in_tmux(possible):
    """At a terminal, where tmux hides what was printed before it."""
    if clusters.missing() or not shutil.which("tmux"):
        pytest.skip(clusters.missing() or "no tmux")
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(SCRIPT, [SCRIPT, "1"], dict(os.environ, BUILD_DIR=BUILD_DIR, TERM="xterm"))
    output = b""
    try:
        end = time.monotonic() + 3 * PATIENCE
        while b"takes node1 off the network" not in output.partition(b"\x1b[?1049h")[2]:
            assert time.monotonic() < end, output
            if select.select([fd], [], [], 0.1)[0]:
                output += os.read(fd, 65536)
        os.write(fd, b"\x02&y")  # tmux: end the window
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, "the demo ends")
        os.close(fd)
    directory = re.search(rb"(/var/tmp/pmxcfs-demo-\w+)/bin/node1", output).group(1).decode()
    assert not os.path.exists(directory)
    wait_for(lambda: not processes_with(directory), "no process is left")


@pytest.fixture(scope="module")
def clone(possible, tmp_path_factory):
    """What somebody has who cloned the repository: what is committed here, nothing that was built."""
    directory = str(tmp_path_factory.mktemp("fresh") / "pmxcfs")
    trusted = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    subprocess.run(["git", "clone", "--quiet", SOURCE_DIR, directory], env=dict(os.environ, **trusted), check=True, capture_output=True)
    assert not [name for name in os.listdir(directory) if name.startswith("build")]
    return directory


BUILD_PATIENCE = 10 * PATIENCE


@pytest.mark.timeout(2 * BUILD_PATIENCE)
def test_cluster_demo_of_a_fresh_clone(clone):
    if clusters.missing():
        pytest.skip(clusters.missing())
    # Not optimized, which builds faster; the commands are the same.
    environment = dict({name: value for name, value in os.environ.items() if name != "BUILD_DIR"}, CFLAGS="-O0")
    done = subprocess.run([clone + "/scripts/cluster-demo.sh", "1", "--run", "node1 sh -c 'echo hello >note && pmxcfsctl members'"],
                          env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BUILD_PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cluster demo, quorate" in done.stdout
    assert not os.path.exists(clone + "/build/tests")


@pytest.mark.timeout(2 * BUILD_PATIENCE)
def test_quickstart_of_a_fresh_clone(clone, make_namespace, tmp_path):
    """And its end, as it is printed, from another directory."""
    namespace = make_namespace()
    place = str(tmp_path / "it's a place")
    script = clone + "/scripts/quickstart.sh"

    def run(*command):
        return namespace.run(command, timeout=BUILD_PATIENCE, cwd="/")

    def processes():
        return run("pgrep", "-x", "-r", "D,R,S", "pmxcfs").stdout.split()

    for _ in range(2):  # "Can be run again and again"
        done = run("env", "PMXCFS_QUICKSTART_DIR=" + place, script)
        assert done.returncode == 0, done.stdout + done.stderr
        assert '"200"' in done.stdout and "name: web" in done.stdout
        assert processes()
    assert "nothing of quickstart.sh runs in /var/tmp/pmxcfs-quickstart" in run(script, "stop").stdout
    assert processes()
    (stop,) = re.findall(r"^Stop: (.*?)  ", done.stdout, re.MULTILINE)
    ended = run("sh", "-c", stop)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
    assert not processes()
