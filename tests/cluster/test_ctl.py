# SPDX-License-Identifier: GPL-3.0-or-later
"""pmxcfsctl and the metrics in a cluster: status, verify, the guests of a dead node, who has a lock."""

import errno
import json
import os
import re
import signal
import sys
import time

from harness import BUILD_DIR, SOURCE_DIR, wait_for
from harness.failing_disk import FailingDisk, database_is_well
from test_healing import alter_memory

sys.path.insert(0, os.path.join(SOURCE_DIR, "tests", "socket"))

from ipc_client import Client  # noqa: E402

PMXCFSCTL = os.path.join(BUILD_DIR, "src", "ctl", "pmxcfsctl")


def ctl(node, *arguments, code=0):
    done = node.daemon.run([PMXCFSCTL, "--socket-name", node.daemon.socket_name, *arguments])
    assert done.returncode == code, "%d: %s%s" % (done.returncode, done.stdout, done.stderr)
    return done


def status(node):
    done = node.daemon.run([PMXCFSCTL, "--socket-name", node.daemon.socket_name, "status", "--json"])
    return json.loads(done.stdout)


def metric(node, name):
    """The sum of that name's samples."""
    found = re.findall(r"^%s(?:\{.*\})? (.*)$" % name, node.read(".metrics").decode(), re.MULTILINE)
    return sum(map(float, found))


def test_status(cluster):
    for node in cluster:
        told = status(node)
        assert (told["quorate"], told["local"], told["state"]) == (True, False, "in sync")
        assert [member["name"] for member in told["group"]] == ["node1", "node2", "node3"]
        wait_for(lambda: all(member["in_sync"] for member in status(node)["group"]), "all are known to be in sync")
        text = ctl(node, "status").stdout
        assert "test, 3 of 3 nodes online" in text and len(re.findall(r"node\d +\d+  online   in sync", text)) == 3
        assert text.count("(this node)") == 1
    cluster[2].cut()
    cluster[3].cut()
    wait_for(lambda: not cluster[1].is_quorate(), "quorum is lost")
    text = ctl(cluster[1], "status", code=4).stdout
    assert "NO: this node is read-only" in text
    log = cluster[1].daemon.log_text()
    assert "quorum is lost: this node only reads" in log and "the cluster has quorum" in log
    assert "nodes that are online: node1, node2, node3; missing: none" in log
    wait_for(lambda: "1 of 3 nodes online" in ctl(cluster[1], "status", code=4).stdout, "the others are gone")
    text = ctl(cluster[1], "status", code=4).stdout
    assert "'pvecm expected 1'" in text and "split brain" in text
    for command in (["revert", "note"], ["undelete", "note"], ["rollback", "--to", "now", "--yes"]):
        answer = ctl(cluster[1], *command, code=1).stderr
        assert "there is no quorum" in answer and "'pmxcfsctl doctor'" in answer


def check_what_terminals_obey(cluster):
    """What node3 says of itself is shown elsewhere without it."""
    def shown(*parts):
        texts = [ctl(cluster[1], command).stdout for command in ("status", "members")]
        return "\033" not in "".join(texts) and all(part in texts[0] for part in parts) and "?[32m10.9" in texts[1]

    client = Client(cluster[3].daemon)
    assert client.set_status("nodeip", b"\033[32m10.9\0") == 0
    assert client.set_status("version-info", json.dumps({"version": "a\033[31mb"}).encode()) == 0
    wait_for(lambda: shown("?[32m10.9", "node3 (host a?[31mb)"), "both are shown")
    assert client.set_status("version-info", b"") == 0
    wait_for(lambda: "(host " not in ctl(cluster[1], "status").stdout, "it is deleted")
    client.close()


def test_releases(cluster):
    """Which member runs what, also beside one that does not tell it."""
    def releases(node):
        return [member["release"] for member in status(node)["group"]]

    own = status(cluster[1])["release"]
    for node in cluster:
        wait_for(lambda: releases(node) == [own] * 3, "all have told their release")
        assert "releases   pmxcfs %s: node1, node2, node3\n" % own in ctl(node, "status").stdout
        assert b"pmxcfs-release" not in node.read(".version")
    daemon = cluster[3].daemon
    environment = daemon.environment
    daemon.stop()
    daemon.preload(os.path.join(BUILD_DIR, "tests", "cluster", "untold_release.so"))
    try:
        daemon.start()
        cluster.wait_settled()
        wait_for(lambda: releases(cluster[1]) == [own, own, None], "node3 does not tell")
        assert "releases   pmxcfs %s: node1, node2; not told by node3: another implementation, or an older release\n" % own in ctl(cluster[1], "status").stdout
        assert releases(cluster[3]) == [own] * 3  # it knows its own
        check_what_terminals_obey(cluster)
    finally:
        daemon.environment = environment
        daemon.restart()
    cluster.wait_settled()
    wait_for(lambda: releases(cluster[1]) == [own] * 3, "node3 tells again")


def test_status_without_corosync(cluster, folder):
    """What cannot be known is not told, and what is advised needs no corosync."""
    node = cluster[2]
    node.end_corosync()
    wait_for(lambda: not status(node)["connected"], "the daemon hears of it")
    text = ctl(node, "status", code=4).stdout
    assert "COROSYNC IS NOT RUNNING" in text and "online" not in text and "in sync    " not in text
    assert "systemctl status corosync" in text and "quorumtool" not in text and "pvecm" not in text
    try:
        node.write(folder + "/refused", b"x")
        raise AssertionError("it is refused")
    except OSError as error:
        assert error.errno == errno.EACCES
    assert "corosync does not run, or does not answer; see 'systemctl status corosync'" in node.daemon.log_text()
    node.start_corosync()
    wait_for(lambda: status(node)["connected"] and status(node)["state"] == "in sync", "it is back")


def test_a_failing_disk(cluster, folder, tmp_path):
    """Told the same everywhere, by the node that has it and by nobody else, until all is stored again."""
    daemon = cluster[3].daemon
    environment = daemon.environment
    daemon.stop()
    disk = FailingDisk(daemon, tmp_path)
    daemon.start()
    try:
        cluster.wait_settled()
        cluster[3].write(folder + "/file", b"before")
        assert database_is_well(daemon)
        disk.fail(errno.EIO)
        cluster[1].write(folder + "/file", b"after")  # which node3 cannot store
        wait_for(lambda: not database_is_well(daemon), "node3 notices")
        for _ in range(5):
            try:
                cluster[3].write(folder + "/refused", b"x")
                raise AssertionError("it is refused")
            except OSError as refusal:
                assert refusal.errno == errno.EIO
        assert not database_is_well(daemon)
        assert database_is_well(cluster[1].daemon)
        wait_for(lambda: "not in sync" in ctl(cluster[1], "status").stdout or "  -  " in ctl(cluster[1], "status").stdout, "the others see that it has left")
        disk.mend()
        wait_for(lambda: database_is_well(daemon), "it comes back by itself")
        cluster.wait_settled()
        wait_for(lambda: cluster[3].read(folder + "/file") == b"after", "the kernel knows")
        assert daemon.log_since_start().count("config.db takes writes again") == 1
        assert daemon.log_since_start().count("cannot write to") == 1
    finally:
        daemon.environment = environment
        daemon.restart()
    cluster.wait_settled()


def test_a_host_that_was_renamed(cluster):
    daemon = cluster[3].daemon
    daemon.stop()
    try:
        daemon.start("--nodename", "renamed")
        wait_for(lambda: "NO NODE OF THE CLUSTER HAS THIS HOST'S NAME" in daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, "status"]).stdout,
                 "status tells of it")
        assert "this host is named 'renamed', and no node of the cluster is" in daemon.log_since_start()
    finally:
        daemon.restart()
    assert "this host is named" not in daemon.log_since_start()


def test_the_log_reads_like_sentences(cluster, folder):
    """A start, a join, a leave, a partition: names, no process numbers, and what to do."""
    node = cluster[3]
    node.daemon.stop()
    assert "corosync does not run" not in node.daemon.log_since_start().partition("stopping: ")[2]
    cluster[1].write(folder + "/while-away", b"x")
    before = len(cluster[1].daemon.log_text())
    node.daemon.start()
    cluster.wait_settled()
    log = node.daemon.log_since_start()
    wait_for(lambda: "the configuration was taken over: 1 entry changed here" in node.daemon.log_since_start() or
             "the configuration was taken over: 2 entries changed here" in node.daemon.log_since_start(), "node3 has taken over")
    assert "the newest configuration is that of node1: 2 of 3 members have it, the others take it over" in log
    log = cluster[1].daemon.log_text()[before:]
    assert "nodes that are online: node1, node2, node3; missing: none" in log
    assert "to the members that take the configuration over" in log
    node.daemon.stop()
    wait_for(lambda: "nodes that are online: node1, node2; missing: node3" in cluster[1].daemon.log_text()[before:], "it has left")
    wait_for(lambda: "all 2 members have the same configuration" in cluster[1].daemon.log_text()[before:], "they went on")
    node.daemon.start()
    cluster.wait_settled()
    for one in cluster:
        assert not re.search(r"\b\d+/\d+\b", one.daemon.log_text().replace(one.cluster.directory, "")), "a member by its numbers"


def test_metrics(cluster, folder):
    before = [metric(node, "pmxcfs_changes_total") for node in cluster]
    sent = metric(cluster[1], "pmxcfs_messages_sent_total")
    for number in range(10):
        cluster[1].write("%s/%d" % (folder, number), b"x")
    cluster.wait_equal()
    for node, count in zip(cluster, before):
        wait_for(lambda: metric(node, "pmxcfs_changes_total") >= count + 20, "changes are counted on " + node.name)
        assert metric(node, "pmxcfs_group_members") == 3
        assert metric(node, "pmxcfs_synchronisation_seconds_count") >= 1
        assert metric(node, "pmxcfs_queue_length") == 0
    assert metric(cluster[1], "pmxcfs_messages_sent_total") >= sent + 20


def test_verify(cluster, folder):
    for node in (cluster[2], cluster[3]):
        assert "run this on node1" in ctl(node, "verify", code=1).stderr
    told = json.loads(ctl(cluster[1], "verify", "--json").stdout)
    assert (told["result"], told["members"], told["left"]) == ("equal", 3, [])
    versions = [status(node)["verification"] for node in cluster]
    assert len({one["checksum"] for one in versions}) == 1 and versions[0]["checksum"] == told["checksum"]
    assert all(one["equal"] >= 1 and one["different"] == 0 for one in versions)
    assert [one["may_ask"] for one in versions] == [True, False, False]
    assert "all stayed in the group" in ctl(cluster[1], "verify").stdout


def test_verify_on_a_node_that_is_cut_off(cluster, folder):
    """It knows nothing of the others, and says so."""
    def refused(*options):
        done = ctl(cluster[1], "verify", *options, code=1)
        assert done.stdout == "" and "no copy differs" not in done.stderr
        return done.stderr

    cluster[3].cut()
    wait_for(lambda: cluster[2].online() == ["node1", "node2"] and cluster[2].is_quorate(), "node3 is away")
    cluster.wait_settled([cluster[1], cluster[2]])
    text = ctl(cluster[1], "verify").stdout
    assert "2 members were asked" in text and "node3 is not in the group: its copy was not compared\n" in text
    assert "all stayed in the group: no copy of theirs differs\n" in text
    assert json.loads(ctl(cluster[1], "verify", "--json").stdout)["absent"] == ["node3"]
    cluster[2].cut()
    wait_for(lambda: not cluster[1].is_quorate(), "quorum is lost")
    for options in ([], ["--json"]):
        assert "nothing could be verified: there is no quorum" in refused(*options)


def test_verify_on_a_node_that_is_not_in_sync(cluster, folder):
    cluster[1].end_corosync()
    wait_for(lambda: not status(cluster[1])["joined"], "node1 has left the group")
    done = ctl(cluster[1], "verify", code=1)
    assert "nothing could be verified" in done.stderr and done.stdout == ""


def verify_altered(cluster, path, right):
    """Runs verify while the file has another content in node3's memory, which node3 has found and mended then."""
    cluster.wait_settled()
    found = status(cluster[3])["verification"]["different"]
    # Who leaves and joins again at once is known by the second of its joining, which must be another one.
    wait_for(lambda: time.time() >= 1 + max(member["since"] for member in status(cluster[1])["group"]), "all joined in an earlier second")
    assert alter_memory(cluster[3], right, right.upper()) > 0
    done = cluster[1].daemon.run([PMXCFSCTL, "--socket-name", cluster[1].daemon.socket_name, "verify", "--json"])
    wait_for(lambda: status(cluster[3])["verification"]["different"] == found + 1, "node3 knows")
    wait_for(lambda: cluster[3].read(path) == right, "node3 has taken over the others' content")
    return done.returncode, json.loads(done.stdout)


def test_verify_finds_who_differs(cluster, folder):
    right = b"what is altered in memory, for pmxcfsctl verify " + b"v" * 60
    cluster[1].write(folder + "/altered", right)
    code, told = verify_altered(cluster, folder + "/altered", right)
    for _ in range(4):
        if code == 4:
            break
        code, told = verify_altered(cluster, folder + "/altered", right)  # it left later than verify waits
    assert (code, told["result"], told["left"]) == (4, "equal", ["node3"])
    wait_for(lambda: metric(cluster[3], "pmxcfs_safety_copies_total") >= 1, "the safety copy is counted")
    # And what is in it can be looked at, and got back.
    path = folder + "/altered"
    assert json.loads(ctl(cluster[3], "kept", "list", "--json").stdout)[-1]["files"] >= 1
    diff = ctl(cluster[3], "kept", "diff", "-u", "latest", code=4).stdout
    assert "-%s" % right.upper().decode() in diff and "+%s" % right.decode() in diff
    assert "another content is there" in ctl(cluster[3], "kept", "restore", "latest", path, code=1).stderr
    ctl(cluster[3], "kept", "restore", "--replace", "latest", path)
    wait_for(lambda: cluster[1].read(path) == right.upper(), "all have what was kept")


def test_guests_of_a_dead_node(cluster):
    for node in cluster:
        for path in ("nodes", "nodes/" + node.name, "nodes/%s/lxc" % node.name):
            if not cluster[1].exists(path):
                cluster[1].os.mkdir(cluster[1].path(path))
    cluster.wait_equal()
    for guest in (3000, 3001):
        cluster[3].write("nodes/node3/lxc/%d.conf" % guest, b"cores: 1\n")
    cluster.wait_equal()
    move = ["guests", "move", "--from", "node3", "--to", "node2"]
    assert "node3 is online" in ctl(cluster[1], *move, code=1).stderr
    cluster[3].end()
    wait_for(lambda: cluster[1].online() == ["node1", "node2"] and cluster[1].is_quorate(), "the death is noticed")
    cluster[1].os.mkdir(cluster[1].path("nodes/removed"))
    assert "node3 is not online" in ctl(cluster[1], "guests", "move", "--from", "removed", "--to", "node3", code=1).stderr
    assert "removed is no node of this cluster" in ctl(cluster[1], "guests", "move", "--from", "node3", "--to", "removed", code=1).stderr
    for names in (["--from", "nod3", "--to", "node2"], ["--from", "node3", "--to", "nod2"]):
        assert re.search(r"no node is called 'nod(.)'; did you mean 'node\1'\?", ctl(cluster[1], "guests", "move", *names, code=1).stderr)
    cluster[1].os.rmdir(cluster[1].path("nodes/removed"))
    moved = [guest["id"] for guest in json.loads(ctl(cluster[1], *move, "--json").stdout)]
    assert {3000, 3001} <= set(moved)
    assert not cluster[1].os.listdir(cluster[1].path("nodes/node3/lxc"))
    wait_for(lambda: cluster[2].exists("nodes/node2/lxc/3000.conf"), "the guest is on node2")
    cluster[2].end()
    wait_for(lambda: not cluster[1].is_quorate(), "quorum is lost")
    assert "no quorum" in ctl(cluster[1], "guests", "move", "--from", "node2", "--to", "node1", code=1).stderr
    assert "no quorum" in ctl(cluster[1], "undelete", "nodes/node3/lxc/3000.conf", code=1).stderr


def test_lock_has_an_owner(cluster):
    for path in ("priv", "priv/lock"):
        if not cluster[1].exists(path):
            cluster[1].os.mkdir(cluster[1].path(path))
    cluster.wait_equal()
    cluster[2].os.mkdir(cluster[2].path("priv/lock/ctl"))
    cluster.wait_equal()
    locks = {lock["path"]: lock for lock in json.loads(ctl(cluster[1], "locks", "--json").stdout)}
    assert locks["priv/lock/ctl"]["node"] == "node2"
    cluster[2].os.rmdir(cluster[2].path("priv/lock/ctl"))


def test_break_of_an_expired_lock(cluster):
    """Asked for on another node than its owner's; it goes on all."""
    for path in ("priv", "priv/lock"):
        if not cluster[1].exists(path):
            cluster[1].os.mkdir(cluster[1].path(path))
    cluster.wait_equal()
    cluster[2].os.mkdir(cluster[2].path("priv/lock/left"))
    cluster.wait_equal()

    def expired():
        locks = json.loads(ctl(cluster[3], "locks", "--json").stdout)
        return [lock["path"] for lock in locks if lock["expired"]] == ["priv/lock/left"]

    wait_for(expired, "it has expired")
    (told,) = json.loads(ctl(cluster[3], "locks", "break", "--expired", "left", "--json").stdout)
    assert (told["path"], told["node"], told["broken"]) == ("priv/lock/left", "node2", True)
    for node in cluster:
        wait_for(lambda: not node.exists("priv/lock/left"), "it is gone on " + node.name)


def test_queues_while_corosync_hangs(cluster, folder):
    """Status and metrics answer, and show who waits."""
    node = cluster[3]
    node.signal_corosync(signal.SIGSTOP)
    pending = node.daemon.worker().start("mkdir", node.path(folder + "/directory"))
    wait_for(lambda: status(node)["queues"]["callers"] == 1, "one caller waits")
    assert "callers 1" in node.daemon.run([PMXCFSCTL, "--socket-name", node.daemon.socket_name, "status"]).stdout
    wait_for(lambda: metric(node, "pmxcfs_queue_length") >= 1, "the metrics show it")
    node.signal_corosync(signal.SIGCONT)
    cluster.wait_settled()
    wait_for(lambda: pending.done(), "the caller is answered")
    wait_for(lambda: metric(node, "pmxcfs_queue_length") == 0, "nobody waits")
