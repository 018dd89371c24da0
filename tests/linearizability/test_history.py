# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients on three real nodes, whose links are cut, whose daemons and corosyncs are killed: what they saw
must be explainable (doc/testing.md, "Linearizability").

PMXCFS_FAULTS or PMXCFS_SECONDS for more, PMXCFS_SEED for other ones (scripts/soak.sh sets them).
"""

import os

import pytest
from run import run

from harness import cluster as clusters

FAULTS = int(os.environ.get("PMXCFS_FAULTS") or 6)
SECONDS = float(os.environ.get("PMXCFS_SECONDS") or 0)
SEED = int(os.environ.get("PMXCFS_SEED", "1"))


@pytest.mark.parametrize("acknowledge", ("own", "all"))
def test_history(possible, tmp_path, request, acknowledge):
    reason = clusters.missing()
    if reason:
        pytest.skip(reason)
    count = 0 if SECONDS else (FAULTS + 1) // 2
    cluster = clusters.Cluster(tmp_path, 3, ["--rejoin-delay", "0.3", "--acknowledge", acknowledge])
    request.node.daemons = [node.daemon for node in cluster]
    try:
        cluster.start()
        report = run(cluster, SEED, count, SECONDS / 2, acknowledge == "all")
        assert not report.violations, "\n".join(report.violations[:20])
    finally:
        cluster.close()
