# SPDX-License-Identifier: Apache-2.0
"""The record of runs, `docs/reference/results.csv`: one row per run, kept in the repository across machines."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from whetstone_common.core.outputs import whole_file


@dataclass(frozen=True)
class RunRow:
    """One run. Figures that were not kept are None and an empty field.

    Attributes:
        task: Name of the task.
        method: Name in the registry.
        variant: What is changed of the method, `shipped` for nothing.
        seed: Of networks, draws and training scenes.
        human: 1 with the operator, else 0.
        base: Success before, a fraction of `episodes`.
        after: Success after, a fraction of `episodes`.
        episodes: Evaluated, before and after.
        control_steps: Of training.
        robot_minutes: The same in robot time.
        human_fraction: Of the control steps, commanded by the operator.
        wall_s: Training time [s].
        where: `graph` or `process`.
    """

    task: str
    method: str
    variant: str
    seed: int
    human: int
    base: float
    after: float
    episodes: int
    control_steps: int | None
    robot_minutes: float | None
    human_fraction: float | None
    wall_s: float | None
    where: str

    @property
    def key(self) -> tuple[str, str, str, int, int, str]:
        """What makes it another run."""
        return self.task, self.method, self.variant, self.seed, self.human, self.where


COLUMNS = tuple(f.name for f in fields(RunRow))
_WHOLE, _REAL = (
    {"seed", "human", "episodes", "control_steps"},
    {"base", "after", "robot_minutes", "human_fraction", "wall_s"},
)


def read_rows(path: Path) -> list[RunRow]:
    """All rows of a record, none where there is no file.

    Raises:
        ValueError: The columns are others, or a value cannot be read; the text says which line.
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(f"{path}: columns are {reader.fieldnames}, expected {list(COLUMNS)}")
        return [_row(path, number, each) for number, each in enumerate(reader, 2)]


def keep(path: Path, rows: Iterable[RunRow]) -> None:
    """Put rows into a record, each in place of an earlier one of the same run; written as a whole or not at all."""
    merged = {row.key: row for row in [*read_rows(path), *rows]}
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([_text(getattr(row, name)) for name in COLUMNS] for row in merged.values())


def _row(path: Path, number: int, found: dict[str, str]) -> RunRow:
    values: dict[str, object] = {}
    for name, text in found.items():
        kind = int if name in _WHOLE else float if name in _REAL else str
        try:
            values[name] = None if text == "" and kind is not str else kind(text)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {name} is {text!r}, expected a number") from error
    return RunRow(**values)  # type: ignore[arg-type]


def _text(value: object) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
