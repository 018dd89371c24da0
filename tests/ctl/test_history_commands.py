# SPDX-License-Identifier: GPL-3.0-or-later
"""pmxcfsctl history: what was changed, of a running daemon and of a dead host's file."""

import json
import os
import signal
import subprocess
import time

import pytest
from conftest import PMXCFSCTL
from harness import wait_for


def fill(daemon):
    daemon.os.write_file(daemon / "storage.cfg", b"one")
    daemon.os.write_file(daemon / "storage.cfg", b"three")
    daemon.os.makedirs(daemon / "firewall")
    daemon.os.write_file(daemon / "firewall/cluster.fw", b"x")
    daemon.os.rename(daemon / "firewall/cluster.fw", daemon / "firewall/other.fw")
    daemon.os.unlink(daemon / "storage.cfg")


def changes(run, *arguments):
    return json.loads(run("--json", "history", *arguments).stdout)


def short(list_):
    return [(one["operation"], one["path"]) for one in list_]


def test_of_a_running_daemon(daemon, live):
    """All that was answered is in it at once, the newest first, with who asked."""
    def knows_us():
        """Who asks is looked up beside the first change, and waited for for a second at most."""
        daemon.os.write_file(daemon / "first", b"x")
        return "python" in changes(live, "-n", "1")[0]["who"]["command"]

    wait_for(knows_us, "the command is told")
    fill(daemon)
    found = changes(live, "/etc/pve/storage.cfg")
    assert short(found) == [("delete", "storage.cfg"), ("write", "storage.cfg"), ("write", "storage.cfg"), ("create", "storage.cfg")]
    assert found[0]["after"] is None and found[0]["before"]["bytes"] == 5
    assert [one["after"]["bytes"] for one in found[1:]] == [5, 3, 0]
    assert all(one["who"]["uid"] == 0 and "python" in one["who"]["command"] for one in found)
    assert [one["version"] for one in found] == sorted((one["version"] for one in found), reverse=True)
    shown = live("history", "storage.cfg").stdout.splitlines()
    assert len(shown) == 4 and "delete" in shown[0] and "python" in shown[0] and "(5 bytes)" in shown[1], shown


def test_filters(daemon, live):
    fill(daemon)
    assert {one["path"] for one in changes(live, "firewall/")} == {"firewall", "firewall/cluster.fw", "firewall/other.fw"}
    assert {one["path"] for one in changes(live, "*.fw")} == {"firewall/cluster.fw", "firewall/other.fw"}
    renamed = [one for one in changes(live, "*.fw") if one["operation"] == "rename"]
    assert {(one["path"], one["other"]) for one in renamed} == {("firewall/cluster.fw", "firewall/other.fw"), ("firewall/other.fw", "firewall/cluster.fw")}
    everything = changes(live, "-n", "0")
    assert changes(live, "-n", "2") == everything[:2]
    assert changes(live, "--since", "1d") == everything
    assert changes(live, "--node", everything[0]["node"], "-n", "0") == [one for one in everything if one["node"] == everything[0]["node"]]
    assert "older ones" in live("history", "-n", "1").stderr
    assert "no changes" in live("history", "nothing/*").stdout


def test_of_a_dead_host(daemon, live, ctl):
    """Beside its database, or named itself; nothing is altered."""
    fill(daemon)
    expected = changes(live, "-n", "0")
    daemon.stop()
    files = sorted(os.listdir(daemon.state_dir))
    for name in ("config.db", "history.db", ""):
        assert changes(ctl, "-n", "0", "--database", os.path.join(daemon.state_dir, name)) == expected
    assert sorted(os.listdir(daemon.state_dir)) == files


def state_files(daemon):
    """All bytes of the state directory."""
    found = {}
    for name in os.listdir(daemon.state_dir):
        with open(os.path.join(daemon.state_dir, name), "rb") as file:
            found[name] = file.read()
    return found


def interrupt_copying(daemon, place):
    """Ends the command when it has made its temporary directory; what is left of that."""
    command = [PMXCFSCTL, "history", "--database", daemon.state_dir]
    with subprocess.Popen(command, env=dict(os.environ, TMPDIR=str(place)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not os.listdir(place) and process.poll() is None:
            pass
        process.send_signal(signal.SIGINT)
    return os.listdir(place)


def test_of_a_host_that_died(daemon, live, ctl, tmp_path):
    """What is only in its journal is seen too, once, and no file is altered for that."""
    fill(daemon)
    older = changes(live, "-n", "0")
    daemon.os.write_file(daemon / "storage.cfg", b"the last one")
    daemon.os.rename(daemon / "firewall/other.fw", daemon / "firewall/cluster.fw")
    daemon.kill()
    before = state_files(daemon)
    for name in ("config.db", ""):
        found = changes(ctl, "-n", "0", "--database", os.path.join(daemon.state_dir, name))
        assert found[-len(older):] == older
        newer = found[:-len(older)]
        assert ("write", "storage.cfg") in short(newer) or ("create", "storage.cfg") in short(newer), newer
        assert {one["path"] for one in newer} == {"storage.cfg", "firewall/other.fw", "firewall/cluster.fw"}
    assert ctl("show", "--database", daemon.state_dir, "storage.cfg").stdout == "the last one"
    alone = os.path.join(daemon.state_dir, "history.db")
    assert changes(ctl, "-n", "0", "--database", alone) == older
    (tmp_path / "temporary").mkdir()
    assert [interrupt_copying(daemon, tmp_path / "temporary") for _ in range(5)] == [[]] * 5
    assert state_files(daemon) == before
    daemon.start()
    told = [{**one, "time": 0, "node": "", "who": None} for one in newer]
    assert [{**one, "time": 0, "node": "", "who": None} for one in changes(live, "-n", "0")][: len(newer)] == told, "as the next start has it"


def test_of_a_host_whose_database_is_damaged(daemon, live, ctl):
    """It is said what is missing."""
    fill(daemon)
    older = changes(live, "-n", "0")
    daemon.os.write_file(daemon / "storage.cfg", b"the last one")
    daemon.kill()
    os.unlink(os.path.join(daemon.state_dir, "config.db-wal"))
    with open(os.path.join(daemon.state_dir, "config.db"), "wb") as file:
        file.write(b"no database at all" * 100)
    done = ctl("--json", "history", "-n", "0", "--database", daemon.state_dir)
    assert json.loads(done.stdout) == older and "warning: the last changes" in done.stderr


def test_what_is_wrong(daemon, live, ctl, tmp_path):
    fill(daemon)
    assert "'yesterdy' is no time" in live("history", "--since", "yesterdy", code=2).stderr
    assert "no node 'node11'; did you mean 'node1'?" in live("history", "--node", "node11", code=1).stderr
    assert "no node 'nowhere'" in live("history", "--node", "nowhere", code=1).stderr
    assert "--lines" in live("history", "-n", "-1", code=2).stderr
    damaged = tmp_path / "history.db"
    damaged.write_bytes(b"no database at all" * 100)
    answer = ctl("history", "--database", damaged, code=1).stderr
    assert str(damaged) in answer and "Every node writes a history" in answer
    device = ctl("history", "--database", "/dev/null", code=1).stderr
    assert "not a regular file" in device and "moved away" not in device
    daemon.os.write_file(daemon / "--odd", b"x")
    assert short(changes(live, "--", "--odd")) == [("write", "--odd"), ("create", "--odd")]
    shown = live("--json", "history", "-n", "2").stdout
    assert shown == json.dumps(json.loads(shown), indent=2) + "\n"
    assert "missing.db" in ctl("history", "--database", tmp_path / "missing.db", code=1).stderr


def test_words_are_bytes(daemon, live):
    """Options take what the command line has, in whatever encoding."""
    for name in ("\u8a2d\u5b9a", "caf\udce9"):
        daemon.os.write_file(daemon / name, b"x")
        assert [one["path"] for one in json.loads(live("--json", "audit", "--path", name).stdout)] == [name.replace("\udce9", "\\xe9")] * 2
        assert "nothing has to be changed" in live("rollback", "--to", "now", "--path", name, "--yes").stdout


def test_moments_of_the_day_are_over(daemon, live):
    """Of an hour that is still to come today, yesterday's is meant; of a day, none."""
    for when in ("00:00", "23:59"):
        day = None
        while day != time.localtime().tm_yday:  # not one before midnight, and the other after it
            day = time.localtime().tm_yday
            daemon.os.write_file(daemon / "file", b"x")
            found = live("--json", "history", "--since", when).stdout
        assert found != "[]\n"
    for command in (["history", "--since"], ["audit", "--since"], ["guests", "--deleted"], ["rollback", "--yes", "--to"]):
        assert "is still to come" in live(*command, "2099-01-01", code=2).stderr


def test_neither_daemon_nor_history(ctl):
    """Both are told, once each, to somebody who named none of them."""
    environment = {name: value for name, value in os.environ.items() if name != "PMXCFS_SOCKET_NAME"}
    if os.path.exists("/var/lib/pve-cluster/history.db"):
        pytest.skip("this host has a history")
    answer = ctl("history", code=1, env=environment).stderr
    assert answer.count("there is no /var/lib/pve-cluster/history.db") == 1 and answer.count("/var/lib/pve-cluster") == 1
    assert "no daemon answers at 'pve2'" in answer


def test_without_a_history(make_daemon):
    daemon = make_daemon(options=["--history-size=0"]).start()
    done = daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, "history"])
    assert done.returncode == 1 and "writes no history" in done.stderr


def test_hints_can_be_pasted(daemon, live):
    """What is shown of a path with blanks, bytes or a dash in it is one argument for a shell."""
    for name in (b"a b", b"new\nline", b"bad\xff", b"-dash", b"it's", b"back\\slash", "ü".encode()):
        path = os.fsdecode(name)
        daemon.os.write_file(daemon.mountpoint + "/" + path, b"content of %d" % len(name))
        daemon.os.unlink(daemon.mountpoint + "/" + path)
        hint = live("show", "--", path, code=1).stderr.partition("what it was before: pmxcfsctl ")[2].strip()
        command = "%s --socket-name %s %s" % (PMXCFSCTL, daemon.socket_name, hint)
        assert daemon.run(["bash", "-c", command], check=True).stdout == "content of %d" % len(name)


def test_no_hint_leads_nowhere(daemon, live):
    daemon.os.makedirs(daemon / "priv")
    daemon.os.write_file(daemon / "priv/token.cfg", b"x")
    daemon.os.unlink(daemon / "priv/token.cfg")
    told = live("show", "priv/token.cfg", code=1).stderr
    assert "was deleted" in told and "is not kept: it is private" in told and "pmxcfsctl show" not in told
    daemon.os.rmdir(daemon / "priv")
    assert "pmxcfsctl show" not in live("show", "priv", code=1).stderr


def test_an_empty_path_is_none(daemon, live):
    """As that of a variable that is not set: else all of the tree were meant."""
    fill(daemon)
    before = changes(live, "-n", "0")
    for words in (["history", ""], ["show", ""], ["diff", ""], ["blame", ""], ["audit", "--path", ""], ["undelete", ""],
                  ["revert", ""], ["rollback", "--to", "1", "--yes", "--path", ""]):
        assert live(*words, code=2).stderr == "error: the path is empty ('/' is the whole tree)\n"
    assert changes(live, "-n", "0") == before == changes(live, "-n", "0", "/")
    assert "/ is there" in live("undelete", "/", code=1).stderr and "below / something" in live("show", "/", code=1).stderr


def test_times_as_other_programs_show_them(daemon, live):
    fill(daemon)
    everything = changes(live, "-n", "0")
    for when in ("1h30m", "1d ago", "yesterday 00:00", "2026-01-01T00:00:00Z", "2026-01-01 00:00:00.5+01:00"):
        assert changes(live, "-n", "0", "--since", when) == everything


@pytest.mark.parametrize("how", [["--socket-name"], ["--database"]])
def test_a_reader_that_waits_holds_nothing_up(make_daemon, how):
    """As one whose output a pager shows: what is changed meanwhile is written down."""
    daemon = make_daemon(options=["--fold-delay=0.1"]).start()
    for number in range(400):
        daemon.os.write_file(daemon / ("file%d" % number), b"x")
    command = [PMXCFSCTL, "history", "--json", "-n", "0"]
    command += ["--database", daemon.state_dir] if how == ["--database"] else how + [daemon.socket_name]
    log = os.path.join(daemon.state_dir, "history.db-wal")
    with subprocess.Popen([*daemon.namespace.enter(), *command], stdout=subprocess.PIPE) as process:
        assert process.stdout.read(10).startswith(b"[")
        assert process.poll() is None
        before = os.stat(log).st_size
        daemon.os.write_file(daemon / "during", b"x")
        wait_for(lambda: os.stat(log).st_size > before, "it is written down")
        process.stdout.read()
    assert process.returncode == 0 and "not written" not in daemon.log_since_start()


def test_on_a_full_disk(make_daemon):
    """Where no index of the log can be made what is there is shown all the same."""
    daemon = make_daemon(options=["--fold-delay=0.1"])
    os.makedirs(daemon.state_dir)
    daemon.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=0750", "tmpfs", daemon.state_dir], check=True)
    daemon.start()
    daemon.os.write_file(daemon / "storage.cfg", b"one")
    listed = [PMXCFSCTL, "--socket-name", daemon.socket_name, "show", "storage.cfg"]
    assert daemon.run(listed, check=True).stdout == "one"
    daemon.run(["sh", "-c", "rm -f $0/history.db-shm; cat /dev/zero >$0/filler", daemon.state_dir])
    assert daemon.run(listed, check=True).stdout == "one"
    daemon.os.unlink(daemon.state_dir + "/filler")
