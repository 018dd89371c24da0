# SPDX-License-Identifier: GPL-3.0-or-later
"""The change feed: request 100 and its events."""

import errno
import time

import pytest


def test_events(daemon, root):
    """One for each change, in order, with what it did; none of what was before."""
    daemon.os.write_file(daemon / "before", b"x")
    assert root.subscribe() == 0
    start = int(time.time())
    daemon.os.mkdir(daemon / "d")
    descriptor = daemon.os.open(daemon / "d/f", 0o101, 0o640)
    daemon.os.write(descriptor, b"content")
    daemon.os.close(descriptor)
    daemon.os.rename(daemon / "d/f", daemon / "g")
    daemon.os.unlink(daemon / "g")
    daemon.os.rmdir(daemon / "d")
    events = [root.event() for _ in range(6)]
    assert [(event["operation"], event["path"], event.get("target"), event["size"]) for event in events] == [
        ("mkdir", "d", None, 0), ("create", "d/f", None, 0), ("write", "d/f", None, 7), ("rename", "d/f", "g", 7),
        ("delete", "g", None, 0), ("delete", "d", None, 0)]
    versions = [event["version"] for event in events]
    assert versions == list(range(versions[0], versions[0] + 6))
    assert all(start <= event["time"] <= time.time() for event in events)
    with pytest.raises(OSError):
        root.event(100)
    assert root.ask(1).error == 0


def test_since(daemon, root, connect):
    assert root.subscribe() == 0
    for number in range(5):
        daemon.os.mkdir(daemon / ("d%d" % number))
    versions = [root.event()["version"] for _ in range(5)]
    for position in range(5):
        later = connect()
        assert later.subscribe(versions[position]) == 0
        assert [later.event()["path"] for _ in range(4 - position)] == ["d%d" % number for number in range(position + 1, 5)]
    assert later.subscribe(versions[2]) == 0  # anew
    assert later.event()["path"] == "d3"
    future = connect()
    assert future.subscribe(versions[4] + 1000000) == 0
    with pytest.raises(OSError):
        future.event(100)


def test_private_paths(daemon, root, reader):
    assert root.subscribe() == 0 and reader.subscribe() == 0
    daemon.os.mkdir(daemon / "priv")
    daemon.os.mkdir(daemon / "priv/secret")
    daemon.os.rename(daemon / "priv/secret", daemon / "public")
    daemon.os.mkdir(daemon / "last")
    assert [root.event()["path"] for _ in range(4)] == ["priv", "priv/secret", "priv/secret", "last"]
    assert reader.event()["path"] == "last"


@pytest.mark.parametrize("size", [1, 7, 9, 16, 1000])
def test_malformed_subscriptions(root, size):
    assert root.ask(100, bytes(size)).error == errno.EINVAL
    with pytest.raises(OSError):
        root.event(50)
    assert root.subscribe() == 0


def test_slow_subscriber(daemon, root, connect):
    """It is told how many it missed; what it gets and what it missed are all there were. Nobody else notices."""
    slow = connect()
    assert slow.subscribe() == 0 and root.subscribe() == 0
    count = 25000
    daemon.os.mkdir(daemon / "d")
    daemon.os.execute("for i in range(count // 2):\n    os.mkdir(path)\n    os.rmdir(path)",
                      {"count": count, "path": str(daemon / "d/e")})
    assert root.ask(1).error == 0
    seen = missed = 0
    last = None
    while seen + missed < count + 1:
        event = slow.event()
        if event["operation"] == "missed":
            missed += event["count"]
        else:
            seen += 1
            assert last is None or event["version"] > last
            last = event["version"]
    assert seen + missed == count + 1 and missed > 0
    daemon.os.mkdir(daemon / "end")
    assert slow.event()["path"] == "end"


def test_subscribers_that_go(daemon, root, connect):
    for number in range(5):
        clients = [connect() for _ in range(3)]
        for client in clients:
            assert client.subscribe() == 0
        daemon.os.mkdir(daemon / ("d%d" % number))
        clients[0].kill()
        assert clients[1].event()["path"] == "d%d" % number
    assert root.ask(1).error == 0
