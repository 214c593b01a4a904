# SPDX-License-Identifier: Apache-2.0
"""Collects scripted demonstrations in process, for `make pocket`.

A share of the episodes is disturbed: for some ticks the arm is driven off, turned, or pressed down (which pushes or
tips what is there), or the gripper is closed or opened at the wrong time, and the expert recovers. The recorded command
is always the expert's own; ticks whose window contains a disturbance are marked unusable: only the recovery is learnt.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sim_rollout import TASKS, Cell, Pose, rotation_matrix

from vla_policy.core.training.dataset import Demo

MAX_TICKS = 260
TAIL_TICKS = 6  # recorded after success, so that the retreat is in the data
CLEAN_AHEAD_TICKS = 12  # of the chunk: later steps are replanned before they are executed
SEED_BASE = {"pick_place": 1_000_000, "stack": 2_000_000, "insert": 3_000_000}  # far from evaluation seeds


@dataclass(frozen=True)
class Disturbance:
    """For `ticks` ticks from `start`: an offset added to the target, and perhaps a gripper command of its own."""

    start: int
    ticks: int
    offset_m: tuple[float, float, float]
    turn_rad: float
    opening: float | None

    def covers(self, tick: int) -> bool:
        """Whether it acts at `tick`."""
        return self.start <= tick < self.start + self.ticks


def draw_disturbances(rng: np.random.Generator, share: float) -> list[Disturbance]:
    """None for most episodes, one to three for a `share` of them."""
    if rng.random() >= share:
        return []
    out = []
    for _ in range(rng.integers(1, 4)):
        opening, turn, reach = None, rng.uniform(-0.35, 0.35), np.array([0.06, 0.06, 0.03])
        kind = rng.random()
        if kind < 0.25:
            opening = 0.0  # closes on nothing: the expert opens and tries again
        elif kind < 0.35:
            opening = 1.0  # drops what it holds
        elif kind < 0.60:
            turn, reach = rng.uniform(-0.8, 0.8), 0.3 * reach
        lowered_m = 0.05 if kind > 0.85 else 0.0
        if opening is not None:
            turn, reach = 0.0, 0.3 * reach
        offset = rng.uniform(-1.0, 1.0, 3) * reach - np.array([0.0, 0.0, lowered_m])
        ticks = int(rng.integers(7, 11) if opening is not None else rng.integers(4, 9))
        out.append(Disturbance(int(rng.integers(0, 75)), ticks, tuple(offset), float(turn), opening))
    return out


def collect(cell: Cell, seed: int, share: float) -> Demo | None:
    """One demonstration, or None when the expert failed."""
    cell.reset(seed)
    world, rng = cell.world, np.random.default_rng([seed, 77])
    disturbances = draw_disturbances(rng, share)
    rows: dict[str, list[object]] = {}
    disturbed: list[bool] = []
    left = TAIL_TICKS
    for tick in range(MAX_TICKS):
        sense, images = world.sense(), cell.images()
        command = cell.expert.act(sense)
        row = {
            "front": images["front"],
            "wrist": images["wrist"],
            "proprio": cell.proprio(),
            "joints": sense.joints,
            "command_position": command.pose.position,
            "command_rotation": command.pose.rotation,
            "command_joints": command.joint_targets,
            "command_opening": command.opening,
            "object_position": sense.truth.object_position,
            "goal_position": sense.truth.goal_position,
            "object_yaw": sense.truth.object_yaw_rad,
            "goal_yaw": sense.truth.goal_yaw_rad,
        }
        for name, value in row.items():
            rows.setdefault(name, []).append(value)
        active = [d for d in disturbances if d.covers(tick)] if not sense.truth.success else []
        disturbed.append(bool(active))
        pose, opening = command.pose, command.opening
        for d in active:
            turn = rotation_matrix(np.array([0.0, 0.0, d.turn_rad]))
            pose = Pose(pose.position + np.array(d.offset_m), turn @ pose.rotation)
            opening = opening if d.opening is None else d.opening
        cell.drive(pose, opening, by_human=True)
        left -= sense.truth.success
        if left <= 0:
            return _finish(rows, disturbed, world.instruction)
    return None


def _finish(rows: dict[str, list[object]], disturbed: list[bool], instruction: str) -> Demo:
    arrays = {
        name: np.stack(values) if name in ("front", "wrist") else np.asarray(values, dtype=np.float32)
        for name, values in rows.items()
    }
    bad = np.asarray(disturbed)
    usable = np.array([not bad[t : t + CLEAN_AHEAD_TICKS].any() for t in range(len(bad))])
    return Demo(usable=usable, instruction=instruction, **arrays)  # type: ignore[arg-type]


def main() -> int:
    """Collects until each task has its number of episodes; can be run again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/pocket"))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--disturbed", type=float, default=0.5, help="share of episodes with disturbances")
    parser.add_argument("--first", type=int, default=0, help="number of the first episode")
    args = parser.parse_args()
    for task in args.tasks:
        cell, folder = Cell(task), args.out / task
        folder.mkdir(parents=True, exist_ok=True)
        failed, lengths = 0, []
        for number in range(args.first, args.first + args.episodes):
            path = folder / f"{number:05d}.npz"
            if path.exists():
                continue
            demo = collect(cell, SEED_BASE[task] + number, args.disturbed)
            if demo is None:
                failed += 1
                continue
            demo.save(path)
            lengths.append(len(demo))
            if len(lengths) % 10 == 0:
                print(
                    f"{task}: {number + 1}/{args.first + args.episodes}, failed {failed}, "
                    f"median {np.median(lengths):.0f} ticks",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
