# SPDX-License-Identifier: Apache-2.0
"""Collects scenes without demonstrations: images of many layouts, each with every instruction that fits it.

Demonstrations show a few hundred layouts, one instruction each: a network would rather know the layouts by heart
than read the words. These frames teach it to find what the words name. They carry no usable chunk.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from collect_demos import SEED_BASE
from sim_rollout import TASKS, Cell, Pose, rotation_matrix

from sim_bridge.core.tasks import Layout, Task, get_task
from vla_policy.core.training.dataset import Demo

SCENE_OFFSET = 500_000  # seeds of scenes, beside those of demonstrations
DOWN = np.diag([1.0, -1.0, -1.0])
LOWER_M, UPPER_M = np.array([0.36, -0.22, 0.05]), np.array([0.64, 0.22, 0.35])
MOVES, MOVE_TICKS = 2, 6
MOVED_M = 0.005  # a layout that the arm disturbed is left out

Row = dict[str, Any]


def frames_of(cell: Cell, seed: int) -> list[Row]:
    """The start of one episode and what is seen from other places above the table."""
    cell.reset(seed)
    rng = np.random.default_rng([seed, 78])
    rows = [observe(cell)]
    for _ in range(MOVES):
        yaw = rotation_matrix(np.array([0.0, 0.0, rng.uniform(-0.9, 0.9)]))
        pose, opening = Pose(rng.uniform(LOWER_M, UPPER_M), yaw @ DOWN), float(rng.integers(0, 2))
        for _ in range(MOVE_TICKS):
            cell.drive(pose, opening, by_human=True)
        rows.append(observe(cell))
    return rows


def observe(cell: Cell) -> Row:
    """One frame; the command is only a filler, the frame is never used for a chunk."""
    images, pose, joints = cell.images(), cell.world.tcp_pose(), cell.world.joint_positions()
    return {
        "front": images["front"],
        "wrist": images["wrist"],
        "proprio": cell.proprio(),
        "joints": joints,
        "command_position": pose.position,
        "command_rotation": pose.rotation,
        "command_joints": joints,
        "command_opening": cell.world.gripper_opening(),
    }


def alternatives(task: Task, layout: Layout, rows: list[Row]) -> Iterator[Demo]:
    """The frames with each instruction that fits; all but the first come without images of their own."""
    count = len(rows)
    arrays = {k: np.asarray([row[k] for row in rows], dtype=np.float32) for k in rows[0] if k not in ("front", "wrist")}
    images = {k: np.stack([row[k] for row in rows]) for k in ("front", "wrist")}
    pairs = [(thing, goal) for thing in task.objects for goal in task.goals if thing != goal]
    for number, (thing, goal) in enumerate(pairs):
        first, second = layout.placements[thing], layout.placements[goal]
        end = np.array(second.position) + np.array([0.0, 0.0, task.goal_offset_z_m])
        yield Demo(
            object_position=np.tile(np.float32(first.position), (count, 1)),
            goal_position=np.tile(end.astype(np.float32), (count, 1)),
            object_yaw=np.full(count, first.yaw_rad, dtype=np.float32),
            goal_yaw=np.full(count, second.yaw_rad, dtype=np.float32),
            usable=np.zeros(count, dtype=bool),
            instruction=task.phrase.format(object=layout.colours[thing], goal=layout.colours[goal]),
            **{k: v if number == 0 else v[:0] for k, v in images.items()},
            **arrays,
        )


def main() -> int:
    """Collects; scenes that exist are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/scenes"))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--scenes", type=int, default=2000, help="per task")
    args = parser.parse_args()
    for name in args.tasks:
        cell, task, folder = Cell(name), get_task(name), args.out / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(args.scenes):
            if (folder / f"{number:06d}_0.npz").exists():
                continue
            rows = frames_of(cell, SEED_BASE[name] + SCENE_OFFSET + number)
            layout, truth = cell.world.layout, cell.world.truth()
            if np.linalg.norm(truth.object_position - layout.placements[layout.object_name].position) > MOVED_M:
                continue
            for index, demo in reversed(list(enumerate(alternatives(task, layout, rows)))):
                demo.save(folder / f"{number:06d}_{index}.npz")  # the one with images last: it marks the scene whole
            if (number + 1) % 100 == 0:
                print(f"{name}: {number + 1} of {args.scenes} scenes", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
