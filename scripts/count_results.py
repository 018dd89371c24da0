#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints "PASSED FAILED SKIPPED" of a results file: pytest's JUnit XML or meson's testlog.json.

A file that is missing or cannot be read is one failure: a run that broke off must not look good.
"""

import json
import re
import sys
import xml.etree.ElementTree


def count_pytest(path):
    total = failed = skipped = 0
    for suite in xml.etree.ElementTree.parse(path).getroot().iter("testsuite"):
        total += int(suite.get("tests"))
        failed += int(suite.get("failures")) + int(suite.get("errors"))
        skipped += int(suite.get("skipped"))
    return max(total - failed - skipped, 0), failed, skipped


def count_program(run):
    """One cmocka program by its single tests; another kind of program is one test."""
    output = run.get("stdout", "") + run.get("stderr", "")
    passed = len(re.findall(r"^\[ {7}OK \]", output, re.M))
    failed = len(re.findall(r"^\[  FAILED  \] \S+$", output, re.M))
    skipped = len(re.findall(r"^\[  SKIPPED \] \S+$", output, re.M))
    if run["result"] in ("OK", "EXPECTEDFAIL"):
        return max(passed, 1 - skipped, 0), 0, skipped
    if run["result"] == "SKIP":
        return 0, 0, 1
    # cmocka names a failed test again in its list at the end.
    return passed, max((failed + 1) // 2, 1), skipped


def count_meson(path):
    sums = [0, 0, 0]
    with open(path) as file:
        for line in file:
            sums = [a + b for a, b in zip(sums, count_program(json.loads(line)))]
    return sums


def count(path):
    """(passed, failed, skipped)"""
    try:
        return tuple(count_pytest(path) if path.endswith(".xml") else count_meson(path))
    except Exception as error:
        print("cannot count results: %s" % error, file=sys.stderr)
        return 0, 1, 0


if __name__ == "__main__":
    print(*count(sys.argv[1]))
