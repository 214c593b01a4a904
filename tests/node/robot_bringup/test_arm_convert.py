# SPDX-License-Identifier: Apache-2.0
"""What is sent to the controllers of each shipped robot, and what a message becomes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from ament_index_python.packages import get_package_share_directory
from sensor_msgs.msg import JointState
from vla_interfaces.msg import ActionChunk, Executed, Request, Takeover

from fakes.arm_world import ArmWorld
from robot_bringup.core.outputs import ArmCommand
from robot_bringup.core.safety import Motion
from robot_bringup.nodes import convert
from whetstone_common.core.enums import Actor, RequestKind
from whetstone_common.core.reason import ReasonedError
from whetstone_common.core.robot import GripperOutput, Output, Robot
from whetstone_common.core.robot_joints import RobotJoints
from whetstone_common.core.stamp import Stamp
from whetstone_common.nodes.convert import to_joint_message
from whetstone_common.nodes.robot_files import find_kinematics, find_robot, urdf_of

ROBOTS = ["sim_panda", "franka_fr3", "ur5e", "so101"]


def command(robot: Robot, opening: float = 0.25, tick_ns: int = 0) -> ArmCommand:
    motion = Motion(robot.home, np.zeros_like(robot.home), opening)
    return ArmCommand(motion, Actor.POLICY, Stamp(1, 1, 1), 0, tick_ns)


@pytest.mark.parametrize("name", ROBOTS)
def test_when_a_command_is_sent_expect_what_the_robots_controller_reads(name):
    robot = find_robot(name)
    assert find_kinematics(robot).joint_names == robot.joints
    sizes = len(robot.joints) + (robot.gripper.output is GripperOutput.WITH_ARM)
    if robot.output is Output.FORWARD_COMMAND:
        assert len(convert.forward(robot, command(robot)).data) == sizes
    else:
        msg = convert.trajectory(robot, command(robot, tick_ns=1_500_000_000))
        assert len(msg.points) == 1
        assert len(msg.joint_names) == len(msg.points[0].positions) == sizes
        assert (msg.header.stamp.sec, msg.header.stamp.nanosec) == (1, 500_000_000)
        ahead = msg.points[0].time_from_start
        assert ahead.sec + ahead.nanosec / 1e9 == pytest.approx(robot.time_from_start_s)
    lo, hi = sorted((robot.gripper.closed, robot.gripper.open))
    assert lo <= convert.gripper(robot, command(robot)).data[0] <= hi


@pytest.mark.parametrize("urdf", ["description/my_panda.urdf", "panda.urdf"])
def test_when_a_robot_file_lies_elsewhere_expect_its_own_urdf_or_else_the_shipped_one(tmp_path: Path, urdf: str):
    share = Path(get_package_share_directory("robot_bringup"))
    (tmp_path / "description").mkdir()
    shutil.copy(share / "description" / "panda.urdf", tmp_path / "description" / "my_panda.urdf")
    file = tmp_path / "mine.yaml"
    text = (share / "config" / "robots" / "sim_panda.yaml").read_text(encoding="utf-8")
    file.write_text(text.replace("urdf: panda.urdf", f"urdf: {urdf}"), encoding="utf-8")
    robot = find_robot(str(file))
    assert find_kinematics(robot).joint_names == robot.joints
    assert (tmp_path / "description" in Path(robot.urdf).parents) == (urdf != "panda.urdf")
    assert urdf_of(robot).read_text(encoding="utf-8") == (share / "description" / "panda.urdf").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("name", ROBOTS)
def test_when_joint_states_come_back_as_sent_expect_the_same_joints_and_opening(name):
    robot = find_robot(name)
    position = robot.gripper.to_position(0.25)
    msg = JointState(name=[robot.gripper.joint, *robot.joints], position=[position, *robot.home.tolist()])
    sample = RobotJoints(robot).update(to_joint_message(msg), 0.0)
    np.testing.assert_array_equal(sample.positions, robot.home)
    assert sample.opening == pytest.approx(0.25)


def test_when_sizes_of_a_chunk_contradict_each_other_expect_no_actions_and_no_exception():
    chunk = convert.to_chunk(ActionChunk(horizon=2**31, action_dim=2**31, actions=[1.0], space=77))
    assert chunk.actions.shape == (0, 0) and "77" in chunk.space


def test_when_the_mode_of_a_takeover_is_unknown_expect_refusal():
    with pytest.raises(ReasonedError, match="mode is 9, expected one of 0 .VELOCITY., 1 .TCP_TARGET."):
        convert.to_takeover(Takeover(source="/x", mode=9, engaged=True))


def test_when_the_mode_of_a_release_is_unknown_expect_a_release():
    assert not convert.to_takeover(Takeover(source="/x", mode=9, engaged=False)).engaged


def test_when_core_asks_and_records_expect_whole_messages():
    world = ArmWorld().running()
    world.step()
    world.answer()
    world.step(10)
    request = convert.from_request(world.requests[0])
    assert isinstance(request, Request) and request.kind == RequestKind.ACT and request.seed == 3
    done = convert.from_executed(world.executed[0])
    assert isinstance(done, Executed) and len(done.action) == 7 and len(done.joint_command) == 8
    assert done.actor == Executed.POLICY
