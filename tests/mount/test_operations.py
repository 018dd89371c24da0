# SPDX-License-Identifier: GPL-3.0-or-later
"""Every operation with its errors (doc/filesystem.md, Operations)."""

import errno
import os
import stat
import time

import pytest

from support import MIB, read_rows, refused

CALLS = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)

class Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]

def check(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

def utimens(path, atime, mtime):
    times = (Timespec * 2)(Timespec(*atime), Timespec(*mtime))
    check(libc.utimensat(-100, os.fsencode(path), times, 0))

def renameat2(source, target, flags):
    check(libc.renameat2(-100, os.fsencode(source), -100, os.fsencode(target), flags))
"""
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2


def utimens(worker, path, atime, mtime):
    worker.execute(CALLS + "utimens(path, atime, mtime)", {"path": path, "atime": atime, "mtime": mtime})


def renameat2(worker, source, target, flags):
    worker.execute(CALLS + "renameat2(source, target, flags)", {"source": source, "target": target, "flags": flags})


def make_file(worker, path, data=b""):
    worker.write_file(path, data)
    return path


# create


def test_create(shared, here, second_process):
    fd = shared.os.open(here + "/file", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    assert second_process.stat(here + "/file").st_size == 0
    assert second_process.read_file(here + "/file") == b""
    assert second_process.listdir(here) == ["file"]
    shared.os.close(fd)


def test_create_errors(shared, here):
    make_file(shared.os, here + "/file")
    shared.os.mkdir(here + "/directory")
    for make in (lambda path: shared.os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL),
                 lambda path: shared.os.mknod(path, stat.S_IFREG | 0o640)):
        with refused(errno.ENOENT):
            make(here + "/missing/file")
        with refused(errno.ENOTDIR):
            make(here + "/file/file")
        with refused(errno.EEXIST):
            make(here + "/file")
        with refused(errno.EEXIST):
            make(here + "/directory")
    with refused(errno.EISDIR):
        shared.os.open(here + "/directory", os.O_WRONLY | os.O_CREAT)
    assert sorted(shared.os.listdir(here)) == ["directory", "file"]


def test_create_without_insisting_opens_what_is_there(shared, here):
    make_file(shared.os, here + "/file", b"content")
    shared.os.close(shared.os.open(here + "/file", os.O_WRONLY | os.O_CREAT))
    assert shared.os.read_file(here + "/file") == b"content"


def test_unusual_names(shared, here):
    names = ["a b", "ä€😀", "new\nline", "quote'\"\\", "-rf", "...", ".hidden", "~", "%s", "\udcff\udc80 no utf-8", "\t", "x" * 255]
    for name in names:
        make_file(shared.os, here + "/" + name, name.encode(errors="surrogateescape"))
    assert sorted(shared.os.listdir(here)) == sorted(names)
    for name in names:
        assert shared.os.read_file(here + "/" + name) == name.encode(errors="surrogateescape")
        shared.os.rename(here + "/" + name, here + "/moved")
        shared.os.unlink(here + "/moved")


# mkdir, unlink, rmdir


def test_mkdir_errors(shared, here):
    make_file(shared.os, here + "/file")
    with refused(errno.ENOENT):
        shared.os.mkdir(here + "/missing/directory")
    with refused(errno.ENOTDIR):
        shared.os.mkdir(here + "/file/directory")
    with refused(errno.EEXIST):
        shared.os.mkdir(here + "/file")
    with refused(errno.EEXIST):
        shared.os.mkdir(here)
    with refused(errno.EEXIST):
        shared.os.mkdir(shared.mountpoint)


def test_unlink_and_rmdir(shared, here, second_process):
    make_file(shared.os, here + "/file")
    shared.os.mkdir(here + "/directory")
    second_process.stat(here + "/file")
    shared.os.unlink(here + "/file")
    shared.os.rmdir(here + "/directory")
    assert second_process.listdir(here) == []
    assert not second_process.exists(here + "/file") and not second_process.exists(here + "/directory")


def test_unlink_and_rmdir_errors(shared, here):
    shared.os.mkdir(here + "/directory")
    make_file(shared.os, here + "/directory/file")
    for call in (shared.os.unlink, shared.os.rmdir):
        with refused(errno.ENOENT):
            call(here + "/missing")
        with refused(errno.ENOENT):
            call(here + "/missing/file")
        with refused(errno.ENOTDIR):
            call(here + "/directory/file/file")
    with refused(errno.ENOTEMPTY):
        shared.os.rmdir(here + "/directory")
    with refused(errno.ENOTDIR):
        shared.os.rmdir(here + "/directory/file")
    with refused(errno.EISDIR):
        shared.os.unlink(here + "/directory")
    with refused(errno.EACCES, errno.EBUSY):
        shared.os.rmdir(shared.mountpoint)
    assert shared.os.walk(here) == ["directory/", "directory/file"]


# write and truncate


def test_write(shared, here, second_process):
    path = here + "/file"
    fd = shared.os.open(path, os.O_RDWR | os.O_CREAT)
    model = bytearray()
    for offset, data in ((0, b"hello"), (5, b" world"), (0, b"J"), (20, b"gap"), (10000, b"far"), (4095, b"across"), (3, b"")):
        assert shared.os.pwrite(fd, data, offset) == len(data)
        if data:
            model.extend(bytes(max(0, offset + len(data) - len(model))))
            model[offset:offset + len(data)] = data
        assert shared.os.read_file(path) == model
        assert second_process.read_file(path) == model
        assert second_process.stat(path).st_size == len(model)
        inode = shared.os.fstat(fd).st_ino
        assert read_rows(shared.database)[inode][6] == bytes(model)
    shared.os.close(fd)


def test_append(shared, here, second_process):
    path = here + "/file"
    writers = [shared.os, second_process]
    fds = [writer.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for writer in writers]
    for number in range(20):
        writers[number % 2].write(fds[number % 2], b"%02d\n" % number)
    assert shared.os.read_file(path) == b"".join(b"%02d\n" % number for number in range(20))
    for writer, fd in zip(writers, fds):
        writer.close(fd)


def test_writes_of_every_size_at_once(shared, here):
    for size in (1, 4095, 4096, 4097, 131071, 131072, 131073, MIB - 1, MIB):
        data = os.urandom(size)
        fd = shared.os.open(here + "/file", os.O_WRONLY | os.O_CREAT)
        assert shared.os.pwrite(fd, data, 0) == size
        shared.os.close(fd)
        assert shared.os.read_file(here + "/file") == data


def test_write_is_bounded(shared, here):
    path = make_file(shared.os, here + "/file", b"x")
    fd = shared.os.open(path, os.O_RDWR)
    for offset, data in ((MIB, b"y"), (MIB, b"y" * 5000), (1 << 31, b"y"), (1 << 32, b"y"), (1 << 40, b"y")):
        with refused(errno.EFBIG):
            shared.os.pwrite(fd, data, offset)
        assert shared.os.read_file(path) == b"x"
    assert shared.os.pwrite(fd, b"z", MIB - 1) == 1
    assert shared.os.read_file(path) == b"x" + bytes(MIB - 2) + b"z"
    # The kernel may hand over what comes before the limit before it hears that there is no more.
    for offset, data in ((0, b"w" * (MIB + 1)), (1, b"w" * MIB), (MIB - 1, b"ww")):
        try:
            assert shared.os.pwrite(fd, data, offset) <= MIB - offset
        except OSError as error:
            assert error.errno == errno.EFBIG
    assert shared.os.stat(path).st_size == MIB
    shared.os.close(fd)


def test_write_to_a_directory(shared, here):
    for flags in (os.O_WRONLY, os.O_RDWR):
        with refused(errno.EISDIR):
            shared.os.open(here, flags)
    fd = shared.os.open(here, os.O_RDONLY)
    with refused(errno.EISDIR):
        shared.os.read(fd, 1)
    shared.os.close(fd)
    with refused(errno.EISDIR):
        shared.os.truncate(here, 0)


@pytest.mark.parametrize("size", [0, 1, 10, 4096, 5000, MIB])
@pytest.mark.parametrize("before", [b"", b"0123456789"])
def test_truncate(shared, here, second_process, before, size):
    path = make_file(shared.os, here + "/file", before)
    second_process.read_file(path)
    shared.os.truncate(path, size)
    expected = before[:size] + bytes(max(0, size - len(before)))
    for worker in (shared.os, second_process):
        assert worker.read_file(path) == expected
        assert worker.stat(path).st_size == size
    row = read_rows(shared.database)[shared.os.stat(path).st_ino]
    assert (row[6] or b"") == expected


def test_truncate_through_an_open_file(shared, here, second_process):
    path = make_file(shared.os, here + "/file", b"0123456789")
    fd = shared.os.open(path, os.O_RDWR)
    shared.os.ftruncate(fd, 3)
    assert second_process.read_file(path) == b"012"
    shared.os.pwrite(fd, b"x", 5)
    assert second_process.read_file(path) == b"012\0\0x"
    shared.os.ftruncate(fd, 0)
    assert second_process.read_file(path) == b""
    shared.os.close(fd)


ROUNDS_OF_HOLES = """
wrong = []
for number in range(1000):
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"0123456789", 0)
    shorten(fd)
    os.pread(fd, 100, 0)
    os.pwrite(fd, b"x", 5)
    os.close(fd)
    with open(path, "rb") as file:
        content = file.read()
    if content != expected:
        wrong.append((number, content))
    if number % 2:
        os.unlink(path)
result = wrong
"""
SHORTEN = {
    "ftruncate": "shorten = lambda fd: os.ftruncate(fd, 3)",
    "truncate": "shorten = lambda fd: os.truncate(path, 3)",
    "open": "shorten = lambda fd: os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))",
    "twice": "shorten = lambda fd: (os.ftruncate(fd, 7), os.pread(fd, 100, 0), os.ftruncate(fd, 3))",
}


@pytest.mark.parametrize("way", SHORTEN)
def test_a_hole_behind_a_truncation_is_zeros(shared, here, way):
    """Whoever read it meanwhile, and however soon the hole is made: what was cut off does not come back."""
    expected = b"\0\0\0\0\0x" if way == "open" else b"012\0\0x"
    names = {"path": here + "/file", "expected": expected}
    assert shared.os.execute(SHORTEN[way] + ROUNDS_OF_HOLES, names) == []


def test_truncate_to_nothing_while_a_namesake_is_open(shared, here, second_process):
    """truncate() is done when it returns, whatever else the caller has open."""
    shared.os.mkdir(here + "/other")
    fd = shared.os.open(make_file(shared.os, here + "/other/file", b"x"), os.O_RDONLY)
    for _ in range(20):
        path = make_file(shared.os, here + "/file", b"x")
        shared.os.truncate(path, 0)
        assert second_process.read_file(path) == b"" and second_process.stat(path).st_size == 0
    shared.os.close(fd)


def test_truncate_errors(shared, here):
    path = make_file(shared.os, here + "/file", b"x")
    for size in (MIB + 1, 1 << 32, 1 << 50):
        with refused(errno.EFBIG):
            shared.os.truncate(path, size)
    with refused(errno.ENOENT):
        shared.os.truncate(here + "/missing", 0)
    assert shared.os.read_file(path) == b"x"


def test_shrunk_and_grown_again_shows_zeros(shared, here, second_process):
    path = make_file(shared.os, here + "/file", b"secret" * 1000)
    second_process.read_file(path)
    shared.os.truncate(path, 5)
    shared.os.truncate(path, 6000)
    for worker in (shared.os, second_process):
        assert worker.read_file(path) == b"secre" + bytes(5995)


# rename


def test_rename(shared, here, second_process):
    shared.os.mkdir(here + "/directory")
    path = make_file(shared.os, here + "/file", b"content")
    inode = shared.os.stat(path).st_ino
    second_process.read_file(path)
    for target in (here + "/other", here + "/directory/file", shared / "file-in-the-root", path):
        shared.os.rename(path, target)
        if target != path:
            assert not second_process.exists(path)
        assert second_process.read_file(target) == b"content"
        assert second_process.stat(target).st_ino == inode
        path = target


def test_rename_replaces(shared, here, second_process):
    make_file(shared.os, here + "/old", b"old")
    make_file(shared.os, here + "/new", b"new, longer")
    second_process.read_file(here + "/old")
    shared.os.rename(here + "/new", here + "/old")
    assert second_process.listdir(here) == ["old"]
    assert second_process.read_file(here + "/old") == b"new, longer"
    shared.os.mkdir(here + "/a")
    shared.os.mkdir(here + "/b")
    shared.os.rename(here + "/a", here + "/b")
    assert sorted(second_process.listdir(here)) == ["b", "old"]


def test_a_replaced_name_is_there_at_any_moment(shared, here, second_process):
    read = """
result = 0
while result == 0 or not os.path.exists(directory + "/stop"):
    fd = os.open(directory + "/file", os.O_RDONLY)
    data = os.read(fd, 100000)
    os.close(fd)
    assert len(data) == 10000 and len(set(data)) == 1, len(data)
    result += 1
"""
    write = """
for number in range(300):
    path = directory + "/file.tmp"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(fd, bytes([number % 256]) * 10000)
    os.close(fd)
    os.rename(path, directory + "/file")
os.mkdir(directory + "/stop")
"""
    make_file(shared.os, here + "/file", b"x" * 10000)
    reader = second_process.start("execute", read, {"directory": here})
    shared.os.execute(write, {"directory": here})
    assert reader.result() > 0


def test_rename_of_directories(shared, here, second_process):
    for name in ("empty", "full", "other"):
        shared.os.mkdir(here + "/" + name)
    make_file(shared.os, here + "/full/file")
    make_file(shared.os, here + "/file")
    shared.os.rename(here + "/empty", here + "/full/moved")
    assert second_process.listdir(here + "/full/moved") == []
    shared.os.rename(here + "/full/moved", here + "/empty")
    with refused(errno.ENOTEMPTY):
        shared.os.rename(here + "/full", here + "/moved")
    with refused(errno.ENOTEMPTY):
        shared.os.rename(here + "/full", here + "/other/moved")
    with refused(errno.ENOTEMPTY):
        shared.os.rename(here + "/full", here + "/empty")
    with refused(errno.ENOTEMPTY):
        shared.os.rename(here + "/empty", here + "/full")
    with refused(errno.EISDIR):
        shared.os.rename(here + "/file", here + "/empty")
    with refused(errno.ENOTDIR):
        shared.os.rename(here + "/empty", here + "/file")
    with refused(errno.EINVAL):
        shared.os.rename(here + "/empty", here + "/empty/below")
    assert sorted(shared.os.listdir(here)) == ["empty", "file", "full", "other"]
    assert shared.os.listdir(here + "/full") == ["file"]


def test_rename_errors(shared, here):
    path = make_file(shared.os, here + "/file")
    with refused(errno.ENOENT):
        shared.os.rename(here + "/missing", here + "/other")
    with refused(errno.ENOENT):
        shared.os.rename(path, here + "/missing/file")
    with refused(errno.ENOTDIR):
        shared.os.rename(path, here + "/file/file")
    with refused(errno.EACCES, errno.EBUSY, errno.EXDEV):
        shared.os.rename(shared.mountpoint, here + "/root")


def test_rename_flags(shared, here):
    for name in ("a", "b"):
        make_file(shared.os, here + "/" + name, name.encode())
    for flags in (1, 2, 4, 8):
        with refused(errno.EINVAL, errno.EEXIST) if flags == 1 else refused(errno.EINVAL, errno.EPERM):
            renameat2(shared.os, here + "/a", here + "/b", flags)
    with refused(errno.EINVAL):
        renameat2(shared.os, here + "/a", here + "/c", 1)
    assert shared.os.read_file(here + "/a") == b"a" and shared.os.read_file(here + "/b") == b"b"
    shared.run(["mv", here + "/a", here + "/c"], check=True)
    shared.run(["mv", "-n", here + "/c", here + "/d"], check=True)
    shared.run(["mv", "-f", here + "/d", here + "/b"], check=True)
    assert shared.os.listdir(here) == ["b"]
    assert shared.os.read_file(here + "/b") == b"a"


# utimens


def test_utimens(shared, here, second_process):
    path = make_file(shared.os, here + "/file", b"x")
    for target in (path, here):
        for seconds in (1, 1700000000, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 0):
            utimens(shared.os, target, (5, 0), (seconds, 999999999))
            for worker in (shared.os, second_process):
                found = worker.stat(target)
                assert found.st_mtime_ns == found.st_atime_ns == found.st_ctime_ns == seconds * 1000000000
    assert shared.os.read_file(path) == b"x"


def test_utimens_now_and_omit(shared, here, second_process):
    path = make_file(shared.os, here + "/file", b"x")
    utimens(shared.os, path, (0, UTIME_OMIT), (4711, 0))
    row = read_rows(shared.database)[shared.os.stat(path).st_ino]
    for atime in ((1, 0), (0, UTIME_NOW), (0, UTIME_OMIT)):
        utimens(shared.os, path, atime, (0, UTIME_OMIT))
        assert second_process.stat(path).st_mtime == second_process.stat(path).st_atime == 4711
        assert shared.os.stat(path).st_atime == 4711
    assert read_rows(shared.database)[shared.os.stat(path).st_ino] == row
    before = int(time.time())
    utimens(shared.os, path, (0, UTIME_OMIT), (0, UTIME_NOW))
    assert before <= second_process.stat(path).st_mtime <= time.time()
    shared.os.utime(path, (1, 1))
    shared.run(["touch", path], check=True)
    assert before <= second_process.stat(path).st_mtime <= time.time()


def test_utimens_errors(shared, here):
    path = make_file(shared.os, here + "/file", b"x")
    utimens(shared.os, path, (0, 0), (4711, 0))
    for seconds in (-1, 1 << 32, 1 << 40, -(1 << 40)):
        with refused(errno.EINVAL):
            utimens(shared.os, path, (0, 0), (seconds, 0))
    assert shared.os.stat(path).st_mtime == 4711
    with refused(errno.ENOENT):
        shared.os.utime(here + "/missing", (1, 1))
    for name in ("", ".version", ".members", ".vmlist", ".clusterlog", ".rrd", ".debug", "local", "lxc"):
        with refused(errno.EACCES):
            shared.os.utime(shared / name, (1, 1), follow_symlinks=False)


# What there is not


def test_links_and_special_files(shared, here):
    path = make_file(shared.os, here + "/file")
    with refused(errno.EPERM):
        shared.os.symlink("file", here + "/link")
    with refused(errno.EPERM):
        shared.os.link(path, here + "/link")
    for kind in (stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK):
        with refused(errno.EPERM):
            shared.os.mknod(here + "/special", kind | 0o640, os.makedev(1, 3))
    with refused(errno.EPERM):
        shared.os.execute("import socket\nsocket.socket(socket.AF_UNIX).bind(path)", {"path": here + "/s"})
    assert shared.os.listdir(here) == ["file"]


def test_extended_attributes(shared, here):
    for path in (make_file(shared.os, here + "/file"), here, shared / ".version", shared.mountpoint):
        for name in ("user.test", "security.test", "trusted.test"):
            with refused(errno.ENOTSUP):
                shared.os.getxattr(path, name)
            with refused(errno.ENOTSUP):
                shared.os.setxattr(path, name, b"x")
            with refused(errno.ENOTSUP):
                shared.os.removexattr(path, name)
        with refused(errno.ENOTSUP):
            shared.os.listxattr(path)
    shared.run(["cp", "-a", here + "/file", here + "/copy"], check=True)


def test_statfs(shared, here):
    def look():
        shared.run(["sync", "-f", here])
        return shared.os.statvfs(here)

    first = look()
    assert (first.f_bsize, first.f_frsize, first.f_blocks, first.f_files) == (4096, 4096, 32768, 262144)
    rows = read_rows(shared.database)
    assert first.f_ffree == 262144 - len(rows)
    assert first.f_bfree == first.f_bavail == 32768 - (sum(len(row[6] or b"") for row in rows.values()) + 4095) // 4096
    make_file(shared.os, here + "/file", b"x" * (5 * 4096))
    shared.os.mkdir(here + "/directory")
    second = look()
    assert second.f_bfree == first.f_bfree - 5
    assert second.f_ffree == first.f_ffree - 2
    shared.os.unlink(here + "/file")
    shared.os.rmdir(here + "/directory")
    assert look() == first
    done = shared.run(["df", "--output=size,used,avail,itotal", "-B4096", here], check=True)
    assert done.stdout.split("\n")[1].split() == ["32768", str(32768 - first.f_bfree), str(first.f_bfree), "262144"]


# Tools


def test_ordinary_tools(shared, here):
    script = r"""
set -e
cd "$1"
mkdir -p a/b/c
printf 'one\ntwo\nthree\n' > a/file
sed -i s/two/2/ a/file
[ "$(cat a/file | tr '\n' ' ')" = "one 2 three " ]
echo four >> a/file
[ "$(tail -n 1 a/file)" = four ]
cp a/file a/b/copy
cmp a/file a/b/copy
mv a/b/copy a/b/c/
dd if=/dev/urandom of=a/big bs=64k count=16 status=none
dd if=a/big of=a/big2 bs=7777 status=none
cmp a/big a/big2
tar cf /mnt/archive.tar a
mkdir x
tar xf /mnt/archive.tar --no-same-owner --no-same-permissions -C x
diff -r a x/a
[ "$(find a -type f | wc -l)" = 4 ]
[ "$(grep -rl 2 a/file)" = a/file ]
truncate -s 100 a/big
[ "$(stat -c %s a/big)" = 100 ]
[ "$(ls a)" = "$(printf 'b\nbig\nbig2\nfile')" ]
rm -r a x
[ -z "$(ls -A)" ]
"""
    done = shared.run(["bash", "-c", script, "bash", here])
    assert done.returncode == 0, done.stdout + done.stderr


# Never stale


def test_never_stale(shared, here, second_process):
    """Each change of one process is seen by the very next call of another, which had cached it all."""
    for number in range(100):
        path = "%s/%d" % (here, number)
        assert not second_process.exists(path)
        shared.os.mkdir(path)
        assert second_process.stat(path).st_nlink == 2
        assert second_process.listdir(path) == []
        shared.os.write_file(path + "/file", b"%d" % number)
        assert second_process.listdir(path) == ["file"]
        assert second_process.read_file(path + "/file") == b"%d" % number
        second_process.write_file(path + "/file", b"answer %d" % number)
        assert shared.os.read_file(path + "/file") == b"answer %d" % number
        assert shared.os.stat(path + "/file").st_size == len(b"answer %d" % number)
        second_process.rename(path + "/file", path + "/moved")
        assert shared.os.listdir(path) == ["moved"]
        assert not shared.os.exists(path + "/file")
        second_process.unlink(path + "/moved")
        assert not shared.os.exists(path + "/moved")
        shared.os.rmdir(path)
        assert not second_process.exists(path)
