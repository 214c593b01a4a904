# SPDX-License-Identifier: Apache-2.0
"""What the policy side needs to know of a robot file; the rest of the file belongs to the arm's side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vla_policy.core.joints import JointLayout


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
    """

    joints: JointLayout
    urdf: str
    tip: str
    joint_states_topic: str
    camera_topics: Mapping[str, str]


def load_robot_view(path: Path, descriptions: Path | None = None) -> RobotView:
    """Read the keys of a robot file that the policy side uses.

    Args:
        path: The YAML file; its `urdf` is relative to the file itself, else to `descriptions`, or absolute.
        descriptions: Folder of the shipped URDFs; by default the one of the package that the file lies in.

    Raises:
        RobotFileError: A file or a key is missing, or has the wrong shape.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return _view(content, path, descriptions or path.resolve().parents[2] / "description")
    except OSError as error:
        raise RobotFileError(f"{path}: {error}") from error
    except (KeyError, TypeError, AttributeError, yaml.YAMLError, ValueError) as error:
        raise RobotFileError(f"{path}: {type(error).__name__}: {error}") from error


def _view(content: Mapping[str, Any], path: Path, descriptions: Path) -> RobotView:
    gripper = content["gripper"]
    layout = JointLayout(
        arm=tuple(content["joints"]),
        gripper=str(gripper["joint"]),
        gripper_closed=float(gripper["closed"]),
        gripper_open=float(gripper["open"]),
    )
    return RobotView(
        joints=layout,
        urdf=_find_urdf(str(content["urdf"]), path, descriptions).read_text(encoding="utf-8"),
        tip=str(content["tip"]),
        joint_states_topic=str(content["topics"]["joint_states"]),
        camera_topics={str(name): str(topic) for name, topic in content["cameras"].items()},
    )


def _find_urdf(name: str, path: Path, descriptions: Path) -> Path:
    for folder in (path.parent, descriptions):
        if (folder / name).is_file():
            return folder / name
    raise RobotFileError(f"{path}: urdf {name!r} is neither in {path.parent} nor in {descriptions}")
