# SPDX-License-Identifier: Apache-2.0
"""Returns, advantages and labels of RECAP, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rl_methods.recap.labels import check_outcomes, label, thresholds
from rl_methods.recap.returns import EpisodeOutcome, advantages_of, returns_of, step_rewards
from rl_methods.recap.settings import RecapSettings

LENGTH = 10  # L
COST = 1.0  # C_fail, in units of L


def outcome(actors: str, *, success: bool, task: str = "lift") -> EpisodeOutcome:
    """`p` is a frame of the policy, `h` one of a person."""
    return EpisodeOutcome(task, success, np.array([actor == "h" for actor in actors]))


@pytest.mark.parametrize(
    ("actors", "success", "expected"),
    [
        ("pppp", True, [-0.3, -0.2, -0.1, 0.0]),
        ("pppp", False, [-1.0, -1.0, -1.0, -1.0]),  # -1.3, -1.2, -1.1, -1.0 before they are cut off
        ("hhh", True, [-0.2, -0.1, 0.0]),
        ("pphp", True, [-1.0, -1.0, -0.1, 0.0]),  # the prefix failed, since a person had to come
        ("pphh", False, [-1.0, -1.0, -1.0, -1.0]),
        ("p" * 10, False, [-1.0] * 10),  # its time ran out
    ],
)
def test_when_an_episode_ends_expect_the_returns_of_the_table(actors, success, expected):
    np.testing.assert_allclose(returns_of(outcome(actors, success=success), COST, LENGTH), expected, atol=1e-12)


def test_when_failures_cost_little_expect_their_returns_above_minus_one():
    found = returns_of(outcome("ppp", success=False), 0.25, LENGTH)
    np.testing.assert_allclose(found, [-0.45, -0.35, -0.25])


def test_when_the_last_step_succeeds_expect_it_to_cost_nothing():
    np.testing.assert_allclose(step_rewards(3, success=True, failure_cost=2.0, max_length=4), [-0.25, -0.25, 0.0])
    np.testing.assert_allclose(step_rewards(3, success=False, failure_cost=2.0, max_length=4), [-0.25, -0.25, -2.0])


@pytest.mark.parametrize(("cost", "length"), [(float("nan"), 4), (0.0, 4), (1.0, 0)])
def test_when_a_reward_cannot_be_made_expect_the_name_of_the_number(cost, length):
    with pytest.raises(ValueError, match="failure_cost|length"):
        step_rewards(3, success=True, failure_cost=cost, max_length=length)


def test_when_n_steps_end_inside_the_episode_expect_the_value_there():
    values = np.array([-0.8, -0.7, -0.3, -0.2])
    found = advantages_of(outcome("pppp", success=True), values, 2, COST, LENGTH)
    # -0.2 - 0.3 + 0.8, -0.2 - 0.2 + 0.7; then returns -0.1 and 0 without a value behind
    np.testing.assert_allclose(found, [0.3, 0.3, 0.2, 0.2])


def test_when_an_episode_fails_expect_its_end_below_what_was_hoped():
    values = np.array([-0.5, -0.5, -0.5])
    found = advantages_of(outcome("ppp", success=False), values, 1, COST, LENGTH)
    np.testing.assert_allclose(found, [-0.1, -0.1, -0.5])


def test_when_a_person_takes_over_expect_no_look_across_the_takeover():
    values = np.array([-0.6, -0.6, -0.1, -0.1])
    found = advantages_of(outcome("pphh", success=True), values, 2, COST, LENGTH)
    # the prefix ends as a failure: -1 instead of the value that the person reached
    np.testing.assert_allclose(found, [-0.4, -0.4, 0.0, 0.1])


@pytest.mark.parametrize("values", [np.array([0.0, np.nan]), np.zeros(3)])
def test_when_values_cannot_be_used_expect_refusal(values):
    with pytest.raises(ValueError, match="not finite|shape"):
        advantages_of(outcome("pp", success=True), values, 1, COST, LENGTH)


def test_when_two_tasks_have_different_scales_expect_the_share_in_each():
    rng = np.random.default_rng(0)
    small, large = rng.normal(0.0, 0.01, 500), rng.normal(5.0, 1.0, 500)
    levels = thresholds({"small": small, "large": large}, 0.4)
    assert (small > levels["small"]).mean() == pytest.approx(0.4, abs=0.01)
    assert (large > levels["large"]).mean() == pytest.approx(0.4, abs=0.01)


def test_when_labelled_expect_the_persons_frames_positive_and_the_shares_counted():
    outcomes = [outcome("pppph", success=True), outcome("ppppp", success=False), outcome("hh", success=True, task="b")]
    advantages = [np.array([0.1, 0.2, 0.3, 0.4, -9.0]), np.array([-0.1, -0.2, -0.3, -0.4, 0.5]), np.full(2, -9.0)]
    chosen = [np.ones(len(one), bool) for one in outcomes]
    chosen[1][4] = False  # not trained on: no part of threshold or count
    positive, counts = label(outcomes, advantages, chosen, 0.25)
    # the 75th percentile of -0.4..0.4 without 0 is 0.225
    assert positive[0].tolist() == [False, False, True, True, True]
    assert positive[1][:4].tolist() == [False] * 4
    assert positive[2].all()
    assert counts["lift"].threshold == pytest.approx(0.225)
    assert (counts["lift"].policy_frames, counts["lift"].human_frames) == (8, 1)
    assert counts["lift"].policy_positive == pytest.approx(2 / 8)
    assert counts["lift"].positive == pytest.approx(3 / 9)
    assert np.isnan(counts["b"].threshold) and counts["b"].positive == 1.0


def test_when_an_advantage_is_not_finite_expect_refusal():
    with pytest.raises(ValueError, match="'lift' is not finite"):
        label([outcome("pp", success=True)], [np.array([0.0, np.nan])], [np.ones(2, bool)], 0.4)


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        ([], "no episode"),
        ([outcome("pp", success=False)], "none of 1 episodes succeeded"),
        ([outcome("pp", success=True), outcome("hh", success=True)], "all of 2 episodes succeeded"),
    ],
)
def test_when_there_is_one_class_of_outcomes_expect_a_sentence_that_says_so(outcomes, words):
    with pytest.raises(ValueError, match=words):
        check_outcomes(outcomes)


def test_when_a_person_saved_an_episode_expect_both_outcomes_to_be_there():
    check_outcomes([outcome("pph", success=True)])


def test_when_an_episode_has_no_frame_expect_refusal():
    with pytest.raises(ValueError, match="1 or more frames"):
        outcome("", success=True)


@pytest.mark.parametrize(
    "change",
    [
        {"n_step": 0}, {"n_step": 3, "stride": 2}, {"positive_share": 1.0}, {"positive_share": float("nan")},
        {"indicator_dropout": -0.1}, {"guidance": float("inf")}, {"bins": 2}, {"max_length": -1}, {"seed": -1},
        {"failure_cost": 0.0}, {"held_out": 1.0}, {"value_learning_rate": 0.0},
    ],
)  # fmt: skip
def test_when_a_setting_cannot_work_expect_its_name_and_what_is_allowed(change):
    with pytest.raises(ValueError, match=f"{next(iter(change))} is .*(allowed|must be)"):
        RecapSettings(**change)


def test_when_instructions_fit_a_pattern_expect_one_task_of_them():
    settings = RecapSettings(tasks="put *, stack the red *")
    words = ("put the red cube on the blue plate", "put the blue cube on the red plate", "stack the blue cube")
    assert [settings.task_of(each) for each in words] == ["put *", "put *", "stack the blue cube"]
