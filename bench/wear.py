# SPDX-License-Identifier: GPL-3.0-or-later
"""What one node writes to its disk for a piece of work, until nothing more follows from it."""

import threading
import time

from database import make_database
from harness import Daemon

# A database that is neither empty nor large.
FILES, SIZE = 500, 2000

# config.db may be 30 s behind; what brings it up to date belongs to the work.
FOLD_SECONDS = 32
QUIET_SECONDS = 5
SETTLE_MAX = 120

# What is done, by a process inside; `root` is the mount, `result` the number of things done.
WORKS = {
    "wear-rewrite": """
for number in range(1000):
    file = os.open(root + "/file", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(file, bytes([number % 251]) * 500)
    os.close(file)
result = 1000
""",
    "wear-rename": """
for number in range(50):
    file = os.open(root + "/file.tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for part in range(8):
        os.write(file, bytes([(number + part) % 251]) * 8192)
    os.close(file)
    os.rename(root + "/file.tmp", root + "/file")
result = 50
""",
    "wear-dd": """
file = os.open(root + "/file", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
for part in range(1000):
    os.write(file, os.urandom(512))
os.close(file)
result = 1
""",
    "wear-append": """
file = os.open(root + "/file", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for number in range(2000):
    os.write(file, bytes([number % 251]) * 100)
os.close(file)
result = 2000
""",
    "wear-touch": """
for number in range(1000):
    os.utime(root + "/file", (1700000000 + number, 1700000000 + number))
result = 1000
""",
    "wear-idle": """
names = ["ha/manager_status"] + ["nodes/node%d/lrm_status" % node for node in (1, 2, 3)]
for name in names:
    os.makedirs(os.path.dirname(root + "/" + name), exist_ok=True)
end, number = time.monotonic() + seconds, 0
while time.monotonic() < end:
    path = root + "/" + names[number % 4]
    file = os.open(path + ".tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(file, bytes([32 + number % 90]) * 1000)
    os.close(file)
    os.rename(path + ".tmp", path)
    number += 1
    time.sleep(1 / 0.7)
result = number
""",
}


def written_bytes(daemon):
    text = daemon.namespace.init.read_file("/proc/%d/io" % daemon.pid).decode()
    (line,) = [line for line in text.splitlines() if line.startswith("write_bytes:")]
    return int(line.split()[1])


def wait_settled(daemon, seconds):
    """Waits at least that long, and until nothing has been written for a while; bytes in all."""
    start = changed = time.monotonic()
    written = written_bytes(daemon)
    while time.monotonic() < start + seconds or time.monotonic() < changed + QUIET_SECONDS:
        if time.monotonic() > start + SETTLE_MAX:
            raise RuntimeError("the daemon goes on writing")
        time.sleep(0.5)
        now = written_bytes(daemon)
        if now != written:
            written, changed = now, time.monotonic()
    return written


class Wear:
    """One row, on a daemon of its own: nothing here depends on speed, so all run at once."""

    def __init__(self, bench, row):
        self.row = row
        self.failure = None
        self.daemon = Daemon(bench.place(row.name), "node1", options=bench.options)
        self.seconds = bench.idle_seconds
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            self.measure()
        except Exception as error:  # told by finish(), in the main thread
            self.failure = error

    def measure(self):
        make_database(self.daemon.database, FILES, SIZE)
        self.daemon.start()
        root = self.daemon.mountpoint
        self.daemon.os.mkdir(root + "/ha")
        self.daemon.os.write_file(root + "/file", b"x" if self.row.name == "wear-touch" else b"")
        before = wait_settled(self.daemon, FOLD_SECONDS)
        worker = self.daemon.os.start("execute", WORKS[self.row.name], {"root": root, "seconds": self.seconds})
        count = worker.result(self.seconds + 600)
        after = wait_settled(self.daemon, FOLD_SECONDS)
        self.row.values.append((after - before) / count)

    def finish(self):
        self.thread.join()
        self.daemon.close()
        if self.failure:
            raise self.failure


def bench_wear(bench, rows):
    bench.progress("disk writes (%d s at least)" % (2 * FOLD_SECONDS + (bench.idle_seconds if "wear-idle" in rows
                                                                        else 0)))
    wears = [Wear(bench, row) for row in rows.values()]
    for wear in wears:
        wear.thread.start()
    failures = []
    for wear in wears:
        try:
            wear.finish()
        except Exception as error:
            wear.row.note = "failed: %s" % str(error).splitlines()[0]
            failures.append(error)
    if failures:
        raise failures[0]
