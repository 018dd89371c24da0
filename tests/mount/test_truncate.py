# SPDX-License-Identifier: GPL-3.0-or-later
"""Rewrites with O_TRUNC (doc/filesystem.md): on the writer's node the file is empty from the open to the write, as on
any file system; what is stored and sent to others is one change."""

import errno
import os
import signal
import time

import pytest

from harness import DISTURBED, PATIENCE
from support import CHANGE_MAX, MIB, read_rows, refused

# An open with O_TRUNC that no write follows may be sent by itself after this time, in seconds.
WAIT = 0.1  # seconds: how long a truncation waits for a write (src/mount/request.c)

SIZES = [1, 100, 4096, 4097, 131072, 131073, 500000, MIB]


def content(number, size):
    return (b"%06d " % number * (size // 7 + 1))[:size]


BUSY_WAIT = 1.0  # while its opener runs, or writes (src/mount/timer.c)


def within_time(attempt, wait=WAIT):
    """Runs attempt() until it took so little time from an open to the write that no truncation can have been
    sent by itself: it returns that time, and the answer."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        took, answer = attempt()
        if took < wait * 0.9:
            return answer
    raise AssertionError("this machine is too slow for this test")


REWRITE = """
started = time.monotonic()
fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
assert os.write(fd, data) == len(data)
result = time.monotonic() - started
os.close(fd)
"""


@pytest.mark.parametrize("size", SIZES)
def test_empty_until_the_write_then_the_new(shared, here, second_process, size):
    path = here + "/file"
    new = content(2, size)
    for _ in range(3):
        shared.os.write_file(path, content(1, 70000))
        assert second_process.stat(path).st_size == 70000
        fd = shared.os.open(path, os.O_WRONLY | os.O_TRUNC)
        assert shared.os.fstat(fd).st_size == second_process.stat(path).st_size == 0
        assert second_process.read_file(path) == b""
        assert shared.os.write(fd, new) == size
        assert second_process.stat(path).st_size == shared.os.fstat(fd).st_size == size
        assert second_process.read_file(path) == new
        shared.os.close(fd)
        assert shared.os.read_file(path) == new


@pytest.mark.parametrize("size", [size for size in SIZES if size <= CHANGE_MAX] + [CHANGE_MAX])
def test_truncation_and_write_are_one_change(shared, here, size):
    path = here + "/file"
    shared.os.write_file(path, content(1, 70000))
    inode = shared.os.stat(path).st_ino

    def attempt():
        before = read_rows(shared.database)[0][1]
        took = shared.os.execute(REWRITE, {"path": path, "data": content(2, size)})
        rows = read_rows(shared.database)
        assert rows[inode][6] == content(2, size)
        return took, rows[0][1] - before

    assert within_time(attempt) == 1


REWRITE_BUSILY = """
started = time.monotonic()
fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
while time.monotonic() < started + 0.3:
    pass
assert os.write(fd, data) == len(data)
result = time.monotonic() - started
os.close(fd)
"""


def test_a_writer_that_is_busy_is_waited_for(shared, here):
    """As is one that gets no processor, which cannot be told from this one."""
    path = here + "/file"
    shared.os.write_file(path, content(1, 100))

    def attempt():
        before = read_rows(shared.database)[0][1]
        took = shared.os.execute(REWRITE_BUSILY, {"path": path, "data": content(2, 200)})
        return took, read_rows(shared.database)[0][1] - before

    assert within_time(attempt, BUSY_WAIT) == 1


def test_the_written_file_goes_on(shared, here, second_process):
    """More writes, a seek back, and a truncation, all through the one descriptor."""
    path = here + "/file"
    shared.os.write_file(path, content(1, 10000))
    fd = shared.os.open(path, os.O_RDWR | os.O_TRUNC)
    model = b""
    for number in range(5):
        data = content(number, 3000)
        shared.os.write(fd, data)
        model += data
        assert second_process.read_file(path) == model
        assert shared.os.pread(fd, MIB, 0) == model
    shared.os.pwrite(fd, b"start", 0)
    model = b"start" + model[5:]
    assert second_process.read_file(path) == shared.os.read_file(path) == model
    shared.os.ftruncate(fd, 7)
    assert second_process.read_file(path) == model[:7]
    shared.os.close(fd)


def test_a_first_write_that_is_not_at_the_start(shared, here, second_process):
    path = here + "/file"
    shared.os.write_file(path, content(1, 10000))
    fd = shared.os.open(path, os.O_WRONLY | os.O_TRUNC)
    shared.os.pwrite(fd, b"x", 5000)
    assert second_process.read_file(path) == bytes(5000) + b"x"
    shared.os.close(fd)


# Without a write


@pytest.mark.parametrize("size", [0, 1, 5000, MIB])
def test_nothing_written(shared, here, second_process, size):
    """Empty as soon as the file is closed, for everybody."""
    path = here + "/file"
    for _ in range(10):
        shared.os.write_file(path, content(1, size))
        shared.os.close(shared.os.open(path, os.O_WRONLY | os.O_TRUNC))
        assert shared.os.stat(path).st_size == 0
        assert second_process.stat(path).st_size == 0
        shared.os.write_file(path, content(1, size))
        shared.os.close(shared.os.open(path, os.O_WRONLY | os.O_TRUNC))
        assert second_process.read_file(path) == b""
        assert shared.os.read_file(path) == b""


def test_a_shell_empties_a_file(shared, here, second_process):
    path = here + "/file"
    for _ in range(5):
        shared.os.write_file(path, b"content")
        done = shared.run(["sh", "-c", ': > "$1"; stat -c %s "$1"; cat "$1"', "sh", path])
        assert done.stdout == "0\n"
        assert second_process.stat(path).st_size == 0
    shared.os.write_file(path, b"content")
    shared.run(["sh", "-c", ': > "$1"', "sh", path], check=True)
    assert second_process.stat(path).st_size == 0
    done = shared.run(["sh", "-c", 'echo one > "$1"; cat "$1"; echo two >> "$1"; cat "$1"', "sh", path])
    assert done.stdout == "one\none\ntwo\n"


def test_it_is_sent_at_fsync(shared, here, second_process):
    path = here + "/file"
    for _ in range(10):
        shared.os.write_file(path, b"content")
        fd = shared.os.open(path, os.O_WRONLY | os.O_TRUNC)
        shared.os.fsync(fd)
        assert second_process.read_file(path) == b""
        inode = shared.os.fstat(fd).st_ino
        assert not read_rows(shared.database)[inode][6]
        shared.os.write(fd, b"new")
        assert second_process.read_file(path) == b"new"
        shared.os.close(fd)


def test_it_is_sent_after_a_while(shared, here, second_process):
    path = here + "/file"
    shared.os.write_file(path, b"content")
    fd = shared.os.open(path, os.O_WRONLY | os.O_TRUNC)
    inode = shared.os.fstat(fd).st_ino
    assert second_process.read_file(path) == b""
    shared.os.wait_for(lambda _: not read_rows(shared.database)[inode][6], "the truncation is stored")
    assert second_process.read_file(path) == b""
    assert second_process.stat(path).st_size == 0
    shared.os.write(fd, b"late")
    assert second_process.read_file(path) == b"late"
    shared.os.close(fd)


def test_the_time_of_an_emptied_file_stays(shared, here, second_process):
    """What it showed from the open on is what is stored when the truncation is sent, in the next second."""
    path = here + "/file"
    shared.os.write_file(path, b"old")
    left = 1 - time.time() % 1  # the last part of a second, so that the truncation is sent in the next
    time.sleep((left - WAIT / 2) % 1)
    fd = shared.os.open(path, os.O_WRONLY | os.O_TRUNC)
    inode, shown = shared.os.fstat(fd).st_ino, shared.os.fstat(fd).st_mtime
    shared.os.wait_for(lambda _: not read_rows(shared.database)[inode][6], "the truncation is stored")
    assert shared.os.fstat(fd).st_mtime == second_process.stat(path).st_mtime == shown
    shared.os.close(fd)


def test_writers_that_die_between_open_and_write(shared, here, second_process):
    path = here + "/file"
    for _ in range(5):
        shared.os.write_file(path, b"content")
        writer = shared.worker()
        writer.open(path, os.O_WRONLY | os.O_TRUNC)
        shared.os.kill(writer.getpid(), signal.SIGKILL)
        assert second_process.read_file(path) == b""
        inode = shared.os.stat(path).st_ino
        shared.os.wait_for(lambda _: not read_rows(shared.database)[inode][6], "the truncation is stored")
        assert shared.os.stat(path).st_size == 0
        assert second_process.read_file(path) == b""
        writer.close()


def test_unlinked_and_renamed_meanwhile(shared, here, second_process):
    path = here + "/file"
    shared.os.write_file(path, b"content")
    fd = shared.os.open(path, os.O_WRONLY | os.O_TRUNC)
    second_process.unlink(path)
    with refused(errno.ENOENT):
        shared.os.write(fd, b"x")
    shared.os.close(fd)
    assert not shared.os.exists(path)
    shared.os.write_file(path, b"content")
    fd = shared.os.open(path, os.O_WRONLY | os.O_TRUNC)
    second_process.rename(path, here + "/moved")
    shared.os.write(fd, b"new")
    assert second_process.read_file(here + "/moved") == b"new"
    shared.os.close(fd)
    assert shared.os.listdir(here) == ["moved"]


def test_a_write_that_fails(shared, here, second_process):
    """The caller hears of it, and the file is as empty as it has been since it was opened."""
    path = here + "/file"
    shared.os.write_file(path, b"content")
    fd = shared.os.open(path, os.O_WRONLY | os.O_TRUNC)
    with refused(errno.EFBIG):
        shared.os.pwrite(fd, b"x", MIB)
    assert second_process.read_file(path) == b""
    inode = shared.os.fstat(fd).st_ino
    shared.os.close(fd)
    assert second_process.read_file(path) == b""
    shared.os.wait_for(lambda _: not read_rows(shared.database)[inode][6], "the truncation is stored")
    shared.os.write_file(path, b"again")
    assert second_process.read_file(path) == b"again"


def test_a_file_of_one_page_after_another(shared, here):
    """Rewrites of growing and shrinking sizes by one process: what it reads is what it wrote."""
    path = here + "/file"
    for number, size in enumerate([1, 5000, 3, 4096, 0, 100000, 99999, 1, MIB, 10]):
        shared.os.write_file(path, content(number, size))
        assert shared.os.read_file(path) == content(number, size)
        assert shared.os.stat(path).st_size == size


# Others meanwhile

# What others do with a file that this process has emptied and not written yet: a child that inherits the descriptor,
# another thread, and the calls that look the name up.
MEANWHILE = """
import threading
fd = os.open(path, os.O_RDWR | os.O_TRUNC)
def by_name():
    sizes.append(os.stat(path).st_size)
    sizes.append(os.lstat(path).st_size)
    sizes.append(os.path.getsize(os.path.dirname(path) + "/./file") if os.access(path, os.R_OK | os.W_OK) else None)
    for flags in (os.O_RDONLY, os.O_RDWR | os.O_APPEND, os.O_RDWR | os.O_CREAT):
        other = os.open(path, flags)
        sizes.append(len(os.read(other, 100)))
        os.close(other)
sizes = []
thread = threading.Thread(target=by_name)
thread.start()
thread.join()
child = os.fork()
if child == 0:
    os._exit(os.fstat(fd).st_size)
inherited = os.waitpid(child, 0)[1]
assert os.write(fd, b"new") == 3
os.close(fd)
result = sizes, inherited, os.stat(path).st_size
"""


def test_who_asks_meanwhile(shared, here, second_process):
    path = here + "/file"
    for _ in range(5):
        shared.os.write_file(path, b"old content")
        sizes, inherited, final = shared.os.execute(MEANWHILE, {"path": path})
        assert (set(sizes), inherited, final) == ({0}, 0, 3)
        assert second_process.read_file(path) == b"new"


STRESS = """
buffer = b"x" * 500
for number in range(300):
    if rewrites:
        fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
        assert os.write(fd, buffer) == 500
    else:
        os.stat(path)
        assert os.access(path, os.R_OK)
        fd = os.open(path, os.O_RDONLY)
        assert len(os.read(fd, 1000)) in (0, 500)
    os.close(fd)
result = None
"""


def test_nobody_gets_an_error(shared, here):
    """Many rewrite and read one file at once."""
    path = here + "/file"
    shared.os.write_file(path, b"x" * 500)
    processes = [shared.worker() for _ in range(6)]
    running = [process.start("execute", STRESS, {"path": path, "rewrites": number % 2 == 0})
               for number, process in enumerate(processes)]
    for one in running:
        one.result()
    for process in processes:
        process.close()
    assert shared.os.read_file(path) == b"x" * 500


# Each content says who it is and how long it must be. Writers take turns, since two that rewrite at once may leave a
# mixture of both.
WRITE = """
import fcntl
import random
turn = os.open(lock, os.O_RDWR | os.O_CREAT)
generator = random.Random(seed)
result = []
while not result or not os.path.exists(directory + "/stop-writers"):
    size = generator.choice(sizes)
    data = (b"%d %d " % (seed, size)) + bytes([97 + generator.randrange(26)]) * size
    fcntl.flock(turn, fcntl.LOCK_EX)
    begin = time.monotonic()
    fd = os.open(directory + "/file", os.O_WRONLY | os.O_TRUNC)
    time.sleep(generator.choice((0, 0.002, 0.01)))
    assert os.write(fd, data) == len(data)
    result.append((begin, time.monotonic()))
    os.close(fd)
    fcntl.flock(turn, fcntl.LOCK_UN)
    time.sleep(generator.choice((0, 0.002, 0.01)))
"""

READ = DISTURBED + """
result = (0, [])
count = 0
bad = []
while not count or not os.path.exists(directory + "/stop-readers"):
    before = time.monotonic()
    fd = os.open(directory + "/file", os.O_RDONLY)
    data, excused = b"", False
    while True:
        disturbed()
        part = os.read(fd, 100000)
        if not part:
            break
        excused = excused or b"\\0" in part and disturbed()
        data += part
    os.close(fd)
    after = time.monotonic()
    count += 1
    fields = data.split(b" ", 2)
    whole = len(fields) == 3 and fields[1].isdigit() and int(fields[1]) == len(fields[2]) and len(set(fields[2])) <= 1
    if not (whole or excused):
        bad.append((before, after, len(data), data[:20], data.count(b"\\0")))
result = (count, bad)
"""


@pytest.mark.parametrize("writers", [1, 3])
def test_readers_see_whole_contents_but_while_a_writer_writes(shared, here, writers):
    path = here + "/file"
    shared.os.write_file(path, b"0 1 x")
    processes = [shared.worker() for _ in range(writers + 2)]
    reading = [reader.start("execute", READ, {"directory": here}) for reader in processes[writers:]]
    writing = [writer.start("execute", WRITE, {"directory": here, "seed": number + 1, "sizes": (1, 1000, 5000, 150000, 900000),
                                                "lock": "/mnt/turn"})
               for number, writer in enumerate(processes[:writers])]
    reading[0].done(3)
    shared.os.mkdir(here + "/stop-writers")
    written = [one.result() for one in writing]
    shared.os.mkdir(here + "/stop-readers")
    read = [one.result() for one in reading]
    assert all(written) and all(count for count, _ in read)
    spans = [span for one in written for span in one]
    for _, bad in read:
        for before, after, size, start, zeros in bad:
            assert not zeros, "a reader saw %d bytes that nobody wrote among %d" % (zeros, size)
            assert any(begin < after and end > before for begin, end in spans), "a reader saw %d bytes: %s" % (size, start)
    # In the end it is one of the contents, whole.
    last = shared.os.read_file(path).split(b" ", 2)
    assert len(last[2]) == int(last[1]) and len(set(last[2])) == 1
    for process in processes:
        process.close()
