# SPDX-License-Identifier: Apache-2.0
"""Collects scenes without demonstrations: images of many layouts with the instructed pair's place.

Demonstrations show a few hundred layouts, which a vision tower would rather learn by heart. These frames teach it
to find things: they carry no usable chunk, only detection targets.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from collect_demos import SEED_BASE
from sim_rollout import TASKS, Cell, Pose, rotation_matrix

from vla_policy.core.training.dataset import Demo

SCENE_OFFSET = 500_000  # seeds of scenes, beside those of demonstrations
DOWN = np.diag([1.0, -1.0, -1.0])
LOWER_M, UPPER_M = np.array([0.36, -0.22, 0.05]), np.array([0.64, 0.22, 0.35])
SCENES_PER_FILE = 50
MOVES, MOVE_TICKS = 2, 6


def frames_of(cell: Cell, seed: int) -> list[dict[str, object]]:
    """The start of one episode and what is seen from other places above the table."""
    cell.reset(seed)
    rng = np.random.default_rng([seed, 78])
    rows = [observe(cell)]
    for _ in range(MOVES):
        yaw = rotation_matrix(np.array([0.0, 0.0, rng.uniform(-0.9, 0.9)]))
        pose, opening = Pose(rng.uniform(LOWER_M, UPPER_M), yaw @ DOWN), float(rng.integers(0, 2))
        for _ in range(MOVE_TICKS):
            cell.drive(pose, opening)
        rows.append(observe(cell))
    return rows


def observe(cell: Cell) -> dict[str, object]:
    """One frame with its truth; the command is only a filler, the frame is never used for a chunk."""
    truth, images, pose = cell.world.truth(), cell.images(), cell.world.tcp_pose()
    joints = cell.world.joint_positions()
    return {
        "front": images["front"],
        "wrist": images["wrist"],
        "proprio": cell.proprio(),
        "joints": joints,
        "command_position": pose.position,
        "command_rotation": pose.rotation,
        "command_joints": joints,
        "command_opening": cell.world.gripper_opening(),
        "object_position": truth.object_position,
        "goal_position": truth.goal_position,
        "object_yaw": truth.object_yaw_rad,
        "goal_yaw": truth.goal_yaw_rad,
    }


def pack(rows: list[dict[str, object]], instruction: str) -> Demo:
    """Frames of one instruction as a demonstration with no usable tick."""
    arrays = {
        name: np.stack([row[name] for row in rows]).astype(np.uint8 if name in ("front", "wrist") else np.float32)  # type: ignore[arg-type, misc]
        for name in rows[0]
    }
    return Demo(usable=np.zeros(len(rows), dtype=bool), instruction=instruction, **arrays)  # type: ignore[arg-type]


def main() -> int:
    """Collects; files that exist are kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/scenes"))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--scenes", type=int, default=2000, help="per task")
    args = parser.parse_args()
    cells = {task: Cell(task) for task in args.tasks}
    for block in range(args.scenes // SCENES_PER_FILE):
        for task, cell in cells.items():
            folder = args.out / task
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / f"{block:05d}_done").exists():
                continue
            groups: dict[str, list[dict[str, object]]] = {}
            for number in range(block * SCENES_PER_FILE, (block + 1) * SCENES_PER_FILE):
                rows = frames_of(cell, SEED_BASE[task] + SCENE_OFFSET + number)
                groups.setdefault(cell.world.instruction, []).extend(rows)
            for index, (words, rows) in enumerate(sorted(groups.items())):
                pack(rows, words).save(folder / f"{block:05d}_{index:02d}.npz")
            (folder / f"{block:05d}_done").touch()
        print(f"{(block + 1) * SCENES_PER_FILE} of {args.scenes} scenes per task", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
