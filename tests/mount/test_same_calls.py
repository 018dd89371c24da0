# SPDX-License-Identifier: GPL-3.0-or-later
"""Random calls by several processes, one after the other, are answered as on any other file system. tests/cluster/test_same_calls.py is the same on
several nodes."""

import os
import random
import time

import pytest

from harness.same_calls import compare

# Each day others.
FIRST_SEED = int(os.environ.get("PMXCFS_TEST_SEED", time.time() // 86400 * 100))


@pytest.mark.parametrize("number", range(8))
def test_same_calls(shared, here, second_process, tmp_path, number):
    difference = compare(random.Random(FIRST_SEED + number), 1500, [(shared.os, here), (second_process, here)], str(tmp_path))
    assert not difference, "PMXCFS_TEST_SEED=%d:\n%s" % (FIRST_SEED, difference)
