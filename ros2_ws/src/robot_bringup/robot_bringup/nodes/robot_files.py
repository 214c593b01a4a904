# SPDX-License-Identifier: Apache-2.0
"""Where robot files and URDFs are found."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory

from robot_bringup.core.robot import Robot, RobotError, load_robot
from whetstone_common.core.kinematics import Kinematics


def find_robot(name: str) -> Robot:
    """Robot of a file: a name in this package's config/robots, or an absolute path.

    Raises:
        RobotError: There is no such file, or it cannot be accepted.
    """
    path = Path(name)
    if path.is_absolute():
        return _with_urdf(load_robot(path), path)
    folder = Path(get_package_share_directory("robot_bringup")) / "config" / "robots"
    known = sorted(file.stem for file in folder.glob("*.yaml"))
    if name not in known:
        raise RobotError(f"no robot {name!r}; there are {', '.join(known)}, or give an absolute path")
    path = folder / f"{name}.yaml"
    return _with_urdf(load_robot(path), path)


def _with_urdf(robot: Robot, path: Path) -> Robot:
    if not urdf_of(robot).is_file():
        raise RobotError(f"robot file {path}: urdf {robot.urdf!r} is neither beside it nor among the shipped ones")
    return robot


def urdf_of(robot: Robot) -> Path:
    """Where a robot's URDF is, or should be."""
    path = Path(robot.urdf)
    return path if path.is_absolute() else Path(get_package_share_directory("robot_bringup")) / "description" / path


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
