# SPDX-License-Identifier: Apache-2.0
"""Settings of RECAP: value function, advantage and indicator. The trainer has those of the policy's training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase

_COUNTS = {
    "n_step": 1, "stride": 1, "bins": 3, "value_steps": 1, "value_batch": 1, "value_hidden": 1, "value_check_every": 1,
    "max_length": 0,
}  # fmt: skip
# Range of each real number: lowest, highest, whether these two are allowed themselves.
_RANGES = {
    "failure_cost": (0.0, 100.0, False),
    "positive_share": (0.0, 1.0, False),
    "indicator_dropout": (0.0, 1.0, True),
    "held_out": (0.0, 0.9, True),
    "guidance": (0.0, 10.0, True),
    "value_learning_rate": (0.0, 1.0, False),
    "value_dropout": (0.0, 0.9, True),
}


@dataclass(frozen=True)
class RecapSettings:
    """Everything that is chosen; defaults for the pocket VLA at 20 Hz.

    Attributes:
        failure_cost: C_fail as a multiple of the task's maximum length; 1 and above put every failure at value -1.
        n_step: N, steps of the robot in an advantage; a multiple of `stride`. 50 in the paper (50 Hz), 10 in RLinf.
        positive_share: Share of the policy's frames of a task whose advantage counts as positive; 0.4 in the paper's
            fine-tuning, 0.1 where speed was wanted.
        indicator_dropout: Share of samples without the indicator, so that the plain policy is learnt too.
        guidance: Weight of the indicator when the model is served: 1 is plain conditioning, up to 2.5 in the paper.
        stride: Frames between two that are looked at.
        held_out: Share of the episodes that the value function is measured on, and not trained with.
        bins: Of the value's distribution over [-1, 0].
        value_steps: Optimiser steps of the value function.
        value_batch: Frames per step.
        value_learning_rate: Peak of a cosine without warm-up.
        value_hidden: Width of both hidden layers.
        value_dropout: Of the hidden layers.
        value_check_every: Steps between two measurements on the held-out episodes; the best one is kept.
        max_length: Longest episode of a task (steps), by which returns are divided; 0 for the longest in the data.
        tasks: Patterns of instructions that are one task each, as "put *, stack *"; an instruction that fits none is
            a task of its own.
        seed: Of everything.
    """

    failure_cost: float = 1.0
    n_step: int = 10
    positive_share: float = 0.4
    indicator_dropout: float = 0.3
    guidance: float = 1.0
    stride: int = 2
    held_out: float = 0.1
    bins: int = 201
    value_steps: int = 2000
    value_batch: int = 256
    value_learning_rate: float = 1e-3
    value_hidden: int = 256
    value_dropout: float = 0.1
    value_check_every: int = 100
    max_length: int = 0
    tasks: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: With name, value and range.
        """
        for name, least in _COUNTS.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least {least}")
        for name, (low, high, is_closed) in _RANGES.items():
            value = getattr(self, name)
            inside = low <= value <= high if is_closed else low < value < high
            if not (math.isfinite(value) and inside):
                brackets = "[]" if is_closed else "()"
                raise ValueError(f"{name} is {value}, allowed: {brackets[0]}{low:g}, {high:g}{brackets[1]}")
        if self.n_step % self.stride:
            raise ValueError(f"n_step is {self.n_step}, must be a multiple of stride ({self.stride})")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}, allowed: 0..{2**32 - 1}")

    def task_of(self, instruction: str) -> str:
        """Name of an instruction's task."""
        patterns = [pattern.strip() for pattern in self.tasks.split(",") if pattern.strip()]
        return next((pattern for pattern in patterns if fnmatchcase(instruction, pattern)), instruction)
