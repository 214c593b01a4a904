# SPDX-License-Identifier: Apache-2.0
"""The learning curve of a run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whetstone_common.core.outputs import whole_file
from whetstone_common.core.training_log import (
    LAST,
    CurvePoint,
    LastEpisodes,
    TrainingEpisode,
    last_episodes,
    minutes_after,
    success_alone,
)

_INCHES = (9.0, 6.0)
_DPI = 120
_BLUE, _ORANGE, _GREEN, _GREY = "#1f77b4", "#d95f02", "#1b9e77", "#888888"


def write_curve(path: Path, title: str, episodes: Sequence[TrainingEpisode]) -> None:
    """Draw success without help over robot time, help and value below; written as a whole or not at all.

    Success is that of the rounds of evaluation. A run without any shows its last episodes instead, which mix helped
    and unhelped ones.

    Args:
        path: A PNG file.
        title: Above the picture.
        episodes: In order, at least one.
    """
    # Imported here: no other command needs it, and it takes half a second.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    minutes, trained = minutes_after(episodes), last_episodes(episodes)
    rounds = success_alone(episodes)
    figure, (top, bottom) = pyplot.subplots(2, 1, sharex=True, figsize=_INCHES, height_ratios=(2, 1))
    if rounds:
        _draw_rounds(top, rounds)
        _draw_human(bottom, trained, _GREEN)
    else:
        _draw_success(top, trained)
    _draw_learner(bottom, minutes, episodes)
    _mark_learnt(top, minutes, episodes)
    top.set_title(title)
    figure.tight_layout()
    with whole_file(path) as partial:
        figure.savefig(partial, dpi=_DPI, format="png")
    pyplot.close(figure)


def _draw_success(axes: Any, trained: Sequence[LastEpisodes]) -> None:
    minutes = [point.robot_min for point in trained]
    lows, highs = [point.rate.low for point in trained], [point.rate.high for point in trained]
    axes.fill_between(minutes, lows, highs, color=_BLUE, alpha=0.15, linewidth=0, label="95 % interval")
    success = [_or_nan(point.summary.success) for point in trained]
    axes.plot(minutes, success, color=_BLUE, linewidth=2, label=f"success, last {LAST}")
    alone = [_or_nan(point.summary.alone) for point in trained]
    axes.plot(minutes, alone, color=_GREEN, label=f"success without help, last {LAST}")
    _draw_human(axes, trained, _ORANGE)
    _finish_success(axes)


def _draw_human(axes: Any, trained: Sequence[LastEpisodes], colour: str) -> None:
    minutes, shares = [point.robot_min for point in trained], [point.summary.human_share for point in trained]
    axes.plot(minutes, shares, color=colour, label=f"steps by a person, last {LAST}")


def _draw_rounds(axes: Any, rounds: Sequence[CurvePoint]) -> None:
    """Each round with its interval, and the base's line through all of them."""
    minutes, rates = [p.robot_min for p in rounds], [p.rate for p in rounds]
    below, above = [r.rate - r.low for r in rates], [r.high - r.rate for r in rates]
    label = "success without help, 95 % interval"
    axes.errorbar(
        minutes, [r.rate for r in rates], yerr=(below, above), color=_BLUE, marker="o", capsize=3, label=label
    )
    if rounds[0].of_base:
        axes.axhline(rates[0].rate, color=_GREY, linewidth=1, linestyle=":", label="base")
    _finish_success(axes)


def _mark_learnt(axes: Any, minutes: list[float], episodes: Sequence[TrainingEpisode]) -> None:
    learnt = next((m for m, e in zip(minutes, episodes, strict=True) if e.policy_version > 0), None)
    if learnt is not None:
        axes.axvline(learnt, color=_GREY, linestyle="--", linewidth=1)
        axes.text(learnt, 1.02, " learnt weights from here", color=_GREY, fontsize=8, va="bottom")


def _finish_success(axes: Any) -> None:
    axes.set_ylim(-0.02, 1.12)
    axes.set_ylabel("share")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)


def _draw_learner(axes: Any, minutes: list[float], episodes: Sequence[TrainingEpisode]) -> None:
    edited = [e.edited / e.decisions if e.decisions else float("nan") for e in episodes]
    axes.plot(minutes, edited, ".", color=_GREY, markersize=3, label="edited choices")
    axes.plot(minutes, [_or_nan(e.q_mean) for e in episodes], color=_BLUE, label="mean value of the critic")
    axes.set_ylim(-0.02, 1.12)
    axes.set_xlabel("robot time [min]")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", fontsize=8)
    updates = axes.twinx()
    updates.plot(minutes, [e.updates for e in episodes], color=_ORANGE, linewidth=1)
    updates.set_ylabel("updates", color=_ORANGE)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
