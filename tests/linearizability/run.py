#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients on all nodes of a real cluster, and faults one after the other, from a seed; then the checker.

run.py DIRECTORY own|all    checks a history again that an earlier run left in DIRECTORY
"""

import glob
import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from checker import Checker, Fault, Operation  # noqa: E402
from faults import CLIENTS, Injector, Sick  # noqa: E402
from harness import PATIENCE, wait_for  # noqa: E402

CLIENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "client.py")
FOLDER = "lin"


class Clients:
    """The processes on all nodes, and what they wrote down."""

    def __init__(self, cluster, seed):
        self.cluster = cluster
        self.stop_file = os.path.join(cluster.directory, "stop")
        self.processes = []
        for node in cluster:
            for number in range(CLIENTS):
                name = "n%dc%d" % (node.number, number)
                arguments = [node.daemon.mountpoint, FOLDER, str(node.number), name, "%d-%s" % (seed, name),
                             self.path("log", name), self.path("progress", name), self.stop_file]
                self.processes.append((name, node.namespace.popen(["/usr/bin/python3", "-IS", CLIENT, *arguments])))

    def path(self, what, name):
        return os.path.join(self.cluster.directory, "%s-%s" % (what, name))

    def acknowledged(self, node):
        """How many changes were acknowledged on that node."""
        total = 0
        for number in range(CLIENTS):
            try:
                with open(self.path("progress", "n%dc%d" % (node.number, number))) as file:
                    total += int(file.read() or "0")
            except FileNotFoundError:
                pass
        return total

    def wait_progress(self, nodes, more):
        """Waits until so many more changes were acknowledged on these nodes together."""
        start = sum(map(self.acknowledged, nodes))
        wait_for(lambda: sum(map(self.acknowledged, nodes)) >= start + more,
                 "changes go on on %s" % [node.name for node in nodes])

    def wait_standstill(self, nodes):
        """Waits until no client of these nodes gets answers any more."""
        before = None

        def still():
            nonlocal before
            last, before = before, sum(map(self.acknowledged, nodes))
            time.sleep(0.2)
            return before == last

        wait_for(still, "changes stand still on %s" % [node.name for node in nodes])

    def end(self):
        open(self.stop_file, "w").close()
        for name, process in self.processes:
            assert process.wait(PATIENCE) == 0, "client %s has failed" % name


def prepare(cluster):
    node = cluster[1]
    for directory in (FOLDER, "priv", "priv/lock"):
        if not node.exists(directory):
            node.os.mkdir(node.path(directory))
    for number in range(4):
        node.write("%s/r%d" % (FOLDER, number), b"0".ljust(32, b"\n"))
    node.write(FOLDER + "/token.0", b"")
    cluster.wait_equal()


def read_at_rest(cluster):
    """One more client on each node, after all others: ([Operation], {number of a node: its files})."""
    operations, files = [], {}
    for node in cluster:
        names = node.os.listdir(node.path(FOLDER))
        files[node.number] = [name for name in names if name.startswith("f.")]
        values = {"token": " ".join(sorted(name for name in names if name.startswith("token.")))}
        for number in range(4):
            values["r%d" % number] = node.read("%s/r%d" % (FOLDER, number)).decode().rstrip("\n")
        now = time.monotonic()
        operations += [Operation(node.number, "final", "read", key, value, None, now, now, "ok") for key, value in values.items()]
        operations.append(Operation(node.number, "final%d" % node.number, "list", None, tuple(files[node.number]), (), now, now, "ok"))
    return operations, files


def summary(operations, faults, report):
    kinds = {}
    for fault in faults:
        kinds[fault.kind] = kinds.get(fault.kind, 0) + 1
    return "%d operations, %d faults (%s); %d changes without an answer, %d acknowledged and lawfully lost; %d violations" % (
        len(operations), len(faults), ", ".join("%s %d" % item for item in sorted(kinds.items())),
        report.undecided, len(report.lost), len(report.violations))


def run(cluster, seed, count, seconds, acknowledge_all, kinds=(), tell=print):
    """`count` faults (of some kinds only), or as many as go into `seconds`, in a cluster that is not started; the checker's report."""
    for node in cluster:
        node.sick = Sick(node)
    cluster.start()
    prepare(cluster)
    clients = Clients(cluster, seed)
    injector = Injector(cluster, clients, seed, acknowledge_all, kinds, tell)
    end = time.monotonic() + seconds
    try:
        injector.settle()
        while len(injector.faults) < count if count else time.monotonic() < end:
            injector.inject()
    finally:
        clients.end()
        keep_databases(cluster)
    cluster.wait_settled()
    save(cluster, injector.faults)
    operations, faults, report = check(cluster.directory, acknowledge_all)
    tell("seed %d: %s" % (seed, summary(operations, faults, report)))
    return report


def keep_databases(cluster):
    """Of what only their namespaces see, for who looks for the reason of a finding."""
    for node in cluster:
        node.namespace.run(["cp", "-a", node.daemon.state_dir, os.path.join(node.directory, "state-at-end")])


def save(cluster, faults):
    operations, files = read_at_rest(cluster)
    with open(os.path.join(cluster.directory, "history"), "w") as file:
        json.dump({
            "faults": [[fault.kind, sorted(fault.nodes), fault.begin, fault.end, fault.apart] for fault in faults],
            "final": [list(vars(operation).values()) for operation in operations],
            "files": files,
        }, file)


def frozen(value):
    return tuple(value) if isinstance(value, list) else value


def load(directory):
    """What save() and the clients wrote."""
    with open(os.path.join(directory, "history")) as file:
        saved = json.load(file)
    faults = [Fault(kind, frozenset(nodes), *rest) for kind, nodes, *rest in saved["faults"]]
    operations = [Operation(*map(frozen, values)) for values in saved["final"]]
    for path in glob.glob(os.path.join(directory, "log-*")):
        name = path.rsplit("-", 1)[1]
        with open(path) as file:
            operations += [Operation(int(name[1]), name, *map(frozen, json.loads(line))) for line in file]
    return operations, faults, {int(number): names for number, names in saved["files"].items()}


def check(directory, acknowledge_all):
    operations, faults, files = load(directory)
    checker = Checker(operations, faults, acknowledge_all)
    for number, names in files.items():
        checker.check_final(number, names)
    return operations, faults, checker.check()


def main():
    operations, faults, report = check(sys.argv[1], sys.argv[2] == "all")
    print("\n".join([*report.violations, summary(operations, faults, report)]))


if __name__ == "__main__":
    main()
