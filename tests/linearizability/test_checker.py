# SPDX-License-Identifier: GPL-3.0-or-later
"""The checker finds what is put into a history that is otherwise good, and excuses what is lawful."""

import pytest
from checker import Checker, Fault, Operation

ALL = frozenset((1, 2, 3))


class History:
    """Operations one after the other, a tenth of a second each, unless told otherwise."""

    def __init__(self):
        self.operations = []
        self.time = 0.0

    def add(self, node, kind, key=None, value=None, source=None, result="ok", begin=None, end=None, client=None):
        begin = self.time if begin is None else begin
        end = begin + 0.05 if end is None else end
        self.time = max(self.time, end) + 0.05
        self.operations.append(Operation(node, client or "n%d" % node, kind, key, value, source, begin, end, result))
        return self

    def check(self, faults=(), acknowledge_all=False, final=None):
        checker = Checker(self.operations, faults, acknowledge_all)
        for node, names in (final or {}).items():
            checker.check_final(node, names)
        return checker.check()

    def violations(self, **keywords):
        return self.check(**keywords).violations


def test_nothing_is_found_in_a_good_history():
    history = History()
    history.add(1, "read", "r0", "0").add(2, "write", "r0", "a").add(3, "read", "r0", "0").add(3, "read", "r0", "a")
    history.add(1, "write", "r0", "b", result="EBUSY").add(1, "read", "r0", "a").add(2, "read", "r0", "b")
    history.add(1, "read", "token", "token.0").add(1, "rename", "token", "token.a", "token.0")
    history.add(2, "rename", "token", "token.b", "token.0", result="no").add(2, "read", "token", "token.a")
    history.add(1, "create", "f.1").add(2, "list", None, ("f.1",), ()).add(1, "remove", "f.1").add(2, "list", None, (), ("f.1",))
    history.add(1, "claim", "c.1").add(2, "claim", "c.1", result="no").add(1, "forget", "c.1").add(2, "claim", "c.1")
    history.add(1, "lock", "l", "n1").add(2, "lock", "l", "n2", result="no").add(1, "unlock", "l").add(2, "lock", "l", "n2")
    assert history.violations(final={1: [], 2: []}) == []


def test_a_lagging_reader_elsewhere_is_lawful():
    history = History().add(1, "write", "r0", "a").add(1, "write", "r0", "b")
    history.add(2, "read", "r0", "0").add(2, "read", "r0", "a").add(3, "read", "r0", "b").add(2, "read", "r0", "b")
    assert history.violations() == []


def test_concurrent_writes_may_be_in_any_order():
    history = History().add(1, "write", "r0", "a", begin=1, end=3).add(2, "write", "r0", "b", begin=2, end=4)
    history.add(3, "read", "r0", "b", begin=5, end=6).add(3, "read", "r0", "a", begin=7, end=8)
    assert history.violations() == []


def test_write_under_way_may_be_seen_in_place():
    history = History().add(1, "read", "r0", "a", begin=2, end=2.1, client="other")
    history.add(1, "write", "r0", "a", "in place", begin=1, end=3, result="EACCES").add(1, "read", "r0", "0")
    assert history.violations() == []
    history.add(1, "read", "r0", "a").add(1, "read", "r0", "0")
    assert history.violations()
    history = History().add(1, "read", "r0", "a", begin=2, end=2.1, client="other")
    history.add(1, "write", "r0", "a", "by a rename", begin=1, end=3, result="EACCES").add(1, "read", "r0", "0")
    assert history.violations()


def test_lost_write():
    """Acknowledged, and at the end the older value is there."""
    history = History().add(1, "write", "r0", "a").add(1, "read", "r0", "a").add(2, "write", "r0", "b")
    for node in ALL:
        history.add(node, "read", "r0", "a")
    assert "no order explains" in history.violations()[0]


def test_write_that_its_own_node_does_not_show():
    assert History().add(1, "write", "r0", "a").add(1, "read", "r0", "0").violations()


def test_stale_read_after_newer_read():
    history = History().add(1, "write", "r0", "a").add(2, "read", "r0", "a").add(2, "read", "r0", "0")
    assert "no order explains" in history.violations()[0]


def test_stale_read_of_another_process_of_the_node():
    history = History().add(1, "write", "r0", "a").add(2, "read", "r0", "a", client="one").add(2, "read", "r0", "0", client="other")
    assert history.violations()


def test_order_that_differs_between_nodes():
    history = History().add(1, "write", "r0", "a", begin=1, end=9).add(2, "write", "r0", "b", begin=1, end=9)
    history.add(2, "read", "r0", "a", begin=2, end=3, client="x").add(2, "read", "r0", "b", begin=4, end=5, client="x")
    history.add(3, "read", "r0", "b", begin=2, end=3).add(3, "read", "r0", "a", begin=4, end=5)
    assert "no order explains" in history.violations()[0]


def test_older_value_is_written_after_a_newer_was_seen():
    """What anybody has seen comes before what is written afterwards, wherever."""
    history = History().add(1, "write", "r0", "a").add(2, "read", "r0", "a").add(3, "write", "r0", "b")
    history.add(1, "read", "r0", "b").add(1, "read", "r0", "a")
    assert history.violations()


def test_unanswered_write_appears_twice():
    history = History().add(1, "write", "r0", "a", result="EBUSY").add(2, "read", "r0", "a").add(2, "write", "r0", "b")
    history.add(2, "read", "r0", "b").add(3, "read", "r0", "b").add(3, "read", "r0", "a")
    assert history.violations()


def test_refused_write_is_read():
    history = History().add(1, "write", "r0", "a", result="no").add(2, "read", "r0", "a")
    assert "nobody wrote" in history.violations()[0]


def test_half_a_value_is_read():
    assert "nobody wrote" in History().add(1, "write", "r0", "abc").add(2, "read", "r0", "ab").violations()[0]


def test_read_before_it_was_written():
    assert History().add(1, "read", "r0", "a").add(1, "write", "r0", "a").violations()


def test_two_tokens_are_seen():
    history = History().add(1, "rename", "token", "token.a", "token.0").add(2, "read", "token", "token.0 token.a")
    assert "nobody wrote" in history.violations()[0]


def test_token_is_renamed_by_two():
    history = History().add(1, "rename", "token", "token.a", "token.0", begin=1, end=5)
    history.add(2, "rename", "token", "token.b", "token.0", begin=1, end=5)
    assert "more than once" in history.violations()[0]


def test_lost_file():
    history = History().add(1, "create", "f.1").add(1, "remove", "f.1", result="no")
    assert "acknowledged, and lost" in history.violations()[0]
    history = History().add(1, "create", "f.1")
    assert "acknowledged, and lost" in history.violations(final={2: []})[0]


def test_file_vanishes_and_comes_back():
    history = History().add(1, "create", "f.1").add(2, "list", None, ("f.1",), ()).add(2, "list", None, (), ("f.1",))
    assert "has vanished" in history.violations()[0]
    history = History().add(1, "create", "f.1").add(2, "list", None, ("f.1",), ()).add(1, "remove", "f.1")
    history.add(2, "list", None, (), ("f.1",)).add(2, "list", None, ("f.1",), ())
    assert "has come back" in history.violations()[0]


def test_removed_file_is_there_at_the_end():
    assert History().add(1, "create", "f.1").add(1, "remove", "f.1").violations(final={1: ["f.1"]})


def test_two_win_an_exclusive_create():
    assert "O_EXCL" in History().add(1, "claim", "c.1").add(2, "claim", "c.1").violations()[0]


def test_two_owners_of_a_lock():
    history = History().add(1, "lock", "l", "n1").add(2, "lock", "l", "n2").add(1, "unlock", "l").add(2, "unlock", "l")
    assert "two owners" in history.violations()[0]


def test_lock_is_taken_away():
    assert "taken away" in History().add(1, "lock", "l", "n1").add(1, "unlock", "l", result="no").violations()[0]


# What may be lost: the last changes of a node that was hit, if nobody else has seen them.

def lost_around_a_fault():
    """Node 1 is cut off at 10, with two files and a value that it alone has; it is back at 20."""
    history = History().add(1, "create", "f.1", begin=9.1, end=9.2).add(1, "create", "f.2", begin=9.3, end=9.4)
    history.add(1, "write", "r0", "a", begin=9.5, end=9.6).add(1, "read", "r0", "a", begin=12, end=13)
    history.add(2, "write", "r0", "b", begin=14, end=15).add(1, "read", "r0", "0", begin=20, end=20.1, client="final")
    history.add(1, "remove", "f.1", result="no", begin=21, end=22).add(1, "remove", "f.2", result="no", begin=23, end=24)
    return history


CUT = Fault("cut", frozenset((1,)), 10, 20)


def test_last_changes_of_a_node_that_was_hit_may_be_lost():
    history = lost_around_a_fault()
    history.operations = [o for o in history.operations if o.value != "b"]
    report = history.check(faults=[CUT])
    assert report.violations == []
    assert len(report.lost) == 2


def test_not_without_a_fault():
    assert lost_around_a_fault().violations()


def test_not_if_another_node_was_hit():
    assert lost_around_a_fault().violations(faults=[Fault("cut", frozenset((2,)), 10, 20)])


def test_not_if_all_have_acknowledged_them():
    assert lost_around_a_fault().violations(faults=[CUT], acknowledge_all=True)


def test_not_what_others_have_seen():
    history = lost_around_a_fault().add(2, "list", None, ("f.2",), (), begin=9.5, end=9.6)
    assert len([v for v in history.violations(faults=[CUT]) if "lost" in v]) == 2  # f.1 was made before f.2


def test_not_after_the_fault():
    history = History().add(1, "create", "f.1", begin=21, end=22).add(1, "remove", "f.1", result="no", begin=23, end=24)
    assert history.violations(faults=[CUT])


def test_not_a_change_of_the_majority():
    history = lost_around_a_fault()
    history.add(1, "read", "r0", "b", begin=25, end=26).add(2, "read", "r0", "0", begin=27, end=28)
    assert history.violations(faults=[CUT])


def test_unanswered_changes_of_a_node_that_was_hit_may_be_lost_with_all():
    history = History().add(1, "write", "r0", "a", result="EBUSY", begin=9.9, end=11)
    history.add(1, "read", "r0", "a", begin=11, end=12).add(1, "read", "r0", "0", begin=20, end=21)
    assert history.violations(faults=[CUT], acknowledge_all=True) == []
    assert history.violations(acknowledge_all=True)


def test_unanswered_removal_on_a_node_that_was_hit_may_be_lost():
    history = History().add(1, "create", "f.1")
    for node in ALL:
        history.add(node, "list", None, ("f.1",), ())
    history.add(1, "remove", "f.1", result="ECONNABORTED", begin=10.5, end=11)
    history.add(1, "list", None, (), ("f.1",), begin=12, end=13).add(1, "list", None, ("f.1",), (), begin=21, end=22)
    assert history.violations(faults=[CUT], acknowledge_all=True) == []
    assert history.violations(acknowledge_all=True)


def test_acknowledged_by_all_may_be_lost_if_the_group_fell_apart_meanwhile():
    apart = Fault("drop", frozenset(ALL), 10, 20, apart=True)
    history = History().add(1, "create", "f.1", begin=11, end=12).add(1, "remove", "f.1", result="no", begin=21, end=22)
    assert history.violations(faults=[apart], acknowledge_all=True) == []
    assert history.violations(faults=[Fault("drop", frozenset(ALL), 10, 20)], acknowledge_all=True)
    assert history.violations(acknowledge_all=True)


def test_not_what_they_had_acknowledged_before_it_did():
    apart = Fault("drop", frozenset(ALL), 10, 20, apart=True)
    history = History().add(1, "create", "f.1", begin=8, end=9).add(1, "remove", "f.1", result="no", begin=21, end=22)
    assert history.violations(faults=[apart], acknowledge_all=True)


def write_meets_rename(write="in place", renamer=2):
    """Node 1 writes to what it has open as r0, reads r0 then, and sees what was there before."""
    history = History().add(1, "read", "r0", "0", begin=1, end=1.1)
    history.add(renamer, "write", "r0", "b", source="by a rename", begin=2, end=2.2)
    history.add(1, "write", "r0", "a", source=write, begin=2.1, end=2.3).add(2, "read", "r0", "a", begin=2.4, end=2.5)
    return history.add(1, "read", "r0", "0", begin=2.4, end=2.5)


@pytest.mark.parametrize("write", ["in place", "by a rename"])
@pytest.mark.parametrize("renamer", [1, 2])
def test_own_write_is_seen_wherever_another_file_was_renamed_to_its_name(write, renamer):
    assert write_meets_rename(write=write, renamer=renamer).violations()


def test_own_write_to_a_file_that_was_renamed_there():
    history = History().add(2, "write", "r0", "b", source="by a rename").add(1, "read", "r0", "b")
    assert history.add(1, "write", "r0", "a", source="in place").add(1, "read", "r0", "b").violations()
