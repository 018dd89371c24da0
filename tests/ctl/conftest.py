# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for tests of pmxcfsctl."""

import os
import subprocess

import pytest
from harness import BUILD_DIR

PMXCFSCTL = os.path.join(BUILD_DIR, "src", "ctl", "pmxcfsctl")


# Those whose pmxcfsctl reads files that may be from anywhere.
LEAKS = ("test_db_check", "test_db_files", "test_journal", "test_kept", "test_left_beside", "test_restore")


@pytest.fixture(scope="module", autouse=True)
def leaks(request):
    """Elsewhere pmxcfsctl does not look for its leaks, which is half of what a short command costs; daemons do
    (Daemon.environment)."""
    before = os.environ.get("ASAN_OPTIONS")
    if os.path.splitext(os.path.basename(str(request.path)))[0] not in LEAKS:
        os.environ["ASAN_OPTIONS"] = ":".join(filter(None, [before, "detect_leaks=0"]))
    yield
    if before is None:
        os.environ.pop("ASAN_OPTIONS", None)
    else:
        os.environ["ASAN_OPTIONS"] = before


@pytest.fixture
def ctl():
    """ctl("db", "check", ..., code=4): runs pmxcfsctl, which must end with that exit code (0; None: any that is no crash):
    a CompletedProcess."""

    def run(*arguments, code=0, **keywords):
        done = subprocess.run([PMXCFSCTL, *map(str, arguments)], capture_output=True, text=True, errors="surrogateescape", **keywords)
        assert done.returncode == code or (code is None and 0 <= done.returncode <= 4), "%d: %s%s" % (done.returncode, done.stdout, done.stderr)
        return done

    return run


@pytest.fixture
def live(daemon):
    """live("status", code=0, uid=...): runs pmxcfsctl beside `daemon`, which must end with that exit code."""

    def run(*arguments, code=0, uid=None, gid=None, environment=None):
        command = ["env", *(environment or []), PMXCFSCTL, "--socket-name", daemon.socket_name, *arguments]
        done = daemon.run(command, uid=uid, gid=gid)
        assert done.returncode == code, "%d: %s%s" % (done.returncode, done.stdout, done.stderr)
        return done

    return run
