# SPDX-License-Identifier: Apache-2.0
"""Episodes of a training run as the command line writes them down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from whetstone_cli.core.training import training_seed
from whetstone_common.core.training_log import TrainingEpisode


def episode(number: int, outcome: str = "succeeded", **changes: Any) -> TrainingEpisode:
    """An episode of 100 steps and 5 s; `changes` says what is special about it."""
    plain = TrainingEpisode(
        episode=number,
        seed=training_seed(0, number),
        outcome=outcome,
        success=outcome == "succeeded",
        steps=100,
        duration_s=5.0,
        human_steps=0,
        decisions=12,
        edited=3,
        policy_version=0,
        updates=10 * number,
        q_mean=None,
        wall_s=3.0 * number,
    )
    return replace(plain, **changes)
