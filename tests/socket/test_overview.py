# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests 101 to 104: what the daemon tells of itself, its locks, and who asks for what (doc/ipc.md)."""

import errno
import json

import pytest
from harness import wait_for
from ipc_client import Client

OVERVIEW, LOCKS, VERIFY, ACTIVITY = 101, 102, 103, 104


def ask(client, number):
    reply = client.ask(number)
    assert reply.error == 0
    return json.loads(reply.data)


def test_rights_and_sizes(root, reader):
    for number in (LOCKS, VERIFY, ACTIVITY):
        assert reader.ask(number).error == errno.EPERM
        assert root.ask(number, b"x").error == errno.EINVAL
    assert reader.ask(OVERVIEW).error == 0
    assert reader.ask(OVERVIEW, b"x").error == errno.EINVAL
    assert root.ask(106).error == errno.ECHRNG


def test_overview(daemon, root):
    daemon.os.write_file(daemon / "file", b"x" * 100)
    daemon.os.makedirs(daemon / "priv/lock/one")
    before = ask(root, OVERVIEW)
    assert (before["node"], before["local"], before["quorate"], before["joined"]) == ("node1", True, True, True)
    assert (before["state"], before["database_ok"], before["mountpoint"]) == ("in sync", True, daemon.mountpoint)
    assert before["started"] <= before["quorate_since"] + 1 and before["pid"] == daemon.pid
    assert before["sizes"]["content"] == {"used": 100, "limit": 128 << 20}
    assert before["sizes"]["entries"] == {"used": 5, "limit": 262144}
    assert before["sizes"]["database"]["config.db"] > 0
    assert (before["locks"], before["guests"]) == (1, 0)
    assert set(before["queues"].values()) == {0}
    (member,) = before["group"]
    assert (member["name"], member["id"], member["in_sync"], member["confirms"]) == ("node1", 0, True, True)
    assert before["acknowledge"] == "own"
    daemon.os.makedirs(daemon / "nodes/a/lxc")
    daemon.os.write_file(daemon / "nodes/a/lxc/100.conf", b"x")
    after = ask(root, OVERVIEW)
    assert after["guests"] == 1
    assert after["versions"]["tree"] == before["versions"]["tree"] + 5
    assert after["versions"]["vmlist"] == before["versions"]["vmlist"] + 2


@pytest.mark.parametrize("value, expected", [
    (b'{"version":"8.2.4","release":"8.2"}', "8.2.4"), (b'{"version":"1"}\0', "1"), (b'{"version":8}', None), (b"{", None), (b"[]", None),
])
def test_releases(root, value, expected):
    """Our own release, and what clients say of the host's other software."""
    overview = ask(root, OVERVIEW)
    (member,) = overview["group"]
    assert member["release"] == overview["release"] and member["host_version"] is None
    assert root.set_status("version-info", value) == 0
    assert ask(root, OVERVIEW)["group"][0]["host_version"] == expected
    assert root.set_status("version-info", b"") == 0
    assert root.set_status("pmxcfs-release", b"9\0") == errno.EINVAL
    assert root.get_status("pmxcfs-release").error == errno.ENOENT


def test_locks(daemon):
    daemon.restart("--lock-lifetime", "0.2")
    root = Client(daemon)
    assert ask(root, LOCKS) == []
    daemon.os.makedirs(daemon / "priv/lock/one")
    (lock,) = ask(root, LOCKS)
    assert (lock["path"], lock["node"]) == ("priv/lock/one", "node1")
    wait_for(lambda: ask(root, LOCKS)[0]["expired"], "the lock expires")
    assert ask(root, LOCKS)[0]["age"] > 0.2
    daemon.os.rmdir(daemon / "priv/lock/one")
    assert ask(root, LOCKS) == []
    root.close()


def test_metrics(daemon, root, reader):
    """The same text as in the mount, for readers too."""
    for client in (root, reader):
        assert client.ask(105).data.startswith(b"# TYPE pmxcfs_build info\n") and client.ask(105).data.endswith(b"# EOF\n")
    names = [[line.split()[2] for line in text.splitlines() if line.startswith(b"# TYPE")] for text in (root.ask(105).data, daemon.os.read_file(daemon / ".metrics"))]
    assert names[0] == names[1]
    assert root.ask(105, b"x").error == errno.EINVAL


def test_who_has_a_lock(daemon, root):
    """The process that took or renewed it; of others that tried nothing is said; and whether it has ended."""
    path = daemon / "priv/lock/one"
    daemon.os.makedirs(path)
    own = daemon.os.getpid()
    (lock,) = ask(root, LOCKS)
    assert lock["holder"]["pid"] == own and lock["holder"]["command"].startswith("python3") and lock["holder"]["alive"]
    assert daemon.run(["mkdir", path]).returncode == 1
    assert ask(root, LOCKS)[0]["holder"]["pid"] == own
    daemon.run(["touch", path], check=True)
    holder = ask(root, LOCKS)[0]["holder"]
    assert holder["pid"] != own and holder["command"] == "" and not holder["alive"]
    daemon.kill()
    daemon.start()
    fresh = Client(daemon)
    assert ask(fresh, LOCKS)[0]["holder"] is None
    fresh.close()
    root.close()


def test_local_mode_has_nothing_to_verify(root):
    assert root.ask(VERIFY).error == errno.EOPNOTSUPP


def test_activity(daemon, root):
    daemon.os.mkdir(daemon / "unwatched")
    assert ask(root, ACTIVITY) == {"milliseconds": 0, "more": 0, "rows": []}
    daemon.os.mkdir(daemon / "d")
    for _ in range(3):
        daemon.os.write_file(daemon / "d/file", b"x")
    root.config("/d/file")
    rows = ask(root, ACTIVITY)["rows"]
    found = {(row["operation"], row["path"]): row for row in rows}
    assert not any("unwatched" in row["path"] for row in rows)
    assert found["mkdir", "d"]["count"] == 1
    assert found["create", "d/file"]["count"] == 1
    write = found["write", "d/file"]
    assert write["count"] == 3 and write["pid"] == found["mkdir", "d"]["pid"] > 0
    assert write["command"].startswith("python")
    assert found["config", "/d/file"]["count"] == 1
    rows = ask(root, ACTIVITY)["rows"]
    assert [row["operation"] for row in rows] == ["activity"], "what was told is told once"


@pytest.mark.parametrize("count", [1200])
def test_activity_is_bounded(daemon, root, count):
    ask(root, ACTIVITY)
    daemon.os.execute("for number in range(count):\n    os.mkdir('%s/%d' % (path, number))\n",
                      {"path": daemon.mountpoint, "count": count})
    told = ask(root, ACTIVITY)
    assert len(told["rows"]) == 1000
    assert told["more"] + sum(row["count"] for row in told["rows"]) >= 2 * count


def test_answers_while_all_changes(daemon, root):
    """Many processes at once; every answer is whole, and what was counted adds up."""
    change = """
for number in range(count):
    path = "%s/%d" % (directory, number % 20)
    os.mkdir(path)
    os.stat(path)
    os.rmdir(path)
"""
    daemon.os.makedirs(daemon / "priv/lock")
    directories = [daemon / "priv/lock", daemon / "a", daemon / "b"]
    for directory in directories[1:]:
        daemon.os.mkdir(directory)
    ask(root, ACTIVITY)
    workers = [daemon.worker().start("execute", change, {"directory": directory, "count": 150}) for directory in directories]
    counted = 0
    reader = daemon.worker()
    while not all(worker.done() for worker in workers):
        told = ask(root, ACTIVITY)
        counted += sum(row["count"] for row in told["rows"] if row["operation"] in ("mkdir", "rmdir")) + told["more"]
        assert len(ask(root, OVERVIEW)["group"]) == 1
        assert all(lock["path"].startswith("priv/lock/") for lock in ask(root, LOCKS))
        assert reader.read_file(daemon / ".metrics").endswith(b"# EOF\n")
    for worker in workers:
        worker.result()
    told = ask(root, ACTIVITY)
    counted += sum(row["count"] for row in told["rows"] if row["operation"] in ("mkdir", "rmdir")) + told["more"]
    assert counted >= 2 * 150 * 3
