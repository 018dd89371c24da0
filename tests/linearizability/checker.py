# SPDX-License-Identifier: GPL-3.0-or-later
"""Can the history of all clients be explained? What is claimed: doc/testing.md, "Linearizability".

Pure: operations and faults go in, sentences about what cannot be explained come out.
"""

import collections
from dataclasses import dataclass, field

OK = "ok"
NO = "no"
IN_PLACE = "in place"

CHANGES = {"write", "rename", "create", "remove", "claim", "forget", "lock", "unlock"}


@dataclass(frozen=True)
class Operation:
    """What a client asked for, and the answer. `value`: written or read; of a list: the names that
    are new to the client. `source`: a rename's; of a write: how; of a list: the names that are gone."""

    node: int
    client: str
    kind: str
    key: object
    value: object
    source: object
    begin: float
    end: float
    result: str

    def __str__(self):
        what = "%s %s" % (self.kind, self.key)
        what += " from %s" % self.source if self.kind == "rename" else ""
        what += " %s" % (self.value,) if self.value is not None else ""
        return "%s on node %d, %.6f to %.6f: %s: %s" % (self.client, self.node, self.begin, self.end, what, self.result)


@dataclass(frozen=True)
class Fault:
    """`nodes`: those that may have been alone with their last changes. `end`: all are back in sync. `apart`: the
    group fell apart and came together by itself, and nobody knows who was ahead of whom then."""

    kind: str
    nodes: frozenset
    begin: float
    end: float
    apart: bool = False


@dataclass
class Report:
    violations: list = field(default_factory=list)
    lost: list = field(default_factory=list)  # acknowledged changes that were lawfully lost
    undecided: int = 0                        # changes without an answer


def make_key(operation):
    """What a change makes that others can see: a value of a key, a file, that it is gone."""
    if operation.kind in ("write", "rename", "read"):
        return operation.key, operation.value
    return operation.key, "gone" if operation.kind == "remove" else None


def initial_value(key):
    return "token.0" if key == "token" else "0"


def is_in_place(read, write):
    """A write to an open file is in the kernel's pages while it is under way, and who reads there may see
    it before it is made, or refused: pmxcfs(8)."""
    return write and write.source == IN_PLACE and read.node == write.node and read.begin < write.end


class Checker:
    def __init__(self, operations, faults, acknowledge_all=False, nodes=(1, 2, 3)):
        self.operations = sorted(operations, key=lambda operation: operation.begin)
        self.faults = sorted(faults, key=lambda fault: fault.begin)
        self.acknowledge_all = acknowledge_all
        self.nodes = frozenset(nodes)
        self.report = Report()
        self.seen = self.find_seen()
        self.survivors = {}
        self.changes = [operation for operation in self.operations if operation.kind in CHANGES]
        self.report.undecided = sum(operation.result not in (OK, NO) for operation in self.changes)

    def find_seen(self):
        """On which nodes readers saw what changes made."""
        seen = collections.defaultdict(set)
        for operation in self.operations:
            if operation.kind == "read":
                seen[make_key(operation)].add(operation.node)
            elif operation.kind == "list":
                for name in operation.value:
                    seen[name, None].add(operation.node)
                for name in operation.source:
                    seen[name, "gone"].add(operation.node)
        return seen

    # What may be lost

    def seers(self, operation):
        return self.seen[make_key(operation)] | {operation.node}

    def last_survivor(self, node, fault):
        """When the last change of that node began that others, who were not hit, are known to have had
        from before the fault; what was acknowledged before that they had too."""
        if (node, fault) not in self.survivors:
            begin = 0.0
            for operation in self.changes:
                if operation.begin >= fault.begin:
                    break
                if operation.node != node or operation.result != OK or operation.end >= fault.begin:
                    continue
                seers = self.seers(operation)
                if not seers <= fault.nodes or seers == self.nodes:
                    begin = max(begin, operation.begin)
            self.survivors[node, fault] = begin
        return self.survivors[node, fault]

    def is_excused_by(self, operation, fault):
        if operation.node not in fault.nodes or operation.begin >= fault.end:
            return False
        seers = self.seers(operation)
        if not seers <= fault.nodes or seers == self.nodes:
            return False
        if operation.result == OK and self.acknowledge_all:
            return fault.apart and operation.end >= fault.begin  # two were there, and the third came back with a higher version
        if operation.result == OK:
            return operation.end >= self.last_survivor(operation.node, fault)
        return operation.end >= fault.begin

    def is_excused(self, operation):
        """May the change be lost, although its node has shown it?"""
        return any(self.is_excused_by(operation, fault) for fault in self.faults)

    def violation(self, text, *operations):
        self.report.violations.append("\n    ".join([text, *map(str, operations)]))

    # One order for each key

    def check_order(self, key):
        found = [operation for operation in self.operations if operation.key == key]
        changes = {operation.value: operation for operation in found if operation.kind != "read"}
        writes = {value: write for value, write in changes.items() if write.result != NO}
        reads = [read for read in found if read.kind == "read" and not is_in_place(read, changes.get(read.value))]
        dropped = {value for value, write in writes.items() if self.is_excused(write)}
        observations = [read for read in reads if read.value not in dropped]
        observations += [write for value, write in writes.items() if value not in dropped and write.result == OK]
        for read in observations:
            write = writes.get(read.value)
            if not write and read.value != initial_value(key):
                self.violation("%s: a value that nobody wrote was read" % key, read)
            elif write and read.end < write.begin:
                self.violation("%s: read before it was written" % key, write, read)
        self.check_cycles(key, observations, writes, dropped)
        if key == "token":
            self.check_successors(writes, dropped)

    def check_cycles(self, key, observations, writes, dropped):
        """A node's state had the value at some moment of each observation there. So what was observed
        before another began comes before it, or is it; and what anybody had observed before a
        write began comes before that write."""
        graph = Graph()
        for node in self.nodes:
            own = [(o.begin, o.end, o.value) for o in observations if o.node == node]
            graph.add_chain(own, own)
        begins = [(write.begin, write.end, value) for value, write in writes.items()
                  if value not in dropped and (write.result == OK or self.seen[key, value])]
        start = (-2.0, -1.0, initial_value(key))
        graph.add_chain([start, *((o.begin, o.end, o.value) for o in observations)], begins)
        for values in graph.find_contradictions():
            involved = {o for o in observations if o.value in values} | {writes[v] for v in values if v in writes}
            self.violation("%s: no order explains the values %s" % (key, ", ".join(sorted(values)[:8])),
                           *without_repetitions(involved)[:40])

    def check_successors(self, writes, dropped):
        """Of those who replace the same token one wins."""
        successors = collections.defaultdict(list)
        for value, write in writes.items():
            if value not in dropped and (write.result == OK or self.seen["token", value]):
                successors[write.source].append(write)
        for source, found in successors.items():
            if len(found) > 1:
                self.violation("token: %s was renamed more than once" % source, *found)

    # Files that one client alone makes and removes

    def check_files(self):
        created = {o.key: o for o in self.changes if o.kind == "create"}
        removed = {o.key: o for o in self.changes if o.kind == "remove"}
        for name, remove in removed.items():
            create = created[name]
            if remove.result == NO and create.result == OK:
                self.check_loss(create, remove)
        self.check_lists(created, removed)

    def check_loss(self, create, found):
        if self.is_excused(create):
            self.report.lost.append(create)
        else:
            self.violation("%s: acknowledged, and lost" % create.key, create, found)

    def check_lists(self, created, removed):
        """What a client saw stays until somebody removes it, and does not come back then."""
        gone = {}
        for operation in self.operations:
            if operation.kind != "list":
                continue
            for name in operation.source:
                gone[operation.client, name] = operation
                remove = removed.get(name)
                if not (remove and remove.begin < operation.end) and not self.is_excused(created[name]):
                    self.violation("%s: was seen, and has vanished" % name, created[name], operation)
            for name in operation.value:
                if name not in created:
                    self.violation("%s: nobody made it" % name, operation)
                elif (operation.client, name) in gone and not self.is_excused(created[name]) and not (
                        name in removed and self.is_excused(removed[name])):
                    self.violation("%s: has come back" % name, created[name], gone[operation.client, name], operation)

    def check_final(self, node, names):
        """`names`: the files that are there at rest."""
        names = set(names)
        removed = {o.key: o for o in self.changes if o.kind == "remove"}
        for create in self.changes:
            if create.kind != "create" or create.result != OK:
                continue
            remove = removed.get(create.key)
            if not remove and create.key not in names:
                self.check_loss(create, "not on node %d at the end" % node)
            elif remove and remove.result == OK and create.key in names:
                if self.is_excused(remove):
                    self.report.lost.append(remove)
                else:
                    self.violation("%s: removed, and there on node %d at the end" % (create.key, node), create, remove)

    # One winner, one owner

    def check_claims(self):
        """Nobody makes a name again before somebody has asked to remove it."""
        winners = collections.defaultdict(list)
        forgotten = collections.defaultdict(lambda: float("inf"))
        for operation in self.changes:
            if operation.kind == "forget" and operation.result != NO:
                forgotten[operation.key] = min(forgotten[operation.key], operation.begin)
            elif operation.kind == "claim" and operation.result == OK and not self.is_excused(operation):
                winners[operation.key].append(operation)
        for name, found in winners.items():
            found = [claim for claim in found if claim.end < forgotten[name]]
            if len(found) > 1:
                self.violation("%s: two have made it with O_EXCL" % name, *found)

    def check_locks(self):
        """An owner has its lock from the answer to mkdir until it asks to give it back."""
        held = collections.defaultdict(list)
        unlocks = collections.defaultdict(list)
        for operation in self.changes:
            if operation.kind == "unlock":
                unlocks[operation.key, operation.client].append(operation)
        for operation in self.changes:
            if operation.kind == "lock" and operation.result == OK and not self.is_excused(operation):
                later = [unlock for unlock in unlocks[operation.key, operation.client] if unlock.begin > operation.end]
                until = later[0].begin if later else float("inf")
                held[operation.key].append((operation.end, until, operation))
                if later and later[0].result == NO:
                    self.violation("%s: taken away from its owner" % operation.key, operation, later[0])
        for name, intervals in held.items():
            intervals.sort(key=lambda interval: interval[0])
            for (_, until, one), (since, _, other) in zip(intervals, intervals[1:]):
                if since < until:
                    self.violation("%s: two owners" % name, one, other)

    def check(self):
        for key in sorted({o.key for o in self.operations if o.kind in ("read", "write", "rename")}):
            self.check_order(key)
        self.check_files()
        self.check_claims()
        self.check_locks()
        return self.report


def without_repetitions(operations):
    """In their order; of reads of one value on one node, one after the other, the first."""
    last, kept = {}, []
    for operation in sorted(operations, key=lambda operation: operation.begin):
        if operation.kind != "read" or last.get(operation.node) != operation.value:
            kept.append(operation)
        last[operation.node] = operation.value
    return kept


class Graph:
    """Who comes before whom. Points of time are put between the values, so that the edges are few."""

    def __init__(self):
        self.numbers = {}   # value → its node of the graph
        self.following = []

    def add_node(self):
        self.following.append([])
        return len(self.following) - 1

    def number(self, value):
        if value not in self.numbers:
            self.numbers[value] = self.add_node()
        return self.numbers[value]

    def add_chain(self, before, after):
        """Every value of `before` (begin, end, value) comes before each of `after` that begins later
        than it ended, or is the same."""
        # At the same time a beginning comes first: only what is later counts.
        points = [(end, 1, value) for _, end, value in before] + [(begin, 0, value) for begin, _, value in after]
        last = self.add_node()
        for _, is_end, value in sorted(points):
            if is_end:
                point = self.add_node()
                self.following[last].append(point)
                self.following[self.number(value)].append(point)
                last = point
            else:
                self.following[last].append(self.number(value))

    def find_contradictions(self):
        """Sets of values each of which comes before all others of the set."""
        names = {number: value for value, number in self.numbers.items()}
        for component in self.components():
            values = {names[number] for number in component if number in names}
            if len(values) > 1:
                yield values

    def components(self):
        """Strongly connected components (Tarjan), without recursion."""
        index, low, on_stack, stack, counter = {}, {}, set(), [], 0
        for root in range(len(self.following)):
            if root in index:
                continue
            work = [(root, 0)]
            while work:
                node, at = work.pop()
                if at == 0:
                    index[node] = low[node] = counter
                    counter += 1
                    stack.append(node)
                    on_stack.add(node)
                descended = False
                for position in range(at, len(self.following[node])):
                    other = self.following[node][position]
                    if other not in index:
                        work += [(node, position + 1), (other, 0)]
                        descended = True
                        break
                    if other in on_stack:
                        low[node] = min(low[node], index[other])
                if descended:
                    continue
                if low[node] == index[node]:
                    component = []
                    while not component or component[-1] != node:
                        component.append(stack.pop())
                        on_stack.discard(component[-1])
                    yield component
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[node])
