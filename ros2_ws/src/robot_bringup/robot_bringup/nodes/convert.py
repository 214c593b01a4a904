# SPDX-License-Identifier: Apache-2.0
"""Between the arm's messages and its plain data."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Duration
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
from vla_interfaces.msg import ActionChunk, Executed, Request
from vla_interfaces.msg import Takeover as TakeoverMsg

from robot_bringup.core.chunk import CARTESIAN, JOINT, Chunk
from robot_bringup.core.outputs import ArmCommand, ExecutedOut, RequestOut
from robot_bringup.core.safety import Motion
from robot_bringup.core.takeover import TakeoverMode, TakeoverSample
from whetstone_common.core.reason import Reason, ReasonedError
from whetstone_common.core.robot import GripperOutput, Robot
from whetstone_common.nodes.convert import float32_field, floats, from_stamp, to_ns, to_stages, to_stamp, to_time

_SPACES = {ActionChunk.CARTESIAN: CARTESIAN, ActionChunk.JOINT: JOINT}
_NS_PER_S = 1_000_000_000


def to_chunk(msg: ActionChunk) -> Chunk:
    """Chunk of a message; one whose sizes contradict each other has no actions and so fits no contract."""
    shape = (int(msg.horizon), int(msg.action_dim))
    fits = len(msg.actions) == shape[0] * shape[1]
    flat = np.asarray(msg.actions, dtype=np.float64)
    return Chunk(
        stamp=to_stamp(msg.stamp),
        source=msg.source,
        source_epoch=msg.source_epoch,
        contract_hash=msg.contract_hash,
        space=_SPACES.get(msg.space, f"unknown ({msg.space})"),
        action_names=tuple(msg.action_names),
        reference=np.asarray(msg.reference, dtype=np.float64),
        dt_s=msg.dt_s,
        actions=flat.reshape(shape) if fits else np.empty((0, 0)),
        execute_steps=int(msg.execute_steps),
        valid_for_s=msg.valid_for_s,
        stages_s=to_stages(msg.times),
    )


def to_takeover(msg: TakeoverMsg) -> TakeoverSample:
    """Takeover sample of a message.

    Raises:
        ReasonedError: The mode is unknown.
    """
    try:
        # A release is a release, whatever else the message says.
        drive = TakeoverMode(msg.mode) if msg.engaged else TakeoverMode.VELOCITY
    except ValueError as error:
        known = ", ".join(f"{each.value} ({each.name})" for each in TakeoverMode)
        text = f"takeover from {msg.source}: mode is {msg.mode}, expected one of {known}"
        raise ReasonedError(Reason.BAD_MESSAGE, text) from error
    return TakeoverSample(
        source=msg.source,
        source_epoch=msg.source_epoch,
        sequence=msg.sequence,
        engaged=msg.engaged,
        drive=drive,
        twist=np.asarray(msg.twist, dtype=np.float64),
        tcp_target=np.asarray(msg.tcp_target, dtype=np.float64),
        opening=msg.gripper,
        time_ns=to_ns(msg.time),
    )


def from_request(request: RequestOut) -> Request:
    """Message of a request."""
    return Request(
        stamp=from_stamp(request.stamp),
        kind=int(request.kind),
        not_before=to_time(request.not_before_ns),
        deadline_s=request.deadline_s,
        delay_steps=request.delay_steps,
        committed_steps=request.committed.shape[0],
        committed=float32_field(request.committed),
        committed_reference=floats(request.committed_reference),
        seed=request.seed,
        episode_step=request.episode_step,
        n_candidates=request.n_candidates,
        edit_scale=request.edit_scale,
    )


def from_executed(done: ExecutedOut) -> Executed:
    """Message of an executed step."""
    return Executed(
        stamp=from_stamp(done.stamp),
        step=done.step,
        episode_step=done.episode_step,
        time=to_time(done.time_ns),
        actor=int(done.actor),
        limited=done.limited,
        joint_command=floats(done.joint_command),
        joint_positions=floats(done.joint_positions),
        action=float32_field(done.action),
        tcp_target=floats(done.tcp_target),
    )


def controller_positions(robot: Robot, motion: Motion) -> list[float]:
    """What the arm's controller is sent: the joints, and the gripper when it is one of them."""
    positions: list[float] = motion.position.tolist()
    if robot.gripper.output is GripperOutput.WITH_ARM:
        positions.append(robot.gripper.to_position(motion.opening))
    return positions


def trajectory(robot: Robot, command: ArmCommand) -> JointTrajectory:
    """A trajectory of one point; its header carries the tick that it answers (lockstep), else "now"."""
    with_gripper = robot.gripper.output is GripperOutput.WITH_ARM
    ahead_ns = round(robot.time_from_start_s * _NS_PER_S)
    point = JointTrajectoryPoint(
        positions=controller_positions(robot, command.motion),
        time_from_start=Duration(sec=ahead_ns // _NS_PER_S, nanosec=ahead_ns % _NS_PER_S),
    )
    msg = JointTrajectory(joint_names=list(robot.contract_joints if with_gripper else robot.joints), points=[point])
    msg.header.stamp = to_time(command.tick_ns)
    return msg


def forward(robot: Robot, command: ArmCommand) -> Float64MultiArray:
    """Command of a forward controller."""
    return Float64MultiArray(data=controller_positions(robot, command.motion))


def gripper(robot: Robot, command: ArmCommand) -> Float64MultiArray:
    """Command of a gripper that has its own topic."""
    return Float64MultiArray(data=[robot.gripper.to_position(command.motion.opening)])
