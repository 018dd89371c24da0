# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways to a file by what was taken of it before it changed, run inside a test's namespaces: a descriptor, a map, a
handle, a mount. Each is a pair: what is taken of a path, and how its content is read from that later.

Modules of the standard library only, since the process inside runs isolated (inside.py).
"""

import ctypes
import errno
import fcntl
import itertools
import mmap
import os
import struct
import subprocess

MIB = 1 << 20
AT_EMPTY_PATH, AT_STATX_FORCE_SYNC = 0x1000, 0x2000
MS_BIND, MNT_DETACH = 4096, 2

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
numbers = itertools.count(1)


def checked(result):
    """The result of a function of libc; OSError if it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


class Taken:
    """What is kept of a path: a descriptor, the address of a map, the bytes of a handle, another name."""

    def __init__(self, fd=-1, name=None, map=None, handle=None, mounted=()):
        self.fd, self.name, self.map, self.handle, self.mounted = fd, name, map, handle, mounted

    def close(self):
        if self.map is not None:
            checked(libc.munmap(self.map, mmap.PAGESIZE))
        if self.fd >= 0:
            os.close(self.fd)
        for place in self.mounted:
            checked(libc.umount2(place.encode(), MNT_DETACH))


# What is taken


def opened(path):
    return Taken(os.open(path, os.O_RDWR))


def opened_directly(path):
    return Taken(os.open(path, os.O_RDONLY | os.O_DIRECT))


def opened_as_path(path):
    return Taken(os.open(path, os.O_PATH))


def mapped(path):
    """A page of the file: more of it than that is not looked at."""
    taken = opened(path)
    taken.map = libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, taken.fd, 0)
    assert ctypes.string_at(taken.map, 1), "the page is there"
    return taken


def handle_of(path):
    taken = opened(path)
    data = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 8 + 128)
    mount = ctypes.c_int()
    checked(libc.name_to_handle_at(taken.fd, b"", data, ctypes.byref(mount), AT_EMPTY_PATH))
    taken.handle = data
    return taken


def bound(path):
    """A bind mount of the one file, as containers have."""
    target = "/mnt/bound-%d-%d" % (os.getpid(), next(numbers))
    os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
    checked(libc.mount(path.encode(), target.encode(), None, MS_BIND, None))
    return Taken(name=target, mounted=(target,))


def below_an_overlay(path):
    """The file as an overlay shows it whose lower directory is the file's."""
    top = "/mnt/overlay-%d-%d" % (os.getpid(), next(numbers))
    for name in ("", "/upper", "/work", "/merged"):
        os.mkdir(top + name)
    options = "lowerdir=%s,upperdir=%s/upper,workdir=%s/work" % (os.path.dirname(path), top, top)
    checked(libc.mount(b"overlay", (top + "/merged").encode(), b"overlay", 0, options.encode()))
    name = "%s/merged/%s" % (top, os.path.basename(path))
    return Taken(os.open(name, os.O_RDONLY), name, mounted=(top + "/merged",))


# How it is read


def to_the_end(read):
    """All that read() gives until it gives nothing."""
    return b"".join(iter(read, b""))


def by_read(taken):
    os.lseek(taken.fd, 0, os.SEEK_SET)
    return to_the_end(lambda: os.read(taken.fd, MIB))


def by_pread(taken):
    return os.pread(taken.fd, 2 * MIB, 0)


def by_readv(taken):
    parts = [bytearray(5), bytearray(2 * MIB)]
    size = os.preadv(taken.fd, parts, 0)
    return b"".join(parts)[:size]


def by_sendfile(taken):
    target = os.memfd_create("copy")
    offset = 0
    while sent := os.sendfile(target, taken.fd, offset, MIB):
        offset += sent
    return closing(target)


def by_splice(taken):
    source, target = os.pipe()
    offset, found = 0, b""
    while sent := os.splice(taken.fd, target, 4096, offset_src=offset):
        offset += sent
        found += os.read(source, sent)
    os.close(source)
    os.close(target)
    return found


def by_copy_file_range(taken):
    """Into another file of the same file system."""
    path = os.path.join(os.path.dirname(os.readlink("/proc/self/fd/%d" % taken.fd)), "copy-%d-%d" % (os.getpid(), next(numbers)))
    target = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    offset = 0
    while copied := os.copy_file_range(taken.fd, target, MIB, offset):
        offset += copied
    found = closing(target)
    os.unlink(path)
    return found


def by_map(taken):
    """A map that is made now."""
    size = os.fstat(taken.fd).st_size
    if size == 0:
        return b""
    with mmap.mmap(taken.fd, size, mmap.MAP_PRIVATE, mmap.PROT_READ) as map:
        return map[:]


def by_kept_map(taken):
    """As long as the file is: the map's page is gone while it is empty."""
    size = min(os.fstat(taken.fd).st_size, mmap.PAGESIZE)
    return ctypes.string_at(taken.map, size) if size else b""


def by_name(taken):
    return reopened(taken.name)


def by_proc(taken):
    return reopened("/proc/self/fd/%d" % taken.fd)


def by_dev(taken):
    return reopened("/dev/fd/%d" % taken.fd)


def by_program(taken):
    """Another program, as `cat /dev/fd/3` in a shell."""
    done = subprocess.run(["/bin/cat", "/dev/fd/%d" % taken.fd], pass_fds=[taken.fd], capture_output=True)
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    return done.stdout


def by_child(taken):
    """A process that has inherited the descriptor."""
    source, target = os.pipe()
    if os.fork() == 0:
        os.write(target, os.pread(taken.fd, 65536, 0))
        os._exit(0)
    os.close(target)
    found = to_the_end(lambda: os.read(source, MIB))
    os.close(source)
    os.wait()
    return found


def directly(taken):
    """Past the kernel's pages."""
    with mmap.mmap(-1, 2 * MIB) as buffer:
        size = os.preadv(taken.fd, [buffer], 0)
        return buffer[:size]


def by_handle(taken):
    fd = checked(libc.open_by_handle_at(taken.fd, taken.handle, os.O_RDONLY))
    return closing(fd)


def reopened(path):
    return closing(os.open(path, os.O_RDONLY))


def closing(fd):
    """All the content of a descriptor that is closed then."""
    try:
        return os.pread(fd, 2 * MIB, 0)
    finally:
        os.close(fd)


WAYS = {
    "read": (opened, by_read),
    "pread": (opened, by_pread),
    "readv": (opened, by_readv),
    "sendfile": (opened, by_sendfile),
    "splice": (opened, by_splice),
    "copy_file_range": (opened, by_copy_file_range),
    "map": (opened, by_map),
    "kept-map": (mapped, by_kept_map),
    "proc-fd": (opened, by_proc),
    "dev-fd": (opened, by_dev),
    "program": (opened, by_program),
    "child": (opened, by_child),
    "direct": (opened_directly, directly),
    "path": (opened_as_path, by_proc),
    "handle": (handle_of, by_handle),
    "bind-mount": (bound, by_name),
    "overlay": (below_an_overlay, by_name),
    "overlay-descriptor": (below_an_overlay, by_pread),
}

kept = {}


# What the test calls


def take(way, path):
    """Keeps a way to the file at `path`; its number."""
    number = next(numbers)
    kept[number] = (way, WAYS[way][0](path))
    return number


def read(number):
    """The whole content, by the way of that number."""
    way, taken = kept[number]
    return WAYS[way][1](taken)


def drop(number):
    kept.pop(number)[1].close()


def statx(fd, flags=0):
    """(inode number, size) of an open file by statx(AT_EMPTY_PATH)."""
    result = ctypes.create_string_buffer(256)
    checked(libc.statx(fd, b"", AT_EMPTY_PATH | flags, 0x7FF, result))
    return struct.unpack_from("Q", result.raw, 32)[0], struct.unpack_from("Q", result.raw, 40)[0]


def ask_for_size(path, stop):
    """Asks the file system itself for the size, not the kernel's cache, until there is a file `stop`; how often."""
    fd = os.open(path, os.O_RDONLY)
    count = 0
    while not os.path.exists(stop):
        statx(fd, AT_STATX_FORCE_SYNC)
        count += 1
    os.close(fd)
    return count


def holder(fd, kind):
    """The pid of who holds a lock on the whole file, -1 for one of an open file description; None: nobody."""
    request = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    answer = fcntl.fcntl(fd, fcntl.F_GETLK if kind == "posix" else fcntl.F_OFD_GETLK, request)
    found, _, _, _, pid = struct.unpack("hhqqi4x", answer)
    return None if found == fcntl.F_UNLCK else pid


def lock(fd, kind, wait=False):
    """Takes a lock of the whole file for oneself alone; False if somebody else has it."""
    try:
        if kind == "flock":
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        elif kind == "posix":
            fcntl.lockf(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        else:
            request = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            fcntl.fcntl(fd, fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK, request)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
    return True
