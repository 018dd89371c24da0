# SPDX-License-Identifier: GPL-3.0-or-later
"""The change feed over the socket: several subscribers, one that does not read, private paths, and
versions from before what the daemon remembers."""

import itertools
import json
import os
import signal

from harness import BUILD_DIR, GROUP_ID, wait_for
from harness.database import connect

PROGRAM = os.path.join(BUILD_DIR, "src", "ctl", "pmxcfsctl")
REMEMBERED = 10000

numbers = itertools.count(1)

# Long names make large events, so that a subscriber's buffer is full soon.
TOUCH = """
for number in range(count):
    os.utime(path, (number, number))
"""


class Feed:
    """pmxcfsctl changes, its output in a file; `group`: as a user of that group alone."""

    def __init__(self, daemon, *arguments, group=None):
        self.daemon = daemon
        self.output = os.path.join(daemon.directory, "changes-%d" % next(numbers))
        user = ["setpriv", "--reuid", str(group), "--regid", str(group), "--clear-groups"] if group else []
        command = [*user, PROGRAM, "--socket-name", daemon.socket_name, "changes", *arguments]
        self.pid = daemon.namespace.spawn(command, self.output, cwd="/")

    def signal(self, number):
        self.daemon.namespace.kill(self.pid, number)

    def records(self):
        if not os.path.exists(self.output):
            return []
        with open(self.output) as file:
            return [json.loads(line) for line in file.read().split("\n")[:-1]]

    def wait_path(self, path):
        """Waits for the record of that path; all records so far."""
        wait_for(lambda: any(record.get("path") == path for record in self.records()), "%s is told" % path)
        return self.records()


def version_of(daemon):
    """The global version."""
    with connect(daemon.database) as database:
        row = database.execute("SELECT version FROM tree WHERE inode = 0").fetchone()
    return row[0] if row else 1


def make(daemon, name):
    """One change."""
    daemon.os.mkdir(daemon / name)


def memory(daemon):
    """Resident bytes of the daemon."""
    with open("/proc/%d/root/proc/%d/statm" % (daemon.namespace.pid, daemon.pid)) as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def subscribe(daemon, count=1, **keywords):
    """Feeds that surely have begun: each has told a directory made for it."""
    feeds = [Feed(daemon, "--since", "1", **keywords) for _ in range(count)]
    if not daemon.os.exists(daemon / "begin"):
        make(daemon, "begin")
    for feed in feeds:
        feed.wait_path("begin")
    return feeds


def test_all_subscribers_get_all(daemon):
    feeds = subscribe(daemon, 5)
    for number in range(300):
        make(daemon, "file%d" % number)
    for feed in feeds:
        records = feed.wait_path("file299")
        assert [record["path"] for record in records] == ["begin"] + ["file%d" % number for number in range(300)]
        versions = [record["version"] for record in records]
        assert versions == list(range(versions[0], versions[0] + 301))


def test_private_paths_are_for_root(daemon):
    (all_feed,) = subscribe(daemon)
    (reader,) = subscribe(daemon, group=GROUP_ID)
    daemon.os.mkdir(daemon / "priv") if not daemon.os.exists(daemon / "priv") else None
    make(daemon, "priv/secret")
    make(daemon, "plain")
    daemon.os.rename(daemon / "plain", daemon / "priv/plain")
    daemon.os.rename(daemon / "priv/plain", daemon / "plain")
    make(daemon, "end")
    everything = [record["path"] for record in all_feed.wait_path("end")]
    assert "priv/secret" in everything and "priv/plain" in everything
    records = reader.wait_path("end")
    assert "priv" not in json.dumps(records)
    assert [record["path"] for record in records if record["operation"] == "mkdir"][-2:] == ["plain", "end"]


def test_slow_subscriber_and_what_is_forgotten(make_daemon, monkeypatch):
    """One that does not read costs the daemon nothing, keeps nobody waiting, and is told how many records
    it has missed; so is one that asks for what is forgotten."""
    monkeypatch.setenv("ASAN_OPTIONS", "quarantine_size_mb=8")
    daemon = make_daemon().start()
    slow, fast = subscribe(daemon, 2)
    begin = version_of(daemon)
    name = "n" * 250
    make(daemon, name)
    slow.signal(signal.SIGSTOP)
    count = REMEMBERED + 1000
    daemon.os.execute(TOUCH, {"path": daemon / name, "count": count})
    before = memory(daemon)
    daemon.os.execute(TOUCH, {"path": daemon / name, "count": count})
    make(daemon, "end")
    # The list was full before; what grows now would grow for ever.
    grown = memory(daemon) - before
    assert grown < 64 << 20, "%d bytes for %d changes that one does not read" % (grown, count)
    assert fast.wait_path("end")[-1]["version"] == version_of(daemon)
    last = version_of(daemon)
    slow.signal(signal.SIGCONT)
    records = slow.wait_path("end")
    missed = [record["count"] for record in records if record["operation"] == "missed"]
    told = [record["version"] for record in records if record["operation"] != "missed" and record["version"] > begin]
    assert missed and sum(missed) + len(told) == last - begin
    assert told == sorted(told) and told[-REMEMBERED:] == list(range(last - REMEMBERED + 1, last + 1))
    late = Feed(daemon, "--since", str(begin)).wait_path("end")
    assert late[0] == {"operation": "missed", "count": last - begin - REMEMBERED}
    assert [record["version"] for record in late[1:]] == list(range(last - REMEMBERED + 1, last + 1))


def test_before_a_restart(daemon):
    """What was made before the daemon started is not remembered, and that is told."""
    begin = version_of(daemon)
    for number in range(5):
        make(daemon, "before%d" % number)
    daemon.restart()
    make(daemon, "after")
    records = Feed(daemon, "--since", str(begin)).wait_path("after")
    assert records[0] == {"operation": "missed", "count": 5}
    assert [record["path"] for record in records[1:]] == ["after"]
