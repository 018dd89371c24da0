# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases of others, bad ones, full disks, big ones (doc/database.md)."""

import errno
import glob
import json
import os
import shutil
import sqlite3
import subprocess
import time

import pytest

from harness import BUILD_DIR, PMXCFS, SOURCE_DIR, wait_for
from harness.database import PMXCFSCTL, acknowledged, connect
from support import DIRECTORY, FILE, check_integrity, contents, make_database, paths_of, read_rows, refused

VECTORS = os.path.join(SOURCE_DIR, "tests", "vectors")
RECORDED = sorted(os.path.relpath(path, VECTORS) for path in glob.glob(VECTORS + "/*/*.db"))


def work(daemon):
    """Every kind of change; the version before, and the rows that they must leave."""
    version = read_rows(daemon.database)[0][1]
    worker = daemon.os
    worker.mkdir(daemon / "work")
    worker.close(worker.open(daemon / "work/empty", os.O_WRONLY | os.O_CREAT))
    fd = worker.open(daemon / "work/file", os.O_WRONLY | os.O_CREAT)
    worker.write(fd, b"content")
    worker.close(fd)
    worker.mkdir(daemon / "work/directory")
    worker.rename(daemon / "work/file", daemon / "work/directory/moved")
    worker.close(worker.open(daemon / "work/replaced", os.O_WRONLY | os.O_CREAT))
    worker.close(worker.open(daemon / "work/source", os.O_WRONLY | os.O_CREAT))
    worker.rename(daemon / "work/source", daemon / "work/replaced")
    worker.mkdir(daemon / "work/gone")
    worker.rmdir(daemon / "work/gone")
    worker.utime(daemon / "work/empty", (0, 4711))
    return version, {
        # path: (inode, version), both counted from the version before
        "work": (1, 1),
        "work/empty": (2, 12),
        "work/directory": (5, 5),
        "work/directory/moved": (3, 6),
        "work/replaced": (8, 9),
    }


@pytest.mark.parametrize("name", RECORDED)
def test_databases_of_real_nodes(make_daemon, name):
    daemon = make_daemon()
    os.makedirs(daemon.state_dir)
    shutil.copyfile(os.path.join(VECTORS, name), daemon.database)
    before = read_rows(daemon.database)
    paths = paths_of(before)
    daemon.start()
    assert contents(daemon.os, daemon.mountpoint) == paths
    by_path = {path: row for path, row in zip(paths, (row for inode, row in before.items() if inode))}
    for path, row in by_path.items():
        found = daemon.os.stat(daemon / path)
        assert (found.st_mtime, before[found.st_ino]) == (row[3], row)
    assert read_rows(daemon.database) == before, "a start changes nothing"
    started = int(time.time())
    version, made = work(daemon)
    after = read_rows(daemon.database)
    shown = contents(daemon.os, daemon.mountpoint)
    daemon.stop()
    # Every old row as it was, new ones as they must be.
    assert {inode: row for inode, row in after.items() if inode in before and inode != 0} == \
        {inode: row for inode, row in before.items() if inode != 0}
    new = {inode: row for inode, row in after.items() if inode not in before}
    new_paths = {path: inode for path, inode in zip(paths_of(after), (inode for inode in after if inode)) if inode in new}
    assert {path: (inode - version, new[inode][1] - version) for path, inode in new_paths.items()} == made
    for path, inode in new_paths.items():
        assert new[inode][2] == 0, "the writer is 0 in local mode"
        assert new[inode][3] == 4711 if path == "work/empty" else started <= new[inode][3] <= time.time()
    assert after[0][0] == 0 and after[0][1] == version + 12 and after[0][2] == 0
    assert after[0][4:] == (FILE, b"__version__", None) or after[0][4:] == (DIRECTORY, b"__version__", None)
    assert after[0][3] == 4711, "row 0 has the time of the last change"
    # Closed and opened again it is the same.
    check_integrity(daemon.database)
    assert read_rows(daemon.database) == after
    assert paths_of(after) == shown
    daemon.start()
    assert contents(daemon.os, daemon.mountpoint) == shown


def test_an_empty_database(daemon):
    rows = read_rows(daemon.database)
    assert rows in ({}, {0: (0, 1, 0, rows.get(0, [0] * 4)[3], FILE, b"__version__", None)})
    daemon.os.mkdir(daemon / "first")
    rows = read_rows(daemon.database)
    assert set(rows) == {0, 2} and rows[2][1] == rows[0][1] == 2
    daemon.stop()
    with sqlite3.connect("file:%s?mode=ro" % daemon.database, uri=True) as database:
        assert database.execute("SELECT type, name FROM sqlite_master").fetchall() == [("table", "tree")]
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_hosts_corosync_conf_is_imported_only_without_local(make_daemon):
    daemon = make_daemon()
    with open(daemon.corosync_conf, "w") as file:
        file.write("totem {\n}\n")
    daemon.start()
    assert not daemon.os.exists(daemon / "corosync.conf")


def test_other_shapes_that_load(make_daemon):
    """Zero-length blobs, text as data, no row 0, a version row of type 4, parents with higher inodes."""
    daemon = make_daemon()
    make_database(daemon.database, [(5, 9, FILE, "child", b"x"), (9, 0, DIRECTORY, "parent", b""), (10, 0, FILE, "blob", b""),
                                    (11, 0, FILE, "text", "as text"), (12, 9, DIRECTORY, "directory", None),
                                    (13, 0, FILE, b"no \xff utf-8", b"y")])
    database = sqlite3.connect(daemon.database)
    database.execute("UPDATE tree SET type = 4 WHERE inode = 0")
    database.commit()
    database.close()
    daemon.start()
    expected = {"parent": None, "parent/child": b"x", "blob": b"", "text": b"as text", "parent/directory": None,
                "no \udcff utf-8": b"y"}
    assert contents(daemon.os, daemon.mountpoint) == expected
    daemon.os.mkdir(daemon / "new")
    assert daemon.os.stat(daemon / "new").st_ino == 14
    daemon.stop()
    database = sqlite3.connect(daemon.database)
    database.execute("DELETE FROM tree WHERE inode = 0 OR name = 'new'")
    database.commit()
    database.close()
    daemon.start()
    assert contents(daemon.os, daemon.mountpoint) == expected


# What a load refuses


def entry(inode, name, parent=0, kind=FILE, data=b"x"):
    return inode, parent, kind, name, None if kind == DIRECTORY else data


NODE = [entry(2, "nodes", 0, DIRECTORY), entry(3, "a", 2, DIRECTORY), entry(4, "lxc", 3, DIRECTORY), entry(5, "b", 2, DIRECTORY),
        entry(6, "qemu-server", 5, DIRECTORY)]

# name: (rows, words of the message)
BAD_ROWS = {
    "no name": ([entry(7, "")], ["7"]),
    "a directory with data": ([(7, 0, DIRECTORY, "directory", b"data")], ["7", "directory"]),
    "another type": ([(7, 0, 10, "link", b"data")], ["7", "link"]),
    "a missing parent": ([entry(7, "orphan", 99)], ["7", "99", "orphan"]),
    "a parent that is a file": ([entry(7, "file"), entry(8, "below", 7)], ["7", "8", "below"]),
    "its own parent": ([(7, 7, DIRECTORY, "loop", None)], ["7", "loop"]),
    "a circle": ([(7, 8, DIRECTORY, "one", None), (8, 7, DIRECTORY, "other", None)], ["7", "8"]),
    "a name twice": ([entry(7, "twin"), entry(8, "twin")], ["7", "8", "twin"]),
    "a name twice, file and directory": ([entry(7, "twin"), entry(8, "twin", 0, DIRECTORY)], ["7", "8", "twin"]),
    "a guest twice": ([*NODE, entry(7, "100.conf", 4), entry(8, "100.conf", 6)], ["7", "8", "100"]),
    "a slash in a name": ([entry(7, "a/b")], ["7"]),
    "a dot": ([entry(7, ".", 0, DIRECTORY)], ["7"]),
    "two dots": ([entry(7, "..", 0, DIRECTORY)], ["7"]),
}


def assert_refused(daemon, words=()):
    """It says why and ends, and all files are as they were."""

    def state():
        found = {}
        for name in os.listdir(daemon.state_dir):
            if name == ".pmxcfs.lockfile":
                continue
            with open(os.path.join(daemon.state_dir, name), "rb") as file:
                found[name] = file.read()
        return found

    before = state()
    done = daemon.run_to_end("--foreground")
    assert done.returncode != 0
    message = "\n".join(line for line in done.stderr.splitlines() if "error" in line)
    assert "config.db" in done.stderr, done.stderr
    for word in words:
        assert word in message, "%r is not in: %s" % (word, done.stderr)
    assert state() == before
    assert not daemon.is_mounted()
    assert not os.path.exists(daemon.pid_file)


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows(make_daemon, case):
    daemon = make_daemon()
    rows, words = BAD_ROWS[case]
    make_database(daemon.database, rows)
    assert_refused(daemon, words)


def test_an_entry_with_the_roots_number(make_daemon):
    """Databases made by tools have an inode 1. No two things of a mount have one number, so that nobody takes it for the root."""
    daemon = make_daemon()
    make_database(daemon.database, [(1, 0, DIRECTORY, "first", None), (2, 1, DIRECTORY, "second", None), (3, 2, FILE, "file", b"x")])
    daemon.start()
    found = daemon.run(["find", daemon.mountpoint, "-printf", "%i\\n"], check=True)
    numbers = found.stdout.split()
    assert not found.stderr
    assert len(set(numbers)) == len(numbers) >= 4
    entries = {entry: daemon.os.lstat(daemon / entry).st_ino for entry in daemon.os.listdir(daemon.mountpoint)}
    listed = daemon.run(["ls", "-ai", daemon.mountpoint], check=True).stdout.split()
    assert all(str(number) == listed[listed.index(name) - 1] for name, number in entries.items())


def test_row_0_with_another_name(make_daemon):
    daemon = make_daemon()
    make_database(daemon.database, [entry(7, "file")])
    database = sqlite3.connect(daemon.database)
    database.execute("UPDATE tree SET name = 'version' WHERE inode = 0")
    database.commit()
    database.close()
    assert_refused(daemon, ["version"])


@pytest.mark.parametrize("column, value", [("name", "NULL"), ("parent", "'x'"), ("type", "'8'"), ("version", "NULL"), ("mtime", "1.5"),
                                           ("inode", "-5")])
def test_columns_of_the_wrong_kind(make_daemon, column, value):
    """Made without the checks of the schema."""
    daemon = make_daemon()
    plain = "CREATE TABLE tree (inode INTEGER PRIMARY KEY, parent, version, writer, mtime, type, name, data)"
    make_database(daemon.database, [entry(7, "file")], schema=plain)
    database = sqlite3.connect(daemon.database)
    database.execute("UPDATE tree SET %s = %s WHERE inode = 7" % (column, value))
    database.commit()
    database.close()
    assert_refused(daemon)


@pytest.mark.parametrize("content", [b"this is no database\n" * 1000, b"SQLite format 3\0", b"SQLite format 3\0" + b"\xff" * 8000, b"x"])
def test_no_database(make_daemon, content):
    daemon = make_daemon()
    os.makedirs(daemon.state_dir)
    with open(daemon.database, "wb") as file:
        file.write(content)
    assert_refused(daemon)


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_a_truncated_database(make_daemon, part):
    daemon = make_daemon()
    make_database(daemon.database, [entry(7 + number, "file%d" % number, 0, FILE, os.urandom(5000)) for number in range(100)])
    os.truncate(daemon.database, int(os.path.getsize(daemon.database) * part))
    assert_refused(daemon)


def test_a_database_with_a_damaged_page(make_daemon):
    daemon = make_daemon()
    make_database(daemon.database, [entry(7 + number, "file%d" % number, 0, FILE, os.urandom(3000)) for number in range(100)])
    with open(daemon.database, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(4096))
    assert_refused(daemon)


def test_another_table(make_daemon):
    daemon = make_daemon()
    os.makedirs(daemon.state_dir)
    database = sqlite3.connect(daemon.database)
    database.execute("CREATE TABLE tree (something TEXT)")
    database.commit()
    database.close()
    assert_refused(daemon)


def test_a_database_that_is_a_directory(make_daemon):
    daemon = make_daemon()
    os.makedirs(daemon.database)
    done = daemon.run_to_end("--foreground")
    assert done.returncode != 0 and "config.db" in done.stderr
    assert os.listdir(daemon.database) == []


# A full disk


@pytest.fixture
def small(make_daemon):
    """A daemon whose state directory is a file system of 12 MB: room for the database, its WAL and the history of
    what these tests write."""
    daemon = make_daemon()
    os.makedirs(daemon.state_dir)
    daemon.run(["mount", "-t", "tmpfs", "-o", "size=12m,mode=0750", "tmpfs", daemon.state_dir], check=True)
    daemon.start()
    return daemon


def rows_inside(daemon):
    """The rows of a database that only the daemon's namespace sees, in order."""
    with acknowledged(daemon.database, daemon.run) as copy:
        check_integrity(copy)
        return read_rows(copy)


FILL = """
fd = os.open(path, os.O_WRONLY | os.O_CREAT)
try:
    while True:
        os.write(fd, bytes(4096))
except OSError as error:
    assert error.errno == 28
os.close(fd)
"""


def test_full_disk(small):
    """ENOSPC to the caller, nothing half done, and on it goes when there is room."""
    daemon, worker = small, small.os
    worker.write_file(daemon / "before", b"content")
    filler = daemon.state_dir + "/filler"
    model = {"before": b"content"}
    errors = 0
    worker.execute(FILL, {"path": filler})
    for number in range(40):
        path = "file%d" % number
        try:
            fd = worker.open(daemon / path, os.O_WRONLY | os.O_CREAT)
            model[path] = b""
        except OSError as error:
            assert error.errno == errno.ENOSPC
            errors += 1
            continue
        data = os.urandom(100000)
        try:
            worker.write(fd, data)
            model[path] = data
        except OSError as error:
            assert error.errno == errno.ENOSPC
            errors += 1
        worker.close(fd)
    assert errors > 0
    for make in (lambda: worker.write_file(daemon / "before", os.urandom(1000000)),
                 lambda: worker.truncate(daemon / "before", 1000000)):
        with refused(errno.ENOSPC):
            make()
    # A rewrite that failed leaves the old content, or the truncation that came before it.
    shown = contents(worker, daemon.mountpoint)
    assert shown in (model, {**model, "before": b""}), "something is half done"
    assert paths_of(rows_inside(daemon)) == shown
    # Room again.
    worker.unlink(filler)
    worker.write_file(daemon / "after", b"y" * 300000)
    worker.mkdir(daemon / "directory")
    worker.write_file(daemon / "before", b"new content")
    shown = contents(worker, daemon.mountpoint)
    assert shown["after"] == b"y" * 300000 and shown["before"] == b"new content" and "directory" in shown
    assert paths_of(rows_inside(daemon)) == shown
    daemon.stop()
    daemon.start()
    assert contents(worker, daemon.mountpoint) == shown


@pytest.mark.parametrize("damaged", [False, True])
def test_a_start_on_a_full_disk(small, damaged):
    """Who reads is not kept from it by what a killed daemon left, and nothing of that is lost, damaged or not."""
    daemon, worker = small, small.os
    daemon.restart("--fold-delay=3600", "--history-size=0")
    for number in range(8):
        worker.write_file(daemon / ("file%d" % number), b"content %d" % number * 50)
    model = {"file%d" % number: b"content %d" % number * 50 for number in range(8)}
    daemon.kill()
    journal = worker.read_file(daemon.database + ".journal")
    if damaged:
        at = journal.index(b"content 5")
        journal = journal[:at] + b"C" + journal[at + 1:]
        worker.write_file(daemon.database + ".journal", journal)
        # Its creation is a change of its own, before its content.
        model = {**{path: content for path, content in model.items() if path < "file5"}, "file5": b""}
    filler = daemon.state_dir + "/filler"
    worker.execute(FILL, {"path": filler})
    daemon.start()
    assert contents(worker, daemon.mountpoint) == model
    with refused(errno.ENOSPC):
        worker.mkdir(daemon / "refused")
    assert not [name for name in worker.listdir(daemon.state_dir) if ".journal." in name]
    worker.unlink(filler)
    worker.mkdir(daemon / "directory")
    kept = [worker.read_file(daemon.state_dir + "/" + name) for name in worker.listdir(daemon.state_dir) if ".journal.damaged-" in name]
    assert kept == ([journal] if damaged else [])
    daemon.kill()
    daemon.start()
    assert contents(worker, daemon.mountpoint) == {**model, "directory": None}


def told(daemon):
    """What status says of the database, in all places that must say the same."""
    def database_ok():
        return json.loads(
            daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, "status", "--json"]).stdout)["database_ok"]

    well = None
    while well != database_ok(): # it may change while one after the other is asked
        well = database_ok()
        done = daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, "status"])
    assert ("TAKES NO WRITES" in done.stdout) == (not well) and done.returncode == (0 if well else 4)
    # Their text may be a second old, and all may change meanwhile.
    wait_for(lambda: "pmxcfs_database_ok %d" % well in daemon.os.read_file(daemon / ".metrics").decode() or well != database_ok(),
             "the metrics say the same")
    return well


def test_a_full_disk_is_told_until_a_change_is_stored(small):
    """One verdict, told once in the log, also while changes small enough are taken."""
    daemon, worker = small, small.os
    assert told(daemon)
    worker.write_file(daemon / "before", b"content")
    filler = daemon.state_dir + "/filler"
    worker.execute(FILL, {"path": filler})
    with refused(errno.ENOSPC):
        worker.write_file(daemon / "large", bytes(1000000))
    for number in range(10):
        assert not told(daemon)
        try:
            worker.write_file(daemon / "small", b"%d" % number)
        except OSError as error:
            assert error.errno == errno.ENOSPC
    assert not told(daemon)
    assert daemon.log_text().count("cannot write to") == 1 and "takes writes again" not in daemon.log_text()
    worker.unlink(filler)
    # The daemon itself may have stored what waited by now.
    assert not told(daemon) or "takes writes again" in daemon.log_text(), "nothing was stored yet"
    worker.write_file(daemon / "after", b"x" * 900000)
    worker.write_file(daemon / "large", bytes(1000000))
    wait_for(lambda: told(daemon), "all is well again")
    assert daemon.log_text().count("takes writes again") == 1


def test_a_disk_full_from_writers_at_once(small):
    """What was acknowledged is there, what was refused is not, in memory and in the file."""
    daemon = small
    code = """
result = {}
for number in range(60):
    name = "%s-%d" % (prefix, number % 20)
    data = bytes([number]) * (1000 * (number % 30))
    try:
        fd = os.open(path + "/" + name, os.O_WRONLY | os.O_CREAT)
    except OSError as error:
        assert error.errno == 28, error
        continue
    result.setdefault(name, b"")
    try:
        os.ftruncate(fd, 0)
        result[name] = b""
        if data:
            os.write(fd, data)
        result[name] = data
    except OSError as error:
        assert error.errno == 28, error
    os.close(fd)
"""
    workers = [daemon.worker() for _ in range(4)]
    pending = [worker.start("execute", code, {"path": daemon.mountpoint, "prefix": "w%d" % number}) for number, worker in enumerate(workers)]
    model = {}
    for one in pending:
        model.update(one.result())
    assert contents(daemon.os, daemon.mountpoint) == model
    assert paths_of(rows_inside(daemon)) == model
    daemon.stop()
    daemon.start()
    assert contents(daemon.os, daemon.mountpoint) == model


# A big one

FILES, SIZE = 20000, 6144


def is_sanitized(path):
    with open(path, "rb") as file:
        content = file.read()
    return b"__asan_init" in content or b"__tsan_init" in content


def plain_build():
    """A pmxcfs whose memory says something: not one with sanitizers."""
    for directory in (BUILD_DIR, os.path.join(SOURCE_DIR, "build-gcc"), os.path.join(SOURCE_DIR, "build")):
        path = os.path.join(directory, "pmxcfs")
        if os.path.exists(path) and not is_sanitized(path):
            return path
    return None


@pytest.fixture(scope="module")
def big_database(possible, tmp_path_factory):
    """20 000 guest configurations of 6 KB."""
    path = str(tmp_path_factory.mktemp("big") / "config.db")
    subprocess.run([os.path.join(BUILD_DIR, "tests", "make_database"), "--quiet", "-n", str(FILES), "-s", str(SIZE), path], check=True)
    yield path
    os.unlink(path)


def test_database_taken_away_without_its_log(daemon):
    """As 'pvecm add' takes it away, after a stop that ended by force: the node begins with an empty one."""
    daemon.os.write_file(daemon / "before", b"x")
    daemon.kill()
    assert os.path.exists(daemon.database + "-wal")
    os.unlink(daemon.database)
    daemon.start()
    assert not daemon.os.exists(daemon / "before")
    assert "-wal was left beside it" in daemon.log_since_start()
    daemon.os.write_file(daemon / "after", b"x")
    daemon.restart()
    assert daemon.os.exists(daemon / "after") and not daemon.os.exists(daemon / "before")
    kept = [name.partition("-2")[0] for name in os.listdir(daemon.state_dir) if ".or" in name or ".overtaken" in name]
    assert sorted(kept) == ["config.db-wal.orphaned", "config.db.journal.overtaken"]


def resident_bytes(daemon):
    for line in daemon.os.read_file("/proc/%d/status" % daemon.pid).decode().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


READ_ALL = """
result = 0
for directory, directories, files in os.walk(path + "/nodes"):
    for name in files:
        fd = os.open(directory + "/" + name, os.O_RDONLY)
        result += len(os.read(fd, 1 << 20))
        os.close(fd)
"""


@pytest.mark.parametrize("build", ["as built", "plain"])
def test_twenty_thousand_guests(make_daemon, big_database, build):
    program = PMXCFS if build == "as built" else plain_build()
    if build == "plain" and not program:
        pytest.skip("no build without sanitizers")
    if build == "as built" and not is_sanitized(PMXCFS):
        pytest.skip("the other one is the same")
    daemon = make_daemon()
    command = daemon.command
    daemon.command = lambda *options: [program, *command(*options)[1:]]
    os.makedirs(daemon.state_dir)
    shutil.copyfile(big_database, daemon.database)
    daemon.start()
    assert len(json.loads(daemon.os.read_file(daemon / ".vmlist"))["ids"]) == FILES
    assert daemon.os.execute(READ_ALL, {"path": daemon.mountpoint}) == FILES * SIZE
    with connect(daemon.database) as database:
        total = database.execute("SELECT sum(length(data)) FROM tree").fetchone()[0]
    assert daemon.os.statvfs(daemon.mountpoint).f_bfree == 32768 - (total + 4095) // 4096
    daemon.os.write_file(daemon / "new", b"x" * 1000)
    if build == "plain":
        memory = resident_bytes(daemon) / (FILES * SIZE)
        assert memory <= 1.25, "%.3f times the content" % memory
    daemon.stop()
    assert len(read_rows(daemon.database)) > FILES
