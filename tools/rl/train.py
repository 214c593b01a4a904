# SPDX-License-Identifier: Apache-2.0
"""A training run in process, with the learner, the windows and the operator of the graph: `train.py --model DIR`.

Prints what an operator would watch, and evaluates the base and the result on the same scenes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from cell_scene import ALL_TASKS, cell_of, operator_in, rollout_of
from sim_rollout import TASKS
from truth import SeesTruth

from experience.core.prior import transitions_in
from rl_learner.core.evaluation_plan import EvaluationPlan
from rl_learner.core.in_process import InProcessTraining
from rl_learner.core.rollout.episode import PlayedEpisode
from rl_learner.core.rollout.rollout import Rollout
from rl_methods.base import ChunkSource
from rl_methods.config import read_method_config
from rl_methods.devices import device_of
from rl_methods.none.policy import FirstCandidate
from rl_methods.registry import DEFAULT_ONLINE, settings_file
from vla_policy.core.backends import load_backend
from whetstone_common.core.outputs import check_file, whole_file
from whetstone_common.core.success_rate import wilson

EVALUATION_SEED = 0
_LAST = 20


def summary(episodes: list[PlayedEpisode]) -> dict[str, Any]:
    """Success with its interval."""
    wins = sum(bool(e.success) for e in episodes)
    rate = wilson(wins, len(episodes))
    low, high = rate.low, rate.high
    return {"successes": wins, "episodes": len(episodes), "low": round(low, 3), "high": round(high, 3)}


def line(training: InProcessTraining) -> str:
    """The last episodes in words."""
    last, run = training.episodes[-_LAST:], training.run
    alone = sum(bool(e.success) for e in last if e.human_steps == 0)
    changed = np.concatenate([e.source[e.acted] != ChunkSource.BASE for e in last]).mean()
    shown = " ".join(f"{k} {v:.3f}" for k, v in run.learning.metrics.items() if not k.endswith("norm"))
    return (
        f"episode {len(training.episodes)} steps {run.tally.steps} success {np.mean([e.success for e in last]):.2f} "
        f"alone {alone}/{len(last)} human {training.human_share:.2f} changed {changed:.2f} "
        f"windows {len(run.data.online)} {shown}"
    )


def evaluated(training: InProcessTraining, count: int) -> dict[str, Any]:
    """Episodes on the evaluation scenes, alone and without exploration."""
    seeds = range(EVALUATION_SEED, EVALUATION_SEED + count)
    return summary([training.play(seed, explore=False) for seed in seeds])


def base_result(path: Path | None, rollout: Rollout, episodes: int) -> dict[str, Any]:
    """The base's evaluation; kept in a file when one is named, since it is the same for every run."""
    if path is not None and path.is_file():
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return kept
    rollout.policy = FirstCandidate()
    result = summary([rollout.play(seed) for seed in range(EVALUATION_SEED, EVALUATION_SEED + episodes)])
    if path is not None:
        with whole_file(path) as part:  # runs that end together read and write it
            part.write_text(json.dumps(result) + "\n", encoding="utf-8")
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
    parser.add_argument("--method", type=Path, default=settings_file(DEFAULT_ONLINE))
    parser.add_argument("--set", nargs="*", default=[], help="block.key=value, on top of the method's file")
    parser.add_argument(
        "--features", default="vla", choices=("vla", "truth"), help="what the small networks see; truth: for diagnosis"
    )
    parser.add_argument("--task", choices=ALL_TASKS, default="pick_place")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--prior", type=Path, default=None, help="folder of demonstrations.py, to know from the start")
    parser.add_argument("--prior-share", type=float, default=0.5, help="of a batch, from them")
    parser.add_argument("--evaluate", type=int, default=100, help="episodes before and after")
    parser.add_argument(
        "--evaluate-every-min", type=float, default=0.0, help="robot minutes between rounds on the way, 0 for none"
    )
    parser.add_argument("--evaluate-episodes", type=int, default=8, help="of a round on the way")
    parser.add_argument("--base-result", type=Path, default=None, help="file that keeps the base's evaluation")
    parser.add_argument("--every", type=int, default=10, help="episodes between two lines")
    parser.add_argument("--device", default="cpu", help="where the networks learn: cpu, cuda, cuda:1, auto")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    if args.out is not None:
        check_file(args.out)
    if args.features == "truth" and args.prior is not None:
        parser.error("--prior holds the VLA's features, --features truth has others: leave one of them out")
    if args.features == "truth" and args.task not in TASKS:
        parser.error(f"--features truth knows the tasks {', '.join(TASKS)}")
    return args


def main() -> int:
    """Trains and evaluates."""
    args = parse()
    torch.set_num_threads(1)
    backend = load_backend(args.backend, str(args.model), num_threads=1)
    config = read_method_config(args.method, overrides_of(args.set))
    rollout = rollout_of(args.task, backend, config.steps, args.candidates, config.schedule.query_every)
    if args.features == "truth":
        rollout.backend = SeesTruth(backend, cell_of(rollout))
    started = time.monotonic()
    operator = operator_in(rollout) if config.schedule.interventions else None
    plan = EvaluationPlan(args.evaluate_every_min, args.evaluate_episodes)
    training = InProcessTraining(
        rollout, config, args.seed, operator, prior_share=args.prior_share, evaluation=plan,
        device=device_of(args.device),
    )  # fmt: skip
    if args.prior is not None:
        training.add_prior(transitions_in(args.prior))
    told = 0
    while not training.is_finished:
        training.train_once()
        if len(training.episodes) % args.every == 0:
            print(f"{line(training)} {time.monotonic() - started:.0f} s", flush=True)
        while told < len(training.curve):
            print(f"alone: {training.curve[told]} {training.run.guard.text}", flush=True)
            told += 1
    trained_s = time.monotonic() - started
    after = evaluated(training, args.evaluate)
    base = rollout_of(args.task, backend, config.steps, 1)
    report: dict[str, Any] = {
        "task": args.task, "method": config.method, "settings": args.set, "seed": args.seed,
        "candidates": args.candidates, "features": args.features, "prior": str(args.prior or ""),
        "episodes": len(training.episodes), "steps": training.run.tally.steps,
        "human_share": round(training.human_share, 4), "updates": training.run.learner.updates,
        "after": after, "before": base_result(args.base_result, base, args.evaluate),
        "robot_minutes": round(training.robot_min, 2), "curve": [asdict(point) for point in training.curve],
        "ticks": [e.steps for e in training.episodes],
        "successes": [bool(e.success) for e in training.episodes],
        "helped": [e.human_steps > 0 for e in training.episodes],
        "train_s": round(trained_s), "seconds": round(time.monotonic() - started),
    }  # fmt: skip
    print(json.dumps({k: v for k, v in report.items() if k not in ("ticks", "successes", "helped")}), flush=True)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(report | {"recipe": config.resolved()}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
