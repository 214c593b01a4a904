# SPDX-License-Identifier: Apache-2.0
"""Pictures of the last episodes, kept serialised until somebody wants to see them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
from vla_interfaces.msg import EpisodeEvent

from experience.core.lerobot_export.frames import image_of
from whetstone_cli.core.film import Clip

# Every second tick: pictures of 20 Hz control make a film of 10 Hz.
_STRIDE = 2
FILM_FPS = 10
_OUTCOMES = {
    EpisodeEvent.SUCCEEDED: "success",
    EpisodeEvent.FAILED: "failure",
    EpisodeEvent.TIMED_OUT: "timed out",
}


@dataclass
class Take:
    """Pictures of the running episode, still serialised."""

    instruction: str
    task: str
    views: dict[str, list[bytes]] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    outcome: str = ""


class EpisodeFilm:
    """Films episodes from their start to their end.

    Args:
        cameras: Name and topic of the cameras.
        takes: How many episodes to keep pictures of, the last ones; 0 for no pictures.
        profile: QoS of the cameras.
    """

    def __init__(self, cameras: Sequence[tuple[str, str]], takes: int, profile: QoSProfile) -> None:
        self._cameras = cameras if takes > 0 else ()
        self._names = [name for name, _ in cameras]
        self._profile = profile
        self._take: Take | None = None
        self._takes: deque[Take] = deque(maxlen=max(takes, 1))

    @property
    def is_rolling(self) -> bool:
        """Whether an episode runs."""
        return self._take is not None

    def listen(self, node: Node) -> None:
        """Subscribe to the cameras."""
        for name, topic in self._cameras:
            # Still serialised: turning every picture into a message would cost more than the rest of the command.
            node.create_subscription(Image, topic, self._keeper_of(name), self._profile, raw=True)

    def _keeper_of(self, name: str) -> Callable[[bytes], None]:
        def keep(data: bytes) -> None:
            take = self._take
            if take is None:
                return
            count = take.seen[name] = take.seen.get(name, 0) + 1
            if count % _STRIDE == 1:
                take.views.setdefault(name, []).append(bytes(data))

        return keep

    def on_event(self, msg: EpisodeEvent) -> None:
        """An episode begins or ends."""
        if msg.event == EpisodeEvent.STARTED:
            self._take = Take(msg.instruction, msg.task)
        elif self._take is not None:
            self._take.outcome = _OUTCOMES.get(msg.event, "aborted")
            self._takes.append(self._take)
            self._take = None

    def clips(self) -> list[Clip]:
        """Pictures of the last episodes, decoded."""
        return [self._clip(take) for take in self._takes if take.views]

    def first_clip(self, wanted: Callable[[Take], bool]) -> Clip | None:
        """Pictures of the first kept episode that is wanted."""
        return next((self._clip(take) for take in self._takes if take.views and wanted(take)), None)

    def _clip(self, take: Take) -> Clip:
        views = tuple(tuple(_decode(data) for data in take.views[name]) for name in self._names if name in take.views)
        return Clip(views, f"{take.instruction}: {take.outcome}", take.outcome == "success")


def _decode(data: bytes) -> np.ndarray:
    message: Any = deserialize_message(data, Image)
    return image_of(message)
