# SPDX-License-Identifier: Apache-2.0
"""The candidate chunks of a decision over a camera's picture, as SVG; and their scores as a table."""

from __future__ import annotations

import base64
import math

import numpy as np
import numpy.typing as npt

from operator_console.core.candidates import CandidatePath, DecisionView
from operator_console.web import tables
from operator_console.web.interface import CameraShot

# From the lowest score to the highest: ends and middle of the viridis colour map.
_COLOURS = ((68, 1, 84), (33, 145, 140), (253, 231, 37))
_WITHOUT_SCORE = "#90caf9"
CHOSEN_COLOUR = "#ff6d00"
# Of a picture's width; the picture is scaled to the page.
_THIN, _THICK, _DOT = 0.005, 0.009, 0.003


def score_colour(score: float | None, lowest: float, highest: float) -> str:
    """Colour of a score between the lowest and the highest one of a decision."""
    if score is None:
        return _WITHOUT_SCORE
    share = 0.5 if highest <= lowest else (score - lowest) / (highest - lowest)
    place = min(max(share, 0.0), 1.0) * (len(_COLOURS) - 1)
    index = min(int(place), len(_COLOURS) - 2)
    mixed = [round(a + (b - a) * (place - index)) for a, b in zip(_COLOURS[index], _COLOURS[index + 1], strict=True)]
    return "#" + "".join(f"{part:02x}" for part in mixed)


def camera_html(shot: CameraShot, view: DecisionView) -> str:
    """A camera's picture with all candidates and the chunk that was sent drawn over it."""
    name = tables.escape(shot.name)
    note = f"<div class='text-xs text-grey'>{name}{': ' if shot.problem else ''}{tables.escape(shot.problem)}</div>"
    if not shot.jpeg:
        return f"<div class='why-camera' data-why='{name}'>{note}</div>"
    kind = "png" if shot.jpeg.startswith(b"\x89PNG") else "jpeg"
    source = f"data:image/{kind};base64,{base64.b64encode(shot.jpeg).decode()}"
    return (
        f"<div class='why-camera' data-why='{name}'><div><img src='{source}'>{_overlay(shot, view)}</div>{note}</div>"
    )


def _overlay(shot: CameraShot, view: DecisionView) -> str:
    if shot.model is None or shot.optical is None:
        return ""
    width = shot.model.width_px
    lines = []
    low, high = score_range(view)
    for each in sorted(view.candidates, key=lambda candidate: candidate.number == view.chosen):
        pixels = shot.model.project(each.points, shot.optical)
        lines.append(_line(pixels, score_colour(each.score, low, high), _THIN * width, f"candidate {each.number}"))
    sent = shot.model.project(view.chosen_points, shot.optical)
    lines += [
        _line(sent, "#000000", 1.5 * _THICK * width, "sent outline"),
        _line(sent, CHOSEN_COLOUR, _THICK * width, "sent"),
    ]
    lines += [_dots(sent, _DOT * width)]
    return f"<svg viewBox='0 0 {width} {shot.model.height_px}'>{''.join(lines)}</svg>"


def score_range(view: DecisionView) -> tuple[float, float]:
    """Lowest and highest score of a decision."""
    scores = view.scores
    return (min(scores), max(scores)) if scores else (0.0, 0.0)


def _line(pixels: npt.NDArray[np.float64], colour: str, width_px: float, name: str) -> str:
    """Parts of a path that the camera sees."""
    parts: list[list[str]] = [[]]
    for x, y in pixels:
        if math.isnan(x):
            parts.append([])
        else:
            parts[-1].append(f"{x:.2f},{y:.2f}")
    return "".join(
        f"<polyline data-path='{name}' points='{' '.join(part)}' fill='none' stroke='{colour}' "
        f"stroke-width='{width_px:.2f}' stroke-linecap='round' stroke-linejoin='round'/>"
        for part in parts
        if len(part) > 1
    )


def _dots(pixels: npt.NDArray[np.float64], radius_px: float) -> str:
    return "".join(
        f"<circle cx='{x:.2f}' cy='{y:.2f}' r='{radius_px:.2f}' fill='white'/>" for x, y in pixels if not math.isnan(x)
    )


def candidates_table(view: DecisionView) -> str:
    """Every candidate with its scores, the chosen one marked."""
    low, high = score_range(view)
    rows = "".join(_candidate_row(each, view, low, high) for each in view.candidates)
    return (
        "<table class='plain'><tr><th></th><th>candidate</th><th>score</th><th>score when edited</th><th></th></tr>"
        f"{rows}</table>"
    )


def _candidate_row(each: CandidatePath, view: DecisionView, low: float, high: float) -> str:
    colour = score_colour(each.score, low, high)
    chosen = f"chosen, {tables.escape(view.kind)}" if each.number == view.chosen else ""
    return (
        f"<tr data-candidate='{each.number}'><td><i class='why-colour' style='background:{colour}'></i></td>"
        f"<td>{each.number}</td><td>{_score(each.score)}</td><td>{_score(each.edited_score)}</td><td>{chosen}</td></tr>"
    )


def _score(score: float | None) -> str:
    return "–" if score is None else f"{score:.3f}"
