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
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import Field, model_validator

from whetstone_common.core.contract import CARTESIAN_ACTIONS, Contract
from whetstone_common.core.foreign import (
    CameraTopics,
    Name,
    Positive,
    SchemaError,
    StrictModel,
    Topic,
    parsed,
    reading,
    text_of,
)
from whetstone_common.core.joint_layout import JointLayout
from whetstone_common.core.joint_range import JointRange
from whetstone_common.core.namespace import with_namespace

Array = npt.NDArray[np.float64]
Point = Annotated[list[float], Field(min_length=3, max_length=3)]
# Two turns (rad): more is a limit in degrees, or none.
Angle = Annotated[float, Field(ge=-12.57, le=12.57)]

_NEVER_REFUSED_RAD = 1e6
_PER_JOINT = {"position_lower_rad", "position_upper_rad", "velocity_rad_s", "acceleration_rad_s2", "step_rad"}


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
class MotionLimits:
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
        tcp_velocity_m_s: Fastest TCP target of an operator.
        tcp_rotation_rad_s: Fastest turn of the TCP target of an operator.
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

    def for_human(self) -> MotionLimits:
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
        urdf: Absolute path, or file name in robot_bringup's description folder.
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
    limits: MotionLimits
    cameras: Mapping[str, str] = field(default_factory=dict)

    def in_namespace(self, namespace: str) -> Robot:
        """The robot with absolute topics: relative ones of its file lie in the namespace."""
        return replace(
            self,
            joint_states_topic=with_namespace(self.joint_states_topic, namespace),
            command_topic=with_namespace(self.command_topic, namespace),
            gripper=replace(self.gripper, topic=with_namespace(self.gripper.topic, namespace)),
            cameras={name: with_namespace(topic, namespace) for name, topic in self.cameras.items()},
        )

    @property
    def contract_joints(self) -> tuple[str, ...]:
        """Joint names as a policy's contract lists them."""
        return (*self.joints, self.gripper.joint)

    @property
    def has_gripper(self) -> bool:
        """Whether there is a gripper."""
        return self.gripper.output is not GripperOutput.NONE

    @property
    def joint_layout(self) -> JointLayout:
        """Names of the joints and travel of the gripper."""
        return JointLayout(self.joints, self.gripper.joint, self.gripper.closed, self.gripper.open, self.has_gripper)

    @property
    def joint_range(self) -> JointRange:
        """Which values joints and gripper can have."""
        return JointRange(self.contract_joints, self.limits.lower, self.limits.upper)

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


class _Topics(StrictModel):
    joint_states: Topic
    command: Topic


class _Gripper(StrictModel):
    joint: Name
    closed: float
    open: float
    output: Literal["with_arm", "own_topic", "none"]
    topic: str = ""

    @model_validator(mode="after")
    def _check(self) -> _Gripper:
        if self.closed == self.open:
            raise ValueError(f"closed and open are the same position, {self.open:g}")
        if self.output == "own_topic" and not self.topic:
            raise ValueError("output own_topic needs a topic")
        return self

    def built(self) -> Gripper:
        return Gripper(self.joint, self.closed, self.open, GripperOutput(self.output), self.topic)


class _Limits(StrictModel):
    position_lower_rad: list[Angle]
    position_upper_rad: list[Angle]
    velocity_rad_s: list[Positive]
    acceleration_rad_s2: list[Positive]
    step_rad: list[Positive]
    excess_rad: Positive
    workspace_lower_m: Point
    workspace_upper_m: Point
    reach_m: Positive
    tcp_velocity_m_s: Positive
    tcp_rotation_rad_s: Positive
    gripper_rate_per_s: Positive
    tracking_rad: Positive

    @model_validator(mode="after")
    def _check(self) -> _Limits:
        for name, unit in (("position", "rad"), ("workspace", "m")):
            keys = f"{name}_lower_{unit}", f"{name}_upper_{unit}"
            pairs = zip(*(getattr(self, key) for key in keys), strict=False)
            for number, (lower, upper) in enumerate(pairs, 1):
                if not lower < upper:
                    raise ValueError(f"{keys[0]} is {lower:g} at place {number}, not below {keys[1]}, {upper:g}")
        return self

    def built(self) -> MotionLimits:
        return MotionLimits(
            lower=np.array(self.position_lower_rad),
            upper=np.array(self.position_upper_rad),
            velocity=np.array(self.velocity_rad_s),
            acceleration=np.array(self.acceleration_rad_s2),
            step=np.array(self.step_rad),
            excess_rad=self.excess_rad,
            box_lower=np.array(self.workspace_lower_m),
            box_upper=np.array(self.workspace_upper_m),
            reach_m=self.reach_m,
            tcp_velocity_m_s=self.tcp_velocity_m_s,
            tcp_rotation_rad_s=self.tcp_rotation_rad_s,
            gripper_rate_per_s=self.gripper_rate_per_s,
            tracking_rad=self.tracking_rad,
        )


class _RobotFile(StrictModel):
    name: Name
    urdf: Name
    tip: Name
    joints: Annotated[list[Name], Field(min_length=1)]
    home_rad: list[float]
    topics: _Topics
    output: Literal["joint_trajectory", "forward_command"]
    time_from_start_s: Positive
    gripper: _Gripper
    limits: _Limits
    cameras: CameraTopics | None = None

    @model_validator(mode="after")
    def _check(self) -> _RobotFile:
        names = [*self.joints, self.gripper.joint]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"joint {repeated[0]} is named twice: arm joints and gripper need distinct names")
        vectors = {f"limits.{name}": value for name, value in self.limits if name in _PER_JOINT}
        for key, values in ({"home_rad": self.home_rad} | vectors).items():
            if len(values) != len(self.joints):
                raise ValueError(f"{key}: {len(values)} values, expected one for each of {len(self.joints)} joints")
        bounds = zip(self.limits.position_lower_rad, self.home_rad, self.limits.position_upper_rad, strict=True)
        for joint, (lower, home, upper) in zip(self.joints, bounds, strict=True):
            if not lower <= home <= upper:
                raise ValueError(f"home_rad of {joint} is {home:g}, outside its position limits {lower:g} to {upper:g}")
        return self

    def built(self) -> Robot:
        return Robot(
            name=self.name,
            urdf=self.urdf,
            tip=self.tip,
            joints=tuple(self.joints),
            home=np.array(self.home_rad),
            joint_states_topic=self.topics.joint_states,
            command_topic=self.topics.command,
            output=Output(self.output),
            time_from_start_s=self.time_from_start_s,
            gripper=self.gripper.built(),
            limits=self.limits.built(),
            cameras=dict(self.cameras or {}),
        )


def load_robot(path: Path) -> Robot:
    """Read a robot file; a URDF that lies beside it, at the path that it gives, wins over a shipped one.

    Raises:
        RobotError: A key is missing, unknown, or its value makes no sense; the text names file and key.
    """
    with reading(path, RobotError, "robot file"):
        robot = parsed(_RobotFile, yaml.safe_load(text_of(path))).built()
    beside = path.parent.absolute() / robot.urdf
    return replace(robot, urdf=str(beside)) if beside.is_file() else robot


def parse_robot(content: Any) -> Robot:
    """Build a robot from the content of its file.

    Raises:
        RobotError: A key is missing, unknown, or its value makes no sense.
    """
    try:
        return parsed(_RobotFile, content).built()
    except SchemaError as error:
        raise RobotError(str(error)) from error
