# SPDX-License-Identifier: GPL-3.0-or-later
"""A living entry is one inode of a node's kernel, whichever node rewrites it: what was taken of a file goes on with it,
and nobody finds it empty, in part, or with bytes that nobody wrote. tests/mount/test_one_inode.py is the same on one node."""

import errno
import json
import os
import signal

import pytest

from harness import BUILD_DIR, DISTURBED, wait_for
from harness.cluster import corosync_conf
from harness.kept import StuckListing, read_all_ways, ways
from harness.ways import WAYS

PMXCFSCTL = os.path.join(BUILD_DIR, "src/ctl/pmxcfsctl")
OLD = b"the old content, which is longer than some of the new ones\n" * 3


def counter(node, name="storage.cfg"):
    return json.loads(node.read(".version"))[name]


def tell(writer, reader, name="storage.cfg"):
    """Waits until `reader` has made and told to its kernel all that was changed on `writer`, without a look at it: the
    counter of another file rises after that."""
    before = counter(reader, name)
    writer.write(name, b"of node %d, after %d" % (writer.number, before))
    wait_for(lambda: counter(reader, name) > before, "the counter rises on the other node")


@pytest.fixture
def path(cluster, folder):
    """A file that all nodes' kernels know."""
    path = folder + "/file"
    cluster[1].write(path, OLD)
    for node in cluster:
        wait_for(lambda: node.exists(path) and node.read(path) == OLD, "the file is there")
    return path


# How another node changes a file that is open here: each gives its content afterwards.


def rewrite(node, path):
    node.write(path, b"new\n")
    return b"new\n"


def rewrite_larger(node, path):
    node.write(path, b"N" * 9000)
    return b"N" * 9000


def rewrite_often(node, path):
    for number in range(10):
        node.write(path, b"%d\n" % number * (number + 1))
    return b"9\n" * 10


def truncate(node, path):
    node.os.truncate(node.path(path), 3)
    return OLD[:3]


def append(node, path):
    fd = node.os.open(node.path(path), os.O_WRONLY | os.O_APPEND)
    node.os.write(fd, b"more\n")
    node.os.close(fd)
    return OLD + b"more\n"


def empty(node, path):
    node.os.close(node.os.open(node.path(path), os.O_WRONLY | os.O_TRUNC))
    return b""


DIE = """
child = os.fork()
if child == 0:
    os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.kill(os.getpid(), signal.SIGKILL)
result = os.waitpid(child, 0)[1]
"""


def die_between_open_and_write(node, path):
    assert node.os.execute(DIE, {"path": node.path(path)}) == signal.SIGKILL
    inode = node.os.stat(node.path(path)).st_ino
    wait_for(lambda: [row[7] for row in node.rows() if row[0] == inode and row[7]] == [], "the truncation is made")
    return b""


CHANGES = [rewrite, rewrite_larger, rewrite_often, truncate, append, empty, die_between_open_and_write]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_was_taken_shows_the_file(cluster, path, change):
    """In all ways, first without that anybody here has looked at the name."""
    here, there = cluster[1], cluster[2]
    user = ways(here.os)
    numbers = {way: user.take(way, here.path(path)) for way in WAYS}
    fd, inode = here.os.open(here.path(path), os.O_RDONLY), here.os.stat(here.path(path)).st_ino

    def seen():
        """A kept map is one page."""
        return read_all_ways(user, numbers, 4096)

    assert seen() == dict.fromkeys(WAYS, OLD)
    content = change(there, path)
    tell(there, here)
    assert seen() == dict.fromkeys(WAYS, content[:4096])
    assert here.read(path) == content
    assert seen() == dict.fromkeys(WAYS, content[:4096])
    there.write(path, b"the last one")
    tell(there, here)
    assert here.read(path) == b"the last one"
    assert seen() == dict.fromkeys(WAYS, b"the last one")
    attributes = [here.os.fstat(fd), here.os.stat(here.path(path)), there.os.stat(there.path(path))]
    assert {(entry.st_ino, entry.st_size) for entry in attributes} == {(inode, 12)}
    assert user.statx(fd) == (inode, 12)
    for number in numbers.values():
        user.drop(number)


def test_changes_by_a_descriptor_from_before(cluster, path):
    """Writes, truncations and times by what was opened before another node rewrote the file."""
    here, there = cluster[1], cluster[2]
    fd = here.os.open(here.path(path), os.O_RDWR)

    def both_have(content):
        assert here.read(path) == here.os.pread(fd, 1 << 20, 0) == content
        wait_for(lambda: there.read(path) == content, "the other node has it")

    there.write(path, b"0123456789")
    tell(there, here)
    here.os.pwrite(fd, b"ab", 3)
    both_have(b"012ab56789")
    there.write(path, b"9876543210")
    tell(there, here)
    here.os.ftruncate(fd, 4)
    both_have(b"9876")
    there.write(path, b"x" * 10000)
    tell(there, here)
    here.os.pwrite(fd, b"end", here.os.lseek(fd, 0, os.SEEK_END))
    both_have(b"x" * 10000 + b"end")
    there.write(path, b"short")
    tell(there, here)
    here.os.utime(fd, (1700000000, 1700000000))
    both_have(b"short")
    assert here.os.stat(here.path(path)).st_mtime == 1700000000
    again = here.os.open("/proc/self/fd/%d" % fd, os.O_WRONLY | os.O_TRUNC)
    here.os.write(again, b"by proc")
    here.os.close(again)
    both_have(b"by proc")


def test_a_replaced_file_stays_what_it_was(cluster, path):
    here, there = cluster[1], cluster[2]
    inode = here.os.stat(here.path(path)).st_ino
    user = ways(here.os)
    kept = {way: user.take(way, here.path(path)) for way in ("pread", "kept-map", "direct", "map")}
    there.write(path + ".new", b"the replacement")
    there.os.rename(there.path(path + ".new"), there.path(path))
    tell(there, here)
    assert here.read(path) == b"the replacement"
    assert here.os.stat(here.path(path)).st_ino == there.os.stat(there.path(path)).st_ino != inode
    assert read_all_ways(user, kept) == dict.fromkeys(kept, OLD)
    for number in kept.values():
        user.drop(number)


@pytest.mark.parametrize("change", ["unlink", "replace"])
def test_no_name_is_left_of_what_others_took_away(cluster, path, change):
    """fstat() tells it, without a look-up of the name."""
    here, there = cluster[1], cluster[2]
    fd = here.os.open(here.path(path), os.O_RDONLY)
    assert here.os.fstat(fd).st_nlink == 1
    if change == "unlink":
        there.os.unlink(there.path(path))
    else:
        there.write(path + ".new", OLD)
        there.os.rename(there.path(path + ".new"), there.path(path))
    tell(there, here)
    assert here.os.fstat(fd).st_nlink == 0
    here.os.close(fd)


@pytest.mark.parametrize("call", ["write", "rewrite", "truncate"])
def test_a_write_that_a_rename_overtakes(cluster, folder, call):
    """A change goes to what has the path when its turn comes. If another node has renamed a file there since, it is made to
    that one; its caller, whose descriptor leads elsewhere, is not told that all is well. This node, which knew that file
    under its other name, shows what is in it."""
    here, there = cluster[1], cluster[2]
    path, other = here.path(folder + "/file"), here.path(folder + "/other")
    made = {"write": b"WRITTEN-renamed", "rewrite": b"WRITTEN", "truncate": b"ren"}[call]

    user, mover = here.daemon.worker(), there.daemon.worker()

    def race():
        """What is open, and which came first; None on a busy machine, when the others had gone on without the one."""
        there.write(folder + "/file", OLD)
        there.write(folder + "/other", b"renamed-renamed")
        tell(there, here)
        assert here.os.read_file(path) == OLD and here.os.read_file(other) == b"renamed-renamed"
        fd = user.open(path, os.O_WRONLY)
        kept = user.open(other, os.O_RDONLY)  # its kernel keeps what it knows of that one, too
        misses = here.misses()
        there.signal_corosync(signal.SIGSTOP)
        try:
            renaming = mover.start("rename", there.path(folder + "/other"), there.path(folder + "/file"))
            waiting = not renaming.done(0.1)
            if call == "rewrite":
                user.close(user.open(path, os.O_WRONLY | os.O_TRUNC))
            writing = user.start("truncate", fd, 3) if call == "truncate" else user.start("pwrite", fd, b"WRITTEN", 0)
            waiting = not writing.done(0.1) and waiting
        finally:
            there.signal_corosync(signal.SIGCONT)
        wait_for(lambda: renaming.done() and writing.done(), "both are answered")
        cluster.wait_settled()
        if here.misses() > misses:
            return fd, kept, None
        assert waiting, "they wait for the group"
        renaming.result()
        try:
            writing.result()
            return fd, kept, "before"
        except OSError as error:
            assert error.errno == errno.EBUSY
            return fd, kept, "after"

    outcome = None
    for _ in range(100):
        *fds, outcome = race()
        tell(there, here)
        expected = made if outcome == "after" else b"renamed-renamed"
        assert outcome is None or [node.read(folder + "/file") for node in cluster] == [expected] * 3, outcome
        for fd in fds:
            user.close(fd)
        if outcome == "after":
            break
    assert outcome == "after"


@pytest.mark.parametrize("call", ["write", "truncate"])
def test_a_write_to_a_file_that_was_moved_away(cluster, folder, call):
    """The same where the file that is open was not replaced, but lives on under another name: it is not the one that is
    changed, and the other one's change is shown here."""
    here, there = cluster[1], cluster[2]
    names = [folder + "/file", folder + "/other", folder + "/away"]
    path, other, away = (here.path(name) for name in names)
    old, new = b"old-content", b"renamed-renamed"

    def change(content):
        return content[:3] if call == "truncate" else b"WRITTEN" + content[7:]

    user = here.daemon.worker()

    def race():
        there.write(names[0], old)
        there.write(names[1], new)
        tell(there, here)
        assert here.os.read_file(path) == old and here.os.read_file(other) == new
        fd = user.open(path, os.O_WRONLY)
        kept = user.open(other, os.O_RDONLY)
        here.daemon.send_signal(signal.SIGSTOP)
        try:
            there.os.rename(there.path(names[0]), there.path(names[2]))
            there.os.rename(there.path(names[1]), there.path(names[0]))
            writing = user.start("truncate", fd, 3) if call == "truncate" else user.start("pwrite", fd, b"WRITTEN", 0)
            assert not writing.done(0.1), "the daemon does not run"
        finally:
            here.daemon.send_signal(signal.SIGCONT)
        try:
            writing.result()
            return fd, kept, {names[2]: change(old), names[0]: new}
        except OSError as error:
            assert error.errno == errno.EBUSY
            return fd, kept, {names[2]: old, names[0]: change(new)}

    for _ in range(100):
        *fds, expected = race()
        cluster.wait_settled()
        tell(there, here)
        for name, content in expected.items():
            assert [node.read(name) for node in cluster] == [content] * 3
        for fd in fds:
            user.close(fd)
        if expected[names[2]] == old:
            return
    pytest.fail("no write was overtaken")


def test_fsync_waits_for_a_truncation_that_is_under_way(cluster, folder, path):
    """Also if it was sent a while before, since no write followed."""
    here, there = cluster[1], cluster[2]
    user = here.daemon.worker()
    fd = user.open(here.path(path), os.O_WRONLY)

    def callers():
        done = here.daemon.run([PMXCFSCTL, "--socket-name", here.daemon.socket_name, "--json", "status"])
        return json.loads(done.stdout)["queues"]["callers"]

    there.signal_corosync(signal.SIGSTOP)
    try:
        here.os.close(here.os.open(here.path(path), os.O_WRONLY | os.O_TRUNC))
        wait_for(lambda: callers() == 1, "it is sent")
        syncing = user.start("fsync", fd)
        assert not syncing.done(0.1), "it waits for the group"
    finally:
        there.signal_corosync(signal.SIGCONT)
    syncing.result()
    user.close(fd)
    assert here.read(path) == b""


# Appends


@pytest.mark.parametrize("looks", [True, False])
def test_appends_through_descriptors_from_before(cluster, path, looks):
    """Each node appends through a descriptor from before the rewrite, one after the other: who has been told of the lines
    before puts its own behind them."""
    fds = {node: node.os.open(node.path(path), os.O_WRONLY | os.O_APPEND) for node in cluster}
    cluster[3].write(path, b"start\n")
    writer, expected = cluster[3], b"start\n"
    for number in range(5):
        for node in (cluster[1], cluster[2], cluster[3]):
            if looks:
                wait_for(lambda: node.read(path) == expected, "what was written before is here")
            elif node is not writer:
                tell(writer, node)
            line = b"node %d, line %d\n" % (node.number, number)
            assert node.os.write(fds[node], line) == len(line)
            writer, expected = node, expected + line
    for node in cluster:
        wait_for(lambda: node.read(path) == expected, "all lines are there: %r" % node.read(path))


APPEND = """
for number in range(50):
    line = b"%s %d\\n" % (name, number)
    assert os.write(fd, line) == len(line)
"""


def test_appends_by_several_processes_after_a_rewrite_elsewhere(cluster, path):
    """All of one node, by descriptors from before: no line is lost."""
    here, there = cluster[1], cluster[2]
    processes = [here.daemon.worker() for _ in range(4)]
    fds = [process.open(here.path(path), os.O_WRONLY | os.O_APPEND) for process in processes]
    there.write(path, b"start\n")
    tell(there, here)
    running = [process.start("execute", APPEND, {"fd": fd, "name": b"process%d" % number})
               for number, (process, fd) in enumerate(zip(processes, fds))]
    for one in running:
        one.result()
    lines = here.read(path).splitlines()
    assert lines[0] == b"start"
    assert sorted(lines[1:]) == sorted(b"process%d %d" % (process, number) for process in range(4) for number in range(50))
    wait_for(lambda: there.read(path) == here.read(path), "the other node has them")


# Locks


@pytest.mark.parametrize("change", [rewrite, rewrite_often, die_between_open_and_write], ids=lambda change: change.__name__)
def test_a_lock_is_kept(cluster, path, change):
    here, there = cluster[1], cluster[2]
    first, second = here.daemon.worker(), here.daemon.worker()
    for kind in ("flock", "posix", "ofd"):
        fd = first.open(here.path(path), os.O_RDWR)
        assert ways(first).lock(fd, kind)
        change(there, path)
        tell(there, here)
        name = second.open(here.path(path), os.O_RDWR)
        assert ways(second).lock(name, kind) is False, "two holders of one %s lock" % kind
        first.close(fd)
        assert ways(second).lock(name, kind) is True
        second.close(name)


# Who reads while another node writes

GROW = """
written = 0
number = 0
while number < 50 or not os.path.exists(stop):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    line = b"line %08d %s\\n" % (number, b"x" * (number * 37 % 200))
    assert os.write(fd, line) == len(line)
    os.close(fd)
    number += 1
result = number
"""

FOLLOW = DISTURBED + """
fd = os.open(path, os.O_RDONLY)
seen = []
length = 0
bad = []
while True:
    ended = os.path.exists(stop)
    size = os.fstat(fd).st_size
    if size < length:
        bad.append(("shrinks", length, size))
    disturbed()
    part = os.pread(fd, size - length, length) if size > length else b""
    if b"\\0" in part and disturbed():
        continue
    if b"\\0" in part:
        bad.append(("zeros", length, size, part.count(b"\\0")))
    seen.append(part)
    length += len(part)
    disturbed()
    if again and b"\\0" in os.pread(fd, 8192, max(0, size - 8000)) and not disturbed():
        bad.append(("zeros at the end", size))
    if ended and length >= wanted():
        break
result = b"".join(seen), bad
"""


def test_who_follows_a_growing_file(cluster, path, tmp_path):
    """As `tail -f` does: never a byte that nobody wrote, and all that was written in the end."""
    stop, length = str(tmp_path / "stop"), str(tmp_path / "length")
    wanted = "def wanted():\n    return int(open(%r).read()) if os.path.exists(%r) else 1 << 30\n" % (length, length)
    start = b"a line that is there already\n" * 15000
    cluster[2].write(path, start)
    for node in cluster:
        wait_for(lambda: node.read(path) == start, "the start is there")
    followers = [node.daemon.worker().start("execute", wanted + FOLLOW, {"path": node.path(path), "stop": stop, "again": again})
                 for node, again in ((cluster[1], False), (cluster[3], True))]
    asking = [ways(node.daemon.worker()).worker.begin("ways", "ask_for_size", node.path(path), stop) for node in (cluster[1], cluster[3])]
    growing = cluster[2].daemon.worker().start("execute", GROW, {"path": cluster[2].path(path), "stop": stop})
    growing.done(2.5)
    open(stop, "w").close()
    lines = growing.result()
    content = cluster[2].read(path)
    assert content.count(b"\n") == lines + 15000
    assert all(one.result() for one in asking)
    with open(length + ".new", "w") as file:
        file.write(str(len(content)))
    os.rename(length + ".new", length)
    for one in followers:
        seen, bad = one.result()
        assert bad == []
        assert seen == content


WRITE_WHOLE = """
import hashlib, random
chance = random.Random(seed)
number = 0
while not os.path.exists(stop):
    number += 1
    size = chance.choice(sizes)
    data = b"%08d %08d " % (number, size) + bytes([97 + number % 26]) * size
    data += hashlib.md5(data).hexdigest().encode() + b"\\n"
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    assert os.write(fd, data) == len(data)
    os.close(fd)
    if number == 21:
        os.close(os.open(enough, os.O_WRONLY | os.O_CREAT))
result = number
"""

READ_WHOLE = DISTURBED + """
import hashlib
count = 0
bad = []
end = time.monotonic() + 2.5
while count < 50 or time.monotonic() < end or not os.path.exists(enough):
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    disturbed()
    data = os.read(fd, 1 << 21)
    excused = b"\\0" in data and disturbed()
    again = os.pread(fd, 8, 0)
    os.close(fd)
    count += 1
    if excused:
        continue
    whole = len(data) > 33 and data[-33:-1] == hashlib.md5(data[:-33]).hexdigest().encode()
    # One call that reads more than a page may go from one content to the next, as on other file systems.
    large = len(data) > 4096
    if size == 0 or not data or b"\\0" in data or not (whole or large):
        bad.append((size, len(data), data[:18], data[-34:], again, data.count(b"\\0")))
result = bad
"""


@pytest.mark.parametrize("sizes", [(1, 100, 1000, 3900), (100, 5000, 150000, 1000000)], ids=["small", "large"])
def test_rewrites_are_seen_whole_elsewhere(cluster, path, tmp_path, sizes):
    """Nobody who opens the file on another node sees it empty, in part, or with bytes that nobody wrote."""
    stop, enough = str(tmp_path / "stop"), str(tmp_path / "enough")
    writer, readers = cluster[1], [cluster[2], cluster[3], cluster[3]]
    writing = writer.daemon.worker().start("execute", WRITE_WHOLE, {"path": writer.path(path), "stop": stop, "enough": enough,
                                                                    "seed": 1, "sizes": sizes})
    for node in readers:
        wait_for(lambda: node.read(path) != OLD, "the first rewrite is there")
    reading = [node.daemon.worker().start("execute", READ_WHOLE, {"path": node.path(path), "enough": enough}) for node in readers]
    bad = [one.result() for one in reading]
    open(stop, "w").close()
    assert writing.result() > 20
    assert bad == [[], [], []]


COUNT_UP = """
fd = os.open(path, os.O_WRONLY)
number = 0
while number < 100 or not os.path.exists(stop):
    number += 1
    os.pwrite(fd, b"%010d" % number, 0)
os.close(fd)
"""

COMPARE = """
import json
bad = []
end = time.monotonic() + 2
count = 0
while count < 50 or time.monotonic() < end:
    count += 1
    fd = os.open(version, os.O_RDONLY)
    risen = json.loads(os.read(fd, 65536))["storage.cfg"] - begin
    os.close(fd)
    fd = os.open(path, os.O_RDONLY)
    size, data = os.fstat(fd).st_size, os.read(fd, 100)
    os.close(fd)
    if size != 10 or len(data) != 10 or int(data) < risen:
        bad.append((risen, size, data))
result = bad
"""


def test_who_opens_after_the_counter_rose_sees_the_new_content(cluster, tmp_path):
    stop = str(tmp_path / "stop")
    writer, readers = cluster[1], [cluster[2], cluster[3]]
    writer.write("storage.cfg", b"%010d" % 0)
    for node in readers:
        tell(writer, node, "user.cfg")
    reading = [node.daemon.worker().start("execute", COMPARE, {"path": node.path("storage.cfg"), "version": node.path(".version"),
                                                                "begin": counter(node)}) for node in readers]
    writing = writer.daemon.worker().start("execute", COUNT_UP, {"path": writer.path("storage.cfg"), "stop": stop})
    bad = [one.result() for one in reading]
    open(stop, "w").close()
    writing.result()
    assert bad == [[], []]


REWRITE_LOOSELY = """
import errno
spans = []
begin = None
number = 0
while not os.path.exists(stop):
    begin = begin or time.monotonic()
    try:
        fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(fd, b"content %d\\n" % number)
        finally:
            os.close(fd)
        spans.append((begin, time.monotonic()))
        begin = None
        number += 1
    except OSError as error:
        assert error.errno in (errno.EACCES, errno.EBUSY), error
    time.sleep(0.01)
result = spans + ([(begin, time.monotonic() + 1)] if begin else [])
"""

NAMES_LOOSELY = """
import errno
while not os.path.exists(stop):
    for call in (os.mkdir, os.rmdir):
        try:
            call(path)
        except OSError as error:
            assert error.errno in (errno.EACCES, errno.EBUSY, errno.EEXIST, errno.ENOENT), error
"""

LOOK = """
count, bad = 0, []
while not os.path.exists(stop):
    begin = time.monotonic()
    fd = os.open(path, os.O_RDONLY)
    data = os.read(fd, 1000)
    os.close(fd)
    count += 1
    if not data.startswith(b"content "):
        bad.append((begin, time.monotonic(), data))
    if count == 30:
        open(enough, "w").close()
    time.sleep(0.0005)
result = bad
"""


def test_empty_only_between_open_and_write(cluster, folder, path, tmp_path):
    """Here while a writer is between its open and the end of its write, elsewhere never: also while names come and go
    beside the file and another node is cut off."""
    stop = str(tmp_path / "stop")
    here, there = cluster[1], cluster[2]
    here.write(path, b"content -\n")
    wait_for(lambda: there.read(path) == b"content -\n", "it is there")
    writer = here.daemon.worker().start("execute", REWRITE_LOOSELY, {"path": here.path(path), "stop": stop})
    neighbour = here.daemon.worker().start("execute", NAMES_LOOSELY, {"path": here.path(folder + "/neighbour"), "stop": stop})
    lookers = {
        node: node.daemon.worker().start("execute", LOOK, {"path": node.path(path), "stop": stop, "enough": stop + node.name})
        for node in (here, there)
    }
    cluster[3].cut()
    wait_for(lambda: here.online() == ["node1", "node2"], "the node is missed")
    content = there.read(path)
    wait_for(lambda: there.read(path) != content, "rewrites go on")
    for node in lookers:
        wait_for(lambda: os.path.exists(stop + node.name), "somebody looks")
    open(stop, "w").close()
    spans = writer.result()
    neighbour.result()
    for node, looker in lookers.items():
        unexplained = [look for look in looker.result()
                       if node is there or look[2] or not any(begin < look[1] and look[0] < end for begin, end in spans)]
        assert unexplained == []


# A listing that is stuck


def test_a_stuck_listing_holds_up_its_names_alone(cluster, folder):
    """Somebody holds a directory's lock here while another node changes names in it: pages, counters and all other
    directories are up to date nevertheless, and the log says who holds up what."""
    here, there = cluster[1], cluster[2]
    stuck, other = folder + "/stuck", folder + "/other"
    for directory in (stuck, other):
        there.os.mkdir(there.path(directory))
        for name in ("file", "goes"):
            there.write(directory + "/" + name, OLD)
    tell(there, here)
    for directory in (stuck, other):
        for name in ("file", "goes"):
            assert here.read(directory + "/" + name) == OLD
        assert not here.exists(directory + "/comes")
    fd = here.os.open(here.path(stuck + "/file"), os.O_RDONLY)
    with StuckListing(here.namespace, here.path(stuck)) as listing:
        for number in range(3):
            for directory in (stuck, other):
                there.write(directory + "/file", b"%d" % number)
                if number == 0:
                    there.os.unlink(there.path(directory + "/goes"))
                    there.os.mkdir(there.path(directory + "/comes"))
                there.os.mkdir(there.path("%s/comes%d" % (directory, number)))
            tell(there, here)
            assert here.read(other + "/file") == b"%d" % number
            assert here.os.pread(fd, 100, 0) == b"%d" % number, "the pages of a file in the directory"
            assert here.exists(other + "/comes") and not here.exists(other + "/goes")
            assert sorted(here.os.listdir(here.path(other))) == sorted(
                ["comes", "file"] + ["comes%d" % made for made in range(number + 1)])
            here.os.mkdir(here.path("%s/own%d" % (other, number)))
            here.os.rmdir(here.path("%s/own%d" % (other, number)))
            assert listing.is_stuck()

        def told():
            lines = [line for line in here.daemon.log_text().splitlines() if stuck in line]
            return [line for line in lines if "hold_listing" in line or str(listing.pid) in line]

        wait_for(told, "the log says which directory, and who holds it")
    wait_for(lambda: here.exists(stuck + "/comes") and not here.exists(stuck + "/goes"), "its names are seen in the end")
    names = ["comes", "comes0", "comes1", "comes2", "file"]
    wait_for(lambda: sorted(here.os.listdir(here.path(stuck))) == names, "its listing is right in the end")
    assert here.read(stuck + "/file") == b"2"


# A change that fails its caller, and is made nevertheless


CALLS = {"mkdir": ("mkdir", "new"), "unlink": ("unlink", "file"), "rename": ("rename", "file", "new"),
         "create": ("open", "new", os.O_CREAT | os.O_WRONLY)}
AFTER = {"mkdir": {"file", "new"}, "unlink": set(), "rename": {"new"}, "create": {"file", "new"}}


@pytest.mark.parametrize("call", CALLS)
def test_a_change_whose_caller_was_killed(cluster, folder, call):
    """It is made once the group goes on. This node's kernel, asked in between, is told then."""
    here, there = cluster[1], cluster[2]
    there.write(folder + "/file", OLD)
    tell(there, here)
    function, *arguments = CALLS[call]
    arguments = [here.path(folder + "/" + part) if isinstance(part, str) else part for part in arguments]
    assert here.read(folder + "/file") == OLD
    assert not here.exists(folder + "/new")

    def names(node):
        return {name for name in ("file", "new") if node.exists(folder + "/" + name)}

    caller = here.daemon.worker()
    pid = caller.getpid()
    here.signal_corosync(signal.SIGSTOP)
    try:
        pending = caller.start(function, *arguments)
        assert not pending.done(0.15), "it waits for the group"
        here.namespace.kill(pid)
        wait_for(lambda: caller.process.poll() is not None, "the caller can be killed")
        assert names(here) == {"file"}
    finally:
        here.signal_corosync(signal.SIGCONT)
    wait_for(lambda: names(there) == AFTER[call], "the change is made")
    cluster.wait_equal()
    tell(there, here)
    assert names(here) == set(here.os.listdir(here.path(folder))) == AFTER[call]


MAKE_AND_REMOVE = """
import errno
number = 0
try:
    while True:
        number += 1
        assert not os.path.exists("%s/%d" % (directory, number))
        os.mkdir("%s/%d" % (directory, number))
        if number > 3:
            os.rmdir("%s/%d" % (directory, number - 3))
except OSError as error:
    assert error.errno == errno.EBUSY, error
"""


def leave_unanswered(node, directories, killed):
    """Processes that change names in these directories all the time are left without an answer, or killed then."""
    callers = [node.daemon.worker() for _ in directories]
    pids = [caller.getpid() for caller in callers]
    running = [caller.start("execute", MAKE_AND_REMOVE, {"directory": node.path(directory)})
               for caller, directory in zip(callers, directories)]
    for directory in directories:
        path = node.path(directory)
        wait_for(lambda: any(int(name) > 5 for name in node.os.listdir(path)), "changes are made")
    node.signal_corosync(signal.SIGSTOP)
    try:
        for pid in pids if killed else []:
            node.namespace.kill(pid)
        for caller, one in zip(callers, running):
            wait_for(lambda: caller.process.poll() is not None, "the caller can be killed") if killed else one.result()
    finally:
        node.signal_corosync(signal.SIGCONT)


def test_changes_that_were_made_but_not_answered(make_cluster):
    """With --acknowledge all a change is made before its caller is answered, who may be dead by then, or is told that
    there was no answer. Many at once, so that some are just there when corosync stops."""
    cluster = make_cluster(options=["--acknowledge", "all", "--answer-timeout", "5"])
    for node in cluster:
        node.write_conf(corosync_conf(cluster.numbers, token=4000))  # nobody is missed before it has no answers
    cluster.start()
    here, there, _ = cluster
    for round, killed in enumerate((True, False, True)):
        directories = ["directory%d-%d" % (round, number) for number in range(8)]
        for directory in directories:
            here.os.mkdir(here.path(directory))
        leave_unanswered(here, directories, killed)
        cluster.wait_settled()
        tell(there, here)
        found = {}
        for directory in directories:
            listed = there.os.listdir(there.path(directory))
            assert set(here.os.listdir(here.path(directory))) == set(listed)
            last = max(map(int, listed))
            found[directory] = [number for number in range(max(1, last - 6), last + 4)
                                if here.exists("%s/%d" % (directory, number)) != (str(number) in listed)]
        assert found == dict.fromkeys(directories, []), "names that are seen wrongly here"


def test_names_beside_each_other_on_all_nodes(cluster, folder):
    """open(O_CREAT) without O_EXCL, on three nodes that make and unlink one name: no error but of a node in trouble."""
    code = """
import errno
result = []
for number in range(150):
    try:
        fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o640)
    except OSError as error:
        result.append("open " + errno.errorcode[error.errno])
        continue
    os.close(fd)
    try:
        os.unlink(path)
    except OSError as error:
        if error.errno != errno.ENOENT:
            result.append("unlink " + errno.errorcode[error.errno])
"""
    running = [node.daemon.worker().start("execute", code, {"path": node.path(folder + "/name")}) for node in cluster]
    assert [error for one in running for error in one.result()] == []
