# SPDX-License-Identifier: Apache-2.0
"""The gymnasium environments: their API, their episodes, and what the arm's limits do to an action."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from fakes.simulated_arm import panda_maker
from sim_bridge.core.environment import ChunkEnvironment, EnvironmentConfig
from whetstone_common.core.cartesian import displacement

STILL = np.array([0, 0, 0, 0, 0, 0, 1], dtype=np.float32)


@pytest.fixture(scope="module")
def env():
    made = panda_maker(max_ticks=400).ticks()
    yield made
    made.close()


def expert_action(env):
    """What the scripted expert would do now, as an action relative to the reference."""
    aim = env.simulation.expert_aim()
    return np.append(displacement(env.reference, aim.pose), aim.opening).astype(np.float32)


def same(first, second):
    assert first["instruction"] == second["instruction"]
    np.testing.assert_array_equal(first["proprio"], second["proprio"])
    for name, image in first["images"].items():
        np.testing.assert_array_equal(image, second["images"][name])


def test_when_gymnasium_checks_the_api_expect_no_complaint(recwarn):
    env = panda_maker(max_ticks=5).ticks()
    check_env(env, skip_render_check=True)
    # that positions and targets have no bound is meant
    complaints = [str(w.message) for w in recwarn if "infinity" not in str(w.message)]
    assert not [text for text in complaints if "Box" not in text and "spec" not in text]
    env.close()


def test_when_the_expert_drives_expect_success_worth_one_at_its_tick(env):
    env.reset(seed=3)
    rewards = []
    while not env.is_over:
        env.set_reference()
        rewards.append(env.advance(expert_action(env)))
    assert env.is_terminated and not env.is_truncated
    assert rewards[-1] == 1.0 and not any(rewards[:-1])
    assert env.info()["success"] and env.info()["tick"] == len(rewards)


def test_when_an_episode_is_over_expect_further_actions_to_change_nothing(env):
    short = panda_maker(max_ticks=2).ticks()
    short.reset(seed=0)
    short.step(STILL)
    last, _, terminated, truncated, _ = short.step(STILL)
    assert (terminated, truncated) == (False, True)
    after, reward, _, truncated, info = short.step(STILL)
    same(last, after)
    assert reward == 0.0 and truncated and info["tick"] == 2
    short.close()


def test_when_a_seed_is_given_again_expect_the_same_episode(env):
    moves = np.random.default_rng(0).normal(0.0, 0.02, (10, 7)).astype(np.float32)
    first, _ = env.reset(seed=7)
    ends = []
    for _ in range(2):
        again, _ = env.reset(seed=7)
        same(first, again)
        for move in moves:
            env.advance(move)
        ends.append(env.observe())
    same(*ends)
    other, _ = env.reset(seed=8)
    assert not np.array_equal(other["images"]["front"], first["images"]["front"])


def test_when_no_seed_is_given_expect_episodes_that_follow_from_the_last_seed(env):
    def following():
        env.reset(seed=7)
        return [env.reset()[0]["proprio"] for _ in range(2)]

    first, again = following(), following()
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(*first)


def test_when_an_action_is_relative_expect_it_to_count_from_the_reference(env):
    env.reset(seed=1)
    start = env.reference.position.copy()
    for _ in range(15):
        env.advance(STILL + np.array([0.03, 0, 0, 0, 0, 0, 0], dtype=np.float32))
    moved = env.simulation.world.tcp_pose().position - start
    np.testing.assert_allclose(moved, [0.03, 0.0, 0.0], atol=0.004)
    env.set_reference()
    np.testing.assert_allclose(env.reference.position, start + moved)


@pytest.mark.parametrize("far", [np.nan, np.inf, 5.0])
def test_when_an_action_is_not_allowed_expect_the_arm_to_brake_and_to_say_so(env, far):
    env.reset(seed=1)
    before = env.simulation.world.joint_positions()
    *_, info = env.step(np.append([far], STILL[1:]).astype(np.float32))
    assert info["is_rejected"]
    np.testing.assert_allclose(env.simulation.world.joint_positions(), before, atol=0.01)


def test_when_an_action_has_another_size_expect_a_sentence(env):
    with pytest.raises(ValueError, match=r"shape \(6,\), expected \(7,\)"):
        env.step(STILL[:6])


def test_when_a_chunk_is_played_expect_the_state_of_its_single_ticks(env):
    chunk = np.tile(STILL, (8, 1))
    chunk[:, 0] = np.linspace(0.005, 0.04, 8)
    env.reset(seed=5)
    for action in chunk:
        env.advance(action)
    ticks = env.observe()
    chunks = ChunkEnvironment(env, 8)
    chunks.reset(seed=5)
    observation, reward, terminated, truncated, info = chunks.step(chunk)
    same(ticks, observation)
    assert (reward, terminated, truncated, info["ticks"]) == (0.0, False, False, 8)


def test_when_the_limits_reject_an_action_expect_the_chunk_to_end_there(env):
    chunk = np.tile(STILL, (8, 1))
    chunk[2, 0] = np.nan
    chunks = ChunkEnvironment(env, 8)
    chunks.reset(seed=5)
    *_, info = chunks.step(chunk)
    assert info["ticks"] == 3 and info["is_rejected"]


def test_when_the_time_is_up_in_a_chunk_expect_it_cut(env):
    chunks = panda_maker(max_ticks=10).chunks()
    chunks.reset(seed=0)
    chunks.step(np.tile(STILL, (8, 1)))
    *_, truncated, info = chunks.step(np.tile(STILL, (8, 1)))
    assert truncated and info["ticks"] == 2
    chunks.close()


def test_when_settings_cannot_work_expect_them_named(env):
    with pytest.raises(ValueError, match=r"max_ticks is 0, allowed: 1"):
        EnvironmentConfig("pick_place", max_ticks=0)
    with pytest.raises(ValueError, match="execute_steps is 0, must be at least 1"):
        ChunkEnvironment(env, 0)
