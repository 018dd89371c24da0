# SPDX-License-Identifier: GPL-3.0-or-later
"""A history of 100 000 changes, without a daemon: what it takes, and how soon something is found in it."""

import subprocess

from single import checked, lines_of

ROWS = ("history-write", "history-size", "history-memory", "history-list")


def bench_history(bench, rows):
    bench.progress("a history of 100 000 changes")
    out = checked(subprocess.run([bench.program("history_bench"), bench.place("history")], capture_output=True, text=True,
                                 timeout=600))
    for line in lines_of(out):
        if line["work"] in rows:
            rows[line["work"]].values.append(line["value"])
