# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in a history.db (doc/history.md), read without pmxcfs."""

import contextlib
import hashlib
import json
import os
import sqlite3
import subprocess

WRITE, MKDIR, DELETE, RENAME, CREATE, RESYNC, FOUND, GAP = 1, 2, 3, 4, 5, 16, 17, 18
PRIVATE = 1


def rows_of(directory, where="1"):
    """[(operation, path, other, old bytes or None, new bytes or None, row)] in the order of changes; a path that is no
    UTF-8 as the os module would give it. Empty until the daemon has made the file."""
    path = os.path.join(directory, "history.db")
    if not os.path.exists(path):
        return []
    with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % path, uri=True, timeout=30)) as database:
        database.row_factory = sqlite3.Row
        database.text_factory = os.fsdecode
        contents = {None: None}
        database.execute("BEGIN")  # The daemon may be writing: both statements see one state.
        if not database.execute("SELECT 1 FROM sqlite_master").fetchone():
            return []
        for row in database.execute("SELECT * FROM contents"):
            data = row["data"] if row["codec"] == 0 else unpack(row["data"])
            assert hashlib.sha256(data).digest() == row["digest"] and len(data) == row["size"]
            contents[row["id"]] = data
        rows = database.execute("SELECT c.*, p.path AS name, o.path AS other_name, a.uid, a.pid, a.name AS process, "
                                "a.command FROM changes c JOIN paths p ON p.id = c.path LEFT JOIN paths o ON "
                                "o.id = c.other LEFT JOIN actors a ON a.id = c.actor WHERE %s ORDER BY c.id" % where)
        return [(row["operation"], row["name"], row["other_name"], contents[row["old_content"]],
                 contents[row["new_content"]], dict(row)) for row in rows]


def let_pass(directory, seconds):
    """Trials of a daemon that does not run are so much older; what was in the file before."""
    path = os.path.join(directory, "trials.json")
    with open(path) as file:
        trials = json.load(file)
    earlier = [{**trial, "begun": trial["begun"] - seconds, "deadline": trial["deadline"] - seconds} for trial in trials]
    with open(path, "w") as file:
        json.dump(earlier, file)
    return trials


def unpack(data):
    return subprocess.run(["zstd", "-dc"], input=data, capture_output=True, check=True).stdout


def short(rows):
    return [row[:5] for row in rows]
