# SPDX-License-Identifier: Apache-2.0
"""Conversion between messages and core types."""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt
from geometry_msgs.msg import Point, PoseStamped, Quaternion
from geometry_msgs.msg import Pose as PoseMessage
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState
from std_msgs.msg import Float64MultiArray, Header
from trajectory_msgs.msg import JointTrajectory
from vla_interfaces.msg import Takeover, TaskTruth

from sim_bridge.core.arm import ArmModel
from sim_bridge.core.cameras import CameraCalibration
from sim_bridge.core.commands import Trajectory, parse_array, parse_opening, parse_trajectory
from sim_bridge.core.expert import ExpertTarget
from sim_bridge.core.session import GroundTruth, Joints
from whetstone_common.nodes.convert import bytes_field, to_time

# Parents of the cameras' poses: the robot file's `tip`, and what its poses are in.
TCP_FRAME, BASE_FRAME = "tcp", "base"


def trajectory_of(msg: JointTrajectory, arm: ArmModel) -> Trajectory:
    """Trajectory of a JointTrajectory.

    Raises:
        CommandRefused: If it is invalid.
    """
    points = [(p.time_from_start.sec + p.time_from_start.nanosec * 1e-9, p.positions) for p in msg.points]
    return parse_trajectory(arm.ros_joints, arm.ros_gripper_joint, msg.joint_names, points)


def forward_of(msg: Float64MultiArray, arm: ArmModel) -> Trajectory:
    """Trajectory of a forward command.

    Raises:
        CommandRefused: If it is invalid.
    """
    return parse_array(len(arm.joints), msg.data)


def opening_of(msg: Float64MultiArray) -> float:
    """Opening of a gripper command.

    Raises:
        CommandRefused: If it is invalid.
    """
    return parse_opening(msg.data)


def joint_state(joints: Joints, stamp_ns: int, arm: ArmModel) -> JointState:
    """Message of joint positions, the gripper last; its position is the opening, 1 open, 0 closed."""
    return JointState(
        header=Header(stamp=to_time(stamp_ns)),
        name=[*arm.ros_joints, arm.ros_gripper_joint],
        position=[*joints.positions.tolist(), joints.opening],
        velocity=[*joints.velocities.tolist(), 0.0],
    )


def image(pixels: npt.NDArray[np.uint8], camera: str, stamp_ns: int) -> Image:
    """Message of an (H, W, 3) RGB image."""
    height, width, channels = pixels.shape
    return Image(
        header=Header(stamp=to_time(stamp_ns), frame_id=optical_frame(camera)),
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=width * channels,
        data=bytes_field(pixels),
    )


def jpeg(data: bytes, camera: str, stamp_ns: int) -> CompressedImage:
    """Message of a picture that is encoded already."""
    header = Header(stamp=to_time(stamp_ns), frame_id=optical_frame(camera))
    return CompressedImage(header=header, format="jpeg", data=array("B", data))


def camera_info(camera: str, stamp_ns: int, size_px: int, focal_px: float) -> CameraInfo:
    """Message of a square pinhole camera without distortion."""
    centre = size_px / 2
    return CameraInfo(
        header=Header(stamp=to_time(stamp_ns), frame_id=optical_frame(camera)),
        height=size_px,
        width=size_px,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[focal_px, 0.0, centre, 0.0, focal_px, centre, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[focal_px, 0.0, centre, 0.0, 0.0, focal_px, centre, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def camera_pose(calibration: CameraCalibration, stamp_ns: int) -> PoseStamped:
    """Message of where a camera's optical frame is."""
    x, y, z = calibration.pose.position.tolist()
    qx, qy, qz, qw = calibration.pose.quaternion_xyzw().tolist()
    return PoseStamped(
        header=Header(stamp=to_time(stamp_ns), frame_id=TCP_FRAME if calibration.is_at_hand else BASE_FRAME),
        pose=PoseMessage(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw)),
    )


def optical_frame(camera: str) -> str:
    """Frame id of a camera's images."""
    return f"{camera}_camera_optical_frame"


def clock(stamp_ns: int) -> Clock:
    """Message of simulated time."""
    return Clock(clock=to_time(stamp_ns))


def task_truth(ground_truth: GroundTruth, stamp_ns: int) -> TaskTruth:
    """Message of the ground truth."""
    truth = ground_truth.truth
    return TaskTruth(
        stamp=to_time(stamp_ns),
        seed=ground_truth.seed,
        reset_id=ground_truth.reset_id,
        tick=ground_truth.tick,
        task=truth.task,
        instruction=truth.true_instruction,
        success=bool(truth.success),
        progress=truth.progress,
        object_position=truth.object_position,
        goal_position=truth.goal_position,
    )


def expert_takeover(aim: ExpertTarget, stamp_ns: int, source: tuple[str, int], sequence: int) -> Takeover:
    """Message of the scripted expert's command, as a takeover by TCP target.

    Args:
        aim: Command of the expert.
        stamp_ns: Of the tick it answers.
        source: Name and epoch of the publishing node.
        sequence: Number of the message.
    """
    return Takeover(
        source=source[0],
        source_epoch=source[1],
        sequence=sequence,
        engaged=True,
        mode=Takeover.TCP_TARGET,
        tcp_target=[*aim.pose.position.tolist(), *aim.pose.quaternion_xyzw().tolist()],
        gripper=aim.opening,
        time=to_time(stamp_ns),
    )
