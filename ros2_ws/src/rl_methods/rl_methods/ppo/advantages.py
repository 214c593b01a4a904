# SPDX-License-Identifier: Apache-2.0
"""Generalised advantage estimation over chunks (Schulman et al. 2016, arXiv 1506.02438, eq. 16).

Legend: T decisions of some episodes, one after the other.
"""

from __future__ import annotations

import torch
from torch import Tensor


def generalised_advantages(
    rewards: Tensor, values: Tensor, next_values: Tensor, last: Tensor, discount: float, trace: float
) -> tuple[Tensor, Tensor]:
    """Advantages and returns.

    Args:
        rewards: [T], of each chunk the sum over its steps.
        values: [T] at its start.
        next_values: [T] at its end, 0 after a true terminal.
        last: bool [T], whether its episode ends with it.
        discount: Per chunk.
        trace: Lambda.

    Returns:
        Advantages [T], and returns [T], which are what values should be.
    """
    advantages = torch.zeros_like(values)
    following = 0.0
    for t in reversed(range(len(rewards))):
        error = rewards[t] + discount * next_values[t] - values[t]
        following = float(error) + (0.0 if bool(last[t]) else discount * trace * following)
        advantages[t] = following
    return advantages, advantages + values


def normalised(advantages: Tensor) -> Tensor:
    """Zero mean and unit deviation; zeros where all are the same, as there is nothing to prefer then."""
    if len(advantages) < 2:
        return torch.zeros_like(advantages)
    centred = advantages - advantages.mean()
    return centred / (centred.std() + 1e-6)
