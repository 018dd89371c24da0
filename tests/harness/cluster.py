# SPDX-License-Identifier: GPL-3.0-or-later
"""Several nodes on one machine: each a network, mount, pid and UTS namespace with a corosync of its
own, joined by a bridge in one more namespace."""

import json
import os
import re
import shutil
import signal
import subprocess

from .daemon import BUILD_DIR, LATE, Daemon
from .database import PMXCFSCTL, read_rows
from .namespace import Namespace
from .worker import wait_for

COROSYNC = shutil.which("corosync", path="/usr/sbin:/sbin:/usr/bin:/bin")
NETWORK = "10.91.7."

# Made short, so that a lost node is noticed soon; what tests promise never depends on it.
TOKEN_MILLISECONDS = 600

# So often the token goes around at full speed after a message before it is held: corosync's own 30 are three quarters of the
# processor time that it needs while a test makes a change now and then.
IDLE_ROTATIONS = 2
USUAL_IDLE_ROTATIONS = 30


def missing():
    """Why no cluster can be made here, or None."""
    if not COROSYNC:
        return "no corosync"
    probe = "ip link add br0 type bridge && ip link add v0 type veth peer name v1"
    if subprocess.run(["unshare", "--net", "sh", "-c", probe], capture_output=True).returncode:
        return "no bridges or veth pairs"
    return None


def corosync_conf(nodes, version=1, cluster_name="test", token=TOKEN_MILLISECONDS, names={}, idle_rotations=IDLE_ROTATIONS):
    """The text of a corosync.conf for these node numbers; `names`: of those not called node1 ..."""
    entries = "".join(
        "  node {\n    name: %s\n    nodeid: %d\n    quorum_votes: 1\n    ring0_addr: %s%d\n  }\n" % (
            names.get(n, "node%d" % n), n, NETWORK, n)
        for n in nodes
    )
    return (
        "logging {\n  to_syslog: no\n  to_stderr: yes\n}\n"
        "nodelist {\n%s}\n"
        "quorum {\n  provider: corosync_votequorum\n}\n"
        "totem {\n  cluster_name: %s\n  config_version: %d\n  interface {\n    linknumber: 0\n  }\n"
        "  ip_version: ipv4\n  secauth: off\n  seqno_unchanged_const: %d\n  token: %d\n  token_coefficient: 0\n"
        "  transport: knet\n  version: 2\n}\n"
    ) % (entries, cluster_name, version, idle_rotations, token)


class Switch:
    """The network between the nodes: a bridge in a namespace of its own."""

    def __init__(self):
        self.namespace = Namespace(network=True)
        try:
            self.begin()
        except BaseException:
            self.namespace.close()
            raise

    def begin(self):
        self.run("link", "add", "bridge", "type", "bridge")
        self.run("link", "set", "bridge", "up")

    def run(self, *arguments, target=None):
        """`ip` in the network namespace alone, so that pids are those of the outside."""
        pid = (target or self.namespace).pid
        command = ["nsenter", "--net=/proc/%d/ns/net" % pid, "ip", *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, "%s: %s" % (command, done.stderr)

    def connect(self, number, namespace):
        port = "port%d" % number
        self.run("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(namespace.pid))
        self.join(number)
        self.run("address", "add", "%s%d/24" % (NETWORK, number), "dev", "eth0", target=namespace)
        self.run("link", "set", "eth0", "up", target=namespace)

    def join(self, number):
        """Makes the port of that node one of the network's."""
        self.run("link", "set", "port%d" % number, "master", "bridge", "up")

    def disconnect(self, number):
        """For good, so that another node can have the number; the namespace of the old one would take its time."""
        self.run("link", "delete", "port%d" % number)

    def set_port(self, number, up):
        self.run("link", "set", "port%d" % number, "up" if up else "down")

    def close(self):
        self.namespace.close()


class Node:
    """One node: its corosync and its daemon, started and stopped apart."""

    def __init__(self, cluster, number):
        self.cluster = cluster
        self.number = number
        self.name = "node%d" % number
        self.directory = os.path.join(cluster.directory, self.name)
        os.makedirs(self.directory, exist_ok=True)
        self.namespace = Namespace(network=True, hostname=self.name, tmpfs=["/run", "/var/lib/corosync"])
        cluster.switch.connect(number, self.namespace)
        self.daemon = Daemon(self.directory, self.name, options=cluster.options, local=False, namespace=self.namespace,
                             address="%s%d" % (NETWORK, number))
        if LATE:
            self.daemon.preload(os.path.join(BUILD_DIR, "tests", "cluster", "late_delivery.so"), LATE_DELIVERY=LATE)
        self.corosync = None
        self.corosync_log = os.path.join(self.directory, "corosync.log")

    def write_conf(self, text):
        with open(self.daemon.corosync_conf, "w") as file:
            file.write(text)

    # Corosync

    def start_corosync(self):
        assert self.corosync is None, "it runs already"
        argv = [COROSYNC, "-f", "-c", self.daemon.corosync_conf]
        environment = dict(os.environ, COROSYNC_MAIN_CONFIG_FILE=self.daemon.corosync_conf)
        self.corosync = self.namespace.spawn(argv, self.corosync_log, environment, cwd="/")
        return self

    def signal_corosync(self, number):
        self.namespace.kill(self.corosync, number)

    def end_corosync(self, number=signal.SIGKILL):
        self.signal_corosync(number)
        assert self.namespace.wait(self.corosync) is not None, "corosync of %s does not end" % self.name
        self.corosync = None

    # The daemon

    def start(self):
        """The daemon first, as on a host: it writes the file that corosync reads."""
        self.daemon.start()
        return self if self.corosync else self.start_corosync()

    def end(self):
        """Both die at once, as of a power loss."""
        self.daemon.kill()
        self.end_corosync()

    @property
    def os(self):
        return self.daemon.os

    def path(self, path=""):
        return self.daemon.path(path)

    def read(self, path):
        return self.os.read_file(self.path(path))

    def write(self, path, data):
        self.os.write_file(self.path(path), data)

    def exists(self, path):
        return self.os.exists(self.path(path))

    def rows(self):
        return read_rows(self.daemon.database, *([self.daemon.run] if self.daemon.state_is_private else []))

    def is_quorate(self):
        """As programs find out: by the owner's write bit of a link."""
        return bool(self.os.lstat(self.path("local")).st_mode & 0o200)

    def members(self):
        """.members as JSON."""
        return json.loads(self.read(".members"))

    def online(self):
        """Names of the nodes that this one takes for online."""
        nodes = self.members().get("nodelist", {})
        return sorted(name for name, node in nodes.items() if node["online"])

    def group(self):
        """Names of the members of its group, once it is in sync."""
        told = self.daemon.run([PMXCFSCTL, "--socket-name", self.daemon.socket_name, "--json", "status"]).stdout
        overview = json.loads(told or "{}")
        return sorted(member["name"] or "" for member in overview["group"]) if overview.get("state") == "in sync" else []

    def misses(self):
        """How often others were missed here so far: a corosync that was stopped for too long, with a token of 600 ms, is."""
        return len(re.findall("nodes that are online: .*; missing: (?!none)", self.daemon.log_text()))

    # The network

    def cut(self):
        self.cluster.switch.set_port(self.number, False)

    def mend(self):
        self.cluster.switch.set_port(self.number, True)

    def close(self):
        try:
            if self.corosync is not None:
                self.signal_corosync(signal.SIGCONT)
            self.daemon.close()
        finally:
            self.namespace.close()


class Cluster:
    """`count` nodes, numbered from 1, not started; `options`: more of every daemon's command line; `make_switch`: their network."""

    def __init__(self, directory, count=3, options=(), make_switch=Switch):
        self.directory = str(directory)
        self.options = list(options)
        self.version = 1
        self.nodes = []
        self.switch = make_switch()
        try:
            for number in range(1, count + 1):
                self.nodes.append(Node(self, number))
        except BaseException:
            self.close()
            raise
        self.numbers = list(range(1, count + 1))
        for node in self.nodes:
            node.write_conf(corosync_conf(self.numbers))

    def __getitem__(self, number):
        """The node of that number, from 1."""
        return self.nodes[number - 1]

    def __iter__(self):
        return iter(self.nodes)

    def start(self):
        for node in self.nodes:
            node.start()
        self.wait_settled()
        return self

    def repair(self):
        """Brings back what a test took away: links, processes."""
        for node in self.nodes:
            node.mend()
            if node.corosync is not None and node.namespace.wait(node.corosync, 0.001) is not None:
                node.corosync = None
            if node.corosync is not None:
                node.signal_corosync(signal.SIGCONT)
            if node.daemon.pid is None:
                node.daemon.start()
            if node.corosync is None:
                node.start_corosync()

    def wait_settled(self, nodes=None, quorate=True):
        """Waits until these nodes (all) see each other, agree on quorum, have equal databases, and are in sync: who is online may
        not be in the group yet, or be missed there later."""
        nodes = list(nodes or self.nodes)
        names = sorted(node.name for node in nodes)
        for node in nodes:
            wait_for(lambda: node.online() == names, "%s sees %s, not %s" % (node.name, names, node.online()))
            wait_for(lambda: node.is_quorate() == quorate, "%s is%s quorate" % (node.name, "" if quorate else " not"))
        self.wait_equal(nodes)
        for node in nodes if quorate else []:
            wait_for(lambda: node.group() == names, "%s is in sync with %s" % (node.name, names))

    def wait_equal(self, nodes=None):
        """Waits until the databases of these nodes (all) are equal row for row; gives the rows."""
        nodes = list(nodes or self.nodes)

        def equal():
            rows = nodes[0].rows()
            return rows if all(other.rows() == rows for other in nodes[1:]) else None

        try:
            return wait_for(equal, "databases are equal")
        except AssertionError:
            raise AssertionError(self.differences(nodes)) from None

    def differences(self, nodes):
        """What the databases of the nodes do not have in common, for a report."""
        contents = {node.name: set(node.rows()) for node in nodes}
        common = set.intersection(*contents.values())
        lines = ["databases differ:"]
        for name, rows in contents.items():
            own = sorted(rows - common)
            lines += ["  %s: %s" % (name, [row[:7] + (row[7] and row[7][:40],) for row in own[:20]])]
        return "\n".join(lines)

    def close(self):
        failures = []
        for part in [*reversed(self.nodes), self.switch]:
            try:
                part.close()
            except BaseException as error:
                failures.append(error)
        if failures:
            raise failures[0]
