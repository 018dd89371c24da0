# SPDX-License-Identifier: GPL-3.0-or-later
"""pmxcfsctl doctor before broken hosts: of each the one planted fault must be its first line. Hosts without a daemon, hosts with
one that cases share, and a cluster that cases share."""

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess

import pytest
from conftest import PMXCFSCTL
from damage import DIRECTORY, FILE, ROWS, ROWS_REFUSED, make
from harness import BUILD_DIR, GROUP_ID, PATIENCE, Daemon, Namespace, cluster as clusters, wait_for

ADDRESS = "192.0.2.1"
CONF = clusters.corosync_conf([1, 2]).encode()
HOSTS = "127.0.0.1 localhost\n%s node1\n" % ADDRESS

# Of a key that nobody has; it was valid in January 2020.
OLD_CERTIFICATE = b"""\
-----BEGIN CERTIFICATE-----
MIIBBjCBrgIBATAKBggqhkjOPQQDAjAQMQ4wDAYDVQQDDAVub2RlMTAeFw0yMDAx
MDEwMDAwMDBaFw0yMDAyMDEwMDAwMDBaMBAxDjAMBgNVBAMMBW5vZGUxMFkwEwYH
KoZIzj0CAQYIKoZIzj0DAQcDQgAE4vfE6pXwKgWbA9NZ0Lm4mbza8+BRfI8ERQ29
o7OafFZR6A0Cq76k5uUr7QLiLHDa+QRgU0iqiFg9i7vE4zbDJzAKBggqhkjOPQQD
AgNHADBEAiA+zCRjwPCezJTX9JtzEbU9go91lLNPPuFIt6+k7O2ylgIgaKsHzpnQ
j6Eumb4IL8/Bz6LbtFVaoZofdDan5yBwXWU=
-----END CERTIFICATE-----
"""

numbers = itertools.count(1)


def first_line(done):
    return done.stdout.splitlines()[0] if done.stdout else done.stderr


def check_form(done):
    """Each finding has its four parts."""
    lines = done.stdout.splitlines()
    findings = [line for line in lines if re.match(r"(critical|warning): ", line)]
    for part in ("why: ", "do:  ", "risk:"):
        assert sum(line.startswith("    " + part) for line in lines) == len(findings), (part, done.stdout)


# Hosts without a daemon


class Host:
    """A host named node1 with one address, without pmxcfs; its files are in `directory`."""

    def __init__(self, namespace, directory):
        self.namespace = namespace
        self.directory = str(directory)
        self.state_dir = os.path.join(self.directory, "state")
        self.database = os.path.join(self.state_dir, "config.db")
        self.corosync_conf = os.path.join(self.directory, "corosync", "corosync.conf")
        self.mountpoint = "/mnt/pve%d" % next(numbers)
        os.makedirs(os.path.dirname(self.corosync_conf))
        self.run("mkdir", self.mountpoint)

    def run(self, *argv):
        return self.namespace.run(list(argv), check=True)

    def mount(self, *argv):
        self.run("mount", *argv)

    def bind(self, path, text):
        """Another content of a file of the host."""
        name = os.path.join(self.directory, "%s%d" % (os.path.basename(path), next(numbers)))
        with open(name, "w") as file:
            file.write(text)
        os.chmod(name, 0o644)
        self.mount("--bind", name, path)

    def make_database(self, **keywords):
        os.makedirs(self.state_dir, mode=0o750, exist_ok=True)
        make(self.database, rows=node_rows(), **keywords)
        os.chmod(self.database, 0o600)

    def make_cluster(self):
        """A node of a cluster, whose corosync could be started."""
        self.make_database()
        make_sql(self.database, "INSERT INTO tree VALUES (40, 0, 40, 1, 1700, %d, 'corosync.conf', ?)" % FILE, CONF)
        with open(self.corosync_conf, "wb") as file:
            file.write(CONF)

    def doctor(self, *options):
        return self.namespace.run([PMXCFSCTL, "--socket-name", "nobody-is-called-so", "doctor", "--state-dir", self.state_dir,
                                   "--corosync-conf", self.corosync_conf, "--mountpoint", self.mountpoint, *options])


def make_sql(path, sql, *values):
    import sqlite3

    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(sql, values)


def node_rows(name="node1"):
    """One node with one guest."""
    return [(0, 0, 50, 1, 1700, FILE, "__version__", None), (2, 0, 3, 0, 1600, FILE, "storage.cfg", b"ab"), (4, 0, 4, 1, 1601, DIRECTORY, "nodes", None),
            (5, 4, 5, 1, 1602, DIRECTORY, name, None), (6, 5, 6, 1, 1603, DIRECTORY, "qemu-server", None), (9, 6, 10, 2, 1606, FILE, "100.conf", b"cores: 1")]


@pytest.fixture(scope="module")
def bare_namespace(possible):
    """Has the host's name and address, for those who only look."""
    namespace = Namespace(network=True, hostname="node1")
    namespace.run(["ip", "address", "add", ADDRESS + "/32", "dev", "lo"], check=True)
    yield namespace
    namespace.close()


@pytest.fixture
def host(bare_namespace, tmp_path):
    host = Host(bare_namespace, tmp_path)
    host.bind("/etc/hosts", HOSTS)
    yield host
    # What a case has mounted over files of the host, and this.
    for path in ("/etc/hosts", "/etc/group", "/dev/fuse", host.state_dir, host.mountpoint):
        while bare_namespace.run(["umount", "-l", path]).returncode == 0:
            pass


def missing_state(host):
    return r"the state directory \S+ is not there"


def state_is_a_file(host):
    with open(host.state_dir, "w"):
        return r"which should be the state directory, is none"


def on_a_small_disk(host, options, command):
    os.makedirs(host.state_dir)
    host.mount("-t", "tmpfs", "-o", "mode=0750," + options, "tmpfs", host.state_dir)
    host.namespace.run(["sh", "-c", "cd %s && %s" % (host.state_dir, command)])


def full_disk(host):
    on_a_small_disk(host, "size=500k", "head -c 2M /dev/zero >filler")
    return r"the disk of \S+ is full: 0 bytes are free"


def no_inodes(host):
    on_a_small_disk(host, "nr_inodes=5,size=2m", "touch 1 2 3 4 5")
    return r"the disk of \S+ has no inodes left"


def read_only_disk(host):
    on_a_small_disk(host, "size=100m", "mount -o remount,ro .")
    return r"the disk of \S+ is read-only"


def no_database(host):
    os.makedirs(host.state_dir)
    return r"the database \S+ is not there"


def damaged_database(host):
    os.makedirs(host.state_dir)
    make(host.database, kind=ROWS_REFUSED["a loop"] if "a loop" in ROWS_REFUSED else next(iter(ROWS_REFUSED.values())))
    return r"the database \S+ is damaged"


def nonsense_database(host):
    os.makedirs(host.state_dir)
    with open(host.database, "w") as file:
        file.write("x" * 10000)
    return r"config.db is no database: it does not begin as SQLite's files do"


def unresolved_name(host):
    host.make_database()
    host.bind("/etc/hosts", "127.0.0.1 localhost\n")
    return r"the name node1 leads to no address"


def loopback_name(host):
    host.make_database()
    host.bind("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 node1\n")
    return r"the name node1 leads to no address: only loopback"


def renamed_host(host):
    host.make_database()
    make_sql(host.database, "UPDATE tree SET name = 'before' WHERE inode = 5")
    return r"this host is called node1 now, and was before: 1 guest still belongs to before"


def renamed_in_a_cluster(host):
    host.make_cluster()
    text = clusters.corosync_conf([2, 3]).encode()
    make_sql(host.database, "UPDATE tree SET data = ? WHERE inode = 40", text)
    with open(host.corosync_conf, "wb") as file:
        file.write(text)
    return r"this host is called node1, and no node of the cluster is \(node2, node3\)"


def no_group(host):
    host.make_database()
    host.bind("/etc/group", "root:x:0:\n")
    return r"there is no group www-data"


def no_fuse(host):
    host.make_database()
    name = os.path.join(host.directory, "s")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as file:
        file.bind("/proc/self/fd/%d/s" % os.open(host.directory, os.O_RDONLY))
    host.mount("--bind", name, "/dev/fuse")
    return r"there is no FUSE"


def not_started(host):
    host.make_database()
    return r"pmxcfs does not run on this host"


def covered_mountpoint(host):
    host.make_database()
    host.mount("-t", "tmpfs", "tmpfs", host.mountpoint)
    return r"something else is mounted at \S+ \(tmpfs\)"


def no_corosync_conf(host):
    host.make_cluster()
    os.unlink(host.corosync_conf)
    return r"corosync is not configured: \S+ is not there"


def no_authkey(host):
    host.make_cluster()
    text = CONF.replace(b"secauth: off", b"secauth: on")
    make_sql(host.database, "UPDATE tree SET data = ? WHERE inode = 40", text)
    with open(host.corosync_conf, "wb") as file:
        file.write(text)
    return r"corosync's key \S+authkey is not there"


def no_corosync(host):
    host.make_cluster()
    return r"corosync is not running on this host"


ALONE = [missing_state, state_is_a_file, full_disk, no_inodes, read_only_disk, no_database, damaged_database, nonsense_database, unresolved_name, loopback_name,
         renamed_host, renamed_in_a_cluster, no_group, no_fuse, not_started, covered_mountpoint, no_corosync_conf, no_authkey, no_corosync]


@pytest.mark.parametrize("plant", ALONE, ids=lambda plant: plant.__name__)
def test_without_a_daemon(host, plant):
    expected = plant(host)
    done = host.doctor()
    assert done.returncode == 4 and re.match("critical: .*" + expected, first_line(done)), done.stdout + done.stderr
    assert "pmxcfs does not run on this host" in done.stdout
    check_form(done)


def test_why_it_does_not_run(host):
    """It is named where nothing is in the way, and where it cannot start."""
    host.make_database()
    assert "nobody has started it" in host.doctor().stdout or "systemd says" in host.doctor().stdout
    host.bind("/etc/hosts", "127.0.0.1 localhost\n")
    assert "before what is told above is mended" in host.doctor().stdout


def test_only_root(make_namespace):
    done = make_namespace().run([PMXCFSCTL, "doctor"], uid=GROUP_ID)
    assert done.returncode == 1 and "root alone" in done.stderr


def test_json(host):
    host.make_database()
    told = json.loads(host.doctor("--json").stdout)
    assert not told["healthy"] and told["versions"]["pmxcfsctl"]
    assert [(one["severity"], one["check"]) for one in told["findings"]] == [("critical", "daemon")]
    assert set(told["findings"][0]) == {"severity", "check", "what", "why", "command", "risk"}


# A host with a daemon


def fault(function):
    """A context manager of a function that breaks something, yields what the first line must be, and mends it, whatever happens."""

    @contextlib.contextmanager
    def planted(thing):
        steps = function(thing)
        try:
            yield next(steps)
        finally:
            next(steps, None)

    planted.__name__ = function.__name__
    return planted


class Living:
    """A daemon that cases share, on a disk of its own; each mends what it breaks."""

    def __init__(self, directory):
        self.namespace = Namespace(network=True, hostname="node1")
        self.daemon = Daemon(directory, "node1", namespace=self.namespace, mountpoint="/mnt/pve", options=["--lock-lifetime", "0.3"])
        self.host = Host(self.namespace, os.path.join(directory, "host"))
        self.namespace.run(["ip", "address", "add", ADDRESS + "/32", "dev", "lo"], check=True)
        self.host.bind("/etc/hosts", HOSTS)
        os.makedirs(self.daemon.state_dir)
        self.host.mount("-t", "tmpfs", "-o", "mode=0750,size=200m", "tmpfs", self.daemon.state_dir)
        self.daemon.start()
        self.options = []  # of the next doctors: a daemon that answers tells where its things are

    def tell_all(self):
        self.options = ["--state-dir", self.daemon.state_dir, "--mountpoint", "/mnt/pve", "--corosync-conf", self.daemon.corosync_conf]

    def doctor(self):
        return self.namespace.run([PMXCFSCTL, "--socket-name", self.daemon.socket_name, "doctor", *self.options])

    def status(self):
        return self.namespace.run([PMXCFSCTL, "--socket-name", self.daemon.socket_name, "status"])

    def sh(self, command):
        self.namespace.run(["sh", "-ec", command.replace("STATE", self.daemon.state_dir)], check=True)

    def close(self):
        try:
            self.daemon.close()
        finally:
            self.namespace.close()


@pytest.fixture(scope="module")
def living(possible, tmp_path_factory):
    living = Living(str(tmp_path_factory.mktemp("living")))
    yield living
    living.close()


@fault
def stopped_daemon(living):
    living.daemon.send_signal(signal.SIGSTOP)
    living.tell_all()
    yield "critical: pmxcfs runs and does not answer"
    living.daemon.send_signal(signal.SIGCONT)
    living.options = []


@fault
def another_mount(living):
    living.sh("mount -t tmpfs tmpfs /mnt/pve")
    yield r"critical: something else is mounted at /mnt/pve \(tmpfs\)"
    living.sh("umount /mnt/pve")


@fault
def early_certificate(living):
    key = os.path.join(living.daemon.directory, "key")
    pem = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-subj", "/CN=node1",
                          "-days", "20"], capture_output=True, check=True).stdout
    path = living.daemon / "nodes/node1/pve-ssl.pem"
    living.daemon.os.makedirs(os.path.dirname(path), exist_ok=True)
    living.daemon.os.write_file(path, pem)
    yield "warning: the certificate nodes/node1/pve-ssl.pem expires in (19|20) days"
    living.daemon.os.unlink(path)


@fault
def late_root_certificate(living):
    path = living.daemon / "pve-root-ca.pem"
    living.daemon.os.write_file(path, OLD_CERTIFICATE)
    yield r"critical: the certificate pve-root-ca.pem has expired \d{4,} days ago"
    living.daemon.os.unlink(path)


@fault
def no_certificate(living):
    path = living.daemon / "pve-root-ca.pem"
    living.daemon.os.write_file(path, b"nonsense")
    yield "warning: pve-root-ca.pem is no certificate"
    living.daemon.os.unlink(path)


@fault
def safety_copy(living):
    copy = make(living.host.directory + "/copy.db", rows=[*ROWS[:3]])
    living.sh("cp %s STATE/config.db.kept-20261101-120000-30" % copy)
    yield "warning: 1 safety copy waits to be looked at: 20261101-120000-30"
    living.sh("rm STATE/config.db.kept-*")
    os.unlink(copy)


@fault
def journal_aside(living):
    living.sh("echo x >STATE/config.db.journal.damaged-20261101-120000")
    yield "warning: a journal could not be brought into the database"
    living.sh("rm STATE/config.db.journal.damaged-*")


@fault
def readable_database(living):
    living.sh("chmod 0644 STATE/config.db")
    yield "warning: .*config.db has the mode 0644 and the owner 0"
    living.sh("chmod 0600 STATE/config.db*")


@fault
def strange_owner(living):
    living.sh("chown nobody STATE")
    yield "warning: .*state has the mode 0750 and the owner 65534"
    living.sh("chown root STATE")


@fault
def removed_database(living):
    living.sh("mv STATE/config.db STATE/away")
    yield "critical: the database .*config.db is not there"
    living.sh("mv STATE/away STATE/config.db")


@fault
def lost_guests(living):
    path = living.daemon / "nodes/gone/lxc"
    living.daemon.os.makedirs(path)
    living.daemon.os.write_file(path + "/100.conf", b"x")
    own = living.daemon / "nodes/node1/lxc"
    living.daemon.os.makedirs(own, exist_ok=True)
    living.daemon.os.write_file(own + "/101.conf", b"x")
    yield "warning: guests belong to nodes that are no members: 1 of gone"
    living.daemon.os.unlink(path + "/100.conf")
    living.daemon.os.unlink(own + "/101.conf")


@fault
def expired_lock(living):
    living.daemon.os.makedirs(living.daemon / "priv/lock/storage")
    wait_for(lambda: "expired" in living.namespace.run([PMXCFSCTL, "--socket-name", living.daemon.socket_name, "locks"]).stdout, "it expires")
    yield "warning: 1 lock has expired: priv/lock/storage of node1"
    living.daemon.os.rmdir(living.daemon / "priv/lock/storage")


@fault
def strange_address(living):
    living.host.bind("/etc/hosts", "127.0.0.1 localhost\n192.0.2.77 node1\n")
    yield "warning: the name node1 leads to 192.0.2.77, which is no address of this host"
    living.sh("umount /etc/hosts")


@fault
def left_corosync_conf(living):
    with open(living.daemon.corosync_conf, "wb") as file:
        file.write(CONF)
    yield "warning: .*corosync.conf is there, and the database is of no cluster"
    os.unlink(living.daemon.corosync_conf)


@fault
def nearly_full_disk(living):
    living.sh("mount -o remount,size=50m STATE")
    yield "warning: the disk of .*state is nearly full: [0-9.]+ MiB and"
    living.sh("mount -o remount,size=200m STATE")


@fault
def last_bytes(living):
    # What is used, not how long files are: the journal has holes.
    living.sh("mount -o remount,size=$(($(df -k --output=used STATE | tail -n 1) + 300))k STATE")
    yield "critical: the disk of .*state is full"
    living.sh("mount -o remount,size=200m STATE")


@fault
def future_change(living):
    path = living.daemon / "file"
    living.daemon.os.write_file(path, b"x")
    done = living.namespace.run(["touch", "-d", "+1 hour", path])
    assert done.returncode == 0
    yield "warning: the last change in the database is from the future: .*, 3[56]\\d\\d s from now"
    living.daemon.os.unlink(path)


LIVING = [stopped_daemon, another_mount, early_certificate, late_root_certificate, no_certificate, safety_copy, journal_aside,
          readable_database, strange_owner, removed_database, lost_guests, expired_lock, strange_address, left_corosync_conf, nearly_full_disk, last_bytes]


def assert_healthy(living):
    """At last: on a busy machine a daemon may need more than the three seconds that the doctor gives it."""
    assert wait_first(living, "healthy: ", Living.doctor).returncode == 0


@pytest.mark.parametrize("plant", LIVING, ids=lambda plant: plant.__name__)
def test_with_a_daemon(living, plant):
    with plant(living) as expected:
        done = living.doctor()
        assert done.returncode == 4 and re.match(expected, first_line(done)), done.stdout + done.stderr
        check_form(done)
    assert_healthy(living)


def test_hidden_files(living):
    """What somebody wrote while nothing was mounted; it is seen below the mount, and the mount stays."""
    living.sh("mkdir -p /mnt/view; mount --bind /mnt /mnt/view; echo x >/mnt/view/pve/storage.cfg")
    assert first_line(living.doctor()).startswith("warning: there are files below the mount point /mnt/pve, which it hides: storage.cfg")
    assert living.daemon.is_mounted()
    living.sh("rm /mnt/view/pve/storage.cfg; umount /mnt/view")
    assert_healthy(living)


def test_status_ends_with_the_worst(living):
    assert "doctor " not in living.status().stdout
    with readable_database(living):
        assert re.match(r"doctor +warning: .*config.db has the mode 0644 .*\(pmxcfsctl doctor\)$", living.status().stdout.splitlines()[-1])


def test_status_reads_no_large_database(living):
    """What it would find in one over 8 MiB is left to doctor; what stands beside it is found."""
    worker = living.daemon.os
    worker.write_file(living.daemon / "pve-root-ca.pem", b"x")
    assert "doctor     warning: pve-root-ca.pem is no certificate" in living.status().stdout
    worker.mkdir(living.daemon / "large")
    for number in range(9):
        worker.write_file(living.daemon / ("large/%d" % number), bytes(1 << 20))
    assert "doctor " not in living.status().stdout
    with readable_database(living):
        assert "doctor     warning: " in living.status().stdout
    assert first_line(living.doctor()) == "warning: pve-root-ca.pem is no certificate"
    living.sh("rm -r /mnt/pve/large /mnt/pve/pve-root-ca.pem")
    assert_healthy(living)


# A cluster


@pytest.fixture(scope="module")
def cluster(possible, tmp_path_factory):
    reason = clusters.missing()
    if reason:
        pytest.skip(reason)
    cluster = clusters.Cluster(tmp_path_factory.mktemp("cluster"), 3, ["--rejoin-delay", "0.3"])
    try:
        text = clusters.corosync_conf([1, 2, 3])
        votes = "nodeid: 3\n    quorum_votes: "
        assert votes + "1" in text
        for node in cluster:
            node.write_conf(text.replace(votes + "1", votes + "3"))  # two alone are too few
            hosts = os.path.join(node.directory, "hosts")
            with open(hosts, "w") as file:
                file.write("127.0.0.1 localhost\n%s%d %s\n" % (clusters.NETWORK, node.number, node.name))
            node.namespace.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
        yield cluster.start()
    finally:
        cluster.close()


def ask(node):
    return node.namespace.run([PMXCFSCTL, "--socket-name", node.daemon.socket_name, "doctor"], timeout=PATIENCE)


def wait_first(node, expected, ask=ask):
    """What changes in a cluster takes a moment until it is seen."""
    done = None

    def matches():
        nonlocal done
        done = ask(node)
        return re.match(expected, first_line(done))

    try:
        wait_for(matches, expected)
    except AssertionError:
        raise AssertionError("%s, not:\n%s%s" % (expected, done.stdout, done.stderr)) from None
    if done.returncode:
        check_form(done)
    return done


@fault
def corosync_hangs(cluster):
    cluster[1].signal_corosync(signal.SIGSTOP)
    yield "critical: corosync does not answer"
    cluster[1].signal_corosync(signal.SIGCONT)


@fault
def corosync_is_dead(cluster):
    cluster[1].end_corosync()
    yield "critical: corosync is not running on this host"
    cluster[1].start_corosync()


@fault
def cut_off(cluster):
    cluster[1].cut()
    yield "critical: this node is cut off: no link to any of the 2 other nodes is up"
    cluster[1].mend()


@fault
def a_link_is_down(cluster):
    cluster[2].cut()
    yield "warning: a link is down: link 0 to node2"
    cluster[2].mend()


@fault
def too_few_votes(cluster):
    cluster[3].cut()
    yield r"critical: there is no quorum: 2 of 5 votes are here, 3 are needed; missing: node3"
    cluster[3].mend()


@fault
def daemon_elsewhere(cluster):
    cluster[3].daemon.stop()
    yield "warning: pmxcfs does not run on node3, and corosync does"
    cluster[3].daemon.start()


@fault
def other_corosync_conf(cluster):
    path = cluster[1].daemon.corosync_conf
    with open(path) as file:
        text = file.read()
    with open(path, "w") as file:
        file.write(text.replace("config_version: 1", "config_version: 2"))
    yield r"warning: \S+corosync.conf is not that of the cluster: version 2 here, 1 there"
    with open(path, "w") as file:
        file.write(text)


@fault
def held_up(cluster):
    cluster[2].daemon.send_signal(signal.SIGSTOP)
    cluster[1].daemon.restart()
    yield r"warning: this node is not in sync: (comparing|joining|not joined), since \d+ s"
    cluster[2].daemon.send_signal(signal.SIGCONT)


@fault
def another_clock(cluster):
    """A node whose clock is a minute ahead; it tells that with each message."""
    daemon = cluster[2].daemon
    environment = daemon.environment
    daemon.environment = lambda: dict(environment(), LD_PRELOAD=os.path.join(BUILD_DIR, "tests", "cluster", "other_clock.so"), OTHER_CLOCK="60")
    daemon.restart()
    yield "warning: the clock of node2 is (59|60|61) s ahead of this node's"
    daemon.environment = environment
    daemon.restart()


CLUSTER = [another_clock, corosync_hangs, corosync_is_dead, cut_off, a_link_is_down, too_few_votes, daemon_elsewhere, other_corosync_conf, held_up]


@pytest.mark.parametrize("plant", CLUSTER, ids=lambda plant: plant.__name__)
def test_in_a_cluster(cluster, plant):
    wait_first(cluster[1], "healthy: ")
    with plant(cluster) as expected:
        wait_first(cluster[1], expected)
    wait_first(cluster[1], "healthy: ")


def test_no_quorum_names_the_way_out_and_its_risk(cluster):
    with too_few_votes(cluster):
        text = wait_first(cluster[1], "critical: there is no quorum").stdout
    assert "pvecm expected 2" in text and "corosync-quorumtool -e 2" in text and "SPLIT BRAIN" in text
    wait_first(cluster[1], "healthy: ")
