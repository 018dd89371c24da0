# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 in the middle of a write load, again and again: what was acknowledged is there."""

import errno
import os
import random
import signal

from harness import wait_for
from support import check_integrity, contents, paths_of, read_rows

ROUNDS = int(os.environ.get("PMXCFS_KILL_ROUNDS", "100"))
WRITERS = 3

# What callers get when the daemon is gone.
GONE = (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO)

# Works in a directory of its own until a call fails (the daemon is gone). Gives what must be there:
# the model after the last call that returned, and the one that the call under way would have made.
WRITER = """
import random
generator = random.Random(seed)
sure = dict(before)
maybe = dict(before)
calls = 0

def change(new, function, *arguments):
    global sure, maybe, calls
    maybe = new
    answer = function(*arguments)
    sure = new
    calls += 1
    return answer

def write_all(fd, data, name):
    # Content of what is written in one call appears at once or not at all.
    change({**sure, name: data}, os.write, fd, data)

try:
    while True:
        name = "f%d" % generator.randrange(6)
        path = directory + "/" + name
        choice = generator.randrange(6)
        data = bytes([generator.randrange(256)]) * generator.choice((1, 50, 4096, 60000))
        if choice <= 1:
            exists = name in sure
            fd = change({**sure, name: sure.get(name, b"")}, os.open, path, os.O_WRONLY | os.O_CREAT)
            if len(sure[name]) > 0:
                change({**sure, name: b""}, os.ftruncate, fd, 0)
            write_all(fd, data, name)
            os.close(fd)
        elif choice == 2 and sure.get(name):
            fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
            # The truncation may be there or not until the write has been acknowledged.
            truncated = {**sure, name: b""}
            also.append(truncated)
            write_all(fd, data, name)
            also.clear()
            os.close(fd)
        elif choice == 3 and name in sure:
            change({key: value for key, value in sure.items() if key != name}, os.unlink, path)
        elif choice == 4 and name in sure:
            other = "f%d" % generator.randrange(6)
            if other != name:
                new = {key: value for key, value in sure.items() if key != name}
                new[other] = sure[name]
                change(new, os.rename, path, directory + "/" + other)
        elif choice == 5:
            if "d" in sure:
                change({key: value for key, value in sure.items() if key != "d"}, os.rmdir, directory + "/d")
            else:
                change({**sure, "d": None}, os.mkdir, directory + "/d")
except OSError as error:
    assert error.errno in gone, error
result = (calls, sure, [maybe, *also])
"""


def below(found, directory):
    start = directory + "/"
    return {path[len(start):]: data for path, data in found.items() if path.startswith(start)}


def test_killed_in_the_middle_of_writes(make_daemon):
    seed = random.randrange(1 << 32)
    generator = random.Random(seed)
    print("seed", seed)
    daemon = make_daemon().start()
    # Their working directory is not on the mount, so that none holds an old mount.
    writers = [daemon.worker() for _ in range(WRITERS)]
    models = [{} for _ in writers]
    for number in range(WRITERS):
        daemon.os.mkdir(daemon / str(number))
    total = 0
    for done in range(ROUNDS):
        pending = [writer.start("execute", WRITER, {"directory": daemon / str(number), "seed": seed + done * 10 + number,
                                                    "before": models[number], "also": [], "gone": GONE})
                   for number, writer in enumerate(writers)]
        # Somewhere in the middle of it: any moment will do.
        pending[0].done(generator.random() * 0.15)
        daemon.kill()
        answers = [one.result() for one in pending]
        daemon.start()
        assert sum(mount[0] == daemon.mountpoint for mount in daemon.namespace.mounts()) == 1
        check_integrity(daemon.database)
        found = contents(daemon.os, daemon.mountpoint)
        assert paths_of(read_rows(daemon.database)) == found
        for number, (calls, sure, possible) in enumerate(answers):
            total += calls
            models[number] = below(found, str(number))
            assert models[number] in [sure, *possible], "round %d, writer %d (seed %d): %s" % (
                done, number, seed, describe(models[number], sure, possible))
    assert total > ROUNDS, "hardly anything was written"


def describe(found, sure, possible):
    def short(model):
        return {name: data if data is None else (len(data), data[:1]) for name, data in sorted(model.items())}

    return "found %s\nacknowledged %s\nunder way %s" % (short(found), short(sure), [short(model) for model in possible])


BUSY = """
import random
generator = random.Random(seed)
try:
    while True:
        name = "%s/f%d" % (directory, generator.randrange(4))
        other = "%s/g%d" % (directory, generator.randrange(4))
        choice = generator.randrange(4)
        try:
            if choice == 0:
                fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                try:
                    os.write(fd, bytes(generator.choice((1, 5000, 300000))))
                finally:
                    os.close(fd)
            elif choice == 1:
                os.close(os.open(other, os.O_WRONLY | os.O_CREAT))
            elif choice == 2:
                os.unlink(other)
            else:
                os.rename(name, other)
        except FileNotFoundError:
            pass
except OSError as error:
    result = error.errno
"""


def test_killed_while_callers_wait_for_each_other(make_daemon):
    """All in one directory and on few files: the kernel holds locks for those whom we have not answered,
    and we wait for those locks when we are killed. Nobody may be left waiting, and the daemon must end."""
    generator = random.Random(2)
    daemon = make_daemon().start()
    workers = [daemon.worker() for _ in range(6)]
    for done in range(max(1, ROUNDS // 4)):
        pending = [worker.start("execute", BUSY, {"directory": daemon.mountpoint, "seed": done * 10 + number})
                   for number, worker in enumerate(workers)]
        pending[0].done(0.02 + generator.random() * 0.1)
        daemon.kill()
        for one in pending:
            assert one.result() in GONE
        daemon.start()
    check_integrity(daemon.database)


def test_the_next_daemon_waits_for_the_guard(make_daemon):
    """Kernels give a mount the number of one that is gone: a guard that looks late would take the next daemon's for its own."""
    daemon = make_daemon().start()
    daemon.os.write_file(daemon / "file", b"x")
    guard = int(daemon.os.read_file("/proc/%d/task/%d/children" % (daemon.pid, daemon.pid)))
    daemon.namespace.kill(guard, signal.SIGSTOP)
    daemon.kill()
    daemon.launch()
    wait_for(lambda: "waiting for its end" in daemon.log_since_start(), "the next daemon waits")
    daemon.namespace.kill(guard, signal.SIGCONT)
    daemon.wait_ready()
    assert daemon.os.read_file(daemon / "file") == b"x"
    daemon.stop()


def test_killed_while_it_stops_and_starts(make_daemon):
    """At any moment of a start or a stop: the next start has it all."""
    generator = random.Random(1)
    daemon = make_daemon().start()
    expected = {}
    for number in range(15):
        daemon.os.write_file(daemon / ("file%d" % number), b"%d" % number)
        expected["file%d" % number] = b"%d" % number
        daemon.send_signal(15)
        ended = daemon.namespace.wait(daemon.pid, 0.001 + generator.random() * 0.05)
        if ended is None:
            daemon.send_signal(9)
            assert daemon.wait_exit() in (0, -9)
        daemon.pid = None
        daemon.launch()
        daemon.namespace.wait(daemon.pid, 0.001 + generator.random() * 0.2)
        daemon.kill()
        daemon.start()
        assert contents(daemon.os, daemon.mountpoint) == expected
        check_integrity(daemon.database)
