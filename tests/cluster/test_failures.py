# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that stop, are killed, or whose corosync dies or hangs, while changes go on."""

import errno
import os
import signal
import time

import pytest
from load import Load

from harness import PATIENCE, wait_for
from harness.failing_disk import FailingDisk
from harness.kept import StuckListing


def check_all(cluster, load, acknowledged, excused=None, lost=0):
    """Equal everywhere, and nothing acknowledged is missing; of the node `excused`, of which changes
    may have been acknowledged that nobody else ever got, `lost` may be."""
    cluster.wait_settled()
    for node, names in acknowledged.items():
        load.check(cluster[1], names, lost if node is excused else 0)


def test_node_stops_and_comes_back(cluster, folder):
    load = Load([cluster[1], cluster[2]], folder)
    load.wait_progress(cluster[1])
    cluster[3].daemon.stop()
    load.wait_progress(cluster[1])
    load.wait_progress(cluster[2])
    cluster[3].daemon.start()
    wait_for(lambda: "node3" in cluster[1].online(), "node3 is back")
    check_all(cluster, load, load.end())


@pytest.mark.parametrize("number", (1, 3), ids=("lowest", "highest"))
def test_daemon_is_killed(cluster, folder, number):
    """kill -9 in the middle of its changes: what it had acknowledged is there."""
    victim = cluster[number]
    load = Load([node for node in cluster if node is not victim], folder)
    own = Load([victim], folder)
    own.wait_progress(victim, 30)
    victim.daemon.namespace.kill(victim.daemon.pid, signal.SIGKILL)
    victim.daemon.wait_exit()
    for stop in own.stop_files.values():
        open(stop, "w").close()
    for node in load.calls:
        load.wait_progress(node)
    victim.daemon.start()
    wait_for(lambda: victim.is_quorate(), "the killed node is back")
    check_all(cluster, load, load.end())


def test_power_loss(cluster, folder):
    """Daemon and corosync die at once."""
    victim = cluster[2]
    load = Load([cluster[1], cluster[3]], folder)
    load.wait_progress(cluster[1])
    victim.end()
    for node in load.calls:
        load.wait_progress(node)
    victim.start()
    wait_for(lambda: victim.is_quorate(), "the node is back")
    check_all(cluster, load, load.end())


def count_descriptors(node):
    return len(os.listdir("/proc/%d/root/proc/%d/fd" % (node.namespace.pid, node.daemon.pid)))


def test_corosync_is_killed_thirty_times(cluster, folder):
    """Under load on all nodes. The daemon finds each new corosync, and keeps nothing of the old."""
    victim = cluster[3]
    load = Load(cluster, folder)
    for node in cluster:
        load.wait_progress(node)
    before = count_descriptors(victim)
    for _ in range(30):
        victim.end_corosync()
        victim.start_corosync()
        wait_for(lambda: victim.is_quorate(), "node3 is quorate again")
        load.wait_progress(victim)
    acknowledged = load.end()
    # A sender has its own message before the others are known to have it: of the two changes that a
    # file takes, one is under way when corosync dies.
    check_all(cluster, load, acknowledged, victim, lost=30)
    wait_for(lambda: count_descriptors(victim) <= before + 2, "no descriptors of dead corosyncs are left")
    left = [name for name in victim.os.listdir("/dev/shm") if name.split("-")[2:3] == [str(victim.daemon.pid)]]
    assert len(left) <= 4, "buffers of dead corosyncs are left: %s" % left


def test_corosync_of_the_lowest_node_is_killed(cluster, folder):
    """The one who judges locks, starts synchronisations and often leads."""
    load = Load(cluster, folder)
    for node in cluster:
        load.wait_progress(node)
    for _ in range(3):
        cluster[1].end_corosync()
        cluster[1].start_corosync()
        wait_for(lambda: cluster[1].is_quorate(), "node1 is quorate again")
        load.wait_progress(cluster[1])
    check_all(cluster, load, load.end(), cluster[1], lost=3)


def test_all_corosyncs_are_killed(cluster, folder):
    cluster[2].write(folder + "/file", b"content")
    cluster.wait_equal()
    for node in cluster:
        node.end_corosync()
    for node in cluster:
        wait_for(lambda: not node.is_quorate(), "%s is read-only" % node.name)
        assert node.read(folder + "/file") == b"content"
    for node in cluster:
        node.start_corosync()
    cluster.wait_settled()
    cluster[3].write(folder + "/file", b"again")
    cluster.wait_equal()


def test_corosync_hangs(cluster, folder):
    """Reads answer; a change that waits can be killed; the others go on; then all is well again."""
    node = cluster[3]
    node.write(folder + "/file", b"content")
    node.signal_corosync(signal.SIGSTOP)
    worker = node.daemon.worker()
    pid = worker.getpid()
    pending = worker.start("mkdir", node.path(folder + "/directory"))
    assert node.read(folder + "/file") == b"content"
    assert folder in node.os.listdir(node.path())  # the kernel keeps the directory itself locked
    node.members()
    assert not pending.done()
    node.namespace.kill(pid)
    wait_for(lambda: worker.process.poll() is not None, "the caller can be killed")
    assert node.read(folder + "/file") == b"content"
    wait_for(lambda: cluster[1].online() == ["node1", "node2"], "the others notice")
    cluster[1].write(folder + "/other", b"goes on")
    node.signal_corosync(signal.SIGCONT)
    cluster.wait_settled()
    assert node.read(folder + "/other") == b"goes on"


def test_a_caller_is_killed_while_its_change_is_held(cluster, folder):
    """A node that waits for the state of another, to be in sync, holds its changes back: one whose caller was killed is
    never made, not even later over a newer one."""
    node, stopped, gone = cluster[1], cluster[2], cluster[3]

    def held():
        return 'queue="held"} 1' in node.read(".metrics").decode()

    stopped.daemon.namespace.kill(stopped.daemon.pid, signal.SIGSTOP)
    try:
        gone.daemon.stop()  # whoever is left has to find out who is in sync
        worker = node.daemon.worker()
        pid = worker.getpid()
        worker.start("mkdir", node.path(folder + "/stale"))
        wait_for(held, "the change is held")
        node.namespace.kill(pid)
        wait_for(lambda: worker.process.poll() is not None, "the caller can be killed")
        wait_for(lambda: not held(), "the change is dropped")
    finally:
        stopped.daemon.namespace.kill(stopped.daemon.pid, signal.SIGCONT)
    stopped.write(folder + "/newer", b"text")
    gone.daemon.start()
    cluster.wait_settled()
    cluster.wait_equal()
    for node in cluster:
        assert node.os.listdir(node.path(folder)) == ["newer"]


def test_an_emptied_file_is_found_while_corosync_hangs(cluster, folder):
    """A file that was emptied is empty on its own node at once, and nobody waits there until that is stored."""
    node = cluster[3]
    node.write(folder + "/file", b"content")
    node.signal_corosync(signal.SIGSTOP)
    node.os.close(node.os.open(node.path(folder + "/file"), os.O_WRONLY | os.O_TRUNC))
    reading = node.daemon.worker().start("read_file", node.path(folder + "/file"))
    assert reading.done(25), "the look-up waits for corosync"
    assert reading.result() == b""
    node.signal_corosync(signal.SIGCONT)
    cluster.wait_settled()
    cluster.wait_equal()
    assert [other.read(folder + "/file") for other in cluster] == [b""] * 3


def test_many_changes_while_corosync_hangs(cluster, folder):
    """No caller makes another wait: reads answer with hundreds of changes under way."""
    node = cluster[2]
    node.write(folder + "/file", b"content")
    node.signal_corosync(signal.SIGSTOP)
    workers = [node.daemon.worker() for _ in range(4)]
    spread = """
import threading
def work(i):
    try:
        os.close(os.open("%s-%d" % (prefix, i), os.O_CREAT | os.O_WRONLY))
    except OSError:
        pass
threads = [threading.Thread(target=work, args=(i,)) for i in range(50)]
for thread in threads:
    thread.start()
open(mark, "w").close()
for thread in threads:
    thread.join()
"""
    calls = []
    for i, worker in enumerate(workers):
        directory = "%s/d%d" % (folder, i)
        cluster[1].os.mkdir(cluster[1].path(directory))
        mark = os.path.join(node.directory, "mark%s%d" % (folder, i))
        names = {"prefix": node.path("%s/f" % folder), "mark": mark}
        calls.append((worker.start("execute", spread, names), mark))
    for _, mark in calls:
        wait_for(lambda: os.path.exists(mark), "all are under way")
    assert node.read(folder + "/file") == b"content"
    node.signal_corosync(signal.SIGCONT)
    cluster.wait_settled()
    for call, _ in calls:
        call.result()
    cluster.wait_equal()


@pytest.mark.parametrize("waiting", (False, True), ids=("idle", "change-under-way"))
def test_stop_while_corosync_hangs(cluster, folder, waiting):
    """A stop ends within five seconds, whatever corosync does."""
    node = cluster[2]
    node.signal_corosync(signal.SIGSTOP)
    if waiting:
        pending = node.daemon.worker().start("mkdir", node.path(folder + "/directory"))
        assert not pending.done(0.2)
    begin = time.monotonic()
    node.daemon.stop()
    assert time.monotonic() - begin < 5 + PATIENCE / 10  # and an answer is waited for 30 s
    node.signal_corosync(signal.SIGCONT)
    node.daemon.start()


@pytest.mark.parametrize("covered", (False, True))
def test_stop_while_the_thread_of_corosync_hangs(make_cluster, tmp_path, covered):
    """In a write to the database: the stop goes without it, before all else that it has to do. Clients find the restart flag, the pid file is gone,
    and so is the mount, but for one below another's."""
    cluster = make_cluster(1)
    daemon = cluster[1].daemon
    disk = FailingDisk(daemon, tmp_path)
    cluster.start()
    writer = daemon.worker()
    writer.chdir(daemon.mountpoint)
    if covered:
        daemon.run(["mount", "-t", "tmpfs", "cover", daemon.mountpoint], check=True)
        daemon.os.write_file(daemon / "precious", b"x")
    disk.hang()
    pending = writer.start("mkdir", "never")
    wait_for(disk.hangs, "a thread waits for the disk")
    daemon.stop()
    assert "a thread hangs, leaving without it" in daemon.log_text()
    assert os.path.exists(daemon.restart_flag) and not os.path.exists(daemon.pid_file)
    with pytest.raises(OSError) as caught:
        pending.result()
    assert caught.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    assert daemon.is_mounted() == covered
    if covered:
        assert daemon.os.read_file(daemon / "precious") == b"x"
        assert "what is mounted at %s is not this daemon's mount" % daemon.mountpoint in daemon.log_text()


def test_start_while_corosync_hangs(cluster, folder):
    """The daemon is ready and serves reads also if corosync takes connections and never answers."""
    node = cluster[2]
    node.write(folder + "/file", b"content")
    node.daemon.stop()
    node.signal_corosync(signal.SIGSTOP)
    node.daemon.start()
    assert node.read(folder + "/file") == b"content"
    begin = time.monotonic()
    node.daemon.stop()
    assert time.monotonic() - begin < 5 + PATIENCE / 10  # and an answer is waited for 30 s
    node.daemon.start()
    node.signal_corosync(signal.SIGCONT)


def test_daemon_is_killed_while_all_change_one_directory(cluster, folder):
    """kill -9 while the kernel is being told of the others' changes in the very directory in which
    processes here wait for answers of the daemon: they are answered, and it starts again."""
    victim = cluster[2]
    loads = [Load([cluster[1], cluster[3]], folder, pause=0)]
    for attempt in range(3):
        own = [Load([victim], folder, pause=0, name="-%d-%d" % (attempt, i)) for i in range(3)]
        for load in own:
            load.wait_progress(victim, 30)
        victim.daemon.kill()
        for load in own:
            load.abandon()
        victim.daemon.start()
        wait_for(lambda: victim.is_quorate(), "the killed node is back")
    check_all(cluster, loads[0], loads[0].end())


@pytest.mark.parametrize("covered", (False, True))
def test_killed_while_a_caller_and_a_notification_wait_for_each_other(make_cluster, covered):
    """A process holds a directory's lock and waits for an answer; the daemon waits in the kernel for that lock. The guard breaks the connection,
    below another mount by the kernel's list of connections, and both end."""
    cluster = make_cluster(2).start()
    here, there = cluster
    there.os.mkdir(there.path("stuck"))
    wait_for(lambda: here.exists("stuck"), "the directory is here")
    caller, daemon = here.daemon.worker(), here.daemon
    stat = "/proc/%d/stat" % caller.getpid()
    caller.chdir(here.path("stuck"))
    assert not caller.exists("own") and not caller.exists("comes")
    connection = "/sys/fs/fuse/connections"
    daemon.run(["mount", "-t", "fusectl", "fusectl", connection], check=True)
    connection += "/%d/abort" % os.minor(here.os.stat(daemon.mountpoint).st_dev)
    with StuckListing(here.namespace, here.path("stuck")):
        pending = caller.start("mkdir", "own")
        wait_for(lambda: b") D " in here.os.read_file(stat), "the caller waits for the lock")
        there.os.mkdir(there.path("stuck/comes"))
        wait_for(lambda: "is held, and does not take changes of others" in daemon.log_text(), "the daemon waits behind it")
        if covered:
            daemon.run(["mount", "-t", "tmpfs", "cover", daemon.mountpoint], check=True)
        here.signal_corosync(signal.SIGSTOP)
    try:
        daemon.kill()
        with pytest.raises(OSError) as caught:
            pending.result()
        assert caught.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    finally:
        if os.path.exists(here.namespace.outside(connection)):  # or both would stay for ever
            here.namespace.init.write_file(connection, b"1")
