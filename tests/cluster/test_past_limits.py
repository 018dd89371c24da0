# SPDX-License-Identifier: GPL-3.0-or-later
"""What the manual of pmxcfs said it could not do: O_EXCL, whole rewrites, calls that can be killed, a
change feed."""

import json
import os
import signal
import time

import pytest

from harness import BUILD_DIR, DISTURBED, PATIENCE, wait_for

# Forks `processes` children that all make the names 0 to `names` with `flags`; result: how often each
# name was made, and how often it was there already.
RACE = """
import errno
pipes = []
for child in range(processes):
    read, write = os.pipe()
    if os.fork() == 0:
        made, there = [], 0
        for number in range(names):
            try:
                fd = os.open("%s/%d" % (folder, number), flags, 0o640)
                os.close(fd)
                made.append(number)
            except FileExistsError:
                there += 1
        os.write(write, repr((made, there)).encode())
        os._exit(0)
    os.close(write)
    pipes.append(read)
result = []
for read in pipes:
    text = b""
    while part := os.read(read, 65536):
        text += part
    result.append(eval(text))
    os.wait()
"""


def version(node):
    """The global version that the node has stored."""
    return next(row[2] for row in node.rows() if row[0] == 0)


def race(cluster, folder, flags, names):
    """[(names made, how many were there)] of 8 processes on each node, all at once."""
    calls = []
    for node in cluster:
        arguments = {"folder": node.path(folder), "flags": flags, "processes": 8, "names": names}
        calls.append(node.daemon.worker().start("execute", RACE, arguments))
    return [result for call in calls for result in call.result(300)]


def test_o_excl_has_one_winner(cluster, folder):
    names = 200
    results = race(cluster, folder, os.O_WRONLY | os.O_CREAT | os.O_EXCL, names)
    winners = [number for made, _ in results for number in made]
    assert sorted(winners) == list(range(names))
    assert sum(there for _, there in results) == names * (len(results) - 1)
    cluster.wait_equal()


def test_o_creat_alone_always_succeeds(cluster, folder):
    names = 50
    for made, there in race(cluster, folder, os.O_WRONLY | os.O_CREAT, names):
        assert len(made) == names and there == 0
    cluster.wait_equal()
    assert len(cluster[2].os.listdir(cluster[2].path(folder))) == names


LONGEST = 960 << 10  # bytes of data in one change

# Rewrites a file in one piece, again and again: each content is one letter, in one of `sizes`. Some of
# the openers are killed before they write.
REWRITE = """
import random
rounds = 0
while rounds <= 50 or not os.path.exists(stop):
    letter = b"abcdefghijklmnopqrstuvwxyz"[rounds % 26:rounds % 26 + 1]
    if rounds % 5 == 4:
        pid = os.fork()
        if pid == 0:
            os.open(path, os.O_WRONLY | os.O_TRUNC)
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.write(fd, letter * random.choice(sizes))
    os.close(fd)
    rounds += 1
result = rounds
"""

# Reads it all the time; result: how often, and what was seen that is no whole content.
READ = DISTURBED + """
reads, bad = 0, []
while reads == 0 or not os.path.exists(stop):
    fd = os.open(path, os.O_RDONLY)
    disturbed()
    data = os.read(fd, 1 << 21)
    excused = 0 in data and disturbed()
    os.close(fd)
    reads += 1
    # One call that reads more than a page may go from one content to the next, as on other file systems.
    if not excused and (len(data) <= 4096 and (len(set(data)) > 1 or len(data) not in sizes) or 0 in data):
        bad.append((len(data), sorted(set(data))))
result = (reads, bad)
"""


def test_rewrites_are_seen_whole(cluster, folder):
    """Readers on the other nodes see the old content or the new, in one call that reads a page. Empty is what a
    killed opener leaves: its truncation counts as a change of its own."""
    sizes = [1, 500, 4096, 4097, 100000, LONGEST]
    path = folder + "/file"
    cluster[1].write(path, b"a" * 500)
    cluster.wait_equal()
    stop = {node: os.path.join(node.directory, "stop-" + folder) for node in cluster}

    def start(node, code, allowed):
        names = {"path": node.path(path), "stop": stop[node], "sizes": allowed}
        return node.daemon.worker().start("execute", code, names)

    writer = start(cluster[1], REWRITE, sizes)
    readers = [start(node, READ, sizes + [0]) for node in (cluster[2], cluster[3])]
    first = cluster[1].os.stat(cluster[1].path(path)).st_ino
    # A good number of rewrites, however slow the machine is.
    begin = version(cluster[1])
    wait_for(lambda: version(cluster[1]) >= begin + 150, "150 rewrites")
    for name in stop.values():
        open(name, "w").close()
    assert writer.result() > 50
    for reader in readers:
        reads, bad = reader.result()
        assert reads > 0
        assert bad == []
    assert cluster[1].os.stat(cluster[1].path(path)).st_ino == first
    cluster.wait_equal()


REWRITE_ONCE = """
begin = time.monotonic()
fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
with open(path, "rb") as file:
    empty = file.read()
os.write(fd, b"x" * size)
seconds = time.monotonic() - begin
os.close(fd)
result = seconds, empty
"""


def test_rewrite_is_one_change(cluster, folder):
    """The truncation travels with the write: one version, also of the longest."""
    worker = cluster[1].daemon.worker()
    names = {"path": cluster[1].path(folder + "/file"), "size": LONGEST}
    versions = set()
    while 1 not in versions:  # on a busy machine a truncation may have waited for too long
        cluster[1].write(folder + "/file", b"old")
        cluster.wait_equal()
        before = version(cluster[1])
        seconds, empty = worker.execute(REWRITE_ONCE, names)
        assert empty == b""
        versions.add(version(cluster[1]) - before)
        assert seconds > 0.1 or versions == {1}
    wait_for(lambda: cluster[2].read(folder + "/file") == b"x" * LONGEST, "the new content is there")


@pytest.mark.parametrize("state", ("hangs", "no quorum"))
def test_stop_in_trouble_is_bounded(cluster, folder, state):
    """The daemon stops although corosync hangs, or changes wait without quorum."""
    node = cluster[3]
    if state == "hangs":
        node.signal_corosync(signal.SIGSTOP)
    else:
        node.cut()
    worker = node.daemon.worker()
    worker.start("mkdir", node.path(folder + "/directory"))
    node.daemon.stop()
    if state == "hangs":
        node.signal_corosync(signal.SIGCONT)
    else:
        node.mend()
    node.daemon.start()
    cluster.wait_settled()


@pytest.mark.parametrize("state", ("hangs", "cut off"))
def test_a_caller_can_be_killed(cluster, folder, state):
    """Whoever waits for a change ends when killed, while reads go on."""
    node = cluster[3]
    node.write(folder + "/file", b"content")
    if state == "hangs":
        node.signal_corosync(signal.SIGSTOP)
    else:
        node.cut()
    worker = node.daemon.worker()
    caller = worker.getpid()
    worker.start("mkdir", node.path(folder + "/directory"))
    assert node.read(folder + "/file") == b"content"
    begin = time.monotonic()
    node.namespace.kill(caller, signal.SIGKILL)
    assert node.namespace.init.wait_gone(caller, PATIENCE), "the caller has not ended"
    print("ended after %.0f ms" % ((time.monotonic() - begin) * 1000))
    assert node.read(folder + "/file") == b"content"
    if state == "hangs":
        node.signal_corosync(signal.SIGCONT)
    else:
        node.mend()
    cluster.wait_settled()


# Waits in mkdir; a handler notes signals that do not end it.
WAIT_IN_MKDIR = """
signal.signal(signal.SIGALRM, lambda number, frame: open(noted, "w").close())
signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
open(begun, "w").close()
try:
    os.mkdir(path)
    result = 0
except OSError as error:
    result = error.errno
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_signals_that_do_not_kill_do_not_end_a_change(cluster, folder):
    node = cluster[3]
    worker = node.daemon.worker()
    begun = os.path.join(node.directory, "begun-" + folder)
    noted = os.path.join(node.directory, "noted-" + folder)
    node.signal_corosync(signal.SIGSTOP)
    names = {"path": node.path(folder + "/directory"), "begun": begun, "noted": noted}
    call = worker.start("execute", WAIT_IN_MKDIR, names)
    wait_for(lambda: os.path.exists(begun), "the change is asked for")
    # Three looks of the daemon at least, and as many alarms.
    assert not call.done(1.0)
    node.signal_corosync(signal.SIGCONT)
    assert call.result() in (0, 16)  # done, or EBUSY: the others went on without this node
    cluster.wait_settled()


def test_no_change_waits_for_ever(make_cluster):
    """With --answer-timeout a change without an answer gets EBUSY, so that others who wait for the
    directory get on."""
    cluster = make_cluster(2, ["--answer-timeout", "5"])
    cluster.start()
    cluster.wait_settled()
    node = cluster[2]
    node.os.mkdir(node.path("folder"))
    node.signal_corosync(signal.SIGSTOP)
    with pytest.raises(OSError) as error:
        node.os.mkdir(node.path("folder/directory"))
    assert error.value.errno == 16
    node.signal_corosync(signal.SIGCONT)


class Feed:
    """pmxcfsctl changes, running in a node."""

    def __init__(self, node, *arguments):
        self.output = os.path.join(node.directory, "changes-%d" % len(os.listdir(node.directory)))
        program = os.path.join(BUILD_DIR, "src", "ctl", "pmxcfsctl")
        command = [program, "--socket-name", node.daemon.socket_name, "changes", *arguments]
        node.namespace.spawn(command, self.output, cwd="/")

    def records(self):
        if not os.path.exists(self.output):
            return []
        with open(self.output) as file:
            return [json.loads(line) for line in file.read().split("\n")[:-1]]

    def wait(self, condition, what):
        wait_for(lambda: any(condition(record) for record in self.records()), what)


def test_feed_tells_changes_of_all_nodes(cluster, folder):
    begin = version(cluster[2])
    feed = Feed(cluster[2], "--since", str(begin))
    cluster[1].write(folder + "/one", b"content")
    wait_for(lambda: cluster[3].exists(folder + "/one") and cluster[3].read(folder + "/one"), "node3 has the file")
    cluster[3].os.rename(cluster[3].path(folder + "/one"), cluster[3].path(folder + "/two"))
    feed.wait(lambda record: record.get("target") == folder + "/two", "the rename is told")
    told = [(record["node"], record["operation"], record["path"]) for record in feed.records()]
    assert told == [
        ("node1", "create", folder + "/one"),
        ("node1", "write", folder + "/one"),
        ("node3", "rename", folder + "/one"),
    ]
    versions = [record["version"] for record in feed.records()]
    assert versions == [begin + 1, begin + 2, begin + 3]
    assert feed.records()[1]["size"] == 7


def test_feed_tells_a_synchronisation(cluster, folder):
    node = cluster[3]
    feed = Feed(node, "--since", str(version(node)))
    node.signal_corosync(signal.SIGSTOP)
    wait_for(lambda: cluster[1].online() == ["node1", "node2"], "the others go on without node3")
    cluster[1].write(folder + "/missed", b"content")
    node.signal_corosync(signal.SIGCONT)
    cluster.wait_settled()
    feed.wait(lambda record: record["operation"] == "resync", "the synchronisation is told")
    resync = [record for record in feed.records() if record["operation"] == "resync"][0]
    assert folder + "/missed" in resync["paths"]
    assert resync["from"] < resync["version"]


def test_nothing_hangs_while_joining(make_cluster):
    """Corosync freezes just when the daemon comes to it: reads answer, changes are refused at once, the
    stop is not held up; and all is well when it goes on."""
    cluster = make_cluster(2)
    cluster.start()
    cluster.wait_settled()
    cluster[1].write("file", b"content")
    cluster.wait_equal()
    node = cluster[2]
    node.daemon.stop()
    node.signal_corosync(signal.SIGSTOP)
    for _ in range(2):
        node.daemon.start()
        assert node.read("file") == b"content"
        assert node.daemon.os.read_file(node.path(".version"))
        with pytest.raises(PermissionError):
            node.os.mkdir(node.path("directory"))
        node.daemon.stop()
    node.signal_corosync(signal.SIGCONT)
    node.daemon.start()
    cluster.wait_settled()
