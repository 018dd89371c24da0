#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the files of several suites of pytest at the same time, since most tests wait more than they compute.

python-tests.py [--jobs N] STAGE:BUILD_DIRECTORY:PATH[:CHOICE]...    PATH: a file, or a directory of test_*.py; CHOICE: pytest's -k

What a file's tests said is printed when they are done, with the processor time that they and all that they waited for took. The last line is "PASSED FAILED SKIPPED STAGE...", with the stages
in which something failed.
"""

import argparse
import glob
import os
import signal
import sys
import tempfile
import time
import traceback

import pytest

import count_results

OPTIONS = ["-q", "-p", "no:cacheprovider"]

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

    def start(self):
        """Begins in a process of its own. That is a copy of this one, which has pytest already: loading it takes as much
        time as many a file's tests."""
        if os.path.exists(self.results):
            os.unlink(self.results)
        self.began = time.monotonic()
        self.output = tempfile.TemporaryFile()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os._exit(self.run_tests())
            except BaseException:
                traceback.print_exc()
                os._exit(99)

    def run_tests(self):
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)  # what nohup or a shell's "&" had ignored is not the tests'
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(self.output.fileno(), 1)
        os.dup2(self.output.fileno(), 2)
        os.environ["BUILD_DIR"] = self.directory
        arguments = [*OPTIONS, "--junit-xml", self.results, self.path]
        code = pytest.main(arguments + (["-k", self.choice] if self.choice else []))
        sys.stdout.flush()
        sys.stderr.flush()
        return code

    def end(self, status, usage):
        """Says what it said; its numbers of tests (passed, failed, skipped)."""
        code = os.waitstatus_to_exitcode(status)
        self.output.seek(0)
        text = self.output.read().decode(errors="replace").rstrip()
        self.output.close()
        if code == 0:
            text = text.splitlines()[-1] if text else ""
        print("%s %s, %.0f s, computed %.1f s: %s" % (self.stage, self.path, time.monotonic() - self.began,
                                                      usage.ru_utime + usage.ru_stime, text), flush=True)
        # 0: passed, 1: some failed, 5: none found; anything else broke off.
        broken = 0 if code in (0, 1, 5) else 1
        passed, failed, skipped = count_results.count(self.results)
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


def run(waiting, jobs):
    """Runs these, so many at a time; for each that is done it gives the unit and its numbers."""
    running = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            unit = waiting.pop(0)
            unit.start()
            running[unit.pid] = unit
        pid, status, usage = os.wait3(0)
        unit = running.pop(pid)
        yield unit, unit.end(status, usage)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2 * os.cpu_count())
    parser.add_argument("suites", nargs="+")
    arguments = parser.parse_args()
    pytest.main([*OPTIONS, "--noconftest", "--version"])  # This loads all of pytest, and nothing of ours.
    sys.stdout.flush()
    sums, failing = [0, 0, 0], set()
    for unit, counts in run(units(arguments.suites), arguments.jobs):
        sums = [a + b for a, b in zip(sums, counts)]
        failing |= {unit.stage} if counts[1] else set()
    print(*sums, *sorted(failing))
    sys.exit(1 if failing else 0)


main()
