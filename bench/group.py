# SPDX-License-Identifier: GPL-3.0-or-later
"""Three nodes, each with a corosync and a daemon: changes, joining, leaving, and who notices."""

import contextlib
import json
import os
import signal
import subprocess
import time

from database import make_database
from harness import ROOM, wait_for
from harness.cluster import USUAL_IDLE_ROTATIONS, Cluster, corosync_conf
from single import LARGE_FILES, LARGE_SIZE, checked, clean, lines_of
from wear import FOLD_SECONDS

NODES = 3
LARGE_LAST = "content/directory%d/file%d" % ((LARGE_FILES - 1) // 100, LARGE_FILES - 1)
# As on real clusters; the tests' shorter one is for noticing losses soon.
TOKEN_MILLISECONDS = 3000
# What a file's entry is in a synchronisation (doc/cluster.md, UPDATE): headers, its name, its content.
ENTRY_MESSAGE_SIZE = 32 + 41 + len("file00000") + 1 + LARGE_SIZE
# What a daemon that has nothing to do may take of a processor's second.
IDLE_SECONDS = 0.03
NULL_ROOT = ROOM + "/null"
# Before and after the event whose stalls are looked for.
MARGIN_SECONDS = 1


@contextlib.contextmanager
def running_corosync(bench, name):
    """Nodes with corosync running and quorate, and a daemon each that is not started. What is begun in the block shares
    one processor with them, if the bench is to be slow."""
    processors = os.sched_getaffinity(0)
    if bench.slow:
        os.sched_setaffinity(0, {min(processors)})
    cluster = Cluster(bench.place(name), NODES, bench.options)
    try:
        for node in cluster:
            node.write_conf(corosync_conf(cluster.numbers, token=TOKEN_MILLISECONDS, idle_rotations=USUAL_IDLE_ROTATIONS))
            node.start_corosync()
        for node in cluster:
            wait_for(lambda: has_quorum(node), "quorum on " + node.name)
        time.sleep(2)
        yield cluster.nodes
    finally:
        cluster.close()
        os.sched_setaffinity(0, processors)


def has_quorum(node):
    done = node.namespace.run(["corosync-quorumtool", "-s"])
    return any(line.split() == ["Quorate:", "Yes"] for line in done.stdout.splitlines())


def start_all(nodes, *options):
    for node in nodes:
        node.daemon.launch(*options)
    for node in nodes:
        node.daemon.wait_ready()
    for node in nodes:
        wait_for(lambda: is_writable(node.daemon), "a change on " + node.name)


def processor_seconds(daemon):
    text = daemon.namespace.init.read_file("/proc/%d/stat" % daemon.read_pid()).decode()
    return sum(map(int, text.rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")


def wait_idle(nodes):
    """Until the daemons do nothing any more: one that took a tree over writes all of it into its history at the first fold, or
    else at its stop, to the disk that is the others' as well."""

    def is_idle():
        before = [processor_seconds(node.daemon) for node in nodes]
        time.sleep(1)
        return all(processor_seconds(node.daemon) - was <= IDLE_SECONDS for node, was in zip(nodes, before))

    wait_for(is_idle, "daemons that have nothing to do")


def stop_all(nodes):
    for node in nodes:
        node.daemon.stop()


def is_writable(daemon):
    """True once a change from there is taken: quorum is there, and the node is in sync."""
    try:
        daemon.os.write_file(daemon.path("try-" + daemon.name), b"x")
        return True
    except OSError:
        return False


def bench_writers(bench, rows):
    """`cluster-all` is `cluster-rewrite` with daemons whose changes all members acknowledge, beside those of before."""
    all_row = rows.get("cluster-all")
    with running_corosync(bench, "writers") as nodes:
        measure_cpg(bench, nodes, rows, 0)
        start_all(nodes)
        for name, work in (("cluster-rewrite", "rewrite"), ("cluster-writers", "writers")):
            if name in rows:
                rows[name].values += measure_writers(bench, nodes[0].daemon, rows[name], work)
        if all_row:
            own = rows.get("cluster-rewrite")
            all_row.limits += own.values if own else measure_writers(bench, nodes[0].daemon, all_row, "rewrite")
        stop_all(nodes)
        if all_row:
            start_all(nodes, "--acknowledge", "all")
            all_row.values += measure_writers(bench, nodes[0].daemon, all_row, "rewrite")
            stop_all(nodes)
        # Again, so that both sides see what else the machine does.
        measure_cpg(bench, nodes, rows, 0)


def measure_writers(bench, daemon, row, work):
    bench.progress(row.title)
    out = checked(daemon.run([bench.program("workload"), "-r", str(bench.start_rounds), "-o", work,
                              "ours=" + daemon.mountpoint], timeout=600))
    return [in_unit(row, line["seconds"]) for line in lines_of(out)]


def in_unit(row, seconds):
    return 1 / seconds if row.unit == "/s" else seconds


def measure_cpg(bench, nodes, rows, messages):
    """Bare libcpg between the same nodes; the limits of the rows that are wanted. `messages`: as many of the size of an entry's, for `join`."""
    bench.progress("the limits of libcpg")
    members = [node.namespace.spawn([bench.program("cpg_bench")], node.corosync_log) for node in nodes[1:]]
    out = checked(nodes[0].namespace.run(
        [bench.program("cpg_bench"), str(NODES), str(bench.cluster_rounds), str(messages), str(ENTRY_MESSAGE_SIZE)], timeout=600))
    for node, member in zip(nodes[1:], members):
        node.namespace.kill(member, signal.SIGKILL)
        node.namespace.wait(member)
    for line in lines_of(out):
        name = {"round_trip": "cluster-rewrite", "window": "cluster-writers", "bulk": "join"}[line["work"]]
        if name in rows:
            rows[name].limits.append(in_unit(rows[name], line["seconds"]))


class Probes:
    """A writer and a reader on each of some nodes, for as long as the block lasts. `beside`: the same again, of what the
    machine allows: a reader of the null file system, and a bare libcpg program that writes."""

    def __init__(self, bench, nodes, beside=False):
        self.bench = bench
        self.nodes = nodes
        self.beside = beside
        self.longest = {}

    def commands(self, daemon):
        """(kind, what it is for, command)"""
        probe = self.bench.program("probe")
        for kind in ("writer", "reader"):
            yield kind, "values", [probe, kind, daemon.mountpoint, "probe-%s-%s" % (kind, daemon.name)]
        if self.beside:
            yield "writer", "limits", [self.bench.program("cpg_bench"), "writer"]
            yield "reader", "limits", [probe, "reader", NULL_ROOT, "probe-reader"]

    def __enter__(self):
        self.processes = []
        for node in self.nodes:
            for kind, where, command in self.commands(node.daemon):
                process = popen(node.daemon, command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                self.processes.append((kind, where, process))
        for _, _, process in self.processes:
            process.stdout.readline()
        time.sleep(MARGIN_SECONDS)
        return self

    def __exit__(self, *exception):
        time.sleep(MARGIN_SECONDS)
        for kind, where, process in self.processes:
            end_inside(process)
            out, errors = process.communicate(timeout=60)
            if exception[0] is None:
                told = json.loads(out.splitlines()[-1])
                if told["failures"]:
                    raise RuntimeError("a %s failed %d times" % (kind, told["failures"]))
                self.longest[kind, where] = max(self.longest.get((kind, where), 0), told["longest"])
        return False


def popen(daemon, command, **keywords):
    """A session of its own for each, as services and daemons have: Linux shares processors between sessions (autogroup), and
    in that of the bench all its programs would have what one of the daemons has."""
    return daemon.namespace.popen(command, start_new_session=True, **keywords)


def start_null(bench, nodes):
    for node in nodes:
        node.namespace.run(["mkdir", NULL_ROOT], check=True)
        popen(node.daemon, [bench.program("null_fs"), NULL_ROOT], stdout=subprocess.DEVNULL)
        wait_for(lambda: any(mount[0] == NULL_ROOT for mount in node.namespace.mounts()), "the null file system")


def end_inside(process):
    """SIGTERM to the program that nsenter runs as its child (a pid namespace needs a fork)."""
    path = "/proc/%d/task/%d/children" % (process.pid, process.pid)
    with open(path) as file:
        for child in file.read().split():
            os.kill(int(child), signal.SIGTERM)


def fill(nodes):
    """The same 120 MB on all nodes but the last, whose database is new."""
    source = os.path.join(os.path.dirname(nodes[0].directory), "large.db")
    with open(nodes[0].daemon.corosync_conf, "rb") as file:
        make_database(source, LARGE_FILES, LARGE_SIZE, file.read())
    for node in nodes[:-1]:
        os.makedirs(node.daemon.state_dir, mode=0o750, exist_ok=True)
        subprocess.run(["cp", source, node.daemon.database], check=True)


def join(bench, daemon, path):
    """Starts a daemon; seconds until the file is there. The process ends the daemon when told to."""
    os.makedirs(daemon.run_dir, exist_ok=True)
    process = popen(
        daemon, [bench.program("first_answer"), daemon.path(path)] + daemon.command("--foreground"), cwd="/",
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
    with running_corosync(bench, "join") as nodes:
        if "join" in rows:
            measure_cpg(bench, nodes, rows, LARGE_FILES)
        fill(nodes)
        start_null(bench, nodes[:-1])
        start_all(nodes[:-1])
        wait_idle(nodes[:-1])
        newcomer = nodes[-1].daemon
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
                with Probes(bench, nodes[:-1], beside=True) as probes:
                    process, _ = join(bench, newcomer, LARGE_LAST)
                leave(process)
                for (kind, where), seconds in probes.longest.items():
                    take_longest(rows.get("join-" + kind), where, seconds)


def take_longest(row, where, seconds):
    if row:
        getattr(row, where).append(seconds)


def bench_leave(bench, rows):
    for where, large in (("limits", False), ("values", True)):
        with running_corosync(bench, "leave-" + where) as nodes:
            if large:
                fill(nodes)
            start_all(nodes[:-1])
            wait_idle(nodes[:-1])
            for number in range(bench.cluster_rounds):
                bench.progress("stalls while a node leaves, %s (%d)" % ("120 MB" if large else "empty", number + 1))
                process, _ = join(bench, nodes[-1].daemon, LARGE_LAST if large else "try-node1")
                time.sleep(FOLD_SECONDS)
                wait_idle(nodes)
                with Probes(bench, nodes[:-1]) as probes:
                    leave(process)
                for (kind, _), seconds in probes.longest.items():
                    take_longest(rows.get("leave-" + kind), where, seconds)


