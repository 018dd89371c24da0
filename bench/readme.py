# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the figures of a JSON file of scripts/bench.sh into README.md: bench/readme.py FILE."""

import json
import os
import re
import sys

from rows import RATE, RATIO, show

README = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "README.md")
BEGIN, END = "<!-- figures: bench/readme.py -->\n", "<!-- end of figures -->\n"

# (name of the row, what it is, the deployed daemon on a machine of that kind, and how that was to the limit then)
LINES = [
    ("read", "open, read, close of a 500 B file", "75 us (11 x tmpfs)"),
    ("list", "list a directory of 1000", "1.5 ms (4.7 x tmpfs)"),
    ("create", "create and write 500 B", "225 us (1.6 x null)"),
    ("rewrite", "rewrite 500 B", "165 us (2.9 x null)"),
    ("rename", "temporary file and rename, 500 B", "408 us (1.6 x null)"),
    ("lock", "take and give back a lock", "261 us (1.6 x null)"),
    ("dd", "500 KiB in writes of 512 B", "1.54 s (57 x null)"),
    ("cluster-rewrite", "3 nodes: rewrite 500 B", "1.57 ms (3.3 x cpg)"),
    ("cluster-writers", "3 nodes: 16 writers on one", "1543/s (0.07 x cpg)"),
    ("join", "an empty node joins, 120 MB", "11 s (5.8 x cpg)"),
    ("join-writer", "longest stall of a writer elsewhere, meanwhile", "4.0 s"),
    ("join-reader", "longest stall of a reader elsewhere, meanwhile", "351 ms"),
    ("leave-writer", "longest stall of a writer when a node leaves, 120 MB", "503 ms"),
    ("start", "start with 120 MB", "1.37 s (7.2 x sqlite3)"),
    ("socket-properties", "properties of 20 000 guests over the socket, unchanged", "50 ms"),
    ("wear-rewrite", "written to disk: rewrite 500 B", "8.3 KB"),
    ("wear-rename", "written to disk: 64 KiB by temporary file and rename", "847 KB"),
    ("wear-dd", "written to disk: 500 KiB in writes of 512 B", "605 MB"),
    ("wear-append", "written to disk: append 100 B to a growing file", "230 KB"),
    ("wear-idle", "written to disk: each status file of an idle HA cluster", "12.4 KB"),
]


def measured(row):
    text = show(row["measured"], row["unit"])
    if row["kind"] in (RATIO, RATE) and row["judged"] is not None:
        text += " (%.2g x %s)" % (row["judged"], re.match("[a-z0-9]*", row["limit_name"])[0])
    return text + (", " + row["note"] if row["note"] else "")


def table(rows):
    lines = ["| | deployed | this one |", "| --- | ---: | ---: |"]
    lines += ["| %s | %s | %s |" % (text, deployed, measured(rows[name])) for name, text, deployed in LINES]
    return "\n".join(lines) + "\n"


def main():
    with open(sys.argv[1]) as file:
        rows = {row["name"]: row for row in json.load(file)["rows"]}
    with open(README) as file:
        text = file.read()
    text, count = re.subn(re.escape(BEGIN) + ".*?" + re.escape(END), lambda match: BEGIN + table(rows) + END, text, flags=re.S)
    if count != 1:
        sys.exit("error: README.md has no place for the figures")
    with open(README, "w") as file:
        file.write(text)


main()
