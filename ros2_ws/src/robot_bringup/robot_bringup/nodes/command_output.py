# SPDX-License-Identifier: Apache-2.0
"""Where commands go: the controller's topics, or in a dry run those that nobody follows; and the log of them."""

from __future__ import annotations

from pathlib import Path

from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from robot_bringup.core.outputs import ArmCommand
from robot_bringup.nodes import convert
from robot_bringup.nodes.command_log import CommandLog
from whetstone_common.core.robot import GripperOutput, Output, Robot
from whetstone_common.nodes import qos
from whetstone_common.nodes.node import WhetstoneNode


class CommandOutput:
    """Publishes commands as the robot's controller wants them.

    Args:
        node: Publishes; its parameters say whether it is a dry run, and where the log is.
        robot: The robot.
    """

    def __init__(self, node: WhetstoneNode, robot: Robot) -> None:
        self._robot = robot
        self._is_dry_run: bool = node.param("dry_run")
        forward = robot.output is Output.FORWARD_COMMAND
        kind = Float64MultiArray if forward else JointTrajectory
        self._make_command = convert.forward if forward else convert.trajectory
        topic = "~/dry_run" if self._is_dry_run else robot.command_topic
        self._publisher = node.create_publisher(kind, topic, qos.COMMAND)
        own = robot.gripper.output is GripperOutput.OWN_TOPIC
        topic = "~/dry_run_gripper" if self._is_dry_run else robot.gripper.topic
        self._gripper = node.create_publisher(Float64MultiArray, topic, qos.COMMAND) if own else None
        path = node.param("command_log")
        self._log = CommandLog(Path(path)) if path else None

    @property
    def topics(self) -> list[str]:
        """Topics on which nobody else may command; in a dry run that is where the others do."""
        if self._is_dry_run:
            return []
        own = self._gripper is not None
        return [self._robot.command_topic, self._robot.gripper.topic] if own else [self._robot.command_topic]

    @property
    def problem(self) -> str:
        """Why no motion may begin: nobody would follow the commands. Empty when somebody does, and in a dry run."""
        if self._is_dry_run or self._publisher.get_subscription_count() > 0:
            return ""
        return f"nobody listens on {self._publisher.topic_name}"

    def send(self, command: ArmCommand) -> None:
        """Publish and log a command."""
        self._publisher.publish(self._make_command(self._robot, command))
        if self._gripper is not None:
            self._gripper.publish(convert.gripper(self._robot, command))
        if self._log is not None:
            self._log.add(command)

    def close(self) -> None:
        """Write what waits for the log; publishers go with the node's set-up."""
        if self._log is not None:
            self._log.close()
            self._log = None
