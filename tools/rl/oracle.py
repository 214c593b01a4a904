# SPDX-License-Identifier: Apache-2.0
"""How much room there is: at the first decisions, branch the simulator on every candidate and keep the best.

A branch plays the candidate and then the base to the end; its worth is whether that succeeds (progress breaks ties).
With `--critic-on`, how well a critic of base episodes ranks the branches by their worth.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cell_scene import cell_of, rollout_of
from diagnose import moments_in, train_critic, values_of
from scipy.stats import spearmanr
from sim_rollout import TASKS, Cell
from train import summary

from rl_learner.core.rollout.episode import PlayedEpisode
from rl_learner.core.rollout.rollout import Rollout
from rl_methods.base import PolicyInput, PolicyOutput, RuntimeConfig
from rl_methods.expo.algorithm import Expo
from sim_bridge.core.gl import mujoco
from vla_policy.core.backends import load_backend
from vla_policy.core.protocol import PolicySpec

EXECUTE = 8


def snapshot(cell: Cell) -> tuple[np.ndarray, int, Any]:
    """Everything that an episode's future depends on."""
    return cell.world.state(), cell.world.tick, cell._limiter._last  # noqa: SLF001


def restore(cell: Cell, before: tuple[np.ndarray, int, Any]) -> None:
    """Puts the cell back to a snapshot of the same episode."""
    world = cell.world
    mujoco.mj_setState(world.model, world._data, before[0], mujoco.mjtState.mjSTATE_INTEGRATION)  # noqa: SLF001
    mujoco.mj_forward(world.model, world._data)  # noqa: SLF001
    world.tick, cell._limiter._last = before[1], before[2]  # noqa: SLF001


@dataclass(frozen=True, eq=False)
class Branched:
    """A proposal, the chunks [N, H, A] that were tried there, and what each was worth [N]."""

    proposal: PolicyInput
    chunks: np.ndarray
    worth: np.ndarray


class Branching:
    """Chooses by looking ahead in the simulator.

    Args:
        runner: Plays the branches.
        cell: Is put back after each branch.
        decisions: How many of the first decisions are branched.
        edit_std: Deviation of random edits offered besides the base's candidates, normalised units; 0 for none.
    """

    def __init__(self, runner: Rollout, cell: Cell, decisions: int, edit_std: float = 0.0) -> None:
        self._runner, self._cell, self._decisions, self._edit_std = runner, cell, decisions, edit_std
        self.outcomes: list[Branched] = []

    def act(self, proposal: PolicyInput, _config: RuntimeConfig) -> PolicyOutput:
        """The best branch, or the first candidate after the branched decisions."""
        if proposal.sequence >= self._decisions:
            return PolicyOutput(proposal.candidates[0], 0)
        chunks = proposal.candidates
        if self._edit_std > 0.0:
            rng = np.random.default_rng([proposal.seed, proposal.sequence, 9])
            edits = rng.standard_normal((len(chunks), 1, chunks.shape[2])).astype(np.float32) * self._edit_std
            edits[..., 3:] = 0.0
            chunks = np.concatenate([chunks, chunks + edits])
        worth = np.array([self._branch(proposal, chunk) for chunk in chunks])
        self.outcomes.append(Branched(proposal, chunks, worth))
        return PolicyOutput(chunks[int(worth.argmax())], int(worth.argmax()) % len(proposal.candidates))

    def _branch(self, proposal: PolicyInput, chunk: np.ndarray) -> float:
        cell, runner = self._cell, self._runner
        before = snapshot(cell)
        runner.execute(chunk)
        number = proposal.sequence
        while not runner.over:
            number += 1
            runner.execute(runner.proposal(proposal.seed, number).candidates[0])
        truth, ticks = cell.world.truth(), cell.world.tick
        restore(cell, before)
        return 2.0 - 1e-3 * ticks if truth.success else float(truth.progress)


def rank_correlation(critic: Expo, outcomes: list[Branched]) -> float:
    """Spearman's rho of value and worth, mean over the decisions whose branches are not all worth the same."""
    telling = [branched for branched in outcomes if np.ptp(branched.worth) > 0.0]
    rhos = [
        float(spearmanr(values_of(critic, b.proposal.features[None], b.chunks[None])[0], b.worth).statistic)
        for b in telling
    ]
    return float(np.mean(rhos)) if rhos else float("nan")


def critic_on(path: Path, spec: PolicySpec, updates: int = 1000, discount: float = 0.98) -> Expo:
    """Monte-Carlo critic of kept episodes."""
    parts, shape = moments_in(path, spec, EXECUTE, discount)
    return train_critic([moment for part in parts for moment in part], shape, updates)


def main() -> int:
    """Prints the oracle's success, and how often the branches of a decision differ in success at all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--backend", default="onnx", choices=("onnx", "pocket"))
    parser.add_argument("--task", choices=TASKS, default="pick_place")
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--decisions", type=int, default=6)
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--edit-std", type=float, default=0.0)
    parser.add_argument("--critic-on", type=Path, default=None, help="file of collect.py, other scenes")
    args = parser.parse_args()
    torch.set_num_threads(1)
    backend = load_backend(args.backend, str(args.model), num_threads=1)
    critic = None if args.critic_on is None else critic_on(args.critic_on, backend.spec)
    runner = rollout_of(args.task, backend, EXECUTE, args.candidates)
    cell = cell_of(runner)
    oracle = Branching(runner, cell, args.decisions, args.edit_std)
    runner.policy = oracle
    episodes: list[PlayedEpisode] = []
    for seed in range(args.first_seed, args.first_seed + args.episodes):
        episodes.append(runner.play(seed))
        wins = [branched.worth > 1.0 for branched in oracle.outcomes]
        differ = np.mean([w.any() and not w.all() for w in wins])
        ranked = "" if critic is None else f", rank correlation {rank_correlation(critic, oracle.outcomes):.2f}"
        print(f"{summary(episodes)}, branches that differ in success: {differ:.2f}{ranked}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
