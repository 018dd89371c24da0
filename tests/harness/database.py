# SPDX-License-Identifier: GPL-3.0-or-later
"""What a config.db is made of, and looks at one, whether or not a daemon works on it (doc/database.md)."""

import contextlib
import os
import sqlite3
import subprocess
import tempfile

from .daemon import BUILD_DIR

DIRECTORY, FILE = 4, 8  # in the column `type`

SCHEMA = """CREATE TABLE tree (
  inode INTEGER PRIMARY KEY NOT NULL,
  parent INTEGER NOT NULL CHECK(typeof(parent)=='integer'),
  version INTEGER NOT NULL CHECK(typeof(version)=='integer'),
  writer INTEGER NOT NULL CHECK(typeof(writer)=='integer'),
  mtime INTEGER NOT NULL CHECK(typeof(mtime)=='integer'),
  type INTEGER NOT NULL CHECK(typeof(type)=='integer'),
  name TEXT NOT NULL,
  data BLOB)"""

# What is tested is the daemon: the copies are made by a build without sanitizers, if there is one, in a quarter of the time.
PLAIN_BUILD_DIR = os.environ.get("PLAIN_BUILD_DIR", "")
PMXCFSCTL = os.path.join(PLAIN_BUILD_DIR, "src", "ctl", "pmxcfsctl")
if not PLAIN_BUILD_DIR or not os.path.exists(PMXCFSCTL):
    PMXCFSCTL = os.path.join(BUILD_DIR, "src", "ctl", "pmxcfsctl")


def run_outside(command):
    return subprocess.run(command, capture_output=True, text=True)


@contextlib.contextmanager
def acknowledged(path, run=run_outside):
    """The path of a database with all that was acknowledged: what is in the journal is brought into a copy.

    `run`: for one that only a namespace sees, as Daemon.run."""
    if run == run_outside and not os.path.exists(path + ".journal"):
        yield path
        return
    with tempfile.TemporaryDirectory() as directory:
        copy = os.path.join(directory, "config.db")
        done = run([PMXCFSCTL, "backup", "--database", path, copy])
        assert done.returncode == 0 and not done.stderr, done.stderr
        yield copy


@contextlib.contextmanager
def connect(path, run=run_outside):
    """A connection that reads what was acknowledged."""
    with acknowledged(path, run) as copy:
        with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % copy, uri=True, timeout=30)) as database:
            yield database


def read_rows(path, run=run_outside):
    """All rows of a database as it is now, in order."""
    with connect(path, run) as database:
        return database.execute(
            "SELECT inode, parent, version, writer, mtime, type, name, data FROM tree ORDER BY inode"
        ).fetchall()
