# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients on three real nodes, to which everything happens that can: what they saw must be explainable (doc/testing.md,
"Linearizability").

PMXCFS_FAULTS or PMXCFS_SECONDS for more, PMXCFS_SEED for other ones (scripts/soak.sh sets them); PMXCFS_KINDS: of these kinds only.
"""

import os
import time

import pytest
from run import run

from harness import cluster as clusters
from harness.lossy_switch import LossySwitch

FAULTS = int(os.environ.get("PMXCFS_FAULTS") or 6)
SECONDS = float(os.environ.get("PMXCFS_SECONDS") or 0)
SEED = int(os.environ.get("PMXCFS_SEED") or time.time() // 86400)  # each day others
KINDS = os.environ.get("PMXCFS_KINDS", "").split()


@pytest.mark.parametrize("acknowledge", ("own", "all"))
def test_history(possible, tmp_path, request, acknowledge):
    reason = clusters.missing()
    if reason:
        pytest.skip(reason)
    count = 0 if SECONDS else (FAULTS + 1) // 2
    cluster = clusters.Cluster(tmp_path, 3, ["--rejoin-delay", "0.3", "--acknowledge", acknowledge], LossySwitch)
    request.node.daemons = [node.daemon for node in cluster]
    try:
        report = run(cluster, SEED, count, SECONDS / 2, acknowledge == "all", KINDS)
        assert not report.violations, "\n".join(report.violations[:20])
    finally:
        cluster.close()
