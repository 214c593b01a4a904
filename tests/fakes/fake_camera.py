# SPDX-License-Identifier: Apache-2.0
"""A camera that shows its own frame counter, and freezes, lags or goes dark when told."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import Image

from fakes.base import FakeNode, run
from whetstone_common.nodes import qos


def picture(number: int, size_px: int) -> np.ndarray:
    """Frame `number`: a grey ramp that wanders, so that no two neighbours are equal; uint8 [H, W, 3]."""
    ramp = (np.arange(size_px)[:, None] + np.arange(size_px)[None, :] + number) % 256
    return np.repeat(ramp[:, :, None], 3, axis=2).astype(np.uint8)


class FakeCamera(FakeNode):
    """Publishes image_raw (remap it).

    Parameters: `frozen` same bytes under fresh stamps; `silent`; `encoding` what the header claims; `stamp_shift_s`.
    """

    def __init__(self) -> None:
        """Start at frame 0."""
        super().__init__(
            "fake_camera",
            {
                "rate_hz": 30.0,
                "size_px": 96,
                "frozen": False,
                "silent": False,
                "encoding": "rgb8",
                "stamp_shift_s": 0.0,
            },
        )
        self._number = 0
        self._publisher = self.create_publisher(Image, "image_raw", qos.SENSOR_OUT)
        self.every(1.0 / self.told["rate_hz"], self._frame)

    def _frame(self) -> None:
        if self.told["silent"]:
            return
        self._number += not self.told["frozen"]
        size = self.told["size_px"]
        msg = Image(height=size, width=size, encoding=self.told["encoding"], step=3 * size)
        msg.data = picture(self._number, size).tobytes()
        now_ns = self.get_clock().now().nanoseconds + int(self.told["stamp_shift_s"] * 1e9)
        msg.header.stamp.sec, msg.header.stamp.nanosec = now_ns // 10**9, now_ns % 10**9
        self._publisher.publish(msg)


if __name__ == "__main__":
    run(FakeCamera)
