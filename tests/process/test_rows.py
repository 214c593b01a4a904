# SPDX-License-Identifier: Apache-2.0
"""Every fault row, with the product as it is and with a protection removed.

A row whose protection can be removed without a complaint would prove nothing, so each has at least one mutation. On
each change the quick ones are tried; `--all-mutations` tries them all, `--repeat 20` is for the night.
"""

from __future__ import annotations

import pytest

from harness.mutants.registry import MUTATIONS
from harness.rows import CASES
from harness.rows.case import Case
from harness.world import World

MUTANTS = [(case, mutation) for case in CASES for mutation in case.mutations]


def mutant_parameter(case: Case, mutation: str) -> object:
    """Marked slow unless it is tried on each change."""
    is_quick = case.quick and mutation == case.mutations[0]
    marks = [] if is_quick else [pytest.mark.slow_mutation]
    return pytest.param(case, mutation, id=f"{case.id}-{mutation}", marks=[pytest.mark.mutation, *marks])


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_when_the_fault_strikes_expect_the_promise_to_be_kept(
    world: World, case: Case, repetition: int, first_seed: int
) -> None:
    seed = first_seed + repetition
    print(f"seed {seed}")
    world.judge(case.row, case.name, case.scenario(world, seed, ""))


@pytest.mark.parametrize(("case", "mutation"), [mutant_parameter(case, mutation) for case, mutation in MUTANTS])
def test_when_the_protection_is_removed_expect_the_row_to_fail(
    world: World, case: Case, mutation: str, first_seed: int
) -> None:
    assert mutation in MUTATIONS
    verdict = case.scenario(world, first_seed, mutation)
    assert verdict.problems, f"row {case.row} passes without the protection that {mutation} removes"
