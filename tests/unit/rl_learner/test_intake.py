# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from fakes.rl_episodes import GAMMA
from fakes.rl_runs import SHAPE, episode
from rl_learner.core.intake import window_of


def test_when_a_window_is_cut_short_expect_the_discount_of_its_own_length():
    first, _, last = episode(1, steps=10)
    assert (first.steps, last.steps) == (4, 2)
    assert window_of(first, SHAPE, GAMMA).discount == pytest.approx(0.9**4)
    assert window_of(last, SHAPE, GAMMA).discount == pytest.approx(0.9**2)
    assert window_of(last, SHAPE, GAMMA).actions.shape == (4, 7)


def test_when_nothing_follows_expect_a_mask_of_zero_over_something_finite():
    last = window_of(episode(1)[-1], SHAPE, GAMMA)
    assert last.mask == 0.0
    assert last.next_features.shape == (5,) and np.array_equal(last.next_candidates, last.candidates)


@pytest.mark.parametrize("count", [1, 3])
def test_when_there_are_more_or_fewer_candidates_expect_the_first_ones_again_and_again(count):
    made = episode(1)[0]
    chunks = np.arange(count * 42, dtype=np.float32).reshape(count, 6, 7)
    window = window_of(replace(made, candidates=chunks, noise=chunks, next_candidates=chunks), SHAPE, GAMMA)
    wanted = [0, 0] if count == 1 else [0, 1]
    assert np.array_equal(window.candidates, chunks[wanted, :4])
    assert np.array_equal(window.noise, chunks[wanted])


def test_when_a_person_refused_expect_what_was_proposed_and_for_a_look_what_was_done():
    made = replace(episode(1)[0], rejected_by_human=True, actors=np.array([1, 1, 2, 2], np.uint8))
    window = window_of(made, SHAPE, GAMMA)
    assert (window.refused, window.human) == (1.0, 0.5)
    assert np.array_equal(window.proposed, made.chosen_chunk[:4])
    assert np.array_equal(window_of(replace(made, request_kind=1), SHAPE, GAMMA).proposed, made.actions[:4])


def test_when_a_window_is_longer_than_the_critics_chunk_expect_a_refusal():
    made = episode(1)[0]
    with pytest.raises(ValueError, match="5 steps"):
        window_of(replace(made, actors=np.ones(5, np.uint8)), SHAPE, GAMMA)


@pytest.mark.parametrize("discount", [0.9, 0.5, 1.0])
def test_when_rewards_come_at_several_steps_expect_them_discounted_by_the_learners_own_discount(discount):
    made = replace(
        episode(1)[0], rewards=np.array([1, 0, -2, 4], np.float32), later_rewards=np.array([0, 8], np.float32)
    )
    window = window_of(made, SHAPE, discount)
    assert window.reward == pytest.approx(1 - 2 * discount**2 + 4 * discount**3)
    assert window.mc_return == pytest.approx(window.reward + 8 * discount**5)
    assert window.discount == pytest.approx(discount**4)


def test_when_there_is_not_one_reward_per_step_expect_a_refusal():
    with pytest.raises(ValueError, match="3 rewards for 4 steps"):
        window_of(replace(episode(1)[0], rewards=np.zeros(3, np.float32)), SHAPE, GAMMA)
