# SPDX-License-Identifier: Apache-2.0
"""Words below the pictures of a film: what was said, how it ended, and a note."""

from __future__ import annotations

from functools import cache

from PIL import ImageDraw, ImageFont

BACKGROUND = (24, 24, 27)
_WHITE, _GREY, _GREEN, _RED = (240, 240, 240), (150, 150, 155), (80, 200, 110), (235, 95, 85)
# The largest at which the words fit; where the smallest is too large, they are cut short.
_SIZES_PX = (22, 19, 16, 14)
_LINES = 2
_OUTCOME_PX, _NOTE_PX = 19, 12
_LINE_HEIGHT = 1.2

Box = tuple[int, int, int, int]  # left, top, right, bottom (px)


@cache
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


def write_caption(draw: ImageDraw.ImageDraw, box: Box, words: str, outcome: str, note: str, *, good: bool) -> None:
    """Write into a box; what does not fit ends with dots."""
    left, top, right, bottom = box
    size_px, lines = _fitted(draw, words, right - left)
    y = float(top)
    for line in lines:
        draw.text((left, y), line, fill=_WHITE, font=_font(size_px))
        y += _LINE_HEIGHT * size_px
    if outcome:
        (line,) = _wrapped(draw, outcome, right - left, _OUTCOME_PX, 1)
        draw.text((left, y + 2), line, fill=_GREEN if good else _RED, font=_font(_OUTCOME_PX))
    if note:
        draw.text((left, bottom - _LINE_HEIGHT * _NOTE_PX), note, fill=_GREY, font=_font(_NOTE_PX))


def _fitted(draw: ImageDraw.ImageDraw, words: str, width: int) -> tuple[int, list[str]]:
    for size_px in _SIZES_PX:
        lines = _wrapped(draw, words, width, size_px, _LINES)
        if not lines or not lines[-1].endswith("..."):
            break
    return size_px, lines


def _wrapped(draw: ImageDraw.ImageDraw, words: str, width: int, size_px: int, most: int) -> list[str]:
    """At most so many lines that fit into a width (px); the last one ends with dots where something is left out."""

    def fits(text: str) -> bool:
        return draw.textlength(text, font=_font(size_px)) <= width

    lines: list[str] = []
    for word in words.split():
        if lines and fits(f"{lines[-1]} {word}"):
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    cut = next((number for number, line in enumerate(lines[:most]) if not fits(line)), most - 1)
    if len(lines) <= most and all(map(fits, lines)):
        return lines
    last = lines[cut]
    while last and not fits(last + "..."):
        last = last[:-1]
    return [*lines[:cut], last + "..."]
