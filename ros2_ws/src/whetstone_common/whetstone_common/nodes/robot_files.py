# SPDX-License-Identifier: Apache-2.0
"""Where robot files and URDFs are found: one way for every node, the launch runner and the command line."""

from __future__ import annotations

from pathlib import Path

from whetstone_common.core.kinematics import Kinematics
from whetstone_common.core.reason import Reason, ReasonedError
from whetstone_common.core.robot import Robot, RobotError, load_robot
from whetstone_common.nodes.resources import find

_SHIPPED, _URDFS = "package://robot_bringup/config/robots", "package://robot_bringup/description"


def find_robot(name: str) -> Robot:
    """Robot of a file.

    Args:
        name: A stem of robot_bringup's config/robots, or a path: absolute, relative to the working directory, from
            `~`, or `package://<package>/<path below its share>`.

    Raises:
        RobotError: There is no such file, it cannot be accepted, or its URDF is missing.
    """
    path = _path_of(name)
    robot = load_robot(path)
    if not urdf_of(robot).is_file():
        raise RobotError(f"robot file {path}: urdf {robot.urdf!r} is neither beside it nor among the shipped ones")
    return robot


def robot_of_parameter(name: str) -> Robot:
    """Robot that the parameter `robot_file` names, as `find_robot`.

    Raises:
        ReasonedError: It cannot be used.
    """
    try:
        return find_robot(name)
    except RobotError as error:
        raise ReasonedError(Reason.BAD_PARAMETER, f"robot_file = {name!r}: {error}") from error


def urdf_of(robot: Robot) -> Path:
    """Where a robot's URDF is, or should be."""
    path = Path(robot.urdf)
    return path if path.is_absolute() else _found(f"{_URDFS}/{path}")


def find_kinematics(robot: Robot) -> Kinematics:
    """Kinematics of a robot's arm.

    Raises:
        RobotError: There is no such URDF, or it lacks the tip or a joint.
    """
    path = urdf_of(robot)
    try:
        return Kinematics.from_urdf(path.read_text(encoding="utf-8"), robot.tip, robot.joints)
    except (OSError, ValueError) as error:
        raise RobotError(f"{robot.name}: URDF {path}: {error}") from error


def _path_of(name: str) -> Path:
    if "/" in name or name.endswith((".yaml", ".yml")):
        return _found(name).absolute()
    folder = _found(_SHIPPED)
    known = sorted(file.stem for file in folder.glob("*.yaml"))
    if name not in known:
        raise RobotError(f"no robot {name!r}; there are {', '.join(known)}, or give the path of a robot file")
    return folder / f"{name}.yaml"


def _found(name: str) -> Path:
    try:
        return find(name)
    except ReasonedError as error:
        raise RobotError(error.detail) from error
