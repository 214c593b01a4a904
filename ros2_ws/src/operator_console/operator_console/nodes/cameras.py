# SPDX-License-Identifier: Apache-2.0
"""Pictures for the pages: a camera is subscribed to only while somebody looks, and encoded only when asked for."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image

from whetstone_common.core import camera_topics
from whetstone_common.core.jpeg import encode_jpeg
from whetstone_common.core.pixels import raw_view, view_to_rgb
from whetstone_common.nodes import qos
from whetstone_common.nodes.convert import image_type, serialized_stamp_ns
from whetstone_common.nodes.node import WhetstoneNode

# A page that shows a camera asks for it at least so often.
_UNWATCHED_S = 3.0
_RECENT = 12


@dataclass
class _Stream:
    """One camera: `data` is its newest message, still serialised, `jpeg` the picture of it once it was asked for.

    `recent` are the newest messages: a decision comes later than the picture that it was made on.
    """

    topic: str
    asked_s: float = float("-inf")
    subscription: Any = None
    data: bytes | None = None
    jpeg: bytes | None = None
    recent: deque[bytes] = field(default_factory=lambda: deque(maxlen=_RECENT))


class CameraStreams:
    """The cameras of a robot.

    Args:
        node: Subscribes.
        topics: Image topic by camera name.
        compressed: Whether the compressed images are read also of cameras whose topic is that of the raw ones.
        quality: Of the JPEG, 1..100.
    """

    def __init__(self, node: WhetstoneNode, topics: Mapping[str, str], *, compressed: bool, quality: int) -> None:
        self._node, self._quality = node, quality
        self._cameras = {
            name: _Stream(camera_topics.compressed(topic) if compressed else topic) for name, topic in topics.items()
        }
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """Of all cameras."""
        return tuple(self._cameras)

    def watched(self) -> tuple[str, ...]:
        """Topics that are subscribed to now."""
        return tuple(each.topic for each in self._cameras.values() if each.subscription is not None)

    def update(self) -> None:
        """Subscribe to what is looked at, and to nothing else; called by the executor."""
        now_s = time.monotonic()
        for camera in self._cameras.values():
            wanted = now_s - camera.asked_s < _UNWATCHED_S
            if wanted and camera.subscription is None:
                self._subscribe(camera)
            elif not wanted and camera.subscription is not None:
                self._node.destroy_subscription(camera.subscription)
                camera.subscription = camera.data = camera.jpeg = None
                camera.recent.clear()

    def _subscribe(self, camera: _Stream) -> None:
        def keep(data: bytes) -> None:
            with self._lock:
                camera.data, camera.jpeg = data, None
                camera.recent.append(data)

        kind = image_type(camera.topic)
        # Still serialised: most frames are never shown, and reading them would cost more than everything else here.
        camera.subscription = self._node.create_subscription(kind, camera.topic, keep, qos.SENSOR_IN, raw=True)

    def picture(self, name: str) -> bytes | None:
        """Newest picture of a camera as JPEG (or as it comes, when the camera compresses), None while there is none.

        Raises:
            KeyError: There is no such camera.
            ImageError: Its newest picture cannot be read.
        """
        camera = self._cameras[name]
        camera.asked_s = time.monotonic()
        with self._lock:
            data, jpeg = camera.data, camera.jpeg
        if jpeg is not None or data is None:
            return jpeg
        jpeg = self.encode(name, data)
        with self._lock:
            if camera.data is data:
                camera.jpeg = jpeg
        return jpeg

    def keep_all(self) -> None:
        """Somebody looks at what all cameras have seen: `messages_at` will have something."""
        now_s = time.monotonic()
        for camera in self._cameras.values():
            camera.asked_s = now_s

    @property
    def sees_all(self) -> bool:
        """Whether there is a message of every camera."""
        with self._lock:
            return all(camera.recent for camera in self._cameras.values())

    def messages_at(self, stamp_ns: int) -> dict[str, bytes]:
        """By camera, the newest message that is not newer than a moment; the oldest there is, where all are newer."""
        found = {}
        with self._lock:
            for name, camera in self._cameras.items():
                recent = list(camera.recent)
                before = [data for data in recent if serialized_stamp_ns(data) <= stamp_ns]
                if recent:
                    found[name] = before[-1] if before else recent[0]
        return found

    def encode(self, name: str, data: bytes) -> bytes:
        """JPEG of a camera's serialised message, or the picture as it comes when the camera compresses.

        Raises:
            ImageError: It cannot be read.
        """
        if camera_topics.is_compressed(self._cameras[name].topic):
            compressed: Any = deserialize_message(data, CompressedImage)
            return bytes(compressed.data)
        msg: Any = deserialize_message(data, Image)
        rgb = view_to_rgb(raw_view(msg.height, msg.width, msg.encoding, msg.step, msg.data), msg.encoding)
        return encode_jpeg(rgb, self._quality)
