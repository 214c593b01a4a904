# SPDX-License-Identifier: Apache-2.0
"""Each removed protection exists in the product under the name by which it is removed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.mutants.registry import MUTATIONS
from harness.rows import CASES

# It keeps a core busy, which others must not take for theirs.
pytestmark = [pytest.mark.cores(2), pytest.mark.usefixtures("cores")]

# One start of Python and its imports, then a fork for each.
_ALL = """
import os, sys
from harness.mutants.registry import MUTATIONS
import robot_bringup.core.chunk_queue, vla_policy.core.synchroniser, whetstone_common.nodes.node
bad = []
for name, remove in MUTATIONS.items():
    child = os.fork()
    if child == 0:
        remove()
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        bad.append(name)
sys.exit(f"nothing to remove: {bad}" if bad else 0)
"""
TESTS = Path(__file__).resolve().parents[1]


def test_when_rows_name_mutations_expect_them_to_exist() -> None:
    named = {mutation for case in CASES for mutation in case.mutations}
    assert named == set(MUTATIONS)
    assert all(case.mutations for case in CASES if case.quick)


def test_when_protections_are_removed_expect_each_to_have_been_there() -> None:
    # In processes of their own, since a mutation is never taken back.
    env = {**os.environ, "PYTHONPATH": f"{TESTS}:{os.environ.get('PYTHONPATH', '')}"}
    result = subprocess.run([sys.executable, "-c", _ALL], env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
