# SPDX-License-Identifier: Apache-2.0
"""Learning curves of several runs over one another, as options of an ECharts picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from operator_console.core.runs import RunView

COLOURS = ("#1565c0", "#d95f02", "#1b7f3b", "#8e24aa", "#c10015", "#00838f", "#6d4c41", "#455a64")
_DIGITS = 4
_LEARNER = 1  # number of the lower picture
_GRID = {"left": 45, "right": 20, "outerBoundsMode": "none"}
_BASE = {"formatter": "base", "position": "insideEndTop"}
_UPWARDS = {"type": "value", "nameTextStyle": {"align": "left"}, "splitNumber": 4}


def options_of(runs: Sequence[RunView]) -> dict[str, Any]:
    """Success with its interval over robot time, and below it the human's share of steps and the critic's value."""
    series = [each for run, colour in zip(runs, _colours(len(runs)), strict=True) for each in _series(run, colour)]
    longest = max((at for run in runs for at, _ in (*run.curve.success, *run.curve.human)), default=1.0)
    minutes = {"type": "value", "min": 0, "max": math.ceil(10.0 * longest) / 10.0}
    below = {**minutes, "name": "robot time [min]", "nameLocation": "middle", "nameGap": 24}
    return {
        "animation": False,
        "legend": {"data": [run.name for run in runs], "top": 0},
        "tooltip": {"trigger": "axis"},
        "axisPointer": {"link": [{"xAxisIndex": "all"}]},
        "grid": [{**_GRID, "top": "15%", "height": "45%"}, {**_GRID, "top": "70%", "height": "18%"}],
        "xAxis": [
            {**minutes, "gridIndex": 0, "axisLabel": {"show": False}},
            {**below, "gridIndex": _LEARNER},
        ],
        "yAxis": [
            {**_UPWARDS, "gridIndex": 0, "min": 0, "max": 1, "name": _success_name(runs)},
            {**_UPWARDS, "gridIndex": _LEARNER, "name": "critic's value, and share of steps by a human (dashed)"},
        ],
        "series": series,
    }


def _colours(count: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(count)]


def _success_name(runs: Sequence[RunView]) -> str:
    kinds = {run.curve.is_alone for run in runs if run.curve.success}
    names = {True: "success without help, 95 % interval", False: "success of the last 20 episodes, 95 % interval"}
    return " / ".join(names[kind] for kind in sorted(kinds)) or "success"


def _series(run: RunView, colour: str) -> list[dict[str, Any]]:
    curve = run.curve
    line = {"type": "line", "color": colour}
    hidden = {**line, "stack": f"interval {run.name}", "symbol": "none", "silent": True, "tooltip": {"show": False}}
    hidden["lineStyle"] = {"opacity": 0}
    success: dict[str, Any] = {**line, "name": run.name, "data": [_point(at, rate.rate) for at, rate in curve.success]}
    success["symbolSize"] = 8 if curve.is_alone else 4
    if curve.base is not None:
        success["markLine"] = {
            "silent": True, "symbol": "none", "lineStyle": {"type": "dotted"}, "label": _BASE,
            "data": [{"yAxis": round(curve.base, _DIGITS)}],
        }  # fmt: skip
    lower = {**line, "xAxisIndex": _LEARNER, "yAxisIndex": _LEARNER, "symbol": "none"}
    return [
        {**hidden, "name": f"{run.name} low", "data": [_point(at, rate.low) for at, rate in curve.success]},
        {
            **hidden,
            "name": f"{run.name} interval",
            "areaStyle": {"opacity": 0.15},
            "data": [_point(at, rate.high - rate.low) for at, rate in curve.success],
        },
        success,
        {
            **lower,
            "name": f"{run.name}: steps by a human",
            "lineStyle": {"type": "dashed"},
            "data": [_point(*each) for each in curve.human],
        },
        {**lower, "name": f"{run.name}: critic's value", "data": [_point(*each) for each in curve.value]},
    ]


def _point(minutes: float, share: float) -> list[float]:
    return [round(minutes, _DIGITS), round(share, _DIGITS)]
