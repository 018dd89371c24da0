# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to files and directories that somebody has open; locks and maps of files; listings."""

import errno
import fcntl
import os

import pytest

from harness import wait_for
from support import MIB, check_integrity, read_rows, refused


def read_all(worker, fd):
    return worker.pread(fd, 2 * MIB, 0)


# Unlinked, replaced, renamed


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("end", ["unlinked", "replaced"])
def test_gone_files_stay_readable(shared, here, second_process, end, cached):
    content = os.urandom(MIB)
    shared.os.write_file(here + "/file", content)
    shared.os.write_file(here + "/source", b"source")
    fd = shared.os.open(here + "/file", os.O_RDWR)
    if not cached:
        shared.os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    second_process.unlink(here + "/file") if end == "unlinked" else second_process.rename(here + "/source", here + "/file")
    assert read_all(shared.os, fd) == content
    assert shared.os.fstat(fd).st_size == MIB
    with refused(errno.ENOENT):
        shared.os.pwrite(fd, b"x", 0)
    with refused(errno.ENOENT):
        shared.os.ftruncate(fd, 5)
    with refused(errno.ENOENT):
        shared.os.utime(fd, (1, 1))
    assert read_all(shared.os, fd) == content
    if end == "unlinked":
        assert not shared.os.exists(here + "/file")
        shared.os.write_file(here + "/file", b"source")
    assert shared.os.read_file(here + "/file") == second_process.read_file(here + "/file") == b"source"
    with refused(errno.ENOENT):
        shared.os.pwrite(fd, b"x", 0)
    assert read_all(shared.os, fd) == content
    shared.os.close(fd)
    assert shared.os.read_file(here + "/file") == b"source"


GONE_AFTER_A_TRUNCATION = """
for content, size in ((b"0123456789" * 500, 5), (b"9" * 5000, 0)):
    with open(path, "wb") as file:
        file.write(content)
    fd = os.open(path, os.O_RDWR)
    os.ftruncate(fd, size)
    os.unlink(path) if end == "unlinked" else os.rename(source, path)
    result = (os.fstat(fd).st_size, os.pread(fd, 9000, 0), os.lseek(fd, 0, os.SEEK_END))
    os.close(fd)
    assert result == (size, content[:size], size), result
    if end == "replaced":
        os.rename(path, source)
"""


@pytest.mark.parametrize("end", ["unlinked", "replaced"])
def test_gone_files_are_as_their_last_truncation_left_them(shared, here, end):
    """Also where that is so short ago that what was cut off is still kept for the kernel's pages."""
    shared.os.write_file(here + "/source", b"source")
    for _ in range(20):
        shared.os.execute(GONE_AFTER_A_TRUNCATION, {"path": here + "/file", "source": here + "/source", "end": end})


def test_several_generations_are_open(shared, here):
    """Each open file goes on showing what it was opened on."""
    fds = []
    for number in range(20):
        shared.os.write_file(here + "/tmp", b"generation %d" % number)
        shared.os.rename(here + "/tmp", here + "/file")
        fds.append(shared.os.open(here + "/file", os.O_RDONLY))
    for number, fd in enumerate(fds):
        assert read_all(shared.os, fd) == b"generation %d" % number
        shared.os.close(fd)


def test_a_renamed_file_goes_on_under_its_new_name(shared, here, second_process):
    shared.os.write_file(here + "/file", b"0123456789")
    shared.os.mkdir(here + "/directory")
    fd = shared.os.open(here + "/file", os.O_RDWR)
    for name in ("moved", "directory/file", "again"):
        second_process.rename(here + "/file", here + "/" + name)
        shared.os.pwrite(fd, name[:2].encode(), 3)
        expected = b"012" + name[:2].encode() + b"56789"
        assert read_all(shared.os, fd) == expected
        assert second_process.read_file(here + "/" + name) == expected
        assert not shared.os.exists(here + "/file")
        second_process.rename(here + "/" + name, here + "/file")
    second_process.pwrite(second_process.open(here + "/file", os.O_WRONLY), b"X", 0)
    assert read_all(shared.os, fd)[:1] == b"X"
    shared.os.ftruncate(fd, 2)
    assert second_process.read_file(here + "/file") == b"X1"
    shared.os.close(fd)


def test_a_swap_of_two_open_files(shared, here):
    for name in "ab":
        shared.os.write_file(here + "/" + name, name.encode())
    fds = {name: shared.os.open(here + "/" + name, os.O_RDWR) for name in "ab"}
    for source, target in (("a", "t"), ("b", "a"), ("t", "b")):
        shared.os.rename(here + "/" + source, here + "/" + target)
    for name in "ab":
        shared.os.pwrite(fds[name], b"!", 1)
        shared.os.close(fds[name])
    assert shared.os.read_file(here + "/a") == b"b!" and shared.os.read_file(here + "/b") == b"a!"


def test_a_removed_directory_that_is_in_use(shared, here, second_process):
    shared.os.mkdir(here + "/directory")
    user = shared.worker()
    user.chdir(here + "/directory")
    second_process.rmdir(here + "/directory")
    assert user.listdir(".") == []
    for make in (lambda: user.mkdir("new"), lambda: user.open("new", os.O_WRONLY | os.O_CREAT),
                 lambda: second_process.rename(here, "/proc/%d/cwd/moved" % user.getpid())):
        with refused(errno.ENOENT, errno.EXDEV, errno.EINVAL):
            make()
    second_process.mkdir(here + "/directory")
    second_process.write_file(here + "/directory/file", b"x")
    assert user.listdir(".") == [], "a new directory of the same name is another one"
    assert not user.exists("file")


def test_a_renamed_directory_that_is_in_use(shared, here, second_process):
    shared.os.mkdir(here + "/directory")
    user = shared.worker()
    user.chdir(here + "/directory")
    second_process.rename(here + "/directory", here + "/moved")
    user.write_file("file", b"x")
    assert second_process.read_file(here + "/moved/file") == b"x"
    assert user.getcwd() == here + "/moved"


# Locks and maps


def test_file_locks_are_local(shared, here, second_process):
    shared.os.write_file(here + "/file", b"x")
    first = shared.os.open(here + "/file", os.O_RDWR)
    second = second_process.open(here + "/file", os.O_RDWR)
    for lock in ("flock", "lockf"):
        getattr(shared.os.fcntl, lock)(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with refused(errno.EAGAIN, errno.EACCES):
            getattr(second_process.fcntl, lock)(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        getattr(shared.os.fcntl, lock)(first, fcntl.LOCK_UN)
        getattr(second_process.fcntl, lock)(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        getattr(second_process.fcntl, lock)(second, fcntl.LOCK_UN)
    shared.os.close(first)
    second_process.close(second)


def test_maps_for_reading(shared, here, second_process):
    content = os.urandom(300000)
    shared.os.write_file(here + "/file", content)
    code = """
import mmap
kept = []
fd = os.open(path, os.O_RDONLY)
for flags in (mmap.MAP_SHARED, mmap.MAP_PRIVATE):
    map = mmap.mmap(fd, 0, flags=flags, prot=mmap.PROT_READ)
    kept.append(map[:])
os.close(fd)
result = kept
"""
    assert second_process.execute(code, {"path": here + "/file"}) == [content, content]
    code = """
import mmap
fd = os.open(path, os.O_RDONLY)
map = mmap.mmap(fd, 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
os.close(fd)
os.unlink(path)
result = map[:]
"""
    assert second_process.execute(code, {"path": here + "/file"}) == content


# Listings


def test_a_listing_of_thousands_while_others_come_and_go(shared, here):
    """What is there all the time is listed once, what is not may be or not, but never twice."""
    count = 3000
    make = "for number in range(count):\n    os.mknod('%s/stays-%d' % (path, number), 0o100640)\n"
    churn = """
result = 0
while not os.path.exists(path + "-stop"):
    names = ["%s/%s-%d" % (path, kind, result * 7 + number) for number in range(7) for kind in ("goes", "a", "zz")]
    for name in names:
        os.mknod(name, 0o100640)
    for name in names:
        os.rename(name, name + "-renamed")
    for name in names:
        os.unlink(name + "-renamed")
    if not result:
        os.mkdir(path + "-round-%d" % mine)
    result += 1
"""
    path = here + "/many"
    shared.os.mkdir(path)
    shared.os.execute(make, {"path": path, "count": count})
    workers = [shared.worker() for _ in range(2)]
    churning = [worker.start("execute", churn.replace('kind,', 'kind + "%d",' % number), {"path": path, "mine": number})
                for number, worker in enumerate(workers)]
    expected = {"stays-%d" % number for number in range(count)}
    try:
        listings = 0
        while listings < 15 or not all(shared.os.exists("%s-round-%d" % (path, number)) for number in range(2)):
            names = shared.os.listdir(path)
            assert len(names) == len(set(names)), "listed twice"
            assert expected <= set(names), "left out"
            listings += 1
    finally:
        shared.os.mkdir(path + "-stop")
        assert all(one.result() for one in churning)
    assert set(shared.os.listdir(path)) == expected
    assert len(shared.os.listdir(path)) == count


def test_a_listing_goes_on_where_it_was(shared, here):
    """Entries are deleted behind and made ahead of a reader who is in the middle of a listing."""
    code = """
for number in range(3000):
    os.mknod("%s/%d" % (path, number), 0o100640)
entries = os.scandir(path)
seen = [next(entries).name for _ in range(100)]
for name in seen:
    os.unlink(path + "/" + name)
for number in range(3000, 3100):
    os.mknod("%s/%d" % (path, number), 0o100640)
rest = [entry.name for entry in entries]
entries.close()
result = (seen, rest, os.listdir(path))
"""
    seen, rest, now = shared.os.execute(code, {"path": here})
    assert len(set(seen + rest)) == len(seen + rest)
    assert {str(number) for number in range(3000)} <= set(seen + rest)
    assert sorted(now) == sorted({str(number) for number in range(3100)} - set(seen))


def test_removing_while_listing(shared, here):
    code = "for number in range(4000):\n    os.mknod('%s/%d' % (path, number), 0o100640)\n"
    shared.os.mkdir(here + "/many")
    shared.os.execute(code, {"path": here + "/many"})
    shared.run(["rm", "-r", here + "/many"], check=True)
    assert shared.os.listdir(here) == []


def test_listed_kinds_are_right(shared, here):
    shared.os.mkdir(here + "/directory")
    shared.os.write_file(here + "/file", b"")
    code = "result = {e.name: (e.is_dir(follow_symlinks=False), e.is_symlink(), e.inode()) for e in os.scandir(path)}"
    found = shared.os.execute(code, {"path": here})
    assert found == {"directory": (True, False, shared.os.stat(here + "/directory").st_ino),
                     "file": (False, False, shared.os.stat(here + "/file").st_ino)}
    root = shared.os.execute(code, {"path": shared.mountpoint})
    assert root["local"][:2] == (False, True) and root[".version"][:2] == (False, False)


# Several processes


def test_o_excl_is_atomic_on_one_mount(shared, here):
    """Of all who create a name with O_EXCL at once exactly one succeeds; without it all do."""
    code = """
won = 0
for number in range(200):
    fd = os.open("%s/%d" % (path, number), os.O_WRONLY | os.O_CREAT)
    os.close(fd)
    try:
        os.close(os.open("%s/exclusive-%d" % (path, number), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        won += 1
    except FileExistsError:
        pass
result = won
"""
    workers = [shared.worker() for _ in range(6)]
    pending = [worker.start("execute", code, {"path": here}) for worker in workers]
    assert sum(one.result() for one in pending) == 200
    assert len(shared.os.listdir(here)) == 400


def test_many_processes_work_at_once(shared, here):
    """Each in a directory of its own, with all kinds of changes: nobody sees anything of the others."""
    code = """
import random
generator = random.Random(seed)
model = {}
for step in range(300):
    name = "f%d" % generator.randrange(8)
    other = "f%d" % generator.randrange(8)
    choice = generator.randrange(5)
    if choice == 0:
        data = generator.randbytes(generator.choice((0, 1, 100, 5000, 200000)))
        fd = os.open(path + "/" + name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        if data:
            os.write(fd, data)
        os.close(fd)
        model[name] = data
    elif choice == 1 and name in model:
        os.unlink(path + "/" + name)
        del model[name]
    elif choice == 2 and name in model and name != other:
        os.rename(path + "/" + name, path + "/" + other)
        model[other] = model.pop(name)
    elif choice == 3 and name in model:
        fd = os.open(path + "/" + name, os.O_WRONLY | os.O_APPEND)
        os.write(fd, b"appended")
        os.close(fd)
        model[name] += b"appended"
    elif choice == 4 and name in model:
        size = generator.randrange(1000)
        os.truncate(path + "/" + name, size)
        model[name] = model[name][:size].ljust(size, b"\\0")
    found = {}
    for entry in os.listdir(path):
        fd = os.open(path + "/" + entry, os.O_RDONLY)
        found[entry] = os.read(fd, 1 << 20)
        size = os.stat(path + "/" + entry).st_size
        os.close(fd)
        assert size == len(found[entry]), (step, choice, entry, size, len(found[entry]))
    assert found == model, (step, choice, name, other, {k: len(v) for k, v in found.items()}, {k: len(v) for k, v in model.items()})
result = True
"""
    workers = [shared.worker() for _ in range(4)]
    pending = []
    for number, worker in enumerate(workers):
        shared.os.mkdir("%s/%d" % (here, number))
        pending.append(worker.start("execute", code, {"path": "%s/%d" % (here, number), "seed": number}))
    assert all(one.result() for one in pending)


CROWD = """
import random
generator = random.Random(seed)
for step in range(400):
    name, other = ("%s/%d" % (path, generator.randrange(6)) for _ in range(2))
    choice = generator.randrange(7)
    size = generator.choice((0, 10, 5000, 140000))
    try:
        if choice <= 1:
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if choice else os.O_APPEND))
            try:
                os.write(fd, bytes([65 + generator.randrange(26)]) * size)
            except OSError as error:
                assert error.errno in (2, 27), error
            finally:
                os.close(fd)
        elif choice == 2:
            os.truncate(name, size)
        elif choice == 3:
            os.rename(name, other)
        elif choice == 4:
            os.unlink(name)
        elif choice == 5:
            os.utime(name, (step, step))
        else:
            os.stat(name)
            fd = os.open(name, os.O_RDONLY)
            os.read(fd, 1 << 20)
            os.close(fd)
    except FileNotFoundError:
        pass
result = True
"""


def run_crowd(shared, here, seed):
    workers = [shared.worker() for _ in range(5)]
    pending = [worker.start("execute", CROWD, {"path": here, "seed": seed * 10 + number}) for number, worker in enumerate(workers)]
    assert all(one.result() for one in pending)
    return workers


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_in_a_crowd_nobody_waits_for_ever(shared, here, seed):
    """Callers hold locks in the kernel for each other while they wait for us: all must come through."""
    run_crowd(shared, here, seed)
    check_integrity(shared.database)


def differences(shared, here, workers):
    """What any of the workers sees that is not what is stored."""
    rows = read_rows(shared.database)
    directory = shared.os.stat(here).st_ino
    stored = {os.fsdecode(row[5]): (row[6] or b"", row[3], inode) for inode, row in rows.items() if row[0] == directory}
    found = []
    for number, worker in enumerate(workers):
        names = set(worker.listdir(here))
        found += [(number, name, "listed") for name in names ^ set(stored)]
        found += [(number, name, "missing") for name in stored if not worker.exists(here + "/" + name)]
        found += [(number, name, "there") for name in map(str, range(6)) if name not in stored and worker.exists(here + "/" + name)]
        for name in names & set(stored):
            data, mtime, inode = stored[name]
            seen = worker.stat(here + "/" + name)
            if (seen.st_size, seen.st_mtime, seen.st_ino) != (len(data), mtime, inode):
                found.append((number, name, seen, len(data), mtime, inode))
            elif worker.read_file(here + "/" + name) != data:
                found.append((number, name, "content"))
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_after_a_crowd_everybody_sees_what_is_stored(shared, here, second_process, seed):
    """Many processes change the same few files in all ways; then no cache may go on being wrong. Not at once, as
    the last truncations may still wait for a write."""
    workers = (*run_crowd(shared, here, seed), second_process)
    last = []

    def all_agree():
        last[:] = differences(shared, here, workers)
        return not last

    try:
        wait_for(all_agree, "what is seen is what is stored")
    except AssertionError as error:
        raise AssertionError(last) from error
