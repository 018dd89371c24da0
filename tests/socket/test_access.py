# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may connect to the local socket, and what they may ask."""

import errno

import pytest
from harness import GROUP_ID, NOBODY, wait_for
from ipc_client import Client, Refused, field, text


@pytest.fixture
def daemon(reused_daemon):
    return reused_daemon


def make_private(daemon):
    daemon.os.makedirs(daemon / "priv", exist_ok=True)


def refused(daemon, **keywords):
    with pytest.raises(Refused) as caught:
        Client(daemon, **keywords)
    return caught.value.args[0]


@pytest.mark.parametrize("uid, gid, groups", [
    (NOBODY, NOBODY, ()),
    (0, NOBODY, ()),
    (NOBODY, 0, ()),
    (NOBODY, NOBODY, (GROUP_ID,)),  # the group counts, not those beside it
    (GROUP_ID, NOBODY, ()),
])
def test_others_are_refused_and_logged(daemon, uid, gid, groups):
    assert refused(daemon, uid=uid, gid=gid, groups=groups) == errno.EACCES
    wait_for(lambda: "connection of uid %d, gid %d refused" % (uid, gid) in daemon.log_since_start(), "the refusal in the log")


def test_refusals_leave_nothing(daemon, other):
    for _ in range(3):
        refused(daemon, **other)
    wait_for(lambda: daemon.os.listdir("/dev/shm") == [], "an empty /dev/shm")


@pytest.mark.parametrize("uid", [GROUP_ID, NOBODY, 0])
def test_group_may_read_and_not_write(daemon, connect, uid):
    client = connect(uid=uid, gid=GROUP_ID)
    assert client.ask(1).error == 0
    assert client.set_status("name", b"value") == errno.EPERM
    assert client.ask(4, b"short").error == errno.EPERM
    assert client.log(6, "root", "tag", "message") == errno.EPERM
    assert client.ask(7).error == errno.EPERM
    assert client.get_status("name").error == errno.ENOENT


def test_private_files_are_roots(daemon, root, reader):
    make_private(daemon)
    daemon.os.write_file(daemon / "priv/secret", b"s")
    daemon.os.makedirs(daemon / "nodes/node1/priv")
    daemon.os.write_file(daemon / "nodes/node1/priv/key", b"k")
    daemon.os.write_file(daemon / "public", b"p")
    daemon.os.write_file(daemon / "privat", b"p")
    for path, content in [("priv/secret", b"s"), ("nodes/node1/priv/key", b"k")]:
        for form in (path, "/" + path, "//" + path.replace("/", "//")):
            assert root.config(form) == (0, content)
            assert reader.config(form) == (errno.EPERM, b"")
    # whether there is such a file is private, too
    for path in ("priv", "priv/", "priv/no", "/priv", "//priv//no", "nodes/x/priv/y", "nodes/x/priv"):
        assert reader.config(path).error == errno.EPERM
        assert root.config(path).error == errno.ENOENT
    for path in ("public", "/public", "privat", "nodes/node1/privx"):
        assert reader.config(path) == root.config(path)


def test_readers_verify_tokens(daemon, reader):
    make_private(daemon)
    daemon.os.write_file(daemon / "priv/token.cfg", b"root@pam!a 1234\n")
    assert reader.verify_token("root@pam!a 1234") == 0
    assert reader.verify_token("root@pam!a 12345") == errno.ENOENT


def test_too_large_a_buffer_is_refused(daemon, root):
    refused(daemon, buffer_size=64 << 20)
    assert root.ask(1).error == 0


@pytest.mark.parametrize("size", [4096, 65536, 2 << 20])
def test_buffers_of_other_sizes(daemon, connect, size):
    """A client may ask for less or somewhat more; requests and replies are up to 1 MiB all the same."""
    client = connect(buffer_size=size)
    daemon.os.write_file(daemon / "file", b"x" * 200000)
    assert client.config("file") == (0, b"x" * 200000)
    assert client.ask(6, text("no/" + "x" * 500000)).error == errno.ENOENT
    assert client.claim(4, 100000, field("name")).error == errno.EINVAL
