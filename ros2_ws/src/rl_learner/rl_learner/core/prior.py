# SPDX-License-Identifier: Apache-2.0
"""Prior data: the transitions that another run, or a batch job over demonstrations, has left in its folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rl_learner.core.codec import decode
from rl_learner.core.spool import Kind, read_all
from rl_learner.core.transition import Transition


def transitions_in(folder: Path) -> Iterator[Transition]:
    """All transitions of a run's folder in the order in which they were stored.

    Raises:
        ValueError: There is no such folder, or a record cannot be read.
    """
    stored = folder.expanduser() / "transitions"
    if not stored.is_dir():
        raise ValueError(f"{folder}: no transitions there")
    for record in read_all(stored):
        if record.kind is Kind.DATA:
            yield decode(record.payload)
