# SPDX-License-Identifier: Apache-2.0
"""What the policy side needs to know of a robot file; the rest of the file belongs to the arm's side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from vla_policy.core.joints import JointLayout
from whetstone_common.core.foreign import CameraTopics, Name, OpenSchema, SchemaError, Topic, parsed, reading, text_of
from whetstone_common.core.joint_range import JointRange


class RobotFileError(ValueError):
    """A robot file that cannot be used; the text names file and key."""


@dataclass(frozen=True)
class RobotView:
    """Joints, model and topics of a robot.

    Attributes:
        joints: Names and gripper travel.
        urdf: Text of the URDF.
        tip: Link of the tool centre point.
        joint_states_topic: Where the joint states come from.
        camera_topics: Camera name to topic.
        joint_range: Which values the joints can have; None where the file has no limits.
    """

    joints: JointLayout
    urdf: str
    tip: str
    joint_states_topic: str
    camera_topics: Mapping[str, str]
    joint_range: JointRange | None = None


class _Gripper(OpenSchema):
    joint: Name
    closed: float
    open: float


class _Topics(OpenSchema):
    joint_states: Topic


class _Limits(OpenSchema):
    position_lower_rad: list[float]
    position_upper_rad: list[float]


class _File(OpenSchema):
    joints: list[Name]
    gripper: _Gripper
    urdf: Name
    tip: Name
    topics: _Topics
    cameras: CameraTopics | None = None
    limits: _Limits | None = None

    def view(self, path: Path, descriptions: Path) -> RobotView:
        hand = self.gripper
        return RobotView(
            joints=JointLayout(tuple(self.joints), hand.joint, hand.closed, hand.open),
            urdf=_find_urdf(self.urdf, path, descriptions).read_text(encoding="utf-8"),
            tip=self.tip,
            joint_states_topic=self.topics.joint_states,
            camera_topics=dict(self.cameras or {}),
            joint_range=self._range(),
        )

    def _range(self) -> JointRange | None:
        if self.limits is None:
            return None
        lower, upper = self.limits.position_lower_rad, self.limits.position_upper_rad
        if not len(lower) == len(upper) == len(self.joints):
            raise SchemaError(
                f"has {len(lower)} lower and {len(upper)} upper position limits of {len(self.joints)} joints"
            )
        return JointRange((*self.joints, self.gripper.joint), np.array(lower), np.array(upper))


def load_robot_view(path: Path, descriptions: Path | None = None) -> RobotView:
    """Read the keys of a robot file that the policy side uses.

    Args:
        path: The YAML file; its `urdf` is relative to the file itself, else to `descriptions`, or absolute.
        descriptions: Folder of the shipped URDFs; by default the one of the package that the file lies in.

    Raises:
        RobotFileError: A file or a key is missing, or has the wrong shape.
    """
    with reading(path, RobotFileError):
        content = parsed(_File, yaml.safe_load(text_of(path)))
        return content.view(path, descriptions or path.resolve().parents[2] / "description")


def _find_urdf(name: str, path: Path, descriptions: Path) -> Path:
    for folder in (path.parent, descriptions):
        if (folder / name).is_file():
            return folder / name
    raise RobotFileError(f"{path}: urdf {name!r} is neither in {path.parent} nor in {descriptions}")
