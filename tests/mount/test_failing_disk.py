# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk that fails, or was made read-only under the daemon: one verdict everywhere until a change is stored."""

import errno

import pytest
from support import contents, refused

from harness import wait_for
from harness.failing_disk import FailingDisk, database_is_well


@pytest.mark.parametrize("error", [errno.EROFS, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("options", [[], ["--fold-delay", "0"]], ids=["journal", "no-journal"])
def test_a_failing_disk_is_told_until_a_change_is_stored(make_daemon, tmp_path, error, options):
    daemon = make_daemon(options=options)
    disk = FailingDisk(daemon, tmp_path)
    daemon.start()
    worker = daemon.os
    worker.write_file(daemon / "before", b"content")
    assert database_is_well(daemon)
    disk.fail(error)
    with refused(errno.EIO):
        worker.write_file(daemon / "before", b"lost")
    for change in (lambda: worker.mkdir(daemon / "directory"), lambda: worker.unlink(daemon / "before"),
                   lambda: worker.rename(daemon / "before", daemon / "after"), lambda: worker.utime(daemon / "before", (5, 5))):
        with refused(errno.EIO):
            change()
    assert not database_is_well(daemon)
    shown = contents(worker, daemon.mountpoint)
    assert shown in ({"before": b"content"}, {"before": b""})
    log = daemon.log_text()
    assert log.count("cannot write to %s: " % daemon.database) == 1 and "takes writes again" not in log
    disk.mend()
    assert not database_is_well(daemon), "nothing was stored yet"
    worker.write_file(daemon / "after", b"stored")
    wait_for(lambda: database_is_well(daemon), "all is well again")
    assert daemon.log_text().count("takes writes again") == 1
    shown["after"] = b"stored"
    daemon.restart()
    assert contents(worker, daemon.mountpoint) == shown


def test_a_disk_that_fails_when_the_journal_is_folded(make_daemon, tmp_path):
    """Nobody waits for that: it is told all the same, and told until it is done."""
    daemon = make_daemon(options=["--fold-delay", "0.2"])
    disk = FailingDisk(daemon, tmp_path)
    daemon.start()
    worker = daemon.os
    worker.write_file(daemon / "file", b"content")
    disk.fail(errno.EIO)
    wait_for(lambda: not database_is_well(daemon), "the fold has failed")
    disk.mend()
    wait_for(lambda: database_is_well(daemon), "it is tried again")
    assert daemon.log_text().count("takes writes again") == 1
