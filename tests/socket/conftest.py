# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for tests of the local socket."""

import pytest
from harness import GROUP_ID, NOBODY
from ipc_client import Client


@pytest.fixture
def connect(daemon):
    """connect(uid=..., gid=...): a Client of `daemon` that ends with the test; root by default."""
    made = []

    def make(to=daemon, **keywords):
        made.append(Client(to, **keywords))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def root(connect):
    return connect()


@pytest.fixture
def reader(connect):
    """A client of the group www-data: read-only."""
    return connect(uid=GROUP_ID, gid=GROUP_ID)


@pytest.fixture
def other():
    """Keywords of a user who may not connect."""
    return {"uid": NOBODY, "gid": NOBODY}
