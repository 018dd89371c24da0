# SPDX-License-Identifier: GPL-3.0-or-later
"""What stat shows, and who may do what (doc/filesystem.md, Attributes)."""

import errno
import os
import stat
import time

import pytest

from harness import GROUP_ID
from support import MIB, read_rows, refused

PUBLIC_DIRECTORIES = ["public", "private", "privy", "sub", "sub/priv", "nodes", "nodes/a", "nodes/a/b", "nodes/a/b/priv",
                      "nodes/priv", "nodes/a/privy"]
PRIVATE_DIRECTORIES = ["priv", "priv/lock", "priv/a", "priv/a/b", "nodes/a/priv", "nodes/a/priv/lock", "nodes/a/priv/c/d",
                       "nodes/priv/priv"]


def mode_of(worker, path):
    return stat.S_IMODE(worker.lstat(path).st_mode)


@pytest.fixture
def directories(shared):
    for path in PUBLIC_DIRECTORIES + PRIVATE_DIRECTORIES:
        shared.os.makedirs(shared / path, exist_ok=True)
        shared.os.write_file(shared / path + "/file", b"content")
    return shared


def test_modes(directories):
    worker = directories.os
    assert mode_of(worker, directories.mountpoint) == 0o755
    for path in PUBLIC_DIRECTORIES:
        assert mode_of(worker, directories / path) == 0o755, path
        assert mode_of(worker, directories / path + "/file") == 0o640, path
    for path in PRIVATE_DIRECTORIES:
        assert mode_of(worker, directories / path) == 0o700, path
        assert mode_of(worker, directories / path + "/file") == 0o600, path


def test_modes_follow_a_rename(directories):
    worker = directories.os
    worker.rename(directories / "public/file", directories / "priv/moved")
    assert mode_of(worker, directories / "priv/moved") == 0o600
    worker.rename(directories / "priv/moved", directories / "public/file")
    assert mode_of(worker, directories / "public/file") == 0o640
    worker.mkdir(directories / "public/empty")
    worker.rename(directories / "public/empty", directories / "priv/empty")
    assert mode_of(worker, directories / "priv/empty") == 0o700
    worker.rename(directories / "priv/empty", directories / "public/empty")
    assert mode_of(worker, directories / "public/empty") == 0o755


def test_a_file_called_priv_is_private(make_daemon):
    daemon = make_daemon().start()
    daemon.os.write_file(daemon / "priv", b"")
    assert mode_of(daemon.os, daemon / "priv") == 0o600


def test_the_mode_and_umask_of_the_maker_do_not_matter(shared, here):
    shared.os.umask(0o777)
    shared.os.close(shared.os.open(here + "/file", os.O_WRONLY | os.O_CREAT, 0o777))
    shared.os.mkdir(here + "/directory", 0)
    shared.os.umask(0)
    assert mode_of(shared.os, here + "/file") == 0o640
    assert mode_of(shared.os, here + "/directory") == 0o755
    shared.os.umask(0o022)


def test_owner_links_and_times(shared, here):
    before = int(time.time())
    shared.os.mkdir(here + "/directory")
    shared.os.write_file(here + "/directory/file", b"x")
    after = int(time.time())
    for path, links in ((here, 2), (here + "/directory", 2), (here + "/directory/file", 1)):
        found = shared.os.stat(path)
        assert (found.st_uid, found.st_gid, found.st_nlink) == (0, GROUP_ID, links)
        assert found.st_mtime_ns == found.st_atime_ns == found.st_ctime_ns
        assert found.st_mtime_ns % 1000000000 == 0
    assert before <= shared.os.stat(here + "/directory/file").st_mtime <= after
    assert shared.os.stat(here + "/directory").st_size == 0
    root = shared.os.stat(shared.mountpoint)
    assert (root.st_uid, root.st_gid, root.st_nlink, root.st_size) == (0, GROUP_ID, 2, 0)
    assert (root.st_atime, root.st_mtime, root.st_ctime) == (0, 0, 0)


def test_the_time_shown_is_the_one_stored(shared, here):
    shared.os.write_file(here + "/file", b"x")
    inode = shared.os.stat(here + "/file").st_ino
    assert read_rows(shared.database)[inode][3] == shared.os.stat(here + "/file").st_mtime
    shared.os.utime(here + "/file", (1, 12345))
    assert read_rows(shared.database)[inode][3] == 12345
    found = shared.os.stat(here + "/file")
    assert found.st_atime == found.st_mtime == found.st_ctime == 12345
    # Every change sets it anew, whoever looks has it at once.
    before = int(time.time())
    fd = shared.os.open(here + "/file", os.O_WRONLY)
    shared.os.write(fd, b"y")
    found = shared.os.stat(here + "/file")
    assert before <= found.st_mtime <= time.time()
    assert read_rows(shared.database)[inode][3] == found.st_mtime
    shared.os.close(fd)


def test_a_directorys_time_is_not_that_of_its_children(shared, here):
    shared.os.utime(here, (777, 777))
    shared.os.write_file(here + "/file", b"x")
    shared.os.mkdir(here + "/directory")
    shared.os.rename(here + "/file", here + "/other")
    shared.os.unlink(here + "/other")
    shared.os.rmdir(here + "/directory")
    assert shared.os.stat(here).st_mtime == 777


def test_a_rename_sets_the_time(shared, here, second_process):
    shared.os.write_file(here + "/file", b"x")
    shared.os.utime(here + "/file", (777, 777))
    second_process.stat(here + "/file")
    before = int(time.time())
    shared.os.rename(here + "/file", here + "/moved")
    shared.os.wait_for(lambda worker: worker.stat(here + "/moved").st_mtime >= before, "the new time is shown")


@pytest.mark.parametrize("size", [0, 1, 511, 512, 4095, 4096, 4097, 100000, MIB - 1, MIB])
def test_sizes_and_blocks(shared, here, second_process, size):
    shared.os.write_file(here + "/file", b"x" * size)
    for worker in (shared.os, second_process):
        found = worker.stat(here + "/file")
        assert found.st_size == size
        assert found.st_blocks == (size + 4095) // 4096 * 8
    assert shared.os.read_file(here + "/file") == b"x" * size


def test_du(shared, here):
    for number, size in enumerate((0, 1, 4096, 5000, 300000)):
        shared.os.write_file("%s/%d" % (here, number), b"x" * size)
    done = shared.run(["du", "-s", "--block-size=1", here], check=True)
    assert int(done.stdout.split()[0]) == (0 + 1 + 1 + 2 + 74) * 4096
    done = shared.run(["du", "-sb", here], check=True)
    assert int(done.stdout.split()[0]) == 1 + 4096 + 5000 + 300000


def test_inode_numbers(shared, here):
    """They are the database's, and all differ."""
    shared.os.write_file(here + "/file", b"x")
    number = shared.os.stat(here + "/file").st_ino
    assert read_rows(shared.database)[number][5] == b"file"
    names = shared.os.listdir(shared.mountpoint)
    numbers = [shared.os.lstat(shared / name).st_ino for name in names]
    assert len(set(numbers + [shared.os.stat(shared.mountpoint).st_ino])) == len(names) + 1


ACTIONS = ["mount", "umount", "start", "stop", "premount", "postumount"]


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("start", ["vps", "101", "0", "00012345678901234567890"])
def test_legacy_scripts_are_executable(shared, here, action, start):
    name = start + "." + action
    shared.os.write_file(here + "/" + name, b"#!/bin/sh\necho it runs\n")
    assert mode_of(shared.os, here + "/" + name) == 0o740
    if start == "101":
        assert shared.run([here + "/" + name]).stdout == "it runs\n"
    shared.os.makedirs(shared / "priv/scripts", exist_ok=True)
    shared.os.write_file(shared / "priv/scripts/" + name, b"")
    assert mode_of(shared.os, shared / "priv/scripts/" + name) == 0o700


@pytest.mark.parametrize("name", ["vps.other", "vps", "vps.", ".mount", "mount", "101", "101.", "101.mount2", "x101.mount",
                                  "101x.mount", "101.mount.bak", "vps.mount~", "VPS.mount", "vps2.mount", "-1.stop", "1.conf"])
def test_other_names_are_not(shared, here, name):
    shared.os.write_file(here + "/" + name, b"")
    assert mode_of(shared.os, here + "/" + name) == 0o640


def test_a_directory_with_such_a_name_is_a_directory(shared, here):
    shared.os.mkdir(here + "/101.mount")
    assert mode_of(shared.os, here + "/101.mount") == 0o755
    shared.os.write_file(here + "/file", b"")
    shared.os.rename(here + "/file", here + "/102.mount")
    assert mode_of(shared.os, here + "/102.mount") == 0o740


# chmod and chown


@pytest.mark.parametrize("path, right", [("public/file", 0o640), ("public", 0o640), ("priv/file", 0o600), ("priv", 0o600),
                                         ("nodes/a/priv", 0o600), ("nodes/a/priv/c/d/file", 0o600), (".version", 0o640),
                                         (".debug", 0o640), ("", 0o640)])
def test_chmod(directories, path, right):
    path = directories / path
    worker = directories.os
    before = worker.stat(path)
    worker.chmod(path, right)
    now = mode_of(worker, path)
    assert now == stat.S_IMODE(before.st_mode), "it has no effect"
    own = {now} if stat.S_ISDIR(before.st_mode) else set()
    for wrong in {0, 0o400, 0o444, 0o600, 0o640, 0o644, 0o660, 0o700, 0o755, 0o777, 0o4640, 0o1640} - {right} - own:
        with refused(errno.EPERM):
            worker.chmod(path, wrong)
    after = worker.stat(path)
    assert (after.st_mode, after.st_mtime, after.st_size) == (before.st_mode, before.st_mtime, before.st_size)


@pytest.mark.parametrize("path", ["public/file", "public", "priv/file", ".version", ".debug", "", "local"])
def test_chown(directories, path):
    path = directories / path
    worker = directories.os
    before = worker.lstat(path)
    for uid, gid in ((0, GROUP_ID), (-1, GROUP_ID), (0, -1), (-1, -1)):
        worker.chown(path, uid, gid, follow_symlinks=False)
    for uid, gid in ((1, -1), (-1, 0), (0, 0), (1, GROUP_ID), (65534, 65534), (-1, 65534), (GROUP_ID, GROUP_ID)):
        with refused(errno.EPERM):
            worker.chown(path, uid, gid, follow_symlinks=False)
    after = worker.lstat(path)
    assert after[:7] == before[:7]


# Other users


def test_a_stranger_sees_names_and_reads_nothing(directories, stranger):
    assert "file" in stranger.listdir(directories / "public")
    assert stranger.stat(directories / "public/file").st_size == 7
    assert stranger.readlink(directories / "local") == "nodes/node1"
    for path in ("public/file", ".version", ".members", ".vmlist", ".clusterlog", ".rrd", ".debug"):
        with refused(errno.EACCES):
            stranger.read_file(directories / path)
    for path in ("priv", "nodes/a/priv"):
        with refused(errno.EACCES):
            stranger.listdir(directories / path)
        with refused(errno.EACCES):
            stranger.stat(directories / path + "/file")


@pytest.mark.parametrize("who", ["member", "further_member"])
def test_the_group_reads_what_is_not_private(directories, who, request):
    worker = request.getfixturevalue(who)
    assert worker.read_file(directories / "public/file") == b"content"
    for path in (".version", ".members", ".vmlist", ".clusterlog", ".rrd", ".debug"):
        worker.read_file(directories / path)
    for path in ("priv", "nodes/a/priv"):
        with refused(errno.EACCES):
            worker.listdir(directories / path)
        with refused(errno.EACCES):
            worker.read_file(directories / path + "/file")


@pytest.mark.parametrize("who", ["stranger", "member", "further_member"])
def test_nobody_but_root_changes_anything(directories, who, request):
    worker = request.getfixturevalue(who)
    before = directories.os.walk(directories.mountpoint)
    file, directory = directories / "public/file", directories / "public"
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_CREAT):
        with refused(errno.EACCES):
            worker.open(file, flags)
    with refused(errno.EACCES):
        worker.open(directories / ".debug", os.O_WRONLY)
    with refused(errno.EACCES):
        worker.open(directory + "/new", os.O_WRONLY | os.O_CREAT)
    with refused(errno.EACCES):
        worker.mkdir(directory + "/new")
    with refused(errno.EACCES):
        worker.mkdir(directories / "new")
    with refused(errno.EACCES):
        worker.unlink(file)
    with refused(errno.EACCES):
        worker.rmdir(directories / "sub")
    with refused(errno.EACCES):
        worker.rename(file, directory + "/new")
    with refused(errno.EACCES):
        worker.truncate(file, 0)
    with refused(errno.EPERM):
        worker.chmod(file, 0o640)
    with refused(errno.EPERM):
        worker.chown(file, 0, GROUP_ID)
    with refused(errno.EPERM):
        worker.utime(file, (1, 1))
    with refused(errno.EACCES):
        worker.utime(file)
    assert directories.os.walk(directories.mountpoint) == before
    assert directories.os.read_file(file) == b"content"


def test_locks_are_private(directories, member):
    with refused(errno.EACCES):
        member.mkdir(directories / "priv/lock/mine")
