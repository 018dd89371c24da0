# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory that runs out while clients write ever more: the daemon may refuse, or end; nobody hangs, and all
that was acknowledged is there afterwards."""

import resource
import signal

import pytest
from test_kill_under_load import check_database

WRITERS = 3

# Makes files and fills them, until many calls in a row have failed: what was acknowledged, what may be there
# as well, how many calls failed.
FILL = """
import random
chance = random.Random(seed)
acknowledged, attempted, failed, number = {}, {}, 0, 0
while failed < 30:
    number += 1
    name = "f%d" % number
    content = bytes([chance.randrange(256)]) * chance.choice([10, 5000, 100000, 400000, 900000])
    try:
        fd = os.open(path + "/" + name, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        acknowledged[name] = b""
        try:
            attempted[name] = content
            if os.write(fd, content) == len(content):
                acknowledged[name] = content
        finally:
            os.close(fd)
        failed = 0
    except OSError as error:
        failed += 1
        last = error.errno
        attempted.setdefault(name, b"")
result = acknowledged, attempted, last
"""

# Reads all there is, until calls fail as well, or the writers have ended.
READ = """
count = 0
while not os.path.exists(stop):
    try:
        for directory, _, names in os.walk(path):
            for name in names:
                with open(os.path.join(directory, name), "rb") as file:
                    count += len(file.read())
    except OSError:
        time.sleep(0.01)
result = count
"""


def data_size(daemon):
    """Bytes, as RLIMIT_DATA counts them: without what malloc has only reserved for its arenas."""
    for line in daemon.os.read_file("/proc/%d/status" % daemon.pid).decode().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmData")


def write_until_it_fails(daemon, number, tmp_path):
    """The answers of all writers."""
    workers = [daemon.worker() for _ in range(WRITERS + 1)]
    stop = tmp_path / ("stop%d" % number)
    writers = []
    for i, worker in enumerate(workers[1:]):
        directory = daemon / ("w%d-%d" % (number, i))
        daemon.os.mkdir(directory)
        writers.append(worker.start("execute", FILL, {"path": directory, "seed": number * 10 + i}))
    limit = data_size(daemon) + number * (3 << 20)
    daemon.namespace.init.resource.prlimit(daemon.pid, resource.RLIMIT_DATA, (limit, limit))
    reader = workers[0].start("execute", READ, {"path": daemon / "", "stop": str(stop)})
    results = [writer.result() for writer in writers]
    stop.touch()
    reader.result()
    for worker in workers:
        daemon.namespace.end_worker(worker)
    return results


@pytest.mark.parametrize("number", range(1, 9))
def test_memory_runs_out(make_daemon, tmp_path, number):
    """Each time with a little more than what the daemon has when it is at rest."""
    daemon = make_daemon().start()
    results = write_until_it_fails(daemon, number, tmp_path)
    daemon.namespace.wait(daemon.pid, 0.5)
    daemon.send_signal(signal.SIGKILL)
    code = daemon.wait_exit()
    assert code in (-signal.SIGKILL, -signal.SIGTRAP, -signal.SIGABRT), "GLib ends the process when there is no memory"
    check_database(daemon, tmp_path / "copy")
    daemon.start()
    total = 0
    for i, (acknowledged, attempted, _) in enumerate(results):
        directory = daemon / ("w%d-%d" % (number, i))
        found = {name: daemon.os.read_file(directory + "/" + name) for name in daemon.os.listdir(directory)}
        for name, content in acknowledged.items():
            assert found.get(name) in (content, attempted[name]), "%s of writer %d is not what was acknowledged" % (name, i)
        assert set(found) <= set(attempted)
        total += sum(map(len, found.values()))
    print("limit %d MiB more: exit code %s, errors %s, %d KiB acknowledged" % (
        number * 3, code, sorted(last for _, _, last in results), total >> 10))
    assert total < 100 << 20, "the limit was not felt"
    daemon.os.mkdir(daemon / "goes-on")
