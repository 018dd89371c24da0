# SPDX-License-Identifier: GPL-3.0-or-later
"""The process inside a test's namespaces: does system calls for the test, over two pipes.

Started with "init" it is process 1 of a pid namespace: it also starts, signals and reaps processes,
and when its input ends (the test is gone) it exits, and everything in the namespace dies with it.
Started with "worker" it only does calls, as the user it was told to be. Modules of the standard
library only, since it runs isolated (python3 -IS) to start fast.
"""

# What pickle.py and signal.py put around these modules would be a quarter of the start.
import _pickle as pickle
import _signal as signal
import os
import struct
import sys
import time


def read_exactly(file, size):
    data = file.read(size)
    if len(data) < size:
        raise EOFError
    return data


def receive(file):
    (size,) = struct.unpack("<I", read_exactly(file, 4))
    return pickle.loads(read_exactly(file, size))


def send(file, value):
    data = pickle.dumps(value)
    file.write(struct.pack("<I", len(data)) + data)
    file.flush()


def make_portable(error):
    """An exception that the other side can unpickle."""
    if isinstance(error, OSError):
        return OSError(error.errno, error.strerror, error.filename, None, error.filename2)
    return RuntimeError("%s: %s" % (type(error).__name__, error))


def read_file(path, size=-1):
    """All bytes of a file, in one open."""
    fd = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while size != 0:
            part = os.read(fd, 131072 if size < 0 else size)
            if not part:
                break
            parts.append(part)
            size -= len(part) if size > 0 else 0
        return b"".join(parts)
    finally:
        os.close(fd)


def write_file(path, data, mode=0o640):
    """Make or replace a file's content, as `cat >` does."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        while data:
            data = data[os.write(fd, data):]
    finally:
        os.close(fd)


def walk(path):
    """Every path below `path`, relative to it, directories with a slash at their end, sorted."""
    found = []
    for directory, directories, files in os.walk(path, onerror=fail):
        start = os.path.relpath(directory, path)
        start = "" if start == "." else start + "/"
        found += [start + name + "/" for name in directories if not os.path.islink(os.path.join(directory, name))]
        found += [start + name for name in directories if os.path.islink(os.path.join(directory, name))]
        found += [start + name for name in files]
    return sorted(found)


def fail(error):
    raise error


def execute(code, names):
    """Runs statements; what they leave in `result` is the answer."""
    space = dict(names, os=os, time=time, signal=signal, result=None)
    exec(code, space)
    return space["result"]


def start_process(argv, log, environment, uid=None, gid=None, groups=(), cwd=None):
    """fork and exec with output appended to the file `log`; the pid in this namespace."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        null = os.open("/dev/null", os.O_RDONLY)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666) if log else os.open("/dev/null", os.O_WRONLY)
        os.dup2(null, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.closerange(3, 256)
        if cwd:
            os.chdir(cwd)
        if uid is not None:
            become(uid, gid, groups)
        os.execvpe(argv[0], argv, environment)
    except BaseException as error:
        os.write(2, ("cannot start %s: %s\n" % (argv, error)).encode())
    os._exit(127)


def become(uid, gid, groups):
    os.setgroups(list(groups))
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


class Children:
    """Exit statuses of the processes that this one started or inherited."""

    def __init__(self):
        self.statuses = {}

    def reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.statuses[pid] = os.waitstatus_to_exitcode(status)

    def wait(self, pid, seconds):
        """Exit code (negative: signal) or None if it still runs after that time. (A look every 2 ms costs more than what
        is looked for; process 1 has SIGCHLD blocked, so that none is missed.)"""
        end = time.monotonic() + seconds
        while True:
            self.reap()
            if pid in self.statuses:
                return self.statuses[pid]
            left = end - time.monotonic()
            if left <= 0:
                return None
            signal.sigtimedwait([signal.SIGCHLD], left)


def wait_gone(children, pid, seconds):
    """Waits for a process that need not be a child of this one; True when there is none."""
    end = time.monotonic() + seconds
    while True:
        children.reap()
        if not os.path.exists("/proc/%d" % pid):
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(0.002)


def main():
    children = Children()
    own = {
        "read_file": read_file,
        "write_file": write_file,
        "walk": walk,
        "execute": execute,
        "become": become,
        "start_process": start_process,
        "wait_child": children.wait,
        "wait_gone": lambda pid, seconds: wait_gone(children, pid, seconds),
    }
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if sys.argv[1] == "worker":
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    else:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    while True:
        try:
            module, name, arguments, keywords = receive(requests)
        except EOFError:
            os._exit(0)
        try:
            function = getattr(__import__(module), name) if module else own[name]
            answer = (True, function(*arguments, **keywords))
        except BaseException as error:
            answer = (False, make_portable(error))
        children.reap() if sys.argv[1] == "init" else None
        send(answers, answer)


main()
