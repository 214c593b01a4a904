# SPDX-License-Identifier: Apache-2.0
"""Random numbers of an update: drawn on the CPU and then moved, so that a seed gives the same ones on every device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def normal(shape: Sequence[int], generator: torch.Generator | None, like: Tensor) -> Tensor:
    """Standard normal numbers, of the type and on the device of `like`."""
    return torch.randn(*shape, generator=generator, dtype=like.dtype).to(like.device)


def uniform(shape: Sequence[int], generator: torch.Generator | None, like: Tensor) -> Tensor:
    """Numbers of 0..1, of the type and on the device of `like`."""
    return torch.rand(*shape, generator=generator, dtype=like.dtype).to(like.device)


def indices(below: int, count: int, generator: torch.Generator | None, like: Tensor) -> Tensor:
    """[count] whole numbers from 0 and below `below`, on the device of `like`."""
    return torch.randint(below, (count,), generator=generator).to(like.device)
