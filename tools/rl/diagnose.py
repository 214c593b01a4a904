# SPDX-License-Identifier: Apache-2.0
"""What a critic learnt on kept episodes knows about others: AUC of later success per decision, from `collect.py`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from episodes import Episode, load
from scipy.stats import rankdata
from windows import windows_of

from rl_learner.core.critic import CriticConfig
from rl_learner.core.expo import Expo, ExpoConfig
from rl_learner.core.replay import Replay, ReplayShape
from vla_policy.core.steering.scoring import Reduce

PHASES = ("far", "near", "low", "held")
NEAR_M, LOW_M = 0.08, 0.03


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a positive scores above a negative."""
    count = int(positive.sum())
    if count in (0, len(positive)):
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(positive) - count)))


def phase_of(episode: Episode, k: int) -> str:
    """Where in the task decision k is, by the truth."""
    if episode.stage[k] > 0:
        return "held"
    off = episode.tcp[k] - episode.object[k]
    if off[2] < LOW_M:
        return "low"
    return "near" if float(np.hypot(off[0], off[1])) < NEAR_M else "far"


def train_critic(episodes: list[Episode], updates: int, discount: float) -> Expo:
    """A critic on Monte-Carlo returns."""
    first = episodes[0]
    steps, dims = first.executed.shape[1:]
    config = ExpoConfig(
        features=first.features.shape[1],
        steps=steps,
        action_dim=dims,
        edit_knots=steps,
        edit=False,
        critic=CriticConfig(weight_decay=1e-2),
    )
    expo = Expo(config)
    shape = ReplayShape(config.features, steps, dims, first.candidates.shape[1], *first.noise.shape[2:])
    replay = Replay(shape, sum(len(e) for e in episodes))
    for episode in episodes:
        for window in windows_of(episode, discount):
            replay.add(window)
    expo.fit_scaler(replay.rows(torch.arange(len(replay))).features)
    generator = torch.Generator().manual_seed(0)
    for _ in range(updates):
        expo.update(replay.sample(128, generator), generator, mc_share=1.0)
    expo.critic.sync()
    return expo


def values_of(expo: Expo, episode: Episode) -> np.ndarray:
    """Value [K] of what was executed."""
    features = expo.scaler(torch.from_numpy(episode.features))
    chunks = torch.from_numpy(episode.executed).flatten(1)[:, None]
    with torch.no_grad():
        return expo.critic.score(features, chunks, Reduce.MEAN, None)[:, 0].numpy()


def main() -> int:
    """Prints AUC per phase on held-out episodes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--held-out", type=float, default=0.33)
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--discount", type=float, default=0.997)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    episodes = load(args.data)
    held = int(args.held_out * len(episodes))
    expo = train_critic(episodes[held:], args.updates, args.discount)
    rows = [
        (phase_of(e, k), value, bool(e.success)) for e in episodes[:held] for k, value in enumerate(values_of(expo, e))
    ]
    for phase in PHASES:
        found = [(v, s) for p, v, s in rows if p == phase]
        values, wins = np.array([v for v, _ in found]), np.array([s for _, s in found], dtype=bool)
        print(f"{phase}: AUC {auc(values, wins):.2f} over {len(found)} decisions, {wins.mean():.2f} successful")
    return 0


if __name__ == "__main__":
    sys.exit(main())
