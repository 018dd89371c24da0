# SPDX-License-Identifier: GPL-3.0-or-later
"""The local socket beside an empty libqb service that echoes, with 20 000 guests."""

import os

from harness import BUILD_DIR, Daemon
from single import checked, lines_of

GUESTS = 20000
PATH = "nodes/node1/qemu-server/100.conf"


def bench_socket(bench, rows):
    """Each round asks the echo service, then ours: the rates of one client that asks again and again."""
    daemon = Daemon(bench.place("socket"), "node1", options=bench.options)
    try:
        os.makedirs(daemon.state_dir, exist_ok=True)
        checked(daemon.run([os.path.join(BUILD_DIR, "tests", "make_database"), "--files", str(GUESTS), "--quiet",
                            daemon.database]))
        daemon.start()
        bench.progress("the local socket")
        out = checked(daemon.run([bench.program("socket_bench"), daemon.socket_name, PATH, str(bench.rounds)], timeout=600))
        for line in lines_of(out):
            for name, row in rows.items():
                if row.unit == "/s" and line["target"] == "echo":
                    row.limits.append(1 / line["seconds"])
                elif name == "socket-" + line["target"]:
                    row.values.append(1 / line["seconds"] if row.unit == "/s" else line["seconds"])
    finally:
        daemon.close()
