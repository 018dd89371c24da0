# SPDX-License-Identifier: GPL-3.0-or-later
"""A pmxcfs under test, in a namespace of its own."""

import glob
import grp
import itertools
import os
import signal

from .namespace import ROOM, Namespace
from .worker import PATIENCE, wait_for

SOURCE_DIR = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD_DIR = os.path.abspath(os.environ.get("BUILD_DIR", os.path.join(SOURCE_DIR, "build")))
PMXCFS = os.path.join(BUILD_DIR, "pmxcfs")

# Milliseconds by which threads go on later that waited for others, and by which nodes of a cluster know what others have done
# (scripts/test.sh --late).
LATE = os.environ.get("PMXCFS_TEST_LATE")

GROUP = "www-data"
GROUP_ID = grp.getgrnam(GROUP).gr_gid
NOBODY = 65534

SANITIZER_SIGNS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer", "runtime error:")

numbers = itertools.count(1)


class Daemon:
    """One pmxcfs, with files of its own below `directory` and its mount at `mountpoint`.

    `options`: more of the command line. `network`: as Namespace's. `namespace`: share that of
    another instead of making one. By default it runs in the foreground with its messages in `log`,
    in local mode, as node1 with the address 192.0.2.1 (--nodename and --address).
    """

    def __init__(self, directory, name="node1", options=(), local=True, network=False, hostname=None, tmpfs=(),
                 namespace=None, address="192.0.2.1", socket_name=None, mountpoint=None):
        self.name = name
        self.directory = str(directory)
        os.makedirs(self.directory, exist_ok=True)
        self.own_namespace = namespace is None
        self.namespace = namespace or Namespace(network=network, hostname=hostname, tmpfs=tmpfs)
        self.mountpoint = mountpoint or os.path.join(ROOM, "pve" if self.own_namespace else name)
        self.state_dir = os.path.join(self.directory, "state")
        self.database = os.path.join(self.state_dir, "config.db")
        self.run_dir = os.path.join(self.directory, "run")
        self.pid_file = self.run_dir + ".pid"
        self.restart_flag = os.path.join(self.run_dir, "cfs-restart-flag")
        self.rrd_dir = os.path.join(self.directory, "rrd")
        self.corosync_conf = os.path.join(self.directory, "corosync.conf")
        self.log = os.path.join(self.directory, "log")
        self.socket_name = socket_name or "pmxcfs-%d-%d" % (os.getpid(), next(numbers))
        self.address = address
        self.local = local
        self.options = list(options)
        self.log_start = 0
        self.pid = None
        self.default_worker = None
        self.state_is_private = False
        if LATE:
            self.preload(os.path.join(BUILD_DIR, "tests", "mount", "late_threads.so"), LATE_THREADS=LATE)

    # What is started

    def command(self, *options):
        """The whole command line; `options` come last and so override."""
        command = [PMXCFS, "--mountpoint", self.mountpoint, "--state-dir", self.state_dir, "--run-dir", self.run_dir,
                   "--rrd-dir", self.rrd_dir, "--rrdcached-address", "unix:" + os.path.join(self.directory, "rrdcached.sock"),
                   "--corosync-conf", self.corosync_conf, "--socket-name", self.socket_name, "--nodename", self.name,
                   "--address", self.address]
        command += ["--local"] if self.local else []
        return command + self.options + list(options)

    def environment(self):
        """Sanitizers write their reports to files of ours, also when the daemon has no stderr."""
        path = os.path.join(self.directory, "sanitizer")
        environment = dict(os.environ)
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"):
            own = ["log_path=" + path, "print_stacktrace=1", "atexit_sleep_ms=50"]
            own += [environment[name]] if environment.get(name) else []
            own += ["detect_leaks=1"] if name == "ASAN_OPTIONS" else []  # whatever is with other programs
            environment[name] = ":".join(own)
        # GLib's own allocator hides from sanitizers what is freed and what is handed to other threads.
        environment.setdefault("G_SLICE", "always-malloc")
        return environment

    def preload(self, library, **variables):
        """One more library that is loaded into it from the next start on, and what that looks for in the environment."""
        environment = self.environment

        def with_library():
            before = environment()
            libraries = [before["LD_PRELOAD"]] if before.get("LD_PRELOAD") else []
            return dict(before, LD_PRELOAD=":".join([*libraries, library]), **variables)

        self.environment = with_library

    def limit_disk(self, size):
        """Its state directory becomes a tmpfs of that size, which only its namespace sees."""
        os.makedirs(self.state_dir, exist_ok=True)
        self.namespace.run(["mount", "-t", "tmpfs", "-o", "mode=0700,size=%d" % size, "tmpfs", self.state_dir], check=True)
        self.state_is_private = True

    # Start and stop

    def launch(self, *options):
        """Starts it in the foreground, waits for nothing."""
        assert self.pid is None, "it runs already"
        self.mark_log()
        self.pid = self.namespace.spawn(self.command("--foreground", *options), self.log, self.environment(), cwd="/")
        return self

    def start(self, *options):
        """Starts it in the foreground and waits until it says that it is ready."""
        self.launch(*options)
        self.wait_ready()
        return self

    def start_background(self, *options):
        """Starts it as the service manager does: in the background. Its parent has returned 0."""
        assert self.pid is None, "it runs already"
        done = self.run_to_end(*options)
        assert done.returncode == 0, done.stderr
        self.pid = self.read_pid()
        return done

    def read_pid(self):
        """What the pid file says."""
        with open(self.pid_file) as file:
            return int(file.read())

    def wait_ready(self):
        def ready():
            code = self.namespace.wait(self.pid, 0.001)
            if code is not None:
                self.pid = None
                raise AssertionError("%s ended with %d instead of starting:\n%s" % (self.name, code, self.log_text()))
            return "pmxcfs is ready" in self.log_since_start()

        wait_for(ready, self.name + " is ready")

    def send_signal(self, number):
        self.namespace.kill(self.pid, number)

    def wait_exit(self, seconds=PATIENCE):
        """Waits for its end; the exit code, negative for a signal."""
        code = self.namespace.wait(self.pid, seconds)
        assert code is not None, "%s does not end:\n%s" % (self.name, self.log_text())
        self.pid = None
        return code

    def stop(self, number=signal.SIGTERM):
        """Ends it as an administrator does; it must be willing."""
        self.send_signal(number)
        code = self.wait_exit()
        assert code == 0, "%s ended with %d:\n%s\n%s" % (self.name, code, self.log_text(), self.sanitizer_reports())

    def kill(self):
        """kill -9, and wait until it is gone."""
        self.send_signal(signal.SIGKILL)
        assert self.wait_exit() == -signal.SIGKILL

    def restart(self, *options):
        self.stop()
        return self.start(*options)

    def run_to_end(self, *options):
        """Runs it with these options and waits for its end: a CompletedProcess with stdout and stderr."""
        return self.namespace.run(self.command(*options), env=self.environment())

    # Work inside

    @property
    def os(self):
        """The system calls of root in the daemon's namespace (class Worker)."""
        if self.default_worker is None:
            self.default_worker = self.namespace.worker()
        return self.default_worker

    def worker(self, uid=None, gid=None, groups=()):
        """One more process inside, for calls at the same time or as another user."""
        return self.namespace.worker(uid, gid, groups)

    def run(self, argv, **keywords):
        """A command inside, by default as root; as Namespace.run()."""
        return self.namespace.run(argv, **keywords)

    def path(self, path=""):
        """A path on the mount."""
        return os.path.join(self.mountpoint, path) if path else self.mountpoint

    __truediv__ = path

    def file_names(self):
        """What is in its state directory, but for the history, whose files come and go when there is time for that."""
        return sorted(name for name in os.listdir(self.state_dir) if not name.startswith("history.db"))

    def is_mounted(self):
        return any(mounted == self.mountpoint and kind.startswith("fuse") for mounted, kind, _ in self.namespace.mounts())

    # What it said

    def log_text(self):
        try:
            with open(self.log, errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def mark_log(self):
        """From here on counts what log_since_start() gives."""
        with open(self.log, "ab") as file:
            self.log_start = file.tell()

    def log_since_start(self):
        try:
            with open(self.log, "rb") as file:
                file.seek(self.log_start)
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def sanitizer_reports(self):
        reports = []
        for path in glob.glob(os.path.join(self.directory, "sanitizer.*")):
            with open(path, errors="replace") as file:
                reports.append(file.read())
        if any(sign in self.log_text() for sign in SANITIZER_SIGNS):
            reports.append(self.log_text())
        return "\n".join(reports)

    def close(self):
        """The end of the test: a daemon that still runs must stop cleanly, and nothing is left
        behind, whatever happens."""
        try:
            if self.pid is not None and self.namespace.wait(self.pid, 0.001) is None:
                self.send_signal(signal.SIGCONT)
                self.stop()
        finally:
            if self.own_namespace:
                self.namespace.close()
        reports = self.sanitizer_reports()
        assert not reports, "%s: a sanitizer reports\n%s" % (self.name, reports)
