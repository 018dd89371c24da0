# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for all tests that run a pmxcfs (doc/testing.md)."""

import json
import os
import stat
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import PMXCFS, Daemon, Namespace  # noqa: E402


def missing():
    """Why no daemon can be run here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    if not os.path.exists("/dev/fuse"):
        return "no /dev/fuse"
    if subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "true"], capture_output=True).returncode:
        return "no namespaces"
    return None


@pytest.fixture(scope="session")
def possible():
    """Skips where namespaces or FUSE cannot be had, and nowhere else."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    assert os.path.exists(PMXCFS), PMXCFS + " is not built (BUILD_DIR says where to look)"


def close_all(things):
    """Closes every one, also if some fail, and then fails with the first failure."""
    failures = []
    for thing in reversed(things):
        try:
            thing.close()
        except BaseException as error:
            failures.append(error)
    if failures:
        raise failures[0]


@pytest.fixture
def make_namespace(possible):
    """make_namespace(network=True ...): a Namespace that ends with the test."""
    made = []

    def make(**keywords):
        made.append(Namespace(**keywords))
        return made[-1]

    yield make
    close_all(made)


@pytest.fixture
def make_daemon(possible, make_namespace, tmp_path, request):
    """make_daemon(name ...): a Daemon (not started) that ends with the test: it must then stop with
    exit code 0, and no sanitizer may have complained."""
    made = []
    request.node.daemons = made

    def make(name="node1", directory=None, **keywords):
        made.append(Daemon(directory or tmp_path / name, name, **keywords))
        return made[-1]

    yield make
    close_all(made)


@pytest.fixture
def daemon(make_daemon):
    """A Daemon in local mode on an empty database, started."""
    return make_daemon().start()


class Reused:
    """A daemon that one test after the other gets as it was at its start: without files, values, graph data and log
    entries. One that cannot be brought back to that is replaced."""

    def __init__(self, factory):
        self.factory = factory
        self.daemon = None
        self.pid = None

    def get(self):
        if self.daemon and not self.is_as_new():
            self.drop()
        if not self.daemon:
            self.daemon = Daemon(self.factory.mktemp("reused"), "node1")
            self.daemon.start()
            self.pid = self.daemon.pid
        self.daemon.mark_log()
        return self.daemon

    def is_as_new(self):
        daemon = self.daemon
        # One that was started again may have other options.
        if daemon.pid is None or daemon.pid != self.pid or daemon.namespace.wait(daemon.pid, 0.001) is not None or daemon.os.busy:
            return False
        for name in daemon.os.listdir(daemon.mountpoint):
            path = daemon / name
            if stat.S_ISDIR(daemon.os.lstat(path).st_mode):
                daemon.os.shutil.rmtree(path)
            elif stat.S_ISREG(daemon.os.lstat(path).st_mode) and not name.startswith("."):
                daemon.os.unlink(path)
        shown = {name: daemon.os.read_file(daemon / name) for name in (".version", ".clusterlog", ".rrd")}
        values = json.loads(shown[".version"])["kvstore"].get("node1", {})
        return not values and len(json.loads(shown[".clusterlog"])["data"]) == 1 and not shown[".rrd"].strip(b"\0")

    def drop(self):
        daemon, self.daemon = self.daemon, None
        if daemon:
            daemon.close()


@pytest.fixture(scope="module")
def reused(possible, tmp_path_factory):
    holder = Reused(tmp_path_factory)
    yield holder
    holder.drop()


@pytest.fixture
def reused_daemon(reused, request):
    """As `daemon`, for tests that need none of their own: the module's, with nothing in it."""
    daemon = reused.get()
    request.node.daemons = [daemon]
    return daemon


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows what the daemons said with the report of a test that failed."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for daemon in getattr(item, "daemons", []):
            report.sections.append(("messages of " + daemon.name, daemon.log_text()[-10000:]))
