#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the files of several suites of pytest at the same time, since most tests wait more than they compute.

python-tests.py [--jobs N] STAGE:BUILD_DIRECTORY:PATH[:CHOICE]...    PATH: a file, or a directory of test_*.py; CHOICE: pytest's -k

What a file's tests said is printed when they are done, with the processor time that they and all that they waited for took. The last line is "PASSED FAILED SKIPPED STAGE...", with the stages
in which something failed.
"""

import argparse
import concurrent.futures
import glob
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))

# What takes longest begins first, so that nothing long is left at the end.
LONG = ("cluster/test_failures", "linearizability/test_history", "cluster/test_demo", "cluster/test_one_inode", "cluster/", "socket/test_service",
        "ctl/test_db_", "mount/test_kill", "ctl/test_doctor", "mount/test_database_files", "crash/", "ctl/test_trouble", "mount/test_daemon")


class Unit:
    """One file of tests, run by a pytest of its own."""

    def __init__(self, stage, directory, path, choice):
        self.choice = choice
        self.stage = stage
        self.directory = directory
        self.path = path
        name = "-".join([stage, os.path.basename(os.path.dirname(path)), os.path.splitext(os.path.basename(path))[0]])
        self.results = os.path.join(directory, "pytest-%s.xml" % name)

    def rank(self):
        long = [number for number, part in enumerate(LONG) if part in self.path]
        return (long[0] if long else len(LONG), -os.path.getsize(self.path))

    def run(self):
        if os.path.exists(self.results):
            os.unlink(self.results)
        start = time.monotonic()
        # What nohup or a shell's "&" had ignored is not the tests'.
        command = ["env", "--default-signal", "/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junit-xml", self.results, self.path]
        command += ["-k", self.choice] if self.choice else []
        process = subprocess.Popen(command, env=dict(os.environ, BUILD_DIR=self.directory), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        text = process.stdout.read().decode(errors="replace").rstrip()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        # 0: passed, 1: some failed, 5: none found; anything else broke off.
        broken = 0 if process.returncode in (0, 1, 5) else 1
        if process.returncode == 0:
            text = text.splitlines()[-1] if text else ""
        print("%s %s, %.0f s, computed %.0f s: %s" % (self.stage, self.path, time.monotonic() - start,
                                                      usage.ru_utime + usage.ru_stime, text), flush=True)
        return self.count(broken)

    def count(self, broken):
        counted = subprocess.run([os.path.join(HERE, "count-results.py"), self.results], capture_output=True, text=True)
        passed, failed, skipped = map(int, counted.stdout.split())
        if os.path.exists(self.results):
            os.unlink(self.results)
        return passed, failed + broken, skipped


def units(suites):
    found = []
    for suite in suites:
        stage, directory, path, choice = (suite.split(":") + [""])[:4]
        paths = glob.glob(os.path.join(path, "test_*.py")) if os.path.isdir(path) else [path]
        found += [Unit(stage, directory, file, choice) for file in paths]
    return sorted(found, key=Unit.rank)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2 * os.cpu_count())
    parser.add_argument("suites", nargs="+")
    arguments = parser.parse_args()
    sums, failing = [0, 0, 0], set()
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        waiting = {pool.submit(unit.run): unit for unit in units(arguments.suites)}
        for future in concurrent.futures.as_completed(waiting):
            counts = future.result()
            sums = [a + b for a, b in zip(sums, counts)]
            failing |= {waiting[future].stage} if counts[1] else set()
    print(*sums, *sorted(failing))
    sys.exit(1 if failing else 0)


main()
