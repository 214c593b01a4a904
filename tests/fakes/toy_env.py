# SPDX-License-Identifier: Apache-2.0
"""An identity task for chunks: what is seen is what must be done, within a few tries."""

from __future__ import annotations

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from fakes.toy_flow import FeatureContext

CHUNK = 2
NEAR = 0.35
TRIES = 3


class IdentityEnv(gymnasium.Env):
    """Sees a number between -1 and 1 and is done when all steps of a chunk are near it."""

    observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = spaces.Box(-np.inf, np.inf, (CHUNK, 1), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.target = float(np.random.default_rng(seed).uniform(-1.0, 1.0))
        self.tries = 0
        return self._see(), {"ticks": 0, "success": False}

    def step(self, action):
        self.tries += 1
        success = bool(np.abs(action - self.target).max() < NEAR)
        return self._see(), float(success), success, not success and self.tries >= TRIES, {
            "ticks": CHUNK, "success": success,
        }  # fmt: skip

    def _see(self):
        return np.array([self.target, 1.0, self.tries / TRIES], dtype=np.float32)


class Identity:
    """Features are the observation, actions the chunk."""

    def encode(self, observation, rows):
        return FeatureContext(torch.from_numpy(observation[list(rows)].copy()))

    def actions(self, chunks):
        return chunks


def identity_envs(count):
    return SyncVectorEnv([IdentityEnv] * count, autoreset_mode=AutoresetMode.DISABLED)
