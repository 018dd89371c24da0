# SPDX-License-Identifier: GPL-3.0-or-later
"""The socket's name, however it is given, chooses the daemon, and with it the database: never another one's."""

import json
import os
import signal

import pytest
from conftest import PMXCFSCTL
from damage import make, read_paths, read_rows, snapshot

DEFAULT = "/var/lib/pve-cluster"


@pytest.fixture
def elsewhere(make_daemon):
    """A daemon with a state directory of its own, where the default one is there too, with a database."""
    daemon = make_daemon(tmpfs=[DEFAULT]).start()
    make(os.path.join(daemon.directory, "default.db"))
    daemon.run(["cp", os.path.join(daemon.directory, "default.db"), DEFAULT + "/config.db"], check=True)
    daemon.os.write_file(daemon / "mine", b"of this daemon")
    return daemon


def call(daemon, *arguments, code=0, variable=None):
    environment = ["env", "PMXCFS_SOCKET_NAME=" + variable] if variable is not None else ["env", "-u", "PMXCFS_SOCKET_NAME"]
    done = daemon.run([*environment, PMXCFSCTL, *map(str, arguments)])
    assert done.returncode == code, "%d: %s%s" % (done.returncode, done.stdout, done.stderr)
    return done


def default_files(daemon):
    return daemon.run(["sh", "-c", "cd %s && sha256sum -- * .[!.]*" % DEFAULT]).stdout


def test_ways_to_give_it(daemon):
    name = daemon.socket_name
    for words in (["--socket-name", name, "members"], ["--socket-name=" + name, "members"], ["members", "--socket-name", name],
                  ["members", "--socket-name=" + name], ["--json", "--socket-name=" + name, "members"],
                  ["guests", "--socket-name=" + name, "--node", "node1"]):
        call(daemon, *words)
        call(daemon, *words, variable="another")
    call(daemon, "members", variable=name)
    assert "no daemon answers at 'another'" in call(daemon, "members", "--socket-name=another", variable=name, code=3).stderr
    assert "no daemon answers at 'another'" in call(daemon, "members", variable="another", code=3).stderr
    assert "no daemon answers at 'pve2'" in call(daemon, "members", variable="", code=3).stderr


def test_without_a_value(ctl):
    for words in (["--socket-name"], ["--socket-name="], ["members", "--socket-name"], ["members", "--socket-name="]):
        assert ctl(*words, code=2).stderr.startswith("error: which socket?")


def test_a_daemon_tells_where_its_database_is(elsewhere):
    told = json.loads(call(elsewhere, "status", "--json", "--socket-name", elsewhere.socket_name).stdout)
    assert told["state_dir"] == elsewhere.state_dir


def test_the_database_is_that_of_the_socket(elsewhere):
    """Every command that works on files, with the option and with the variable."""
    directory, name = elsewhere.directory, elsewhere.socket_name
    before = default_files(elsewhere)
    for number, (options, variable) in enumerate(((["--socket-name=" + name], None), ([], name))):
        def run(*arguments, **keywords):
            return call(elsewhere, *arguments, *options, variable=variable, **keywords)

        copy = os.path.join(directory, "copy%d.db" % number)
        run("backup", copy)
        assert read_paths(copy) == {"mine": b"of this daemon"}
        assert "mine" in run("db", "dump").stdout and elsewhere.database in run("db", "stat").stdout
        assert elsewhere.database in run("db", "check").stdout
        run("db", "export", os.path.join(directory, "files%d" % number))
        assert os.listdir(os.path.join(directory, "files%d" % number)) == ["mine"]
        assert elsewhere.database in run("db", "fold", code=1).stderr
        assert elsewhere.state_dir + ": a pmxcfs runs on it" in run("restore", copy, code=1).stderr
        assert "a pmxcfs runs here" in run("recover", "--nodename", "a", os.path.join(directory, "default.db"), code=4).stdout
    assert default_files(elsewhere) == before


@pytest.mark.parametrize("words", [["backup", "{}/new.db"], ["db", "check"], ["db", "dump"], ["db", "stat"], ["db", "fold"],
                                   ["db", "export", "{}/files"], ["restore", "{}/default.db"], ["recover", "{}/default.db"]])
def test_without_its_daemon_nothing_is_guessed(elsewhere, words):
    """A restore without --state-dir would else go to the default one."""
    elsewhere.stop()
    before = default_files(elsewhere), snapshot(elsewhere.state_dir)
    words = [word.format(elsewhere.directory) for word in words]
    done = call(elsewhere, *words, "--socket-name", elsewhere.socket_name, code=1)
    assert "does not tell which database is its own" in done.stderr and not done.stdout
    assert call(elsewhere, *words, variable=elsewhere.socket_name, code=1).stderr == done.stderr
    assert (default_files(elsewhere), snapshot(elsewhere.state_dir)) == before


def test_what_is_named_is_taken(elsewhere):
    """Whatever socket is named beside it."""
    directory = elsewhere.directory
    elsewhere.stop()
    other = ["--socket-name", "another"]
    call(elsewhere, "restore", *other, "--state-dir", elsewhere.state_dir, directory + "/default.db")
    assert read_rows(elsewhere.database) == read_rows(directory + "/default.db")
    call(elsewhere, "backup", *other, "--database", elsewhere.database, directory + "/copy.db")
    assert elsewhere.database in call(elsewhere, "db", "check", *other, elsewhere.database).stdout


def test_nobody_names_one(make_daemon):
    """The daemon of the usual name, wherever its database is; without one the usual directory."""
    daemon = make_daemon(options=["--socket-name", "pve2"], tmpfs=[DEFAULT]).start()
    daemon.os.write_file(daemon / "mine", b"of this daemon")
    assert daemon.database in call(daemon, "db", "stat").stdout
    # A daemon that hangs keeps nobody waiting.
    daemon.send_signal(signal.SIGSTOP)
    assert DEFAULT + "/config.db" in call(daemon, "db", "check", code=1).stdout
    daemon.send_signal(signal.SIGCONT)
    daemon.stop()
    assert DEFAULT + "/config.db" in call(daemon, "db", "check", code=1).stdout
