# SPDX-License-Identifier: Apache-2.0
"""Episodes as something to look at: both cameras side by side with a caption, as GIF or MP4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from experience.core.video import VideoFile
from whetstone_common.core.outputs import whole_file

_HEIGHT_PX = 288
_CAPTION_PX = 26
_COLOURS = 96
# How long the last picture of a clip stays.
_PAUSE_S = 0.8
# Between two clips that are shown side by side.
_GAP_PX = 6


@dataclass(frozen=True)
class Clip:
    """Pictures of one episode.

    Attributes:
        views: Pictures by camera, uint8 RGB [H, W, 3], equally many per camera.
        caption: What was said.
        good: Whether it succeeded; colours the frame.
    """

    views: tuple[tuple[np.ndarray, ...], ...]
    caption: str
    good: bool


def pictures(clip: Clip) -> list[Image.Image]:
    """Composed pictures of a clip."""
    return [_compose(views, clip) for views in zip(*clip.views, strict=False)]


def _compose(views: Sequence[np.ndarray], clip: Clip) -> Image.Image:
    scaled = [Image.fromarray(view).resize((_width(view), _HEIGHT_PX), Image.Resampling.BICUBIC) for view in views]
    canvas = Image.new("RGB", (sum(image.width for image in scaled), _HEIGHT_PX + _CAPTION_PX), (24, 24, 27))
    x = 0
    for image in scaled:
        canvas.paste(image, (x, _CAPTION_PX))
        x += image.width
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, 0, 6, _CAPTION_PX), fill=(60, 180, 90) if clip.good else (200, 70, 60))
    draw.text((14, 7), clip.caption, fill=(240, 240, 240))
    return canvas


def _width(view: np.ndarray) -> int:
    # Even, since video codecs want it.
    return round(_HEIGHT_PX * view.shape[1] / view.shape[0] / 2) * 2


def side_by_side(left: Clip, right: Clip) -> list[Image.Image]:
    """Two clips that begin together; the one that ends first waits on its last picture."""
    sides = [pictures(clip) for clip in (left, right)]
    if not all(sides):
        return []
    return [_beside(*(side[min(i, len(side) - 1)] for side in sides)) for i in range(max(map(len, sides)))]


def _beside(left: Image.Image, right: Image.Image) -> Image.Image:
    canvas = Image.new("RGB", (left.width + _GAP_PX + right.width, left.height), (255, 255, 255))
    canvas.paste(left, (0, 0))
    canvas.paste(right, (left.width + _GAP_PX, 0))
    return canvas


def save_views(path: Path, clip: Clip) -> None:
    """Keep the pictures of a clip, not its caption."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, *(np.stack(view) for view in clip.views))


def load_clip(path: Path, caption: str, *, good: bool) -> Clip:
    """A clip of pictures that were kept."""
    with np.load(path, allow_pickle=False) as file:
        return Clip(tuple(tuple(file[name]) for name in file.files), caption, good)


def write_gif(path: Path, clips: Sequence[Clip], fps: float) -> None:
    """Write an endless GIF of one clip after the other.

    Raises:
        ValueError: There is no picture.
    """
    write_gif_of(path, [pictures(clip) for clip in clips], fps)


def write_gif_of(path: Path, scenes: Sequence[Sequence[Image.Image]], fps: float) -> None:
    """Write an endless GIF of composed pictures, with a pause after each scene.

    Raises:
        ValueError: There is no picture.
    """
    frames = [picture for scene in scenes for picture in scene]
    if not frames:
        raise ValueError("no picture to write")
    ends = set(np.cumsum([len(scene) for scene in scenes]) - 1)
    durations_ms = [int(1000 / fps) + (int(1000 * _PAUSE_S) if i in ends else 0) for i in range(len(frames))]
    palette = _palette(frames)
    small = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    with whole_file(path) as partial:
        small[0].save(
            partial, format="GIF", save_all=True, append_images=small[1:], duration=durations_ms, loop=0, optimize=True
        )


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """One palette for all pictures, so that colours do not flicker; taken from a few of them."""
    some = [frames[i] for i in np.linspace(0, len(frames) - 1, min(8, len(frames))).astype(int)]
    mosaic = np.concatenate([np.asarray(frame) for frame in some])
    return Image.fromarray(mosaic).quantize(_COLOURS)


def write_mp4(path: Path, clips: Sequence[Clip], fps: int) -> None:
    """Write an MP4.

    Raises:
        ValueError: There is no picture.
    """
    frames = [np.asarray(picture) for clip in clips for picture in pictures(clip)]
    if not frames:
        raise ValueError("no picture to write")
    height, width = frames[0].shape[:2]
    with whole_file(path) as partial:
        video = VideoFile(partial, fps, height, width)
        for frame in frames:
            video.append(frame)
        video.close()
