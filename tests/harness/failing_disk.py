# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk that takes no writes for a while, and what is told of it everywhere."""

import json
import os

from . import BUILD_DIR
from .database import PMXCFSCTL
from .worker import wait_for


class FailingDisk:
    """Of a daemon that is not started yet. `fail()` gives the error of every write from then on, `hang()` none."""

    def __init__(self, daemon, directory):
        self.control = os.path.join(directory, "failing-disk")
        daemon.preload(os.path.join(BUILD_DIR, "tests", "mount", "failing_disk.so"), FAILING_DISK=self.control)

    def fail(self, error):
        with open(self.control + ".new", "w") as file:
            file.write(str(error))
        os.rename(self.control + ".new", self.control)

    def hang(self):
        """Threads that write do not come back."""
        self.fail("hang")

    def hangs(self):
        """True if a thread writes since hang()."""
        return os.path.exists(self.control + ".hangs")

    def mend(self):
        os.unlink(self.control)


def database_is_well(daemon):
    """The one verdict of status, its JSON, .metrics and doctor, which must be the same."""
    def ctl(*arguments):
        return daemon.run([PMXCFSCTL, "--socket-name", daemon.socket_name, *arguments])

    def is_ok():
        return json.loads(ctl("status", "--json").stdout)["database_ok"]

    well = is_ok()
    text = ctl("status")
    doctor = json.loads(ctl("doctor", "--json").stdout)
    if is_ok() != well:  # it became another just now
        return database_is_well(daemon)
    found = [finding for finding in doctor["findings"] if finding["check"] in ("writes", "space") and finding["severity"] == "critical"]
    assert ("TAKES NO WRITES" in text.stdout) == (not well), text.stdout
    assert text.returncode == 4 or well
    assert well == (not found), doctor
    # A text that is up to 2 s old.
    wait_for(lambda: b"pmxcfs_database_ok %d" % is_ok() in daemon.os.read_file(daemon / ".metrics"), "the metrics say the same")
    return well
