# SPDX-License-Identifier: Apache-2.0
"""Episodes of an arm whose good commands go one way and whose bad ones the other, as a dataset; the toy VLA sees them.

Pictures brighten as a success comes near; those of a failure stay as they were. Both begin alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experience.core.lerobot_export.dataset import DatasetWriter
from experience.core.lerobot_export.frames import DatasetFrame, ExportedEpisode
from experience.core.lerobot_export.layout import DatasetSchema
from fakes.lerobot_files import FPS, HOME, JOINTS, SIZE_PX
from whetstone_common.core.enums import Actor
from whetstone_common.core.kinematics import Kinematics

URDF = Path(__file__).resolve().parents[2] / "ros2_ws/src/robot_bringup/description/panda.urdf"
STEP_M = 0.08  # where a command sends the hand, along x
FIRST, DARK, BRIGHT = 6, 40, 240  # frames before the two part, grey levels
WORDS = ("put the red cube on the blue plate", "put the blue cube on the red plate")


def panda() -> Kinematics:
    """The arm."""
    return Kinematics.from_urdf(URDF.read_text(encoding="utf-8"), "tcp", JOINTS[:-1])


def both_ways(root: Path, successes: Sequence[int], failures: Sequence[int], human_from: int | None = None) -> Path:
    """A dataset.

    Args:
        root: Folder to make.
        successes: Lengths of the episodes that succeed.
        failures: Of those that do not.
        human_from: Frame from which a person drives the first success.
    """
    cameras = (("front", SIZE_PX, SIZE_PX), ("wrist", SIZE_PX, SIZE_PX))
    writer = DatasetWriter(root, DatasetSchema(FPS, "sim_panda", JOINTS, cameras))
    for number, length in enumerate(successes):
        people = human_from if number == 0 else None
        writer.add(_episode(WORDS[number % 2], length, success=True, human_from=people))
    for number, length in enumerate(failures):
        writer.add(_episode(WORDS[number % 2], length, success=False, human_from=None))
    return writer.finish()


def _episode(words: str, length: int, *, success: bool, human_from: int | None) -> ExportedEpisode:
    pose = panda().fk(HOME[:-1])
    target = np.append(np.concatenate([pose.position, pose.quaternion_xyzw()]), 1.0)
    target[0] += STEP_M if success else -STEP_M
    frames = []
    for number in range(length):
        done = max(0, number - FIRST) / (length - 1 - FIRST) if success else 0.0
        image = np.full((SIZE_PX, SIZE_PX, 3), round(DARK + (BRIGHT - DARK) * done), np.uint8)
        actor = Actor.HUMAN if human_from is not None and number >= human_from else Actor.POLICY
        state = HOME.astype(np.float32)
        pictures = {"front": image, "wrist": image}
        frames.append(DatasetFrame(state, state, target.astype(np.float32), int(actor), pictures))
    return ExportedEpisode(words, success, JOINTS, tuple(frames))
