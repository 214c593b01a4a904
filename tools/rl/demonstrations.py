# SPDX-License-Identifier: Apache-2.0
"""Makes prior data of demonstrations: `demonstrations.py --task pick_place --out runs/demonstrations_pick_place`.

The expert shows the task, the VLA looks on; its features and candidates, which a learner needs beside what was done,
are computed once. The folder is what learner_node's parameter `prior` takes.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

import torch
from episodes import Rules, Runner, contract_for, first_candidate, transitions_of
from rich.progress import track
from sim_rollout import ROOT, TASKS, Cell
from train import METHODS

from rl_learner.core.episode import Rules as Cuts
from rl_learner.core.prior import weights_behind, write_prior
from rl_learner.core.recipe import read_recipe
from rl_learner.core.transition import Transition
from vla_policy.core.backends import load_backend
from vla_policy.core.serving import weights_sha256
from whetstone_common.core.contract import Contract

FIRST_SEED = 200_001
POCKET = ROOT / "ros2_ws" / "src" / "vla_policy" / "models" / "pocket"


def shown(runner: Runner, number: int, contract: Contract, cuts: Cuts) -> list[Transition]:
    """Transitions of one episode of the expert."""
    episode = runner.play(FIRST_SEED + number - 1, first_candidate, demonstrate=True)
    return transitions_of(episode, number, contract, cuts)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=POCKET)
    parser.add_argument("--backend", default="onnx", choices=("onnx", "pocket"))
    parser.add_argument("--method", type=Path, default=METHODS / "expo.yaml")
    parser.add_argument("--task", choices=TASKS, default="pick_place")
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    weights = weights_sha256(args.model)
    if args.out.exists() and weights_behind(args.out) == weights:
        print(f"{args.out} is there already")
        return 0
    shutil.rmtree(args.out, ignore_errors=True)  # another model's
    torch.set_num_threads(1)
    backend = load_backend(args.backend, str(args.model), num_threads=1)
    recipe = read_recipe(args.method)
    runner = Runner(Cell(args.task, backend.spec.image_height_px), backend, Rules(recipe.steps, args.candidates))
    cuts = Cuts(gamma=recipe.schedule.discount, window_steps=recipe.steps, lockstep=True)
    contract = contract_for(backend.spec)
    numbers = track(range(1, args.episodes + 1), description="demonstrations", disable=not sys.stderr.isatty())
    write_prior(args.out, (shown(runner, number, contract, cuts) for number in numbers), weights, time.time_ns())
    print(f"{args.episodes} episodes in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
