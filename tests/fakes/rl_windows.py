# SPDX-License-Identifier: Apache-2.0
"""Random windows of a small shape."""

import numpy as np

from rl_learner.core.replay import Replay, Window
from rl_methods.common.batch import WindowShape

SHAPE = WindowShape(features=6, steps=2, action_dim=3, candidates=4, horizon=4, noise_dim=3)


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


def episode_of(shape, count, seed=0):
    """Windows of one episode, of which each ends where the next one starts; the last one ends the episode."""
    rng = np.random.default_rng(seed)

    def drawn(name):
        return rng.standard_normal(shape.of(name)).astype(np.float32)

    decisions = [{name: drawn(name) for name in ("features", "candidates", "noise")} for _ in range(count)]
    for number, (here, there) in enumerate(zip(decisions, [*decisions[1:], decisions[-1]], strict=True)):
        yield window(
            0, **here, next_features=there["features"], next_candidates=there["candidates"], actions=drawn("actions"),
            proposed=drawn("proposed"), reward=float(number), mask=float(number + 1 < count),
        )  # fmt: skip
