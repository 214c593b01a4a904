# SPDX-License-Identifier: Apache-2.0
"""Pictures of an episode out of a video, found by their time stamps and never by counting.

A video of another rate, or one that lost a picture, has pictures between the frames' moments: it is refused.

Legend: T frames of an episode, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from experience.core.lerobot.info import DatasetError
from whetstone_common.core.foreign import reading

# A picture belongs to a frame that is no further than this share of a frame's time from it.
TOLERANCE_FRAMES = 0.1
_COLOURS = 3


@dataclass(frozen=True)
class FrameRequest:
    """Which pictures of which video.

    Attributes:
        path: The video.
        where: Camera and episode, for sentences.
        times_s: [T] moments in the video (s), rising.
        size: H and W in pixels.
        tolerance_s: How far a picture may be from its moment.
    """

    path: Path
    where: str
    times_s: NDArray[np.float64]
    size: tuple[int, int]
    tolerance_s: float


def pictures(request: FrameRequest) -> NDArray[np.uint8]:
    """uint8 RGB [T, H, W, 3], each taken from the picture of its moment.

    Raises:
        DatasetError: The file cannot be decoded, its pictures are of another size or without colours, or there is none
            at a moment; the text says camera, episode, frame and time.
    """
    found = np.empty((len(request.times_s), *request.size, _COLOURS), np.uint8)
    count, last_s = 0, float("nan")
    with reading(request.path, DatasetError, f"{request.where}:"):
        for time_s, picture in _decoded(request):
            while count < len(found) and request.times_s[count] <= time_s + request.tolerance_s:
                if request.times_s[count] < time_s - request.tolerance_s:
                    raise _missing(request, count, last_s, time_s)
                found[count] = picture.to_ndarray(format="rgb24")
                count += 1
            last_s = time_s
            if count == len(found):
                return found
    raise _missing(request, count, last_s, None)


def _decoded(request: FrameRequest) -> Iterator[tuple[float, Any]]:
    """Pictures with their moments (s), from the key frame before the first requested one on."""
    with av.open(str(request.path)) as container:
        if not container.streams.video:
            raise DatasetError(f"{request.path}: {request.where} holds no video")
        stream = container.streams.video[0]
        # Damaged bytes must not become a picture that looks almost right.
        stream.codec_context.options = {"err_detect": "explode"}
        begin = int(float(request.times_s[0]) / stream.time_base)
        container.seek(max(begin, 0), stream=stream)
        for picture in container.decode(stream):
            _check(request, picture)
            yield float(picture.pts * picture.time_base), picture


def _check(request: FrameRequest, picture: Any) -> None:
    where = f"{request.path}: {request.where}"
    if picture.pts is None:
        raise DatasetError(f"{where} has a picture without a time stamp")
    if picture.is_corrupt:
        raise DatasetError(f"{where} is damaged at {float(picture.pts * picture.time_base):.3f} s")
    if (picture.height, picture.width) != request.size:
        raise DatasetError(
            f"{where} has pictures of {picture.height} x {picture.width} pixels, announced are "
            f"{request.size[0]} x {request.size[1]}"
        )
    if len(picture.format.components) < _COLOURS and not picture.format.name.startswith("pal"):
        raise DatasetError(f"{where} is {picture.format.name}, without colours: expected a colour video")


def _missing(request: FrameRequest, frame: int, before_s: float, after_s: float | None) -> DatasetError:
    around = [f"{time_s:.4f} s" for time_s in (before_s, after_s) if time_s is not None and time_s == time_s]
    nearest = f"the nearest are at {' and '.join(around)}" if around else "it has none"
    return DatasetError(
        f"{request.path}: {request.where}, frame {frame}: no picture at {request.times_s[frame]:.4f} s, {nearest} "
        f"(tolerance {request.tolerance_s:.4f} s)"
    )
