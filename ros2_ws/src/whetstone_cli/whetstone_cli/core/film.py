# SPDX-License-Identifier: Apache-2.0
"""Episodes as something to look at, as GIF or MP4.

Where there is a third camera, for people, it is the picture, and what the policy sees stands small below it beside the
caption. Elsewhere, as on a real arm, the policy's own cameras are the picture.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from experience.core.video import VideoFile
from whetstone_cli.core.film_caption import BACKGROUND, write_caption
from whetstone_common.core.outputs import whole_file

ENDINGS = (".gif", ".mp4")
# Of the policy's cameras where they are the picture, and where they stand below it.
_HEIGHT_PX, _SMALL_PX = 288, 96
_BAND_PX, _MARGIN_PX = 108, 6
_COLOURS = 255
# How long the last picture of a clip stays.
_PAUSE_S = 0.8
# Between two clips that are shown side by side; each is at most so wide.
_GAP_PX, _SIDE_PX = 6, 480


@dataclass(frozen=True)
class Clip:
    """Pictures of one episode.

    Attributes:
        views: Pictures by camera of the policy, uint8 RGB [H, W, 3], equally many per camera.
        caption: What was said.
        good: Whether it succeeded; colours the outcome.
        outcome: How it ended, empty for nothing.
        spectator: Pictures for people as JPEG, one for each of a camera's, or none.
    """

    views: tuple[tuple[np.ndarray, ...], ...]
    caption: str
    good: bool
    outcome: str = ""
    spectator: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Reel:
    """Pictures that are drawn one by one when they are wanted: all of a film would take gigabytes."""

    count: int
    draw: Callable[[int], Image.Image]

    def __len__(self) -> int:
        """How many pictures."""
        return self.count

    def __iter__(self) -> Iterator[Image.Image]:
        """Draw them in order."""
        return map(self.draw, range(self.count))


def reel_of(clip: Clip) -> Reel:
    """Composed pictures of a clip."""
    streams = [*clip.views, *([clip.spectator] if clip.spectator else [])]
    return Reel(min(map(len, streams), default=0), lambda index: _compose(clip, index))


def _compose(clip: Clip, index: int) -> Image.Image:
    views = [Image.fromarray(view[index]) for view in clip.views]
    if not clip.spectator:
        return _with_band([_scaled(view, _HEIGHT_PX) for view in views], [], clip)
    whole = Image.open(io.BytesIO(clip.spectator[index])).convert("RGB")
    return _with_band([whole], [_scaled(view, _SMALL_PX) for view in views], clip)


def _scaled(view: Image.Image, height: int) -> Image.Image:
    # Even, since video codecs want it.
    width = max(2, round(height * view.width / view.height / 2) * 2)
    return view if view.size == (width, height) else view.resize((width, height), Image.Resampling.BICUBIC)


def _with_band(large: Sequence[Image.Image], small: Sequence[Image.Image], clip: Clip) -> Image.Image:
    """Large pictures in a row, below them small ones and the caption."""
    top = max(picture.height for picture in large)
    canvas = Image.new("RGB", (sum(picture.width for picture in large), top + _BAND_PX), BACKGROUND)
    x = 0
    for picture in large:
        canvas.paste(picture, (x, 0))
        x += picture.width
    x = _MARGIN_PX
    for picture in small:
        canvas.paste(picture, (x, top + _MARGIN_PX))
        x += picture.width + _MARGIN_PX
    box = (x + _MARGIN_PX, top + _MARGIN_PX, canvas.width - 2 * _MARGIN_PX, canvas.height - _MARGIN_PX)
    note = "left: what the policy sees" if small else ""
    write_caption(ImageDraw.Draw(canvas), box, clip.caption, clip.outcome, note, good=clip.good)
    return canvas


def side_by_side(left: Clip, right: Clip) -> Reel:
    """Two clips that begin together; the one that ends first waits on its last picture."""
    sides = [reel_of(clip) for clip in _alike([left, right])]
    if not all(sides):
        return Reel(0, lambda _index: Image.new("RGB", (2, 2)))

    def draw(index: int) -> Image.Image:
        return _beside(*(_narrowed(side.draw(min(index, side.count - 1))) for side in sides))

    return Reel(max(map(len, sides)), draw)


def _alike(clips: Sequence[Clip]) -> Sequence[Clip]:
    """All of one size: the third camera only where every clip has it."""
    return clips if all(clip.spectator for clip in clips) else [replace(clip, spectator=()) for clip in clips]


def _narrowed(picture: Image.Image) -> Image.Image:
    if picture.width <= _SIDE_PX:
        return picture
    height = round(picture.height * _SIDE_PX / picture.width / 2) * 2
    return picture.resize((_SIDE_PX, height), Image.Resampling.LANCZOS)


def _beside(left: Image.Image, right: Image.Image) -> Image.Image:
    canvas = Image.new("RGB", (left.width + _GAP_PX + right.width, left.height), (255, 255, 255))
    canvas.paste(left, (0, 0))
    canvas.paste(right, (left.width + _GAP_PX, 0))
    return canvas


def save_clip(path: Path, clip: Clip) -> None:
    """Keep a clip for another process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {
        "words": np.array([clip.caption, clip.outcome]),
        "good": np.array(clip.good),
        "pictures": np.frombuffer(b"".join(clip.spectator), dtype=np.uint8),
        "lengths": np.array([len(picture) for picture in clip.spectator], dtype=np.int64),
    }
    arrays |= {f"view_{number}": np.stack(view) for number, view in enumerate(clip.views)}
    np.savez(path, **arrays)


def load_clip(path: Path) -> Clip:
    """A clip that was kept."""
    with np.load(path, allow_pickle=False) as file:
        views = tuple(tuple(file[name]) for name in sorted(file.files) if name.startswith("view_"))
        ends = np.cumsum(file["lengths"])
        pictures = np.split(file["pictures"], ends[:-1]) if len(ends) else []
        caption, outcome = file["words"].tolist()
        return Clip(views, caption, bool(file["good"]), outcome, tuple(picture.tobytes() for picture in pictures))


def write_film(path: Path, reels: Sequence[Reel], fps: int) -> None:
    """Write reels one after the other as what the file's ending says, .gif or .mp4.

    Raises:
        ValueError: There is no picture.
    """
    write = write_gif if path.suffix.lower() == ".gif" else write_mp4
    write(path, [reel for reel in reels if reel.count], fps)


def reels_of(clips: Sequence[Clip]) -> list[Reel]:
    """Scenes of clips that make one film."""
    return [reel_of(clip) for clip in _alike(clips)]


def write_gif(path: Path, reels: Sequence[Reel], fps: float) -> None:
    """Write an endless GIF, with a pause after each reel.

    Raises:
        ValueError: There is no picture.
    """
    if not any(reels):
        raise ValueError("no picture to write")
    palette = _palette(reels)
    ends = set(np.cumsum([len(reel) for reel in reels]) - 1)
    count = sum(map(len, reels))
    durations_ms = [int(1000 / fps) + (int(1000 * _PAUSE_S) if i in ends else 0) for i in range(count)]
    none = Image.Dither.NONE
    small = (picture.quantize(palette=palette, dither=none) for reel in reels for picture in reel)
    with whole_file(path) as partial:
        next(small).save(
            partial, format="GIF", save_all=True, append_images=small, duration=durations_ms, loop=0, optimize=True
        )


def _palette(reels: Sequence[Reel]) -> Image.Image:
    """One palette for all pictures, so that colours do not flicker; taken from a few of them."""
    places = [(reel, index) for reel in reels for index in range(len(reel))]
    some = [places[i] for i in np.linspace(0, len(places) - 1, min(8, len(places))).astype(int)]
    mosaic = np.concatenate([np.asarray(reel.draw(index)) for reel, index in some])
    # Not the default: by count of pixels, the colours of small things would be lost.
    return Image.fromarray(mosaic).quantize(_COLOURS, method=Image.Quantize.FASTOCTREE)


def write_mp4(path: Path, reels: Sequence[Reel], fps: int) -> None:
    """Write an MP4.

    Raises:
        ValueError: There is no picture.
    """
    if not any(reels):
        raise ValueError("no picture to write")
    first = next(reel for reel in reels if reel).draw(0)
    with whole_file(path) as partial:
        video = VideoFile(partial, fps, first.height, first.width)
        for reel in reels:
            for picture in reel:
                video.append(np.asarray(picture))
        video.close()
