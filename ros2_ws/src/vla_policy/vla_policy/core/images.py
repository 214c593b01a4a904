# SPDX-License-Identifier: Apache-2.0
"""From a driver's image to the policy's: everything is checked on the header before a pixel is touched.

Legend: H rows, W columns; images are uint8 RGB [H, W, 3].
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from whetstone_common.core.pixels import CHANNELS, Image, ImageError, raw_view, view_to_rgb

CROPS = ("center", "none", "pad")
_RGB_CHANNELS = 3
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
# Frame headers of the JPEG processes that OpenCV decodes: baseline, extended, progressive.
_JPEG_FRAMES = {0xC0, 0xC1, 0xC2}
_JPEG_OTHER_FRAMES = {0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_JPEG_SCAN = 0xDA
_JPEG_BARE = {0x01, *range(0xD0, 0xD8)}
_PNG_COLOURS = {2, 6}  # RGB, and RGB with alpha, which is left out
_EIGHT_BITS = 8


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
    encodings: tuple[str, ...] = tuple(CHANNELS)


def check_raw(height: int, width: int, encoding: str, step: int, data: Any, rules: ImageRules) -> Image:
    """View [H, W, 3 or 4] of a raw image's pixels, without the padding of its rows.

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
        ImageError: Not a whole colour JPEG or PNG of 8 bits, or of a size that is not accepted.
    """
    view = memoryview(data)
    if view.nbytes > rules.max_bytes:
        raise ImageError(f"{view.nbytes} bytes, at most {rules.max_bytes} are accepted")
    height, width = _compressed_size(bytes(view))
    _check_size(height, width, rules)
    return height, width


def compressed_to_rgb(data: Any, rules: ImageRules) -> Image:
    """Decode a JPEG or PNG.

    Raises:
        ImageError: As `check_compressed`, or the content is not what the header promises.
    """
    height, width = check_compressed(data, rules)
    content = bytes(memoryview(data))
    decoded = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if decoded is None or decoded.shape != (height, width, _RGB_CHANNELS):
        raise ImageError("cannot be decoded")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)


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


def _compressed_size(content: bytes) -> tuple[int, int]:
    readers: tuple[tuple[bytes, Callable[[bytes], tuple[int, int]]], ...] = (
        (_JPEG_START, _jpeg_size),
        (_PNG_START, _png_size),
    )
    for start, reader in readers:
        if content.startswith(start):
            return reader(content)
    raise ImageError("neither JPEG nor PNG")


def _png_size(content: bytes) -> tuple[int, int]:
    """(H, W) of the header chunk."""
    if len(content) < 33 or content[12:16] != b"IHDR":
        raise ImageError("PNG without a header")
    if not content.endswith(_PNG_END):
        raise ImageError("PNG is truncated")
    width, height, depth, colour = struct.unpack(">IIBB", content[16:26])
    if depth != _EIGHT_BITS or colour not in _PNG_COLOURS:
        raise ImageError(f"PNG of depth {depth} and colour type {colour}, not 8-bit RGB")
    return height, width


def _jpeg_size(content: bytes) -> tuple[int, int]:
    """(H, W) of the frame header, found by walking the segments up to the first scan."""
    # Drivers pad to a block; the end marker must be the last thing before the padding.
    if not content.rstrip(b"\x00").endswith(_JPEG_END):
        raise ImageError("JPEG is truncated")
    at = len(_JPEG_START)
    while at + 4 <= len(content):
        if content[at] != 0xFF:
            break
        marker = content[at + 1]
        if marker == 0xFF or marker in _JPEG_BARE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _JPEG_FRAMES:
            return _jpeg_frame(content[at + 4 : at + 10])
        if marker in _JPEG_OTHER_FRAMES or marker == _JPEG_SCAN:
            break
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    raise ImageError("JPEG without a frame header that can be read")


def _jpeg_frame(frame: bytes) -> tuple[int, int]:
    if len(frame) < 6:
        raise ImageError("JPEG is truncated")
    depth, height, width, components = struct.unpack(">BHHB", frame)
    if (depth, components) != (_EIGHT_BITS, _RGB_CHANNELS):
        raise ImageError(f"JPEG of {depth} bits and {components} components, not an 8-bit colour image")
    return height, width
