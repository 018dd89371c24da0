# SPDX-License-Identifier: GPL-3.0-or-later
"""What a program may rely on with any file holds on the mount, too, unless pmxcfs(8) says otherwise. Each test runs on a tmpfs as well: what is right
is what that gives."""

import errno
import os
import time

import pytest

from harness import GROUP_ID, NOBODY
from support import refused


@pytest.fixture
def control(shared, here):
    """An empty directory on the namespace's tmpfs."""
    path = "/mnt/elsewhere-" + os.path.basename(here)
    shared.os.mkdir(path)
    return path


@pytest.fixture(params=["mount", "tmpfs"])
def place(request, here, control):
    return here if request.param == "mount" else control


# What is gone and open


# Makes what is taken away at last, with the rights that it has on the mount; then who belongs to the group looks at it. A child does that, to which
# nothing that was open is closed.
GONE = """
if kind == "directory":
    os.mkdir(path, mode)
else:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, mode))
os.chown(path, 0, group)
os.chmod(path, mode)
fd = os.open(path, os.O_RDONLY)
if kind == "directory":
    os.rmdir(path)
elif kind == "replaced":
    os.close(os.open(path + "-new", os.O_CREAT | os.O_WRONLY, mode))
    os.rename(path + "-new", path)
else:
    os.unlink(path)
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    answers = [oct(os.fstat(fd).st_mode)]
    os.setgroups([])
    os.setgid(group)
    os.setuid(nobody)
    for call in (lambda: os.close(os.open("/proc/self/fd/%d" % fd, os.O_RDONLY)), lambda: os.stat(".", dir_fd=fd).st_nlink,
                 lambda: os.listdir(fd), lambda: os.fchdir(fd)):
        try:
            answers.append(call())
        except OSError as error:
            answers.append(error.errno)
    os.write(writing, repr(answers).encode())
    os._exit(0)
os.waitpid(child, 0)
result = os.read(reading, 1000).decode()
os.fchmod(fd, mode)
for one in (fd, reading, writing):
    os.close(one)
"""


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("kind", ["directory", "unlinked", "replaced"])
def test_rights_of_what_is_gone(shared, here, control, kind, private):
    """They are what they were: who might look at it may do so until he closes it."""
    mode = {"directory": 0o755, "unlinked": 0o640, "replaced": 0o640}[kind] & (0o700 if private else 0o777)
    inside = shared / "priv/" + os.path.basename(here) if private else here
    shared.os.makedirs(inside, exist_ok=True)
    variables = {"kind": kind, "mode": mode, "group": GROUP_ID, "nobody": NOBODY}
    answers = [shared.os.execute(GONE, dict(variables, path=place + "/it")) for place in (inside, control)]
    assert answers[0] == answers[1]


MAP = """
import mmap
other = os.open(path + "-other", os.O_RDWR | os.O_CREAT, 0o640)
fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
os.write(fd, b"0123456789")
libc = ctypes.CDLL(None, use_errno=True)
result = []
with mmap.mmap(fd, 10) as pages:
    end(path)
    for number in range(3):
        pages[number:number + 1] = b"M"
        if number == 0:
            pages.flush()
        if number == 1:
            os.fsync(fd)
        result.append((bytes(pages), os.pread(fd, 20, 0)))
os.close(fd)
result.append(libc.syncfs(other))
os.close(other)
"""
ENDS = {"unlinked": "end = os.unlink", "replaced": "def end(path): os.rename(path + '-other', path)"}


@pytest.mark.parametrize("kind", ENDS)
def test_a_map_of_what_is_gone(shared, place, kind):
    """It goes on, and nobody gets an error: it would be everybody's who calls syncfs(2)."""
    expected = [(b"M" * number + b"0123456789"[number:],) * 2 for number in (1, 2, 3)]
    assert shared.os.execute("import ctypes\n" + ENDS[kind] + MAP, {"path": place + "/file"}) == [*expected, 0]


# Names that are too long


CALLS = {
    "stat": lambda worker, path, other: worker.stat(path),
    "open": lambda worker, path, other: worker.open(path, os.O_RDONLY),
    "truncate": lambda worker, path, other: worker.truncate(path, 0),
    "unlink": lambda worker, path, other: worker.unlink(path),
    "rmdir": lambda worker, path, other: worker.rmdir(path),
    "symlink": lambda worker, path, other: worker.symlink("x", path),
    "link": lambda worker, path, other: worker.link(other, path),
    "mknod": lambda worker, path, other: worker.mknod(path, 0o640),
    "rename from": lambda worker, path, other: worker.rename(path, other),
    "below": lambda worker, path, other: worker.stat(path + "/x"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("length", [256, 1024, 1025])
def test_a_name_that_is_too_long(shared, place, call, length):
    shared.os.write_file(place + "/other", b"x")
    for _ in range(2):
        with refused(errno.ENAMETOOLONG):
            CALLS[call](shared.os, place + "/" + "n" * length, place + "/other")


# Times


@pytest.mark.parametrize("content", [b"", b"content"])
@pytest.mark.parametrize("flags", [os.O_WRONLY | os.O_TRUNC, os.O_RDONLY | os.O_TRUNC, os.O_WRONLY | os.O_TRUNC | os.O_CREAT])
def test_an_open_with_truncation_sets_the_time(shared, place, second_process, content, flags):
    """At once, not only when the truncation is sent: `: > stamp` is seen by who compares times."""
    path = place + "/file"
    shared.os.write_file(path, content)
    shared.os.utime(path, (777, 777))
    second_process.stat(path)
    before = int(time.time()) - 1  # file systems go by the last tick
    fd = shared.os.open(path, flags)
    seen = [worker.stat(path).st_mtime for worker in (shared.os, second_process)] + [shared.os.fstat(fd).st_mtime]
    shared.os.fsync(fd)
    seen.append(second_process.stat(path).st_mtime)
    shared.os.close(fd)
    assert all(before <= seconds <= time.time() for seconds in seen), seen
    shared.os.utime(path, (777, 777))
    assert second_process.stat(path).st_mtime == 777


# Calls on a file or directory, each with what it answers

PRELUDE = """
import ctypes, errno, fcntl, mmap, resource, signal, stat
os.chdir(place)
answers = []
def note(call):
    try:
        answers.append(call())
    except OSError as error:
        answers.append(errno.errorcode[error.errno])
def make(name, data=b""):
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o640)
    os.write(fd, data)
    return fd
def size(fd):
    note(lambda: os.fstat(fd).st_size)
def read(fd):
    note(lambda: os.pread(fd, 1 << 20, 0))
"""

PROGRAMS = {
    "positions": """
f = make("f", b"0123456789")
for offset, whence in ((-1, 0), (0, 2), (100, 0), (-200, 1), (0, 77), (3, 1)):
    note(lambda: os.lseek(f, offset, whence))
note(lambda: os.read(f, 10)); note(lambda: os.write(f, b"x")); read(f)
note(lambda: os.pread(f, 10, -1)); note(lambda: os.pwrite(f, b"x", -1)); note(lambda: os.pwrite(f, b"", 500)); size(f)
""",
    "appends": """
f, g = make("f"), os.open("f", os.O_RDWR | os.O_APPEND)
for fd, data in ((g, b"aa"), (f, b"b"), (g, b"cc"), (g, b"d" * 300000)):
    note(lambda: os.write(fd, data)); note(lambda: os.lseek(fd, 0, 1)); size(f)
note(lambda: os.ftruncate(f, 1)); note(lambda: os.pwrite(g, b"z", 0)); read(f)
note(lambda: fcntl.fcntl(g, fcntl.F_SETFL, 0)); note(lambda: os.pwrite(g, b"N", 0)); read(f)
note(lambda: fcntl.fcntl(f, fcntl.F_SETFL, os.O_APPEND)); note(lambda: os.pwrite(f, b"M", 0)); read(f)
note(lambda: os.pwritev(f, [b"ab", b"", b"c"], 0, 0x10)); note(lambda: os.pwritev(f, [b"ab"], 0, 0x02)); read(f)
""",
    "a map of what is appended to": """
f = os.open("f", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
os.write(f, b"0123456789")
with mmap.mmap(f, 10) as pages:
    pages[2:3] = b"X"; pages.flush(); read(f)
    os.write(f, b"abc"); pages[3:4] = b"Y"; os.write(f, b"def")
os.fsync(f); read(f)
""",
    "writes from a map of the file itself": """
f = make("f", b"0123456789"); os.ftruncate(f, 8192)
with mmap.mmap(f, 8192) as pages:
    pages[100:105] = b"hello"
    view = memoryview(pages)
    note(lambda: os.pwrite(f, view[100:105], 0)); note(lambda: os.pwrite(f, view[:4096], 4096)); note(lambda: os.pwrite(f, view, 1))
    answers.append(bytes(view)); view.release(); read(f)
""",
    "memory that is not there": """
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
for name in ("read", "write"):
    getattr(libc, name).argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
libc.pwrite.argtypes = libc.pread.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long)
address = libc.mmap(None, 8192, 3, 0x22, -1, 0)
libc.munmap(address + 4096, 4096)
ctypes.memset(address, 113, 4096)
f = make("f")
for call in (lambda: libc.write(f, address + 4000, 200), lambda: libc.pwrite(f, address + 4095, 4000, 4000), lambda: libc.write(f, address + 4096, 5),
             lambda: libc.pread(f, address + 4090, 100, 0), lambda: libc.pread(f, address + 4096, 100, 0), lambda: libc.write(f, None, 0)):
    result = call()
    answers.append(result if result >= 0 else errno.errorcode[ctypes.get_errno()]); size(f); note(lambda: os.lseek(f, 0, 1))
libc.munmap(address, 4096)
""",
    "a limit of the process": """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
f = make("f")
before = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
try:
    for call in (lambda: os.write(f, b"x" * 6000), lambda: os.write(f, b"x"), lambda: os.ftruncate(f, 5001), lambda: os.truncate("f", 6000),
                 lambda: os.pwrite(f, b"xy", 4999), lambda: os.pwrite(f, b"x", 5000), lambda: os.ftruncate(f, 5000)):
        note(call); size(f)
finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
""",
    "truncations": """
f = make("f", b"0123456789"); os.mkdir("d"); g = os.open("f", os.O_RDONLY)
for call in (lambda: os.ftruncate(f, -1), lambda: os.ftruncate(f, 5), lambda: os.ftruncate(f, 20), lambda: os.truncate("d", 0), lambda: os.truncate("no", 0),
             lambda: os.truncate("f", 3), lambda: os.truncate("f/", 3), lambda: os.ftruncate(g, 0), lambda: os.pwrite(f, b"z", 4096), lambda: os.ftruncate(f, 0),
             lambda: os.posix_fallocate(f, 0, 40)):
    note(call); read(f)
""",
    "what a descriptor may": """
f = make("f", b"x"); os.mkdir("d")
for flags in (os.O_RDONLY, os.O_WRONLY, os.O_PATH):
    g = os.open("f", flags)
    for call in (lambda: os.pread(g, 1, 0), lambda: os.pwrite(g, b"y", 0), lambda: os.ftruncate(g, 1), lambda: os.fsync(g), lambda: os.fdatasync(g),
                 lambda: os.posix_fallocate(g, 0, 10), lambda: os.open("x", os.O_RDONLY, dir_fd=g), lambda: os.listdir(g), lambda: os.fstat(g).st_size,
                 lambda: os.close(os.open("/proc/self/fd/%d" % g, os.O_RDWR))):
        note(call)
    os.close(g)
d = os.open("d", os.O_RDONLY)
for call in (lambda: os.read(d, 1), lambda: os.write(d, b"x"), lambda: os.ftruncate(d, 0), lambda: os.fsync(d), lambda: os.posix_fadvise(d, 0, 0, 0),
             lambda: fcntl.flock(d, fcntl.LOCK_EX | fcntl.LOCK_NB), lambda: fcntl.flock(d, fcntl.LOCK_UN)):
    note(call)
""",
    "opens": """
os.close(make("f", b"x")); os.mkdir("d")
tries = [("d", os.O_RDWR), ("d", os.O_WRONLY), ("d", os.O_CREAT), ("d", os.O_TRUNC), ("d", os.O_CREAT | os.O_EXCL), ("f", os.O_DIRECTORY),
         ("no", os.O_CREAT | os.O_DIRECTORY), ("f/", os.O_RDONLY), ("no/", os.O_CREAT), ("f", os.O_CREAT | os.O_EXCL), ("", os.O_RDONLY), ("f/b", os.O_RDONLY),
         ("f/b", os.O_CREAT), ("no/b", os.O_CREAT), ("f", os.O_NOFOLLOW), ("f", os.O_NOATIME), ("f", os.O_RDWR | os.O_DSYNC), ("f", os.O_RDWR | os.O_DIRECT),
         ("f", os.O_ACCMODE), ("d", os.O_TMPFILE | os.O_RDONLY), ("f", os.O_TMPFILE | os.O_RDWR), (".", os.O_RDONLY), ("d/..", os.O_DIRECTORY)]
for name, flags in tries:
    note(lambda: os.close(os.open(name, flags, 0o640)))
note(lambda: sorted(os.listdir(".")))
""",
    "names": """
for name in ("a", "b"):
    os.close(make(name, name.encode()))
os.mkdir("d"); os.close(make("d/x")); os.mkdir("e")
for old, new in (("a", "d"), ("d", "a"), ("a", "a"), ("no", "a"), ("a", "no/x"), ("a", "b/x"), ("e", "e/x"), ("d", "d/x/y"), (".", "x"), ("e/.", "x"), ("e/..", "x"),
                 ("a", "b/"), ("a/", "q"), ("a", "q/"), ("e", "d"), ("a", "b")):
    note(lambda: os.rename(old, new))
for name in ("b", "d", "no", "no/x", "b/x", ".", "..", "d/", "", "d/.", "d/x/"):
    note(lambda: os.mkdir(name)); note(lambda: os.rmdir(name)); note(lambda: os.unlink(name))
for name in ("new/", "nl\\n\\t\\x01\\udcff", "\\u3042", "...", " ", "back\\\\slash", "n" * 255):
    note(lambda: os.mkdir(name)); note(lambda: os.stat(name).st_nlink); note(lambda: os.rmdir(name))
note(lambda: sorted(os.listdir(".")))
""",
    "a directory that moves": """
os.makedirs("a/b"); os.chdir("a/b")
note(lambda: os.getcwd()[len(place):]); note(lambda: os.rename("../b", "../c")); note(lambda: os.getcwd()[len(place):])
note(lambda: os.rmdir("../c")); note(os.getcwd); note(lambda: os.listdir(".")); note(lambda: os.open("x", os.O_CREAT)); note(lambda: os.mkdir("x"))
note(lambda: os.stat(".").st_nlink); note(lambda: os.stat("../no")); os.chdir(place)
f = make("f", b"1"); link = "/proc/self/fd/%d" % f
os.rename("f", "g"); note(lambda: os.readlink(link)[len(place):]); os.unlink("g"); note(lambda: os.readlink(link)[len(place):])
""",
    "leases and locks": """
f = make("f", b"x"); g = os.open("f", os.O_RDWR)
for fd, kind in ((f, fcntl.LOCK_EX), (g, fcntl.LOCK_SH), (f, fcntl.LOCK_SH), (g, fcntl.LOCK_SH), (g, fcntl.LOCK_UN), (f, fcntl.LOCK_UN)):
    note(lambda: fcntl.flock(fd, kind | fcntl.LOCK_NB))
note(lambda: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)); note(lambda: fcntl.lockf(f, fcntl.LOCK_UN))
signal.signal(signal.SIGIO, signal.SIG_IGN)
note(lambda: fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)); os.close(g); note(lambda: fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK))
note(lambda: fcntl.fcntl(f, fcntl.F_GETLEASE)); note(lambda: os.open("f", os.O_RDONLY | os.O_NONBLOCK)); note(lambda: fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_UNLCK))
signal.signal(signal.SIGIO, signal.SIG_DFL)
""",
    "copies in the kernel": """
f, g = make("f", bytes(range(256)) * 200), make("g")
reading, writing = os.pipe()
note(lambda: os.copy_file_range(f, g, 10000, 5, 0)); read(g); note(lambda: os.sendfile(g, f, 3, 5000)); read(g)
note(lambda: os.copy_file_range(g, g, 100, 0, 50)); note(lambda: os.copy_file_range(g, g, 100, 0, 200)); read(g)
note(lambda: os.splice(f, writing, 8000, 7)); note(lambda: os.splice(reading, g, 8000, None, 30000)); read(g)
a = os.open("g", os.O_WRONLY | os.O_APPEND)
note(lambda: os.copy_file_range(f, a, 5)); note(lambda: os.sendfile(a, f, 0, 5)); size(a); os.close(reading); os.close(writing)
""",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_answers(shared, here, control, program):
    """Of a process of its own, as these leave much open."""
    answers = []
    for place in (here, control):
        worker = shared.worker()
        answers.append(worker.execute(PRELUDE + PROGRAMS[program] + "\nresult = answers", {"place": place}))
        shared.namespace.end_worker(worker)
    differing = [(number, got, right) for number, (got, right) in enumerate(zip(*answers)) if got != right]
    assert not differing and len(answers[0]) == len(answers[1]) > 0


# An append to a page that a map has written to, just after a change behind which pages may have to be dropped. Linux clears what is behind the end of
# a file in a page that it writes back, and takes a page that is being written to for such a one: so pages are dropped only where they must be. (It may
# write pages back at any time, when somebody calls sync(2) for instance: one round proves nothing.)
APPENDS = """
import mmap
buffer = mmap.mmap(-1, 8192)
expected = b"a" * 5 + b"c" + b"a" * 2994 + bytes(9) + b"b" + b"W" * 20
result = 0
for number in range(1500):
    f = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o640)
    g = os.open(path, os.O_WRONLY | os.O_APPEND)
    d = os.open(path, os.O_RDONLY | os.O_DIRECT)
    os.pwrite(f, b"a" * 3000, 0)
    if kind == "hole":
        os.pwrite(f, b"b", 3009)
    else:
        os.pwrite(f, bytes(9) + b"b" * 9, 3000)
        os.ftruncate(f, 3010)
    with mmap.mmap(f, 3010) as pages:
        pages[5] = 99
        os.write(g, b"W" * 20)
    content = os.pread(f, 5000, 0)
    stored = buffer[:os.preadv(d, [buffer], 0)]
    result += content != expected or stored != expected
    for fd in (f, g, d):
        os.close(fd)
"""


@pytest.mark.parametrize("kind", ["hole", "truncation"])
def test_an_append_to_a_page_that_a_map_has_written_to(shared, here, kind):
    assert shared.os.execute(APPENDS, {"path": here + "/file", "kind": kind}) <= 1


# A file that is renamed all the time by one process, and emptied by others that end at once: each of their truncations is sent when a third one asks
# for a change of its own.

RENAME = """
import time
end = time.monotonic() + 3
while time.monotonic() < end:
    os.rename(path + "/file", path + "/moved/file")
    os.rename(path + "/moved/file", path + "/file")
"""
MAKE = """
import time
end = time.monotonic() + 3
while time.monotonic() < end:
    os.mkdir(path + "/elsewhere/directory")
    os.rmdir(path + "/elsewhere/directory")
"""
EMPTY = """
import time
end = time.monotonic() + 2.5
result = []
while time.monotonic() < end:
    os.pwrite(fd, b"content", 0)
    child = os.fork()
    if child == 0:
        os.open("/proc/self/fd/%d" % fd, os.O_WRONLY | os.O_TRUNC)
        os._exit(0)
    os.waitpid(child, 0)
    time.sleep(0.001)
    result.append(os.fstat(fd).st_size)
"""


def test_a_truncation_follows_a_rename(shared, here, second_process):
    for name in ("moved", "elsewhere"):
        shared.os.mkdir(here + "/" + name)
    shared.os.write_file(here + "/file", b"content")
    fd = shared.os.open(here + "/file", os.O_RDWR)
    renaming = second_process.start("execute", RENAME, {"path": here})
    making = shared.worker().start("execute", MAKE, {"path": here})
    sizes = shared.os.execute(EMPTY, {"fd": fd})
    shared.os.close(fd)
    renaming.result()
    making.result()
    assert sizes and not any(sizes)
    assert "the truncation failed" not in shared.log_since_start()
