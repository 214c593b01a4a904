# SPDX-License-Identifier: Apache-2.0
"""What TensorBoard reads of a run."""

from __future__ import annotations

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def curve(folder: Path, name: str) -> dict[int, float]:
    """Value by step of a scalar; empty when there is none.

    Raises:
        AssertionError: A step is there twice.
    """
    events = EventAccumulator(str(folder))
    events.Reload()
    found = events.Scalars(name) if name in events.Tags()["scalars"] else []
    steps = [each.step for each in found]
    assert steps == sorted(set(steps)), steps
    return {each.step: each.value for each in found}
