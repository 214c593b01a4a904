# SPDX-License-Identifier: Apache-2.0
"""Windows against a table worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experience.core.records import EpisodeEventKind
from experience.core.windows import (
    END_MASK,
    concatenate,
    episode_labels,
    normalised,
    window,
    window_rows,
)

# A success of 5 steps, a failure of 3, a time-out of 4, one after another; the success pays 1 at its last step.
EPISODES = [
    episode_labels(np.array([0.0, 0.0, 0.0, 0.0, 1.0]), EpisodeEventKind.SUCCEEDED),
    episode_labels(np.zeros(3), EpisodeEventKind.FAILED),
    episode_labels(np.zeros(4), EpisodeEventKind.TIMED_OUT),
]
# start: (R, M, valid) for windows of 3 steps.
TABLE = {
    0: ([0.0, 0.0, 0.0], 1.0, True),  # 0 1 2
    1: ([0.0, 0.0, 0.0], 1.0, True),  # 1 2 3
    2: ([0.0, 0.0, 1.0], 0.0, True),  # 2 3 4: the end is the last step
    3: ([0.0, 1.0, 0.0], 0.0, False),  # 3 4 | 5
    4: ([1.0, 0.0, 0.0], 0.0, False),  # 4 | 5 6
    5: ([0.0, 0.0, 0.0], 0.0, True),  # the whole failure
    6: ([0.0, 0.0, 0.0], 0.0, False),
    7: ([0.0, 0.0, 0.0], 0.0, False),
    8: ([0.0, 0.0, 0.0], 1.0, True),
    9: ([0.0, 0.0, 0.0], 0.0, True),  # the time-out masks like a failure
    10: ([0.0, 0.0], 0.0, False),  # over the end of the data
    11: ([0.0], 0.0, False),
}


@pytest.mark.parametrize("start", TABLE)
def test_when_three_episodes_follow_one_another_expect_the_hand_table(start: int) -> None:
    made = window(concatenate(EPISODES), start, 3)
    rewards, mask, valid = TABLE[start]
    assert made.rewards.tolist() == rewards
    assert (made.mask, made.valid) == (mask, valid)


def test_when_an_episode_has_ended_expect_one_rule_for_every_judged_end() -> None:
    assert {END_MASK[o] for o in (EpisodeEventKind.SUCCEEDED, EpisodeEventKind.FAILED, EpisodeEventKind.TIMED_OUT)} == {
        0.0
    }
    assert END_MASK[EpisodeEventKind.ABORTED] == 1.0


def test_when_rewards_come_behind_a_judged_end_expect_none_of_them() -> None:
    labels = concatenate(
        [episode_labels(np.zeros(2), EpisodeEventKind.FAILED), episode_labels(np.ones(2), EpisodeEventKind.SUCCEEDED)]
    )
    assert window(labels, 1, 3).rewards.tolist() == [0.0, 0.0, 0.0]


def test_when_an_aborted_episode_is_crossed_expect_not_valid_though_its_mask_is_one() -> None:
    labels = concatenate(
        [episode_labels(np.zeros(2), EpisodeEventKind.ABORTED), episode_labels(np.ones(2), EpisodeEventKind.SUCCEEDED)]
    )
    assert not window(labels, 0, 3).valid
    assert window(labels, 0, 2).valid


@settings(deadline=None)
@given(st.lists(st.floats(-2.0, 2.0), min_size=1, max_size=12), st.integers(1, 6), st.integers(0, 11))
def test_when_a_window_is_cut_anywhere_expect_the_rewards_of_the_definition(
    rewards: list[float], steps: int, start: int
) -> None:
    start %= len(rewards)
    labels = episode_labels(np.array(rewards), EpisodeEventKind.SUCCEEDED)
    expected, alive = [], 1.0
    for k in range(steps):
        if start + k < len(rewards):
            expected.append(rewards[start + k] * alive)
            alive *= labels.masks[start + k]
    made = window(labels, start, steps)
    assert made.rewards.tolist() == expected
    assert made.mask == alive
    assert made.valid == (start + steps <= len(rewards))


def test_when_a_chunk_reaches_past_the_end_expect_the_last_step_repeated() -> None:
    assert window_rows(2, 4, 10).tolist() == [2, 3, 4, 5]
    assert window_rows(8, 4, 10).tolist() == [8, 9, 9, 9]


def test_when_actions_are_normalised_expect_offset_and_scale_and_no_clipping() -> None:
    assert normalised(np.array([[3.0, -7.0]]), (2.0, 0.5), (1.0, 1.0)).tolist() == [[1.0, -16.0]]


@pytest.mark.parametrize("bad", [{"start": -1}, {"start": 5}, {"steps": 0}])
def test_when_a_window_lies_outside_expect_refusal(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="no window"):
        window(EPISODES[0], **({"start": 0, "steps": 2} | bad))


def test_when_a_reward_is_not_a_number_expect_refusal() -> None:
    with pytest.raises(ValueError, match="not finite"):
        episode_labels(np.array([0.0, np.nan]), EpisodeEventKind.SUCCEEDED)
