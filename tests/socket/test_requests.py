# SPDX-License-Identifier: GPL-3.0-or-later
"""Every request of doc/ipc.md, right and wrong."""

import errno
import json
import struct
import time

import pytest
from harness import wait_for
from ipc_client import field, text


@pytest.fixture
def daemon(reused_daemon):
    return reused_daemon


def json_of(reply):
    """The object of a JSON reply: never empty, valid UTF-8, control characters escaped (the parser
    refuses others), no trailing NUL."""
    assert reply.error == 0 and reply.data and b"\0" not in reply.data
    return json.loads(reply.data.decode("utf-8", "strict"))


# Status texts

@pytest.mark.parametrize("number, path", [(1, ".version"), (2, ".members"), (3, ".vmlist")])
def test_status_texts_are_those_of_the_mount(daemon, root, reader, number, path):
    for client in (root, reader):
        assert json_of(client.ask(number)) == json.loads(daemon.os.read_file(daemon / path))


def test_version(daemon, root):
    before = json_of(root.ask(1))
    assert {"starttime", "clinfo", "vmlist", "kvstore", "user.cfg"} <= set(before)
    daemon.os.write_file(daemon / "user.cfg", b"a")
    assert json_of(root.ask(1))["user.cfg"] > before["user.cfg"]


def test_members(root):
    assert json_of(root.ask(2))["nodename"] == "node1"


def test_guests(daemon, root):
    assert list(json_of(root.ask(3))) == ["version"]
    daemon.os.makedirs(daemon / "nodes/node1/qemu-server")
    daemon.os.write_file(daemon / "nodes/node1/qemu-server/100.conf", b"name: a\n")
    guests = json_of(root.ask(3))["ids"]
    assert guests["100"]["node"] == "node1" and guests["100"]["type"] == "qemu"


@pytest.mark.parametrize("number", [1, 2, 3, 10])
def test_texts_take_no_data(root, number):
    assert root.ask(number, b"\0").error == errno.EINVAL
    assert root.ask(number).error == 0


# Key/value status

@pytest.mark.parametrize("value", [b"v", b"a text", bytes(range(256)), b"\0", b"x" * 32768])
def test_values_come_back_as_set(root, reader, value):
    assert root.set_status("name", value) == 0
    assert root.get_status("name") == (0, value)
    assert reader.get_status("name", "node1") == (0, value)
    assert root.get_status("name", "other").error == errno.ENOENT


def test_value_versions(root):
    def version():
        return json_of(root.ask(1))["kvstore"].get("node1", {}).get("name")

    assert version() is None
    for expected in range(3):
        assert root.set_status("name", b"%d" % expected) == 0
        assert version() == expected
    assert root.set_status("name", b"") == 0
    assert version() is None
    assert root.get_status("name").error == errno.ENOENT


def test_values_that_are_refused(root):
    assert root.set_status("name", b"x" * 32769) == errno.EFBIG
    assert root.ask(4, b"").error == errno.EINVAL
    assert root.ask(4, b"name\0").error == errno.EINVAL
    assert root.ask(4, field("name")[:255]).error == errno.EINVAL
    assert root.ask(4, b"x" * 256 + b"value").error == errno.EINVAL  # a name without an end
    assert root.set_status("nodeip", b"192.0.2.1") == errno.EINVAL  # no NUL
    assert root.set_status("rrd/pve2-node/x", b"1:2") == errno.EINVAL
    assert root.set_status("rrd/pve2-node/x", b"1" * 4096 + b"\0") == errno.EINVAL
    assert root.get_status("name").error == errno.ENOENT


def test_value_of_any_size_leaves_the_connection(root):
    assert root.ask(4, field("name") + b"x" * 1000000).error == errno.EFBIG
    assert root.set_status("name", b"y") == 0


def test_names(root):
    assert root.set_status("n" * 255, b"v") == 0
    assert root.get_status("n" * 255) == (0, b"v")
    assert root.set_status("\xe4 name/with all", b"v") == 0
    assert root.get_status("\xe4 name/with all") == (0, b"v")
    json_of(root.ask(1))
    assert root.set_status(b"\xff\xfe", b"v") in (0, errno.EINVAL)
    json_of(root.ask(1))


@pytest.mark.parametrize("size", [0, 1, 256, 511, 513])
def test_get_status_of_another_size(root, size):
    assert root.ask(5, b"\0" * size).error == errno.EINVAL


def test_special_names_are_no_values(root):
    assert root.set_status("nodeip", b"192.0.2.77\0") == 0
    assert root.set_status("rrd/pve2-storage/node1/x", b"%d:1:2\0" % int(time.time())) == 0
    assert root.get_status("nodeip").error == errno.ENOENT
    assert root.get_status("rrd/pve2-storage/node1/x").error == errno.ENOENT
    assert json_of(root.ask(1))["kvstore"].get("node1", {}) == {}


# Configurations

def test_files(daemon, root):
    daemon.os.makedirs(daemon / "nodes/node1/a")
    for path, content in [("user.cfg", b"users\n"), ("nodes/node1/a/b", bytes(range(256)) * 16), ("empty", b"")]:
        daemon.os.write_file(daemon / path, content)
        for form in (path, "/" + path, "///" + path.replace("/", "//")):
            assert root.config(form) == (0, content)


@pytest.mark.parametrize("path", [
    "", "/", "no", "nodes", "nodes/", "nodes/node1", "user.cfg/", "user.cfg/x", "./user.cfg", "nodes/../user.cfg", "local",
    "local/file", "qemu-server", "lxc", "openvz", ".version", ".members", ".vmlist", ".clusterlog", ".rrd", ".debug",
    "/.version", "//local//file"])
def test_no_files(daemon, root, reader, path):
    daemon.os.makedirs(daemon / "nodes/node1")
    daemon.os.write_file(daemon / "nodes/node1/file", b"x")
    daemon.os.write_file(daemon / "user.cfg", b"x")
    assert root.config(path).error == errno.ENOENT
    assert reader.config(path).error == errno.ENOENT


@pytest.mark.parametrize("data", [b"", b"user.cfg", b"user.cfg\0x", b"user.cfg\0\0", b"\0\0"])
def test_malformed_paths(daemon, root, data):
    daemon.os.write_file(daemon / "user.cfg", b"x")
    assert root.ask(6, data).error == errno.EINVAL


def test_largest_file(daemon, root):
    """What does not fit a reply is an error, and the connection lives."""
    content = bytes(1048552)
    daemon.os.write_file(daemon / "large", content)
    assert root.config("large") == (0, content)
    daemon.os.write_file(daemon / "large", content + b"\0")
    assert root.config("large") == (errno.EMSGSIZE, b"")
    daemon.os.write_file(daemon / "large", bytes(1048576))
    assert root.config("large").error == errno.EMSGSIZE
    daemon.os.write_file(daemon / "large", content)
    assert root.config("large") == (0, content)


def test_long_path(root):
    assert root.config("a/" * 100000 + "b").error == errno.ENOENT
    assert root.config("/" * 1000000).error == errno.ENOENT


# Cluster log

def entries(client, *arguments):
    return json_of(client.cluster_log(*arguments))["data"]


def test_log(root, reader):
    before = int(time.time())
    assert root.log(3, "me@pam", "tag", "a message \xe4\n\"\\") == 0
    (entry, first) = entries(reader)
    assert first["msg"] == "starting cluster log" and first["user"] == "root" and first["tag"] == "cluster"
    assert (entry["pri"], entry["user"], entry["tag"], entry["node"]) == (3, "me@pam", "tag", "node1")
    assert before <= entry["time"] <= time.time()
    assert entry["pid"] == root.pid_inside()
    assert entry["msg"].startswith("a message \xe4") and '"' in entry["msg"]


def test_log_is_that_of_the_mount(daemon, root):
    root.log(6, "a", "b", "c")
    assert entries(root) == json.loads(daemon.os.read_file(daemon / ".clusterlog"))["data"]


def test_log_selection(root):
    for number in range(60):
        assert root.log(6, "even" if number % 2 == 0 else "odd", "tag", "number %d" % number) == 0
    assert len(entries(root)) == 50
    assert len(entries(root, 100)) == 61
    assert [entry["msg"] for entry in entries(root, 2)] == ["number 59", "number 58"]
    assert [entry["msg"] for entry in entries(root, 2, "even")] == ["number 58", "number 56"]
    assert entries(root, 0, "nobody") == []
    assert len(entries(root, 0xffffffff)) == 61


@pytest.mark.parametrize("data", [
    b"", b"\6", b"\6\1\1", b"\6\1\1\0\0",
    bytes([8, 2, 2]) + b"a\0b\0c\0",  # priority
    bytes([255, 2, 2]) + b"a\0b\0c\0",
    bytes([6, 0, 2]) + b"b\0c\0",  # no ident
    bytes([6, 2, 0]) + b"a\0c\0",
    bytes([6, 2, 2]) + b"a\0b\0c",  # no NUL at the end
    bytes([6, 2, 2]) + b"a\0b\0",
    bytes([6, 3, 2]) + b"a\0b\0c\0",  # a length that is wrong
    bytes([6, 2, 3]) + b"a\0b\0c\0",
    bytes([6, 1, 2]) + b"a\0b\0c\0",
    bytes([6, 255, 255]) + b"a\0b\0c\0",
    bytes([6, 2, 2]) + b"a\0b\0c\0d\0"])
def test_malformed_logs(root, data):
    assert root.ask(7, data).error == errno.EINVAL
    assert len(entries(root)) == 1


def test_log_sizes(root):
    assert root.log(7, "i" * 254, "t" * 254, "m" * 900000) == 0
    assert root.log(0, "", "", "") == 0
    newest, long, _ = entries(root)
    assert (newest["user"], newest["tag"], newest["msg"]) == ("", "", "")
    assert long["user"] == "i" * 254 and 3000 < len(long["msg"]) < 4096


@pytest.mark.parametrize("data", [b"", b"\0" * 4, b"\0" * 16, b"\0" * 16 + b"user", b"\0" * 16 + b"us\0er\0"])
def test_malformed_log_selections(root, data):
    assert root.ask(8, data).error == errno.EINVAL


# RRD

def test_rrd_dump(daemon, root):
    assert root.ask(10) == (0, b"\0")
    value = b"%d:1000:500" % int(time.time())
    assert root.set_status("rrd/pve2-storage/node1/local", value + b"\0") == 0

    def shown():
        reply = root.ask(10)
        assert reply.error == 0 and reply.data.endswith(b"\0") and b"\0" not in reply.data[:-1]
        return reply.data[:-1]

    assert wait_for(shown, "the value in .rrd") == b"pve2-storage/node1/local:" + value + b"\n"
    assert daemon.os.read_file(daemon / ".rrd") == shown()


# Tokens

def test_tokens(daemon, root):
    assert root.verify_token("a") == errno.ENOENT  # no file
    daemon.os.makedirs(daemon / "priv")
    daemon.os.write_file(daemon / "priv/token.cfg", b"first 1\n\nsecond 2\r\n third 3\nlast 4")
    for token, error in [("first 1", 0), ("last 4", 0), ("second 2\r", 0), (" third 3", 0)]:
        assert root.verify_token(token) == error
    for token in ("first", "irst 1", "first 1 ", "second 2", "third 3", "last", "last 4x", "x"):
        assert root.verify_token(token) == errno.ENOENT


@pytest.mark.parametrize("data", [b"", b"\0", b"token", b"a\nb\0", b"\n\0", b"a\n\0", b"a\0b\0", b"a\0\0"])
def test_malformed_tokens(daemon, root, data):
    daemon.os.makedirs(daemon / "priv")
    daemon.os.write_file(daemon / "priv/token.cfg", b"a\nb\ntoken\n")
    assert root.ask(12, data).error == errno.EINVAL


def test_token_success_has_no_data(daemon, root):
    daemon.os.makedirs(daemon / "priv")
    daemon.os.write_file(daemon / "priv/token.cfg", b"a\n")
    assert root.ask(12, text("a")) == (0, b"")


# Any request

@pytest.mark.parametrize("number", [0, 9, 14, 50, 255, 65536, 0x7fffffff, -2, -0x80000000])
def test_unknown_requests(root, reader, number):
    for client in (root, reader):
        assert client.ask(number).error == errno.ECHRNG
        assert client.ask(number, b"some data").error == errno.ECHRNG


@pytest.mark.parametrize("size", [0, 1, 15, 18, 100, 1048576, 1048577, 0x7fffffff, -1, -0x80000000])
def test_claimed_sizes(root, size):
    """A header that claims more than arrived, less than itself, or nonsense."""
    for number in (1, 4, 6, 7, 13):
        assert root.claim(number, size, b"\0").error == errno.EINVAL
    assert root.ask(1).error == 0


def test_claimed_size_below_what_arrived(root):
    """What the header does not count is not there."""
    assert root.claim(1, 16, b"garbage").error == 0


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 11, 12, 15])
def test_truncated_headers(root, reader, size):
    header = struct.pack("<iiii", 1, 0, 16, 0)
    for client in (root, reader):
        assert client.raw(header[:size]).error == errno.EINVAL
        assert client.ask(1).error == 0


def test_truncated_requests_at_any_place_of_the_ring(root):
    """The ring's end, where a request's own header is at its other end, comes by often."""
    for size in list(range(1, 64)) * 40:
        data = text("x" * (1000 + size))
        assert root.claim(6, len(data) + 16 + 1, data).error == errno.EINVAL
        assert root.ask(6, data).error == errno.ENOENT


def test_largest_request(root):
    assert root.ask(6, text("x" * (1048576 - 16 - 1))).error == errno.ENOENT
    with pytest.raises(OSError) as caught:
        root.ask(6, text("x" * (1048576 - 16)))
    assert caught.value.errno == errno.EMSGSIZE  # libqb's client itself
    assert root.ask(1).error == 0
