# SPDX-License-Identifier: GPL-3.0-or-later
"""One cluster of three nodes that tests share, and clusters of their own for those that need one."""

import itertools

import pytest

from harness import cluster as clusters

# A lock's life and a pause between joins, in seconds: short, so that tests need not wait for them.
OPTIONS = ["--lock-lifetime", "3", "--rejoin-delay", "0.3"]


def missing_or_skip():
    reason = clusters.missing()
    if reason:
        pytest.skip(reason)


@pytest.fixture
def make_cluster(possible, tmp_path, request):
    """make_cluster(count=3, options=[]): a Cluster, not started, that ends with the test."""
    missing_or_skip()
    made = []
    request.node.daemons = []

    def make(count=3, options=()):
        made.append(clusters.Cluster(tmp_path / ("cluster%d" % len(made)), count, [*OPTIONS, *options]))
        request.node.daemons += [node.daemon for node in made[-1]]
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()


class Shared:
    """The cluster that tests share; one that a test left broken is replaced."""

    def __init__(self, factory):
        self.factory = factory
        self.cluster = None

    def get(self):
        if self.cluster is None:
            self.cluster = clusters.Cluster(self.factory.mktemp("shared"), 3, OPTIONS)
            self.cluster.start()
        return self.cluster

    def drop(self):
        cluster, self.cluster = self.cluster, None
        if cluster:
            cluster.close()


@pytest.fixture(scope="session")
def shared(possible, tmp_path_factory):
    missing_or_skip()
    holder = Shared(tmp_path_factory)
    yield holder
    holder.drop()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.succeeded = outcome.get_result().passed


numbers = itertools.count(1)


@pytest.fixture
def cluster(shared, request):
    """Three nodes, all there and in sync. After the test all are brought back, must get in sync
    again, and have equal databases; a test need not clean up."""
    cluster = shared.get()
    request.node.daemons = [node.daemon for node in cluster]
    yield cluster
    try:
        if getattr(request.node, "succeeded", False):
            cluster.repair()
            cluster.wait_settled()
        else:
            shared.drop()
    except BaseException:
        shared.drop()
        raise


@pytest.fixture
def folder(cluster):
    """The name of a new directory in the cluster's tree, for one test."""
    name = "test%d" % next(numbers)
    cluster[1].os.mkdir(cluster[1].path(name))
    cluster.wait_equal()
    return name
