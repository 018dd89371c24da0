# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the bench and prints its table (doc/benchmarks.md). Started by scripts/bench.sh."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests"))

from harness import BUILD_DIR, SOURCE_DIR  # noqa: E402

import group  # noqa: E402
import history  # noqa: E402
import ipc  # noqa: E402
import single  # noqa: E402
import wear  # noqa: E402
from rows import make_rows, table  # noqa: E402

SECTIONS = (
    (single.bench_mount, single.MOUNT_ROWS),
    (single.bench_start, ("start", "memory")),
    (ipc.bench_socket, ("socket-version", "socket-config", "socket-properties")),
    (group.bench_writers, ("cluster-rewrite", "cluster-writers", "cluster-all")),
    (group.bench_join, ("join", "join-writer", "join-reader")),
    (group.bench_leave, ("leave-writer", "leave-reader")),
    (history.bench_history, history.ROWS),
    (wear.bench_wear, tuple(wear.WORKS)),
)


# Above this share of other load the result is not to be trusted.
BUSY = 0.1


class Bench:
    """What all sections need to know."""

    def __init__(self, arguments, directory):
        self.directory = directory
        self.quick = arguments.quick
        self.rounds = 5 if arguments.quick else arguments.rounds
        self.cluster_rounds = 1 if arguments.quick else 3
        self.start_rounds = 3 if arguments.quick else 7
        self.idle_seconds = 60 if arguments.quick else 300
        self.options = arguments.option
        self.one_processor = arguments.one_processor
        self.slow = arguments.slow
        self.start = time.monotonic()

    def place(self, name):
        path = os.path.join(self.directory, name)
        os.makedirs(path, exist_ok=True)
        return path

    @staticmethod
    def program(name):
        return os.path.join(BUILD_DIR, "bench", name)

    def progress(self, text):
        print("[%4d s] %s" % (time.monotonic() - self.start, text), file=sys.stderr, flush=True)


def parse():
    parser = argparse.ArgumentParser(prog="bench.sh", description="Measures pmxcfs beside what the machine allows.")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these rows (all, with a common start)")
    parser.add_argument("--list", action="store_true", help="list the rows' names")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and 1 minute of idle cluster")
    parser.add_argument("--rounds", type=int, default=21, help="rounds of the work on one node (21)")
    parser.add_argument("--directory", default="/var/tmp", help="where databases are; must be on a disk (/var/tmp)")
    parser.add_argument("--one-processor", action="store_true",
                        help="everything on one processor: what the work takes, without the wake-ups of others")
    parser.add_argument("--slow", action="store_true", help="the three nodes of a cluster share one processor")
    parser.add_argument("--option", action="append", default=[], metavar="OPTION",
                        help="one more option for the daemons, as --option=--durability=full")
    return parser.parse_args()


def choose(rows, only):
    if not only:
        return rows
    chosen = [row for row in rows if any(row.name == name or row.name.startswith(name + "-") for name in only)]
    if not chosen:
        sys.exit("no row has such a name; --list shows them")
    return chosen


def run(bench, rows):
    """False if a section failed; its rows say so then."""
    good = True
    for section, names in SECTIONS:
        wanted = {row.name: row for row in rows if row.name in names}
        if not wanted:
            continue
        try:
            section(bench, wanted)
        except Exception:
            traceback.print_exc()
            good = False
            for row in wanted.values():
                row.note = row.note or ("" if row.values else "failed")
    if bench.quick:
        for row in rows:
            if row.name == "wear-idle":
                row.note = row.note or "1 minute only"
    return good


def busy_share(seconds=2):
    """The part of all processors' time that is used now, before the bench has started anything."""

    def times():
        with open("/proc/stat") as file:
            fields = [int(field) for field in file.readline().split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    all_before, idle_before = times()
    time.sleep(seconds)
    all_after, idle_after = times()
    return 1 - (idle_after - idle_before) / max(all_after - all_before, 1)


def revision():
    done = subprocess.run(["git", "-C", SOURCE_DIR, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def report(bench, rows, path):
    print(table(rows))
    missed = [row.name for row in rows if row.met is False]
    unknown = [row.name for row in rows if row.met is None]
    print("\n%d goals met, %d missed, %d not measured%s" % (
        len(rows) - len(missed) - len(unknown), len(missed), len(unknown), ", quick run" if bench.quick else ""))
    if path:
        about = {"revision": revision(), "kernel": platform.release(), "processors": os.cpu_count(),
                 "busy_before": round(bench.busy, 3), "quick": bench.quick, "rounds": bench.rounds, "options": bench.options,
                 "one_processor": bench.one_processor, "slow": bench.slow,
                 "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        with open(path, "w") as file:
            json.dump({"about": about, "rows": [row.as_json() for row in rows]}, file, indent=1)
            file.write("\n")


def main():
    arguments = parse()
    rows = make_rows()
    if arguments.list:
        print("\n".join("%-16s %s" % (row.name, row.title) for row in rows))
        return
    rows = choose(rows, arguments.only)
    with tempfile.TemporaryDirectory(prefix="pmxcfs-bench-", dir=arguments.directory) as directory:
        if arguments.one_processor:
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        bench = Bench(arguments, directory)
        bench.busy = busy_share()
        if bench.busy > BUSY:
            print("warning: the machine is busy with other things (%d %%); times and their relations will be wrong"
                  % (100 * bench.busy), file=sys.stderr)
        good = run(bench, rows)
    report(bench, rows, arguments.json)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
