# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks in local mode: take, renew, ask for, expire (doc/filesystem.md, Locks)."""

import errno
import time
from contextlib import closing

import pytest

from harness import Daemon
from support import read_rows, refused

LIFETIME = 0.5


@pytest.fixture
def locks(shared):
    """A daemon whose locks last 120 s."""
    shared.os.makedirs(shared / "priv/lock", exist_ok=True)
    return shared


@pytest.fixture(scope="module")
def short_daemon(possible, tmp_path_factory):
    with closing(Daemon(tmp_path_factory.mktemp("short"), "node1", options=["--lock-lifetime", str(LIFETIME)])) as daemon:
        yield daemon.start()


@pytest.fixture
def short(short_daemon, request):
    """A daemon whose locks last LIFETIME seconds."""
    request.node.daemons = [short_daemon]
    short_daemon.os.makedirs(short_daemon / "priv/lock", exist_ok=True)
    return short_daemon


def ask(worker, path):
    """Asks for an expired lock: "held", "gone" (it was not there) or "deleted"."""
    try:
        worker.utime(path, (0, 0))
    except PermissionError:
        return "held"
    except FileNotFoundError:
        return "gone"
    assert not worker.exists(path)
    return "deleted"


def test_take_and_give_back(locks, second_process):
    path = locks / "priv/lock/one"
    for _ in range(3):
        locks.os.mkdir(path)
        with refused(errno.EEXIST):
            second_process.mkdir(path)
        assert ask(second_process, path) == "held"
        locks.os.rmdir(path)
        with refused(errno.ENOENT):
            second_process.rmdir(path)
        assert ask(second_process, path) == "gone"


def test_a_held_lock_stays(locks):
    path = locks / "priv/lock/held"
    locks.os.mkdir(path)
    before = read_rows(locks.database)
    for _ in range(5):
        with refused(errno.EACCES):
            locks.os.utime(path, (0, 0))
    assert locks.os.stat(path).st_mtime > 0
    assert read_rows(locks.database) == before, "asking changes nothing"


def test_renew(locks, second_process):
    path = locks / "priv/lock/renewed"
    locks.os.mkdir(path)
    taken = int(locks.os.stat(path).st_mtime)
    for later in (0, 1, 1, 100, 1000):
        locks.os.utime(path, (0, taken + later))
        assert second_process.stat(path).st_mtime == taken + later
    for older in (999, 0, -1):
        with refused(errno.EACCES):
            locks.os.utime(path, (0, taken + older))
    assert locks.os.stat(path).st_mtime == taken + 1000
    with refused(errno.EACCES):
        locks.os.utime(path)
    locks.os.rmdir(path)


def test_renew_with_the_time_now(locks):
    path = locks / "priv/lock/now"
    locks.os.mkdir(path)
    locks.os.utime(path)
    locks.run(["touch", path], check=True)
    assert abs(locks.os.stat(path).st_mtime - time.time()) < 60


def test_what_is_no_lock(locks, here):
    """Its time may be set as one likes."""
    locks.os.makedirs(locks / "priv/other/deep", exist_ok=True)
    locks.os.makedirs(here + "/priv/lock/name")
    for path in ("priv/lock", "priv/other", "priv/other/deep", "priv"):
        for seconds in (1000, 10, 0):
            locks.os.utime(locks / path, (0, seconds))
            assert locks.os.stat(locks / path).st_mtime == seconds
    locks.os.utime(here + "/priv/lock/name", (0, 5))
    locks.os.utime(here + "/priv/lock/name", (0, 0))
    assert locks.os.exists(here + "/priv/lock/name")


def test_a_lock_is_not_renamed(locks, here):
    path = locks / "priv/lock/fixed"
    locks.os.mkdir(path)
    locks.os.mkdir(here + "/directory")
    for target in (locks / "priv/lock/other", here + "/moved", locks / "moved-lock"):
        with refused(errno.EACCES):
            locks.os.rename(path, target)
        assert not locks.os.exists(target)
    with refused(errno.EACCES):
        locks.os.rename(here + "/directory", path)
    assert locks.os.exists(path) and locks.os.exists(here + "/directory")


def test_a_directory_that_is_renamed_there_is_a_lock(short):
    path = short / "priv/lock/renamed"
    short.os.mkdir(short / "empty")
    short.os.rename(short / "empty", path)
    with refused(errno.EACCES):
        short.os.rename(path, short / "back")
    short.os.wait_for(lambda worker: ask(worker, path) == "deleted", "it expires")


def test_an_expired_lock_is_deleted(short):
    """By whoever asks first, and only for who asks; never before its time."""
    path = short / "priv/lock/expires"
    for _ in range(3):
        started = time.monotonic()
        short.os.mkdir(path)
        short.os.wait_for(lambda worker: ask(worker, path) == "deleted", "it expires")
        assert time.monotonic() - started >= LIFETIME
        assert ask(short.os, path) == "gone"
    short.os.mkdir(path)
    short.os.rmdir(path)


def test_an_expired_lock_that_nobody_asks_for_stays(short):
    path = short / "priv/lock/stays"
    other = short / "priv/lock/other"
    short.os.mkdir(path)
    short.os.mkdir(other)
    short.os.wait_for(lambda worker: ask(worker, other) == "deleted", "the other expires")
    assert short.os.exists(path)
    with refused(errno.EEXIST):
        short.os.mkdir(path)
    # Its holder may still renew it.
    started = time.monotonic()
    short.os.utime(path)
    short.os.wait_for(lambda worker: ask(worker, path) == "deleted", "it expires")
    assert time.monotonic() - started >= LIFETIME


def test_renewing_starts_anew(short):
    """Renewed with a later time again and again it outlives its first time many times over."""
    path = short / "priv/lock/kept"
    short.os.mkdir(path)
    taken = int(short.os.stat(path).st_mtime)
    started = renewed = time.monotonic()
    count = 0
    while time.monotonic() < started + 3 * LIFETIME:
        answer = ask(short.os, path)
        if answer == "deleted":
            # Only a machine that was too busy to renew in time may lose it.
            assert time.monotonic() - renewed >= LIFETIME
            short.os.mkdir(path)
            taken = int(short.os.stat(path).st_mtime)
        count += 1
        renewed = time.monotonic()
        short.os.utime(path, (0, taken + count))
    short.os.wait_for(lambda worker: ask(worker, path) == "deleted", "it expires")


def test_a_restart_starts_anew(make_daemon):
    daemon = make_daemon(options=["--lock-lifetime", str(LIFETIME)]).start()
    path = daemon / "priv/lock/kept"
    daemon.os.makedirs(path)
    daemon.stop()
    started = time.monotonic()
    daemon.start()
    assert daemon.os.exists(path)
    daemon.os.wait_for(lambda worker: ask(worker, path) == "deleted", "it expires")
    assert time.monotonic() - started >= LIFETIME


CLIENT = """
def take(path, tries):
    for _ in range(tries):
        try:
            os.mkdir(path)
            return True
        except FileExistsError:
            try:
                os.utime(path, (0, 0))
            except (PermissionError, FileNotFoundError):
                pass
        time.sleep(0.001)
    return False

result = 0
for _ in range(20):
    assert take(path, 1000000)
    # Alone in here?
    fd = os.open(inside, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.close(fd)
    os.unlink(inside)
    os.rmdir(path)
    result += 1
"""


def test_clients_exclude_each_other(locks, here):
    """The usual client's loop in several processes: never two of them at once."""
    workers = [locks.worker() for _ in range(4)]
    pending = [worker.start("execute", CLIENT, {"path": locks / "priv/lock/loop", "inside": here + "/inside"}) for worker in workers]
    assert [one.result() for one in pending] == [20] * 4


def test_a_dead_clients_lock_is_taken_over(short):
    holder = short.worker()
    path = short / "priv/lock/left"
    holder.mkdir(path)
    holder.close()
    worker = short.worker()
    assert worker.execute(CLIENT.replace("range(20)", "range(1)"), {"path": path, "inside": short / "inside"}) == 1
    assert not short.os.exists(path)
