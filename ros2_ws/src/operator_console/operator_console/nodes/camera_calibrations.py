# SPDX-License-Identifier: Apache-2.0
"""Calibration and pose of the robot's cameras, as the topics beside their images say them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import CameraInfo

from operator_console.core.camera_model import CalibrationError, CameraModel, mounted_at
from whetstone_common.core.camera_topics import namespace_of
from whetstone_common.core.kinematics import Pose
from whetstone_common.core.robot import Robot
from whetstone_common.nodes import qos
from whetstone_common.nodes.node import WhetstoneNode


@dataclass
class _Calibration:
    """What a camera and its neighbours have said of it."""

    info: CameraInfo | None = None
    pose: PoseStamped | None = None


class CameraCalibrations:
    """Listens to poses, which are latched, always, and to calibrations, which are not, while somebody looks.

    Args:
        node: Subscribes.
        robot: Gives the cameras' topics and the tip.
    """

    def __init__(self, node: WhetstoneNode, robot: Robot) -> None:
        self._node, self._robot = node, robot
        self._known = {name: _Calibration() for name in robot.cameras}
        self._infos: dict[str, Any] = {}
        for name, topic in robot.cameras.items():
            node.create_subscription(PoseStamped, f"{namespace_of(topic)}/pose", self._pose_of(name), qos.LATCHED)

    def listen(self, *, is_watched: bool) -> None:
        """Subscribe to calibrations while somebody looks; called by the executor."""
        if is_watched and not self._infos:
            for name, topic in self._robot.cameras.items():
                info = f"{namespace_of(topic)}/camera_info"
                self._infos[name] = self._node.create_subscription(CameraInfo, info, self._info_of(name), qos.SENSOR_IN)
        elif not is_watched:
            for subscription in self._infos.values():
                self._node.destroy_subscription(subscription)
            self._infos.clear()

    def view(self, name: str, tcp: Pose) -> tuple[CameraModel, Pose]:
        """Model of a camera, and its pose in the base frame while the TCP is at `tcp`.

        Raises:
            ValueError: Something was not said yet, and the text names the topics; or what was said cannot be used.
        """
        known, beside = self._known[name], namespace_of(self._robot.cameras[name])
        missing = [] if known.info is not None else [f"sensor_msgs/CameraInfo on {beside}/camera_info"]
        missing += [] if known.pose is not None else [f"geometry_msgs/PoseStamped (latched) on {beside}/pose"]
        if known.info is None or known.pose is None:
            raise CalibrationError(f"nothing is drawn into it without {' and '.join(missing)}")
        info, pose = known.info, known.pose
        model = CameraModel.of_calibration(info.width, info.height, info.k, info.d, info.distortion_model)
        where, turn = pose.pose.position, pose.pose.orientation
        mount = Pose.from_quaternion_xyzw([where.x, where.y, where.z], [turn.x, turn.y, turn.z, turn.w])
        is_at_hand = pose.header.frame_id == self._robot.tip
        return model, mounted_at(tcp, mount) if is_at_hand else mount

    def _pose_of(self, name: str) -> Callable[[PoseStamped], None]:
        def keep(msg: PoseStamped) -> None:
            self._known[name].pose = msg

        return keep

    def _info_of(self, name: str) -> Callable[[CameraInfo], None]:
        def keep(msg: CameraInfo) -> None:
            self._known[name].info = msg

        return keep
