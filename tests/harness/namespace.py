# SPDX-License-Identifier: GPL-3.0-or-later
"""A world of its own for a test's processes: mount and pid namespace, network and host name if
asked for. All that runs in it dies with its process 1, and that dies with the test."""

import os
import signal
import subprocess

from .worker import PATIENCE, Worker, wait_for

# Where the mount points are: a tmpfs of the namespace's own, which any user may enter.
ROOM = "/mnt"

# The threads of a process that are neither stopped nor deep in the kernel, where they will stop.
RUNNING = """
result = []
for thread in os.listdir("/proc/%d/task" % pid):
    with open("/proc/%d/task/%s/stat" % (pid, thread)) as file:
        state = file.read().rpartition(")")[2].split()[0]
    if state not in "TtDZX":
        result.append(thread)
"""


class Namespace:
    """Mounts made inside are seen inside only. /dev/shm (libqb's buffers) and /mnt are private.

    `network`: a network namespace with nothing but loopback, which is up.
    `hostname`: a UTS namespace with that host name.
    `tmpfs`: more directories that get an empty tmpfs of their own (/run, /var/lib/corosync ...).
    """

    def __init__(self, network=False, hostname=None, tmpfs=()):
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
        command += ["--net"] if network else []
        command += ["--uts"] if hostname else []
        self.workers = []
        self.pid = None
        # What is to be prepared is done by the shell that then becomes process 1: each program more costs time.
        self.init = Worker([*command, "sh", "-ec", "\n".join([*self.preparations(network, hostname, tmpfs), 'exec "$@"']), "sh"], "init")
        try:
            self.pid = self.find_init()
        except BaseException:
            self.close()
            raise

    @staticmethod
    def preparations(network, hostname, tmpfs):
        commands = ["mount -t tmpfs -o mode=1777 tmpfs /dev/shm", "mount -t tmpfs -o mode=0755 tmpfs " + ROOM]
        commands += ["mkdir -p %s && mount -t tmpfs -o mode=0755 tmpfs %s" % (path, path) for path in tmpfs]
        commands += ["ip link set lo up"] if network else []
        commands += ["hostname " + hostname] if hostname else []
        return commands

    def find_init(self):
        """The pid, outside, of process 1 inside."""
        self.init.getpid()
        outer = self.init.process.pid
        with open("/proc/%d/task/%d/children" % (outer, outer)) as file:
            (pid,) = file.read().split()
        return int(pid)

    def enter(self, uid=None, gid=None, groups=()):
        """The command that runs another inside, as that user."""
        command = ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--net", "--uts"]
        if uid is not None:
            gid = uid if gid is None else gid
            command += ["setpriv", "--reuid", str(uid), "--regid", str(gid)]
            command += ["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"]
        return command

    def run(self, argv, uid=None, gid=None, groups=(), check=False, timeout=PATIENCE, **keywords):
        """subprocess.run() inside, with captured text unless told otherwise."""
        keywords.setdefault("capture_output", True)
        keywords.setdefault("text", True)
        done = subprocess.run(self.enter(uid, gid, groups) + list(argv), timeout=timeout, **keywords)
        if check and done.returncode:
            raise AssertionError("%s: exit code %d\n%s%s" % (argv, done.returncode, done.stdout, done.stderr))
        return done

    def popen(self, argv, uid=None, gid=None, groups=(), **keywords):
        """subprocess.Popen() inside. Its pid is that of nsenter; what runs dies with the namespace."""
        return subprocess.Popen(self.enter(uid, gid, groups) + list(argv), **keywords)

    def spawn(self, argv, log=None, environment=None, cwd=None):
        """Starts a process below process 1, output to the file `log`; its pid inside."""
        environment = dict(os.environ) if environment is None else environment
        return self.init.start_process([str(part) for part in argv], log and str(log), environment, cwd=cwd)

    def kill(self, pid, number=signal.SIGKILL):
        """A signal to a process by its pid inside; False if there is none. What is stopped does nothing any more when this returns: on a busy
        machine its other threads go on until the first has got the signal."""
        try:
            self.init.kill(pid, number)
        except ProcessLookupError:
            return False
        if number == signal.SIGSTOP:
            wait_for(lambda: self.init.execute(RUNNING, {"pid": pid}) == [], "all threads of process %d are stopped" % pid)
        return True

    def wait(self, pid, seconds=PATIENCE):
        """The exit code (negative: the signal) of a process that spawn() started; None: it runs."""
        end = seconds
        while end > 0:
            code = self.init.wait_child(pid, min(end, 1.0))
            if code is not None:
                return code
            end -= 1.0
        return None

    def worker(self, uid=None, gid=None, groups=()):
        """A new Worker inside, as that user; ended with the namespace."""
        worker = Worker(self.enter())
        self.workers.append(worker)
        if uid is not None:
            worker.become(uid, uid if gid is None else gid, list(groups))
        return worker

    def end_worker(self, worker):
        """Ends a worker before the namespace does; for tests that use many."""
        self.workers.remove(worker)
        worker.close()

    def outside(self, path):
        """The path under which a file of the namespace is seen from outside (not on FUSE)."""
        return "/proc/%d/root%s" % (self.pid, path)

    def mounts(self):
        """[(mount point, type, options)] as seen inside."""
        found = []
        for line in self.init.read_file("/proc/self/mountinfo").decode().splitlines():
            before, after = line.split(" - ")
            found.append((before.split()[4], after.split()[0], before.split()[5]))
        return found

    def close(self):
        """Ends everything inside, by force, and waits until it is gone."""
        # Process 1 exits when its input ends, and takes all others of the pid namespace with it;
        # each nsenter then sees its child die, and reaps it.
        self.init.process.stdin.close()
        try:
            self.init.process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill_init()
        wait_for(lambda: self.init.process.poll() is not None, "the end of a namespace")
        for worker in [*self.workers, self.init]:
            worker.close()
        self.workers = []

    def kill_init(self):
        try:
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
