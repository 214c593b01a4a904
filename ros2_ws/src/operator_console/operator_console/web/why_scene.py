# SPDX-License-Identifier: Apache-2.0
"""The candidate chunks of a decision as paths in the robot's base frame, as options of a 3D ECharts picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from operator_console.core.candidates import DecisionView
from operator_console.web.why_drawing import CHOSEN_COLOUR, score_colour, score_range

Array = npt.NDArray[np.float64]
_DIGITS = 4
# Paths of a policy that stands still are drawn in a box of this size [m], not blown up to fill it.
_LEAST_M = 0.04
_STEP_M = 0.02  # half an edge is a multiple of it, so that the middle of an axis and its ends are whole centimetres
_MARGIN = 1.1
_TCP_COLOUR = "#212121"


def scene_options(view: DecisionView) -> dict[str, Any]:
    """All candidates and the sent chunk in a cube whose axes have one scale, seen from where it is turned to.

    Series are the candidates in the order of their numbers, the sent chunk, and the TCP at the observation.
    """
    low, high = score_range(view)
    series = [_line(each.points, f"candidate {each.number}", score_colour(each.score, low, high), 2)
              for each in view.candidates]  # fmt: skip
    series += [_line(view.chosen_points, "sent", CHOSEN_COLOUR, 5)]
    series += [_dot(np.asarray(view.tcp.position), "TCP at the observation", _TCP_COLOUR)]
    middle, half = _box(view)
    return {
        "animation": False,
        "tooltip": {},
        "grid3D": {
            "boxWidth": 100, "boxDepth": 100, "boxHeight": 100,
            "viewControl": {"alpha": 25, "beta": 40, "distance": 220, "animation": False},
        },
        **{f"{name}Axis3D": _axis(name, float(at), half) for name, at in zip("xyz", middle, strict=True)},
        "series": series,
    }  # fmt: skip


def _box(view: DecisionView) -> tuple[Array, float]:
    """Middle and half an edge [m] of the cube around every path and the TCP, in whole centimetres."""
    points = np.vstack([*(each.points for each in view.candidates), view.chosen_points, [view.tcp.position]])
    low, high = points.min(axis=0), points.max(axis=0)
    half = max(float((high - low).max()) * _MARGIN, _LEAST_M) / 2.0
    return ((low + high) / 2.0).round(2), np.ceil(half / _STEP_M) * _STEP_M


def _axis(name: str, middle: float, half: float) -> dict[str, Any]:
    bounds = {"min": round(middle - half, _DIGITS), "max": round(middle + half, _DIGITS)}
    return {"type": "value", "name": f"{name} [m]", "interval": round(half / 2.0, _DIGITS), **bounds}


def _line(points: Array, name: str, colour: str, width: int) -> dict[str, Any]:
    return {
        "type": "line3D", "name": name, "data": points.round(_DIGITS).tolist(),
        "lineStyle": {"color": colour, "width": width},
    }  # fmt: skip


def _dot(point: Array, name: str, colour: str) -> dict[str, Any]:
    data = [point.round(_DIGITS).tolist()]
    return {"type": "scatter3D", "name": name, "data": data, "symbolSize": 9, "itemStyle": {"color": colour}}
