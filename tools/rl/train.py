# SPDX-License-Identifier: Apache-2.0
"""EXPO in process, with the data and the order of events of the graph: `train.py --model DIR --seed 0`.

Base episodes first, then a warm-up of the critic on what followed, then online episodes. Prints what a person would
watch, and evaluates the base and the result on the same seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from episodes import Chooser, Decision, Episode, Pick, Rules, Runner, first_candidate
from eval_pocket import wilson
from operator_model import Habits, ScriptedPerson
from sim_rollout import ROOT, TASKS, Cell
from windows import windows_of

from rl_learner.core.expo import Expo, ExpoConfig
from rl_learner.core.recipe import Schedule, read_recipe
from rl_learner.core.replay import Replay, ReplayShape
from vla_policy.core.backends import load_backend

EVALUATION_SEED, TRAINING_SEED = 0, 50_000
METHODS = ROOT / "ros2_ws" / "src" / "rl_learner" / "config" / "methods"


@dataclass
class Tally:
    """What is counted while training."""

    episodes: list[Episode] = field(default_factory=list)
    steps: int = 0
    human_steps: int = 0

    def add(self, episode: Episode) -> None:
        """Counts an episode."""
        self.episodes.append(episode)
        self.steps += int(episode.ticks)
        self.human_steps += episode.human_ticks

    def line(self) -> str:
        """The last 20 episodes in words."""
        last = self.episodes[-20:]
        alone = [e for e in last if e.human_ticks == 0]
        edited = np.concatenate([e.edited for e in last]).mean()
        return (
            f"episode {len(self.episodes)} steps {self.steps} success {np.mean([e.success for e in last]):.2f} "
            f"alone {sum(bool(e.success) for e in alone)}/{len(last)} human {self.human_steps / self.steps:.2f} "
            f"edited {edited:.2f}"
        )


def chooser(expo: Expo, *, explore: bool, share: float = 1.0, offset_std: float = 0.0) -> Chooser:
    """The agent's choice as the runner wants it; every draw follows from the episode's seed."""

    def choose(decision: Decision) -> Pick:
        generator = torch.Generator().manual_seed(decision.seed * 1009 + decision.number)
        offset = None
        if offset_std > 0.0:
            offset = torch.zeros(expo.config.action_dim)
            offset[:2] = torch.randn(2, generator=torch.Generator().manual_seed(decision.seed)) * offset_std
        pick = expo.choose(
            torch.from_numpy(decision.features), torch.from_numpy(decision.candidates), generator,
            share=share, explore=explore, offset=offset,
        )  # fmt: skip
        return Pick(pick.chunk.numpy(), pick.candidate, pick.edited, pick.scores.numpy())

    return choose


def evaluate(runner: Runner, choose: Chooser, episodes: int) -> list[Episode]:
    """Episodes on the evaluation seeds, alone."""
    return [runner.play(seed, choose) for seed in range(EVALUATION_SEED, EVALUATION_SEED + episodes)]


def summary(episodes: list[Episode]) -> dict[str, Any]:
    """Success with its interval."""
    wins = sum(bool(e.success) for e in episodes)
    low, high = wilson(wins, len(episodes))
    return {"successes": wins, "episodes": len(episodes), "low": round(low, 3), "high": round(high, 3)}


def base_result(path: Path | None, runner: Runner, episodes: int) -> dict[str, Any]:
    """The base's evaluation; kept in a file when one is named, since it is the same for every run."""
    if path is not None and path.is_file():
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return kept
    result = summary(evaluate(runner, first_candidate, episodes))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result) + "\n", encoding="utf-8")
    return result


class Trainer:
    """Replay, agent and runner of one run."""

    def __init__(self, runner: Runner, config: ExpoConfig, schedule: Schedule, seed: int) -> None:
        """Fresh agent from the seed."""
        torch.manual_seed(seed)
        self.runner, self.schedule, self.seed = runner, schedule, seed
        self.expo = Expo(config)
        spec = runner.backend.spec
        shape = ReplayShape(
            config.features, config.steps, config.action_dim, runner.rules.candidates, spec.horizon, spec.noise_dim
        )
        self.replay = Replay(shape, 4096)
        self.generator = torch.Generator().manual_seed(seed)
        self.person = ScriptedPerson(Habits()) if schedule.interventions else None
        self.tally = Tally()
        self._owed = 0.0

    def play(self, choose: Chooser) -> Episode:
        """One training episode, kept."""
        number = len(self.tally.episodes)
        episode = self.runner.play(TRAINING_SEED + 10_000 * self.seed + number, choose, self.person)
        self.keep(episode)
        return episode

    def keep(self, episode: Episode) -> None:
        """Adds an episode to the replay."""
        self.tally.add(episode)
        for window in windows_of(episode, self.schedule.discount):
            self.replay.add(window)

    def learn(self, updates: int, mc_share: float | None = None) -> dict[str, float]:
        """Some updates; returns the metrics of the last."""
        metrics: dict[str, float] = {}
        for _ in range(updates):
            batch = self.replay.sample(self.schedule.batch, self.generator)
            metrics = self.expo.update(batch, self.generator, mc_share=mc_share)
        return metrics

    def warm_up(self) -> None:
        """Base episodes, then updates on what followed."""
        for _ in range(self.schedule.base_episodes):
            self.play(first_candidate)
        self.expo.fit_scaler(self.replay.rows(torch.arange(len(self.replay))).features)
        self.learn(self.schedule.warm_up_updates, mc_share=1.0)

    def online_episode(self) -> dict[str, float]:
        """One episode and its updates."""
        online = len(self.tally.episodes) - self.schedule.base_episodes
        grow = self.schedule.grow_episodes
        share = 1.0 if grow == 0 else min(1.0, (online + 1) / grow)
        choose = chooser(self.expo, explore=self.schedule.explore, share=share, offset_std=self.schedule.offset_std)
        episode = self.play(choose)
        self._owed += self.schedule.updates_per_step * int(episode.ticks)
        updates = int(self._owed)
        self._owed -= updates
        return self.learn(updates)


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
    parser.add_argument("--evaluate", type=int, default=100, help="episodes before and after")
    parser.add_argument("--base-result", type=Path, default=None, help="file that keeps the base's evaluation")
    parser.add_argument("--every", type=int, default=10, help="episodes between two lines")
    parser.add_argument("--out", type=Path, default=None)
    return parser.parse_args()


def main() -> int:
    """Trains and evaluates."""
    args = parse()
    torch.set_num_threads(1)
    backend = load_backend(args.backend, str(args.model), num_threads=1)
    recipe = read_recipe(args.method, overrides_of(args.set))
    schedule = recipe.schedule
    config = recipe.expo(backend.spec.feature_dim)
    cell = Cell(args.task, backend.spec.image_height_px)
    runner = Runner(cell, backend, Rules(config.steps, args.candidates))
    started = time.monotonic()
    trainer = Trainer(runner, config, schedule, args.seed)
    trainer.warm_up()
    print(f"warmed up: {trainer.tally.line()} {time.monotonic() - started:.0f} s", flush=True)
    while trainer.tally.steps < schedule.most_steps:
        metrics = trainer.online_episode()
        if len(trainer.tally.episodes) % args.every == 0:
            shown = " ".join(f"{k} {v:.3f}" for k, v in metrics.items())
            print(f"{trainer.tally.line()} {shown} {time.monotonic() - started:.0f} s", flush=True)
    report: dict[str, Any] = {
        "seed": args.seed, "episodes": len(trainer.tally.episodes), "steps": trainer.tally.steps,
        "human_share": trainer.tally.human_steps / trainer.tally.steps,
        "after": summary(evaluate(runner, chooser(trainer.expo, explore=False), args.evaluate)),
        "before": base_result(args.base_result, runner, args.evaluate),
        "schedule": asdict(schedule), "seconds": time.monotonic() - started,
    }  # fmt: skip
    print(json.dumps({k: v for k, v in report.items() if k != "schedule"}), flush=True)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
