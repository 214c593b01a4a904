# SPDX-License-Identifier: Apache-2.0
"""From an episode to the windows that the learner is given, one per decision."""

from __future__ import annotations

import numpy as np
from episodes import HUMAN, POLICY, Episode

from rl_learner.core.replay import Window, monte_carlo


def success_step(episode: Episode) -> int:
    """Step within the last window at which the episode succeeded; only meaningful for a success."""
    return max(0, int((episode.actor[-1] > 0).sum()) - 1)


def windows_of(episode: Episode, discount_per_step: float) -> list[Window]:
    """Windows of C steps; a time-out ends an episode as a failure does (mask 0), with rewards of 0 and 1."""
    steps = episode.executed.shape[1]
    count = len(episode)
    rewards, masks = [0.0] * count, [1.0] * (count - 1) + [0.0]
    if bool(episode.success):
        rewards[-1] = discount_per_step ** success_step(episode)
    taken = _refusals(episode)
    # what a person saved is no merit of the windows before: for them the episode ended there, without a reward
    unaided = [mask * (not taken[min(k + 1, count - 1)]) for k, mask in enumerate(masks)]
    returns = monte_carlo(rewards, unaided, discount_per_step**steps)
    out = []
    for k in range(count):
        after = min(k + 1, count - 1)
        out.append(
            Window(
                features=episode.features[k],
                actions=episode.executed[k],
                candidates=episode.candidates[k, :, :steps],
                noise=episode.noise[k],
                reward=rewards[k],
                mask=masks[k],
                discount=discount_per_step**steps,
                valid=1.0,
                mc_return=returns[k],
                success=float(episode.success),
                human=float((episode.actor[k] == HUMAN).mean()),
                refused=float(taken[k]),
                proposed=episode.chunk[k, :steps],
                next_features=episode.features[after],
                next_candidates=episode.candidates[after, :, :steps],
            )
        )
    return out


def _refusals(episode: Episode) -> np.ndarray:
    """For each window [K], whether a person took the arm from the policy in it."""
    flat = episode.actor.reshape(-1)
    before = np.concatenate([[POLICY], flat[:-1]])
    return ((flat == HUMAN) & (before == POLICY)).reshape(episode.actor.shape).any(axis=1)
