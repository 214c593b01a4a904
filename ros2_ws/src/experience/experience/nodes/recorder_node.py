# SPDX-License-Identifier: Apache-2.0
"""Records the robot's sensors and further topics, as they are on the wire, to one MCAP file per episode."""

from __future__ import annotations

import functools
import importlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from vla_interfaces.msg import EpisodeEvent, NodeStatus

from experience.core.recording.definitions import complete, split
from experience.core.recording.episode_file import Channel, EpisodeFile, Message, recording_name
from experience.core.recording.recorder import Recorder, RecorderLimits
from experience.core.recording.storage import Storage
from experience.nodes.storage_status import StoragePublisher
from whetstone_common.core import camera_topics
from whetstone_common.core.enums import Outcome
from whetstone_common.core.namespace import without_namespace
from whetstone_common.core.parameters import ParameterError
from whetstone_common.core.reason import Reason, State
from whetstone_common.core.robot import Robot
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import image_type, to_ns
from whetstone_common.nodes.main import run
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.robot_files import robot_of_parameter

_CLOSE_PERIOD_S = 0.05
_CHECK_PERIOD_S = 0.5
# A recording that the disk did not take needs more room than it had.
_MORE = 1.1
_MB = 1_000_000
# The status of episode_node may be older than its event.
_ORPHANED_S = 2.0
_REASONS = {True: Reason.DISK_FULL, False: Reason.NONE}
_LOCKSTEP_QOS = {"sensor": qos.RECORD, "latched": qos.LATCHED, "record": qos.RECORD}
_REALTIME_QOS = _LOCKSTEP_QOS | {"sensor": qos.SENSOR_IN}


@dataclass(frozen=True)
class _Topic:
    """One entry of the parameter `topics`."""

    name: str
    type_name: str
    reading: str

    @classmethod
    def parse(cls, entry: str) -> _Topic:
        """Read an entry.

        Raises:
            ParameterError: Not three words, or an unknown way of reading.
        """
        words = entry.split()
        if len(words) != 3 or words[2] not in _LOCKSTEP_QOS:
            raise ParameterError(f"topics has {entry!r}: expected 'topic package/msg/Type sensor|latched|record'")
        return cls(*words)

    @property
    def message_class(self) -> Any:
        """Python class of the type."""
        package, name = split(self.type_name)
        return getattr(importlib.import_module(f"{package}.msg"), name)


def _sensors(robot: Robot, *, compressed: bool) -> list[_Topic]:
    """Joint states and cameras of a robot; `compressed` reads every camera's compressed images."""
    cameras = [camera_topics.compressed(each) if compressed else each for each in robot.cameras.values()]
    kinds = {robot.joint_states_topic: "JointState"} | {topic: image_type(topic).__name__ for topic in cameras}
    return [_Topic(topic, f"sensor_msgs/msg/{kind}", "sensor") for topic, kind in kinds.items()]


def _qos_yaml(profile: QoSProfile) -> str:
    """Offered profile in the words of rosbag2, so that `ros2 bag play` offers the same."""
    lines = {
        "history": "keep_last" if profile.history == HistoryPolicy.KEEP_LAST else "keep_all",
        "depth": profile.depth,
        "reliability": "reliable" if profile.reliability == ReliabilityPolicy.RELIABLE else "best_effort",
        "durability": "transient_local" if profile.durability == DurabilityPolicy.TRANSIENT_LOCAL else "volatile",
    }
    return "".join(f"{'- ' if i == 0 else '  '}{key}: {value}\n" for i, (key, value) in enumerate(lines.items()))


class RecorderNode(WhetstoneNode):
    """Follows the `episode` topic and writes everything around each episode."""

    close_limit_s = 8.0  # an open file is finished first

    def __init__(self, **kwargs: Any) -> None:
        """See `WhetstoneNode`."""
        super().__init__("recorder_node", package="experience", **kwargs)
        self._recorder: Recorder | None = None
        self._start_ns = 0
        self._started_s = self._checked_s = 0.0
        self._name = ""

    def check_parameters(self, values: dict[str, Any]) -> None:
        """Every topic must be readable.

        Raises:
            ParameterError: One is not.
        """
        for entry in values["topics"]:
            _Topic.parse(entry)

    def on_setup(self) -> None:
        """Look up the definitions and subscribe."""
        topics = self._topics()
        profiles = _LOCKSTEP_QOS if self.param("lockstep") else _REALTIME_QOS
        self._channels = [self._channel(topic, profiles[topic.reading]) for topic in topics]
        self._recorder = Recorder(
            self._open,
            RecorderLimits(self.param("before_s"), self.param("linger_s")),
            outcomes=frozenset(self.param("outcomes")),
            latched=frozenset(
                c.topic for c, topic in zip(self._channels, topics, strict=True) if topic.reading == "latched"
            ),
        )
        self._storage = Storage(Path(self.param("directory")), int(self.param("min_free_mb") * _MB))
        for topic, channel in zip(topics, self._channels, strict=True):
            self._subscribe(topic, channel.topic, profiles[topic.reading])
        self.create_subscription(EpisodeEvent, "episode", self._on_episode, qos.RECORD)
        self.create_subscription(NodeStatus, "node_status", self._on_status, qos.RECORD)
        self._stored = StoragePublisher(self)
        self.create_steady_timer(_CLOSE_PERIOD_S, self._on_tick)

    def on_start(self) -> None:
        """Ready, when there is room: episodes begin by themselves."""
        self._show()

    def on_stop(self) -> None:
        """Finish what has ended."""
        if self._recorder is not None:
            self._written(self._recorder.close())

    def on_teardown(self) -> None:
        """Forget the recorder; everything else that was set up goes by itself."""
        self._recorder = None

    def safe_action(self, reason: Reason) -> None:
        """Nothing is driven."""

    def _topics(self) -> list[_Topic]:
        """What `topics` names, and the sensors that it does not."""
        robot = robot_of_parameter(self.param("robot_file")).in_namespace(self.get_namespace())
        named = [_Topic.parse(entry) for entry in self.param("topics")]
        known = {self.resolve_topic_name(topic.name) for topic in named}
        sensors = _sensors(robot, compressed=self.param("compressed"))
        return [topic for topic in sensors if self.resolve_topic_name(topic.name) not in known] + named

    def _channel(self, topic: _Topic, profile: QoSProfile) -> Channel:
        definition = complete(topic.type_name, lambda package: Path(get_package_share_directory(package)))
        # A recording says nothing of the robot's namespace: what reads or plays it finds the same names for each robot.
        name = without_namespace(self.resolve_topic_name(topic.name), self.get_namespace())
        return Channel(name, topic.type_name, definition, _qos_yaml(profile))

    def _subscribe(self, topic: _Topic, name: str, profile: QoSProfile) -> None:
        callback = functools.partial(self._on_message, name)
        self.create_subscription(topic.message_class, topic.name, callback, profile, raw=True)

    def _on_message(self, topic: str, data: bytes) -> None:
        if self._recorder is not None:
            now_ns = int(self.get_clock().now().nanoseconds)
            self._recorder.message(Message(topic, bytes(data), now_ns), time.monotonic())

    def _on_episode(self, event: EpisodeEvent) -> None:
        recorder = self._recorder
        # What is recorded may be distilled from, and an evaluation is no training data.
        if recorder is None or event.event == EpisodeEvent.HELLO or event.evaluation:
            return
        if event.event != EpisodeEvent.STARTED:
            recorder.ended(_metadata(event, self._start_ns), time.monotonic())
            self._name = ""
            return
        self._name = recording_name(event.task, event.epoch, event.episode)
        self._start_ns, self._started_s = to_ns(event.time), time.monotonic()
        problem = self._storage.problem()
        self._written(recorder.refuse(problem) if problem else recorder.started(self._name, time.monotonic()))
        self._show()

    def _on_status(self, msg: NodeStatus) -> None:
        """Forget an episode whose end nobody is left to tell."""
        if self._recorder is None or not self._name or msg.node.rsplit("/", 1)[-1] != "episode_node":
            return
        if msg.state != State.RUNNING and time.monotonic() - self._started_s > _ORPHANED_S:
            self._recorder.abandon()
            self._name = ""

    def _on_tick(self) -> None:
        if self._recorder is None or not self.active:
            return
        self._written(self._recorder.tick(time.monotonic()))
        self._show()

    def _open(self, name: str) -> EpisodeFile:
        return EpisodeFile(Path(self.param("directory")) / name, self._channels)

    def _written(self, path: Path | None) -> None:
        if path is not None:
            self.counters["files"] += 1
            self._storage.note(path.stat().st_size)
            self._checked_s = 0.0

    # ---- status ------------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        """Say whether what happens is being kept, or whether the next episode would be."""
        recorder = self._recorder
        if recorder is None or self.status[0] is State.ERROR:
            return
        if recorder.lost > self.counters["episodes_not_kept"]:
            self.counters["episodes_not_kept"] = recorder.lost
            self._storage.note(int(_MORE * recorder.discarded_bytes))
            self.get_logger().error(f"an episode is not kept: {recorder.problem}")
            self._checked_s = 0.0
        self._stored.show(time.monotonic(), episodes_stored=self.counters["files"], episodes_lost=recorder.lost)
        if recorder.is_busy:
            self.set_state(State.RUNNING, Reason.NONE, self._name or "closing the file")
        elif self._name:
            self.set_state(State.HOLDING, Reason.DISK_FULL, f"this episode is not kept: {recorder.problem}")
        elif time.monotonic() - self._checked_s >= _CHECK_PERIOD_S:
            self._checked_s = time.monotonic()
            problem = self._storage.problem()
            self.set_state(State.HOLDING if problem else State.READY, _REASONS[bool(problem)], problem)


def _metadata(event: EpisodeEvent, start_ns: int) -> dict[str, str]:
    return {
        "start_ns": str(start_ns),
        "task": event.task,
        "instruction": event.instruction,
        "outcome": Outcome(event.event).text,
        "seed": str(event.seed),
        "steps": str(event.steps),
        "duration_s": f"{event.duration_s:.6f}",
        "epoch": str(event.epoch),
        "episode": str(event.episode),
        "reason": event.reason,
    }


def main() -> None:
    """Entry point."""
    run(RecorderNode)
