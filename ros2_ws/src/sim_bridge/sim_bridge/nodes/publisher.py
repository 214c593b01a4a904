# SPDX-License-Identifier: Apache-2.0
"""Publishers of sim_node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from geometry_msgs.msg import PoseStamped
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from vla_interfaces.msg import Takeover, TaskTruth

from sim_bridge.core.arm import ArmModel
from sim_bridge.core.cameras import CameraCalibration
from sim_bridge.core.session import GroundTruth, Joints
from sim_bridge.nodes import convert
from sim_bridge.nodes.spectator_stream import SpectatorStream
from whetstone_common.nodes import qos
from whetstone_common.nodes.node import WhetstoneNode

Images = Mapping[str, npt.NDArray[np.uint8]]  # by camera, (H, W, 3) RGB


class SimPublisher:
    """Publishers of the simulated arm and of the ground truth.

    Args:
        node: Node that owns the publishers.
        arm: Names of its joints.
        cameras: Cameras that have topics.

    Attributes:
        spectator: Pictures for people, apart from these cameras.
    """

    def __init__(self, node: WhetstoneNode, arm: ArmModel, cameras: Sequence[str]) -> None:
        self._node = node
        self._arm = arm
        self._joints = node.create_publisher(JointState, node.param("joint_states_topic"), qos.SENSOR_OUT)
        self._clock = node.create_publisher(Clock, "/clock", qos.CLOCK)
        self._truth = node.create_publisher(TaskTruth, "sim/truth", qos.RECORD)
        self._expert = node.create_publisher(Takeover, "sim/expert", qos.RING)
        self._images = {
            name: (
                node.create_publisher(Image, f"camera/{name}/image_raw", qos.SENSOR_OUT),
                node.create_publisher(CameraInfo, f"camera/{name}/camera_info", qos.SENSOR_OUT),
            )
            for name in cameras
        }
        self._poses = {name: node.create_publisher(PoseStamped, f"camera/{name}/pose", qos.LATCHED) for name in cameras}
        self._calibrations: dict[str, CameraCalibration] = {}
        self._expert_sequence = 0
        self.spectator = SpectatorStream(node)

    def joints(self, joints: Joints, stamp_ns: int) -> None:
        """Publish a joint state."""
        self._joints.publish(convert.joint_state(joints, stamp_ns, self._arm))

    def clock(self, stamp_ns: int) -> None:
        """Publish simulated time."""
        self._clock.publish(convert.clock(stamp_ns))

    def ground_truth(self, ground_truth: GroundTruth, stamp_ns: int) -> None:
        """Publish the ground truth, and the expert's command if there is one."""
        self._truth.publish(convert.task_truth(ground_truth, stamp_ns))
        if ground_truth.aim is not None:
            self._expert_sequence += 1
            source = (self._node.get_fully_qualified_name(), self._node.epoch_ns)
            self._expert.publish(convert.expert_takeover(ground_truth.aim, stamp_ns, source, self._expert_sequence))

    def images(self, images: Images, stamp_ns: int, calibrations: Mapping[str, CameraCalibration]) -> None:
        """Publish one image of each camera with its calibration; the camera's pose only when it has changed.

        Args:
            images: Image of each camera.
            stamp_ns: Time of the images.
            calibrations: Of each camera, the same object as long as it stays.
        """
        for name, pixels in images.items():
            picture, info = self._images[name]
            picture.publish(convert.image(pixels, name, stamp_ns))
            info.publish(convert.camera_info(name, stamp_ns, pixels.shape[1], calibrations[name].focal_px))
            if self._calibrations.get(name) is not calibrations[name]:
                self._calibrations[name] = calibrations[name]
                self._poses[name].publish(convert.camera_pose(calibrations[name], stamp_ns))
        self._node.counters["images"] += len(images)
