# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that nothing has, nodes, guests, commands and options, are errors, and what may have been meant is told."""

import json

import pytest
from running import guest


@pytest.fixture
def daemon(reused_daemon):
    return reused_daemon


@pytest.mark.parametrize("command", [["guests", "--node", "nod1"], ["guests", "move", "--from", "nod1", "--to", "node1"],
                                     ["guests", "move", "--from", "old", "--to", "nod1"],
                                     ["guests", "move", "--dry-run", "--from", "nod1", "--to", "node1"],
                                     ["log", "--node", "nod1"], ["log", "-f", "--node", "nod1"], ["guests", "--json", "--node", "nod1"]])
def test_unknown_nodes(daemon, live, command):
    guest(daemon, "old", "lxc", 100)
    done = live(*command, code=1)
    assert done.stderr == "error: no node is called 'nod1'; did you mean 'node1'?\n" and not done.stdout


def test_nothing_is_near(daemon, live):
    assert live("guests", "--node", "elsewhere", code=1).stderr == "error: no node is called 'elsewhere'\n"


def test_nodes_without_guests_are_known(daemon, live):
    """As one that was removed from the cluster and has nothing but its directory."""
    daemon.os.makedirs(daemon / "nodes/removed/lxc")
    assert live("guests", "--node", "removed").stdout == "removed has no guests\n"
    assert live("guests", "--node", "node1").stdout == "node1 has no guests\n"
    assert "did you mean 'removed'?" in live("guests", "--node", "remvoed", code=1).stderr
    assert live("guests", "move", "--from", "removed", "--to", "node1").stdout == "removed has no guests\n"


def test_unknown_guests(daemon, live):
    for number in (100, 2345):
        guest(daemon, "node1", "lxc", number)
    assert live("guests", "2345", "100").stdout.split() == ["100", "lxc", "node1", "2345", "lxc", "node1"]
    assert set(json.loads(live("guests", "--json", "100").stdout)["ids"]) == {"100"}
    done = live("guests", "100", "2354", "7", code=1)
    assert done.stderr == "error: no guest is called '2354'; did you mean '2345'?\nerror: no guest is called '7'\n"
    assert not done.stdout


@pytest.mark.parametrize("words, meant", [(["statsu"], "'status'"), (["stat"], "'status'"), (["statsu", "--json"], "'status'"),
                                          (["guests", "mvoe", "--from", "a"], "'guests move'"), (["guest", "move"], "'guests move'"),
                                          (["db", "chekc"], "'db check'"), (["dbcheck"], "'db check'"), (["help", "memebrs"], "'members'"),
                                          (["status", "--wtach"], "--watch"), (["log", "--lnies=3"], "--lines"),
                                          (["db", "check", "--repiar", "x"], "--repair"), (["guests", "--jsno"], "--json"),
                                          (["status", "--socket-nmae", "x"], "--socket-name"), (["--jsn", "status"], "'--json'"),
                                          (["--socket-nam=x", "status"], "'--socket-name'")])
def test_unknown_commands_and_options(ctl, words, meant):
    done = ctl(*words, code=2)
    assert "; did you mean %s?\n" % meant in done.stderr and not done.stdout


@pytest.mark.parametrize("words", [["nonsense"], ["status", "--nonsense"], ["db", "nonsense"], ["--nonsense"], ["status", "-x"]])
def test_no_suggestion_is_better_than_a_wrong_one(ctl, words):
    done = ctl(*words, code=2)
    assert done.stderr.startswith("error: ") and "did you mean" not in done.stderr
