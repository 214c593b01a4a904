# SPDX-License-Identifier: Apache-2.0
"""What a training run is doing, and what it waits for."""

from __future__ import annotations

from enum import IntEnum

from rl_learner.core.training_run import Phase, TrainingRun
from rl_learner.core.update_failures import StopReason


class Wait(IntEnum):
    """What a run waits for; the names and numbers are those of vla_interfaces/LearnerStatus."""

    NOTHING = 0
    CONTRACT = 1
    BASE_EPISODES = 2
    DATA = 3
    UPDATES = 4
    NO_MORE = 5
    FROZEN = 6
    DIVERGED = 7
    OUT_OF_MEMORY = 8


_HALTS = {StopReason.DIVERGED: Wait.DIVERGED, StopReason.OUT_OF_MEMORY: Wait.OUT_OF_MEMORY}


def waits_for(run: TrainingRun | None, *, frozen: bool = False) -> Wait:
    """Why no update is done now; `NOTHING` while updates are being done."""
    if run is None:
        return Wait.CONTRACT
    if frozen:
        return Wait.FROZEN
    if run.failures.halt is not None:
        return _HALTS[run.failures.halt]
    if run.due:
        return Wait.NOTHING if run.has_room else Wait.UPDATES
    if run.phase is Phase.COLLECT:
        return Wait.BASE_EPISODES
    return Wait.NO_MORE if run.phase is Phase.FINISHED else Wait.DATA
