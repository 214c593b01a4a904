# SPDX-License-Identifier: Apache-2.0
"""From a driver's image to the policy's: everything is checked on the header before a pixel is touched.

Legend: H rows, W columns; images are uint8 RGB [H, W, 3].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from whetstone_common.core.compressed import compressed_size, decoded
from whetstone_common.core.pixels import BYTES_PER_PIXEL, Image, ImageError, raw_view, view_to_rgb

CROPS = ("center", "none", "pad")
_RGB_CHANNELS = 3


@dataclass(frozen=True)
class ImageRules:
    """What a camera may send.

    Attributes:
        max_side_px: Longest side accepted.
        min_side_px: Shortest side accepted.
        max_bytes: Most bytes accepted in one message.
        encodings: Encodings of raw images that are accepted; all others than rgb8 are converted.
    """

    max_side_px: int = 4096
    min_side_px: int = 8
    max_bytes: int = 4 * 4096 * 4096
    encodings: tuple[str, ...] = tuple(BYTES_PER_PIXEL)


def check_raw(height: int, width: int, encoding: str, step: int, data: Any, rules: ImageRules) -> Image:
    """View [H, W, bytes per pixel] of a raw image's pixels, without the padding of its rows.

    Args:
        height: Rows (px), as the message says.
        width: Columns (px).
        encoding: Name of the pixel format.
        step: Bytes per row.
        data: Buffer of the message.
        rules: What is accepted.

    Raises:
        ImageError: Header and data do not describe an image that the rules accept.
    """
    if encoding in rules.encodings:
        _check_size(height, width, rules)
        if step * height > rules.max_bytes:
            raise ImageError(f"{step} x {height} bytes, at most {rules.max_bytes} are accepted")
    return raw_view(height, width, encoding, step, data, rules.encodings)


def raw_to_rgb(height: int, width: int, encoding: str, step: int, data: Any, rules: ImageRules) -> Image:
    """RGB of a raw image; a view of its data if that is RGB.

    Args and errors: as `check_raw`.
    """
    return view_to_rgb(check_raw(height, width, encoding, step, data, rules), encoding)


def check_compressed(data: Any, rules: ImageRules) -> tuple[int, int]:
    """Size (H, W) that the header of a JPEG or PNG promises, without decoding it.

    Raises:
        ImageError: Not a whole JPEG or PNG of 8 bits, in colour or grey, or of a size that is not accepted.
    """
    view = memoryview(data)
    if view.nbytes > rules.max_bytes:
        raise ImageError(f"{view.nbytes} bytes, at most {rules.max_bytes} are accepted")
    height, width = compressed_size(bytes(view))
    _check_size(height, width, rules)
    return height, width


def compressed_to_rgb(data: Any, rules: ImageRules) -> Image:
    """Decode a JPEG or PNG.

    Raises:
        ImageError: As `check_compressed`, or the content is not what the header promises.
    """
    height, width = check_compressed(data, rules)
    return decoded(bytes(memoryview(data)), height, width)


def fit(image: Image, height: int, width: int, *, crop: str = "center") -> Image:
    """Crop to the wanted aspect ratio and resize; a new contiguous array unless nothing is to be done.

    Args:
        image: [H, W, 3].
        height: Rows wanted (px).
        width: Columns wanted (px).
        crop: `center` cuts what is too much on both sides, `none` stretches, `pad` fills what is missing with black.
    """
    if crop == "pad":
        return pad_to(image, height, width)
    if crop == "center":
        image = _crop_center(image, height, width)
    if image.shape[:2] == (height, width):
        return np.ascontiguousarray(image)
    shrinks = image.shape[0] > height or image.shape[1] > width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=method)
    return np.asarray(resized, dtype=np.uint8)


def pad_to(image: Image, height: int, width: int) -> Image:
    """Resize by linear interpolation to what fits and centre it on black, as LeRobot and openpi do for PI0.

    Args:
        image: [H, W, 3].
        height: Rows wanted (px).
        width: Columns wanted (px).
    """
    if image.shape[:2] == (height, width):
        return np.ascontiguousarray(image)
    ratio = max(image.shape[1] / width, image.shape[0] / height)
    rows, columns = max(1, int(image.shape[0] / ratio)), max(1, int(image.shape[1] / ratio))
    top, left = (height - rows) // 2, (width - columns) // 2
    padded = np.zeros((height, width, _RGB_CHANNELS), dtype=np.uint8)
    padded[top : top + rows, left : left + columns] = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return padded


def _crop_center(image: Image, height: int, width: int) -> Image:
    rows, columns = image.shape[:2]
    keep_rows = min(rows, max(1, round(columns * height / width)))
    keep_columns = min(columns, max(1, round(rows * width / height)))
    top, left = (rows - keep_rows) // 2, (columns - keep_columns) // 2
    return image[top : top + keep_rows, left : left + keep_columns]


def _check_size(height: int, width: int, rules: ImageRules) -> None:
    for side in (height, width):
        if not rules.min_side_px <= side <= rules.max_side_px:
            raise ImageError(f"{width} x {height} px, sides must be in [{rules.min_side_px}, {rules.max_side_px}]")
