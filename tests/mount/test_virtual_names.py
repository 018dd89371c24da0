# SPDX-License-Identifier: GPL-3.0-or-later
"""The names in the root that no database holds: links and status files (doc/filesystem.md)."""

import errno
import json
import os
import stat

import pytest

from harness import GROUP_ID
from support import DIRECTORY, FILE, VIRTUAL, make_database, refused

LINKS = {
    "local": "nodes/node1",
    "qemu-server": "nodes/node1/qemu-server",
    "lxc": "nodes/node1/lxc",
    "openvz": "nodes/node1/openvz",
}
STATUS = [".version", ".members", ".vmlist", ".clusterlog", ".rrd", ".metrics"]
ALL = [*LINKS, *STATUS, ".debug"]


def test_an_empty_database_shows_exactly_these(daemon):
    assert sorted(daemon.os.listdir(daemon.mountpoint)) == sorted(ALL)
    for name in LINKS:
        with refused(errno.ENOENT):
            daemon.os.stat(daemon / name)


@pytest.mark.parametrize("name", LINKS)
def test_links(shared, name):
    assert shared.os.readlink(shared / name) == LINKS[name]
    found = shared.os.lstat(shared / name)
    assert stat.S_ISLNK(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o755
    assert (found.st_uid, found.st_gid, found.st_nlink) == (0, GROUP_ID, 1)
    assert (found.st_atime, found.st_mtime, found.st_ctime) == (0, 0, 0)
    assert found.st_size == len(LINKS[name])


def test_links_lead_to_what_comes_and_goes(shared):
    with refused(errno.ENOENT):
        shared.os.listdir(shared / "lxc")
    shared.os.makedirs(shared / "nodes/node1/lxc")
    shared.os.write_file(shared / "local/config", b"x")
    shared.os.write_file(shared / "lxc/4711.conf", b"y")
    assert shared.os.read_file(shared / "nodes/node1/lxc/4711.conf") == b"y"
    assert shared.os.listdir(shared / "lxc") == ["4711.conf"]
    shared.os.unlink(shared / "lxc/4711.conf")
    shared.os.rmdir(shared / "nodes/node1/lxc")
    with refused(errno.ENOENT):
        shared.os.listdir(shared / "lxc")


@pytest.mark.parametrize("name", ALL)
def test_they_cannot_be_made_removed_or_renamed(shared, here, name):
    path, file = shared / name, here + "/file"
    shared.os.write_file(file, b"x")
    with refused(errno.EACCES):
        shared.os.unlink(path)
    with refused(errno.EACCES):
        shared.os.rename(path, here + "/moved")
    with refused(errno.EACCES):
        shared.os.rename(path, shared / "moved")
    with refused(errno.EACCES):
        shared.os.rename(file, path)
    # The kernel sees that there is something of this name, and does not ask.
    with refused(errno.EACCES, errno.EEXIST):
        shared.os.mkdir(path)
    with refused(errno.EACCES, errno.EEXIST):
        shared.os.mknod(path, stat.S_IFREG | 0o640)
    with refused(errno.EACCES, errno.ENOTDIR):
        shared.os.rmdir(path)
    assert shared.os.listdir(here) == ["file"]
    assert shared.os.listdir(shared.mountpoint).count(name) == 1


def test_database_entries_of_these_names_are_hidden(make_daemon):
    daemon = make_daemon()
    entries = [(2, 0, DIRECTORY, "local", None), (3, 2, FILE, "inside", b"x"), (4, 0, FILE, ".version", b"no version"),
               (5, 0, FILE, "qemu-server", b"no link"), (6, 0, DIRECTORY, ".rrd", None), (7, 0, FILE, ".debug", b"9\n"),
               (8, 0, DIRECTORY, "sub", None), (9, 8, FILE, ".version", b"ordinary"), (10, 8, DIRECTORY, "local", None)]
    make_database(daemon.database, entries)
    daemon.start()
    assert sorted(daemon.os.listdir(daemon.mountpoint)) == sorted([*ALL, "sub"])
    assert daemon.os.readlink(daemon / "local") == "nodes/node1"
    assert "storage.cfg" in json.loads(daemon.os.read_file(daemon / ".version"))
    assert daemon.os.readlink(daemon / "qemu-server") == LINKS["qemu-server"]
    assert stat.S_ISREG(daemon.os.stat(daemon / ".rrd").st_mode)
    assert daemon.os.read_file(daemon / ".debug") == b"0\n"
    # Elsewhere the names mean nothing.
    assert daemon.os.read_file(daemon / "sub/.version") == b"ordinary"
    daemon.os.write_file(daemon / "sub/.debug", b"x")
    daemon.os.rename(daemon / "sub/local", daemon / "sub/lxc")
    daemon.os.rmdir(daemon / "sub/lxc")
    # What is hidden counts.
    assert daemon.os.statvfs(daemon.mountpoint).f_ffree == 262144 - 10


# Status files


@pytest.mark.parametrize("name", [*STATUS, ".debug"])
def test_status_files_look(shared, name):
    fd = shared.os.open(shared / name, os.O_RDONLY)
    content = shared.os.read(fd, 1000000)
    found = shared.os.fstat(fd)
    shared.os.close(fd)
    assert stat.S_ISREG(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == (0o640 if name == ".debug" else 0o440)
    assert (found.st_uid, found.st_gid, found.st_nlink) == (0, GROUP_ID, 1)
    assert (found.st_atime, found.st_mtime, found.st_ctime) == (0, 0, 0)
    assert found.st_size == len(content)
    assert found.st_blocks == (len(content) + 4095) // 4096 * 8


@pytest.mark.parametrize("name", [".version", ".members", ".vmlist", ".clusterlog"])
def test_status_files_are_json(shared, name):
    json.loads(shared.os.read_file(shared / name))


@pytest.mark.parametrize("name", STATUS)
def test_writing_status_files_is_eio(shared, name):
    before = shared.os.read_file(shared / name)
    with refused(errno.EIO):
        shared.os.truncate(shared / name, 0)
    with refused(errno.EIO):
        shared.os.open(shared / name, os.O_WRONLY | os.O_TRUNC)
    fd = shared.os.open(shared / name, os.O_RDWR)
    for data in (b"0\n", b"x" * 5000):
        with refused(errno.EIO):
            shared.os.write(fd, data)
    with refused(errno.EIO):
        shared.os.ftruncate(fd, 1)
    shared.os.close(fd)
    if name not in (".clusterlog", ".metrics"):
        assert shared.os.read_file(shared / name) == before


@pytest.mark.parametrize("name", [".version", ".vmlist"])
def test_an_open_status_file_keeps_its_text(shared, second_process, here, name):
    """Whatever changes between two reads of one open file, together they are one text."""
    shared.os.makedirs(shared / "nodes/texts/lxc", exist_ok=True)
    for number in range(30):
        fd = shared.os.open(shared / name, os.O_RDONLY)
        before = shared.os.read_file(shared / name)
        first = shared.os.read(fd, 7)
        second_process.write_file(shared / ("nodes/texts/lxc/%d.conf" % (90000 + number)), b"x")
        size = shared.os.fstat(fd).st_size
        text = first + shared.os.read(fd, 1000000)
        shared.os.close(fd)
        assert text == before and size == len(text)
        after = shared.os.read_file(shared / name)
        assert after != before
        assert shared.os.stat(shared / name).st_size == len(after)


def test_status_files_are_never_stale(shared, second_process):
    """What was changed by one process is in the status files that the next call of another reads."""
    shared.os.makedirs(shared / "nodes/fresh/qemu-server")

    def read(name):
        return json.loads(second_process.read_file(shared / name))

    for number in range(91000, 91100):
        path = shared / ("nodes/fresh/qemu-server/%d.conf" % number)
        version = read(".version")["vmlist"]
        shared.os.mknod(path, stat.S_IFREG | 0o640)
        assert str(number) in read(".vmlist")["ids"]
        assert read(".version")["vmlist"] == version + 1
        shared.os.unlink(path)
        assert str(number) not in read(".vmlist")["ids"]
        assert read(".version")["vmlist"] == version + 2
        counter = read(".version")["storage.cfg"]
        shared.os.write_file(shared / "storage.cfg", b"x")
        assert read(".version")["storage.cfg"] > counter


def test_status_files_are_right_while_all_changes(shared, here):
    """Readers and stat in a loop, with others that make and delete guests: always whole JSON."""
    shared.os.makedirs(shared / "nodes/busy/lxc", exist_ok=True)
    change = """
for number in range(300):
    path = "%s/%d.conf" % (directory, first + number % 10)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    os.unlink(path)
"""
    read = """
import json
result = 0
while result == 0 or not os.path.exists(stop):
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    text = os.read(fd, 5) + os.read(fd, 1000000)
    os.close(fd)
    json.loads(text)
    assert len(text) == size, (len(text), size)
    result += 1
"""
    writers = [shared.worker() for _ in range(2)]
    readers = [shared.worker() for _ in range(2)]
    reading = [reader.start("execute", read, {"path": shared / name, "stop": here + "/stop"})
               for reader, name in zip(readers, (".vmlist", ".version"))]
    writing = [writer.start("execute", change, {"directory": shared / "nodes/busy/lxc", "first": 92000 + 100 * number})
               for number, writer in enumerate(writers)]
    for one in writing:
        one.result()
    shared.os.mkdir(here + "/stop")
    assert all(one.result() > 0 for one in reading)


# .debug


@pytest.fixture
def debug(shared):
    yield shared / ".debug"
    shared.os.write_file(shared / ".debug", b"0\n")


def test_debug_switches(shared, second_process, debug):
    for value in (b"1\n", b"0\n", b"1\n", b"1\n", b"0\n"):
        shared.os.write_file(debug, value)
        assert second_process.read_file(debug) == value
        assert shared.os.read_file(debug) == value
    done = shared.run(["sh", "-c", "echo 1 > %s && cat %s" % (debug, debug)])
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert "debug messages are on" in shared.log_text()


def test_debug_first_two_bytes_decide(shared, debug):
    shared.os.write_file(debug, b"1\nwhatever")
    assert shared.os.read_file(debug) == b"1\n"
    assert shared.os.stat(debug).st_size == 2


@pytest.mark.parametrize("bad", [b"1", b"0", b"2\n", b"10\n", b"x\n", b"\n", b"1 \n", b" 1\n", b"\n1\n", b"1\0"])
def test_debug_refuses_the_rest(shared, debug, bad):
    with refused(errno.EIO):
        shared.os.write_file(debug, bad)
    assert shared.os.read_file(debug) == b"0\n"


def test_debug_only_at_offset_0(shared, debug):
    fd = shared.os.open(debug, os.O_RDWR)
    with refused(errno.EIO):
        shared.os.pwrite(fd, b"1\n", 2)
    with refused(errno.EIO):
        shared.os.pwrite(fd, b"1\n", 1 << 40)
    assert shared.os.read_file(debug) == b"0\n"
    shared.os.pwrite(fd, b"1\n", 0)
    assert shared.os.read_file(debug) == b"1\n"


def test_debug_truncation_has_no_effect(shared, debug):
    shared.os.write_file(debug, b"1\n")
    for size in (0, 1, 2, 100):
        shared.os.truncate(debug, size)
        assert shared.os.read_file(debug) == b"1\n"
        assert shared.os.stat(debug).st_size == 2
    shared.run(["sh", "-c", ": > " + debug], check=True)
    assert shared.os.read_file(debug) == b"1\n"


def test_all_names_are_known():
    assert set(ALL) == VIRTUAL
