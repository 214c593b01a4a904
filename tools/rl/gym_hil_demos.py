# SPDX-License-Identifier: Apache-2.0
"""Demonstrations of gym-hil's task as a LeRobotDataset of the shipped arm: `gym_hil_demos.py --out DIR`.

The dataset is what `whetstone sft` takes. Some episodes begin with the hand elsewhere, so that the way back is shown.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from cell_scene import JOINTS
from gym_hil_expert import PickOperator
from gym_hil_scene import CAMERAS, INSTRUCTION, MAX_TICKS, SIZE_PX, GymHilScene
from rich.progress import track

from experience.core.lerobot_export.dataset import DatasetWriter
from experience.core.lerobot_export.frames import DatasetFrame, ExportedEpisode
from experience.core.lerobot_export.layout import DatasetSchema
from rl_learner.core.rollout.scene import Driven
from whetstone_common.core.enums import Actor
from whetstone_common.core.kinematics import Pose

FPS, FIRST_SEED = 20, 400_001
_TAIL = 4  # frames after the success
# half of the episodes; where the hand is moved before the expert begins, and for how long
_AWAY_SHARE, _AWAY_M, _AWAY_TICKS = 0.5, (0.08, 0.10, 0.06), 10


def shown(scene: GymHilScene, seed: int) -> ExportedEpisode:
    """One demonstration.

    Raises:
        RuntimeError: The expert failed.
    """
    scene.reset(seed)
    operator, rng = PickOperator(scene), np.random.default_rng([seed, 5])
    operator.begin(demonstrate=True)
    if rng.random() < _AWAY_SHARE:
        start = scene.pose()
        away = Pose(start.position + rng.uniform(-1.0, 1.0, 3) * _AWAY_M + (0.0, 0.0, _AWAY_M[2]), start.rotation)
        for _ in range(_AWAY_TICKS):
            scene.drive(away, 1.0)
    frames: list[DatasetFrame] = []
    left = _TAIL
    while left:
        if len(frames) >= MAX_TICKS:
            raise RuntimeError(f"the expert failed in the scene of seed {seed}")
        seen = dict(scene.observation().images)
        state = np.append(scene.joints, scene.opening)
        driven = scene.drive(*operator.command(), by_human=True)
        frames.append(_frame(scene, seen, state, driven))
        left -= scene.success()
    return ExportedEpisode(INSTRUCTION, success=True, joints=scene.joint_names, frames=tuple(frames), dt_s=1.0 / FPS)


def _frame(scene: GymHilScene, images: dict[str, np.ndarray], state: np.ndarray, driven: Driven) -> DatasetFrame:
    """One step; the package commands the TCP and no joints, so those that it led to stand for the command."""
    target = np.concatenate([driven.pose.position, driven.pose.quaternion_xyzw(), [driven.opening]])
    action = np.append(scene.joints, driven.opening)
    return DatasetFrame(state, action, target, int(Actor.HUMAN), images)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    scene = GymHilScene(JOINTS)
    schema = DatasetSchema(FPS, "sim_panda", JOINTS, tuple((name, SIZE_PX, SIZE_PX) for name in CAMERAS))
    writer = DatasetWriter(args.out, schema)
    seeds = range(FIRST_SEED, FIRST_SEED + args.episodes)
    for seed in track(seeds, "demonstrations", disable=not sys.stderr.isatty()):
        writer.add(shown(scene, seed))
    writer.finish()
    scene.close()
    print(f"{args.episodes} episodes in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
