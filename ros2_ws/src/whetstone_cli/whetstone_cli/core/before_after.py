# SPDX-License-Identifier: Apache-2.0
"""A policy before and after it was sharpened: how long each part may take, which scenes count, which one is shown."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from whetstone_cli.core.report import Evaluation

# The tasks end, training ends, and the last scene begins, at these shares of the time where something is learnt.
_TASKS, _TRAINING, _SCENES = 0.15, 0.6, 0.97


@dataclass(frozen=True)
class Timetable:
    """Until when each part of a demonstration may begin something new; all in monotonic seconds.

    Attributes:
        began_s: When the demonstration began.
        budget_s: What it may take.
        learns: Whether something is learnt after the tasks.
    """

    began_s: float
    budget_s: float
    learns: bool

    def task_until_s(self, count: int, tasks: int) -> float:
        """End of the task number `count` of `tasks`, from 1: each has the same share."""
        share = _TASKS if self.learns else 1.0
        return self.began_s + self.budget_s * share * count / tasks

    @property
    def training_until_s(self) -> float:
        """End of training: what is left is for the comparison."""
        return self.began_s + self.budget_s * _TRAINING

    @property
    def scenes_until_s(self) -> float:
        """End of the comparison."""
        return self.began_s + self.budget_s * _SCENES


def same_scenes(base: Evaluation, after: Evaluation) -> tuple[Evaluation, Evaluation]:
    """Both without the scenes that only one of them was judged in."""
    seeds = {row.seed for row in base.judged} & {row.seed for row in after.judged}
    return _only(base, seeds), _only(after, seeds)


def _only(evaluation: Evaluation, seeds: Collection[int]) -> Evaluation:
    return replace(evaluation, rows=tuple(row for row in evaluation.rows if row.seed in seeds))


def scene_to_show(base: Evaluation, after: Evaluation) -> int | None:
    """Seed of the first scene that only the sharpened policy solves, else of the first one; None without a scene.

    Args:
        base: Of the base.
        after: Of the sharpened policy on the same scenes.
    """
    solved = {row.seed for row in after.rows if row.success}
    gained = (row.seed for row in base.rows if not row.success and row.seed in solved)
    return next(gained, base.rows[0].seed if base.rows else None)
