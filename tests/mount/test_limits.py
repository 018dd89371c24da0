# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits at admission: content, entries, names (doc/filesystem.md). File sizes: test_operations.py."""

import errno
import os
import stat
from contextlib import closing

import pytest

from harness import Daemon
from support import CHANGE_MAX, DIRECTORY, FILE, MIB, check_integrity, make_database, read_rows, refused

CONTENT_MAX = 128 * MIB
INODES_MAX = 262144


# 128 MiB of content


@pytest.fixture(scope="module")
def full(possible, tmp_path_factory):
    """A daemon that lacks 10 bytes until the limit of 128 MiB: 127 files of 1 MiB and one of less."""
    with closing(Daemon(tmp_path_factory.mktemp("full"), "node1")) as daemon:
        files = [(2 + number, 0, FILE, "file%d" % number, b"x" * MIB) for number in range(127)]
        make_database(daemon.database, [*files, (200, 0, FILE, "last", b"y" * (MIB - 10)), (201, 0, FILE, "empty", None)])
        yield daemon.start()


def content_of(daemon):
    return sum(len(row[6] or b"") for row in read_rows(daemon.database).values())


def test_content_limit(full):
    worker = full.os
    fd = worker.open(full / "empty", os.O_RDWR)
    for offset, size in ((0, 11), (5, 6), (10, 1), (MIB - 1, 1)):
        with refused(errno.ENOSPC):
            worker.pwrite(fd, b"z" * size, offset)
        assert worker.stat(full / "empty").st_size == 0
    for size in (11, MIB):
        with refused(errno.ENOSPC):
            worker.ftruncate(fd, size)
    assert worker.statvfs(full.mountpoint).f_bfree == 0
    assert worker.pwrite(fd, b"z" * 10, 0) == 10
    assert content_of(full) == CONTENT_MAX
    with refused(errno.ENOSPC):
        worker.pwrite(fd, b"z", 10)
    # What does not grow is possible, and so are names.
    assert worker.pwrite(fd, b"w" * 10, 0) == 10
    other = worker.open(full / "file0", os.O_RDWR)
    assert worker.pwrite(other, b"v" * MIB, 0) == MIB
    worker.write_file(full / "file0", b"u" * MIB)
    worker.mkdir(full / "directory")
    worker.close(worker.open(full / "directory/file", os.O_WRONLY | os.O_CREAT))
    worker.rename(full / "directory/file", full / "directory/moved")
    assert content_of(full) == CONTENT_MAX
    # What is given back can be used.
    worker.ftruncate(other, MIB - 5)
    worker.write_file(full / "directory/moved", b"12345")
    with refused(errno.ENOSPC):
        worker.pwrite(fd, b"z", 10)
    worker.unlink(full / "file1")
    assert worker.statvfs(full.mountpoint).f_bfree == 256
    worker.write_file(full / "again", b"t" * MIB)
    assert content_of(full) == CONTENT_MAX
    assert worker.read_file(full / "again") == b"t" * MIB
    worker.ftruncate(fd, 0)
    worker.close(fd)
    worker.close(other)


def test_a_rewrite_that_does_not_fit_is_refused(full):
    """It fails, and does not leave half of the new content."""
    room = CONTENT_MAX - content_of(full)
    old = b"old"[:room]
    full.os.write_file(full / "rewritten", old)
    fd = full.os.open(full / "rewritten", os.O_WRONLY | os.O_TRUNC)
    with refused(errno.ENOSPC):
        full.os.write(fd, b"new" * 100000)
    full.os.close(fd)
    assert full.os.read_file(full / "rewritten") in (old, b"")


def test_writers_at_once_do_not_pass_the_limit(full):
    code = """
result = 0
for number in range(200):
    fd = os.open("%s/%s-%d" % (path, name, number % 5), os.O_WRONLY | os.O_CREAT)
    try:
        result += os.pwrite(fd, b"z" * 5000, os.fstat(fd).st_size)
    except OSError as error:
        assert error.errno == 28, error
    os.close(fd)
"""
    full.os.truncate(full / "file2", MIB // 2)
    workers = [full.worker() for _ in range(3)]
    pending = [worker.start("execute", code, {"path": full.mountpoint, "name": "writer%d" % number}) for number, worker in enumerate(workers)]
    assert sum(one.result() for one in pending) > 0
    assert CONTENT_MAX - 5000 < content_of(full) <= CONTENT_MAX


def test_a_database_over_the_limit(make_daemon):
    daemon = make_daemon()
    make_database(daemon.database, [(2 + number, 0, FILE, "file%d" % number, b"x" * MIB) for number in range(130)])
    daemon.start()
    statistics = daemon.os.statvfs(daemon.mountpoint)
    assert (statistics.f_blocks, statistics.f_bfree, statistics.f_bavail) == (32768, 0, 0)
    assert daemon.os.stat(daemon / "file129").st_size == MIB
    daemon.os.mkdir(daemon / "directory")
    daemon.os.close(daemon.os.open(daemon / "directory/file", os.O_WRONLY | os.O_CREAT))
    with refused(errno.ENOSPC):
        daemon.os.write_file(daemon / "directory/file", b"x")
    daemon.os.write_file(daemon / "file0", b"y" * CHANGE_MAX)
    for number in range(3):
        daemon.os.unlink(daemon / ("file%d" % number))
    daemon.os.write_file(daemon / "directory/file", b"x")


# 262144 entries


def test_entry_limit(make_daemon):
    daemon = make_daemon()
    directories = [(2 + number, 0, DIRECTORY, "d%d" % number, None) for number in range(512)]
    files = [(1000 + number, 2 + number % 512, FILE, "f%d" % number, None) for number in range(INODES_MAX - 1 - 512 - 2)]
    make_database(daemon.database, directories + files)
    daemon.start()
    assert daemon.os.statvfs(daemon.mountpoint).f_ffree == 2
    daemon.os.mkdir(daemon / "last-but-one")
    daemon.os.mknod(daemon / "last", stat.S_IFREG | 0o640)
    assert daemon.os.statvfs(daemon.mountpoint).f_ffree == 0
    for make in (lambda path: daemon.os.mkdir(path), lambda path: daemon.os.mknod(path, stat.S_IFREG | 0o640)):
        with refused(errno.ENOSPC):
            make(daemon / "one-more")
        with refused(errno.EEXIST):
            make(daemon / "d0")
    daemon.os.write_file(daemon / "last", b"content")
    daemon.os.rename(daemon / "last", daemon / "d0/renamed")
    daemon.os.unlink(daemon / "d0/renamed")
    daemon.os.mkdir(daemon / "again")
    with refused(errno.ENOSPC):
        daemon.os.mkdir(daemon / "one-more")
    assert len(daemon.os.listdir(daemon / "d1")) == sum(number % 512 == 1 for number in range(INODES_MAX - 515))
    daemon.stop()
    assert len(read_rows(daemon.database)) == INODES_MAX


# Names


@pytest.mark.parametrize("length", [1, 254, 255])
def test_names_that_are_admitted(shared, here, length):
    name = "n" * length
    shared.os.mkdir(here + "/" + name)
    shared.os.rmdir(here + "/" + name)
    shared.os.write_file(here + "/" + name, b"x")
    shared.os.rename(here + "/" + name, here + "/" + "m" * length)
    assert shared.os.listdir(here) == ["m" * length]


@pytest.mark.parametrize("length", [256, 257, 1000, 1024, 1025, 4000])
def test_names_that_are_too_long(shared, here, length):
    path = here + "/" + "n" * length
    shared.os.write_file(here + "/file", b"x")
    shared.os.mkdir(here + "/directory")
    with refused(errno.ENAMETOOLONG):
        shared.os.open(path, os.O_WRONLY | os.O_CREAT)
    with refused(errno.ENAMETOOLONG):
        shared.os.mkdir(path)
    for name in ("file", "directory"):
        with refused(errno.ENAMETOOLONG):
            shared.os.rename(here + "/" + name, path)
    with refused(errno.ENAMETOOLONG):
        shared.os.stat(path)
    assert sorted(shared.os.listdir(here)) == ["directory", "file"]


def test_names_are_counted_in_bytes(shared, here):
    shared.os.mkdir(here + "/" + "ä" * 127)
    with refused(errno.ENAMETOOLONG):
        shared.os.mkdir(here + "/" + "ä" * 128)


def test_long_names_of_a_database(make_daemon):
    """Deployed nodes admit names of up to 1024 bytes: they load, list, open and delete."""
    daemon = make_daemon()
    lengths = (256, 500, 1023, 1024)
    entries = [(2, 0, DIRECTORY, "many", None)]
    entries += [(10 + n, 2, FILE, "f" * n, b"%d" % n) for n in lengths]
    entries += [(5000 + n, 2, DIRECTORY, "d" * n, None) for n in lengths]
    entries += [(9000 + n, 5000 + n, FILE, "inside", b"in %d" % n) for n in lengths]
    entries += [(12000 + n, 2, FILE, ("%03d" % n) + "x" * 1000, b"") for n in range(300)]
    make_database(daemon.database, entries)
    daemon.start()
    worker = daemon.os
    assert len(worker.listdir(daemon / "many")) == 2 * len(lengths) + 300
    for n in lengths:
        file, directory = daemon / ("many/" + "f" * n), daemon / ("many/" + "d" * n)
        assert worker.read_file(file) == b"%d" % n
        worker.write_file(file, b"new")
        assert worker.read_file(file) == b"new"
        worker.utime(file, (5, 5))
        assert worker.stat(file).st_mtime == 5
        assert worker.read_file(directory + "/inside") == b"in %d" % n
        worker.write_file(directory + "/more", b"y")
        assert sorted(worker.listdir(directory)) == ["inside", "more"]
        worker.rename(directory + "/more", daemon / "moved")
        worker.rename(file, daemon / "short")
        with refused(errno.ENAMETOOLONG):
            worker.rename(daemon / "short", file)
        worker.unlink(directory + "/inside")
        worker.rmdir(directory)
    assert len(worker.listdir(daemon / "many")) == 300
    daemon.run(["rm", "-r", daemon / "many"], check=True)
    assert not worker.exists(daemon / "many")
    daemon.stop()
    check_integrity(daemon.database)


def test_names_that_no_kernel_takes(make_daemon):
    """Another member's change may have made them: they load, and what is beside them is listed."""
    daemon = make_daemon()
    lengths = (1025, 4095, 5000, 70000)
    entries = [(2, 0, DIRECTORY, "d", None), (3, 2, FILE, "first", b"1")]
    entries += [(10 + n, 2, FILE, "f" * n, b"x") for n in lengths]
    entries += [(100000, 2, DIRECTORY, "x" * 3000, None), (100001, 100000, FILE, "inside", b""), (100002, 2, FILE, "last", b"2")]
    make_database(daemon.database, entries)
    daemon.start()
    assert "has a name of 70000 bytes" in daemon.log_text()
    assert daemon.os.listdir(daemon / "d") == ["first", "last"]
    assert daemon.run(["ls", "-a", daemon / "d"], check=True, capture_output=True).stdout.split() == [".", "..", "first", "last"]
    daemon.os.unlink(daemon / "d/first")
    daemon.os.unlink(daemon / "d/last")
    assert daemon.os.listdir(daemon / "d") == []
    with refused(errno.ENOTEMPTY):
        daemon.os.rmdir(daemon / "d")
    daemon.os.mkdir(daemon / "d/more")
    daemon.stop()
    daemon.start()
    assert daemon.os.listdir(daemon / "d") == ["more"]


DEEP = """
depth, error = 0, 0
while depth < 400 and not error:
    try:
        os.mkdir(name)
        os.chdir(name)
        depth += 1
    except OSError as reason:
        error = reason.errno
result = (depth, error)
"""
FROM_DEEP = """
here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
found = []
def tell(what, *arguments, **names):
    try:
        answer = what(*arguments, **names)
        found.append(answer)
        return answer
    except OSError as reason:
        found.append(reason.errno)
long = "/".join([name] * 41)
tell(os.stat, long)
tell(os.mkdir, "x" * 255, dir_fd=here)
tell(os.rmdir, "x" * 255, dir_fd=here)
fd = tell(os.open, "file", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=here)
tell(os.write, fd, b"deep")
tell(os.pread, fd, 10, 0)
tell(os.rename, "file", "other", src_dir_fd=here, dst_dir_fd=here)
tell(os.unlink, "file", dir_fd=here)
tell(os.utime, "other", (5, 5), dir_fd=here)
found.append(os.stat("other", dir_fd=here).st_mtime)
tell(os.truncate, fd, 2)
tell(os.listdir, here)
top = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
tell(os.rename, "other", "up", src_dir_fd=here, dst_dir_fd=top)
tell(os.rename, "up", "other", src_dir_fd=top, dst_dir_fd=here)
tell(os.unlink, "other", dir_fd=here)
os.close(here)
found.remove(fd)
result = found
"""


def test_paths_longer_than_one_call_can_name(shared, here):
    """Relative to a directory deep down all is as on a tmpfs, whatever the whole path has."""
    shared.os.mkdir("/mnt/plain")
    shared.run(["mount", "-t", "tmpfs", "tmpfs", "/mnt/plain"], check=True)
    answers = []
    for place in (here, "/mnt/plain"):
        worker = shared.worker()
        worker.chdir(place)
        assert worker.execute(DEEP.replace("400", "60"), {"name": "d" * 100}) == (60, 0)
        answers.append(worker.execute(FROM_DEEP, {"name": "d" * 100, "top": place}))
        worker.close()
        shared.run(["rm", "-r", place + "/" + "d" * 100], check=True)
    assert answers[0] == answers[1]
    assert answers[0].count(errno.ENAMETOOLONG) == 1 and b"deep" in answers[0]


def test_the_longest_path(make_daemon):
    """32767 bytes; and it is there after a start."""
    daemon = make_daemon().start()
    worker = daemon.worker()
    worker.chdir(daemon.mountpoint)
    assert worker.execute(DEEP, {"name": "d" * 255}) == (128, errno.ENAMETOOLONG)
    worker.chdir("/")
    worker.close()
    daemon.stop()
    daemon.start()
    done = daemon.run(["rm", "-rv", daemon / ("d" * 255)], check=True)
    assert done.stdout.count("removed directory") == 128
