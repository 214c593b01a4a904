# SPDX-License-Identifier: Apache-2.0
"""Figures of an evaluation, and the files they go to."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from whetstone_cli.core.statistics import mean
from whetstone_common.core.enums import Outcome
from whetstone_common.core.outputs import whole_file
from whetstone_common.core.success_rate import Rate, wilson


@dataclass(frozen=True)
class EpisodeRow:
    """One line of the CSV.

    Attributes:
        task: Name of the task.
        episode: From 1 within the run.
        seed: Of scene and noise.
        instruction: Words other than the task's own, empty when there were none.
        outcome: succeeded, failed, timed_out or aborted.
        success: Whether it succeeded.
        steps: Ticks to the end.
        duration_s: ROS time from the start to the end.
    """

    task: str
    episode: int
    seed: int
    instruction: str
    outcome: str
    success: bool
    steps: int
    duration_s: float


@dataclass(frozen=True)
class Evaluation:
    """All episodes of one task, judged under one instruction.

    Attributes:
        task: Name of the task.
        instruction: Words other than the task's own, empty when there were none.
        rows: Episodes in order.
        wall_s: Wall time of the whole run.
        message: How the run ended, in words.
        asked: Episodes that were asked for, 0 for as many as there are rows.
        interrupted: Whether the user interrupted it at the command line.
    """

    task: str
    instruction: str
    rows: tuple[EpisodeRow, ...]
    wall_s: float
    message: str = ""
    asked: int = 0
    interrupted: bool = False

    @property
    def shortfall(self) -> str:
        """What became of the episodes that were asked for and not judged, and why; empty when all were."""
        asked, judged = max(self.asked, len(self.rows)), len(self.judged)
        if judged == asked:
            return ""
        aborted = len(self.rows) - judged
        return (
            f"{judged} of {asked} episodes were judged, {aborted} were aborted, {asked - len(self.rows)} not run: "
            f"{self.message or 'no reason was given'}"
        )

    @property
    def judged(self) -> tuple[EpisodeRow, ...]:
        """Episodes that say something about the policy: an aborted one does not."""
        return tuple(row for row in self.rows if row.outcome != "aborted")

    @property
    def rate(self) -> Rate:
        """Success rate over the judged episodes."""
        return wilson(sum(row.success for row in self.judged), len(self.judged))

    @property
    def mean_time_to_success_s(self) -> float | None:
        """Mean over the successes, None when there were none."""
        return mean([row.duration_s for row in self.rows if row.success])

    @property
    def times_real_time(self) -> float:
        """Robot seconds per wall second."""
        return sum(row.duration_s for row in self.rows) / self.wall_s if self.wall_s > 0 else 0.0

    def figures(self) -> dict[str, Any]:
        """Everything that goes to JSON."""
        return {
            "task": self.task,
            "instruction": self.instruction,
            "asked": max(self.asked, len(self.rows)),
            "episodes": len(self.rows),
            "aborted": len(self.rows) - len(self.judged),
            "success_rate": asdict(self.rate),
            "mean_time_to_success_s": self.mean_time_to_success_s,
            "wall_s": self.wall_s,
            "times_real_time": self.times_real_time,
            "message": self.message,
            "rows": [asdict(row) for row in self.rows],
        }


def rows_of(
    task: str,
    instruction: str,
    *,
    seeds: Sequence[int],
    outcomes: Sequence[Outcome],
    steps: Sequence[int],
    durations_s: Sequence[float],
) -> tuple[EpisodeRow, ...]:
    """Rows of the parallel arrays of a RunEpisodes result."""
    columns = zip(seeds, outcomes, steps, durations_s, strict=True)
    return tuple(
        EpisodeRow(
            task, i, int(seed), instruction, outcome.text, outcome is Outcome.SUCCEEDED, int(count), float(duration_s)
        )
        for i, (seed, outcome, count, duration_s) in enumerate(columns, start=1)
    )


def write_text(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, figures: Mapping[str, Any]) -> None:
    """Write figures as JSON; NaN is refused, since other readers do."""
    write_text(path, json.dumps(figures, indent=2, allow_nan=False) + "\n")


def write_csv(path: Path, rows: Sequence[EpisodeRow]) -> None:
    """Write one line per episode."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(EpisodeRow.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
