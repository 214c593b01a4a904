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

TESTS = Path(__file__).resolve().parents[1]


def test_when_rows_name_mutations_expect_them_to_exist() -> None:
    named = {mutation for case in CASES for mutation in case.mutations}
    assert named == set(MUTATIONS)
    assert all(set(case.quick) <= set(case.mutations) for case in CASES)


@pytest.mark.parametrize("mutation", sorted(MUTATIONS))
def test_when_a_protection_is_removed_expect_it_to_have_been_there(mutation: str) -> None:
    # In a process of its own, since a mutation is never taken back.
    code = f"from harness.mutants.registry import MUTATIONS; MUTATIONS[{mutation!r}]()"
    env = {**os.environ, "PYTHONPATH": f"{TESTS}:{os.environ.get('PYTHONPATH', '')}"}
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
