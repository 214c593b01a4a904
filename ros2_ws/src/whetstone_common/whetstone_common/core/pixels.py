# SPDX-License-Identifier: Apache-2.0
"""Raw images of drivers and recordings as RGB: the header is checked before a pixel is touched.

Legend: H rows, W columns; images are uint8 RGB [H, W, 3].
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

RGB = "rgb8"
# Two pixels of YUV 4:2:2 share their colour. `yuv422` is the older name of `uyvy`, `yuyv` the newer of `yuv422_yuy2`.
_UYVY, _YUYV = ("yuv422", "uyvy"), ("yuv422_yuy2", "yuyv")
# Bytes per pixel of the encodings that say what their numbers are.
BYTES_PER_PIXEL = {RGB: 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, **dict.fromkeys(_UYVY + _YUYV, 2), "mono8": 1}
_TO_RGB = {
    "bgr8": cv2.COLOR_BGR2RGB,
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    **dict.fromkeys(_UYVY, cv2.COLOR_YUV2RGB_UYVY),
    **dict.fromkeys(_YUYV, cv2.COLOR_YUV2RGB_YUY2),
    "mono8": cv2.COLOR_GRAY2RGB,
}
_SHOWN = 20


class ImageError(ValueError):
    """An image that is refused; the text says what is wrong with it."""


def raw_view(
    height: int, width: int, encoding: str, step: int, data: Any, accepted: tuple[str, ...] = tuple(BYTES_PER_PIXEL)
) -> Image:
    """View [H, W, bytes per pixel] of a raw image's pixels, without the padding of its rows.

    Args:
        height: Rows (px), as the message says.
        width: Columns (px).
        encoding: Name of the pixel format.
        step: Bytes per row.
        data: Buffer of the message.
        accepted: Encodings that are accepted.

    Raises:
        ImageError: Header and data contradict each other, or the encoding is not accepted.
    """
    if encoding not in accepted:
        wanted = ", ".join(accepted)
        raise ImageError(f"encoding {encoding[:_SHOWN]!r} is not accepted; set the camera's driver to one of {wanted}")
    depth = BYTES_PER_PIXEL[encoding]
    if height < 1 or width < 1:
        raise ImageError(f"{width} x {height} px, sides must be at least 1 px")
    if encoding in _UYVY + _YUYV and width % 2:
        raise ImageError(f"{width} px wide, but two pixels of {encoding} share their colour")
    if step < width * depth:
        raise ImageError(f"step {step} does not fit a width of {width} px and {depth} bytes per pixel")
    flat = np.frombuffer(data, dtype=np.uint8)
    if flat.size != step * height:
        raise ImageError(f"{flat.size} bytes of data, the header says {step} x {height}")
    return flat.reshape(height, step)[:, : width * depth].reshape(height, width, depth)


def view_to_rgb(view: Image, encoding: str) -> Image:
    """RGB of a `raw_view`; the view itself if it is that already.

    Args:
        view: [H, W, bytes per pixel].
        encoding: Of its message.
    """
    if encoding == RGB:
        return view
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(view), _TO_RGB[encoding]), dtype=np.uint8)


def squared(images: Image, side: int) -> Image:
    """Images [K, H, W, 3] as [K, side, side, 3], stretched where they are not square; areas are averaged."""
    if images.shape[1:3] == (side, side):
        return images
    method = cv2.INTER_AREA if max(images.shape[1:3]) > side else cv2.INTER_LINEAR
    resized = [cv2.resize(np.ascontiguousarray(image), (side, side), interpolation=method) for image in images]
    return np.asarray(np.stack(resized), dtype=np.uint8)
