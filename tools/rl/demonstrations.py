# SPDX-License-Identifier: Apache-2.0
"""Makes prior data of demonstrations: `demonstrations.py --task pick_place --out runs/demonstrations_pick_place`.

The expert shows the task, the VLA looks on; its features and candidates, which a learner needs beside what was done,
are computed once. The images are kept beside them, for methods with an image encoder. The folder is what learner_node's
parameter `prior` takes.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import torch
from cell_scene import ALL_TASKS, JOINTS, operator_in, rollout_of
from rich.progress import track
from sim_rollout import ROOT

from experience.core.episode import Rules as WindowRules
from experience.core.prior import weights_behind, write_prior
from experience.core.transition import Transition
from rl_learner.core.rollout.episode import transitions_of
from rl_learner.core.rollout.rollout import Rollout
from rl_methods.config import read_method_config
from rl_methods.registry import DEFAULT_ONLINE, settings_file
from vla_policy.core.backends import load_backend
from vla_policy.core.serving import contract_of, weights_sha256
from whetstone_cli.core.simulated_scene import SupervisingOperator
from whetstone_common.core.contract import Contract
from whetstone_common.core.outputs import check_new_folder

FIRST_SEED = 200_001
_OWN = {"transitions", "prior.json"}
POCKET = ROOT / "ros2_ws" / "src" / "vla_policy" / "models" / "pocket"


@dataclass(frozen=True)
class Wanted:
    """What is shown, and to whom.

    Attributes:
        task: The task.
        model: Directory of the VLA that looks on.
        backend: How it is run.
        method: MethodConfig whose windows are cut.
        candidates: Chunks that the VLA proposes at every look.
    """

    task: str
    model: Path
    backend: str
    method: Path
    candidates: int


@dataclass(frozen=True, eq=False)
class Stage:
    """Where the expert shows, and how what they do is cut into windows."""

    rollout: Rollout
    operator: SupervisingOperator
    contract: Contract
    rules: WindowRules


@cache
def stage_for(wanted: Wanted) -> Stage:
    """The stage of this process, set up once."""
    torch.set_num_threads(1)
    backend = load_backend(wanted.backend, str(wanted.model), num_threads=1)
    recipe = read_method_config(wanted.method)
    rollout = rollout_of(wanted.task, backend, recipe.steps, wanted.candidates)
    rollout.rules = replace(rollout.rules, images=True)
    rules = WindowRules(window_steps=recipe.steps, lockstep=True)
    return Stage(rollout, operator_in(rollout), contract_of(backend.spec, JOINTS, ""), rules)


def shown(wanted: Wanted, number: int) -> list[Transition]:
    """Transitions of one episode of the expert; the same in whatever process."""
    stage = stage_for(wanted)
    episode = stage.rollout.play(FIRST_SEED + number - 1, stage.operator, demonstrate=True)
    return transitions_of(episode, number, stage.contract, stage.rules, stage.rollout.backend.spec.dt_s)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=POCKET)
    parser.add_argument("--backend", default="onnx", choices=("onnx", "pocket"))
    parser.add_argument("--method", type=Path, default=settings_file(DEFAULT_ONLINE))
    parser.add_argument("--task", choices=ALL_TASKS, default="pick_place")
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    weights = weights_sha256(args.model)
    if args.out.exists():
        if weights_behind(args.out) == weights:
            print(f"{args.out} is there already")
            return 0
        # Only what this tool has made for another model may give way.
        if not weights_behind(args.out) or {path.name for path in args.out.iterdir()} - _OWN:
            print(f"{args.out} exists and is not what this tool has made: choose another --out", file=sys.stderr)
            return 2
        shutil.rmtree(args.out)
    check_new_folder(args.out)
    wanted = Wanted(args.task, args.model, args.backend, args.method, args.candidates)
    # forked, a process would share the renderer's context with its parent
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        episodes = pool.map(partial(shown, wanted), range(1, args.episodes + 1))
        seen = track(episodes, "demonstrations", args.episodes, disable=not sys.stderr.isatty())
        write_prior(args.out, seen, weights, time.time_ns())
    print(f"{args.episodes} episodes in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
