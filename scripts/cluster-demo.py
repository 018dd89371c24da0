# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster of cluster-demo.sh: started, shown, and taken away, with the means of the tests."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests"))

from harness import BUILD_DIR  # noqa: E402
from harness.cluster import USUAL_IDLE_ROTATIONS, Cluster, corosync_conf, missing  # noqa: E402

MOUNTPOINT = "/mnt/pve"
NODES_MAX = 9

HINTS = """
{count} nodes, mounted at {mountpoint} in each. From another terminal, as root:
  {bin}/node1            a shell on node1; node2 ... likewise
  {bin}/cut 1            takes node1 off the network; mend 1 brings it back
Try: echo hello >note on one node and cat note on another; pmxcfsctl members; cut one and write there.
"""


def parse():
    parser = argparse.ArgumentParser(prog="cluster-demo.sh")
    parser.add_argument("nodes", nargs="?", type=int, default=3)
    parser.add_argument("--run", metavar="COMMAND")
    arguments = parser.parse_args()
    if not 1 <= arguments.nodes <= NODES_MAX:
        parser.error("1 to %d nodes" % NODES_MAX)
    return arguments


def make_program(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "w") as file:
        file.write("#!/bin/sh\n" + text)
    os.chmod(path, 0o755)


def make_programs(directory, cluster):
    """What the host has to enter nodes, and to take them off the network."""
    os.makedirs(directory)
    path = "%s:%s/src/ctl:/usr/sbin:/usr/bin:/sbin:/bin" % (BUILD_DIR, BUILD_DIR)
    for node in cluster:
        make_program(directory, node.name, (
            "[ $# -gt 0 ] || set -- bash --norc\n"
            "exec nsenter --target %d --mount --pid --net --uts env PATH=%s PS1='%s:\\w# ' "
            "sh -c 'cd %s && exec \"$@\"' sh \"$@\"\n") % (node.namespace.pid, path, node.name, MOUNTPOINT))
    for name, state in (("cut", "down"), ("mend", "up")):
        make_program(directory, name, "exec nsenter --net=/proc/%d/ns/net ip link set \"port$1\" %s\n" %
                     (cluster.switch.namespace.pid, state))


def start(cluster):
    for node in cluster:
        node.write_conf(corosync_conf(cluster.numbers, cluster_name="demo", token=1000, idle_rotations=USUAL_IDLE_ROTATIONS))
        # Names as on a real host: each node has namespaces of its own.
        node.daemon.mountpoint = MOUNTPOINT
        node.daemon.socket_name = "pve2"
    cluster.start()


def show_in_tmux(directory, cluster, environment, hints):
    """A pane per node and one for the host, which begins with the hints: tmux hides what was printed before. Returns
    when the last shell has ended or the session was left."""
    with open(os.path.join(directory, "hints"), "w") as file:
        file.write(hints)
    tmux = ["tmux", "-f", "/dev/null", "-S", os.path.join(directory, "tmux")]
    names = [node.name for node in cluster]
    subprocess.run([*tmux, "new-session", "-d", "-s", "demo", "-x", "200", "-y", "50", names[0]], env=environment, check=True)
    subprocess.run([*tmux, "set", "-g", "mouse", "on"], check=True)
    for command in [*names[1:], "cat %s/hints; PS1='host:\\w# ' bash --norc" % directory]:
        subprocess.run([*tmux, "split-window", "-t", "demo", command], env=environment, check=True)
        subprocess.run([*tmux, "select-layout", "-t", "demo", "tiled"], check=True)
    subprocess.run([*tmux, "select-pane", "-t", "demo:0.0"], check=True)
    try:
        subprocess.run([*tmux, "attach", "-t", "demo"], env=environment)
    finally:
        subprocess.run([*tmux, "kill-server"], capture_output=True)


def show(arguments, directory, cluster):
    """What the user sees; the exit code."""
    programs = os.path.join(directory, "bin")
    environment = dict(os.environ, PATH=programs + ":" + os.environ["PATH"])
    environment.pop("TMUX", None)  # a session inside of another is wanted here
    if arguments.run is not None:
        return subprocess.run(["sh", "-c", arguments.run], env=environment).returncode
    hints = HINTS.format(count=arguments.nodes, mountpoint=MOUNTPOINT, bin=programs)
    print(hints, flush=True)
    if shutil.which("tmux") and sys.stdin.isatty() and sys.stdout.isatty():
        show_in_tmux(directory, cluster, environment, hints)
    else:
        print("Ctrl-C ends it.", flush=True)
        signal.pause()
    return 0


def main():
    arguments = parse()
    reason = missing()
    if reason:
        sys.exit("error: no cluster can be made here: " + reason)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    directory = tempfile.mkdtemp(prefix="pmxcfs-demo-", dir="/var/tmp")
    cluster = None
    try:
        print("starting %d nodes ..." % arguments.nodes, file=sys.stderr, flush=True)
        cluster = Cluster(os.path.join(directory, "nodes"), arguments.nodes)
        start(cluster)
        make_programs(os.path.join(directory, "bin"), cluster)
        code = show(arguments, directory, cluster)
    finally:
        # Not to be broken off by a second Ctrl-C.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if cluster:
            cluster.close()
        shutil.rmtree(directory)
    sys.exit(code)


main()
