# SPDX-License-Identifier: Apache-2.0
"""What differs between robots, read from one YAML file.

Every limit must be there, by name and with its unit in the name: a robot file without one is refused.

Legend: n arm joints; positions in rad (gripper: opening, 0 closed to 1 open).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from whetstone_common.core.contract import CARTESIAN_ACTIONS, Contract

Array = npt.NDArray[np.float64]

_KEYS = {
    "name", "urdf", "tip", "joints", "home_rad", "topics", "output", "time_from_start_s", "gripper", "limits",
    "cameras",
}  # fmt: skip
_OPTIONAL = {"cameras"}
_NEVER_REFUSED_RAD = 1e6
_LIMIT_KEYS = {
    "position_lower_rad", "position_upper_rad", "velocity_rad_s", "acceleration_rad_s2", "step_rad", "excess_rad",
    "workspace_lower_m", "workspace_upper_m", "reach_m", "tcp_velocity_m_s", "tcp_rotation_rad_s",
    "gripper_rate_per_s", "tracking_rad",
}  # fmt: skip


class RobotError(ValueError):
    """A robot file that cannot be accepted; the text names the key."""


class Output(Enum):
    """Kind of the controller's command topic."""

    JOINT_TRAJECTORY = "joint_trajectory"
    FORWARD_COMMAND = "forward_command"


class GripperOutput(Enum):
    """Where the gripper's command goes."""

    WITH_ARM = "with_arm"  # one more joint of the arm's command
    OWN_TOPIC = "own_topic"  # std_msgs/Float64MultiArray with one element
    NONE = "none"  # no gripper


@dataclass(frozen=True, eq=False)
class Limits:
    """Bounds of everything that is sent. All are required; protection cannot be left out by forgetting a line.

    Attributes:
        lower: (n,) lowest joint positions (rad).
        upper: (n,) highest joint positions (rad).
        velocity: (n,) rad/s.
        acceleration: (n,) rad/s^2.
        step: (n,) largest change between two commands (rad).
        excess_rad: A wish further than this from what the limits allow is refused; less is clamped.
        box_lower: (3,) lower corner of the TCP's workspace, base frame (m).
        box_upper: (3,) upper corner (m).
        reach_m: No point of the TCP is ever further than this from any joint's axis.
        tcp_velocity_m_s: Fastest TCP target of a person.
        tcp_rotation_rad_s: Fastest turn of the TCP target of a person.
        gripper_rate_per_s: Fastest change of the opening.
        tracking_rad: Measured and commanded joints closer than this count as tracking well.
    """

    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array
    step: Array
    excess_rad: float
    box_lower: Array
    box_upper: Array
    reach_m: float
    tcp_velocity_m_s: float
    tcp_rotation_rad_s: float
    gripper_rate_per_s: float
    tracking_rad: float

    def __post_init__(self) -> None:
        """Refuse what does not bound anything.

        Raises:
            RobotError: A bound is not finite, not positive, or lower and upper are swapped.
        """
        for name, value in vars(self).items():
            if not np.isfinite(value).all():
                raise RobotError(f"limits: {name} = {value} must be finite")
            signed = name in {"lower", "upper", "box_lower", "box_upper"}
            if not signed and not (np.asarray(value) > 0.0).all():
                raise RobotError(f"limits: {name} = {value} must be positive")
        if not ((self.lower < self.upper).all() and (self.box_lower < self.box_upper).all()):
            raise RobotError("limits: a lower bound is not below its upper bound")

    def for_a_person(self) -> Limits:
        """The same, but nothing is refused: the way to a far target is as safe as the way to a near one."""
        return replace(self, excess_rad=_NEVER_REFUSED_RAD)


@dataclass(frozen=True)
class Gripper:
    """How an opening of 0..1 maps to the gripper's joint.

    Attributes:
        joint: Joint name in joint states and contract.
        closed: Joint position when closed.
        open: Joint position when open.
        output: Where the command goes.
        topic: Command topic of GripperOutput.OWN_TOPIC.
    """

    joint: str
    closed: float
    open: float
    output: GripperOutput
    topic: str = ""

    def to_opening(self, position: float) -> float:
        """Opening of a joint position; may lie a little outside 0..1, as measured."""
        return (position - self.closed) / (self.open - self.closed)

    def to_position(self, opening: float) -> float:
        """Joint position of an opening."""
        return self.closed + opening * (self.open - self.closed)


@dataclass(frozen=True, eq=False)
class Robot:
    """One robot.

    Attributes:
        name: Its name.
        urdf: Absolute path, or file name in this package's description folder.
        tip: Link of the URDF that is the TCP.
        joints: Arm joint names in the order of the command.
        home: (n,) posture that spare joints keep to (rad).
        joint_states_topic: Of sensor_msgs/JointState.
        command_topic: Of the controller.
        output: Kind of the command topic.
        time_from_start_s: How far ahead a trajectory point lies.
        gripper: The gripper.
        limits: Bounds of everything that is sent.
        cameras: Image topic by camera name.
    """

    name: str
    urdf: str
    tip: str
    joints: tuple[str, ...]
    home: Array
    joint_states_topic: str
    command_topic: str
    output: Output
    time_from_start_s: float
    gripper: Gripper
    limits: Limits
    cameras: Mapping[str, str] = field(default_factory=dict)

    @property
    def contract_joints(self) -> tuple[str, ...]:
        """Joint names as a policy's contract lists them."""
        return (*self.joints, self.gripper.joint)

    def contract_problems(self, contract: Contract) -> list[str]:
        """Why a policy does not fit this robot, one line per field; empty when it does."""
        problems = []
        if contract.joint_names != self.contract_joints:
            problems.append(f"joint_names: {list(contract.joint_names)}, {self.name} has {list(self.contract_joints)}")
        if contract.action_space == "cartesian" and contract.action_names != CARTESIAN_ACTIONS:
            problems.append(f"action_names: {list(contract.action_names)}, expected {list(CARTESIAN_ACTIONS)}")
        if contract.action_space == "joint" and contract.action_dim != len(self.joints) + 1:
            problems.append(f"action_names: {contract.action_dim} of them, {self.name} needs {len(self.joints) + 1}")
        return problems


def load_robot(path: Path) -> Robot:
    """Read a robot file; a URDF that lies beside it, at the path that it gives, wins over a shipped one.

    Raises:
        RobotError: A key is missing, unknown, or its value makes no sense.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise RobotError(f"robot file {path}: {error}") from error
    try:
        robot = parse_robot(raw)
    except (RobotError, ValueError, TypeError, KeyError) as error:
        raise RobotError(f"robot file {path}: {error}") from error
    beside = path.parent.absolute() / robot.urdf
    return replace(robot, urdf=str(beside)) if beside.is_file() else robot


def parse_robot(raw: Any) -> Robot:
    """Build a robot from the content of its file.

    Raises:
        RobotError: A key is missing, unknown, or its value makes no sense.
    """
    entries = _section(raw, "robot file", _KEYS, _OPTIONAL)
    joints = tuple(str(name) for name in entries["joints"])
    topics = _section(entries["topics"], "topics", {"joint_states", "command"})
    robot = Robot(
        name=str(entries["name"]),
        urdf=str(entries["urdf"]),
        tip=str(entries["tip"]),
        joints=joints,
        home=_vector(entries["home_rad"], "home_rad", len(joints)),
        joint_states_topic=str(topics["joint_states"]),
        command_topic=str(topics["command"]),
        output=Output(entries["output"]),
        time_from_start_s=_number(entries["time_from_start_s"], "time_from_start_s"),
        gripper=_gripper(entries["gripper"]),
        limits=_limits(entries["limits"], len(joints)),
        cameras={str(k): str(v) for k, v in (entries.get("cameras") or {}).items()},
    )
    if not ((robot.limits.lower <= robot.home) & (robot.home <= robot.limits.upper)).all():
        raise RobotError("home_rad lies outside the position limits")
    if not robot.time_from_start_s > 0.0:
        raise RobotError("time_from_start_s must be positive")
    return robot


def _section(raw: Any, where: str, keys: set[str], optional: set[str] | None = None) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise RobotError(f"{where}: expected a table")
    missing, unknown = keys - (optional or set()) - set(raw), set(raw) - keys
    if missing or unknown:
        raise RobotError(f"{where}: missing {sorted(missing)}, unknown {sorted(map(str, unknown))}")
    return raw


def _gripper(raw: Any) -> Gripper:
    entries = _section(raw, "gripper", {"joint", "closed", "open", "output", "topic"}, {"topic"})
    gripper = Gripper(
        joint=str(entries["joint"]),
        closed=_number(entries["closed"], "gripper.closed"),
        open=_number(entries["open"], "gripper.open"),
        output=GripperOutput(entries["output"]),
        topic=str(entries.get("topic", "")),
    )
    if gripper.closed == gripper.open:
        raise RobotError("gripper: closed and open are the same position")
    if gripper.output is GripperOutput.OWN_TOPIC and not gripper.topic:
        raise RobotError("gripper: output own_topic needs a topic")
    return gripper


def _limits(raw: Any, n: int) -> Limits:
    entries = _section(raw, "limits", _LIMIT_KEYS)

    def joints(key: str) -> Array:
        return _vector(entries[key], f"limits.{key}", n)

    def point(key: str) -> Array:
        return _vector(entries[key], f"limits.{key}", 3)

    def number(key: str) -> float:
        return _number(entries[key], f"limits.{key}")

    return Limits(
        lower=joints("position_lower_rad"),
        upper=joints("position_upper_rad"),
        velocity=joints("velocity_rad_s"),
        acceleration=joints("acceleration_rad_s2"),
        step=joints("step_rad"),
        excess_rad=number("excess_rad"),
        box_lower=point("workspace_lower_m"),
        box_upper=point("workspace_upper_m"),
        reach_m=number("reach_m"),
        tcp_velocity_m_s=number("tcp_velocity_m_s"),
        tcp_rotation_rad_s=number("tcp_rotation_rad_s"),
        gripper_rate_per_s=number("gripper_rate_per_s"),
        tracking_rad=number("tracking_rad"),
    )


def _vector(raw: Any, where: str, size: int) -> Array:
    values = np.array([_number(value, where) for value in raw], dtype=np.float64)
    if values.shape != (size,):
        raise RobotError(f"{where}: {values.size} values, expected {size}")
    return values


def _number(raw: Any, where: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not np.isfinite(raw):
        raise RobotError(f"{where}: {raw!r} is not a finite number")
    return float(raw)
