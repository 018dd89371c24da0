# SPDX-License-Identifier: GPL-3.0-or-later
"""A wall clock of its own for a daemon, which may jump."""

import mmap
import os
import struct

from .daemon import BUILD_DIR


class OtherClock:
    """Of a daemon that is not started yet; `jump()` at any time."""

    def __init__(self, daemon, directory):
        path = os.path.join(directory, "clock")
        with open(path, "w+b") as file:
            file.write(bytes(8))
            file.flush()
            self.offset = mmap.mmap(file.fileno(), 8)
        daemon.preload(os.path.join(BUILD_DIR, "tests", "cluster", "other_clock.so"), OTHER_CLOCK=path)

    def jump(self, seconds):
        """From now on it is so far ahead of the machine's."""
        self.offset[:] = struct.pack("=q", seconds)
