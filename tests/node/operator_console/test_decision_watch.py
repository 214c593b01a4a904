# SPDX-License-Identifier: Apache-2.0
"""The console shows a decision on the picture that it was made on, and asks for pictures only while somebody looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from ament_index_python.packages import get_package_share_directory
from geometry_msgs.msg import Point, PoseStamped
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from vla_interfaces.msg import Decision, PolicyContract, Request

from harness.rig import Rig
from operator_console.core.camera_model import CalibrationError, CameraModel
from operator_console.nodes.console_node import ConsoleNode
from operator_console.web.interface import DecisionShot
from whetstone_common.core.contract import CARTESIAN_ACTIONS, CARTESIAN_PROPRIO, Contract
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import from_contract, to_time

CONTRACT = Contract(
    action_space="cartesian", action_names=CARTESIAN_ACTIONS, action_scale=(0.1,) * 7, action_offset=(0.0,) * 7,
    proprio_names=CARTESIAN_PROPRIO, cameras=("front", "wrist"), image_height=32, image_width=32, horizon=2,
    feature_dim=4, dt_s=0.05, joint_names=("a", "gripper"),
)  # fmt: skip
SIZE_PX, S = 32, 1_000_000_000


class Scene:
    """A console that is configured but serves no page, and what it hears."""

    def __init__(self, rig: Rig, folder: Path, robot_file: str = "sim_panda", camera: str = "camera/front") -> None:
        self.rig = rig
        folders = {name: str(folder / name) for name in ("run_dir", "record_dir", "dataset_dir")}
        self.node: Any = rig.add(ConsoleNode, begin=False, robot_file=robot_file, **folders)
        self.node.trigger_configure()
        self.image = rig.voice("camera/front/image_raw", Image, qos.SENSOR_OUT)
        self.info = rig.probe.create_publisher(CameraInfo, f"{camera}/camera_info", qos.SENSOR_OUT)
        self.pose = rig.voice(f"{camera}/pose", PoseStamped, qos.LATCHED)
        self.contract = rig.voice("policy_contract", PolicyContract, qos.LATCHED)
        self.decision = rig.voice("decision", Decision)

    def look(self) -> DecisionShot | None:
        return self.node.decisions.look()  # type: ignore[no-any-return]

    def say_camera(self) -> None:
        """The front camera looks down from 1 m above the base."""
        self.rig.until(lambda: self.look() or self.info.get_subscription_count(), what="calibration is asked for")
        k = [40.0, 0.0, 16.0, 0.0, 40.0, 16.0, 0.0, 0.0, 1.0]
        self.info.publish(CameraInfo(width=SIZE_PX, height=SIZE_PX, k=k, d=[0.0] * 5, distortion_model="plumb_bob"))
        pose = PoseStamped()
        pose.header.frame_id = "base"
        pose.pose.position = Point(x=0.5, y=0.0, z=1.0)
        pose.pose.orientation.x, pose.pose.orientation.w = 1.0, 0.0  # half a turn about x
        self.pose(pose)

    def say_picture(self, level: int, time_ns: int) -> None:
        self.look()
        msg = Image(
            height=SIZE_PX, width=SIZE_PX, encoding="rgb8", step=3 * SIZE_PX, data=bytes([level]) * (3 * SIZE_PX**2)
        )
        msg.header.stamp = to_time(time_ns)
        self.image(msg)

    def decide(self, time_ns: int, scores: tuple[float, ...], chosen: int, request: int = 1, episode: int = 1) -> None:
        chunks = np.zeros((2, 2, 7))
        chunks[1, :, 0] = 1.0
        msg = Decision(
            request_kind=Request.ACT, contract_hash=CONTRACT.hash(), method="expo", chosen=chosen, n=2, horizon=2,
            action_dim=7, reference=[0.5, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], candidates=chunks.ravel().tolist(),
            chosen_chunk=chunks[chosen].ravel().tolist(), scores=list(scores), policy_version=3,
        )  # fmt: skip
        msg.stamp.episode, msg.stamp.request_id, msg.stamp.observation = episode, request, to_time(time_ns)
        self.decision(msg)

    def newest(self, number: int) -> DecisionShot:
        def shot() -> DecisionShot | None:
            found = self.look()
            return found if found is not None and found.number >= number else None

        found = self.rig.until(shot, what=f"decision {number}")
        assert found is not None
        return found


@pytest.fixture
def scene(rig: Rig, tmp_path: Path) -> Scene:
    return Scene(rig, tmp_path)


def test_when_somebody_looks_expect_the_candidates_on_the_picture_that_the_policy_saw(scene: Scene) -> None:
    scene.contract(from_contract(CONTRACT))
    scene.say_camera()
    front = scene.node.cameras
    for second, level in ((1, 50), (2, 150)):
        scene.say_picture(level, second * S)
        scene.rig.until(lambda at=second: scene.look() or front.messages_at(at * S), what="the picture")
    scene.decide(S + S // 2, (0.2, 0.7), chosen=1)
    shot = scene.newest(1)
    (camera,) = shot.cameras
    assert camera.problem == "" and camera.model is not None and camera.optical is not None
    shown = cv2.imdecode(np.frombuffer(camera.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert float(shown.mean()) == pytest.approx(50, abs=2), "the picture before the observation, not the newest one"
    assert shot.view is not None and shot.view.value == pytest.approx(0.7) and shot.view.policy_version == 3
    pixels = camera.model.project(shot.view.chosen_points, camera.optical)
    assert pixels == pytest.approx(np.array([[20.0, 16.0]] * 2)), "0.1 m at 1 m, 40 px focal length"


def test_when_an_episode_goes_on_expect_its_values_and_none_of_the_one_before(scene: Scene) -> None:
    scene.contract(from_contract(CONTRACT))
    scene.look()
    scene.decide(5 * S, (0.1, 0.9), chosen=0)
    scene.decide(7 * S, (0.2, 0.3), chosen=1, request=2)
    assert np.allclose(scene.newest(2).values, [(0.0, 0.1), (2.0, 0.3)])
    scene.decide(9 * S, (0.4, 0.3), chosen=0, request=3, episode=2)
    assert np.allclose(scene.newest(3).values, [(0.0, 0.4)])


def test_when_a_camera_has_no_calibration_expect_its_picture_and_what_to_publish(scene: Scene) -> None:
    scene.contract(from_contract(CONTRACT))
    scene.look()
    scene.say_picture(90, S)
    scene.rig.until(lambda: scene.look() or scene.node.cameras.messages_at(S), what="the picture")
    scene.decide(S, (), chosen=0)
    (camera,) = scene.newest(1).cameras
    assert camera.jpeg and camera.model is None
    assert "camera/front/camera_info" in camera.problem and "camera/front/pose" in camera.problem


def test_when_a_driver_sends_jpeg_expect_it_shown_with_the_calibration_beside_the_raw_images(
    rig: Rig, tmp_path: Path
) -> None:
    share = Path(get_package_share_directory("robot_bringup"))
    robot = yaml.safe_load((share / "config" / "robots" / "sim_panda.yaml").read_text(encoding="utf-8"))
    topic = "/camera/camera/color/image_raw/compressed"  # realsense2_camera by image_transport
    file = tmp_path / "robot.yaml"
    file.write_text(yaml.safe_dump(robot | {"cameras": {"front": topic}}), encoding="utf-8")
    scene = Scene(rig, tmp_path, str(file), "/camera/camera/color")
    scene.contract(from_contract(CONTRACT))
    scene.say_camera()
    sent = cv2.imencode(".jpg", np.full((SIZE_PX, SIZE_PX, 3), 90, np.uint8))[1].tobytes()
    msg = CompressedImage(format="rgb8; jpeg compressed bgr8", data=sent)
    msg.header.stamp = to_time(S)
    scene.look()
    rig.voice(topic, CompressedImage, qos.SENSOR_OUT)(msg)
    rig.until(lambda: scene.look() or scene.node.cameras.messages_at(S), what="the picture")
    scene.decide(S, (0.2, 0.7), chosen=1)
    (camera,) = scene.newest(1).cameras
    assert camera.problem == "" and camera.model is not None
    assert camera.jpeg == sent == scene.node.cameras.picture("front")


@pytest.mark.parametrize(
    ("k", "d", "model", "problem"),
    [
        ([0.0] * 9, [], "", "the driver is not calibrated"),  # v4l2_camera and usb_cam without a calibration file
        ([600.0, 0.0, 320.0, 0.0, 600.0, 240.0, 0.0, 0.0, 1.0], [0.1] * 4, "equidistant", "'equidistant'"),
    ],
)
def test_when_a_drivers_calibration_cannot_be_used_expect_why(
    k: list[float], d: list[float], model: str, problem: str
) -> None:
    with pytest.raises(CalibrationError, match=problem):
        CameraModel.of_calibration(640, 480, k, d, model)


def test_when_nobody_looks_any_more_expect_no_subscription_to_pictures_and_calibrations(scene: Scene) -> None:
    scene.say_camera()
    topics = ("camera/front/image_raw", "camera/front/camera_info")
    assert all(scene.rig.probe.count_subscribers(topic) for topic in topics)
    scene.rig.until(
        lambda: not any(scene.rig.probe.count_subscribers(topic) for topic in topics), what="no subscription"
    )
    scene.decide(S, (), chosen=0)
    assert scene.look() is None, "a decision that nobody looked at is not kept"
