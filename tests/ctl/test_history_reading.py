# SPDX-License-Identifier: GPL-3.0-or-later
"""What files were: pmxcfsctl show, diff, blame, export, audit; of a running daemon, a dead host, a damaged history."""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess

import pytest
from conftest import PMXCFSCTL
from damage import FILE, ROWS, make
from harness import GROUP_ID, Daemon

# None of them goes on where the one before it ends: that would be one piece of writing.
STORAGE = ["dir: local\n\tpath /var/lib/vz\n", "dir: local\n\tpath /srv\n", "dir: local\n\tcontent iso\n\tpath /srv\n"]
KEY = "-----BEGIN PRIVATE KEY-----\nvery secret\n"


def write(daemon, path, text):
    daemon.os.makedirs(os.path.dirname(daemon / path), exist_ok=True)
    daemon.os.write_file(daemon / path, text.encode())


def fill(daemon):
    """storage.cfg with three contents; a guest that moved to node2 and was altered before."""
    for text in STORAGE:
        write(daemon, "storage.cfg", text)
    daemon.os.makedirs(daemon / "nodes/node2/qemu-server")
    daemon.os.makedirs(daemon / "nodes/node1/qemu-server", exist_ok=True)
    write(daemon, "nodes/node1/qemu-server/100.conf", "name: web\ncores: 1\n")
    write(daemon, "nodes/node1/qemu-server/100.conf", "name: web\ncores: 2\n")
    daemon.os.rename(daemon / "nodes/node1/qemu-server/100.conf", daemon / "nodes/node2/qemu-server/100.conf")
    return daemon


@pytest.fixture
def filled(daemon):
    """For those who go on from there."""
    return fill(daemon)


def versions(run, path):
    """Of the changes of exactly that path, the oldest first."""
    return [one["version"] for one in reversed(json.loads(run("--json", "history", path).stdout)) if one["path"] == path]


@pytest.fixture(scope="module")
def shared(possible, tmp_path_factory):
    """For those who only look: a running daemon, and its history.db as a host leaves it that dies: a path."""
    dead = tmp_path_factory.mktemp("dead") / "history.db"
    with contextlib.closing(Daemon(tmp_path_factory.mktemp("shared"), "node1")) as daemon:
        fill(daemon.start())
        done = daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, "history"])  # so that all is written down
        assert done.returncode == 0, done.stderr
        for end in ("", "-wal"):
            shutil.copy(os.path.join(daemon.state_dir, "history.db" + end), str(dead) + end)
        yield daemon, dead


@pytest.fixture(params=["live", "dead"])
def either(request, shared, ctl):
    """The commands on what was done there: beside the daemon, and on the dead host's."""
    daemon, dead = shared
    request.node.daemons = [daemon]

    def run(*arguments, code=0):
        done = daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, *arguments])
        assert done.returncode == code, "%d: %s%s" % (done.returncode, done.stdout, done.stderr)
        return done

    return run if request.param == "live" else lambda *arguments, **keywords: ctl(*arguments, "--database", dead, **keywords)


@pytest.fixture
def damaged(shared, ctl, tmp_path):
    """The dead host's history, of which damaged(sql) was done: the commands on it."""
    path = str(tmp_path / "history.db")
    for end in ("", "-wal"):
        shutil.copy(str(shared[1]) + end, path + end)

    def damage(sql):
        connection = sqlite3.connect(path)
        connection.executescript(sql)
        connection.close()
        return lambda *arguments, **keywords: ctl(*arguments, "--database", path, **keywords)

    damage.path = path
    return damage


# --- show


def test_show(either):
    created, *written = versions(either, "storage.cfg")
    assert len(written) == 3
    for version, text in zip(written, STORAGE):
        assert either("show", "/etc/pve/storage.cfg@%d" % version).stdout == text
    assert either("show", "storage.cfg").stdout == STORAGE[-1] == either("show", "storage.cfg@now").stdout
    assert either("show", "storage.cfg@%d" % created).stdout == ""
    known = json.loads(either("--json", "show", "storage.cfg@%d" % written[0]).stdout)
    assert (known["text"], known["version"], known["after"]["bytes"], known["who"]["uid"]) == (STORAGE[0], written[0], len(STORAGE[0]), 0)


def test_show_of_what_is_not_there(either):
    gone = "nodes/node1/qemu-server/100.conf"
    last = versions(either, gone)[-1]
    answer = either("show", gone, code=1).stderr
    assert "renamed to nodes/node2/qemu-server/100.conf" in answer and "before: pmxcfsctl show %s@%d\n" % (gone, last - 1) in answer
    assert either("show", "%s@%d" % (gone, last - 1)).stdout == "name: web\ncores: 2\n"
    first = versions(either, gone)[0]
    answer = either("show", "%s@%d" % (gone, first - 1), code=1).stderr
    assert gone + " was not there then" in answer and "(version %d)" % first in answer
    answer = either("show", "nodes/node2/qemu-server/100.conf@%d" % (last - 1), code=1).stderr
    assert "it came from " + gone in answer
    assert "is a directory" in either("show", "nodes/node1", code=1).stderr
    assert json.loads(either("--json", "show", "nodes/node1").stdout)["after"]["type"] == "directory"


def test_show_words_that_are_wrong(either):
    assert "no path 'storage.cgf'; did you mean 'storage.cfg'?" in either("show", "storage.cgf", code=1).stderr
    assert "'yesterdy' is no version and no time" in either("show", "storage.cfg@yesterdy", code=2).stderr
    assert "version 99999 has not been: the last" in either("show", "storage.cfg@99999", code=2).stderr
    assert "still to come" in either("show", "storage.cfg@2037-01-01", code=2).stderr
    assert "not recorded that far back" in either("show", "storage.cfg@2001-01-01", code=1).stderr


def test_show_through_links_and_at_signs(filled, live):
    """This node's own names; a path may have an @."""
    write(filled, "nodes/node1/lxc/101.conf", "x")
    assert live("show", "lxc/101.conf").stdout == live("show", "/etc/pve/local/lxc/101.conf@now").stdout == "x"
    filled.os.write_file(filled / "me@home", b"at home")
    assert live("show", "me@home").stdout == live("show", "me@home@now").stdout == "at home"
    filled.os.write_file(filled / "bytes", b"\xff\0")
    assert json.loads(live("--json", "show", "bytes").stdout)["base64"] == "/wA="


# --- diff


def hunks(text):
    return [line for line in text.splitlines() if not line.startswith(("---", "+++"))]


def test_diff(either):
    """Against before the last change; between two; of what moved; of all below a directory."""
    created, one, two, three = versions(either, "storage.cfg")
    last = ["@@ -1,2 +1,3 @@", " dir: local", "+\tcontent iso", " \tpath /srv"]
    assert hunks(either("diff", "storage.cfg", code=4).stdout) == last
    assert either("diff", "storage.cfg", str(two), code=4).stdout == either("diff", "storage.cfg", code=4).stdout
    between = either("diff", "storage.cfg", str(one), str(two), code=4).stdout
    assert hunks(between) == ["@@ -1,2 +1,2 @@", " dir: local", "-\tpath /var/lib/vz", "+\tpath /srv"]
    assert between.startswith("--- a/storage.cfg\t") and "(version %d)\n+++ b/storage.cfg\t" % one in between
    assert "--- /dev/null" in either("diff", "storage.cfg", str(created - 1), code=4).stdout
    assert either("diff", "storage.cfg", "now").stdout == "" == either("diff", "storage.cfg", str(three)).stdout
    moved = "nodes/node2/qemu-server/100.conf"
    assert hunks(either("diff", moved, code=4).stdout) == ["@@ -1,2 +1,2 @@", " name: web", "-cores: 1", "+cores: 2"]
    before = versions(either, "nodes/node1/qemu-server/100.conf")[1]
    assert "--- a/nodes/node1/qemu-server/100.conf\t" in either("diff", moved, str(before), code=4).stdout
    everything = either("diff", "/", str(one), code=4).stdout
    assert "+++ b/storage.cfg" in everything and "+++ b/" + moved in everything and "node1/qemu-server" not in everything


def test_diff_on_a_terminal(daemon, live):
    """In colours, and without what the terminal would obey."""
    write(daemon, "note", "a\n")
    write(daemon, "note", "b\x1b[2J\n")
    for command in ("diff", "blame"):
        call = "%s --socket-name %s %s note" % (PMXCFSCTL, daemon.socket_name, command)
        shown = daemon.run(["env", "-u", "NO_COLOR", "TERM=xterm", "script", "-qec", call, "/dev/null"], stdin=subprocess.DEVNULL).stdout
        assert "b\\x1b[2J" in shown and "\x1b[2J" not in shown
        assert "\x1b" not in live(command, "note", code=4 if command == "diff" else 0).stdout.replace("\x1b[2J", "")
        assert command == "blame" or "\x1b[32m+b" in shown, shown


def test_diff_as_json(either):
    one, two = versions(either, "storage.cfg")[1:3]
    answer = json.loads(either("--json", "diff", "storage.cfg", str(one), str(two), code=4).stdout)
    (found,) = answer["differences"]
    assert not answer["same"] and found["path"] == "storage.cfg" and (found["a"]["version"], found["b"]["version"]) == (one, two)
    assert found["diff"] == either("diff", "storage.cfg", str(one), str(two), code=4).stdout
    assert json.loads(either("--json", "diff", "storage.cfg", "now").stdout) == {"same": True, "differences": []}


def test_diff_of_what_is_written_in_pieces(daemon, live):
    """That is one change, however many the kernel makes of it; so is the making of a new file."""

    def copy(lines):
        """As dd does; half of it is in the history before the rest is written."""
        data = "".join(line + "\n" for line in lines).encode()
        fd = daemon.os.open(daemon / "large", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for start in range(0, len(data), 65536):
            daemon.os.write(fd, data[start:start + 65536])
            if start == 65536:
                versions(live, "large")
        daemon.os.close(fd)

    copy(map(str, range(60000)))
    assert len(versions(live, "large")) >= 3  # and one more where the recorder comes by in between
    assert hunks(live("diff", "large", code=4).stdout)[0] == "@@ -0,0 +1,60000 @@"
    copy([*map(str, range(1, 60000)), "end"])
    assert [line for line in hunks(live("diff", "large", code=4).stdout) if line[0] in "+-"] == ["-0", "+end"]
    write(daemon, "small", "a\n")
    assert live("diff", "small", code=4).stdout.startswith("--- /dev/null\n+++ b/small\t")


def test_diff_of_a_deleted_file(daemon, live):
    write(daemon, "storage.cfg", STORAGE[0])
    daemon.os.unlink(daemon / "storage.cfg")
    assert hunks(live("diff", "storage.cfg", code=4).stdout) == ["@@ -1,2 +0,0 @@", "-dir: local", "-\tpath /var/lib/vz"]
    assert "did you mean 'storage.cfg'?" in live("diff", "storage.cf", code=1).stderr
    assert "no version and no time" in live("diff", "storage.cfg", "1", "soon", code=2).stderr
    assert "complete from" in live("diff", "storage.cfg", "2001-01-01").stderr


def test_secrets_are_masked(make_daemon):
    """Those of private paths, of which a content is kept only if it is wanted, and keys anywhere."""
    daemon = make_daemon(options=["--history-private"]).start()

    def run(*arguments):
        return daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, *arguments]).stdout

    write(daemon, "priv/password", "old secret\n")
    write(daemon, "priv/password", "new secret\n")
    write(daemon, "pve-www.key", KEY)
    for path in ("priv/password", "pve-www.key"):
        assert "********" in run("diff", path) and "secret" not in run("diff", path) + run("--json", "diff", path) + run("blame", path)
        assert "secret" in run("diff", "--show-secrets", path) and "secret" in run("blame", "--show-secrets", path)


def test_private_paths(daemon, live):
    write(daemon, "priv/password", "old secret\n")
    write(daemon, "priv/password", "new secret\n")
    assert "its lines are not kept: it is private" in live("diff", "priv/password", code=4).stdout
    assert "--history-private" in json.loads(live("--json", "diff", "priv/password", code=4).stdout)["differences"][0]["missing"]
    assert "not kept: it is private" in live("show", "priv/password", code=1).stderr
    assert json.loads(live("--json", "show", "priv/password").stdout)["after"]["private"]


# --- blame


def test_blame(either):
    """Each line with the change that brought it; a guest that moves stays the same."""
    one, two, three = versions(either, "storage.cfg")[1:]
    found = json.loads(either("--json", "blame", "storage.cfg").stdout)
    assert [line["change"]["version"] for line in found] == [one, three, two] and all(line["exact"] for line in found)
    assert [line["text"] for line in found] == STORAGE[-1].splitlines()
    shown = either("blame", "storage.cfg").stdout.splitlines()
    assert len(shown) == 3 and shown[2].split()[0] == str(two) and "root: python" in shown[2] and shown[2].endswith("3  \tpath /srv")
    assert len(either("blame", "storage.cfg@%d" % one).stdout.splitlines()) == 2
    moved = json.loads(either("--json", "blame", "nodes/node2/qemu-server/100.conf").stdout)
    assert [line["change"]["version"] for line in moved] == versions(either, "nodes/node1/qemu-server/100.conf")[1:3]
    assert {line["change"]["path"] for line in moved} == {"nodes/node1/qemu-server/100.conf"}


def test_blame_where_records_are_missing(damaged):
    """What came in between is of nobody; what was there at the beginning may be older."""
    run = damaged("""DELETE FROM changes WHERE version = (SELECT max(c.version) - 1 FROM changes c JOIN paths p ON p.id = c.path WHERE p.path = 'storage.cfg');
                     UPDATE changes SET operation = 17 WHERE old_type = 0 AND path = (SELECT id FROM paths WHERE path = 'nodes/node1/qemu-server/100.conf')""")
    lines = json.loads(run("--json", "blame", "storage.cfg").stdout)
    assert [line["change"] is None for line in lines] == [False, False, True]
    assert run("blame", "storage.cfg").stdout.splitlines()[2].startswith("^        -  not recorded")


def test_blame_of_what_was_found(daemon, live):
    """The history is begun anew on what is there."""
    write(daemon, "storage.cfg", STORAGE[0])
    versions(live, "storage.cfg")
    daemon.stop()
    os.unlink(os.path.join(daemon.state_dir, "history.db"))
    daemon.start()
    write(daemon, "storage.cfg", STORAGE[2])
    lines = json.loads(live("--json", "blame", "storage.cfg").stdout)
    assert [line["exact"] for line in lines] == [False, True, True] and lines[0]["change"]["operation"] == "found"
    assert live("blame", "storage.cfg").stdout.startswith("^")
    write(daemon, "bytes", "a\0b")
    daemon.os.mkdir(daemon / "firewall")
    assert "it is no text" in live("blame", "bytes", code=1).stderr and "it is a directory" in live("blame", "firewall", code=1).stderr


# --- audit


def test_audit(either):
    """Who did what here: by user, path and time; not what other nodes asked for."""
    everything = json.loads(either("--json", "history", "-n", "0").stdout)
    here = [one for one in everything if one["who"]]
    assert len(here) >= 10 and json.loads(either("--json", "audit", "-n", "0").stdout) == here
    assert json.loads(either("--json", "audit", "--user", "root", "-n", "0").stdout) == here == json.loads(either("--json", "audit", "-u", "0").stdout)
    assert json.loads(either("--json", "audit", "--user", "daemon").stdout) == []
    guest = [one for one in here if one["path"].endswith("100.conf")]
    assert json.loads(either("--json", "audit", "--path", "nodes/*/100.conf").stdout) == guest
    shown = either("audit", "-p", "storage.cfg", "--since", "1h").stdout.splitlines()
    assert len(shown) == 4 and all("root" in line and "storage.cfg  " in line and "python" in line for line in shown)
    assert "older ones" in either("audit", "-n", "1").stderr
    assert "nobody on this node" in either("audit", "--user", "1234567").stdout


def test_audit_leaves_out_what_others_asked_for(damaged):
    run = damaged("UPDATE changes SET actor = NULL WHERE id % 2")
    everything = json.loads(run("--json", "history", "-n", "0").stdout)
    found = json.loads(run("--json", "audit", "-n", "0").stdout)
    assert found == [one for one in everything if one["who"]] and len(found) < len(everything)


def test_audit_words_that_are_wrong(either):
    assert "no user is called 'rooot'; did you mean 'root'?" in either("audit", "--user", "rooot", code=1).stderr
    assert "did you mean 'storage.cfg'?" in either("audit", "--path", "storage.cg", code=1).stderr
    assert "is no time" in either("audit", "--since", "soon", code=2).stderr


# --- export


def files_below(directory):
    """Path and text of each file; None for a directory."""
    found = {}
    for parent, directories, files in os.walk(directory):
        assert not os.lstat(parent).st_mode & 0o077
        found.update({os.path.relpath(os.path.join(parent, name), directory): None for name in directories})
        for name in files:
            path = os.path.join(parent, name)
            assert os.stat(path).st_mode & 0o777 == 0o600
            with open(path) as file:
                found[os.path.relpath(path, directory)] = file.read()
    return found


def test_export(damaged, tmp_path):
    """The whole tree of a moment, now and in between."""
    run = damaged("")
    one = versions(run, "storage.cfg")[1]
    last = versions(run, "nodes/node1/qemu-server/100.conf")[-1]
    shown = run("export", "--at", last - 1, tmp_path / "before").stdout
    before = files_below(tmp_path / "before")
    assert before["storage.cfg"] == STORAGE[-1] and before["nodes/node1/qemu-server/100.conf"] == "name: web\ncores: 2\n"
    assert before["nodes/node2/qemu-server"] is None and "nodes/node2/qemu-server/100.conf" not in before
    assert "2 files, " in shown and "as after version %d of " % (last - 1) in shown
    answer = json.loads(run("--json", "export", "--at", "now", tmp_path / "now").stdout)
    now = files_below(tmp_path / "now")
    assert now == {**{path: text for path, text in before.items() if "100.conf" not in path}, "nodes/node2/qemu-server/100.conf": "name: web\ncores: 2\n"}
    assert (answer["version"], answer["complete"], answer["files"], answer["missing"], answer["damaged"]) == (last, True, 2, [], [])
    known = json.loads(run("--json", "show", "storage.cfg").stdout)
    assert os.stat(tmp_path / "now/storage.cfg").st_mtime == known["after"]["mtime"]
    run("export", "--at", one, tmp_path / "first")
    assert files_below(tmp_path / "first")["storage.cfg"] == STORAGE[0]


def test_export_that_is_refused(damaged, tmp_path):
    run = damaged("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    assert "is not empty" in run("export", "--at", "now", tmp_path / "full", code=1).stderr
    assert "of which moment?" in run("export", tmp_path / "new", code=2).stderr
    answer = run("export", "--at", "2001-01-01", tmp_path / "new", code=1).stderr
    assert "nothing is recorded from before '2001-01-01'" in answer and "complete from" in answer
    assert not (tmp_path / "new").exists()


def test_export_of_what_is_not_complete(damaged, tmp_path):
    """It is said, and directories that are not in it are made."""
    run = damaged("UPDATE meta SET value = 1000 WHERE key = 'complete_id'; DELETE FROM changes WHERE operation = 2")
    last = versions(run, "storage.cfg")[-1]
    assert "warning: the history is complete from" in run("export", "--at", last + 8, tmp_path / "new").stderr
    assert files_below(tmp_path / "new")["nodes/node1/qemu-server/100.conf"].startswith("name: web")


def test_export_without_what_is_private_or_damaged(damaged, tmp_path):
    """The rest is written, and what is not is named."""
    guest = "nodes/node2/qemu-server/100.conf"
    run = damaged("UPDATE changes SET new_kept = 1, new_content = NULL WHERE path = (SELECT id FROM paths WHERE path = '%s')" % guest)
    assert "not in it:\n  %s\n" % guest in run("export", "--at", "now", tmp_path / "one").stderr
    run = damaged("UPDATE contents SET data = x'00' WHERE size = %d" % len(STORAGE[-1]))
    done = run("--json", "export", "--at", "now", tmp_path / "two", code=1)
    answer = json.loads(done.stdout)
    assert answer["damaged"] == ["storage.cfg"] and [one["path"] for one in answer["missing"]] == [guest]
    assert damaged.path in done.stderr and "the content of storage.cfg" in done.stderr
    assert set(files_below(tmp_path / "one")) - set(files_below(tmp_path / "two")) == {"storage.cfg"}


# --- guests


@pytest.fixture
def deleted(filled):
    """101 was deleted, 102 is there again, 103 became a container; 100 has moved."""
    for number in (101, 102, 103):
        write(filled, "nodes/node1/qemu-server/%d.conf" % number, "name: gone\n")
        filled.os.unlink(filled / ("nodes/node1/qemu-server/%d.conf" % number))
    write(filled, "nodes/node2/qemu-server/102.conf", "name: back\n")
    write(filled, "nodes/node2/lxc/103.conf", "hostname: other\n")
    return filled


UNDELETE = "pmxcfsctl undelete nodes/node1/qemu-server/101.conf"


def test_deleted_guests(deleted, live, ctl):
    """With the command that brings them back, of a running daemon and of a dead host."""
    answer = json.loads(live("--json", "guests").stdout)
    assert set(answer["ids"]) == {"100", "102", "103"}
    (gone,) = answer["deleted"]
    assert (gone["id"], gone["type"], gone["node"], gone["undelete"], gone["who"]["uid"]) == ("101", "qemu", "node1", UNDELETE, 0)
    shown = live("guests").stdout.splitlines()
    assert shown[3] == "" and shown[4].startswith("       101  qemu    node1  deleted ") and shown[5].strip() == UNDELETE
    assert json.loads(live("--json", "guests", "--deleted", "now", "102").stdout)["deleted"] == []
    assert json.loads(live("--json", "guests", "--node", "node2").stdout)["deleted"] == []
    assert "guest 101 was deleted; '%s' brings it back" % UNDELETE in live("guests", "101", code=1).stderr
    assert "is no time" in live("guests", "--deleted", "soon", code=2).stderr
    deleted.stop()
    dead = json.loads(ctl("--json", "guests", "--database", deleted.state_dir).stdout)
    assert dead["deleted"] == [gone] and {i: one["node"] for i, one in dead["ids"].items()} == {i: one["node"] for i, one in answer["ids"].items()}


def test_guests_where_the_history_tells_nothing(deleted, live):
    """Not for others than root, not without a history; with a damaged one they are listed nevertheless."""
    done = live("--json", "guests", uid=GROUP_ID, gid=GROUP_ID)
    assert "deleted" not in json.loads(done.stdout) and done.stderr == ""
    versions(live, "storage.cfg")
    connection = sqlite3.connect(os.path.join(deleted.state_dir, "history.db"))
    connection.executescript("UPDATE changes SET new_type = 99")
    connection.close()
    done = live("--json", "guests")
    assert "deleted" not in json.loads(done.stdout) and len(json.loads(done.stdout)["ids"]) == 3
    assert "the deleted guests cannot be read: the file is damaged" in done.stderr


# --- damage


def test_damaged_contents(damaged):
    """What is wrong, where, and what can be done."""
    run = damaged("UPDATE contents SET data = x'00', codec = 0")
    for command in ("show", "diff", "blame"):
        answer = run(command, "storage.cfg", code=1).stderr
        assert damaged.path in answer and "storage.cfg" in answer and "damaged" in answer and "Every node writes a history" in answer


def test_of_damaged_guests(damaged):
    """What is told is not all, and the exit code says so."""
    run = damaged("UPDATE changes SET new_mtime = -1 WHERE id IN (SELECT min(id) FROM changes WHERE path IN (SELECT id FROM paths WHERE path LIKE 'nodes/%.conf'))")
    assert "damaged" in run("guests", code=1).stderr


def test_damaged_rows(damaged):
    run = damaged("UPDATE changes SET new_type = 99")
    for command in (["show", "storage.cfg"], ["diff", "storage.cfg"], ["blame", "storage.cfg"], ["audit"], ["history"]):
        answer = run(*command, code=1).stderr
        assert damaged.path in answer and "damaged" in answer and "A new one begins when " + damaged.path in answer


def test_what_is_larger_than_can_be_written(ctl, make_daemon):
    """A file of more than 1 MiB, and a name of more than 64 KiB, load: a history with them is read like any other."""
    daemon = make_daemon()
    long, large = "n" * 70000, b"0123456789abcde\n" * 200000
    make(daemon.database, rows=[*ROWS, (30, 0, 30, 1, 1, FILE, long, b"x"), (31, 0, 31, 1, 1, FILE, "large", large)])
    daemon.start()
    daemon.os.rename(daemon / "large", daemon / "renamed")
    daemon.stop()
    told = json.loads(ctl("--json", "history", "--database", daemon.database).stdout)
    assert {"large", "renamed"} <= {one["path"] for one in told}
    assert ctl("show", "--database", daemon.database, "renamed").stdout == large.decode()
    daemon.start()
    daemon.os.unlink(daemon / "renamed")
    daemon.stop()
    assert ctl("show", "--database", daemon.database, "renamed@41").stdout == large.decode()
