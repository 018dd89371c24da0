# SPDX-License-Identifier: GPL-3.0-or-later
"""Guest ids are unique (doc/filesystem.md)."""

import errno
import itertools
import json
import os

import pytest

from support import refused

TYPES = {"qemu-server": "qemu", "lxc": "lxc", "openvz": "openvz"}
ids = itertools.count(100)


@pytest.fixture
def nodes(shared):
    for node in ("a", "b", "c-1"):
        for kind in TYPES:
            shared.os.makedirs(shared / ("nodes/%s/%s" % (node, kind)), exist_ok=True)
    return lambda path: shared / ("nodes/" + path)


@pytest.fixture
def guest():
    return next(ids)


def make(worker, path):
    worker.close(worker.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))


def listed(shared):
    return json.loads(shared.os.read_file(shared / ".vmlist"))["ids"]


@pytest.mark.parametrize("kind", TYPES)
def test_an_id_can_be_taken_once(shared, nodes, guest, kind):
    make(shared.os, nodes("a/%s/%d.conf" % (kind, guest)))
    entry = listed(shared)[str(guest)]
    assert (entry["node"], entry["type"]) == ("a", TYPES[kind])
    for node in ("a", "b", "c-1"):
        for other in TYPES:
            path = nodes("%s/%s/%d.conf" % (node, other, guest))
            if (node, other) == ("a", kind):
                with refused(errno.EEXIST):
                    make(shared.os, path)
                continue
            for flags in (os.O_EXCL, 0, os.O_TRUNC):
                with refused(errno.EEXIST):
                    shared.os.open(path, os.O_WRONLY | os.O_CREAT | flags)
            assert not shared.os.exists(path)
    assert listed(shared)[str(guest)]["node"] == "a"


def test_an_id_is_free_again_after_delete_and_rename(shared, nodes, guest):
    first, second = nodes("a/lxc/%d.conf" % guest), nodes("b/qemu-server/%d.conf" % guest)
    make(shared.os, first)
    shared.os.unlink(first)
    assert str(guest) not in listed(shared)
    make(shared.os, second)
    shared.os.rename(second, nodes("b/qemu-server/%d.conf.bak" % guest))
    assert str(guest) not in listed(shared)
    make(shared.os, first)
    assert listed(shared)[str(guest)]["type"] == "lxc"


def test_a_guest_moves(shared, nodes, guest):
    name = "%d.conf" % guest
    shared.os.write_file(nodes("a/qemu-server/" + name), b"config")
    path = "a/qemu-server/"
    for target in ("b/qemu-server/", "b/lxc/", "c-1/openvz/", "a/qemu-server/"):
        shared.os.rename(nodes(path + name), nodes(target + name))
        node, kind = target.split("/")[:2]
        entry = listed(shared)[str(guest)]
        assert (entry["node"], entry["type"]) == (node, TYPES[kind])
        assert shared.os.read_file(nodes(target + name)) == b"config"
        path = target
    shared.run(["mv", nodes(path + name), nodes("b/qemu-server/")], check=True)
    assert listed(shared)[str(guest)]["node"] == "b"


def test_a_rename_cannot_make_a_second_one(shared, nodes, guest, here):
    other = next(ids)
    make(shared.os, nodes("a/lxc/%d.conf" % guest))
    make(shared.os, nodes("b/lxc/%d.conf" % other))
    shared.os.write_file(here + "/file", b"x")
    # A file, and a guest of another id.
    for source in (here + "/file", nodes("b/lxc/%d.conf" % other)):
        with refused(errno.EEXIST):
            shared.os.rename(source, nodes("b/qemu-server/%d.conf" % guest))
        assert shared.os.exists(source)
    # A guest may get another id that is free.
    new = next(ids)
    shared.os.rename(nodes("b/lxc/%d.conf" % other), nodes("b/lxc/%d.conf" % new))
    assert str(other) not in listed(shared) and listed(shared)[str(new)]["node"] == "b"


def test_replacing_a_configuration_where_it_is(shared, nodes, guest):
    path = nodes("a/lxc/%d.conf" % guest)
    shared.os.write_file(path, b"old")
    shared.os.write_file(path + ".tmp", b"new")
    shared.os.rename(path + ".tmp", path)
    assert shared.os.read_file(path) == b"new"
    assert listed(shared)[str(guest)]["node"] == "a"
    shared.os.write_file(path, b"newer")
    assert shared.os.read_file(path) == b"newer"


NO_GUESTS = ["a/qemu-server/0%d.conf", "a/qemu-server/%d.conf.tmp", "a/qemu-server/%d.CONF", "a/qemu-server/%d.con", "a/lxc/x%d.conf",
             "a/lxc/%d .conf", "a/lxc/-%d.conf", "a/lxc/+%d.conf", "a/lxc/sub/%d.conf", "a/%d.conf", "a/other/%d.conf", "under_score/lxc/%d.conf",
             "-x/lxc/%d.conf", "x-/lxc/%d.conf", "dot.ted/lxc/%d.conf", "a/lxc/42949672960%d.conf", "ä/lxc/%d.conf"]


@pytest.mark.parametrize("form", NO_GUESTS)
def test_what_is_no_guest_configuration(shared, nodes, guest, form):
    path = nodes(form % guest)
    make(shared.os, nodes("b/lxc/%d.conf" % guest))
    before = listed(shared)
    shared.os.makedirs(os.path.dirname(path), exist_ok=True)
    make(shared.os, path)
    assert listed(shared) == before
    shared.os.unlink(path)


def test_0_is_no_id(shared, nodes):
    for node in "ab":
        make(shared.os, nodes(node + "/lxc/0.conf"))
    assert "0" not in listed(shared)


def test_below_another_directory_is_no_guest(shared, nodes, guest, here):
    shared.os.makedirs(here + "/nodes/a/lxc")
    make(shared.os, nodes("a/lxc/%d.conf" % guest))
    make(shared.os, here + "/nodes/a/lxc/%d.conf" % guest)


def test_the_highest_id(shared, nodes):
    make(shared.os, nodes("a/lxc/4294967295.conf"))
    with refused(errno.EEXIST):
        make(shared.os, nodes("b/lxc/4294967295.conf"))
    make(shared.os, nodes("a/lxc/4294967296.conf"))
    make(shared.os, nodes("b/lxc/4294967296.conf"))
    assert "4294967295" in listed(shared) and "4294967296" not in listed(shared)


@pytest.mark.parametrize("node", ["n", "N9", "0", "a-b", "a--b"])
def test_node_names(shared, nodes, guest, node):
    shared.os.makedirs(nodes(node + "/lxc"))
    make(shared.os, nodes("%s/lxc/%d.conf" % (node, guest)))
    assert listed(shared)[str(guest)]["node"] == node
    with refused(errno.EEXIST):
        make(shared.os, nodes("a/lxc/%d.conf" % guest))


@pytest.mark.parametrize("kind", TYPES)
def test_no_directory_has_a_guests_name(shared, nodes, guest, here, kind):
    path = nodes("a/%s/%d.conf" % (kind, guest))
    with refused(errno.EACCES):
        shared.os.mkdir(path)
    shared.os.mkdir(here + "/directory")
    with refused(errno.EACCES):
        shared.os.rename(here + "/directory", path)
    assert not shared.os.exists(path)
    shared.os.mkdir(nodes("a/%s/directory-%d" % (kind, guest)))


@pytest.mark.parametrize("kind", TYPES)
def test_no_file_where_guests_live(shared, here, kind):
    shared.os.makedirs(shared / "nodes/files", exist_ok=True)
    path = shared / ("nodes/files/" + kind)
    with refused(errno.EACCES):
        make(shared.os, path)
    shared.os.write_file(here + "/file", b"")
    with refused(errno.EACCES):
        shared.os.rename(here + "/file", path)
    assert not shared.os.exists(path)
    shared.os.write_file(shared / "nodes/files/other", b"")


def test_many_processes_take_one_id(shared, nodes, guest):
    """Of all that create one id at once, under different names, one succeeds."""
    code = """
result = []
for number in range(first, first + 50):
    try:
        os.close(os.open("%s/%d.conf" % (directory, number), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        result.append(number)
    except FileExistsError:
        pass
"""
    directories = [nodes(node + "/" + kind) for node in "ab" for kind in ("lxc", "qemu-server")]
    workers = [shared.worker() for _ in directories]
    pending = [worker.start("execute", code, {"directory": directory, "first": 700000})
               for worker, directory in zip(workers, directories)]
    taken = sorted(number for one in pending for number in one.result())
    assert taken == list(range(700000, 700050))
    assert all(str(number) in listed(shared) for number in taken)
