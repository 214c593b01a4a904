# SPDX-License-Identifier: Apache-2.0
"""A measured figure: median, 99th percentile, what it is compared with, and the bar it has to hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes:
        group: Benchmark it belongs to.
        name: What was measured.
        unit: Of the numbers below.
        p50: Median.
        p99: 99th percentile.
        count: Samples.
        ratio: p50 relative to the baseline of the same run; NaN without one.
        baseline: What the ratio refers to.
        bar: Bar to hold, in words; empty for none.
        holds: Whether it holds; None without a bar.
    """

    group: str
    name: str
    unit: str
    p50: float
    p99: float
    count: int
    ratio: float = float("nan")
    baseline: str = ""
    bar: str = ""
    holds: bool | None = None

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Figure:
        """Figure of a dictionary that `to_json` made."""
        return cls(**{**entry, "ratio": float("nan") if entry["ratio"] is None else entry["ratio"]})

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary; NaN becomes None, as JSON has none."""
        return {key: None if value != value else value for key, value in asdict(self).items()}


def summarise(
    group: str,
    name: str,
    unit: str,
    samples: Iterable[float],
    *,
    baseline: Figure | None = None,
    bar: float | None = None,
    bar_on: str = "p50",
) -> Figure:
    """Figure of samples.

    Args:
        group: Benchmark.
        name: What was measured.
        unit: Of the samples.
        samples: At least one.
        baseline: Figure of the same run that p50 is divided by.
        bar: Largest value allowed.
        bar_on: Which percentile the bar is for.
    """
    values = np.asarray(list(samples), dtype=np.float64)
    p50, p99 = (float(np.percentile(values, q)) for q in (50, 99))
    judged = {"p50": p50, "p99": p99}[bar_on]
    return Figure(
        group=group,
        name=name,
        unit=unit,
        p50=p50,
        p99=p99,
        count=values.size,
        ratio=float("nan") if baseline is None else p50 / baseline.p50,
        baseline="" if baseline is None else baseline.name,
        bar="" if bar is None else f"{bar_on} <= {bar:g} {unit}",
        holds=None if bar is None else judged <= bar,
    )


def write_json(path: Path, machine: Mapping[str, str], figures: Sequence[Figure]) -> None:
    """Figures and what they were taken on; the folder is made."""
    content = {"machine": dict(machine), "figures": [figure.to_json() for figure in figures]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def table(figures: Sequence[Figure]) -> str:
    """Markdown, one table per group."""
    lines: list[str] = []
    for group in dict.fromkeys(figure.group for figure in figures):
        lines += [
            f"## {group}",
            "",
            "| what | median | p99 | unit | n | ratio | bar |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [_row(figure) for figure in figures if figure.group == group]
        lines.append("")
    return "\n".join(lines)


def _row(figure: Figure) -> str:
    ratio = "" if figure.ratio != figure.ratio else f"{figure.ratio:.2f} x {figure.baseline}"
    verdict = "" if figure.holds is None else f"{figure.bar}: {'holds' if figure.holds else 'missed'}"
    return (
        f"| {figure.name} | {_number(figure.p50)} | {_number(figure.p99)} | {figure.unit} | {figure.count}"
        f" | {ratio} | {verdict} |"
    )


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
