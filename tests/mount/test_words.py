# SPDX-License-Identifier: GPL-3.0-or-later
"""What the log says of a refusal: once per cause, with the path and what to do."""

import errno

import pytest
from support import FILE, MIB, make_database, refused


@pytest.fixture
def said(shared):
    """said(text): how often the daemon has logged it since the test began."""
    begin = len(shared.log_text())
    return lambda text: shared.log_text()[begin:].count(text)


def test_guest_id_is_taken(shared, said):
    """By whom it is taken, in a line that is not repeated at each try."""
    for path in ("nodes", "nodes/other", "nodes/other/lxc", "nodes/node1", "nodes/node1/qemu-server"):
        if not shared.os.exists(shared / path):
            shared.os.mkdir(shared / path)
    shared.os.write_file(shared / "nodes/other/lxc/4711.conf", b"cores: 1\n")
    for _ in range(20):
        with refused(errno.EEXIST):
            shared.os.write_file(shared / "nodes/node1/qemu-server/4711.conf", b"cores: 1\n")
    assert said("refused to change 'nodes/node1/qemu-server/4711.conf': guest id 4711 is taken by the lxc guest of node "
                "other; choose another id") == 1
    assert said("refused to change") == 1


def test_file_is_too_large(shared, said):
    shared.os.write_file(shared / "large", b"x" * MIB)
    fd = shared.os.open(shared / "large", 1)
    for _ in range(20):
        with refused(errno.EFBIG):
            shared.os.pwrite(fd, b"x", MIB)
    shared.os.close(fd)
    assert said("refused to change 'large': ") == 1
    assert said("refused to change") == 1


def test_all_files_are_too_large_together(make_daemon):
    """The limit of 128 MiB for all contents, named with the path and what to do."""
    daemon = make_daemon()
    files = [(2 + number, 0, FILE, "file%d" % number, b"x" * MIB) for number in range(128)]
    make_database(daemon.database, [*files, (200, 0, FILE, "empty", None)])
    daemon.start()
    for _ in range(20):
        with refused(errno.ENOSPC):
            daemon.os.write_file(daemon / "empty", b"x")
    text = daemon.log_text()
    assert text.count("refused to change 'empty': the limit of 128 MiB for the contents of all files is reached; "
                      "delete what is not needed") == 1
    assert text.count("refused to change") == 1
