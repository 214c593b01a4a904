# SPDX-License-Identifier: Apache-2.0
"""The value of an episode under its frames, as a picture or as a film.

Legend: n frames that were looked at, T frames in all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from experience.core.video import VideoFile
from whetstone_cli.core.film import Clip, reel_of
from whetstone_common.core.outputs import whole_file

_INCHES, _DPI = (10.0, 6.0), 120
_THUMBNAILS = 6
_BLUE, _ORANGE, _GREY = "#1f77b4", "#d95f02", "#888888"
_STRIP_PX, _MARGIN_PX = 120, 8


@dataclass(frozen=True, eq=False)
class ValueCurve:
    """Values of an episode, and what is drawn with them.

    Attributes:
        frames: int [n], rising.
        values: [n], -1 to 0.
        returns: [T] what came of it.
        human: bool [T], frames under human control.
        images: uint8 RGB [T, H, W, 3] by camera.
        caption: Above it all.
        success: How it ended.
        fps: Frames per second.
    """

    frames: NDArray[np.int64]
    values: NDArray[np.float64]
    returns: NDArray[np.float64]
    human: NDArray[np.bool_]
    images: Mapping[str, NDArray[np.uint8]]
    caption: str
    success: bool
    fps: float

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            ValueError: There is no value, or one that is not finite.
        """
        if len(self.frames) == 0 or len(self.frames) != len(self.values):
            raise ValueError(f"{len(self.frames)} frames and {len(self.values)} values, expected as many, 1 or more")
        if not np.isfinite(self.values).all():
            raise ValueError("a value is not finite")


def write_picture(path: Path, curve: ValueCurve) -> None:
    """Frames of the episode over its value, as PNG; written as a whole or not at all."""
    import matplotlib as mpl  # here, since it takes half a second

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (top, bottom) = pyplot.subplots(2, 1, figsize=_INCHES, height_ratios=(2, 3))
    top.imshow(_thumbnails(curve))
    top.set_axis_off()
    top.set_title(curve.caption)
    _draw(bottom, curve)
    figure.tight_layout()
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=_DPI, format="png")
    pyplot.close(figure)


def _thumbnails(curve: ValueCurve) -> NDArray[np.uint8]:
    """A few frames in a row, all cameras of each under one another."""
    count = len(curve.returns)
    shown = np.linspace(0, count - 1, min(_THUMBNAILS, count)).astype(int)
    columns = [np.concatenate([_square(images[frame]) for images in curve.images.values()]) for frame in shown]
    return np.concatenate(columns, axis=1)


def _square(image: NDArray[np.uint8], size_px: int = 160) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).resize((size_px, size_px), Image.Resampling.BICUBIC))


def _draw(axes: Any, curve: ValueCurve) -> None:
    seconds = np.arange(len(curve.returns)) / curve.fps
    axes.plot(curve.frames / curve.fps, curve.values, color=_BLUE, linewidth=2, label="value")
    axes.plot(seconds, curve.returns, color=_GREY, linestyle="--", linewidth=1, label="return of this episode")
    if curve.human.any():
        axes.fill_between(seconds, -1.0, 0.0, where=curve.human, color=_ORANGE, alpha=0.2, label="a person commands")
    axes.set_ylim(-1.05, 0.05)
    axes.set_xlim(0.0, max(seconds[-1], 1.0 / curve.fps))
    axes.set_xlabel("time [s]")
    axes.set_ylabel("- time to success, as a share\nof the longest episode")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)


def write_film(path: Path, curve: ValueCurve) -> None:
    """The episode as MP4, with the value up to each moment under the pictures."""
    views = tuple(tuple(images) for images in curve.images.values())
    frames = [_with_strip(picture, curve, tick) for tick, picture in enumerate(reel_of(_clip(curve, views)))]
    height, width = frames[0].shape[:2]
    with whole_file(path) as partial:
        video = VideoFile(partial, round(curve.fps), height, width)
        for frame in frames:
            video.append(frame)
        video.close()


def _clip(curve: ValueCurve, views: tuple[tuple[np.ndarray, ...], ...]) -> Clip:
    return Clip(views, curve.caption, curve.success)


def _with_strip(picture: Image.Image, curve: ValueCurve, tick: int) -> np.ndarray:
    height = picture.height + _STRIP_PX
    canvas = Image.new("RGB", (picture.width, height + height % 2), (24, 24, 27))  # even, since codecs want it
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    width, last = picture.width - 2 * _MARGIN_PX, max(1, len(curve.returns) - 1)
    depth = _STRIP_PX - 2 * _MARGIN_PX

    def place(frame: float, value: float) -> tuple[float, float]:
        return (_MARGIN_PX + width * frame / last, picture.height + _MARGIN_PX - depth * value)

    for value in (0.0, -1.0):
        draw.line([place(0, value), place(last, value)], fill=(90, 90, 90))
    seen = curve.frames <= tick
    line = [place(frame, value) for frame, value in zip(curve.frames[seen], curve.values[seen], strict=True)]
    if len(line) > 1:
        draw.line(line, fill=(90, 170, 240), width=2)
    if line:
        x, y = line[-1]
        colour = (240, 140, 60) if curve.human[tick] else (240, 240, 240)
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)
        draw.text((_MARGIN_PX, canvas.height - 12), f"value {curve.values[seen][-1]:.2f}", fill=(240, 240, 240))
    return np.asarray(canvas)
