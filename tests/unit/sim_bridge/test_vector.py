# SPDX-License-Identifier: Apache-2.0
"""Environments in worker processes play the episodes that they would play alone."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from fakes.simulated_arm import panda_maker
from sim_bridge.core.vector import make_vector

CHUNK = np.zeros((2, 3, 7), dtype=np.float32)
CHUNK[:, :, 0] = [[0.01], [-0.01]]
CHUNK[:, :, 6] = 1.0


def alone(maker, seed, chunk):
    env = maker.chunks()
    env.reset(seed=seed)
    observation, *rest = env.step(chunk)
    env.close()
    return observation, rest


def test_when_two_run_in_processes_expect_each_to_play_its_own_episode():
    maker = panda_maker(execute_steps=3, max_ticks=4)
    envs = make_vector([maker.chunks] * 2)
    try:
        assert isinstance(envs, AsyncVectorEnv)
        first, _ = envs.reset(seed=[11, 12])
        words = first["instruction"]
        observation, rewards, terminated, truncated, info = envs.step(CHUNK)
        for index, seed in enumerate((11, 12)):
            wanted, (reward, ended, cut, said) = alone(maker, seed, CHUNK[index])
            np.testing.assert_array_equal(observation["proprio"][index], wanted["proprio"])
            np.testing.assert_array_equal(observation["images"]["wrist"][index], wanted["images"]["wrist"])
            assert observation["instruction"][index] == words[index] == wanted["instruction"]
            assert (rewards[index], terminated[index], truncated[index]) == (reward, ended, cut)
            assert info["ticks"][index] == said["ticks"] == 3
        mask = np.array([False, True])
        again, _ = envs.reset(seed=[None, 13], options={"reset_mask": mask})
        np.testing.assert_array_equal(again["proprio"][0], observation["proprio"][0])
        assert again["instruction"][1] == alone(maker, 13, CHUNK[1])[0]["instruction"]
        *_, truncated, info = envs.step(CHUNK)
        assert truncated.tolist() == [True, False] and info["ticks"].tolist() == [1, 3]
    finally:
        envs.close()


def test_when_there_is_one_expect_no_process():
    envs = make_vector([panda_maker(execute_steps=3).chunks])
    assert isinstance(envs, SyncVectorEnv)
    observation, _ = envs.reset(seed=[1])
    assert observation["images"]["front"].shape == (1, 32, 32, 3)
    envs.close()


def test_when_there_is_none_expect_a_sentence():
    with pytest.raises(ValueError, match="0 environments, expected at least 1"):
        make_vector([])
