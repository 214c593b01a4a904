# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG of drivers and recordings as RGB: the header is checked before anything is decoded.

Legend: H rows, W columns; images are uint8 RGB [H, W, 3].
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import cv2
import numpy as np

from whetstone_common.core.pixels import Image, ImageError

_RGB_CHANNELS = 3
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
# Frame headers of the JPEG processes that OpenCV decodes: baseline, extended, progressive.
_JPEG_FRAMES = {0xC0, 0xC1, 0xC2}
_JPEG_OTHER_FRAMES = {0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_JPEG_SCAN = 0xDA
_JPEG_BARE = {0x01, *range(0xD0, 0xD8)}
_PNG_COLOURS = {0, 2, 6}  # grey, RGB, and RGB with alpha, which is left out
_JPEG_COMPONENTS = {1, 3}  # grey, colour
_EIGHT_BITS = 8


def decoded(content: bytes, height: int, width: int) -> Image:
    """RGB [H, W, 3] of a JPEG or PNG; of a grey one three equal channels.

    Args:
        content: The whole file.
        height: Rows that its header promises (px), see `compressed_size`.
        width: Columns (px).

    Raises:
        ImageError: The content is not what the header promises.
    """
    pixels = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or pixels.shape != (height, width, _RGB_CHANNELS):
        raise ImageError("cannot be decoded")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def compressed_size(content: bytes) -> tuple[int, int]:
    """Size (H, W) that the header of a JPEG or PNG promises.

    Raises:
        ImageError: Not a whole JPEG or PNG of 8 bits, in colour or grey.
    """
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
        raise ImageError(f"PNG of depth {depth} and colour type {colour}, not 8-bit RGB or grey")
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
    if depth != _EIGHT_BITS or components not in _JPEG_COMPONENTS:
        raise ImageError(f"JPEG of {depth} bits and {components} components, not an 8-bit image in colour or grey")
    return height, width
