# SPDX-License-Identifier: Apache-2.0
"""recorder_node writes what is on the wire, and only whole episodes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String
from vla_interfaces.msg import EpisodeEvent, Executed, NodeStatus

from experience.core.recording import reader
from experience.nodes.recorder_node import RecorderNode
from harness.disk import tiny_disk
from harness.domains import DomainLock
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.resources import find

_DEADLINE_S = 10.0
_TOPICS = [
    "camera/front/image_raw sensor_msgs/msg/Image sensor",
    "instruction std_msgs/msg/String latched",
    "executed vla_interfaces/msg/Executed record",
    "episode vla_interfaces/msg/EpisodeEvent record",
]


class Rig:
    """Recorder and a publisher of everything in one executor."""

    def __init__(self, folder: Path, namespace: str = "", *, connect: bool = True, **parameters: Any) -> None:
        self.context = Context()
        self._domain = DomainLock()
        rclpy.init(context=self.context, domain_id=self._domain.domain_id)
        values = {"directory": str(folder), "topics": _TOPICS, "lockstep": True} | parameters
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.world = Node("world", context=self.context, namespace=namespace)
        self.images = self.world.create_publisher(Image, "camera/front/image_raw", qos.SENSOR_OUT)
        self.words = self.world.create_publisher(String, "instruction", qos.LATCHED)
        self.steps = self.world.create_publisher(Executed, "executed", qos.RECORD)
        self.events = self.world.create_publisher(EpisodeEvent, "episode", qos.RECORD)
        self.node = RecorderNode(context=self.context, parameter_overrides=overrides, namespace=namespace)
        self.executor = SingleThreadedExecutor(context=self.context)
        for node in (self.world, self.node):
            self.executor.add_node(node)
        self.node.autostart()
        publishers = (self.words, self.steps, self.events)
        self.spin_until(lambda: not connect or all(p.get_subscription_count() for p in publishers))

    def spin_until(self, condition: Any) -> None:
        end_s = time.monotonic() + _DEADLINE_S
        while not condition():
            assert time.monotonic() < end_s
            self.executor.spin_once(timeout_sec=0.02)

    def spin_for(self, duration_s: float) -> None:
        end_s = time.monotonic() + duration_s
        self.spin_until(lambda: time.monotonic() > end_s)

    def event(self, event: int, **fields: Any) -> None:
        self.events.publish(EpisodeEvent(epoch=1, episode=2, event=event, task="stack", **fields))

    def record(self, steps: int = 1) -> None:
        """An episode with its end."""
        self.event(EpisodeEvent.STARTED)
        self.spin_until(lambda: self.node.status[0] is not State.READY)
        for step in range(steps):
            self.steps.publish(Executed(episode_step=step, joint_command=[0.1] * 5000))
            self.spin_for(0.01)
        self.event(EpisodeEvent.SUCCEEDED)

    def close(self) -> None:
        self.node.close()
        self.executor.shutdown()
        self.world.destroy_node()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)
        self._domain.release()


@pytest.fixture
def rigs(tmp_path: Path) -> Iterator[Any]:
    made: list[Rig] = []

    def make(**parameters: Any) -> Rig:
        made.append(Rig(tmp_path, **parameters))
        return made[-1]

    yield make
    for rig in made:
        rig.close()


def test_when_an_episode_ends_expect_a_file_with_every_message_bit_for_bit(rigs: Any, tmp_path: Path) -> None:
    rig = rigs()
    rig.spin_until(lambda: rig.images.get_subscription_count() == 1)
    rig.words.publish(String(data="stack the red cube"))
    rig.images.publish(Image(height=1, width=2, step=6, encoding="rgb8", data=[1, 2, 3, 4, 5, 6]))
    rig.spin_for(0.2)
    rig.event(EpisodeEvent.STARTED)
    for step in range(3):
        rig.steps.publish(Executed(episode_step=step, joint_command=[0.1 * step, 1.0]))
    rig.event(EpisodeEvent.SUCCEEDED, steps=3, instruction="stack the red cube", seed=9)
    rig.spin_until(lambda: list(tmp_path.glob("*.mcap")))
    (path,) = tmp_path.glob("*.mcap")
    assert path.name == "stack_1_000002.mcap"
    assert reader.metadata(path)["seed"] == "9"
    found = list(reader.messages(path))
    assert [m.data.episode_step for m in found if m.topic == "/executed"] == [0, 1, 2]
    assert [list(m.data.joint_command) for m in found if m.topic == "/executed"][2] == pytest.approx([0.2, 1.0])
    assert [bytes(m.data.data) for m in found if m.topic.endswith("image_raw")] == [bytes([1, 2, 3, 4, 5, 6])]
    assert [m.data.data for m in found if m.topic == "/instruction"] == ["stack the red cube"]


def test_when_the_robot_has_a_namespace_expect_the_recording_of_one_without(rigs: Any, tmp_path: Path) -> None:
    rig = rigs(namespace="cell/left")
    rig.record(steps=3)
    rig.spin_until(lambda: list(tmp_path.glob("*.mcap")))
    (path,) = tmp_path.glob("*.mcap")
    assert {m.topic for m in reader.messages(path)} == {"/executed", "/episode"}


def test_when_the_robot_file_names_other_topics_expect_its_joint_states_and_cameras_recorded_as_they_are_sent(
    rigs: Any, tmp_path: Path
) -> None:
    robot = yaml.safe_load(find("package://robot_bringup/config/robots/ur5e.yaml").read_text(encoding="utf-8"))
    robot["topics"]["joint_states"] = "ur/joint_states"
    robot["cameras"] = {"front": "/camera/camera/color/image_raw/compressed", "wrist": "/wrist_camera/image_raw"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(robot), encoding="utf-8")
    rig = rigs(namespace="left", robot_file=str(tmp_path / "mine.yaml"), topics=_TOPICS[1:])
    sent = {
        "/left/ur/joint_states": JointState(name=["elbow_joint"], position=[1.5]),
        "/camera/camera/color/image_raw/compressed": CompressedImage(format="rgb8; jpeg compressed bgr8", data=[1, 2]),
        "/wrist_camera/image_raw": Image(height=1, width=1, step=2, encoding="yuv422_yuy2", data=[3, 4]),
    }
    publishers = {topic: rig.world.create_publisher(type(msg), topic, qos.SENSOR_OUT) for topic, msg in sent.items()}
    rig.spin_until(lambda: all(each.get_subscription_count() for each in publishers.values()))
    for topic, msg in sent.items():
        publishers[topic].publish(msg)
    rig.record()
    rig.spin_until(lambda: list(tmp_path.glob("*.mcap")))
    (path,) = tmp_path.glob("*.mcap")
    found = {m.topic: m.data for m in reader.messages(path)}
    assert list(found["/ur/joint_states"].position) == [1.5]
    assert bytes(found["/camera/camera/color/image_raw/compressed"].data) == bytes([1, 2])
    assert found["/wrist_camera/image_raw"].encoding == "yuv422_yuy2"


def test_when_compressed_images_are_wanted_expect_them_of_every_camera(rigs: Any) -> None:
    rig = rigs(compressed=True, topics=_TOPICS[1:])
    for camera in ("front", "wrist"):
        (reader_of,) = rig.world.get_subscriptions_info_by_topic(f"/camera/{camera}/image_raw/compressed")
        assert reader_of.topic_type == "sensor_msgs/msg/CompressedImage"
        assert not rig.world.get_subscriptions_info_by_topic(f"/camera/{camera}/image_raw")


def test_when_a_sensor_is_named_besides_expect_it_recorded_once_and_as_named(rigs: Any) -> None:
    rig = rigs(topics=[*_TOPICS, "joint_states sensor_msgs/msg/JointState record"])
    for topic in ("/joint_states", "/camera/front/image_raw"):
        assert len(rig.world.get_subscriptions_info_by_topic(topic)) == 1


def test_when_the_robot_file_is_missing_expect_its_name(rigs: Any) -> None:
    rig = rigs(robot_file="nobody", connect=False)
    rig.spin_until(lambda: rig.node.status[0] is State.ERROR)
    assert "robot_file = 'nobody'" in rig.node.status[2]


def test_when_only_successes_are_wanted_expect_no_file_of_a_failure(rigs: Any, tmp_path: Path) -> None:
    rig = rigs(outcomes=["succeeded"])
    rig.event(EpisodeEvent.STARTED)
    rig.event(EpisodeEvent.TIMED_OUT)
    rig.spin_for(0.8)
    assert not list(tmp_path.iterdir())


def test_when_it_is_shut_down_mid_episode_expect_no_half_file(rigs: Any, tmp_path: Path) -> None:
    rig = rigs()
    rig.event(EpisodeEvent.STARTED)
    rig.spin_until(lambda: list(tmp_path.glob("*.part")))
    rig.node.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("entry", ["only_a_topic", "a b/msg/C sometimes"])
def test_when_a_topic_entry_is_malformed_expect_refusal(rigs: Any, entry: str) -> None:
    with pytest.raises(ParameterError, match="expected"):
        rigs(topics=[entry])


def test_when_the_disk_is_full_expect_holding_with_the_figures_and_with_space_again_the_next_episode_recorded(
    rigs: Any, tmp_path: Path
) -> None:
    with tiny_disk(tmp_path / "disk", 400) as disk:
        rig = rigs(directory=str(disk.folder), min_free_mb=1.0)
        state, reason, detail = rig.node.status
        assert (state, reason) == (State.HOLDING, Reason.DISK_FULL)
        assert "0.4 MB free" in detail and "at least 1.0 MB" in detail
        rig.event(EpisodeEvent.STARTED)
        rig.spin_until(lambda: rig.node.counters["episodes_not_kept"] == 1)
        rig.event(EpisodeEvent.SUCCEEDED)
        disk.grow(9000)
        rig.spin_until(lambda: rig.node.status[0] is State.READY)
        rig.record()
        rig.spin_until(lambda: list(disk.folder.glob("*.mcap")))
        rig.spin_until(lambda: rig.node.status[0] is State.READY)
        assert rig.node.counters["episodes_not_kept"] == 1
        rig.node.close()


def test_when_the_disk_fills_in_an_episode_expect_it_lost_with_its_reason_and_the_node_alive(
    rigs: Any, tmp_path: Path
) -> None:
    with tiny_disk(tmp_path / "disk", 300) as disk:
        rig = rigs(directory=str(disk.folder), min_free_mb=0.1)
        (disk.folder / "of_others").write_bytes(os.urandom(190_000))
        rig.spin_until(lambda: rig.node.status[0] is State.READY)
        rig.event(EpisodeEvent.STARTED)
        rig.spin_until(lambda: rig.node.status[0] is State.RUNNING)
        for step in range(60):
            image = Image(height=1, width=2000, step=6000, encoding="rgb8", data=os.urandom(6000))
            rig.images.publish(image)
            rig.steps.publish(Executed(episode_step=step))
            rig.spin_for(0.02)
        rig.event(EpisodeEvent.SUCCEEDED)
        rig.spin_until(lambda: rig.node.status[0] is State.HOLDING)
        assert rig.node.status[1] is Reason.DISK_FULL
        assert rig.node.counters["episodes_not_kept"] == 1
        assert [path.name for path in disk.folder.iterdir()] == ["of_others"]
        disk.grow(9000)
        rig.spin_until(lambda: rig.node.status[0] is State.READY)
        rig.record()
        rig.spin_until(lambda: len(list(disk.folder.glob("*.mcap"))) == 1)
        rig.node.close()


def test_when_nobody_is_left_to_end_an_episode_expect_it_forgotten_and_the_node_ready(
    rigs: Any, tmp_path: Path
) -> None:
    rig = rigs()
    statuses = rig.world.create_publisher(NodeStatus, "node_status", qos.LATCHED)
    rig.event(EpisodeEvent.STARTED)
    rig.spin_until(lambda: rig.node.status[0] is State.RUNNING)
    running = NodeStatus(node="/episode_node", state=NodeStatus.RUNNING)
    statuses.publish(running)
    rig.spin_for(2.2)
    statuses.publish(running)
    rig.spin_for(0.2)
    assert rig.node.status[0] is State.RUNNING
    statuses.publish(NodeStatus(node="/episode_node", state=NodeStatus.READY))
    rig.spin_until(lambda: rig.node.status[0] is State.READY)
    assert not list(tmp_path.iterdir())
