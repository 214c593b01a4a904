# SPDX-License-Identifier: Apache-2.0
"""An episode over its time, as options of an ECharts picture: joints, who drove, and the critic's value."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from operator_console.core.playback import EpisodeReplay
from operator_console.web.run_chart import COLOURS
from whetstone_common.core.enums import Actor

_DIGITS = 4
_VALUE = 1  # number of the lower picture
BANDS = {
    Actor.HOLD: "rgba(120,120,120,0.15)",
    Actor.POLICY: "rgba(21,101,192,0.10)",
    Actor.HUMAN: "rgba(230,81,0,0.22)",
}
DRIVERS = {Actor.HOLD: "nobody (holds)", Actor.POLICY: "policy", Actor.HUMAN: "human"}
_GRID = {"left": 45, "right": 20, "outerBoundsMode": "none"}
_VERTICAL = {"type": "value", "scale": True, "splitNumber": 4, "nameTextStyle": {"align": "left"}}


def driver_spans(actors: Sequence[int] | np.ndarray) -> list[tuple[Actor, int, int]]:
    """Who drove from which step to which, the last one not included."""
    spans, begin = [], 0
    for actor, steps in groupby(int(each) for each in actors):
        end = begin + len(list(steps))
        spans.append((Actor(actor), begin, end))
        begin = end
    return spans


def trace_options(episode: EpisodeReplay) -> dict[str, Any]:
    """Measured joints over a band of who drove; below it the value that the critic gave to each chosen chunk."""
    end_s = float(episode.times_s[-1])
    time = {"type": "value", "min": 0, "max": round(end_s, 2) or 1.0}
    has_values = bool(episode.values)
    series = [_joint(episode, number, name) for number, name in enumerate(episode.joints)]
    series[0]["markArea"] = {"silent": True, "data": [_band(episode, *span) for span in driver_spans(episode.actors)]}
    options: dict[str, Any] = {
        "animation": False,
        "legend": {"data": list(episode.joints), "top": 0, "type": "scroll"},
        "tooltip": {"trigger": "axis", "showContent": False, "axisPointer": {"label": {"show": True}}},
        "grid": [{**_GRID, "top": "19%", "height": "41%" if has_values else "67%"}],
        "xAxis": [
            {**time, "gridIndex": 0, "name": "" if has_values else "time [s]", "nameLocation": "middle", "nameGap": 22}
        ],
        "yAxis": [{**_VERTICAL, "gridIndex": 0, "name": "measured joints [rad], gripper 0..1"}],
        "series": series,
    }
    if has_values:
        options["axisPointer"] = {"link": [{"xAxisIndex": "all"}]}
        options["grid"].append({**_GRID, "top": "72%", "height": "17%"})
        options["xAxis"].append(
            {**time, "gridIndex": _VALUE, "name": "time [s]", "nameLocation": "middle", "nameGap": 22}
        )
        options["yAxis"].append({**_VERTICAL, "gridIndex": _VALUE, "name": "critic's value of the chosen chunk"})
        options["series"].append(_values(episode))
    return options


def _joint(episode: EpisodeReplay, number: int, name: str) -> dict[str, Any]:
    return {
        "name": name, "type": "line", "symbol": "none", "color": COLOURS[number % len(COLOURS)],
        "lineStyle": {"width": 1.5, "type": "solid" if number < len(COLOURS) else "dashed"},
        "data": [_point(*pair) for pair in zip(episode.times_s, episode.measured[:, number], strict=True)],
    }  # fmt: skip


def _band(episode: EpisodeReplay, actor: Actor, begin: int, end: int) -> list[dict[str, Any]]:
    last = min(end, len(episode) - 1)
    begin_s, end_s = (round(float(episode.times_s[step]), _DIGITS) for step in (begin, last))
    return [{"name": "", "xAxis": begin_s, "itemStyle": {"color": BANDS[actor]}}, {"xAxis": end_s}]


def _values(episode: EpisodeReplay) -> dict[str, Any]:
    data = [_point(episode.times_s[step], value) for step, value in episode.values]
    return {
        "name": "critic's value", "type": "line", "step": "end", "symbolSize": 5, "color": "#1b7f3b",
        "xAxisIndex": _VALUE, "yAxisIndex": _VALUE, "data": data,
    }  # fmt: skip


def _point(time_s: float, value: float) -> list[float]:
    return [round(float(time_s), _DIGITS), round(float(value), _DIGITS)]
