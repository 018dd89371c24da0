# SPDX-License-Identifier: GPL-3.0-or-later
"""pmxcfsctl db dump, diff, stat, export, import."""

import base64
import glob
import json
import os
import shutil
import sqlite3
import stat
import subprocess

import pytest
from conftest import PMXCFSCTL
from damage import CONTENTS_REFUSED, DIRECTORY, FILE, ROWS, ROWS_REFUSED, make, read_paths, read_rows
from harness import SOURCE_DIR

VECTORS = sorted(glob.glob(os.path.join(SOURCE_DIR, "tests", "vectors", "*", "*.db")))
MIB = 1 << 20


@pytest.fixture
def database(tmp_path):
    return make(str(tmp_path / "config.db"))


def dumped(ctl, *arguments):
    return [json.loads(line) for line in ctl("db", "dump", "--json", *arguments).stdout.splitlines()]


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: "/".join(path.split("/")[-2:]))
def test_recorded_databases(ctl, path, tmp_path):
    """Through all of them: what comes out at the end is what was in it."""
    rows, paths = read_rows(path), read_paths(path)
    dump = dumped(ctl, path)
    assert dump[0]["version"] == rows[0][1] and dump[0]["inode"] == 0
    found = {}
    for entry in dump[1:]:
        row = rows[entry["inode"]]
        assert (entry["parent"], entry["version"], entry["writer"], entry["mtime"]) == row[:4]
        content = entry["text"].encode() if "text" in entry else base64.b64decode(entry["base64"]) if "base64" in entry else None
        found[entry["path"]] = content
    assert found == paths
    text = ctl("db", "dump", path).stdout
    assert all(name in text for name in paths)
    # Files, and a database of these.
    ctl("db", "export", "--database", path, tmp_path / "files")
    exported = {}
    for directory, directories, files in os.walk(tmp_path / "files"):
        assert os.stat(directory).st_mode == stat.S_IFDIR | 0o700
        for name in directories:
            exported[os.path.relpath(os.path.join(directory, name), tmp_path / "files")] = None
        for name in files:
            full = os.path.join(directory, name)
            assert os.stat(full).st_mode == stat.S_IFREG | 0o600
            with open(full, "rb") as file:
                exported[os.path.relpath(full, tmp_path / "files")] = file.read()
    assert exported == paths
    for entry in dump[1:]:
        assert os.stat(tmp_path / "files" / entry["path"]).st_mtime == entry["mtime"]
    ctl("db", "import", tmp_path / "files", tmp_path / "new.db")
    assert os.stat(tmp_path / "new.db").st_mode == stat.S_IFREG | 0o600
    assert read_paths(tmp_path / "new.db") == paths
    ctl("db", "check", tmp_path / "new.db")
    assert ctl("db", "diff", "--content", path, tmp_path / "new.db").stdout == ""
    assert {(entry["path"], entry["mtime"]) for entry in dumped(ctl, tmp_path / "new.db")[1:]} == \
        {(entry["path"], entry["mtime"]) for entry in dump[1:]}


def test_names_and_contents_of_any_bytes(ctl, tmp_path):
    path = str(tmp_path / "config.db")
    make(path, rows=[*ROWS, (30, 0, 30, 1, 1, FILE, "x", b"\xff\0\xfe")], sql="UPDATE tree SET name = CAST(x'ff1b5b' AS TEXT) WHERE inode = 30")
    done = ctl("db", "dump", path)
    assert "\\xff\\x1b[" in done.stdout and "\x1b" not in done.stdout
    entry = [entry for entry in dumped(ctl, path) if entry["inode"] == 30][0]
    assert entry["path"] == "\\xff\\x1b[" and base64.b64decode(entry["base64"]) == b"\xff\0\xfe"
    ctl("db", "export", "--database", path, tmp_path / "files")
    with open(os.fsencode(tmp_path / "files") + b"/\xff\x1b[", "rb") as file:
        assert file.read() == b"\xff\0\xfe"
    ctl("db", "import", tmp_path / "files", tmp_path / "new.db")
    assert read_paths(tmp_path / "new.db") == read_paths(path)


def test_paths_longer_than_one_call_can_name(ctl, tmp_path):
    """A file below 30 directories of 255 bytes each, there and back."""
    path = str(tmp_path / "config.db")
    deep = [(100 + n, 99 + n if n else 0, 40, 1, 1000000 + n, DIRECTORY, "d" * 255, None) for n in range(30)]
    make(path, rows=[*ROWS, *deep, (200, 129, 41, 1, 2000000, FILE, "file", b"deep")])
    ctl("db", "export", "--database", path, tmp_path / "files")
    ctl("db", "import", tmp_path / "files", tmp_path / "new.db")
    assert read_paths(tmp_path / "new.db") == read_paths(path)
    assert [entry["mtime"] for entry in dumped(ctl, tmp_path / "new.db") if entry.get("path", "").startswith("ddd")] == \
        [*range(1000000, 1000030), 2000000]
    subprocess.run(["rm", "-r", tmp_path / "files" / ("d" * 255)], check=True)


def test_while_a_daemon_works(ctl, daemon, tmp_path):
    """What was acknowledged is seen, nothing is disturbed."""
    daemon.os.write_file(daemon / "file", b"content")
    files = daemon.file_names()
    assert {entry["path"]: entry.get("text") for entry in dumped(ctl, daemon.database)[1:]} == {"file": "content"}
    ctl("db", "stat", daemon.database)
    ctl("db", "export", "--database", daemon.database, tmp_path / "files")
    with open(tmp_path / "files" / "file", "rb") as file:
        assert file.read() == b"content"
    assert daemon.file_names() == files
    daemon.os.write_file(daemon / "file", b"more")


def test_what_does_not_load_is_not_read(ctl, tmp_path, database):
    bad = make(str(tmp_path / "bad.db"), ROWS_REFUSED["a guest twice"])
    (tmp_path / "text").write_bytes(CONTENTS_REFUSED["text"][0])
    for path in (bad, tmp_path / "text", tmp_path / "none"):
        for command in (["dump", path], ["stat", path], ["diff", path, database], ["diff", database, path],
                        ["export", "--database", path, tmp_path / "files"]):
            done = ctl("db", *command, code=1)
            assert done.stdout == "" and "refused: " in done.stderr and "cannot be read" in done.stderr
    assert not os.path.exists(tmp_path / "files")


# diff


def differences(ctl, a, b, *options):
    found = json.loads(ctl("db", "diff", "--json", *options, a, b, code=4).stdout)
    assert found["same"] is False
    return {entry["path"]: entry.get("differs", "a" if "a" in entry else "b") for entry in found["differences"]}


def test_diff(ctl, database, tmp_path):
    other = str(tmp_path / "other.db")
    make(other, sql="""UPDATE tree SET data = 'new', version = 41 WHERE inode = 2; DELETE FROM tree WHERE inode = 11;
                       INSERT INTO tree VALUES (30, 8, 30, 1, 1, 8, '300.conf', NULL); UPDATE tree SET mtime = 7, writer = 9 WHERE inode = 9""")
    assert differences(ctl, database, other) == {
        "storage.cfg": ["content", "version"], "nodes/b/lxc/200.conf": "a", "nodes/b/lxc/300.conf": "b", CONF: ["mtime", "writer"]}
    assert differences(ctl, database, other, "--content") == {
        "storage.cfg": ["content"], "nodes/b/lxc/200.conf": "a", "nodes/b/lxc/300.conf": "b"}
    lines = ctl("db", "diff", "--content", database, other, code=4).stdout.splitlines()
    assert [line.split()[0:2] for line in lines] == [["-", "nodes/b/lxc/200.conf"], ["+", "nodes/b/lxc/300.conf"], ["!", "storage.cfg"]]
    assert ctl("db", "diff", database, database).stdout == ""
    assert json.loads(ctl("db", "diff", "--json", database, database).stdout)["same"] is True
    # The version alone.
    make(str(tmp_path / "newer.db"), sql="UPDATE tree SET version = 50 WHERE inode = 0")
    assert "version 40 by node 1, and 50 by node 1" in ctl("db", "diff", database, tmp_path / "newer.db", code=4).stdout
    assert ctl("db", "diff", "--content", database, tmp_path / "newer.db").stdout == ""


CONF = "nodes/a/qemu-server/100.conf"


def test_diff_of_contents(ctl, tmp_path):
    """What patch takes; secrets are masked, unless they are asked for."""
    def texts(path, storage, secret, key, blob=b"same"):
        rows = [*ROWS[:1], (2, 0, 2, 1, 1700, FILE, "storage.cfg", storage), (3, 0, 3, 1, 1, DIRECTORY, "priv", None),
                (4, 3, 4, 1, 1, FILE, "shadow.cfg", secret), (5, 0, 5, 1, 1, FILE, "pve-www.key", key), (6, 0, 6, 1, 1, FILE, "blob", blob)]
        return make(str(tmp_path / path), rows=rows)

    old = "".join("line %d\n" % number for number in range(1, 21))
    new = old.replace("line 5\n", "").replace("line 15\n", "line 15\nmore\n")
    key = b"-----BEGIN PRIVATE KEY-----\n%s\n"
    a = texts("a.db", old.encode(), b"root:one\n", key % b"abc")
    b = texts("b.db", new.encode(), b"root:two\n", key % b"xyz", b"\xff\0")
    text = ctl("db", "diff", "-u", a, b, code=4).stdout
    assert "--- a/storage.cfg\t" in text and "+++ b/storage.cfg\t" in text
    assert "@@ -2,7 +2,6 @@\n line 2\n line 3\n line 4\n-line 5\n line 6\n line 7\n line 8\n@@ -13,6 +12,7 @@\n" in text
    assert "--- a/blob" in text and "Binary files differ\n" in text
    for secret in ("root:one", "root:two", "abc", "xyz", "BEGIN"):
        assert secret not in text
    assert "--- a/priv/shadow.cfg" in text and "-********\n+********\n" in text
    shown = ctl("db", "diff", "-u", "--show-secrets", a, b, code=4).stdout
    assert "-root:one\n+root:two\n" in shown and "-abc\n+xyz\n" in shown
    told = json.loads(ctl("db", "diff", "-u", "--json", a, b, code=4).stdout)
    diffs = {one["path"]: one["diff"] for one in told["differences"]}
    assert "-line 5\n" in diffs["storage.cfg"] and "root" not in diffs["priv/shadow.cfg"]
    # Applied to the one it makes the other.
    (tmp_path / "storage.cfg").write_text(old)
    if shutil.which("patch"):
        subprocess.run(["patch", "-s", tmp_path / "storage.cfg"], input=diffs["storage.cfg"], text=True, check=True)
        assert (tmp_path / "storage.cfg").read_text() == new
    # What only one has, and a directory.
    c = make(str(tmp_path / "c.db"), rows=[*ROWS[:1], (3, 0, 3, 1, 1, DIRECTORY, "dir", None)])
    text = ctl("db", "diff", "-u", a, c, code=4).stdout
    assert "--- a/storage.cfg\t" in text and "+++ /dev/null\n@@ -1,20 +0,0 @@\n-line 1\n" in text and "+ dir/" in text
    assert ctl("db", "diff", "-u", a, a).stdout == ""
    make(str(tmp_path / "later.db"), rows=[(0, 0, 50, 2, 1800, FILE, "__version__", None), *[(*row[:4], 9, *row[5:]) for row in ROWS[1:]]])
    assert ctl("db", "diff", "-u", make(str(tmp_path / "d.db")), tmp_path / "later.db").stdout == ""


def test_diff_against_the_daemon(ctl, daemon, tmp_path):
    """What it has now, journal and all, without naming its files."""
    def diff(*arguments, code=0):
        done = daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, "db", "diff", *arguments, str(tmp_path / "old.db")])
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    daemon.os.write_file(daemon / "file", b"one\n")
    ctl("backup", "--database", daemon.database, tmp_path / "old.db")
    assert diff() == diff("-u") == ""
    daemon.os.write_file(daemon / "file", b"two\n")
    assert "! file  (content, mtime, version" in diff(code=4) or "! file  (content, version" in diff(code=4)
    assert "@@ -1 +1 @@\n-one\n+two\n" in diff("-u", code=4)
    told = json.loads(diff("--json", code=4))
    assert told["b"]["file"] == daemon.database and [one["path"] for one in told["differences"]] == ["file"]
    daemon.stop()
    done = daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, "db", "diff", str(tmp_path / "old.db")])
    assert done.returncode == 3 and "no daemon answers" in done.stderr


# stat


def test_stat(ctl, database):
    found = json.loads(ctl("db", "stat", "--json", database).stdout)
    assert found["version"] == 40 and found["entries"] == len(ROWS) and found["files"] == 3 and found["directories"] == 7, "the root is one"
    assert found["bytes"] == 2 + 8 + 1 and found["guests"] == {"qemu": 1, "lxc": 1, "openvz": 0}
    assert found["biggest"][0] == {"path": CONF, "bytes": 8}
    assert found["disk"]["pages"] * found["disk"]["page_size"] == found["disk"]["file_bytes"] == os.path.getsize(database)
    assert found["entries_max"] == 262144 and found["bytes_max"] == 128 * MIB
    text = ctl("db", "stat", database).stdout
    assert "%d of 262144 (0.0 %%): 3 files, 7 directories" % found["entries"] in text and "of 128 MiB" in text and CONF in text and "1 qemu, 1 lxc" in text
    connection = sqlite3.connect(database)
    connection.execute("UPDATE tree SET data = zeroblob(100000) WHERE inode = 2")
    connection.commit()
    connection.execute("UPDATE tree SET data = NULL WHERE inode = 2")
    connection.commit()
    connection.close()
    assert json.loads(ctl("db", "stat", "--json", database).stdout)["disk"]["free_pages"] > 20


# export


def test_export_of_a_name_that_no_disk_takes(ctl, tmp_path):
    """Another member's change may have made it; a repair gives it another."""
    database = make(str(tmp_path / "odd.db"), rows=[*ROWS, (30, 0, 30, 1, 1, FILE, "n" * 5000, b"x")])
    assert "File name too long" in ctl("db", "export", "--database", database, tmp_path / "files", code=1).stderr
    ctl("db", "check", "--repair", tmp_path / "new.db", database)
    ctl("db", "export", "--database", tmp_path / "new.db", tmp_path / "more")
    assert (tmp_path / "more/priv/lost+found" / ("n" * 200 + ".inode-30")).read_bytes() == b"x"


def test_export_refuses_what_is_not_empty(ctl, database, tmp_path):
    os.mkdir(tmp_path / "files", mode=0o755)
    (tmp_path / "files" / "there").write_text("x")
    done = ctl("db", "export", "--database", database, tmp_path / "files", code=1)
    assert "is not empty" in done.stderr
    assert os.listdir(tmp_path / "files") == ["there"]
    ctl("db", "export", "--database", database, tmp_path / "files" / "there", code=1)
    os.unlink(tmp_path / "files" / "there")
    ctl("db", "export", "--database", database, tmp_path / "files")
    assert os.stat(tmp_path / "files").st_mode & 0o7777 == 0o700, "an empty one is made private"
    ctl("db", "export", "--database", database, tmp_path / "no" / "parent", code=1)


# import


@pytest.fixture
def files(tmp_path):
    """A directory with some files."""
    os.makedirs(tmp_path / "files" / "nodes" / "a" / "qemu-server")
    (tmp_path / "files" / "nodes" / "a" / "qemu-server" / "100.conf").write_text("cores: 1\n")
    return tmp_path / "files"


def refused_import(ctl, files, tmp_path, *words):
    done = ctl("db", "import", files, tmp_path / "new.db", code=1)
    for word in words:
        assert word in done.stderr
    assert not [name for name in os.listdir(tmp_path) if name.startswith("new.db")]


def test_import_of_a_copy_of_the_mount(ctl, daemon, tmp_path):
    daemon.os.write_file(daemon / "storage.cfg", b"dir: local\n")
    daemon.os.makedirs(daemon / "nodes/node1/qemu-server")
    daemon.os.write_file(daemon / "nodes/node1/qemu-server/100.conf", b"cores: 1\n")
    daemon.run(["cp", "-a", daemon.mountpoint, tmp_path / "copy"], check=True)
    done = ctl("db", "import", tmp_path / "copy", tmp_path / "new.db")
    assert "left out" in done.stderr
    ctl("db", "diff", "--content", daemon.database, tmp_path / "new.db")


def test_import_keeps_the_limits(ctl, files, tmp_path):
    """All that is in the way is named."""
    (files / "large").write_bytes(bytes(MIB + 1))
    (files / "fits").write_bytes(bytes(MIB))
    os.makedirs(files / "nodes" / "b" / "lxc")
    (files / "nodes" / "b" / "lxc" / "100.conf").write_text("x")
    (files / "nodes" / "b" / "openvz").write_text("x")
    os.mkdir(files / "nodes" / "b" / "lxc" / "300.conf")
    os.symlink("/etc/passwd", files / "link")
    os.mkfifo(files / "fifo")
    refused_import(ctl, files, tmp_path, "large: a file can have 1 MiB at most", "nodes/b/lxc/100.conf: the guest of this number is there",
                   "nodes/b/openvz: this must be a directory", "300.conf: a directory cannot have the name of a guest",
                   "link: only files and directories", "fifo: only files and directories", "6 things are in the way")


def test_import_of_too_much(ctl, files, tmp_path):
    for number in range(128):
        (files / ("file%03d" % number)).write_bytes(bytes(MIB))
    refused_import(ctl, files, tmp_path, "nodes/a/qemu-server/100.conf: the limit of 128 MiB")


def test_import_never_writes_over_anything(ctl, files, database, tmp_path):
    with open(database, "rb") as file:
        before = file.read()
    assert "is there already" in ctl("db", "import", files, database, code=1).stderr
    os.symlink("/nowhere", tmp_path / "link")
    assert "is there already" in ctl("db", "import", files, tmp_path / "link", code=1).stderr
    with open(database, "rb") as file:
        assert file.read() == before
    ctl("db", "import", tmp_path / "none", tmp_path / "new.db", code=1)
    ctl("db", "import", files, tmp_path / "no" / "directory", code=1)
    assert sorted(os.listdir(tmp_path)) == ["config.db", "files", "link"]


def test_numbers_of_an_import(ctl, files, tmp_path):
    """As if each had been made through the mount."""
    (files / "empty").write_text("")
    os.utime(files / "empty", (5, 5))
    ctl("db", "import", files, tmp_path / "new.db")
    rows = read_rows(tmp_path / "new.db")
    assert {inode: (row[0], row[1], row[4], row[5]) for inode, row in rows.items()} == {
        0: (0, 7, FILE, b"__version__"), 2: (0, 2, FILE, b"empty"), 3: (0, 3, DIRECTORY, b"nodes"), 4: (3, 4, DIRECTORY, b"a"),
        5: (4, 5, DIRECTORY, b"qemu-server"), 6: (5, 7, FILE, b"100.conf")}
    assert rows[2][3] == 5
