# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong in a real cluster, one fault after the other, from a seed; each shows that it had an effect."""

import errno
import random
import shutil
import signal
import time

from checker import Fault
from harness import wait_for
from harness.cluster import TOKEN_MILLISECONDS, Node, corosync_conf
from harness.failing_disk import FailingDisk
from harness.other_clock import OtherClock

CLIENTS = 2  # on each node

# A node that is cut off has at most one change under way for each of its clients, and can be ahead of the
# others by so many. The highest version wins (doc/cluster.md), so the others get ahead before it comes back.
AHEAD = 4 * CLIENTS

LONG = 900            # bytes; packets of a longer change are larger
DISK_SIZE = 64 << 20  # of each node's state directory
DAY = 86400

# Fills a disk to its last byte, again and again: what the daemon gives free is taken as well.
FILL = """
fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
size = 1 << 20
while size:
    try:
        os.write(fd, bytes(size))
    except OSError:
        size //= 4
os.close(fd)
"""


class Sick:
    """What can be done to a node's disk and clock, made ready before it starts."""

    def __init__(self, node):
        node.daemon.limit_disk(DISK_SIZE)
        self.disk = FailingDisk(node.daemon, node.directory)
        self.clock = OtherClock(node.daemon, node.directory)


class Faults:
    """The kinds. Each breaks something, waits until it is known to be broken, and mends it; it returns those
    whose last changes nobody else may have, and how it was seen."""

    def __init__(self, cluster, clients, seed, acknowledge_all):
        self.cluster = cluster
        self.switch = cluster.switch
        self.clients = clients
        self.acknowledge_all = acknowledge_all
        self.random = random.Random(seed)
        self.names = {}
        self.token = TOKEN_MILLISECONDS

    def others(self, node):
        return [other for other in self.cluster if other is not node]

    def others_go_on(self, node, more=AHEAD):
        """Until it is known that they do so without that node."""
        others = self.others(node)
        wait_for(lambda: all(node.name not in other.online() and other.is_quorate() for other in others),
                 "the others go on without " + node.name)
        self.clients.wait_progress(others, more)
        return {node}, "the others went on"

    # Links and processes

    def cut(self, node):
        node.cut()
        seen = self.others_go_on(node)
        node.mend()
        return seen

    def kill_daemon(self, node):
        node.daemon.kill()
        if self.random.random() < 0.5:
            self.clients.wait_progress(self.others(node), AHEAD)
        node.daemon.start()
        return set(), "it was gone"

    def kill_corosync(self, node):
        node.end_corosync()
        seen = self.others_go_on(node)
        node.start_corosync()
        return seen

    def stop_corosync(self, node):
        node.signal_corosync(signal.SIGSTOP)
        seen = self.others_go_on(node)
        node.signal_corosync(signal.SIGCONT)
        return seen

    def stop_daemon(self, node):
        node.daemon.send_signal(signal.SIGSTOP)
        if self.acknowledge_all:  # it is a member, and does not confirm
            self.clients.wait_standstill(self.others(node))
        else:
            self.clients.wait_progress(self.others(node), AHEAD)
        node.daemon.send_signal(signal.SIGCONT)
        return set(), "the others " + ("waited" if self.acknowledge_all else "went on")

    def power(self, node):
        node.end()
        seen = self.others_go_on(node)
        node.start()
        return seen

    def cut_and_kill_daemon(self, node):
        node.cut()
        node.daemon.kill()
        seen = self.others_go_on(node)
        node.daemon.start()
        node.mend()
        return seen

    def come_back(self, node, mend):
        """Two of three are enough; they get ahead of the third, whose last changes may be its own."""
        first, last = self.random.sample(self.others(node), 2)
        for other in (node, first):
            mend(other)
        wait_for(lambda: node.is_quorate() and first.is_quorate(), "two of three are quorate")
        self.clients.wait_progress([node, first], AHEAD)
        mend(last)
        return set(self.cluster), "nobody was quorate"

    def cut_all(self, node):
        for other in self.cluster:
            other.cut()
        wait_for(lambda: not any(other.is_quorate() for other in self.cluster), "all are alone")
        return self.come_back(node, lambda other: other.mend())

    def kill_two_corosyncs(self, node):
        others = self.others(node)
        for other in others:
            other.end_corosync()
        wait_for(lambda: not node.is_quorate(), "%s is alone" % node.name)
        return self.come_back(node, lambda other: other.start_corosync() if other.corosync is None else None)

    # Packets

    def some_directions(self, node):
        """All; those of a node; those from it; those to it."""
        return self.random.choice([
            self.switch.directions(), self.switch.directions(node.number),
            [(one, other) for one, other in self.switch.directions() if one == node.number],
            [(one, other) for one, other in self.switch.directions() if other == node.number]])

    def disturb(self, directions, what, **settings):
        """Until that was seen often enough; then for a while of any length."""
        before = self.switch.counts()
        self.switch.disturb(directions, **settings)
        minimum = 3 if what == ["oversize"] else 20
        wait_for(lambda: all(self.switch.counts()[name] - before[name] >= minimum for name in what),
                 "packets are " + " and ".join(what))
        time.sleep(self.random.random() * 2)
        self.switch.calm()
        after = self.switch.counts()
        return set(), ", ".join("%d %s" % (after[name] - before[name], name) for name in what)

    def drop(self, node):
        return self.disturb(self.some_directions(node), ["dropped"], drop=self.random.choice([1, 5, 20, 50]))

    def drop_long(self, node):
        return self.disturb(self.some_directions(node), ["oversize"], over=LONG)

    def delay(self, node):
        return self.disturb(self.some_directions(node), ["delayed"], delay=self.random.choice([1, 5, 20, 100]))

    def reorder(self, node):
        return self.disturb(self.some_directions(node), ["reordered"], jitter=self.random.choice([2, 10, 50]))

    def duplicate(self, node):
        return self.disturb(self.some_directions(node), ["duplicated"], duplicate=self.random.choice([10, 50, 100]),
                            jitter=self.random.choice([0, 0, 5]))

    def bad_network(self, node):
        """Some of everything."""
        return self.disturb(self.some_directions(node), ["dropped", "reordered", "duplicated"], drop=3, duplicate=5, delay=1, jitter=4)

    def drop_one_way(self, node):
        """It is not heard any more, or hears nobody."""
        outward = self.random.random() < 0.5
        before = self.switch.counts()
        self.switch.disturb([pair for pair in self.switch.directions() if pair[0 if outward else 1] == node.number], drop=100)
        nodes, _ = self.others_go_on(node)
        self.switch.calm()
        return nodes, "%d dropped %s it" % (self.switch.counts()["dropped"] - before["dropped"], "from" if outward else "to")

    def drop_long_and_cut(self, node):
        """The others lack what it sends while they live on; then they lose it, and get ahead of it."""
        known = self.clients.acknowledged(node)
        before = self.switch.counts()
        self.switch.disturb([pair for pair in self.switch.directions() if pair[0] == node.number], over=LONG)
        wait_for(lambda: self.switch.counts()["oversize"] > before["oversize"], "a long packet is dropped")
        time.sleep(self.random.random() * 0.5)
        node.cut()
        self.switch.calm()
        nodes, _ = self.others_go_on(node, 0)
        alone = self.clients.acknowledged(node) - known
        # It may have what all clients had under way, and its own acknowledged changes, each of up to three steps.
        self.clients.wait_progress(self.others(node), AHEAD + CLIENTS * len(self.cluster.nodes) + 3 * alone)
        node.mend()
        return nodes, "%d oversize, %d changes meanwhile" % (self.switch.counts()["oversize"] - before["oversize"], alone)

    # Disks

    def break_disk(self, node, breaks):
        """Does so, again and again, until its daemon has left for that."""
        def told():
            return node.daemon.log_text().count("the database did not take a change")

        before = told()

        def broken():
            breaks()
            return told() > before

        wait_for(broken, "%s cannot store" % node.name)
        self.clients.wait_progress(self.others(node), AHEAD)

    def failing_disk(self, node):
        error = self.random.choice([errno.EIO, errno.EROFS, errno.ENOSPC])
        self.break_disk(node, lambda: node.sick.disk.fail(error))
        node.sick.disk.mend()
        return set(), "%s, changes were not stored" % errno.errorcode[error]

    def full_disk(self, node):
        path = node.daemon.state_dir + "/filler"
        self.break_disk(node, lambda: node.os.execute(FILL, {"path": path}))
        node.os.unlink(path)
        return set(), "changes were not stored"

    # Clocks: it stays as it is until it jumps again.

    def jump_clock(self, node):
        ahead = self.random.choice([-400 * DAY, -DAY, -3600, -5, 0, 5, 3600, DAY, 400 * DAY])
        node.sick.clock.jump(ahead)
        shown = []

        def is_seen():
            other = self.others(node)[0]
            try:
                node.write("clock-%d" % node.number, b"")
                shown[:] = [other.os.stat(other.path("clock-%d" % node.number)).st_mtime - time.time()]
            except OSError:  # a membership that changes; or it is not there yet
                return False
            return abs(shown[0] - ahead) < 30

        wait_for(is_seen, "files of %s have its time" % node.name)
        self.clients.wait_progress(self.cluster.nodes, AHEAD)
        return set(), "files are of %+.0f s" % shown[0]

    # corosync.conf and the nodes in it

    def change_conf(self, numbers, nodes):
        """As administrators do it, on one of these nodes; all have it then, and so have their corosyncs."""
        self.cluster.version += 1
        version = self.cluster.version
        text = corosync_conf(numbers, version, token=self.token, names=self.names)

        def written():
            try:
                nodes[0].write("corosync.conf.new", text.encode())
                nodes[0].os.rename(nodes[0].path("corosync.conf.new"), nodes[0].path("corosync.conf"))
                return True
            except OSError:  # a membership that changes
                return False

        wait_for(written, "corosync.conf is written")
        for node in nodes:
            wait_for(lambda: node.members()["cluster"]["version"] == version, "corosync of %s has read it" % node.name)
            with open(node.daemon.corosync_conf) as file:
                assert file.read() == text
        return text

    def change_option(self, node):
        self.token = self.random.choice([500, 600, 700, 800])
        self.change_conf(self.cluster.numbers, [node, *self.others(node)])
        for other in self.cluster:
            shown = other.namespace.run(["corosync-cmapctl", "-g", "totem.token"]).stdout.split()
            assert shown[-1] == str(self.token), shown
        return set(), "version %d, token %d ms" % (self.cluster.version, self.token)

    def remove_node(self, node):
        """It is ended, taken out, and comes back as a new one."""
        node.end()
        nodes, _ = self.others_go_on(node)
        others = self.others(node)
        self.change_conf([other.number for other in others], others)
        assert all(node.name not in other.members()["nodelist"] for other in others)
        self.clients.wait_progress(others, AHEAD)
        node.write_conf(self.change_conf(self.cluster.numbers, others))
        node.namespace.run(["sh", "-c", "rm -rf %s/*" % node.daemon.state_dir], check=True)
        node.start()
        return nodes, "the others did not know it"

    def rename_node(self, node):
        """It is ended, and comes back under another name."""
        node.end()
        nodes, _ = self.others_go_on(node)
        others = self.others(node)
        node.name = node.daemon.name = "node%d" % node.number if node.number in self.names else "other%d" % node.number
        self.names = {other.number: other.name for other in self.cluster if other.name != "node%d" % other.number}
        node.write_conf(self.change_conf(self.cluster.numbers, others))
        node.start()
        wait_for(lambda: node.name in others[0].online(), "%s is there" % node.name)
        return nodes, "it is %s now" % node.name

    def add_node(self, node):
        """A fourth one, for a while."""
        number = len(self.cluster.nodes) + 1
        shutil.rmtree(self.cluster[1].directory[:-1] + str(number), ignore_errors=True)
        new = Node(self.cluster, number)
        try:
            new.write_conf(self.change_conf([*self.cluster.numbers, number], [node, *self.others(node)]))
            new.start()
            names = sorted([*(other.name for other in self.cluster), new.name])
            wait_for(lambda: new.online() == names and new.is_quorate(), "the new node is there")
            wait_for(lambda: new.exists("lin"), "the new node is in sync")
            self.clients.wait_progress(self.cluster.nodes, AHEAD)
            new.end()
        finally:
            try:
                self.switch.disconnect(number)
            finally:
                new.close()
        for other in self.cluster:
            wait_for(lambda: new.name not in other.online(), "%s sees that it is gone" % other.name)
        self.change_conf(self.cluster.numbers, [node, *self.others(node)])
        return set(), "it was in sync"


KINDS = (
    "cut", "kill_daemon", "kill_corosync", "stop_corosync", "stop_daemon", "power", "cut_and_kill_daemon", "cut_all", "kill_two_corosyncs",
    "drop", "drop_long", "delay", "reorder", "duplicate", "bad_network", "drop_one_way", "drop_long_and_cut",
    "failing_disk", "full_disk", "jump_clock", "change_option", "remove_node", "rename_node", "add_node")


class Injector:
    """Does one after the other; all kinds have been there before one comes again."""

    def __init__(self, cluster, clients, seed, acknowledge_all, kinds, tell):
        self.cluster = cluster
        self.clients = clients
        self.names = list(kinds or KINDS)
        self.kinds = Faults(cluster, clients, seed, acknowledge_all)
        self.random = self.kinds.random
        self.tell = tell
        self.faults = []
        self.order = []
        # Two runs of one seed, each of few faults, have different ones.
        self.first = len(self.names) // 2 if acknowledge_all else 0

    def settle(self):
        names = sorted(node.name for node in self.cluster)
        for node in self.cluster:
            wait_for(lambda: node.online() == names and node.is_quorate(), "%s is back" % node.name)
        for node in self.cluster:
            self.clients.wait_progress([node], 3)

    def memberships(self):
        """How many corosync has formed, on all nodes together."""
        total = 0
        for node in self.cluster:
            with open(node.corosync_log, errors="replace") as file:
                total += file.read().count("A new membership")
        return total

    def next_kind(self):
        if not self.order:
            kinds = self.random.sample(self.names, len(self.names))
            self.order = kinds[self.first:] + kinds[:self.first]
        return self.order.pop(0)

    def inject(self):
        node = self.random.choice(self.cluster.nodes)
        kind = self.next_kind()
        memberships = self.memberships()
        begin = time.monotonic()
        time.sleep(self.random.random() * 0.2)  # any moment of what the clients do
        nodes, seen = getattr(self.kinds, kind)(node)
        self.settle()
        # A network that was only disturbed may have fallen apart all the same, anyhow.
        apart = not nodes and kind != "add_node" and self.memberships() > memberships
        nodes = self.cluster if apart else nodes
        end = time.monotonic()
        self.faults.append(Fault(kind, frozenset(hit.number for hit in nodes), begin, end, apart))
        self.tell("%d: %s, %s, %.1f s: %s%s" % (len(self.faults), kind, node.name, end - begin, seen, "; fell apart" if apart else ""))
