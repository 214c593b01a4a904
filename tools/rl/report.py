# SPDX-License-Identifier: Apache-2.0
"""The record as tables in a page and as pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from curves import draw_curves, read_points
from matrix import METHODS, SEEDS, TASKS, VARIANTS, Cell, Plan, Variant, recorded
from pictures import BLUE, GREY, ORANGE, panels, save
from record import RunRow

from whetstone_common.core.success_rate import Rate, wilson

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"

_COLUMNS = (
    "task", "variant", "seeds", "base", "after, by seed", "mean", "95 % interval", "under human control",
    "control steps",
)  # fmt: skip
_HEAD = """## Every method, and ablations

Written by `make results` from [results.csv](results.csv); a dash is a run that has not been made. One part of it:
`make results ARGS="--only pick_place/expo"`. In process; each method has its shipped `settings.yaml`, N = 8 candidates
and 40 demonstrations. Ablations are of EXPO, with the operator. "alone": without the operator.

On several machines: `make results ARGS="--ray auto"`, with a Ray cluster as for [PPO](../explanation/methods/ppo.md)
whose machines have the checkout and `runs/results` at the same path; each run takes one CPU.

Base and after: without exploration and without help, on the same scenes. The interval is Wilson's over the episodes of
all seeds as if they were independent; seeds scatter more than it says. Steps under human control and control steps are
means over the seeds.
"""

_RUN_COLUMNS = (
    "task", "method", "variant", "seed", "base", "after", "95 % interval", "under human control", "robot minutes",
    "wall minutes",
)  # fmt: skip
_GRAPH_HEAD = """## Every run through the graph

Written from [results.csv](results.csv). Methods that train the VLA itself are run by
`python tools/rl/vla_training.py METHOD --seed SEED`, which types the commands of their pages. Robot minutes count
demonstrations, rollouts and corrections, for ppo those of the simulator; wall minutes are of two busy cores.
"""

_OUTSIDE_HEAD = """## Runs on gym-hil

gym-hil's `PandaPickCube` with the cube at random places, by `python tools/rl/outside.py VARIANT --seeds SEED`, in
process. Base: the shipped VLA, its action expert fine-tuned on 100 demonstrations of a scripted expert.
"""

# a method has one colour, with the operator and without
_DRAWN = {variant.key: variant.method for variant in METHODS} | {"every_2_alone": "expo, driven by its critic"}
_CURVES = """Curves of the methods as shipped, and of EXPO driven by its critic with windows at every second step, of
those runs whose curve was kept in [curves.csv](curves.csv): success without help among the last 20 episodes of
training, exploration included. With the operator a curve begins low, since most episodes are corrected."""


@dataclass(frozen=True)
class Row:
    """A variant on a task.

    Attributes:
        task: Which.
        variant: Which.
        runs: By seed, of those that have been made.
    """

    task: str
    variant: Variant
    runs: Mapping[int, RunRow]

    @property
    def base(self) -> Rate:
        """Success before, which is evaluated once however many runs record it."""
        once = next(iter(self.runs.values()))
        return wilson(round(once.base * once.episodes), once.episodes)

    @property
    def rate(self) -> Rate:
        """Success after, of all seeds together."""
        wins = sum(round(run.after * run.episodes) for run in self.runs.values())
        return wilson(wins, sum(run.episodes for run in self.runs.values()))

    def mean(self, name: str, form: str) -> str:
        """Of a figure over the seeds that have it."""
        values = [getattr(run, name) for run in self.runs.values() if getattr(run, name) is not None]
        return format(float(np.mean(values)), form).replace(",", " ") if values else "–"

    def line(self) -> str:
        """Of the table."""
        start = f"| {self.task} | {self.variant.title} | {len(self.runs)} of {len(SEEDS)} | "
        if not self.runs:
            return start + "– | – | – | – | – | – |"
        each = " ".join(f"{self.runs[seed].after:.2f}" if seed in self.runs else "–" for seed in SEEDS)
        after = self.rate
        columns = [
            f"{self.base.rate:.2f}", each, f"{after.rate:.2f}", f"{after.low:.2f} to {after.high:.2f}",
            self.mean("human_fraction", ".2f"), self.mean("control_steps", ",.0f"),
        ]  # fmt: skip
        return f"{start}{' | '.join(columns)} |"


def rows(plan: Plan) -> list[Row]:
    """The whole matrix, with the runs of the record."""
    table, kept = [], recorded(plan)
    for task in TASKS:
        for variant in VARIANTS:
            cells = {seed: Cell(task, variant, seed).key for seed in SEEDS}
            table.append(Row(task, variant, {seed: kept[key] for seed, key in cells.items() if key in kept}))
    return table


def run_lines(head: str, runs: Sequence[RunRow]) -> list[str]:
    """Section with a line for each run, nothing where there are none."""
    if not runs:
        return []
    lines = [head, f"| {' | '.join(_RUN_COLUMNS)} |", f"|{'---|' * len(_RUN_COLUMNS)}"]
    for run in sorted(runs, key=lambda each: each.key):
        after = wilson(round(run.after * run.episodes), run.episodes)
        columns = [
            run.task, run.method, run.variant.replace("_", " "), str(run.seed), f"{run.base:.2f}", f"{run.after:.2f}",
            f"{after.low:.2f} to {after.high:.2f}", _number(run.human_fraction, ".2f"),
            _number(run.robot_minutes, ".1f"), _number(None if run.wall_s is None else run.wall_s / 60.0, ".0f"),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(columns)} |")
    return [*lines, ""]


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def block(table: Sequence[Row], runs: Sequence[RunRow], picture: str, curves: str = "") -> str:
    """What stands between the markers.

    Args:
        table: Rows of the matrix.
        runs: The whole record; of it, runs through the graph and those on tasks of others are listed one by one.
        picture: Link to the picture, empty when there is none.
        curves: Link to the figure of learning curves, empty when there is none.
    """
    graph = [run for run in runs if run.where == "graph"]
    outside = [run for run in runs if run.task not in TASKS]
    lines = [BEGIN, *run_lines(_GRAPH_HEAD, graph), *run_lines(_OUTSIDE_HEAD, outside), _HEAD]
    if any(row.runs for row in table):
        lines += [f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}", *(row.line() for row in table)]
    else:
        lines += ["No run has been made yet."]
    if picture:
        lines += ["", f"![Success of every variant]({picture})"]
    if curves:
        lines += ["", _CURVES, "", f"![Success without help over robot time, for each method]({curves})"]
    return "\n".join([*lines, END])


def replace_block(text: str, new: str) -> str:
    """A page with its block renewed, or added at its end.

    Raises:
        ValueError: The markers are not one pair in order.
    """
    if BEGIN not in text and END not in text:
        return f"{text.rstrip()}\n\n{new}\n".lstrip()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError(f"expected one {BEGIN} with one {END} behind it")
    return f"{before}{new}{after}"


def draw(path: Path, table: Sequence[Row]) -> None:
    """Success of every variant; written as a whole or not at all."""
    figure, axes = panels(1, len(TASKS), (4.5 * len(TASKS), 5.0), sharey=True)
    for panel, task in zip(axes[0], TASKS, strict=True):
        _draw_variants(panel, task, [row for row in table if row.task == task])
    axes[0][0].set_ylim(len(VARIANTS) - 0.5, -0.5)  # the first on top
    save(figure, axes, path)


def _draw_variants(axes: Any, task: str, table: Sequence[Row]) -> None:
    measured = [(place, row) for place, row in enumerate(table) if row.runs]
    if measured:
        base = measured[0][1].base
        axes.axvspan(base.low, base.high, color=GREY, alpha=0.12, linewidth=0)
        axes.axvline(base.rate, color=GREY, linestyle="--", label="base, 95 % interval")
    for place, row in measured:
        rate = row.rate
        seeds = [run.after for run in row.runs.values()]
        axes.plot([rate.low, rate.high], [place, place], color=BLUE, linewidth=2.5, solid_capstyle="butt")
        axes.plot(seeds, [place] * len(seeds), "|", color=ORANGE, markersize=13, markeredgewidth=2, label="each seed")
        axes.plot(rate.rate, place, "o", color=BLUE, markersize=8, label="all seeds, 95 % interval")
    for place in sorted(set(range(len(table))) - {place for place, _ in measured}):
        axes.text(0.02, place, "not run", color=GREY, fontsize=8, va="center")
    axes.set_yticks(range(len(table)), [row.variant.title for row in table])
    axes.set_xlim(0.0, 1.0)
    axes.set_title(task)
    axes.set_xlabel("success after training")
    axes.grid(axis="x", alpha=0.3)


def report(plan: Plan, page: Path, picture: Path) -> None:
    """Prints the table, and writes it and the picture."""
    table = rows(plan)
    measured = any(row.runs for row in table)
    if measured:
        draw(picture, table)
    link = os.path.relpath(picture, page.parent) if measured else ""
    points, curves = read_points(plan.curves), picture.with_name("learning_curves.png")
    if points:
        draw_curves(points, _DRAWN, curves)
    curves_link = os.path.relpath(curves, page.parent) if points else ""
    new = block(table, list(recorded(plan).values()), link, curves_link)
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(replace_block(text, new), encoding="utf-8")
    print(new)
    print(f"wrote {page}{f' and {picture}' if measured else ''}")
