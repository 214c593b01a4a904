# SPDX-License-Identifier: Apache-2.0
"""The gripper as a choice of three, as HIL-SERL's separate critic takes it (arXiv 2410.21845, section 3.3).

Whether the gripper is open is read off its measured opening: an object in it keeps it from closing, nothing keeps it
from opening. `KEEP` is the command that goes on with that state, so that what is held stays held.

Legend: B batch.
"""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

_HALF = 0.5


class Choice(IntEnum):
    """What the gripper does for a chunk; the numbers are those of the critic's outputs."""

    CLOSE = 0
    KEEP = 1
    OPEN = 2


def is_open(opening: Tensor, open_above: float) -> Tensor:
    """Bool [...] of measured openings [...] in 0..1."""
    return opening > open_above


def possible(opened: Tensor) -> Tensor:
    """Bool [..., 3]: an open gripper is not opened, one that is not open is not closed; both would be `KEEP`."""
    kept = torch.ones_like(opened)
    return torch.stack([opened, kept, ~opened], -1)


def best(values: Tensor, opened: Tensor) -> Tensor:
    """Choice [...] with the highest of the values [..., 3] among the possible ones."""
    return values.masked_fill(~possible(opened), -torch.inf).argmax(-1)


def opens(choice: Tensor, opened: Tensor) -> Tensor:
    """Bool [...]: whether the command of a choice is to be open."""
    return torch.where(choice == Choice.KEEP, opened, choice == Choice.OPEN)


def choice_of(command: Tensor, opened: Tensor) -> Tensor:
    """Choice [...] behind an executed command [...], an opening in 0..1."""
    wanted = command > _HALF
    changed = torch.where(wanted, int(Choice.OPEN), int(Choice.CLOSE))
    return torch.where(wanted == opened, int(Choice.KEEP), changed)
