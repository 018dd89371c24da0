# SPDX-License-Identifier: GPL-3.0-or-later
"""A living entry is one inode of the kernel: whatever was taken of a file before it was rewritten goes on with the
file. Each test runs on a tmpfs too, where that can be: what is right is what that gives."""

import errno
import os
import stat

import pytest

from harness import DISTURBED, wait_for
from harness.kept import StuckListing, Watch, read_all_ways, ways
from harness.ways import WAYS
from support import read_rows

OLD = b"the old content, which is longer than some of the new ones\n" * 3


@pytest.fixture(scope="module")
def processes():
    """{name: (Worker, its pid)} of the processes that the tests share."""
    return {}


def usable(processes, daemon, name):
    """That process, or a new one in the place of one that a failed test left in a call."""
    worker, pid = processes.get(name) or (None, None)
    if worker and worker.busy:
        daemon.namespace.kill(pid)
        daemon.namespace.end_worker(worker)
        worker = None
    if not worker:
        worker = daemon.worker()
        processes[name] = worker, worker.getpid()
    return worker


@pytest.fixture
def shared(shared, processes):
    shared.default_worker = usable(processes, shared, "first")
    return shared


@pytest.fixture
def second_process(shared, processes):
    return usable(processes, shared, "second")


@pytest.fixture
def third_process(shared, processes):
    return usable(processes, shared, "third")


@pytest.fixture(params=["mount", "tmpfs"])
def place(request, shared, here):
    """An empty directory for this test, on the mount or on the namespace's tmpfs."""
    if request.param == "mount":
        return here
    path = "/mnt/control-" + os.path.basename(here)
    shared.os.mkdir(path)
    return path


@pytest.fixture
def path(shared, place):
    shared.os.write_file(place + "/file", OLD)
    return place + "/file"


# How a file changes under those who have it open: each takes two other processes, and gives what the content may be.

DIE = """
child = os.fork()
if child == 0:
    os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.kill(os.getpid(), signal.SIGKILL)
result = os.waitpid(child, 0)[1]
"""

REWRITE_OFTEN = """
for number in range(30):
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    assert os.write(fd, data) == len(data)
    os.close(fd)
"""


def rewrite(first, second, path):
    first.write_file(path, b"new\n")
    return [b"new\n"]


def rewrite_larger(first, second, path):
    first.write_file(path, b"N" * 9000)
    return [b"N" * 9000]


def rewrite_with_looks(first, second, path):
    for number in range(10):
        first.write_file(path, b"%d\n" % number * (number + 1))
        assert second.read_file(path) == b"%d\n" % number * (number + 1)
    return [b"9\n" * 10]


def truncate(first, second, path):
    first.truncate(path, 3)
    return [OLD[:3]]


def append(first, second, path):
    fd = first.open(path, os.O_WRONLY | os.O_APPEND)
    first.write(fd, b"more\n")
    first.close(fd)
    return [OLD + b"more\n"]


def die_between_open_and_write(first, second, path):
    assert first.execute(DIE, {"path": path}) == 9
    return [b""]


def rewrite_with_two_writers(first, second, path):
    contents = [b"one" * 20, b"two" * 20]
    running = [worker.start("execute", REWRITE_OFTEN, {"path": path, "data": data})
               for worker, data in zip((first, second), contents)]
    for one in running:
        one.result()
    return contents


CHANGES = [rewrite, rewrite_larger, rewrite_with_looks, truncate, append, die_between_open_and_write, rewrite_with_two_writers]

changes = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)


@pytest.fixture
def user(shared):
    """The process that keeps things, with the functions of ways.py."""
    return ways(shared.os)


@changes
@pytest.mark.parametrize("way", WAYS)
def test_what_was_taken_shows_the_file(shared, path, second_process, third_process, user, way, change):
    """Whatever reaches the file by what was taken of it before shows what its name shows, at once and later."""
    number = user.take(way, path)
    assert user.read(number) == OLD[:4096]
    expected = change(second_process, third_process, path)
    by_name = third_process.read_file(path)
    assert by_name in expected
    cut = 4096 if way == "kept-map" else len(by_name)
    assert user.read(number) == by_name[:cut]
    assert shared.os.read_file(path) == by_name
    assert user.read(number) == by_name[:cut]
    second_process.write_file(path, b"the last one")
    assert user.read(number) == shared.os.read_file(path) == b"the last one"
    user.drop(number)


@changes
def test_attributes_are_the_same_by_name_and_descriptor(shared, path, second_process, third_process, user, change):
    fd = shared.os.open(path, os.O_RDWR)
    place = shared.os.open(path, os.O_PATH)
    inode = shared.os.stat(path).st_ino
    for round in range(3):
        size = len(change(second_process, third_process, path)[0])
        if round:
            second_process.write_file(path, OLD)
            size = len(OLD)
        found = [second_process.stat(path), shared.os.fstat(fd), shared.os.fstat(place), shared.os.stat(path),
                 shared.os.stat("/proc/self/fd/%d" % fd), shared.os.stat("/dev/fd/%d" % place)]
        assert {(entry.st_ino, entry.st_size) for entry in found} == {(inode, size)}
        assert len({(entry.st_dev, entry.st_mtime, entry.st_mode) for entry in found}) == 1
        assert user.statx(fd) == user.statx(place) == (inode, size)
        assert shared.os.lseek(fd, 0, os.SEEK_END) == size
        other = third_process.open(path, os.O_RDONLY)
        assert third_process.fstat(other).st_ino == inode
        third_process.close(other)
    shared.os.close(fd)
    shared.os.close(place)


# Changes by a descriptor from before: the model of the content, and what is done.

CHANGED_BY = {
    "pwrite": (lambda content: b"12345" + content[5:], "os.pwrite(fd, b'12345', 0)"),
    "write-at-the-end": (lambda content: content + b"end", "os.lseek(fd, 0, os.SEEK_END)\nos.write(fd, b'end')"),
    "append": (lambda content: content + b"end",
               "import fcntl\nfcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)\nos.write(fd, b'end')"),
    "writev": (lambda content: b"12345" + content[5:], "os.pwritev(fd, [b'12', b'345'], 0)"),
    "ftruncate": (lambda content: content[:2].ljust(2, b"\0"), "os.ftruncate(fd, 2)"),
    "ftruncate-to-nothing": (lambda content: b"", "os.ftruncate(fd, 0)"),
    "grow": (lambda content: content.ljust(20000, b"\0"), "os.ftruncate(fd, 20000)"),
    "sendfile": (lambda content: b"12345" + content[5:],
                 "source = os.memfd_create('source')\nos.write(source, b'12345')\nos.lseek(fd, 0, os.SEEK_SET)\n"
                 "os.sendfile(fd, source, 0, 5)\nos.close(source)"),
    "splice": (lambda content: b"12345" + content[5:],
               "source, target = os.pipe()\nos.write(target, b'12345')\nos.splice(source, fd, 5, offset_dst=0)\n"
               "os.close(source)\nos.close(target)"),
    "through-proc": (lambda content: b"12345" + content[5:],
                     "again = os.open('/proc/self/fd/%d' % fd, os.O_WRONLY)\nos.write(again, b'12345')\nos.close(again)"),
    "rewrite-through-proc": (lambda content: b"12345",
                             "again = os.open('/proc/self/fd/%d' % fd, os.O_WRONLY | os.O_TRUNC)\nos.write(again, b'12345')\n"
                             "os.close(again)"),
}


@pytest.mark.parametrize("change", [rewrite, rewrite_larger, rewrite_with_looks, die_between_open_and_write],
                         ids=lambda change: change.__name__)
@pytest.mark.parametrize("act", CHANGED_BY)
def test_changes_by_a_descriptor_from_before(shared, path, second_process, third_process, act, change):
    fd = shared.os.open(path, os.O_RDWR)
    assert shared.os.pread(fd, 4096, 0) == OLD
    content = change(second_process, third_process, path)[0]
    model, code = CHANGED_BY[act]
    shared.os.execute(code, {"fd": fd})
    assert second_process.read_file(path) == shared.os.pread(fd, 1 << 20, 0) == model(content)
    assert second_process.stat(path).st_size == shared.os.fstat(fd).st_size == len(model(content))
    shared.os.close(fd)
    assert third_process.read_file(path) == model(content)


def test_copy_file_range_into_a_descriptor_from_before(shared, place, path, second_process):
    """Within the file system, since the call is refused between two."""
    shared.os.write_file(place + "/source", b"12345")
    source, fd = shared.os.open(place + "/source", os.O_RDONLY), shared.os.open(path, os.O_RDWR)
    second_process.write_file(path, b"new content")
    assert shared.os.copy_file_range(source, fd, 5, 0, 3) == 5
    assert second_process.read_file(path) == shared.os.read_file(path) == b"new12345ent"
    shared.os.close(source)
    shared.os.close(fd)


def test_fallocate_by_a_descriptor_from_before(shared, path, second_process):
    """Either it is not supported, or it does what it says to the file as it is now."""
    fd = shared.os.open(path, os.O_RDWR)
    second_process.write_file(path, b"new")
    try:
        shared.os.execute("import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
                          "if libc.fallocate(fd, 0, ctypes.c_long(0), ctypes.c_long(100)):\n"
                          "    raise OSError(ctypes.get_errno(), 'fallocate')", {"fd": fd})
        expected = b"new" + bytes(97)
    except OSError as error:
        assert error.errno == errno.EOPNOTSUPP
        assert "/control-" not in path, "a tmpfs can"
        expected = b"new"
    assert second_process.read_file(path) == shared.os.pread(fd, 1000, 0) == expected
    shared.os.close(fd)


def test_times_and_mode_by_a_descriptor_from_before(shared, path, second_process):
    fd = shared.os.open(path, os.O_RDWR)
    second_process.write_file(path, b"new")
    shared.os.utime(fd, (1700000000, 1700000000))
    shared.os.fchmod(fd, 0o640)
    assert second_process.stat(path).st_mtime == shared.os.fstat(fd).st_mtime == 1700000000
    assert stat.S_IMODE(second_process.stat(path).st_mode) == 0o640
    assert second_process.read_file(path) == b"new"
    shared.os.close(fd)


RUN_KEPT = """
source, target = os.pipe()
child = os.fork()
if child == 0:
    os.dup2(target, 1)
    os.set_inheritable(fd, True)
    os.execve(fd, ["script"], {})
os.close(target)
result = os.read(source, 1000)
os.close(source)
os.waitpid(child, 0)
"""


def test_a_kept_script_is_run_as_it_is_now(shared, place, second_process):
    path = place + "/vps.mount"
    second_process.write_file(path, b"#!/bin/echo old\n")
    second_process.chmod(path, 0o740) if "/control-" in path else None
    fd = shared.os.open(path, os.O_RDONLY)
    for word in (b"new", b"newer"):
        second_process.write_file(path, b"#!/bin/echo %s\n" % word)
        assert shared.os.execute(RUN_KEPT, {"fd": fd}).split()[0] == word
    shared.os.close(fd)


# Replaced, not changed


STAYS = [way for way in WAYS if way not in ("overlay", "overlay-descriptor", "copy_file_range", "handle")]


@pytest.mark.parametrize("way", STAYS)
def test_a_replaced_file_stays_what_it_was(shared, place, path, second_process, user, way):
    """A rename over the name makes another file of it: who has the old one keeps it."""
    number = user.take(way, path)
    inode = shared.os.stat(path).st_ino
    for round in range(2):
        second_process.write_file(place + "/temporary", b"the replacement")
        second_process.rename(place + "/temporary", path)
        assert user.read(number) == OLD
        assert shared.os.read_file(path) == second_process.read_file(path) == b"the replacement"
        assert shared.os.stat(path).st_ino != inode
    user.drop(number)


# Appends


def test_appends_through_a_descriptor_from_before(shared, path, second_process):
    """A daemon that keeps its log open; somebody empties the log, and others write to it too."""
    fd = shared.os.open(path, os.O_WRONLY | os.O_APPEND)
    second_process.write_file(path, b"start\n")
    expected = b"start\n"
    for number in range(20):
        assert second_process.read_file(path) == expected
        shared.os.write(fd, b"daemon %d\n" % number)
        shared.run(["sh", "-c", 'echo "other $1" >> "$2"', "sh", str(number), path], check=True)
        expected += b"daemon %d\nother %d\n" % (number, number)
    shared.os.close(fd)
    assert shared.os.read_file(path) == second_process.read_file(path) == expected


APPEND = """
for number in range(50):
    line = b"%s %d\\n" % (name, number)
    assert os.write(fd, line) == len(line)
"""


@pytest.mark.parametrize("rewrites", [1, 10])
def test_appends_by_several_processes(shared, path, second_process, rewrites):
    """Descriptors from before a rewrite, from before several, and from between: no line is lost."""
    processes = [shared.worker() for _ in range(4)]
    fds = []
    for process in processes:
        fds.append(process.open(path, os.O_WRONLY | os.O_APPEND))
        for number in range(rewrites):
            second_process.write_file(path, b"start\n")
            assert shared.os.read_file(path) == b"start\n"
    running = [process.start("execute", APPEND, {"fd": fd, "name": b"process%d" % number})
               for number, (process, fd) in enumerate(zip(processes, fds))]
    for one in running:
        one.result()
    for process in processes:
        shared.namespace.end_worker(process)
    lines = shared.os.read_file(path).splitlines()
    assert lines[0] == b"start"
    assert sorted(lines[1:]) == sorted(b"process%d %d" % (process, number) for process in range(4) for number in range(50))
    for process in range(4):
        own = [line for line in lines if line.startswith(b"process%d " % process)]
        assert own == [b"process%d %d" % (process, number) for number in range(50)], "in order"


# Locks


@changes
@pytest.mark.parametrize("kind", ["flock", "posix", "ofd"])
def test_a_lock_has_one_holder(shared, path, second_process, third_process, user, kind, change):
    """Who opens the file later by its name finds the lock of who had it before; when given back it is to be had."""
    other = ways(second_process)
    fd = shared.os.open(path, os.O_RDWR)
    assert user.lock(fd, kind)
    writer = shared.worker()
    change(writer, third_process, path)
    shared.namespace.end_worker(writer)
    name = second_process.open(path, os.O_RDWR)
    assert other.lock(name, kind) is False, "two holders of one lock"
    if kind != "flock":
        assert other.holder(name, kind) == (shared.os.getpid() if kind == "posix" else -1)
    waiting = ways(second_process).worker.begin("ways", "lock", name, kind, wait=True)
    assert not waiting.done(0.05)
    shared.os.close(fd)
    assert waiting.result() is True
    second_process.close(name)


COUNT = """
import fcntl
kept = os.open(path, os.O_RDWR)
for _ in range(count):
    holder = kept if keeps else os.open(path, os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    fd = os.open(path, os.O_RDONLY)
    value = int(os.read(fd, 100))
    os.close(fd)
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b"%d" % (value + 1))
    os.close(fd)
    fcntl.flock(holder, fcntl.LOCK_UN)
    if not keeps:
        os.close(holder)
os.close(kept)
"""


def test_increments_under_a_lock(shared, path, second_process, third_process):
    """Read and rewritten by several processes under a lock of the file itself: none is lost."""
    second_process.write_file(path, b"0")
    running = [worker.start("execute", COUNT, {"path": path, "count": 100, "keeps": keeps})
               for worker, keeps in ((shared.os, True), (second_process, True), (third_process, False))]
    for one in running:
        one.result()
    assert shared.os.read_file(path) == b"300"


# Watches


def test_watches_go_on(shared, path, place, second_process, third_process):
    """A watch on a file and one on its directory are told of every change, also after rewrites and looks."""
    file, directory = Watch(shared.os, path), Watch(shared.os, place)
    for number in range(4):
        second_process.write_file(path, b"%d\n" % number)
        file.expect("OPEN", "MODIFY", "CLOSE_WRITE")
        directory.expect("OPEN", "MODIFY", "CLOSE_WRITE")
        assert third_process.read_file(path) == b"%d\n" % number
        file.expect("OPEN", "ACCESS", "CLOSE_NOWRITE")
        directory.expect("CLOSE_NOWRITE")
    second_process.truncate(path, 1)
    file.expect("MODIFY")
    second_process.utime(path, (1, 1))
    file.expect("ATTRIB")
    second_process.rename(path, place + "/moved")
    file.expect("MOVE_SELF")
    directory.expect("MOVED_FROM", "MOVED_TO")
    second_process.write_file(place + "/moved", b"again")
    file.expect("MODIFY", "CLOSE_WRITE")
    directory.expect("MODIFY")
    second_process.unlink(place + "/moved")
    file.expect("ATTRIB", "DELETE_SELF", "IGNORED")
    directory.expect("DELETE")
    shared.os.close(file.fd)
    shared.os.close(directory.fd)


@pytest.mark.parametrize("rewrites", [0, 1])
def test_a_watch_on_a_replaced_file_ends(shared, path, place, second_process, rewrites):
    file = Watch(shared.os, path)
    for _ in range(rewrites):
        second_process.write_file(path, b"rewritten")
        assert shared.os.read_file(path) == b"rewritten"
        file.expect("MODIFY")
    second_process.write_file(place + "/temporary", b"other")
    second_process.rename(place + "/temporary", path)
    file.expect("DELETE_SELF", "IGNORED")
    shared.os.close(file.fd)


# Names

CREATE_AND_UNLINK = """
import errno
result = []
for number in range(500):
    try:
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | (os.O_TRUNC if truncate else 0), 0o640)
    except OSError as error:
        result.append("open " + errno.errorcode[error.errno])
        continue
    try:
        os.write(fd, b"x")
    except OSError as error:
        if error.errno != errno.ENOENT:
            result.append("write " + errno.errorcode[error.errno])
    os.close(fd)
    try:
        os.unlink(path)
    except OSError as error:
        if error.errno != errno.ENOENT:
            result.append("unlink " + errno.errorcode[error.errno])
"""


@pytest.mark.parametrize("truncate", [False, True])
def test_o_creat_beside_creators_and_unlinkers(shared, place, second_process, third_process, truncate):
    """Without O_EXCL it opens the file or makes it: there is no error that it could give."""
    running = [worker.start("execute", CREATE_AND_UNLINK, {"path": place + "/name", "truncate": truncate})
               for worker in (shared.os, second_process, third_process)]
    assert [error for one in running for error in one.result()] == []
    assert shared.os.listdir(place) == []


# Between open and write

SPANS = """
result = []
for number in range(200):
    begin = time.monotonic()
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b"content %d\\n" % number)
    result.append((begin, time.monotonic()))
    os.close(fd)
    time.sleep(0.003)
open(stop, "w").close()
"""

LOOKS = """
result = []
while not os.path.exists(stop):
    begin = time.monotonic()
    fd = os.open(path, os.O_RDONLY)
    data = os.read(fd, 1000)
    os.close(fd)
    if not data:
        result.append((begin, time.monotonic()))
"""

NAMES = """
while not os.path.exists(stop):
    os.mkdir(path)
    os.rmdir(path)
"""


def test_empty_only_between_open_and_write(shared, path, place, second_process, third_process):
    """Whoever sees the file empty did so while a writer was between its open and the end of its write, also while names
    come and go beside it."""
    shared.os.write_file(path, b"content -\n")
    names = {"path": path, "stop": "/mnt/stop-" + place.replace("/", "-")}
    writer = second_process.start("execute", SPANS, names)
    neighbour = third_process.start("execute", NAMES, dict(names, path=place + "/neighbour"))
    reader = shared.os.start("execute", LOOKS, names)
    spans, _, empty = writer.result(), neighbour.result(), reader.result()
    wrong = [look for look in empty if not any(begin < look[1] and look[0] < end for begin, end in spans)]
    assert wrong == []


def test_empty_for_everybody_between_open_and_write(shared, path, second_process, user):
    """As on ext4: on the writer's node nobody sees the old content once the file was opened."""
    numbers = {way: user.take(way, path) for way in WAYS}
    fd = second_process.open(path, os.O_WRONLY | os.O_TRUNC)
    assert read_all_ways(user, numbers) == dict.fromkeys(WAYS, b"")
    assert shared.os.stat(path).st_size == second_process.fstat(fd).st_size == 0
    assert shared.os.read_file(path) == b""
    second_process.write(fd, b"new")
    assert read_all_ways(user, numbers) == dict.fromkeys(WAYS, b"new")
    second_process.close(fd)
    for number in numbers.values():
        user.drop(number)


# Bytes that nobody wrote

WRITE_WHOLE = """
import random
chance = random.Random(seed)
end = time.monotonic() + seconds
while time.monotonic() < end:
    size = chance.choice((1, 100, 4095, 4097, 9000, 140000))
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    assert os.write(fd, letter * size) == size
    os.close(fd)
    time.sleep(chance.choice((0, 0, 0.001)))
"""

READ_ALL_WAYS = DISTURBED + """
import mmap

def undisturbed(read):
    disturbed()
    data = read()
    return b"" if disturbed() else data

kept = os.open(path, os.O_RDONLY)
result = []
judged = 0
direct = os.open(path, os.O_RDONLY | os.O_DIRECT)
buffer = mmap.mmap(-1, 1 << 20)
end = time.monotonic() + seconds
while time.monotonic() < end:
    fd = os.open(path, os.O_RDONLY)
    found = {"name": undisturbed(lambda: os.read(fd, 1 << 20)), "by size": undisturbed(lambda: os.pread(fd, os.fstat(fd).st_size, 0)),
             "kept": undisturbed(lambda: os.pread(kept, 1 << 20, 0)),
             "pages": b"".join(undisturbed(lambda: os.pread(kept, 4096, offset)) for offset in range(0, 12288, 4096)),
             "direct": undisturbed(lambda: buffer[:os.preadv(direct, [buffer], 0)])}
    os.close(fd)
    judged += sum(map(len, found.values()))
    result += [(way, data.find(b"\\0"), data.count(b"\\0"), len(data)) for way, data in found.items() if b"\\0" in data]
assert judged
"""


def test_no_bytes_that_nobody_wrote(shared, here, second_process, third_process):
    """Two writers rewrite, readers read in all ways: nobody finds a zero, since nobody writes one. (Not on tmpfs: a
    reader there can find a hole between a truncation and a write.)"""
    path = here + "/file"
    shared.os.write_file(path, b"x")
    reader = shared.worker()
    writers = [worker.start("execute", WRITE_WHOLE, {"path": path, "seed": number, "letter": b"%c" % (97 + number), "seconds": 2})
               for number, worker in enumerate((second_process, third_process))]
    readers = [worker.start("execute", READ_ALL_WAYS, {"path": path, "seconds": 2}) for worker in (reader, shared.os)]
    for one in writers:
        one.result()
    found = [bad for one in readers for bad in one.result()]
    shared.namespace.end_worker(reader)
    assert found == []


# A writer that dies


def test_a_dead_writers_file_is_emptied(shared, here, second_process):
    """At once for all here, and stored soon."""
    path = here + "/file"
    for _ in range(3):
        shared.os.write_file(path, OLD)
        inode = shared.os.stat(path).st_ino
        fd = shared.os.open(path, os.O_RDWR)
        assert second_process.execute(DIE, {"path": path}) == 9
        assert shared.os.read_file(path) == shared.os.pread(fd, 100, 0) == b""
        wait_for(lambda: not read_rows(shared.database)[inode][6], "the truncation is stored")
        assert shared.os.stat(path).st_ino == shared.os.fstat(fd).st_ino == inode
        shared.os.close(fd)


# A listing that is stuck


def test_a_stuck_listing_holds_up_nobody_elses_files(shared, place, second_process, third_process):
    """Somebody holds the directory's lock in the kernel: files in it can be rewritten and read, as can all others."""
    inside, beside = place + "/inside", place + "/beside"
    for directory in (inside, beside):
        shared.os.mkdir(directory)
        shared.os.write_file(directory + "/file", OLD)
    with StuckListing(shared.namespace, inside) as listing:
        for number in range(5):
            for directory in (inside, beside):
                second_process.write_file(directory + "/file", b"%d" % number)
                assert third_process.read_file(directory + "/file") == b"%d" % number
                assert shared.os.read_file(directory + "/file") == b"%d" % number
            second_process.mkdir(beside + "/directory%d" % number)
            assert "directory%d" % number in third_process.listdir(beside)
        assert listing.is_stuck()
        waiting = second_process.start("mkdir", inside + "/directory")
        assert not waiting.done(0.1), "a change in it waits in the kernel"
    waiting.result()
    assert sorted(shared.os.listdir(inside)) == ["directory", "file"]


def test_a_stuck_listing_and_the_status_files(shared, here, second_process):
    """The counters go on rising, and are seen at once, while a file in the directory is rewritten."""
    shared.os.write_file(here + "/file", OLD)
    with StuckListing(shared.namespace, here) as listing:
        seen = set()
        for number in range(5):
            second_process.write_file(here + "/file", b"%d" % number)
            second_process.write_file(shared / "storage.cfg", b"%d" % number)
            seen.add(shared.os.read_file(shared / ".version"))
            assert shared.os.read_file(here + "/file") == shared.os.read_file(shared / "storage.cfg") == b"%d" % number
        assert len(seen) == 5
        assert listing.is_stuck()


def test_a_lock_that_expires_in_a_directory_that_is_listed(make_daemon):
    """The name of an expired lock is to be dropped behind a listing that is stuck: all else goes on."""
    daemon = make_daemon(options=["--lock-lifetime", "0.3"]).start()
    for path in ("priv", "priv/lock", "priv/lock/x", "other"):
        daemon.os.mkdir(daemon / path)
    daemon.os.write_file(daemon / "other/file", OLD)
    inode = daemon.os.stat(daemon / "priv/lock/x").st_ino
    asking = daemon.worker()
    with StuckListing(daemon.namespace, daemon / "priv/lock"):
        waiting = asking.start("execute", ASK_FOR_A_LOCK, {"path": daemon / "priv/lock/x"})
        seen = set()
        for number in range(5):
            daemon.os.write_file(daemon / "other/file", b"%d" % number)
            daemon.os.mkdir(daemon / ("other/%d" % number))
            daemon.os.write_file(daemon / "storage.cfg", b"%d" % number)
            seen.add(daemon.os.read_file(daemon / ".version"))
            assert daemon.os.read_file(daemon / "other/file") == b"%d" % number
        assert len(seen) == 5
        wait_for(lambda: inode not in read_rows(daemon.database), "the lock expires")
        daemon.os.write_file(daemon / "storage.cfg", b"after")
        assert daemon.os.read_file(daemon / ".version") not in seen
    waiting.result()
    wait_for(lambda: not daemon.os.exists(daemon / "priv/lock/x"), "its name is dropped in the end")


ASK_FOR_A_LOCK = """
while True:
    try:
        os.utime(path, (0, 0))
        break
    except FileNotFoundError:
        break
    except PermissionError:
        time.sleep(0.05)
"""
