# SPDX-License-Identifier: GPL-3.0-or-later
"""Start and stop: options, background, pid and lock file, mount point, signals, exit codes."""

import errno
import os
import re
import signal
import sqlite3
import stat
import time

import pytest

from harness import GROUP_ID, PMXCFS, wait_for
from harness.failing_disk import FailingDisk


def text_of(path):
    with open(path) as file:
        return file.read()


# The command line


def test_help_needs_nothing(make_namespace):
    done = make_namespace().run([PMXCFS, "--help"], uid=65534)
    assert done.returncode == 0
    assert "--mountpoint" in done.stdout
    assert done.stderr == ""


def test_version(make_namespace):
    done = make_namespace().run([PMXCFS, "--version"])
    assert done.returncode == 0
    assert done.stdout.startswith("pmxcfs ")


@pytest.mark.parametrize("bad", [["--nonsense"], ["stray"], ["--lock-lifetime", "soon"], ["--mountpoint"], ["-x"]])
def test_a_bad_command_line_touches_nothing(make_daemon, bad):
    daemon = make_daemon()
    done = daemon.run_to_end(*bad)
    assert done.returncode != 0
    assert done.stderr.startswith("error: ")
    assert bad[0].lstrip("-") in done.stderr
    assert not os.path.exists(daemon.state_dir)
    assert not os.path.exists(daemon.pid_file)
    assert not daemon.os.exists(daemon.mountpoint)


def test_an_unknown_group_is_named(make_daemon):
    daemon = make_daemon()
    done = daemon.run_to_end("--group", "no-such-group")
    assert done.returncode == 1
    assert "no-such-group" in done.stderr
    assert not os.path.exists(daemon.state_dir)


def test_node_name_is_the_host_name_up_to_its_first_dot(make_daemon):
    daemon = make_daemon(hostname="alpha.example.com")
    daemon.command = lambda *options: without(type(daemon).command(daemon, *options), "--nodename")
    daemon.start()
    assert daemon.os.readlink(daemon / "local") == "nodes/alpha"


def test_node_address_comes_from_the_hosts_file(make_daemon):
    daemon = make_daemon(hostname="alpha")
    set_hosts(daemon, "127.0.1.1 alpha\n192.0.2.77 alpha\n")
    daemon.command = lambda *options: without(type(daemon).command(daemon, *options), "--nodename", "--address")
    daemon.start()
    assert "192.0.2.77" in daemon.log_text()


def test_no_address_is_fatal_and_names_the_hosts_file(make_daemon):
    daemon = make_daemon(hostname="alpha")
    set_hosts(daemon, "127.0.1.1 alpha\n")
    daemon.command = lambda *options: without(type(daemon).command(daemon, *options), "--nodename", "--address")
    done = daemon.run_to_end()
    assert done.returncode == 1
    assert "/etc/hosts" in done.stderr and "alpha" in done.stderr
    assert not os.path.exists(daemon.state_dir)


def without(command, *options):
    """The command line less these options and their values."""
    kept = list(command)
    for option in options:
        at = kept.index(option)
        del kept[at:at + 2]
    return kept


def set_hosts(daemon, text):
    """An /etc/hosts, and nothing else that knows names, in the daemon's mount namespace."""
    for name, content in (("hosts", text), ("nsswitch.conf", "hosts: files\ngroup: files\npasswd: files\n")):
        path = os.path.join(daemon.directory, name)
        with open(path, "w") as file:
            file.write(content)
        daemon.run(["mount", "--bind", path, "/etc/" + name], check=True)


# In the background


def test_the_parent_returns_when_the_daemon_is_ready(make_daemon):
    daemon = make_daemon()
    done = daemon.start_background()
    assert done.returncode == 0
    assert daemon.is_mounted()
    assert daemon.os.readlink(daemon / "local") == "nodes/node1"
    daemon.stop()


def test_the_daemon_is_detached(make_daemon):
    daemon = make_daemon()
    daemon.start_background()
    for number in (0, 1, 2):
        assert daemon.os.readlink("/proc/%d/fd/%d" % (daemon.pid, number)) == "/dev/null"
    assert daemon.os.getsid(daemon.pid) == daemon.pid
    assert daemon.os.readlink("/proc/%d/cwd" % daemon.pid) == "/"


def test_it_leaves_the_directory_that_it_was_started_in(make_daemon):
    daemon = make_daemon()
    relative = ["--mountpoint", "mountpoint", "--state-dir", "./state", "--run-dir", "../node1/run",
                "--rrd-dir", "rrd", "--corosync-conf", "corosync.conf"]
    started_in = "/mnt/node1"
    daemon.os.mkdir(started_in)
    done = daemon.run(["sh", "-c", 'cd "$0" && exec "$@"', started_in, *daemon.command(*relative)],
                      env=daemon.environment())
    assert done.returncode == 0, done.stderr
    daemon.pid = int(daemon.os.read_file(started_in + "/run.pid"))
    assert daemon.os.readlink("/proc/%d/cwd" % daemon.pid) == "/"
    assert daemon.os.exists(started_in + "/state/config.db")
    daemon.os.mkdir(started_in + "/mountpoint/made")
    assert daemon.os.exists(started_in + "/run")
    daemon.stop()


def test_the_parent_returns_the_failure_and_its_reason(make_daemon):
    daemon = make_daemon()
    os.makedirs(daemon.state_dir)
    with open(daemon.database, "wb") as file:
        file.write(b"this is no database" * 1000)
    done = daemon.run_to_end()
    assert done.returncode == 1
    assert "config.db" in done.stderr
    assert text_of(daemon.database).startswith("this is no database")
    assert not os.path.exists(daemon.pid_file)
    assert not daemon.is_mounted()


# Files and directories around it


def test_directories_and_their_modes(daemon):
    state, run = os.stat(daemon.state_dir), os.stat(daemon.run_dir)
    assert stat.S_IMODE(state.st_mode) == 0o750
    assert stat.S_IMODE(run.st_mode) == 0o750
    assert run.st_gid == GROUP_ID
    assert stat.S_IMODE(os.stat(daemon.database).st_mode) == 0o600


def test_modes_do_not_depend_on_the_umask(make_daemon):
    daemon = make_daemon()
    command = daemon.command("--foreground")
    daemon.command = lambda *options: ["sh", "-c", 'umask 077; exec "$@"', "sh"] + command
    daemon.start()
    assert stat.S_IMODE(os.stat(daemon.pid_file).st_mode) == 0o644
    assert stat.S_IMODE(os.stat(daemon.run_dir).st_mode) == 0o750
    assert stat.S_IMODE(daemon.os.stat(daemon.mountpoint).st_mode) == 0o755


def test_pid_file(daemon):
    assert text_of(daemon.pid_file) == "%d\n" % daemon.pid
    assert stat.S_IMODE(os.stat(daemon.pid_file).st_mode) == 0o644
    daemon.stop()
    assert not os.path.exists(daemon.pid_file)


def test_restart_flag_is_there_between_stop_and_start(daemon):
    assert not os.path.exists(daemon.restart_flag)
    daemon.stop()
    flag = os.stat(daemon.restart_flag)
    assert stat.S_IMODE(flag.st_mode) == 0o440
    assert flag.st_gid == GROUP_ID
    daemon.start()
    wait_for(lambda: not os.path.exists(daemon.restart_flag), "the restart flag is removed")


def test_a_second_daemon_is_refused(daemon, make_daemon):
    second = make_daemon("second", namespace=daemon.namespace)
    started = time.monotonic()
    done = second.run_to_end("--state-dir", daemon.state_dir, "--lockfile-timeout", "0.3")
    assert done.returncode == 1
    assert time.monotonic() - started >= 0.3
    assert "another pmxcfs" in done.stderr
    assert not os.path.exists(second.pid_file)
    assert daemon.os.readlink(daemon / "local") == "nodes/node1"


def test_a_second_daemon_on_all_the_same_paths_harms_nothing(daemon):
    done = daemon.run_to_end("--lockfile-timeout", "0")
    assert done.returncode == 1
    assert text_of(daemon.pid_file) == "%d\n" % daemon.pid
    assert daemon.is_mounted()
    daemon.os.mkdir(daemon / "still-works")


@pytest.mark.parametrize("option", ["--mountpoint", "--socket-name"])
def test_a_second_daemon_with_another_state_directory_harms_nothing(daemon, make_daemon, option):
    second = make_daemon("second", namespace=daemon.namespace)
    value = {"--mountpoint": daemon.mountpoint, "--socket-name": daemon.socket_name}[option]
    done = second.run_to_end("--run-dir", daemon.run_dir, option, value)
    assert done.returncode == 1
    assert text_of(daemon.pid_file) == "%d\n" % daemon.pid
    assert daemon.is_mounted()
    daemon.os.mkdir(daemon / "still-works")


def test_a_second_daemon_waits_for_the_end_of_the_first(daemon, make_daemon):
    second = make_daemon("second", namespace=daemon.namespace)
    second.launch("--state-dir", daemon.state_dir, "--lockfile-timeout", "600")
    wait_for(lambda: "waiting for its end" in second.log_text(), "the second daemon waits")
    daemon.os.mkdir(daemon / "made-by-the-first")
    daemon.stop()
    second.wait_ready()
    assert second.os.exists(second / "made-by-the-first")


def test_a_daemon_that_waits_for_the_lock_can_be_stopped(daemon, make_daemon):
    second = make_daemon("second", namespace=daemon.namespace)
    second.launch("--state-dir", daemon.state_dir, "--lockfile-timeout", "600")
    wait_for(lambda: "waiting for its end" in second.log_text(), "the second daemon waits")
    second.send_signal(signal.SIGTERM)
    assert second.wait_exit() != 0


# The mount point


def test_a_missing_mount_point_is_made(make_daemon):
    daemon = make_daemon(mountpoint="/mnt/a/b/c")
    daemon.start()
    assert daemon.is_mounted()


def test_a_mount_point_that_is_no_directory(make_daemon):
    daemon = make_daemon()
    daemon.os.write_file(daemon.mountpoint, b"")
    done = daemon.run_to_end()
    assert done.returncode == 1
    assert daemon.mountpoint in done.stderr and "not a directory" in done.stderr


def test_a_mount_point_that_is_not_empty(make_daemon):
    daemon = make_daemon()
    daemon.os.mkdir(daemon.mountpoint)
    daemon.os.write_file(daemon / "precious", b"x")
    daemon.start()
    assert daemon.is_mounted() and daemon.os.listdir(daemon.mountpoint).count("precious") == 0
    log = daemon.log_text()
    assert "the mount point %s is not empty: 'precious' will be hidden below the mount" % daemon.mountpoint in log
    daemon.stop()
    assert daemon.os.read_file(daemon / "precious") == b"x"


def test_a_mount_point_where_something_is_mounted(make_daemon):
    daemon = make_daemon()
    daemon.os.mkdir(daemon.mountpoint)
    daemon.run(["mount", "-t", "tmpfs", "tmpfs", daemon.mountpoint], check=True)
    daemon.os.write_file(daemon / "precious", b"x")
    done = daemon.run_to_end()
    assert done.returncode == 1
    assert daemon.mountpoint in done.stderr and "another file system is mounted there, with 'precious' in it" in done.stderr
    assert daemon.os.read_file(daemon / "precious") == b"x"


def test_no_fuse(make_daemon):
    daemon = make_daemon()
    daemon.run(["mount", "--bind", "/dev/null", "/dev/fuse"], check=True)
    daemon.run(["mount", "-t", "tmpfs", "tmpfs", "/dev"], check=True)
    done = daemon.run_to_end()
    assert done.returncode == 1
    assert "/dev/fuse" in done.stderr


def test_mount_options(daemon):
    mounted = [mount for mount in daemon.namespace.mounts() if mount[0] == daemon.mountpoint]
    assert len(mounted) == 1
    assert mounted[0][1].split(".")[0] == "fuse"
    assert {"nosuid", "nodev"} <= set(mounted[0][2].split(","))


def test_start_over_the_mount_of_a_killed_daemon(daemon):
    daemon.os.mkdir(daemon / "kept")
    # What the kernel has cached must not make the stale mount look alive.
    daemon.os.walk(daemon.mountpoint)
    daemon.kill()
    daemon.start()
    assert daemon.os.exists(daemon / "kept")
    assert sum(mount[0] == daemon.mountpoint for mount in daemon.namespace.mounts()) == 1


def test_start_over_a_stale_mount_that_is_in_use(daemon):
    daemon.os.write_file(daemon / "file", b"x")
    user = daemon.worker()
    user.chdir(daemon.mountpoint)
    user.open(daemon / "file", os.O_RDONLY)
    daemon.kill()
    daemon.start()
    assert daemon.os.read_file(daemon / "file") == b"x"


def test_several_daemons_at_once(make_daemon):
    first = make_daemon("first").start()
    others = [make_daemon(name, namespace=first.namespace).start() for name in ("second", "third")]
    for daemon in [first, *others]:
        daemon.os.mkdir(daemon / "only-on" if daemon is first else daemon / ("only-on-" + daemon.name))
    for daemon in [first, *others]:
        assert daemon.os.readlink(daemon / "local") == "nodes/" + daemon.name
        assert len([name for name in daemon.os.listdir(daemon.mountpoint) if name.startswith("only-on")]) == 1
    others[0].stop()
    assert first.os.exists(first / "only-on")
    assert not others[0].is_mounted() and others[1].is_mounted()


# The stop


def test_started_with_signals_ignored(make_daemon):
    """By a shell with a trap, or a supervisor: the daemon stops, hears of its children, and its guard hears of it."""
    daemon = make_daemon()
    command = daemon.command
    daemon.command = lambda *options: ["env", "--ignore-signal=TERM,CHLD,USR1,USR2", *command(*options)]
    daemon.start()
    guard = daemon.os.read_file("/proc/%d/task/%d/children" % (daemon.pid, daemon.pid))
    for pid in (daemon.pid, int(guard)):
        ignored = int(re.search(rb"SigIgn:\s+(\w+)", daemon.os.read_file("/proc/%d/status" % pid)).group(1), 16)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2):
            assert not ignored & 1 << number - 1, number
    daemon.stop()


def test_files_of_who_started_it_are_not_kept(make_daemon, tmp_path):
    """A script that holds a lock by a descriptor gives it back when it ends."""
    daemon = make_daemon()
    command = daemon.command
    lock = tmp_path / "lock"
    daemon.command = lambda *options: ["sh", "-c", 'exec 7>"$0" && flock 7 && exec "$@"', str(lock), *command(*options)]
    daemon.start_background()
    assert daemon.run(["flock", "--nonblock", str(lock), "true"]).returncode == 0


@pytest.mark.parametrize("background", [False, True])
def test_started_without_standard_files(make_daemon, background):
    """None of its own files gets the number of standard error, where its messages go."""
    daemon = make_daemon()
    command = daemon.command
    daemon.command = lambda *options: ["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", *command(*options)]
    if background:
        daemon.start_background()
    else:
        daemon.launch()
        wait_for(daemon.is_mounted, "it is mounted")
    names = [daemon.os.readlink("/proc/%d/fd/%d" % (daemon.pid, number)) for number in range(3)]
    assert names == ["/dev/null"] * 3
    daemon.os.mkdir(daemon / "kept")
    daemon.kill()
    daemon.command = command
    daemon.start()
    assert daemon.os.exists(daemon / "kept")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("background", [False, True])
def test_signals_end_it_cleanly(make_daemon, number, background):
    daemon = make_daemon()
    daemon.start_background() if background else daemon.start()
    daemon.os.mkdir(daemon / "kept")
    daemon.stop(number)
    assert not daemon.is_mounted()
    assert not os.path.exists(daemon.pid_file)
    # Closed cleanly: everything is in the one file.
    assert not os.path.exists(daemon.database + "-wal")
    with sqlite3.connect("file:%s?mode=ro" % daemon.database, uri=True) as database:
        assert database.execute("SELECT count(*) FROM tree WHERE name = 'kept'").fetchone() == (1,)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_any_thread_may_get_the_signal(daemon, number):
    tids = [int(name) for name in daemon.os.listdir("/proc/%d/task" % daemon.pid)]
    others = [tid for tid in tids if tid != daemon.pid]
    assert others
    daemon.os.kill(others[-1], number)
    assert daemon.wait_exit() == 0


def test_stop_with_files_open_and_a_shell_inside(daemon):
    daemon.os.mkdir(daemon / "inside")
    daemon.os.write_file(daemon / "inside/file", b"content")
    users = [daemon.worker() for _ in range(4)]
    for user in users:
        user.chdir(daemon / "inside")
        user.open("file", os.O_RDWR)
    daemon.stop()
    assert not daemon.is_mounted()
    assert "takes too long" not in daemon.log_text()
    # Where they are nothing can be changed any more (what the kernel has cached may still be read).
    with pytest.raises(OSError):
        users[0].mkdir("new")
    daemon.start()
    assert daemon.os.read_file(daemon / "inside/file") == b"content"


def test_stop_with_what_is_gone_still_open(daemon):
    """Unlinked, replaced and removed things that somebody has open are put away too."""
    for name in ("unlinked", "replaced", "source"):
        daemon.os.write_file(daemon / name, name.encode())
    daemon.os.mkdir(daemon / "removed")
    fds = [daemon.os.open(daemon / name, os.O_RDONLY) for name in ("unlinked", "replaced")]
    daemon.os.chdir(daemon / "removed")
    other = daemon.worker()
    other.unlink(daemon / "unlinked")
    other.rename(daemon / "source", daemon / "replaced")
    other.rmdir(daemon / "removed")
    assert [daemon.os.read(fd, 100) for fd in fds] == [b"unlinked", b"replaced"]
    daemon.stop()


def test_stop_while_changes_are_made(daemon):
    """Whatever was acknowledged before the stop is there afterwards."""
    code = """
count = 0
try:
    while True:
        os.mkdir("%s/d%d" % (path, count))
        count += 1
except OSError:
    result = count
"""
    writers = []
    for number in range(3):
        daemon.os.mkdir(daemon / str(number))
        worker = daemon.worker()
        writers.append(worker.start("execute", code, {"path": daemon / str(number)}))
    wait_for(lambda: len(daemon.os.listdir(daemon / "0")) > 20, "the writers are at work")
    daemon.stop()
    counts = [writer.result() for writer in writers]
    daemon.start()
    for number, count in enumerate(counts):
        # One more than acknowledged may have been made: its answer was cut off.
        assert count <= len(daemon.os.listdir(daemon / str(number))) <= count + 1


def test_unmounted_from_outside_is_a_stop(daemon):
    daemon.run(["umount", daemon.mountpoint], check=True)
    assert daemon.wait_exit() == 0
    assert not os.path.exists(daemon.pid_file)


def test_unmounted_lazily_from_outside_is_a_stop(daemon):
    user = daemon.worker()
    user.chdir(daemon.mountpoint)
    daemon.run(["umount", "--lazy", daemon.mountpoint], check=True)
    user.chdir("/")
    assert daemon.wait_exit() == 0


# What callers get when the daemon is gone.
GONE = (errno.ENOTCONN, errno.ECONNABORTED)


def cover(daemon):
    """Another file system at the mount point, with a file in it."""
    daemon.run(["mount", "-t", "tmpfs", "cover", daemon.mountpoint], check=True)
    daemon.os.write_file(daemon / "precious", b"x")


def assert_only_the_cover_is_told_of(daemon):
    assert daemon.os.read_file(daemon / "precious") == b"x"
    assert daemon.os.listdir(daemon.mountpoint) == ["precious"]
    assert daemon.log_text().count("what is mounted at %s is not this daemon's mount" % daemon.mountpoint) == 1
    assert not os.path.exists(daemon.pid_file)


def kinds_of_mounts(daemon):
    return [kind.split(".")[0] for mounted, kind, _ in daemon.namespace.mounts() if mounted == daemon.mountpoint]


def test_stop_below_another_mount(daemon):
    """It is left with all that is in it, and the daemon's own below it, which is dead; the next start takes that away when it can see it."""
    daemon.os.write_file(daemon / "file", b"content")
    daemon.os.mkdir(daemon / "inside")
    user = daemon.worker()
    user.chdir(daemon / "inside")
    cover(daemon)
    daemon.stop()
    assert_only_the_cover_is_told_of(daemon)
    assert kinds_of_mounts(daemon) == ["fuse", "tmpfs"]
    with pytest.raises(OSError) as caught:
        user.mkdir("new")
    assert caught.value.errno in GONE
    done = daemon.run_to_end()
    assert done.returncode == 1
    assert "another file system is mounted there, with 'precious' in it" in done.stderr
    assert daemon.os.read_file(daemon / "precious") == b"x"
    daemon.run(["umount", daemon.mountpoint], check=True)
    daemon.start()
    assert "taking away the mount that an earlier daemon left" in daemon.log_since_start()
    assert kinds_of_mounts(daemon) == ["fuse"]
    assert daemon.os.read_file(daemon / "file") == b"content"


def test_stop_with_another_mount_in_its_place(daemon):
    daemon.os.mkdir(daemon / "inside")
    user = daemon.worker()
    user.chdir(daemon / "inside")
    daemon.run(["umount", "--lazy", daemon.mountpoint], check=True)
    cover(daemon)
    daemon.stop()
    assert_only_the_cover_is_told_of(daemon)
    assert kinds_of_mounts(daemon) == ["tmpfs"]


def test_stop_leaves_what_it_was_mounted_over(make_daemon):
    daemon = make_daemon()
    daemon.os.mkdir(daemon.mountpoint)
    daemon.run(["mount", "-t", "tmpfs", "tmpfs", daemon.mountpoint], check=True)
    daemon.start()
    daemon.stop()
    assert kinds_of_mounts(daemon) == ["tmpfs"]
    assert "what is mounted at" not in daemon.log_text()


@pytest.mark.parametrize("covered", [False, True])
def test_a_stop_that_is_cut_short(make_daemon, tmp_path, covered):
    """A disk that hangs holds up a thread: what must not be missed is done all the same, and who waits gets an error."""
    daemon = make_daemon()
    disk = FailingDisk(daemon, tmp_path)
    daemon.start()
    writer = daemon.worker()
    writer.chdir(daemon.mountpoint)
    if covered:
        cover(daemon)
    disk.hang()
    pending = writer.start("mkdir", "never")
    wait_for(disk.hangs, "a thread waits for the disk")
    daemon.stop()
    assert "the stop takes too long" in daemon.log_text()
    assert os.path.exists(daemon.restart_flag), "clients must know that it may come back"
    with pytest.raises(OSError) as caught:
        pending.result()
    assert caught.value.errno in (*GONE, errno.EBUSY)
    if covered:
        assert_only_the_cover_is_told_of(daemon)
        assert kinds_of_mounts(daemon) == ["fuse", "tmpfs"]
    else:
        assert kinds_of_mounts(daemon) == []
        assert not os.path.exists(daemon.pid_file)


def test_start_and_stop_again_and_again(make_daemon):
    daemon = make_daemon()
    for number in range(10):
        daemon.start()
        daemon.os.mkdir(daemon / str(number))
        daemon.stop()
    daemon.start()
    assert all(daemon.os.exists(daemon / str(number)) for number in range(10))


def test_ready_is_told_to_the_service_manager(make_daemon):
    daemon = make_daemon()
    path = daemon.directory + "/notify"
    listener = daemon.worker()
    listener.execute(
        "import socket\nsocket.kept = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\nsocket.kept.bind(path)", {"path": path}
    )
    if "libsystemd" not in daemon.run(["ldd", PMXCFS]).stdout:
        pytest.skip("built without libsystemd")
    environment = daemon.environment
    daemon.environment = lambda: dict(environment(), NOTIFY_SOCKET=path)
    daemon.start()
    receive = "import socket\nresult = socket.kept.recv(100)"
    assert listener.execute(receive, {}) == b"READY=1"
    daemon.stop()
    assert listener.execute(receive, {}) == b"STOPPING=1"
