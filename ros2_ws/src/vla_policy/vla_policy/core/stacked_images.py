# SPDX-License-Identifier: Apache-2.0
"""The images of one decision as one PNG, without loss: the policy's cameras one below the other.

A method with an image encoder learns from exactly the pixels that it acts on.

Legend: K cameras, H rows, W columns; images are uint8 RGB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_policy.core.images import ImageRules, compressed_to_rgb
from whetstone_common.core.pixels import ImageError

Images = NDArray[np.uint8]
Bytes = NDArray[np.uint8]

_RULES = ImageRules(max_side_px=16_384, min_side_px=1)
# The fastest level: the others save a tenth and take several times as long.
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)


def stacked(images: Mapping[str, Images], cameras: Sequence[str]) -> Images:
    """[K, H, W, 3] of the cameras in their order.

    Raises:
        ImageError: A camera is missing, or two images differ in size.
    """
    if missing := [name for name in cameras if name not in images]:
        raise ImageError(f"no image of {missing[0]!r}, there are images of {sorted(images)}")
    chosen = [images[name] for name in cameras]
    if len({image.shape for image in chosen}) != 1:
        raise ImageError(f"images of {list(cameras)} have sizes {[image.shape[:2] for image in chosen]}, must be equal")
    return np.stack(chosen)


def encoded(images: Images) -> Bytes:
    """PNG [bytes] of images [K, H, W, 3]."""
    column = images.reshape(-1, *images.shape[2:])
    done, data = cv2.imencode(".png", cv2.cvtColor(column, cv2.COLOR_RGB2BGR), _PNG)
    if not done:
        raise ImageError(f"images of shape {images.shape} cannot be compressed")
    return np.asarray(data, dtype=np.uint8).ravel()


def decoded(data: Any, cameras: int) -> Images:
    """[K, H, W, 3] of what `encoded` gave.

    Raises:
        ImageError: It is no whole PNG, or not of so many cameras.
    """
    column = compressed_to_rgb(np.ascontiguousarray(data), _RULES)
    if len(column) % cameras:
        raise ImageError(f"{len(column)} rows cannot be those of {cameras} cameras")
    return column.reshape(cameras, -1, *column.shape[1:])
