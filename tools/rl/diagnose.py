# SPDX-License-Identifier: Apache-2.0
"""What a critic learnt on kept episodes (of `collect.py`) knows about others: AUC of later success, and its values."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from cell_scene import JOINTS
from scipy.stats import rankdata

from experience.core.episode import Rules as Cuts
from rl_learner.core.intake import window_of
from rl_learner.core.replay import Replay, Window
from rl_learner.core.rollout.episode import PlayedEpisode, load, transitions_of
from rl_methods.common.batch import WindowShape
from rl_methods.common.critic import CriticConfig
from rl_methods.common.scoring import Reduce
from rl_methods.expo.algorithm import Expo, ExpoConfig
from vla_policy.core.backends import load_backend
from vla_policy.core.protocol import PolicySpec
from vla_policy.core.serving import contract_of
from whetstone_common.core.contract import Contract

PHASES = ("far", "near", "low", "held")
NEAR_M, LOW_M = 0.08, 0.03


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a positive scores above a negative."""
    count = int(positive.sum())
    if count in (0, len(positive)):
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(positive) - count)))


@dataclass(frozen=True)
class Moment:
    """A window with where in the task it begins, and whether the episode succeeded."""

    window: Window
    phase: str
    success: bool


def moments_of(
    episode: PlayedEpisode,
    number: int,
    contract: Contract,
    cuts: Cuts,
    dt_s: float,
    shape: WindowShape,
    discount: float,
) -> list[Moment]:
    """The windows of an episode in the order of their starts."""
    rows = {int(tick): k for k, tick in enumerate(episode.tick)}
    return [
        Moment(window_of(made, shape, discount), phase_of(episode, rows[made.episode_step]), bool(episode.success))
        for made in transitions_of(episode, number, contract, cuts, dt_s)
    ]


def phase_of(episode: PlayedEpisode, k: int) -> str:
    """Where in the task decision k is, by the truth."""
    if episode.truth["stage"][k] > 0:
        return "held"
    off = episode.reference[k, :3] - episode.truth["object"][k]
    if off[2] < LOW_M:
        return "low"
    return "near" if float(np.hypot(off[0], off[1])) < NEAR_M else "far"


def train_critic(moments: list[Moment], shape: WindowShape, updates: int) -> Expo:
    """A critic on Monte-Carlo returns, the same whenever it is trained on the same windows."""
    torch.manual_seed(0)
    config = ExpoConfig(
        features=shape.features,
        steps=shape.steps,
        action_dim=shape.action_dim,
        edit_knots=shape.steps,
        edit=False,
        critic=CriticConfig(weight_decay=1e-2),
    )
    expo, replay = Expo(config), Replay(shape, len(moments))
    for moment in moments:
        replay.add(moment.window)
    expo.fit_scaler(replay.rows(torch.arange(len(replay))).features)
    generator = torch.Generator().manual_seed(0)
    for _ in range(updates):
        expo.offline_update(replay.sample(128, generator), generator)
    expo.critic.sync()
    return expo


def values_of(expo: Expo, features: np.ndarray, chunks: np.ndarray) -> np.ndarray:
    """Value [M, N] of the first steps of chunks [M, N, H, A], normalised, where the features are [M, F]."""
    steps = torch.from_numpy(chunks[:, :, : expo.config.steps]).flatten(2)
    with torch.no_grad():
        return expo.critic.score(expo.scaler(torch.from_numpy(features)), steps, Reduce.MEAN, None).numpy()


def executed_values(expo: Expo, moments: list[Moment]) -> np.ndarray:
    """Value [M] of what was executed in each window."""
    chunks = np.stack([m.window.actions for m in moments])
    return values_of(expo, np.stack([m.window.features for m in moments]), chunks[:, None])[:, 0]


def moments_in(path: Path, spec: PolicySpec, execute: int, discount: float) -> tuple[list[list[Moment]], WindowShape]:
    """Those of each kept episode, and the shape of a replay that takes them."""
    episodes, contract = load(path), contract_of(spec, JOINTS, "")
    cuts = Cuts(window_steps=execute, lockstep=True)
    shape = WindowShape(
        spec.feature_dim, execute, spec.action_dim, episodes[0].candidates.shape[1], spec.horizon, spec.noise_dim
    )
    return [moments_of(e, i + 1, contract, cuts, spec.dt_s, shape, discount) for i, e in enumerate(episodes)], shape


def main() -> int:
    """Prints AUC and values per phase on held-out episodes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="the VLA that played them")
    parser.add_argument("--backend", default="onnx", choices=("onnx", "pocket"))
    parser.add_argument("--execute", type=int, default=8)
    parser.add_argument("--held-out", type=float, default=0.33)
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--discount", type=float, default=0.98)
    args = parser.parse_args()
    torch.set_num_threads(1)
    spec = load_backend(args.backend, str(args.model), num_threads=1).spec
    parts, shape = moments_in(args.data, spec, args.execute, args.discount)
    held_out = [m for part in parts[: int(args.held_out * len(parts))] for m in part]
    known = [m for part in parts[int(args.held_out * len(parts)) :] for m in part]
    rows = list(zip(held_out, executed_values(train_critic(known, shape, args.updates), held_out), strict=True))
    for phase in PHASES:
        found = [(value, moment.success) for moment, value in rows if moment.phase == phase]
        values, wins = np.array([v for v, _ in found]), np.array([s for _, s in found], dtype=bool)
        print(
            f"{phase}: AUC {auc(values, wins):.2f} over {len(found)} decisions, {wins.mean():.2f} successful; "
            f"value {values[wins].mean():.2f} in successes, {values[~wins].mean():.2f} in failures"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
