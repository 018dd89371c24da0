# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests 110 to 113: the history is written down, and trials undo themselves; who asked, in the change feed."""

import errno
import json
import os
import struct

import pytest
from harness import wait_for
from harness.history import let_pass
from harness.kept import StuckListing
from harness.other_clock import OtherClock
from ipc_client import Client

HISTORY, BEGIN, END, TRIALS = 110, 111, 112, 113
ENDED, CONFIRM, ABORT = 0, 1, 2


def ask(client, number, data=b""):
    reply = client.ask(number, data)
    assert reply.error == 0
    return json.loads(reply.data)


def begin(client, seconds, command=b"command", group=0):
    """A trial that is in force."""
    number = ask(client, BEGIN, struct.pack("<II", seconds, group) + command + b"\0")["id"]
    wait_for(lambda: [trial for trial in ask(client, TRIALS) if trial["id"] == number and trial["stored"]],
             "the trial is in force")
    return number


def end(client, number, what):
    return client.ask(END, struct.pack("<IB", number, what)).error


def gone(client, number):
    return not [trial for trial in ask(client, TRIALS) if trial["id"] == number]


def test_rights_and_sizes(root, reader):
    for number, data in ((HISTORY, b""), (BEGIN, struct.pack("<II", 1, 0) + b"\0"), (END, b"\0" * 5), (TRIALS, b"")):
        assert reader.ask(number, data).error == errno.EPERM
    assert root.ask(BEGIN, struct.pack("<II", 0, 0) + b"x\0").error == errno.EINVAL
    assert root.ask(BEGIN, struct.pack("<II", 1, 0) + b"xx").error == errno.EINVAL
    assert root.ask(BEGIN, struct.pack("<II", 86401, 0) + b"x\0").error == errno.EINVAL
    assert root.ask(END, struct.pack("<IB", 1, 3)).error == errno.EINVAL
    assert end(root, 77, CONFIRM) == errno.ENOENT


def test_history_is_written_down(daemon, root):
    daemon.os.write_file(daemon / "file", b"x")
    told = ask(root, HISTORY)
    assert told["path"] == os.path.join(daemon.state_dir, "history.db") and not told["failing"]
    wait_for(lambda: ask(root, HISTORY)["written"] >= told["asked"], "all is written")
    assert b"file" in open(told["path"] + "-wal", "rb").read()


def test_what_is_not_confirmed_is_brought_back(daemon, root):
    daemon.os.mkdir(daemon / "firewall")
    daemon.os.write_file(daemon / "firewall/cluster.fw", b"open")
    daemon.os.write_file(daemon / "gone", b"kept")
    number = begin(root, 15)
    daemon.os.write_file(daemon / "firewall/cluster.fw", b"closed")
    daemon.os.mkdir(daemon / "new")
    daemon.os.write_file(daemon / "new/file", b"new")
    daemon.os.unlink(daemon / "gone")
    wait_for(lambda: gone(root, number), "the trial is over")
    assert daemon.os.read_file(daemon / "firewall/cluster.fw") == b"open"
    assert daemon.os.exists(daemon / "gone") and not daemon.os.exists(daemon / "new")
    assert daemon.os.read_file(daemon / "gone") == b"kept"
    assert "was not confirmed: 4 paths are as they were before" in daemon.log_since_start()


def test_what_is_confirmed_stays(daemon, root):
    number = begin(root, 3600)
    daemon.os.write_file(daemon / "file", b"new")
    assert end(root, number, CONFIRM) == 0
    wait_for(lambda: gone(root, number), "the trial is over")
    assert daemon.os.read_file(daemon / "file") == b"new"
    assert not os.path.exists(os.path.join(daemon.state_dir, "trials.json")), "no restart knows it"


def test_what_comes_after_the_command_is_not_the_trials(daemon, root):
    number = begin(root, 3600)
    daemon.os.write_file(daemon / "during", b"x")
    assert end(root, number, ENDED) == 0
    wait_for(lambda: ask(root, TRIALS)[0]["until"] > 0, "its window is closed")
    daemon.os.write_file(daemon / "after", b"x")
    assert end(root, number, ABORT) == 0
    wait_for(lambda: gone(root, number), "the trial is over")
    assert not daemon.os.exists(daemon / "during")
    assert daemon.os.exists(daemon / "after")


def test_only_what_a_process_group_changed(daemon, root):
    daemon.os.setpgid(0, 0)
    group = daemon.os.getpgrp()
    stranger = daemon.worker()
    number = begin(root, 3600, group=group)
    stranger.write_file(daemon / "theirs", b"x")
    assert ask(root, TRIALS)[0]["group"] == group
    assert end(root, number, ABORT) == 0
    wait_for(lambda: gone(root, number), "the trial is over")
    assert daemon.os.exists(daemon / "theirs")


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_restart_does_not_save_it(make_daemon, how):
    daemon = make_daemon().start()
    root = Client(daemon)
    daemon.os.write_file(daemon / "file", b"old")
    begin(root, 3600, command=b"edit")
    daemon.os.write_file(daemon / "file", b"new")
    # Without anybody's asking: while there are trials nothing waits for a fold.
    asked = ask(root, 101)["history"]["asked"]
    wait_for(lambda: ask(root, 101)["history"]["written"] >= asked, "it is in the history")
    root.close()
    getattr(daemon, how)()
    assert [trial["command"] for trial in let_pass(daemon.state_dir, 3601)] == ["edit"]
    daemon.start()
    wait_for(lambda: daemon.os.read_file(daemon / "file") == b"old", "it is brought back")
    wait_for(lambda: "try 1 (edit) was not confirmed" in daemon.log_since_start(), "it is said")


@pytest.mark.parametrize("restarted", [False, True])
def test_what_a_trial_did_does_not_come_back_with_a_later_one(daemon, root, restarted):
    """Which began when that was there; others' changes of the time are what was there."""
    groups = daemon.worker(), daemon.worker(), daemon.worker()
    for worker in groups:
        worker.setpgid(0, 0)
    daemon.os.write_file(daemon / "file", b"good")
    numbers = []
    for worker, content in zip(groups, (b"bad", b"worse", b"worst")):
        numbers.append(begin(root, 3600, group=worker.getpgrp()))
        worker.write_file(daemon / "file", content)
        worker.write_file(daemon / ("of-" + content.decode()), content)
        daemon.os.write_file(daemon / "other", content)
    groups[2].write_file(daemon / "other", b"more")
    for number in numbers[:2]:
        assert end(root, number, ABORT) == 0
        wait_for(lambda: gone(root, number), "the trial is over")
    wait_for(lambda: daemon.os.read_file(daemon / "file") == b"good", "what there was before both")
    if restarted:
        root.close()
        daemon.kill()
        daemon.start()
        root = Client(daemon)
    assert end(root, numbers[2], ABORT) == 0
    wait_for(lambda: gone(root, numbers[2]), "the trial is over")
    wait_for(lambda: daemon.os.read_file(daemon / "other") == b"worse", "the kernel knows")
    assert daemon.os.read_file(daemon / "file") == b"good"
    assert not [name for name in daemon.os.listdir(daemon.mountpoint) if name.startswith("of-")]
    root.close()


def test_a_clock_that_is_set(make_daemon, tmp_path):
    """Time that passes is what counts; the deadline is told by the clock as it is."""
    daemon = make_daemon()
    clock = OtherClock(daemon, str(tmp_path))
    daemon.start()
    root = Client(daemon)
    daemon.os.write_file(daemon / "file", b"old")
    long, short = begin(root, 3600), begin(root, 20)
    daemon.os.write_file(daemon / "file", b"new")
    before = {trial["id"]: trial["deadline"] for trial in ask(root, TRIALS)}
    clock.jump(-1000000)
    wait_for(lambda: gone(root, short), "it is over in time")
    assert daemon.os.read_file(daemon / "file") == b"old"
    daemon.os.write_file(daemon / "file", b"new")
    clock.jump(1000000)
    wait_for(lambda: abs(ask(root, TRIALS)[0]["deadline"] - before[long] - 1000000) < 10, "its deadline is another one by the clock")
    with open(os.path.join(daemon.state_dir, "trials.json")) as file:
        assert [trial["id"] for trial in json.load(file)] == [long]
    assert daemon.os.read_file(daemon / "file") == b"new"
    assert end(root, long, CONFIRM) == 0
    root.close()


def test_a_history_that_is_gone(make_daemon):
    """What was there before is not known any more: nothing is touched, and that is said."""
    daemon = make_daemon().start()
    root = Client(daemon)
    for name in ("one", "two", "three"):
        daemon.os.write_file(daemon / name, b"old")
    number = begin(root, 3600, command=b"edit")
    daemon.os.write_file(daemon / "one", b"new")
    root.close()
    daemon.stop()
    os.unlink(os.path.join(daemon.state_dir, "history.db"))
    daemon.start()
    root = Client(daemon)
    assert end(root, number, ABORT) == 0
    wait_for(lambda: ask(root, TRIALS)[0]["problem"], "it is said")
    trial = ask(root, TRIALS)[0]
    assert trial["state"] == "failed" and "the history does not have any more what was there before" in trial["problem"]
    assert "try 1 (edit) was not confirmed, but cannot be brought back: nothing" in daemon.log_since_start()
    assert daemon.os.read_file(daemon / "one") == b"new" and daemon.os.read_file(daemon / "two") == b"old"
    assert end(root, number, CONFIRM) == 0
    wait_for(lambda: gone(root, number), "it is forgotten")
    root.close()


def test_a_trial_that_a_restart_would_forget(daemon, root):
    """Does not begin; and does not come to be by a restart."""
    path = os.path.join(daemon.state_dir, "trials.json")
    os.mkdir(path)
    refused = ask(root, BEGIN, struct.pack("<II", 3600, 0) + b"edit\0")["id"]
    wait_for(lambda: ask(root, TRIALS)[0]["state"] == "failed", "it is refused")
    trial = ask(root, TRIALS)[0]
    assert "a restart would forget it" in trial["problem"] and not trial["stored"]
    os.rmdir(path)
    other = begin(root, 3600)
    with open(path) as file:
        assert [trial["id"] for trial in json.load(file)] == [other]
    for number in (refused, other):
        assert end(root, number, CONFIRM) == 0
        wait_for(lambda: gone(root, number), "it is forgotten")
    brief = ask(root, BEGIN, struct.pack("<II", 1, 0) + b"edit\0")["id"]
    wait_for(lambda: gone(root, brief), "a trial is over")


def test_a_trial_that_a_restart_would_know(daemon, root):
    """Is not over: who waits until it is gone from the list may be sure that it stays so."""
    path = os.path.join(daemon.state_dir, "trials.json")
    number = begin(root, 3600)
    os.unlink(path)
    os.mkdir(path)
    assert end(root, number, CONFIRM) == 0
    wait_for(lambda: "trials do not survive a restart" in daemon.log_since_start(), "the file cannot be removed")
    assert not gone(root, number)
    os.rmdir(path)
    wait_for(lambda: gone(root, number), "it is forgotten")


def test_a_trial_is_over_when_programs_see_it(daemon, root):
    """What was brought back is no restart's any more, and holds up no other trial; who waits for the trial's end finds it."""
    daemon.os.mkdir(daemon / "stuck")
    daemon.os.write_file(daemon / "stuck/file", b"old")
    daemon.os.write_file(daemon / "file", b"old")
    first, second = begin(root, 3600), begin(root, 3600)
    daemon.os.unlink(daemon / "stuck/file")
    daemon.os.write_file(daemon / "file", b"new")
    with StuckListing(daemon.namespace, daemon / "stuck") as listing:
        assert end(root, first, ABORT) == 0
        wait_for(lambda: "try %d (command) was not confirmed" % first in daemon.log_since_start(), "it is brought back")
        wait_for(lambda: [trial["id"] for trial in json.loads(open(os.path.join(daemon.state_dir, "trials.json")).read())] == [second],
                 "no restart brings it back again")
        assert {trial["id"]: trial["state"] for trial in ask(root, TRIALS)} == {first: "reverting", second: "waiting"}
        assert end(root, first, CONFIRM) == errno.EBUSY
        wait_for(lambda: daemon.os.read_file(daemon / "file") == b"old", "other files show it")
        daemon.os.write_file(daemon / "file", b"new")
        assert end(root, second, ABORT) == 0
        wait_for(lambda: daemon.os.read_file(daemon / "file") == b"old", "the second is brought back meanwhile")
        assert listing.is_stuck() and not gone(root, first)
    wait_for(lambda: gone(root, first), "it is over")
    assert daemon.os.read_file(daemon / "stuck/file") == b"old"
    wait_for(lambda: gone(root, second), "the second is over")
    assert not os.path.exists(os.path.join(daemon.state_dir, "trials.json"))


def test_who_asked_is_in_the_change_feed(daemon, root):
    root.subscribe()
    daemon.os.write_file(daemon / "file", b"x")
    record = root.event()
    assert record["path"] == "file" and record["who"]["uid"] == 0 and record["who"]["pid"] > 0
    assert "python" in record["who"]["name"]


def test_without_a_history(make_daemon):
    daemon = make_daemon(options=["--history-size=0"]).start()
    root = Client(daemon)
    assert root.ask(HISTORY).error == errno.EOPNOTSUPP
    assert root.ask(BEGIN, struct.pack("<II", 1, 0) + b"x\0").error == errno.EOPNOTSUPP
    assert ask(root, TRIALS) == []
    root.close()
