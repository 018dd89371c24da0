# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes with a corosync each, in namespaces of their own, joined by a bridge."""

import os
import subprocess
import time

from harness import Namespace, wait_for

TOTEM = """totem {{
  version: 2
  cluster_name: bench
  config_version: 1
  ip_version: ipv4-6
  link_mode: passive
  secauth: off
  interface {{
    linknumber: 0
  }}
}}
logging {{
  to_syslog: no
  to_stderr: no
  to_logfile: yes
  logfile: {log}
}}
quorum {{
  provider: corosync_votequorum
}}
nodelist {{
{nodes}}}
"""

NODE = """  node {{
    name: node{number}
    nodeid: {number}
    quorum_votes: 1
    ring0_addr: {address}
  }}
"""


def address_of(number):
    return "10.99.0.%d" % number


class Node:
    """A namespace with an address on the bridge of the first one, and corosync."""

    def __init__(self, number, directory):
        self.number = number
        self.name = "node%d" % number
        self.directory = os.path.join(directory, self.name)
        os.makedirs(self.directory, exist_ok=True)
        self.log = os.path.join(self.directory, "corosync.log")
        self.corosync_conf = os.path.join(self.directory, "corosync.conf")
        self.namespace = Namespace(network=True, hostname=self.name,
                                   tmpfs=("/run", "/var/lib/corosync", "/etc/corosync"))
        self.corosync = None

    def start_corosync(self):
        self.corosync = self.namespace.spawn(["corosync", "-f", "-c", self.corosync_conf], self.log)

    def is_quorate(self):
        done = self.namespace.run(["corosync-quorumtool", "-s"])
        return "Quorate:          Yes" in done.stdout


class Nodes:
    """`count` nodes whose corosyncs form one cluster."""

    def __init__(self, count, directory):
        self.nodes = []
        try:
            for number in range(1, count + 1):
                self.nodes.append(Node(number, directory))
            self.connect()
            self.configure()
            for node in self.nodes:
                node.start_corosync()
            self.wait_quorate()
        except BaseException:
            self.close()
            raise

    def __getitem__(self, index):
        return self.nodes[index]

    def __len__(self):
        return len(self.nodes)

    def connect(self):
        """A bridge in the first node's namespace; a pair of interfaces to it for each node."""
        first = self.nodes[0].namespace
        first.run(["sh", "-ec", "ip link add hub type bridge && ip link set hub up"], check=True)
        for node in self.nodes:
            inside = node.namespace
            port = "port%d" % node.number
            subprocess.run(["nsenter", "--target", str(first.pid), "--net", "ip", "link", "add", port, "type", "veth",
                            "peer", "name", "net0", "netns", str(inside.pid)], check=True)
            first.run(["sh", "-ec", "ip link set %s master hub && ip link set %s up" % (port, port)], check=True)
            inside.run(["sh", "-ec", "ip addr add %s/24 dev net0 && ip link set net0 up" % address_of(node.number)],
                       check=True)

    def configure(self):
        entries = "".join(NODE.format(number=node.number, address=address_of(node.number)) for node in self.nodes)
        for node in self.nodes:
            with open(node.corosync_conf, "w") as file:
                file.write(TOTEM.format(log=node.log, nodes=entries))

    def wait_quorate(self):
        for node in self.nodes:
            wait_for(node.is_quorate, "quorum on " + node.name)
        time.sleep(2)

    def close(self):
        for node in self.nodes:
            node.namespace.close()
