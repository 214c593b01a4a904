# SPDX-License-Identifier: Apache-2.0
"""Pictures of the third camera: rendered only while somebody listens, apart from all that the policy sees."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import CompressedImage

from sim_bridge.core.pacing import Every
from sim_bridge.core.spectator import Spectator
from sim_bridge.core.world import World
from sim_bridge.nodes import convert
from whetstone_common.core.jpeg import encode_jpeg
from whetstone_common.nodes import qos
from whetstone_common.nodes.node import WhetstoneNode

_TOPIC = "camera/spectator/image_raw/compressed"
_QUALITY = 92
_POLL_S = 0.5


@dataclass(frozen=True, eq=False)
class Capture:
    """State to render: its stamp, its world and the world's state."""

    stamp_ns: int
    world: World
    state: npt.NDArray[np.float64]


class SpectatorStream:
    """Publishes JPEG pictures of a simulation.

    Args:
        node: Owns the publisher; its parameter `spectator_rate_hz` says how often, 0 for never.
    """

    def __init__(self, node: WhetstoneNode) -> None:
        self._node = node
        rate_hz: float = node.param("spectator_rate_hz")
        # Lockstep counts ticks, real time reads the steady clock.
        self._every_ticks = max(1, round(node.param("control_hz") / rate_hz)) if rate_hz else 0
        self._due = Every(1.0 / (rate_hz * node.param("real_time_factor"))) if rate_hz else None
        self._publisher = node.create_publisher(CompressedImage, _TOPIC, qos.RECORD) if rate_hz else None
        self._spectator = Spectator()
        self._captures: Queue[Capture] = Queue(maxsize=1)

    def is_due_at_tick(self, tick: int) -> bool:
        """In lockstep: whether somebody wants a picture of this tick of the episode."""
        return self._every_ticks > 0 and tick % self._every_ticks == 0 and self._is_watched()

    def is_due_at(self, now_s: float) -> bool:
        """In real time: whether somebody wants a picture now [steady clock]."""
        return self._due is not None and self._due.is_due(now_s) and self._is_watched()

    def _is_watched(self) -> bool:
        return self._publisher is not None and self._publisher.get_subscription_count() > 0

    def show(self, capture: Capture) -> None:
        """Render and publish."""
        if self._publisher is None:
            return
        picture = encode_jpeg(self._spectator.render(capture.world, capture.state), _QUALITY)
        self._publisher.publish(convert.jpeg(picture, "spectator", capture.stamp_ns))
        self._node.counters["spectator_images"] += 1

    def hand_over(self, capture: Capture) -> None:
        """Have `run` render this next; dropped while one waits already, so that nobody waits for people's pictures."""
        try:
            self._captures.put_nowait(capture)
        except Full:
            self._node.counters["spectator_images_skipped"] += 1

    def run(self, stop: threading.Event) -> None:
        """Render what is handed over until the stop, in a thread of its own."""
        try:
            while not stop.is_set():
                with suppress(Empty):
                    self.show(self._captures.get(timeout=_POLL_S))
        finally:
            self.close()

    def close(self) -> None:
        """Free the OpenGL context; call it from the thread that rendered."""
        self._spectator.close()
