# SPDX-License-Identifier: GPL-3.0-or-later
"""pmxcfsctl undelete, revert and rollback: what was is written back, by ordinary changes."""

import json

import pytest
from conftest import PMXCFSCTL
from running import Terminal, guest


@pytest.fixture
def fs(daemon):
    """put(path, content), get(path) (None: not there) of the mount."""

    class Files:
        def put(self, path, content):
            if "/" in path:
                daemon.os.makedirs(daemon / path.rpartition("/")[0], exist_ok=True)
            daemon.os.write_file(daemon / path, content.encode())

        def get(self, path):
            return daemon.os.read_file(daemon / path).decode() if daemon.os.exists(daemon / path) else None

    return Files()


def version(live):
    """The last one that is recorded."""
    return str(json.loads(live("--json", "history", "-n", "1").stdout)[0]["version"])


def steps(done):
    return [(one["action"], one["path"], one["result"]) for one in json.loads(done.stdout)]


def operations(live, path):
    """What happened to it, the newest first."""
    return [one["operation"] for one in json.loads(live("--json", "history", path).stdout) if one["path"] == path]


# ---- undelete ----


def test_undelete_a_file(daemon, live, fs):
    fs.put("firewall/cluster.fw", "[RULES]\n")
    daemon.os.unlink(daemon / "firewall/cluster.fw")
    daemon.os.rmdir(daemon / "firewall")
    shown = live("undelete", "--dry-run", "/etc/pve/firewall/cluster.fw").stdout
    assert "would create firewall/cluster.fw\n" in shown and "+[RULES]\n" in shown and "--- /dev/null" in shown
    assert fs.get("firewall/cluster.fw") is None
    assert live("undelete", "firewall/cluster.fw").stdout == "created firewall/cluster.fw\n"
    assert fs.get("firewall/cluster.fw") == "[RULES]\n"
    assert operations(live, "firewall/cluster.fw")[:2] == ["create", "delete"], "it is one change"


def test_undelete_a_directory(daemon, live, fs):
    """With what went with it, not with what was deleted long before (as far as its content was replaced before)."""
    fs.put("sdn/zones.cfg", "zone: a\n")
    fs.put("sdn/deep/er/file", "x")
    fs.put("sdn/empty", "")
    daemon.os.unlink(daemon / "sdn/deep/er/file")
    fs.put("sdn/deep/er/other", "y")
    for path in ("sdn/deep/er/other", "sdn/empty", "sdn/zones.cfg"):
        daemon.os.unlink(daemon / path)
    for path in ("sdn/deep/er", "sdn/deep", "sdn"):
        daemon.os.rmdir(daemon / path)
    planned = steps(live("--json", "undelete", "--dry-run", "sdn/"))
    assert planned == [("mkdir", "sdn", "would"), ("mkdir", "sdn/deep", "would"), ("mkdir", "sdn/deep/er", "would"),
                       ("create", "sdn/deep/er/other", "would"), ("create", "sdn/empty", "would"), ("create", "sdn/zones.cfg", "would")]
    assert [one[2] for one in steps(live("--json", "undelete", "sdn"))] == ["done"] * 6
    assert (fs.get("sdn/zones.cfg"), fs.get("sdn/deep/er/other"), fs.get("sdn/empty")) == ("zone: a\n", "y", "")
    assert fs.get("sdn/deep/er/file") is None


def test_undelete_of_a_guest_whose_number_was_taken(daemon, live, fs):
    guest(daemon, "node1", "qemu-server", 100)
    daemon.os.unlink(daemon / "nodes/node1/qemu-server/100.conf")
    guest(daemon, "node2", "lxc", 100)
    for options in (["--dry-run"], []):
        done = live("undelete", *options, "nodes/node1/qemu-server/100.conf", code=1)
        assert "guest number 100 is taken: nodes/node2/lxc/100.conf (node node2) has it now" in done.stderr
    told = json.loads(live("--json", "undelete", "qemu-server/100.conf", code=1).stdout)
    assert [(one["result"], "node2" in one["reason"]) for one in told] == [("failed", True)]
    assert fs.get("nodes/node1/qemu-server/100.conf") is None
    daemon.os.unlink(daemon / "nodes/node2/lxc/100.conf")
    live("undelete", "nodes/node1/qemu-server/100.conf")
    assert fs.get("nodes/node1/qemu-server/100.conf") == "name: x\n"


def test_undelete_what_is_wrong(daemon, live, fs):
    fs.put("storage.cfg", "x")
    assert "is there; 'pmxcfsctl revert'" in live("undelete", "storage.cfg", code=1).stderr
    assert "knows no path 'storage.cfgg'; did you mean" in live("undelete", "storage.cfgg", code=1).stderr
    daemon.os.rename(daemon / "storage.cfg", daemon / "other.cfg")
    assert "was renamed to other.cfg (version" in live("undelete", "storage.cfg", code=1).stderr
    assert "wrong" not in live("undelete", code=2).stderr
    assert live("undelete", "storage.cfg", code=1, uid=33, gid=33).stderr.startswith("error: ")


def test_content_that_was_not_kept(daemon, live, fs):
    """Of private files it is known that and when they changed; that it cannot be brought back is an error that says why."""
    fs.put("priv/secret", "key\n")
    daemon.os.unlink(daemon / "priv/secret")
    done = live("undelete", "priv/secret", code=1)
    assert "priv/secret: its content was not kept: it is private" in done.stderr and "--history-private" in done.stderr
    fs.put("priv/secret", "one\n")
    fs.put("priv/secret", "two\n")
    assert "not kept" in live("revert", "priv/secret", code=1).stderr
    assert fs.get("priv/secret") == "two\n"


# ---- revert ----


def test_revert(live, fs):
    fs.put("storage.cfg", "one\n")
    first = version(live)
    fs.put("storage.cfg", "two\n")
    fs.put("storage.cfg", "three\n")
    shown = live("revert", "-n", "storage.cfg").stdout
    assert "1970" not in shown, "what patch(1) takes for a file that is not there"
    assert "would write storage.cfg\n" in shown and "\n-three\n+two\n" in shown and fs.get("storage.cfg") == "three\n"
    assert live("revert", "storage.cfg").stdout == "wrote storage.cfg\n"
    assert fs.get("storage.cfg") == "two\n"
    live("revert", "storage.cfg")
    assert fs.get("storage.cfg") == "three\n", "reverting is a change too"
    live("revert", "storage.cfg", "--to", first)
    assert fs.get("storage.cfg") == "one\n"
    assert "as it was" in live("revert", "storage.cfg", "--to", first).stdout
    assert operations(live, "storage.cfg")[:3] == ["write"] * 3, "each is one change"


def test_revert_of_what_was_created_removes_it(live, fs):
    fs.put("new.cfg", "x\n")
    assert "1970" not in live("revert", "-n", "new.cfg").stdout
    """Creating and filling it were one step; a deleted one comes back."""
    fs.put("storage.cfg", "x" * 100000)
    assert live("revert", "storage.cfg").stdout == "removed storage.cfg\n"
    assert fs.get("storage.cfg") is None
    assert live("revert", "storage.cfg").stdout == "created storage.cfg\n"
    assert fs.get("storage.cfg") == "x" * 100000


def test_revert_a_directory(daemon, live, fs):
    fs.put("firewall/cluster.fw", "a\n")
    fs.put("firewall/100.fw", "b\n")
    then = version(live)
    fs.put("firewall/cluster.fw", "changed\n")
    daemon.os.unlink(daemon / "firewall/100.fw")
    fs.put("firewall/new/101.fw", "c\n")
    fs.put("elsewhere", "stays")
    planned = steps(live("--json", "revert", "--dry-run", "firewall", "--to", then))
    assert planned == [("create", "firewall/100.fw", "would"), ("write", "firewall/cluster.fw", "would"),
                       ("remove", "firewall/new", "would"), ("remove", "firewall/new/101.fw", "would")]
    live("revert", "firewall")
    assert fs.get("firewall/new/101.fw") is None and fs.get("firewall/cluster.fw") == "changed\n"
    live("revert", "firewall", "--to", then)
    assert sorted(daemon.os.listdir(daemon / "firewall")) == ["100.fw", "cluster.fw"]
    assert fs.get("firewall/cluster.fw") == "a\n" and fs.get("firewall/100.fw") == "b\n" and fs.get("elsewhere") == "stays"


def test_revert_follows_a_guest_that_moved(daemon, live, fs):
    """It gets what it was, where it is; the move itself is not taken back, and never is it removed."""
    guest(daemon, "node1", "qemu-server", 100)
    then = version(live)
    fs.put("nodes/node1/qemu-server/100.conf", "name: y\n")
    daemon.os.makedirs(daemon / "nodes/node2/qemu-server")
    daemon.os.rename(daemon / "nodes/node1/qemu-server/100.conf", daemon / "nodes/node2/qemu-server/100.conf")
    assert live("revert", "nodes/node2/qemu-server/100.conf").stdout == "wrote nodes/node2/qemu-server/100.conf\n"
    assert fs.get("nodes/node2/qemu-server/100.conf") == "name: x\n"
    fs.put("nodes/node2/qemu-server/100.conf", "name: z\n")
    live("revert", "nodes/node2/qemu-server/100.conf", "--to", then)
    assert fs.get("nodes/node2/qemu-server/100.conf") == "name: x\n"
    assert "(node node2) has it now" in live("revert", "nodes/node1/qemu-server/100.conf", "--to", then, code=1).stderr


def test_moments_behind_an_at(live, fs):
    """As show has them; a path may have one itself."""
    fs.put("storage.cfg", "one\n")
    first = version(live)
    fs.put("storage.cfg", "two\n")
    fs.put("storage.cfg", "three\n")
    assert "\n-one\n+three\n" in live("diff", "storage.cfg@" + first, code=4).stdout
    assert live("diff", "storage.cfg@" + first, first).stdout == ""
    live("revert", "storage.cfg@" + first)
    assert fs.get("storage.cfg") == "one\n"
    fs.put("at@1", "x")
    fs.put("at@1", "y")
    live("revert", "at@1")
    assert fs.get("at@1") == "x"
    for path in ("@" + first, "/@" + first, "nothing@" + first):
        assert "knows no path '%s'" % path.lstrip("/") in live("revert", path, code=1).stderr


def test_revert_what_is_wrong(live, fs):
    fs.put("storage.cfg", "x")
    assert "no version and no time" in live("revert", "storage.cfg", "--to", "yesterdy", code=2).stderr
    assert "is not recorded that far back" in live("revert", "storage.cfg", "--to", "3d", code=1).stderr
    assert fs.get("storage.cfg") == "x"


# ---- rollback ----


def test_rollback(daemon, live, fs):
    guest(daemon, "node1", "qemu-server", 100)
    daemon.os.makedirs(daemon / "nodes/node2/qemu-server")
    fs.put("storage.cfg", "one\n")
    fs.put("corosync.conf", "totem {\n  config_version: 1\n}\n")
    fs.put("file", "x")
    then = version(live)
    daemon.os.rename(daemon / "nodes/node1/qemu-server/100.conf", daemon / "nodes/node2/qemu-server/100.conf")
    fs.put("nodes/node2/qemu-server/100.conf", "name: y\n")
    fs.put("storage.cfg", "two\n")
    fs.put("corosync.conf", "totem {\n  config_version: 2\n}\n")
    daemon.os.unlink(daemon / "file")
    fs.put("file/is/now/directory", "x")
    fs.put("ha/manager_status", "is never recorded, so it is left")
    refused = live("rollback", "--to", then, code=2)
    assert "say --yes" in refused.stderr and "would write storage.cfg" in refused.stdout and "-two\n+one\n" in refused.stdout
    done = live("--json", "rollback", "--to", then, "--dry-run")
    assert steps(done) == [("remove", "file", "would"), ("create", "file", "would"), ("remove", "file/is", "would"),
                           ("remove", "file/is/now", "would"), ("remove", "file/is/now/directory", "would"), ("remove", "ha", "would"),
                           ("move", "nodes/node1/qemu-server/100.conf", "would"), ("write", "storage.cfg", "would")]
    assert "corosync.conf is left out" in done.stderr and fs.get("storage.cfg") == "two\n"
    shown = live("rollback", "--to", then, "--yes").stdout
    assert "moved nodes/node2/qemu-server/100.conf -> nodes/node1/qemu-server/100.conf\n" in shown
    assert "left ha: something else is in it\n" in shown
    assert fs.get("nodes/node1/qemu-server/100.conf") == "name: x\n" and fs.get("nodes/node2/qemu-server/100.conf") is None
    assert fs.get("storage.cfg") == "one\n" and fs.get("file") == "x" and "config_version: 2" in fs.get("corosync.conf")
    assert "so it is left" in fs.get("ha/manager_status")
    live("rollback", "--to", then, "--path", "corosync.conf", "--yes")
    assert "config_version: 1" in fs.get("corosync.conf")


def test_rollback_removes_nothing_that_could_not_be_brought_back(live, fs):
    """Private files, of which no content is kept: the new ones stay, the old ones cannot be had; the rest is done."""
    fs.put("priv/old", "old")
    then = version(live)
    fs.put("priv/old", "changed")
    fs.put("priv/new", "password")
    fs.put("storage.cfg", "new")
    done = live("rollback", "--to", then, "--yes", code=1)
    assert "priv/new: it was not there, but is not removed" in done.stderr and "priv/old: its content was not kept" in done.stderr
    assert "private" in live("revert", "priv/new", code=1).stderr
    assert (fs.get("priv/new"), fs.get("priv/old"), fs.get("storage.cfg")) == ("password", "changed", None)


def test_rollback_of_a_part(live, fs):
    fs.put("firewall/cluster.fw", "a")
    fs.put("storage.cfg", "a")
    then = version(live)
    for path in ("firewall/cluster.fw", "storage.cfg"):
        fs.put(path, "b")
    fs.put("new.fw", "b")
    assert steps(live("--json", "rollback", "--to", then, "--path", "*.fw", "-n")) == [("write", "firewall/cluster.fw", "would"), ("remove", "new.fw", "would")]
    live("rollback", "--to", then, "--path", "/etc/pve/firewall/", "--yes")
    assert (fs.get("firewall/cluster.fw"), fs.get("storage.cfg"), fs.get("new.fw")) == ("a", "b", "b")
    assert "all is as it was" in live("rollback", "--to", then, "--path", "firewall").stdout


def test_rollback_asks_at_a_terminal(daemon, live, fs):
    fs.put("storage.cfg", "a")
    then = version(live)
    for answer, content in ((b"n\n", "b"), (b"y\n", "a")):
        fs.put("storage.cfg", "b")
        terminal = Terminal(daemon, "rollback", "--to", then)
        terminal.wait(rb"Change all that")
        terminal.press(answer)
        terminal.wait_exit()
        terminal.close()
        assert fs.get("storage.cfg") == content


def test_what_others_change_while_it_is_asked_stays(daemon, live, fs):
    """Nobody was shown that, so it is neither overwritten nor removed; the rest is done."""
    for path in ("write", "create", "same/file", "unlinked"):
        fs.put(path, "then")
    for number in (100, 101, 102):
        guest(daemon, "node1", "qemu-server", number)
    then = version(live)
    daemon.os.makedirs(daemon / "nodes/node2/qemu-server")
    for number in (100, 101, 102):
        daemon.os.rename(daemon / ("nodes/node1/qemu-server/%d.conf" % number), daemon / ("nodes/node2/qemu-server/%d.conf" % number))
    for path in ("write", "same/file", "unlinked", "new", "new2"):
        fs.put(path, "now")
    daemon.os.unlink(daemon / "create")
    daemon.os.makedirs(daemon / "directory")
    terminal = Terminal(daemon, "rollback", "--to", then)
    terminal.wait(rb"Change all that")
    for path in ("write", "create", "new"):
        fs.put(path, "newer work of others")
    daemon.os.unlink(daemon / "unlinked")
    daemon.os.unlink(daemon / "new2")
    daemon.os.rmdir(daemon / "directory")
    fs.put("directory", "newer work of others")
    fs.put("nodes/node2/qemu-server/100.conf", "name: newer\n")
    daemon.os.rename(daemon / "nodes/node2/qemu-server/101.conf", daemon / "nodes/node1/qemu-server/101.conf")
    terminal.press(b"y\n")
    terminal.wait(rb"left write: was changed meanwhile")  # the last line
    assert terminal.wait_exit() == 0
    terminal.close()
    said = terminal.output.decode().replace("\r", "").partition("Change all that")[2].splitlines()[1:]
    kept = ["create", "directory", "new", "nodes/node1/qemu-server/100.conf", "nodes/node1/qemu-server/101.conf", "unlinked", "write"]
    assert sorted(line for line in said if "meanwhile" in line) == ["left %s: was changed meanwhile" % path for path in kept]
    for path in ("write", "create", "new", "directory"):
        assert fs.get(path) == "newer work of others"
    assert (fs.get("same/file"), fs.get("unlinked"), fs.get("new2")) == ("then", None, None)
    assert (fs.get("nodes/node2/qemu-server/100.conf"), fs.get("nodes/node1/qemu-server/100.conf")) == ("name: newer\n", None)
    assert fs.get("nodes/node1/qemu-server/101.conf") == fs.get("nodes/node1/qemu-server/102.conf") == "name: x\n"


def test_rollback_beyond_what_is_complete(live, fs):
    """Says so, and removes nothing of which it is not known that it was not there."""
    fs.put("storage.cfg", "a")
    done = live("rollback", "--to", "3d", "--yes")
    assert "the history is complete from" in done.stderr and "left storage.cfg: is not recorded that far back" in done.stdout
    assert fs.get("storage.cfg") == "a"


def test_rollback_what_is_wrong(live, fs):
    assert "--to" in live("rollback", "--yes", code=2).stderr
    fs.put("storage.cfg", "a")
    assert "knows no path 'storge.cfg'" in live("rollback", "--to", "now", "--path", "storge.cfg", "--yes", code=1).stderr
    assert "has not been" in live("rollback", "--to", "99999999", "--yes", code=2).stderr


# ---- All of them ----


def test_without_a_daemon_or_a_history(make_daemon):
    daemon = make_daemon(options=["--history-size=0"]).start()
    daemon.os.write_file(daemon / "file", b"x")
    for command in (["undelete", "x"], ["revert", "file"], ["rollback", "--to", "now", "--yes"]):
        done = daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, *command])
        assert done.returncode == 1 and "writes no history" in done.stderr
        assert daemon.run([PMXCFSCTL, "--socket-name", "nobody-is-called-so", *command]).returncode == 3


# ---- What is of no use by half ----


def change_keys(daemon, fs, word):
    for path in ("authkey.pub", "priv/authkey.key", "pve-root-ca.pem", "priv/pve-root-ca.key", "nodes/node1/pve-ssl.pem", "nodes/node1/pve-ssl.key",
                 "nodes/node1/pveproxy-ssl.pem", "nodes/node1/pveproxy-ssl.key", "nodes/node1/ssh_known_hosts"):
        fs.put(path, "%s %s\n" % (path, word))


def test_rollback_puts_nothing_back_by_half(daemon, live, fs):
    """Public halves whose private ones are not kept stay, and certificates of another issuer; what can be had as a whole comes back."""
    change_keys(daemon, fs, "one")
    then = version(live)
    change_keys(daemon, fs, "two")
    done = live("--json", "rollback", "--to", then, "--yes", code=1)
    results = {path: result for _, path, result in steps(done)}
    assert results == {"authkey.pub": "left", "priv/authkey.key": "failed", "pve-root-ca.pem": "left", "priv/pve-root-ca.key": "failed",
                       "nodes/node1/pve-ssl.pem": "left", "nodes/node1/pve-ssl.key": "left", "nodes/node1/ssh_known_hosts": "left",
                       "nodes/node1/pveproxy-ssl.pem": "done", "nodes/node1/pveproxy-ssl.key": "done"}
    shown = live("rollback", "--to", then, "--dry-run", code=1).stdout
    assert "left authkey.pub: it belongs together with priv/authkey.key, which is not put back" in shown
    assert "left nodes/node1/ssh_known_hosts: it belongs together with /etc/ssh/ssh_host_rsa_key" in shown
    assert "two" in fs.get("authkey.pub") and "two" in fs.get("pve-root-ca.pem") and "one" in fs.get("nodes/node1/pveproxy-ssl.key")


def test_what_is_named_is_put_back_with_a_warning(daemon, live, fs):
    change_keys(daemon, fs, "one")
    then = version(live)
    change_keys(daemon, fs, "two")
    warning = "warning: %s belongs together with %s, which is not put back\n"
    done = live("rollback", "--to", then, "--path", "authkey.pub", "--yes")
    assert done.stdout == "wrote authkey.pub\n" and done.stderr == warning % ("authkey.pub", "priv/authkey.key")
    for arguments in (["revert", "pve-root-ca.pem"], ["revert", "pve-root-ca.pem", "--to", then]):
        fs.put("pve-root-ca.pem", "three\n")
        done = live(*arguments)
        assert done.stdout == "wrote pve-root-ca.pem\n" and done.stderr.count(warning % ("pve-root-ca.pem", "priv/pve-root-ca.key")) == (len(arguments) > 2)
    daemon.os.unlink(daemon / "nodes/node1/pveproxy-ssl.pem")
    daemon.os.unlink(daemon / "nodes/node1/pveproxy-ssl.key")
    assert warning % ("nodes/node1/pveproxy-ssl.pem", "nodes/node1/pveproxy-ssl.key") in live("undelete", "nodes/node1/pveproxy-ssl.pem").stderr
    assert live("rollback", "--to", then, "--path", "*.pem", "--yes").stdout.count("left ") == 2


def test_a_public_half_alone_comes_back(live, fs):
    """The private one is still what it was: that is a file somebody has spoilt."""
    fs.put("authkey.pub", "one\n")
    fs.put("priv/authkey.key", "one\n")
    then = version(live)
    fs.put("authkey.pub", "spoilt\n")
    done = live("rollback", "--to", then, "--yes")
    assert (done.stdout, done.stderr, fs.get("authkey.pub")) == ("wrote authkey.pub\n", "", "one\n")


def test_both_halves_come_back_where_private_contents_are_kept(make_daemon):
    daemon = make_daemon(options=["--history-private"]).start()
    run = lambda *words: daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, *words])  # noqa: E731
    daemon.os.makedirs(daemon / "priv")
    for word in (b"one", b"two"):
        daemon.os.write_file(daemon / "authkey.pub", word)
        daemon.os.write_file(daemon / "priv/authkey.key", word)
        if word == b"one":
            then = str(json.loads(run("--json", "history", "-n", "1").stdout)[0]["version"])
    assert [one[2] for one in steps(run("--json", "rollback", "--to", then, "--path", "authkey.*", "--dry-run"))] == ["left"]
    done = run("rollback", "--to", then, "--yes")
    assert done.returncode == 0 and daemon.os.read_file(daemon / "authkey.pub") == daemon.os.read_file(daemon / "priv/authkey.key") == b"one", done
