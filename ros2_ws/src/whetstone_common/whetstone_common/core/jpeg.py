# SPDX-License-Identifier: Apache-2.0
"""Pictures for people, as JPEG."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from whetstone_common.core.pixels import ImageError


def encode_jpeg(rgb: NDArray[np.uint8], quality: int) -> bytes:
    """JPEG of a picture [H, W, 3]; quality 1..100.

    Raises:
        ImageError: It cannot be encoded.
    """
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ImageError(f"{rgb.shape[1]} x {rgb.shape[0]} px cannot be encoded as JPEG")
    return encoded.tobytes()
