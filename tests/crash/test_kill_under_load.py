# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 in the middle of a write load: nothing acknowledged is missing, nothing else is there."""

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess

from harness import BUILD_DIR, wait_for

CTL = os.path.join(BUILD_DIR, "src", "ctl", "pmxcfsctl")

ROUNDS = int(os.environ.get("PMXCFS_KILL_ROUNDS", "100"))
WRITERS = 3

# Runs in a worker until a call fails: makes, writes, replaces, moves and removes files of one
# directory. `files` is what is there (name → content) by what was acknowledged; the answer is that,
# and what would be there if the call that failed had been done.
LOAD = """
import random
chance = random.Random(seed)
attempt = None

def content():
    return bytes([chance.randrange(256)]) * chance.choice([1, 100, 4096, 5000, 70000])

def step():
    global attempt
    names = sorted(files)
    kind = chance.choice(["create", "create", "write", "write", "replace", "move", "remove"])
    if kind == "create" or not names:
        name = "f%d" % chance.randrange(1000000)
        if name in files:
            return
        attempt = dict(files, **{name: b""})
        os.close(os.open(path + "/" + name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    elif kind == "write":
        name, data = chance.choice(names), content()
        fd = os.open(path + "/" + name, os.O_WRONLY)
        try:
            attempt = dict(files, **{name: data + files[name][len(data):]})
            assert os.write(fd, data) == len(data)
        finally:
            os.close(fd)
    elif kind in ("replace", "move"):
        source, target = chance.choice(names), chance.choice(names) if kind == "replace" else "m%d" % chance.randrange(1000000)
        attempt = {name: data for name, data in files.items() if name != source}
        attempt[target] = files[source]
        os.rename(path + "/" + source, path + "/" + target)
    else:
        gone = chance.choice(names)
        attempt = {name: data for name, data in files.items() if name != gone}
        os.unlink(path + "/" + gone)
    files.clear()
    files.update(attempt)

try:
    while True:
        if len(files) > 200:
            name = min(files)
            attempt = {other: data for other, data in files.items() if other != name}
            os.unlink(path + "/" + name)
            del files[name]
        step()
except OSError as error:
    result = files, attempt or files, error.errno
"""


def check_integrity(directory):
    with contextlib.closing(sqlite3.connect(os.path.join(directory, "config.db"))) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def check_database(daemon, directory):
    """SQLite finds no fault in what the killed daemon left (a copy: looking at it would mend it), nor in what its
    journal makes of that."""
    shutil.rmtree(directory, ignore_errors=True)
    os.mkdir(directory)
    for name in os.listdir(daemon.state_dir):
        if name.startswith("config.db") and not name.endswith("-shm"):
            shutil.copy(os.path.join(daemon.state_dir, name), directory)
    check_integrity(directory)
    done = subprocess.run([CTL, "db", "fold", os.path.join(directory, "config.db")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert os.listdir(directory) == ["config.db"]
    check_integrity(directory)


def files_of(daemon, directory):
    return {name: daemon.os.read_file(daemon / directory + "/" + name) for name in daemon.os.listdir(daemon / directory)}


def test_kill_in_the_middle_of_a_write_load(make_daemon, tmp_path):
    daemon = make_daemon().start()
    chance = random.Random(1)
    known = {}
    for number in range(WRITERS):
        daemon.os.mkdir(daemon / ("w%d" % number))
        known[number] = {}
    for round_number in range(ROUNDS):
        workers = [daemon.worker() for _ in known]
        writers = [
            worker.start("execute", LOAD, {"path": daemon / ("w%d" % number), "files": known[number],
                                           "seed": round_number * 100 + number})
            for number, worker in enumerate(workers)
        ]
        wait_for(lambda: daemon.os.listdir(daemon / "w0"), "the writers are at work")
        daemon.os.execute("time.sleep(seconds)", {"seconds": chance.random() * 0.05})
        daemon.kill()  # in every second round while it folds again and again
        results = [writer.result() for writer in writers]
        for worker in workers:
            daemon.namespace.end_worker(worker)
        check_database(daemon, tmp_path / "copy")
        daemon.start("--fold-delay=%g" % (0.01 if round_number % 2 else 30))
        for number, (acknowledged, attempted, _) in enumerate(results):
            found = files_of(daemon, "w%d" % number)
            assert found in (acknowledged, attempted), "round %d, writer %d" % (round_number, number)
            known[number] = found
    assert sum(map(len, known.values())) > 0
