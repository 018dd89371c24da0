# SPDX-License-Identifier: GPL-3.0-or-later
"""A daemon for each module, which its tests share, each in a directory of its own."""

import itertools
from contextlib import closing

import pytest

from harness import GROUP_ID, NOBODY, Daemon

numbers = itertools.count(1)


@pytest.fixture(scope="module")
def module_daemon(possible, tmp_path_factory):
    with closing(Daemon(tmp_path_factory.mktemp("shared"), "node1")) as daemon:
        yield daemon.start()


@pytest.fixture
def shared(module_daemon, request):
    """The module's daemon, in local mode."""
    request.node.daemons = [module_daemon]
    assert module_daemon.pid is not None
    return module_daemon


@pytest.fixture
def here(shared):
    """An empty directory of the shared mount for this test alone."""
    path = shared / ("test%d" % next(numbers))
    shared.os.mkdir(path)
    return path


@pytest.fixture(scope="module")
def second_process(module_daemon):
    """Another process of root's on the shared mount."""
    return module_daemon.worker()


@pytest.fixture(scope="module")
def stranger(module_daemon):
    """A process without any rights."""
    return module_daemon.worker(NOBODY, NOBODY)


@pytest.fixture(scope="module")
def member(module_daemon):
    """A process of the group www-data."""
    return module_daemon.worker(NOBODY, GROUP_ID)


@pytest.fixture(scope="module")
def further_member(module_daemon):
    """A process that has www-data among its further groups."""
    return module_daemon.worker(NOBODY, NOBODY, [GROUP_ID])
