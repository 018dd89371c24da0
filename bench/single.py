# SPDX-License-Identifier: GPL-3.0-or-later
"""One node in local mode: the mount beside tmpfs and the null file system, start, memory."""

import json
import os
import shutil
import subprocess

from database import make_database
from harness import Daemon, wait_for

MOUNT_ROWS = ("read", "read4", "stat", "list", "create", "rewrite", "rename", "lock", "write", "writers", "dd")
LARGE_FILES, LARGE_SIZE = 20000, 6000
LARGE_PATH = "content/directory0/file0"


def lines_of(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def checked(done):
    if done.returncode:
        raise RuntimeError("%s: exit code %d\n%s%s" % (done.args, done.returncode, done.stdout, done.stderr))
    return done.stdout


def start_null(bench, namespace):
    """tmpfs and the null file system at the same depth as ours: two directories below /mnt."""
    script = "mkdir /mnt/tmpfs /mnt/null && mount -t tmpfs -o mode=0755 tmpfs /mnt/tmpfs"
    namespace.run(["sh", "-ec", script], check=True)
    process = namespace.popen([bench.program("null_fs"), "/mnt/null"], stdout=subprocess.DEVNULL)
    wait_for(lambda: any(mount[0] == "/mnt/null" for mount in namespace.mounts()), "the null file system")
    return process


def bench_mount(bench, rows):
    """The work on tmpfs, null and ours in turn."""
    daemon = Daemon(bench.place("mount"), "node1", options=bench.options)
    try:
        start_null(bench, daemon.namespace)
        daemon.start()
        for name in rows:
            bench.progress(rows[name].title)
            out = checked(daemon.run(
                [bench.program("workload"), "-r", str(bench.rounds), "-o", name,
                 "tmpfs=/mnt/tmpfs", "null=/mnt/null", "ours=" + daemon.mountpoint], timeout=600))
            for line in lines_of(out):
                values = rows[name].values if line["target"] == "ours" else rows[name].limits
                values.append(line["seconds"])
    finally:
        daemon.close()


def bench_start(bench, rows):
    """Start with 120 MB beside reading the rows, and the memory that it takes."""
    daemon = Daemon(bench.place("start"), "node1", options=bench.options)
    try:
        content = make_database(daemon.database, LARGE_FILES, LARGE_SIZE)
        if "start" in rows:
            measure_start(bench, rows["start"], daemon)
        if "memory" in rows:
            bench.progress(rows["memory"].title)
            daemon.start()
            rows["memory"].limits.append(content)
            rows["memory"].values.append(resident_bytes(daemon))
    finally:
        daemon.close()


def measure_start(bench, row, daemon):
    bench.progress(row.title)
    command = daemon.command("--foreground")
    os.makedirs(daemon.run_dir, exist_ok=True)
    for _ in range(bench.start_rounds + 1):
        out = checked(daemon.run([bench.program("read_rows"), daemon.database]))
        row.limits.append(lines_of(out)[0]["seconds"])
        out = checked(daemon.run([bench.program("first_answer"), daemon.path(LARGE_PATH)] + command, cwd="/",
                                 stdin=subprocess.DEVNULL, timeout=600))
        row.values.append(lines_of(out)[0]["seconds"])
    # The first round read the file from disk.
    del row.limits[0], row.values[0]


def resident_bytes(daemon):
    text = daemon.namespace.init.read_file("/proc/%d/status" % daemon.pid).decode()
    (line,) = [line for line in text.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def clean(directory):
    shutil.rmtree(directory, ignore_errors=True)
