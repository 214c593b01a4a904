# SPDX-License-Identifier: Apache-2.0
"""Pictures of the last episodes, kept serialised until somebody wants to see them."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image
from vla_interfaces.msg import EpisodeEvent

from experience.core.lerobot_export.frames import image_of
from whetstone_cli.core.film import Clip
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import image_type, serialized_stamp_ns

FILM_FPS = 10
# Pictures that come faster are left out; a little less than the time between two of the film's.
_GAP_NS = 90_000_000
SPECTATOR = "spectator"
_SPECTATOR_TOPIC = "camera/spectator/image_raw/compressed"
_OUTCOMES = {
    EpisodeEvent.SUCCEEDED: "success",
    EpisodeEvent.FAILED: "failure",
    EpisodeEvent.TIMED_OUT: "failure: out of time",
    EpisodeEvent.ABORTED: "aborted",
}


@dataclass
class Shots:
    """Pictures of one camera, still serialised, and when each was taken (ns, rising)."""

    stamps_ns: list[int] = field(default_factory=list)
    pictures: list[bytes] = field(default_factory=list)

    def add(self, data: bytes) -> None:
        """Keep a picture, unless it was heard already or comes too soon after the last one."""
        stamp_ns = serialized_stamp_ns(data)
        if not self.stamps_ns or stamp_ns >= self.stamps_ns[-1] + _GAP_NS:
            self.stamps_ns.append(stamp_ns)
            self.pictures.append(data)

    def at(self, stamp_ns: int) -> bytes:
        """The newest picture at a moment, or the first one where all are newer."""
        return self.pictures[max(0, bisect_right(self.stamps_ns, stamp_ns) - 1)]


@dataclass
class Take:
    """Pictures of the running episode by camera."""

    instruction: str
    seed: int
    shots: dict[str, Shots] = field(default_factory=dict)
    outcome: str = ""

    @property
    def is_success(self) -> bool:
        """Whether the episode succeeded."""
        return self.outcome == _OUTCOMES[EpisodeEvent.SUCCEEDED]


class EpisodeFilm:
    """Films episodes from their start to their end, with the policy's cameras and the simulator's third one.

    Args:
        cameras: Name and topic of the policy's cameras.
        takes: How many episodes to keep pictures of, the last ones; 0 for no pictures.
        profile: QoS of the policy's cameras.

    Attributes:
        is_heard: Whether any picture has come, of an episode or not.
    """

    def __init__(self, cameras: Sequence[tuple[str, str]], takes: int, profile: QoSProfile) -> None:
        self._cameras = tuple(cameras)
        self._profile = profile
        self._take: Take | None = None
        self._takes: deque[Take] = deque(maxlen=takes)
        self.is_heard = False

    @property
    def is_rolling(self) -> bool:
        """Whether an episode runs."""
        return self._take is not None

    def listen(self, node: Node) -> None:
        """Subscribe to the cameras, unless no picture is wanted."""
        if not self._takes.maxlen:
            return
        # Still serialised: turning every picture into a message would cost more than the rest of the command.
        for name, topic in self._cameras:
            node.create_subscription(image_type(topic), topic, self._keeper_of(name), self._profile, raw=True)
        keep = self._keeper_of(SPECTATOR)
        node.create_subscription(CompressedImage, _SPECTATOR_TOPIC, keep, qos.RECORD, raw=True)

    def start(self, node: Node) -> None:
        """From now on keep the last episode, where none was kept before."""
        self._takes = deque(maxlen=1)
        self.listen(node)

    def _keeper_of(self, name: str) -> Callable[[bytes], None]:
        def keep(data: bytes) -> None:
            self.is_heard = True
            if self._take is not None:
                self._take.shots.setdefault(name, Shots()).add(bytes(data))

        return keep

    def on_event(self, msg: EpisodeEvent) -> None:
        """An episode begins or ends."""
        if msg.event == EpisodeEvent.STARTED:
            self._take = Take(msg.instruction, msg.seed)
        elif self._take is not None:
            self._take.outcome = ": ".join(filter(None, (_OUTCOMES[msg.event], msg.reason)))
            self._takes.append(self._take)
            self._take = None

    def clips(self) -> dict[int, Clip]:
        """Pictures of the last episodes by seed, decoded."""
        return {take.seed: self._clip(take) for take in self._takes if take.shots}

    def first_clip(self, wanted: Callable[[Take], bool]) -> Clip | None:
        """Pictures of the first kept episode that is wanted."""
        return next((self._clip(take) for take in self._takes if take.shots and wanted(take)), None)

    def _clip(self, take: Take) -> Clip:
        seen = [(image_type(topic), take.shots[name]) for name, topic in self._cameras if name in take.shots]
        spectator = take.shots.get(SPECTATOR)
        times_ns = (spectator or seen[0][1]).stamps_ns
        views = tuple(tuple(_decode(kind, camera.at(time_ns)) for time_ns in times_ns) for kind, camera in seen)
        people = tuple(_jpeg(data) for data in spectator.pictures) if spectator is not None else ()
        return Clip(views, take.instruction, take.is_success, take.outcome, people)


def _decode(kind: type[Image | CompressedImage], data: bytes) -> np.ndarray:
    message: Any = deserialize_message(data, kind)
    return image_of(message)


def _jpeg(data: bytes) -> bytes:
    message: Any = deserialize_message(data, CompressedImage)
    return bytes(message.data)
