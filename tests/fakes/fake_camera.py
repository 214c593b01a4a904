# SPDX-License-Identifier: Apache-2.0
"""A camera that shows its own frame counter, and freezes, lags or goes dark when told; it sends what drivers send."""

from __future__ import annotations

import functools
from array import array

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from fakes.base import FakeNode, run
from whetstone_common.nodes import qos


def picture(number: int, size_px: int) -> np.ndarray:
    """Frame `number`: a grey ramp that wanders, so that no two neighbours are equal; uint8 [H, W, 3]."""
    ramp = (np.arange(size_px)[:, None] + np.arange(size_px)[None, :] + number) % 256
    return np.repeat(ramp[:, :, None], 3, axis=2).astype(np.uint8)


@functools.lru_cache(maxsize=64)
def webcam_picture(number: int, size_px: tuple[int, int]) -> tuple[str, int, array[int]]:
    """Encoding, bytes per row and data of frame `number`, as v4l2_camera and usb_cam pass on what a webcam sends."""
    height, width = size_px
    pixels = np.full((height, width, 2), 128, np.uint8)  # grey: both colours are 128
    pixels[..., 0] = picture(number, max(size_px))[:height, :width, 0]
    return "yuv422_yuy2", 2 * width, array("B", pixels.tobytes())


@functools.lru_cache(maxsize=64)
def jpeg_picture(number: int, size_px: tuple[int, int]) -> array[int]:
    """Frame `number` as image_transport's compressed plug-in sends it by default."""
    height, width = size_px
    content = cv2.imencode(".jpg", picture(number, max(size_px))[:height, :width], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    return array("B", content.tobytes())


class FakeCamera(FakeNode):
    """Publishes image_raw and image_raw/compressed (remap them).

    Parameters: `frozen` same bytes under fresh stamps; `silent`; `encoding` what the header claims; `stamp_shift_s`;
    `sends` rgb8, or yuv422_yuy2 or jpeg, which are `height_px` high and `width_px` wide.
    """

    def __init__(self) -> None:
        """Start at frame 0."""
        super().__init__(
            "fake_camera",
            {
                "rate_hz": 30.0,
                "size_px": 96,
                "height_px": 480,
                "width_px": 640,
                "sends": "rgb8",
                "frozen": False,
                "silent": False,
                "encoding": "rgb8",
                "stamp_shift_s": 0.0,
            },
        )
        self._number = 0
        kind, topic = (CompressedImage, "/compressed") if self.told["sends"] == "jpeg" else (Image, "")
        self._publisher = self.create_publisher(kind, f"image_raw{topic}", qos.SENSOR_OUT)
        self.every(1.0 / self.told["rate_hz"], self._frame)

    def _frame(self) -> None:
        if self.told["silent"]:
            return
        self._number += not self.told["frozen"]
        msg = self._message()
        now_ns = self.get_clock().now().nanoseconds + int(self.told["stamp_shift_s"] * 1e9)
        msg.header.stamp.sec, msg.header.stamp.nanosec = now_ns // 10**9, now_ns % 10**9
        self._publisher.publish(msg)

    def _message(self) -> Image | CompressedImage:
        size_px = height, width = self.told["height_px"], self.told["width_px"]
        if self.told["sends"] == "jpeg":
            return CompressedImage(format="rgb8; jpeg compressed bgr8", data=jpeg_picture(self._number % 64, size_px))
        if self.told["sends"] == "yuv422_yuy2":
            encoding, step, data = webcam_picture(self._number % 64, size_px)
            return Image(height=height, width=width, encoding=encoding, step=step, data=data)
        size = self.told["size_px"]
        msg = Image(height=size, width=size, encoding=self.told["encoding"], step=3 * size)
        msg.data = picture(self._number, size).tobytes()
        return msg


if __name__ == "__main__":
    run(FakeCamera)
