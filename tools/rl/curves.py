# SPDX-License-Identifier: Apache-2.0
"""Learning curves of runs, `docs/reference/curves.csv`, and the figure of all of them.

A point looks back on the last episodes: how many of them succeeded, and how many without help.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from pictures import BLUE, GREEN, GREY, ORANGE, PINK, SKY, YELLOW, panels, save

from whetstone_common.core.outputs import whole_file

LAST = 20  # episodes that a point looks back on
_POINTS = 25  # of a curve in the record
_COLOURS = (BLUE, ORANGE, GREEN, PINK, YELLOW, SKY)


@dataclass(frozen=True)
class CurvePoint:
    """One point of one run.

    Attributes:
        task: Name of the task.
        variant: Key of the method or of what is changed of it.
        seed: Of the run.
        human: 1 with the operator, else 0.
        robot_minutes: Since the run began.
        success: Share of the last episodes that succeeded.
        unaided: Share of the last episodes that succeeded without help.
    """

    task: str
    variant: str
    seed: int
    human: int
    robot_minutes: float
    success: float
    unaided: float

    @property
    def run(self) -> tuple[str, str, int, int]:
        """What makes it a point of another run."""
        return self.task, self.variant, self.seed, self.human


def training_curve(result: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Robot steps, and over the last episodes success and success without help.

    The steps of a run are spread evenly over its episodes where their ticks are not recorded.
    """
    won, helped = np.asarray(result["successes"], bool), np.asarray(result["helped"], bool)
    ticks = result.get("ticks") or np.full(len(won), result["steps"] / max(1, len(won)))
    ends = range(min(LAST, len(won)), len(won) + 1)

    def share(values: np.ndarray) -> np.ndarray:
        return np.array([values[max(0, end - LAST) : end].mean() for end in ends])

    return np.cumsum(ticks)[[end - 1 for end in ends]], share(won), share(won & ~helped)


def points_of(run: tuple[str, str, int, int], result: Mapping[str, Any], dt_s: float) -> list[CurvePoint]:
    """What the record keeps of a run's curve."""
    steps, won, unaided = training_curve(result)
    chosen = np.unique(np.linspace(0, len(steps) - 1, min(_POINTS, len(steps))).round().astype(int))
    return [CurvePoint(*run, round(float(steps[i]) * dt_s / 60.0, 3), float(won[i]), float(unaided[i])) for i in chosen]


def read_points(path: Path) -> list[CurvePoint]:
    """All points of a record, none where there is no file."""
    if not path.is_file():
        return []
    kinds = {"seed": int, "human": int, "robot_minutes": float, "success": float, "unaided": float}
    with path.open(encoding="utf-8", newline="") as file:
        return [
            CurvePoint(**{name: kinds.get(name, str)(text) for name, text in row.items()})
            for row in csv.DictReader(file)
        ]


def keep_points(path: Path, points: Sequence[CurvePoint]) -> None:
    """Put the curve of a run into a record, in place of an earlier one; written as a whole or not at all."""
    runs = {point.run for point in points}
    kept = [point for point in read_points(path) if point.run not in runs]
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(CurvePoint)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(point) for point in [*kept, *points])


def draw_curves(points: Iterable[CurvePoint], titles: Mapping[str, str], path: Path) -> None:
    """One row of panels per task: with the operator, and without; a line per run.

    Args:
        points: Of all runs.
        titles: Of the variants that are drawn, by key.
        path: Of the picture.
    """
    points = [point for point in points if point.variant in titles]
    tasks = list(dict.fromkeys(point.task for point in points))
    colours = dict(zip(dict.fromkeys(titles.values()), _COLOURS, strict=False))
    figure, axes = panels(len(tasks), 2, (10.0, 3.6 * len(tasks)), sharex=True, sharey=True)
    for row, task in enumerate(tasks):
        for human in (1, 0):
            panel = axes[row][1 - human]
            mine = [point for point in points if (point.task, point.human) == (task, human)]
            _draw_panel(panel, mine, titles, colours)
            panel.set_title(f"{task}, {'with the operator' if human else 'nobody helps'}")
            if not mine:
                panel.text(0.5, 0.5, "no curve", color=GREY, ha="center", transform=panel.transAxes)
        axes[row][0].set_ylabel(f"success without help,\nlast {LAST} episodes of training")
    for panel in axes[-1]:
        panel.set_xlabel("robot time (min)")
    save(figure, axes, path)


def _draw_panel(axes: Any, points: Sequence[CurvePoint], titles: Mapping[str, str], colours: Mapping[str, str]) -> None:
    for run in dict.fromkeys(point.run for point in points):
        mine = [point for point in points if point.run == run]
        axes.plot(
            [point.robot_minutes for point in mine], [point.unaided for point in mine],
            color=colours.get(titles[run[1]], GREY), linewidth=1.6, label=titles[run[1]],
        )  # fmt: skip
    axes.set_ylim(0.0, 1.05)
    axes.grid(alpha=0.3)
