# SPDX-License-Identifier: Apache-2.0
import pytest

from robot_operation.core.episodes import EpisodePlan, EpisodeRecord, EpisodeResult, EpisodeRun, plans_of
from whetstone_common.core.enums import Outcome


def record(outcome: Outcome, seed: int = 1) -> EpisodeRecord:
    return EpisodeRecord(EpisodePlan("pick_place", seed, 160), EpisodeResult(outcome, 10, 0, "sim_truth", "why"), 0.5)


def test_when_goal_asks_for_three_expect_consecutive_seeds() -> None:
    plans = plans_of(task="stack", episodes=3, first_seed=7, max_steps=160, instruction="words")
    assert [plan.seed for plan in plans] == [7, 8, 9]
    assert {plan.instruction for plan in plans} == {"words"}


@pytest.mark.parametrize(("episodes", "max_steps"), [(0, 160), (1, 0), (-1, 5)])
def test_when_count_makes_no_sense_expect_refusal(episodes: int, max_steps: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        plans_of(task="stack", episodes=episodes, first_seed=0, max_steps=max_steps)


def test_when_all_episodes_ran_expect_no_next_plan() -> None:
    run = EpisodeRun(plans_of(task="stack", episodes=2, first_seed=0, max_steps=10))
    run.records += [record(Outcome.SUCCEEDED), record(Outcome.TIMED_OUT)]
    assert run.next_plan is None
    assert run.successes == 1
    assert run.message == "1 of 2 succeeded"


def test_when_one_episode_aborts_expect_the_next_goes_on() -> None:
    run = EpisodeRun(plans_of(task="stack", episodes=3, first_seed=0, max_steps=10))
    run.records.append(record(Outcome.ABORTED))
    assert run.next_plan is run.plans[1]
    assert run.message == "0 of 1 succeeded; 1 aborted, the last: why"


def test_when_three_in_a_row_abort_expect_the_run_gives_up_with_the_reason() -> None:
    run = EpisodeRun(plans_of(task="stack", episodes=9, first_seed=0, max_steps=10))
    run.records += [record(Outcome.ABORTED)] * 3
    assert run.next_plan is None
    assert "why" in run.message


def test_when_the_last_seed_would_be_too_large_expect_refusal_with_the_range() -> None:
    assert plans_of(task="stack", episodes=2, first_seed=2**32 - 2, max_steps=9)[-1].seed == 2**32 - 1
    with pytest.raises(ValueError, match=r"the last seed would be 4294967296: allowed are 0\.\.4294967295"):
        plans_of(task="stack", episodes=2, first_seed=2**32 - 1, max_steps=9)
