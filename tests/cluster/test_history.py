# SPDX-License-Identifier: GPL-3.0-or-later
"""What a synchronisation changed is in the history of the node that it changed, as such."""

from harness.history import CREATE, DELETE, RESYNC, WRITE, rows_of, short


def test_a_synchronisation_that_takes_away_a_file(cluster, folder):
    gone, changed, new = folder + "/gone", folder + "/changed", folder + "/new"
    cluster[1].write(gone, b"wanted back")
    cluster[1].write(changed, b"old")
    cluster.wait_equal()
    away, present = cluster[3], cluster[1]
    away.daemon.stop()
    present.os.unlink(present.path(gone))
    present.write(changed, b"new")
    present.write(new, b"x")
    away.daemon.start()
    cluster.wait_settled()
    for node in (away, present):
        node.daemon.stop()
    below = "p.path LIKE '%s/%%'" % folder
    by_synchronisation = short(rows_of(away.daemon.state_dir, below + " AND c.operation = 16"))
    assert sorted(by_synchronisation) == [
        (RESYNC, changed, None, b"old", b"new"),
        (RESYNC, gone, None, b"wanted back", None),
        (RESYNC, new, None, None, b"x"),
    ]
    # Who was there has each step, and who asked; who only heard of it has each step.
    there = rows_of(present.daemon.state_dir, below)
    assert [row[:2] for row in there] == [(CREATE, gone), (WRITE, gone), (CREATE, changed), (WRITE, changed),
                                          (DELETE, gone), (WRITE, changed), (CREATE, new), (WRITE, new)]
    assert all(row[5]["pid"] and row[5]["node"] == 1 for row in there)
    heard = [row for row in rows_of(away.daemon.state_dir, below) if row[0] != RESYNC]
    assert [row[:2] for row in heard] == [(CREATE, gone), (WRITE, gone), (CREATE, changed), (WRITE, changed)]
    assert all(row[5]["pid"] is None and row[5]["node"] == 1 for row in heard)
