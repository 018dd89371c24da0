# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of a running pmxcfs need: namespaces, daemons, and processes inside them."""

from .daemon import BUILD_DIR, GROUP, GROUP_ID, NOBODY, PMXCFS, SOURCE_DIR, Daemon
from .namespace import ROOM, Namespace
from .worker import DISTURBED, PATIENCE, Hang, Pending, Worker, wait_for

__all__ = ["BUILD_DIR", "DISTURBED", "GROUP", "GROUP_ID", "NOBODY", "PATIENCE", "PMXCFS", "ROOM", "SOURCE_DIR", "Daemon",
           "Hang", "Namespace", "Pending", "Worker", "wait_for"]
