# SPDX-License-Identifier: Apache-2.0
"""Random windows of a small shape."""

import numpy as np

from rl_learner.core.replay import Replay, ReplayShape, Window

SHAPE = ReplayShape(features=6, steps=2, action_dim=3, candidates=4, horizon=4, noise_dim=3)


def window(seed, **changes):
    rng = np.random.default_rng(seed)
    values = {name: rng.standard_normal(SHAPE.of(name)).astype(np.float32) for name in (
        "features", "actions", "candidates", "noise", "proposed", "next_features", "next_candidates",
    )}  # fmt: skip
    values |= {
        "reward": 0.0,
        "mask": 1.0,
        "discount": 0.92,
        "valid": 1.0,
        "mc_return": 0.5,
        "success": 1.0,
        "human": 0.0,
        "refused": 0.0,
    }
    return Window(**(values | changes))


def filled(count, capacity=64):
    replay = Replay(SHAPE, capacity)
    for i in range(count):
        replay.add(window(i, reward=float(i)))
    return replay
