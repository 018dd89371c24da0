# SPDX-License-Identifier: GPL-3.0-or-later
"""Guest properties: requests 11 and 13."""

import errno
import json
import struct

import pytest
from ipc_client import text


@pytest.fixture
def daemon(reused_daemon):
    return reused_daemon

KINDS = {"qemu": "qemu-server", "lxc": "lxc", "openvz": "openvz"}


def path_of(daemon, guest, node="node1", kind="qemu"):
    return daemon / ("nodes/%s/%s/%d.conf" % (node, KINDS[kind], guest))


def put(daemon, guest, content, **where):
    path = path_of(daemon, guest, **where)
    daemon.os.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
    daemon.os.write_file(path, content if isinstance(content, bytes) else content.encode())


def found(reply):
    assert reply.error == 0 and reply.data and b"\0" not in reply.data
    return json.loads(reply.data.decode("utf-8", "strict"))


def test_one_property(daemon, root, reader):
    put(daemon, 100, "name: web\nlock: backup\n")
    put(daemon, 101, "hostname: ct\n", kind="lxc")
    put(daemon, 102, "lock: x\n", node="node2", kind="openvz")
    for client in (root, reader):
        assert found(client.property(100, "name")) == {"100": {"name": "web"}}
        assert found(client.property(101, "hostname")) == {"101": {"hostname": "ct"}}
        assert found(client.property(0, "lock")) == {"100": {"lock": "backup"}, "102": {"lock": "x"}}
        assert found(client.property(100, "hostname")) == {}
        assert found(client.property(0, "nothing")) == {}


def test_several_properties(daemon, root, reader):
    put(daemon, 100, "name: web\nlock: backup\ntags: a;b\n")
    put(daemon, 4294967295, "tags: c\nother: d\n")
    put(daemon, 102, "other: d\n")
    for client in (root, reader):
        assert found(client.properties(0, "lock", "tags")) == {"100": {"lock": "backup", "tags": "a;b"}, "4294967295": {"tags": "c"}}
        assert found(client.properties(100, "tags")) == {"100": {"tags": "a;b"}}
        assert found(client.properties(102, "tags", "lock")) == {}
        assert found(client.properties(100, "tags", "tags")) == {"100": {"tags": "a;b"}}


@pytest.mark.parametrize("content, value", [
    ("name: v\n", "v"),
    ("name:v\n", "v"),
    ("name:\t \x0b\x0c v w \t\r\x0b\n", "v w"),
    ("name: v", "v"),  # the last line without a newline
    ("x: y\n\n# c\nname: a:b: c\n", "a:b: c"),
    ("name: 1\nname: 2\n", "2"),
    ("name: 1\nname: \nx: y\n", "1"),  # white space only is no value
    ("name:\n", None),
    ("name: \t\x0b\n", None),
    ("name:", None),
    ("name", None),
    ("", None),
    ("names: v\n", None),
    ("nam: v\n", None),
    (" name: v\n", None),
    ("name : v\n", None),
    ("#name: v\n", None),
    ("[snapshot]\nname: v\n", None),
    ("name: v\n[snapshot]\nname: w\n", "v"),
    ("x: y\n [no section\nname: v\n", "v"),
    ("name: \xe4\u20ac\U0001f600\n", "\xe4\u20ac\U0001f600"),
    ("name: \"\\/\x01\x1f\x7f\n", "\"\\/\x01\x1f\x7f"),
    (b"name: a\xff\xfeb\n", "a\ufffd\ufffdb"),
    (b"name: \xc3\n", "\ufffd"),
    (b"name: \xed\xa0\x80x\n", None),  # a lone surrogate: whatever stands for it
])
def test_values(daemon, root, content, value):
    put(daemon, 100, content)
    put(daemon, 101, "name: good\n")
    for reply in (root.property(100, "name"), root.properties(100, "name")):
        answer = found(reply)
        if isinstance(content, bytes) and value is None:
            assert answer["100"]["name"].endswith("x")
        else:
            assert answer == ({} if value is None else {"100": {"name": value}})
    assert found(root.property(0, "name"))["101"] == {"name": "good"}


def test_bytes_that_are_no_text(daemon, root):
    """Whatever is in one configuration, the reply for all is valid."""
    put(daemon, 100, b"name: " + bytes(set(range(256)) - {10}) + b"\n")
    put(daemon, 101, "name: good\n")
    put(daemon, 102, b"na\0me: x\nname: \0\n")
    answer = found(root.properties(0, "name"))
    assert answer["101"] == {"name": "good"}
    assert set(answer) >= {"100", "101"}
    assert root.property(0, b"\xff\xfe").error == 0


def test_no_such_guest(daemon, root):
    for guest in (100, 12345, 4294967295):
        assert root.property(guest, "name").error == errno.ENOENT
        assert root.properties(guest, "name").error == errno.ENOENT
    assert found(root.property(0, "name")) == {}
    assert found(root.properties(0, "name")) == {}


@pytest.mark.parametrize("guest", [1, 50, 99])
def test_guest_ids_that_cannot_be(root, guest):
    assert root.property(guest, "name").error == errno.EINVAL
    assert root.properties(guest, "name").error == errno.EINVAL


@pytest.mark.parametrize("data", [b"", b"\0" * 4, b"\0" * 5, b"\0\0\0\0name", b"\0\0\0\0na\0me\0", b"\0\0\0"])
def test_malformed_property_requests(root, data):
    assert root.ask(11, data).error == errno.EINVAL


@pytest.mark.parametrize("count, names", [
    (0, b""), (0, b"name\0"), (1, b""), (1, b"name"), (1, b"\0"), (1, b"Name\0"), (1, b"0name\0"), (1, b"_name\0"),
    (2, b"name\0"), (1, b"name\0x\0"), (2, b"name\0X\0"), (2, b"name\0\0"), (255, b"n\0" * 254), (1, b"name\0\0")])
def test_malformed_properties_requests(root, count, names):
    assert root.ask(13, struct.pack("<IB", 0, count) + names).error == errno.EINVAL


def test_many_names(daemon, root):
    put(daemon, 100, "n254: v\n")
    names = ["n%d" % number for number in range(255)]
    assert found(root.properties(0, *names)) == {"100": {"n254": "v"}}
    assert found(root.properties(100, *names)) == {"100": {"n254": "v"}}
    assert root.ask(13, struct.pack("<IB", 0, 1) + text("n" * 100000)).error == errno.EINVAL


def test_names_that_resemble_each_other(daemon, root):
    """Beginnings of each other, the same twice, and lines that have no colon or are in no order."""
    put(daemon, 100, "name\nnam: 1\nnamesake\nnames: 2\nna\nname: 3\nb: 4\nname: 5\nn: \na name: 6\nname 7: 8\n:9\nname::10\nnames: 11")
    lines = {"nam": "1", "names": "11", "name": ":10", "b": "4"}
    lists = [("name",), ("nam", "name", "names"), ("names", "name", "nam", "na", "n"), ("name", "name"), ("nam", "names", "nam", "b", "names"),
             ("n", "na", "namesake", "name7", "a", "x" * 200), tuple("n" + "a" * number for number in range(50)) + ("b", "names", "b")]
    for names in lists:
        expected = {name: lines[name] for name in names if name in lines}
        for guest in (0, 100):
            answer = found(root.properties(guest, *names))
            assert answer == ({"100": expected} if expected else {})
            assert list(answer.get("100", {})) == list(expected)  # each where it was asked for first


def test_names_that_end_before_the_word(daemon, root):
    """A NUL in a line is a byte as any other."""
    put(daemon, 100, b"na\0me: x\nna\0" + b"y" * 500 + b": z\n")
    for guest in (0, 100):
        assert found(root.properties(guest, "na", "name")) == {}


def test_changes_are_seen_at_once(daemon, root):
    """Whatever is remembered, a reply tells what is there now."""
    expected = {}

    def check():
        assert found(root.property(0, "name")) == {guest: {"name": name} for guest, name in expected.items()}
        assert found(root.properties(0, "name", "tags")) == {guest: {"name": name} for guest, name in expected.items()}

    for guest in range(100, 120):
        put(daemon, guest, "name: n%d\n" % guest)
        expected[str(guest)] = "n%d" % guest
    check()
    check()
    put(daemon, 105, "name: changed\n")  # a write
    expected["105"] = "changed"
    check()
    daemon.os.unlink(path_of(daemon, 106))
    del expected["106"]
    check()
    put(daemon, 106, "name: again\n", kind="lxc")
    expected["106"] = "again"
    check()
    daemon.os.makedirs(daemon / "nodes/node2/qemu-server")
    daemon.os.rename(path_of(daemon, 107), path_of(daemon, 107, node="node2"))
    check()
    daemon.os.truncate(path_of(daemon, 108), 4)
    del expected["108"]
    check()
    daemon.os.write_file(daemon / "new", b"name: renamed\n")
    daemon.os.rename(daemon / "new", path_of(daemon, 109))
    expected["109"] = "renamed"
    check()
    daemon.os.rename(path_of(daemon, 110), daemon / "gone")
    del expected["110"]
    check()
    daemon.os.unlink(path_of(daemon, 111))
    put(daemon, 130, "x: y\n")
    del expected["111"]
    check()


def test_more_lists_of_names_than_are_remembered(daemon, root):
    put(daemon, 100, "".join("n%d: v%d\n" % (number, number) for number in range(30)))
    for _ in range(3):
        for number in range(30):
            assert found(root.property(0, "n%d" % number)) == {"100": {"n%d" % number: "v%d" % number}}


def test_reply_that_is_too_large(daemon, root):
    """EMSGSIZE, the connection lives, and it is served again once it fits."""
    for guest in range(100, 103):
        put(daemon, guest, "name: %s\n" % ("x" * 400000))
    for _ in range(2):
        assert root.property(0, "name").error == errno.EMSGSIZE
    assert found(root.property(100, "name")) == {"100": {"name": "x" * 400000}}
    put(daemon, 101, "name: y\n")
    assert set(found(root.property(0, "name"))) == {"100", "101", "102"}
    put(daemon, 103, b"name: %s\n" % (b"\x01" * 200000))  # six bytes each in JSON
    assert root.property(103, "name").error == errno.EMSGSIZE
    assert root.property(0, "name").error == errno.EMSGSIZE
