# SPDX-License-Identifier: Apache-2.0
"""A training run in process, with the session, the windows and the person of the graph: `train.py --model DIR`.

Prints what a person would watch, and evaluates the base and the result on the same scenes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from episodes import (
    Chooser,
    Decision,
    Episode,
    Pick,
    Rules,
    Runner,
    Steerer,
    contract_for,
    first_candidate,
    transitions_of,
)
from eval_pocket import wilson
from sim_rollout import ROOT, TASKS, Cell

from rl_learner.core.dsrl import Dsrl
from rl_learner.core.episode import Rules as Cuts
from rl_learner.core.expo import Expo
from rl_learner.core.prior import transitions_in
from rl_learner.core.recipe import Recipe, read_recipe
from rl_learner.core.replay import ReplayShape
from rl_learner.core.session import Limits, Phase, Session
from robot_bringup.core.supervisor import Habits, Supervisor
from vla_policy.core.backends import load_backend
from whetstone_common.core.outputs import check_file

EVALUATION_SEED, TRAINING_SEED = 0, 50_000
METHODS = ROOT / "ros2_ws" / "src" / "rl_learner" / "config" / "methods"
_LAST = 20


def chooser(expo: Expo, *, explore: bool) -> Chooser:
    """EXPO's choice; every draw follows from the episode's seed and the tick."""

    def choose(decision: Decision) -> Pick:
        generator = torch.Generator().manual_seed(decision.seed * 1009 + decision.tick)
        features, candidates = torch.from_numpy(decision.features), torch.from_numpy(decision.candidates)
        pick = expo.choose(features, candidates, generator, explore=explore)
        return Pick(pick.chunk.numpy(), pick.candidate, pick.edited)

    return choose


def steerer(dsrl: Dsrl, *, explore: bool) -> Steerer:
    """DSRL's noise in place of the Gaussian one: what it would play first, samples behind it."""

    def steer(features: np.ndarray, noise: np.ndarray, seed: int, tick: int) -> np.ndarray:
        generator = torch.Generator().manual_seed(seed * 1009 + tick)
        return dsrl.noise(torch.from_numpy(features), len(noise), generator, explore=explore).numpy()

    return steer


def summary(episodes: list[Episode]) -> dict[str, Any]:
    """Success with its interval."""
    wins = sum(bool(e.success) for e in episodes)
    low, high = wilson(wins, len(episodes))
    return {"successes": wins, "episodes": len(episodes), "low": round(low, 3), "high": round(high, 3)}


class Lab:
    """One run: an arm, a person, a learner."""

    def __init__(self, runner: Runner, recipe: Recipe, seed: int, prior_share: float = 0.5) -> None:
        """Fresh learner from the seed."""
        spec = runner.backend.spec
        shape = ReplayShape(
            spec.feature_dim, recipe.steps, spec.action_dim, runner.rules.candidates, spec.horizon, spec.noise_dim
        )
        self.runner, self.recipe, self.seed = runner, recipe, seed
        self.session = Session(recipe, shape, seed=seed, capacity=8192, limits=Limits(prior_share=prior_share, band=0))
        self.person = Supervisor(Habits()) if recipe.schedule.interventions else None
        self.contract = contract_for(spec)
        self.cuts = Cuts(gamma=recipe.schedule.discount, window_steps=recipe.steps, lockstep=True)
        self.episodes: list[Episode] = []
        self._sent = 0

    def play(self, seed: int, *, explore: bool, person: Supervisor | None = None) -> Episode:
        """An episode with the newest weights, or of the base as long as there are none."""
        learner, choose = self.session.learner, first_candidate
        self.runner.steer = None
        if self.session.ready and isinstance(learner, Expo):
            choose = chooser(learner, explore=explore)
        elif self.session.ready and isinstance(learner, Dsrl):
            self.runner.steer = steerer(learner, explore=explore)
        return self.runner.play(seed, choose, person)

    def know(self, folder: Path) -> None:
        """Takes in prior data, of which every batch has its share; they are no robot time of the run."""
        for made in transitions_in(folder):
            self.session.add_prior(made)

    def train_once(self) -> None:
        """One episode, and the updates that it pays for."""
        number = len(self.episodes) + 1
        seed = TRAINING_SEED + 10_000 * self.seed + number
        episode = self.play(seed, explore=self.recipe.schedule.explore, person=self.person)
        self.episodes.append(episode)
        for made in transitions_of(episode, number, self.contract, self.cuts):
            self._sent += 1
            self.session.add(made, 1, self._sent)
        while self.session.due:
            self.session.learn()

    def line(self) -> str:
        """The last episodes in words."""
        last = self.episodes[-_LAST:]
        alone = sum(bool(e.success) for e in last if e.human_ticks == 0)
        edited = np.concatenate([e.edited[e.acted] for e in last]).mean()
        shown = " ".join(f"{k} {v:.3f}" for k, v in self.session.metrics.items() if not k.endswith("norm"))
        return (
            f"episode {len(self.episodes)} steps {self.session.tally.steps} "
            f"success {np.mean([e.success for e in last]):.2f} alone {alone}/{len(last)} "
            f"human {self.human_share:.2f} edited {edited:.2f} windows {len(self.session.online)} {shown}"
        )

    @property
    def human_share(self) -> float:
        """Of all ticks, commanded by a person."""
        return sum(e.human_ticks for e in self.episodes) / sum(e.ticks for e in self.episodes)

    def evaluate(self, count: int) -> list[Episode]:
        """Episodes on the evaluation scenes, alone and without exploration."""
        return [self.play(seed, explore=False) for seed in range(EVALUATION_SEED, EVALUATION_SEED + count)]


def base_result(path: Path | None, runner: Runner, episodes: int) -> dict[str, Any]:
    """The base's evaluation; kept in a file when one is named, since it is the same for every run."""
    if path is not None and path.is_file():
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return kept
    runner.steer = None
    seeds = range(EVALUATION_SEED, EVALUATION_SEED + episodes)
    result = summary([runner.play(seed, first_candidate) for seed in seeds])
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result) + "\n", encoding="utf-8")
    return result


def overrides_of(texts: list[str]) -> dict[str, dict[str, Any]]:
    """Of `block.key=value` on the command line."""
    blocks: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, value = text.split("=", 1)
        block, key = name.split(".", 1)
        blocks.setdefault(block, {})[key] = yaml.safe_load(value)
    return blocks


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--backend", default="onnx", choices=("onnx", "pocket"))
    parser.add_argument("--method", type=Path, default=METHODS / "expo.yaml")
    parser.add_argument("--set", nargs="*", default=[], help="block.key=value, on top of the method's file")
    parser.add_argument("--task", choices=TASKS, default="pick_place")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--prior", type=Path, default=None, help="folder of demonstrations.py, to know from the start")
    parser.add_argument("--prior-share", type=float, default=0.5, help="of a batch, from them")
    parser.add_argument("--evaluate", type=int, default=100, help="episodes before and after")
    parser.add_argument("--base-result", type=Path, default=None, help="file that keeps the base's evaluation")
    parser.add_argument("--every", type=int, default=10, help="episodes between two lines")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.out is not None:
        check_file(args.out)
    return args


def main() -> int:
    """Trains and evaluates."""
    args = parse()
    torch.set_num_threads(1)
    backend = load_backend(args.backend, str(args.model), num_threads=1)
    recipe = read_recipe(args.method, overrides_of(args.set))
    runner = Runner(Cell(args.task, backend.spec.image_height_px), backend, Rules(recipe.steps, args.candidates))
    started = time.monotonic()
    lab = Lab(runner, recipe, args.seed, args.prior_share)
    if args.prior is not None:
        lab.know(args.prior)
    while lab.session.phase is not Phase.FINISHED:
        lab.train_once()
        if len(lab.episodes) % args.every == 0:
            print(f"{lab.line()} {time.monotonic() - started:.0f} s", flush=True)
    trained_s = time.monotonic() - started
    report: dict[str, Any] = {
        "task": args.task, "method": recipe.method, "settings": args.set, "seed": args.seed,
        "candidates": args.candidates, "prior": str(args.prior or ""),
        "episodes": len(lab.episodes), "steps": lab.session.tally.steps,
        "human_share": round(lab.human_share, 4), "updates": lab.session.learner.updates,
        "after": summary(lab.evaluate(args.evaluate)),
        "before": base_result(args.base_result, replace_candidates(runner, 1), args.evaluate),
        "ticks": [e.ticks for e in lab.episodes],
        "successes": [bool(e.success) for e in lab.episodes], "helped": [e.human_ticks > 0 for e in lab.episodes],
        "train_s": round(trained_s), "seconds": round(time.monotonic() - started),
    }  # fmt: skip
    print(json.dumps({k: v for k, v in report.items() if k not in ("ticks", "successes", "helped")}), flush=True)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(report | {"recipe": recipe.resolved()}, indent=1) + "\n", encoding="utf-8")
    return 0


def replace_candidates(runner: Runner, candidates: int) -> Runner:
    """The same arm with another number of candidates: the base needs one."""
    return Runner(runner.cell, runner.backend, replace(runner.rules, candidates=candidates))


if __name__ == "__main__":
    sys.exit(main())
