# SPDX-License-Identifier: Apache-2.0
"""Success of a policy in process, without ROS: the quick judge while training, and the model card's figures.

The policy sees what observation_node would give it, executes `--execute` steps of each chunk and is asked again.
With `--eyes`, how well its eyes read the hand-frame state on the way, with the hand within 8 cm of the object. With
`--dtype int8`, also how far the commanded actions are from those of float32.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from eyes_bars import Errors, errors_on, joined
from numpy.typing import NDArray
from sim_rollout import POLICY_TIMEOUT_TICKS, TASKS, Cell, apply_action

from vla_policy.core.backends import load_backend
from vla_policy.core.protocol import Backend, Observation
from whetstone_common.core.outputs import check_file
from whetstone_common.core.success_rate import wilson

EVALUATION_SEED = 0


@dataclass(frozen=True)
class Outcome:
    """One episode."""

    task: str
    seed: int
    success: bool
    ticks: int
    stage: str


class ActionErrors:
    """How far the actions of a backend are from those of another one on the same observations.

    Args:
        exact: The other one.
    """

    def __init__(self, exact: Backend) -> None:
        self._exact, self._errors = exact, list[NDArray[np.float32]]()

    def see(self, observation: Observation, noise: NDArray[np.float32], chunks: NDArray[np.float32]) -> None:
        """Compare chunks [N, H, A] that are denormalised."""
        wanted = self._exact.denoise(self._exact.prefix(observation), noise)
        self._errors.append(np.abs(chunks - self._exact.spec.denormalise(wanted)).reshape(-1, chunks.shape[-1]))

    def line(self) -> str:
        """Mean and 99th percentile by kind of dimension: three of position, three of rotation, the gripper."""
        errors = np.concatenate(self._errors)
        parts = {"position mm": 1e3 * errors[:, :3], "rotation mrad": 1e3 * errors[:, 3:6], "gripper": errors[:, 6:]}
        return ", ".join(f"{k} {v.mean():.2g} and {np.quantile(v, 0.99):.2g}" for k, v in parts.items())


def episode(
    cell: Cell, backend: Backend, seed: int, execute: int, words: str | None = None, errors: ActionErrors | None = None
) -> Outcome:
    """Runs one episode; noise is drawn from (seed, request number)."""
    cell.reset(seed)
    spec, world = backend.spec, cell.world
    instruction = world.instruction if words is None else words
    best = 0
    for request in range(math.ceil(POLICY_TIMEOUT_TICKS / execute)):
        seen = Observation(cell.images(), cell.proprio(), instruction)
        noise = np.random.default_rng([seed, request]).standard_normal((1, *spec.noise_shape)).astype(np.float32)
        chunks = spec.denormalise(backend.denoise(backend.prefix(seen), noise))
        chunk = chunks[0]
        if errors is not None:
            errors.see(seen, noise, chunks)
        reference = world.tcp_pose()
        for step in range(execute):
            pose, opening = apply_action(reference, chunk[step])
            cell.drive(pose, opening)
            truth = world.truth()
            best = max(best, int(truth.stage))
            if truth.success:
                return Outcome(world.task_name, seed, success=True, ticks=world.tick, stage=truth.stage.name)
    return Outcome(world.task_name, seed, success=False, ticks=world.tick, stage=type(truth.stage)(best).name)


def other_instruction(instruction: str, cell: Cell) -> str:
    """The same sentence about the things that are not meant (the other object, the other goal)."""
    layout = cell.world.layout
    present = sorted({colour for name, colour in layout.colours.items() if name != layout.object_name})
    names = [n for n in layout.colours if n.split("_")[0] == layout.object_name.split("_")[0]]
    others = [layout.colours[n] for n in names if n not in (layout.object_name, layout.goal_name)]
    wanted = others[0] if others else present[0]
    return instruction.replace(f" {layout.colours[layout.object_name]} ", f" {wanted} ", 1)


def print_eyes(args: argparse.Namespace, backend: Backend) -> int:
    """One line per task, and one of all."""
    if not backend.spec.readout_names:
        print(f"{args.model}: this policy has no eyes of its own", file=sys.stderr)
        return 2
    seeds, parts = range(args.first_seed, args.first_seed + args.episodes), list[Errors]()
    for task in args.tasks:
        parts.append(errors_on(Cell(task, backend.spec.image_height_px), backend, seeds, args.execute))
        print(f"{task}: {parts[-1].line()}", flush=True)
    print(f"all: {joined(parts).line()}")
    return 0


def main() -> int:
    """Evaluates and prints one line per task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="directory of the policy")
    parser.add_argument("--backend", default="onnx")
    parser.add_argument("--dtype", default="float32", choices=["float32", "int8"], help="int8: of the onnx backend")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--first-seed", type=int, default=EVALUATION_SEED)
    parser.add_argument("--execute", type=int, default=8, help="steps executed of each chunk")
    parser.add_argument("--flow-steps", type=int, default=None)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--wrong-words", action="store_true", help="name another object than the one judged")
    parser.add_argument("--eyes", action="store_true", help="errors of the readouts instead of success")
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    if args.json is not None:
        check_file(args.json)
    torch.set_num_threads(args.threads)
    options = {"num_threads": args.threads, "num_steps": args.flow_steps}
    backend = load_backend(args.backend, str(args.model), dtype=args.dtype, **options)
    exact = load_backend(args.backend, str(args.model), **options) if args.dtype == "int8" else None
    if args.eyes:
        return print_eyes(args, backend)
    report = {}
    for task in args.tasks:
        cell, outcomes, started = Cell(task, backend.spec.image_height_px), [], time.monotonic()
        errors = None if exact is None else ActionErrors(exact)
        for seed in range(args.first_seed, args.first_seed + args.episodes):
            words = None
            if args.wrong_words:
                cell.reset(seed)
                words = other_instruction(cell.world.instruction, cell)
            outcomes.append(episode(cell, backend, seed, args.execute, words, errors))
        wins = sum(o.success for o in outcomes)
        rate = wilson(wins, len(outcomes))
        low, high = rate.low, rate.high
        stages: dict[str, int] = {}
        for outcome in outcomes:
            if not outcome.success:
                stages[outcome.stage] = stages.get(outcome.stage, 0) + 1
        ticks = float(np.median([o.ticks for o in outcomes if o.success] or [math.nan]))
        report[task] = {"successes": wins, "episodes": len(outcomes), "low": low, "high": high, "ticks": ticks}
        print(f"{task}: {wins}/{len(outcomes)} = {wins / len(outcomes):.2f} [{low:.2f}, {high:.2f}], "
              f"median {ticks:.0f} ticks, failures reached {stages}, "
              f"{(time.monotonic() - started) / len(outcomes):.2f} s/episode", flush=True)  # fmt: skip
        if errors is not None:
            print(f"{task}: actions against float32, mean and p99: {errors.line()}", flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
