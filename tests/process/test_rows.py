# SPDX-License-Identifier: Apache-2.0
"""Every fault row, with the product as it is and with a protection removed.

A row whose protection can be removed without a complaint would prove nothing, so each has at least one mutation. On
each change the quick ones are tried; `--all-mutations` tries them all, `--repeat 20` is for the night.

Reaction times are judged, so a failure on a machine that kept a thread of the test itself waiting for more than 0.1 s
is void and tried again, at most twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from harness.mutants.registry import MUTATIONS
from harness.oracle import Verdict
from harness.rows import CASES
from harness.rows.case import Case
from harness.world import World

ATTEMPTS = 3
# No further attempt after this long.
RETRY_S = 60.0
MUTANTS = [(case, mutation) for case in CASES for mutation in case.mutations]


def mutant_parameter(case: Case, mutation: str) -> object:
    """Marked slow unless it is tried on each change."""
    is_quick = case.quick and mutation == case.mutations[0]
    marks = [] if is_quick else [pytest.mark.slow_mutation]
    return pytest.param(
        case, mutation, id=f"{case.id}-{mutation}", marks=[pytest.mark.mutation, pytest.mark.cores(case.cores), *marks]
    )


def judged(worlds: Callable[[], World], case: Case, seed: int, mutation: str) -> tuple[World, Verdict]:
    """Run a scenario; again, up to ATTEMPTS times, when it failed on a machine too busy to judge."""
    end_s = time.monotonic() + RETRY_S
    for attempt in range(1, ATTEMPTS + 1):
        world = worlds()
        print(f"seed {seed}, attempt {attempt}")
        try:
            verdict = case.scenario(world, seed, mutation)
        except AssertionError:
            if attempt == ATTEMPTS or time.monotonic() > end_s or not world.canary.starved:
                raise
        else:
            if verdict.ok or mutation or time.monotonic() > end_s or not world.canary.starved:
                return world, verdict
        print(f"void: a thread of the test waited {world.canary.worst_s:.2f} s for a core")
    return world, verdict


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.id, marks=pytest.mark.cores(case.cores)) for case in CASES]
)
def test_when_the_fault_strikes_expect_the_promise_to_be_kept(
    worlds: Callable[[], World], case: Case, repetition: int, first_seed: int
) -> None:
    world, verdict = judged(worlds, case, first_seed + repetition, "")
    world.judge(case.row, case.name, verdict)


@pytest.mark.parametrize(("case", "mutation"), [mutant_parameter(case, mutation) for case, mutation in MUTANTS])
def test_when_the_protection_is_removed_expect_the_row_to_fail(
    worlds: Callable[[], World], case: Case, mutation: str, first_seed: int
) -> None:
    assert mutation in MUTATIONS
    _, verdict = judged(worlds, case, first_seed, mutation)
    assert verdict.problems, f"row {case.row} passes without the protection that {mutation} removes"
