# SPDX-License-Identifier: GPL-3.0-or-later
"""Three nodes, each with a corosync and a daemon: changes, joining, leaving, and who notices."""

import contextlib
import json
import os
import signal
import subprocess
import time

from database import make_database
from harness import Daemon, wait_for
from nodes import Nodes, address_of
from single import LARGE_FILES, LARGE_SIZE, checked, clean, lines_of

NODES = 3
LARGE_LAST = "content/directory%d/file%d" % ((LARGE_FILES - 1) // 100, LARGE_FILES - 1)
# Before and after the event whose stalls are looked for.
MARGIN_SECONDS = 1


@contextlib.contextmanager
def cluster(bench, name):
    """Nodes with corosync running, and one daemon each that is not started."""
    nodes = Nodes(NODES, bench.place(name))
    daemons = []
    try:
        for node in nodes:
            daemons.append(Daemon(node.directory, node.name, options=bench.options, local=False,
                                  namespace=node.namespace, address=address_of(node.number),
                                  mountpoint="/mnt/pve"))
        yield nodes, daemons
    finally:
        for daemon in daemons:
            daemon.close()
        nodes.close()


def start_all(daemons):
    for daemon in daemons:
        daemon.launch()
    for daemon in daemons:
        daemon.wait_ready()
    for daemon in daemons:
        wait_for(lambda: is_writable(daemon), "a change on " + daemon.name)


def is_writable(daemon):
    """True once a change from there is taken: quorum is there, and the node is in sync."""
    try:
        daemon.os.write_file(daemon.path("try-" + daemon.name), b"x")
        return True
    except OSError:
        return False


def bench_writers(bench, rows):
    with cluster(bench, "writers") as (nodes, daemons):
        measure_cpg(bench, nodes, rows, 0)
        start_all(daemons)
        for name, work in (("cluster-rewrite", "rewrite"), ("cluster-writers", "writers")):
            if name not in rows:
                continue
            bench.progress(rows[name].title)
            out = checked(daemons[0].run(
                [bench.program("workload"), "-r", str(bench.start_rounds), "-o", work,
                 "ours=" + daemons[0].mountpoint], timeout=600))
            rows[name].values += [in_unit(rows[name], line["seconds"]) for line in lines_of(out)]
        for daemon in daemons:
            daemon.stop()
        # Again, so that both sides see what else the machine does.
        measure_cpg(bench, nodes, rows, 0)


def in_unit(row, seconds):
    return 1 / seconds if row.unit == "/s" else seconds


def measure_cpg(bench, nodes, rows, bulk):
    """Bare libcpg between the same nodes; the limits of the rows that are wanted."""
    bench.progress("the limits of libcpg")
    members = [node.namespace.spawn([bench.program("cpg_bench")], node.log) for node in nodes[1:]]
    out = checked(nodes[0].namespace.run(
        [bench.program("cpg_bench"), str(NODES), str(bench.cluster_rounds), str(bulk)], timeout=600))
    for node, member in zip(nodes[1:], members):
        node.namespace.kill(member, signal.SIGKILL)
        node.namespace.wait(member)
    for line in lines_of(out):
        name = {"round_trip": "cluster-rewrite", "window": "cluster-writers", "bulk": "join"}[line["work"]]
        if name in rows:
            rows[name].limits.append(in_unit(rows[name], line["seconds"]))


class Probes:
    """A writer and a reader on each of some daemons, for as long as the block lasts."""

    def __init__(self, bench, daemons):
        self.bench = bench
        self.daemons = daemons
        self.longest = {}

    def __enter__(self):
        self.processes = []
        for daemon in self.daemons:
            for kind in ("writer", "reader"):
                process = daemon.namespace.popen(
                    [self.bench.program("probe"), kind, daemon.mountpoint, "probe-%s-%s" % (kind, daemon.name)],
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                self.processes.append((kind, process))
        for _, process in self.processes:
            process.stdout.readline()
        time.sleep(MARGIN_SECONDS)
        return self

    def __exit__(self, *exception):
        time.sleep(MARGIN_SECONDS)
        for kind, process in self.processes:
            end_inside(process)
            out, errors = process.communicate(timeout=60)
            if exception[0] is None:
                told = json.loads(out.splitlines()[-1])
                if told["failures"]:
                    raise RuntimeError("a %s failed %d times" % (kind, told["failures"]))
                self.longest[kind] = max(self.longest.get(kind, 0), told["longest"])
        return False


def end_inside(process):
    """SIGTERM to the program that nsenter runs as its child (a pid namespace needs a fork)."""
    path = "/proc/%d/task/%d/children" % (process.pid, process.pid)
    with open(path) as file:
        for child in file.read().split():
            os.kill(int(child), signal.SIGTERM)


def fill(nodes, daemons):
    """The same 120 MB on all nodes but the last, whose database is new."""
    source = os.path.join(os.path.dirname(nodes[0].directory), "large.db")
    with open(nodes[0].corosync_conf, "rb") as file:
        make_database(source, LARGE_FILES, LARGE_SIZE, file.read())
    for daemon in daemons[:-1]:
        os.makedirs(daemon.state_dir, mode=0o750, exist_ok=True)
        subprocess.run(["cp", source, daemon.database], check=True)


def join(bench, daemon, path):
    """Starts a daemon; seconds until the file is there. The process ends the daemon when told to."""
    os.makedirs(daemon.run_dir, exist_ok=True)
    process = daemon.namespace.popen(
        [bench.program("first_answer"), daemon.path(path)] + daemon.command("--foreground"), cwd="/",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, stderr=open(daemon.log, "a"))
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("%s did not join:\n%s" % (daemon.name, daemon.log_text()))
    return process, json.loads(line)["seconds"]


def leave(process):
    process.stdin.close()
    if process.wait(120):
        raise RuntimeError("a daemon did not end well")
    process.stdout.close()


def bench_join(bench, rows):
    with cluster(bench, "join") as (nodes, daemons):
        if "join" in rows:
            measure_cpg(bench, nodes, rows, LARGE_FILES * LARGE_SIZE)
        fill(nodes, daemons)
        start_all(daemons[:-1])
        newcomer = daemons[-1]
        for number in range(bench.cluster_rounds):
            if "join" in rows:
                bench.progress("%s (%d)" % (rows["join"].title, number + 1))
                clean(newcomer.state_dir)
                process, seconds = join(bench, newcomer, LARGE_LAST)
                rows["join"].values.append(seconds)
                leave(process)
            if "join-writer" in rows or "join-reader" in rows:
                bench.progress("stalls while it joins (%d)" % (number + 1))
                clean(newcomer.state_dir)
                with Probes(bench, daemons[:-1]) as probes:
                    process, _ = join(bench, newcomer, LARGE_LAST)
                leave(process)
                take_longest(probes, rows, "join", "values")


def take_longest(probes, rows, event, where):
    for kind, seconds in probes.longest.items():
        row = rows.get("%s-%s" % (event, kind))
        if row:
            getattr(row, where).append(seconds)


def bench_leave(bench, rows):
    for where, large in (("limits", False), ("values", True)):
        with cluster(bench, "leave-" + where) as (nodes, daemons):
            if large:
                fill(nodes, daemons)
            start_all(daemons[:-1])
            for number in range(bench.cluster_rounds):
                bench.progress("stalls while a node leaves, %s (%d)" % ("120 MB" if large else "empty", number + 1))
                process, _ = join(bench, daemons[-1], LARGE_LAST if large else "try-node1")
                with Probes(bench, daemons[:-1]) as probes:
                    leave(process)
                take_longest(probes, rows, "leave", where)


