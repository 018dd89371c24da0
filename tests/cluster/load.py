# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes made all the time, on any nodes at once, that remember what was acknowledged."""

import os

from harness import wait_for

# Makes files with unique names until told to end. What failed is tried again under another name.
# Errors that a node in trouble may give are counted; any other ends it.
MAKE_FILES = """
import errno
expected = (errno.EACCES, errno.EBUSY)
acknowledged = {}
failed = 0
number = 0
while not os.path.exists(stop):
    number += 1
    path = "%s-%d" % (prefix, number)
    content = ("%s %d" % (prefix, number)).encode() * 3
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        try:
            os.write(fd, content)
        finally:
            os.close(fd)
        acknowledged[os.path.basename(path)] = content
        open(progress, "w").write(str(number))
    except OSError as error:
        if error.errno not in expected:
            raise
        failed += 1
    time.sleep(pause)
result = (acknowledged, failed)
"""


class Load:
    """One process on each of `nodes` that makes files in the directory `folder`."""

    def __init__(self, nodes, folder, pause=0.01, name=""):
        self.folder = folder
        self.workers = []
        self.calls = {}
        self.stop_files = {}
        self.progress = {}
        for node in nodes:
            stop = os.path.join(node.directory, "stop-" + folder + name)
            progress = os.path.join(node.directory, "progress-" + folder + name)
            names = {"prefix": node.path(os.path.join(folder, node.name + name)), "stop": stop, "pause": pause, "progress": progress}
            self.stop_files[node] = stop
            self.progress[node] = progress
            worker = node.daemon.worker()
            self.workers.append((node, worker, worker.getpid()))
            self.calls[node] = worker.start("execute", MAKE_FILES, names)

    def count(self, node):
        """The number of the last file that was acknowledged there."""
        try:
            with open(self.progress[node]) as file:
                return int(file.read() or "0")
        except FileNotFoundError:
            return 0

    def wait_progress(self, node, more=3):
        """Waits until that node has had a few more changes acknowledged."""
        start = self.count(node)
        wait_for(lambda: self.count(node) >= start + more, "changes on %s go on" % node.name)

    def end(self):
        """Ends all; {node: {name: content}} of what was acknowledged."""
        for stop in self.stop_files.values():
            open(stop, "w").close()
        return {node: call.result()[0] for node, call in self.calls.items()}

    def abandon(self):
        """Ends all processes, whatever they had acknowledged; fails if one cannot be killed."""
        for node, worker, pid in self.workers:
            node.namespace.kill(pid)
        for node, worker, pid in self.workers:
            wait_for(lambda: worker.process.poll() is not None, "a process that makes files can be killed")

    def check(self, node, acknowledged, lost=0):
        """Everything acknowledged is on `node`; but for `lost` of them at most."""
        missing = []
        for name, content in acknowledged.items():
            try:
                if node.read(os.path.join(self.folder, name)) != content:
                    missing.append(name)
            except FileNotFoundError:
                missing.append(name)
        assert len(missing) <= lost, "%d of %d acknowledged changes are missing: %s" % (
            len(missing),
            len(acknowledged),
            missing[:10],
        )
        return missing
