# SPDX-License-Identifier: Apache-2.0
"""Changes of a base chunk: their bound, a squashed Gaussian over them, and how they reach the whole chunk.

Legend: C executed steps, A action dims, D = C * A, K knots, F features, H horizon.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rl_methods.common.networks import ScaledTanhNormal, knots_over, mlp

_ARM_AND_GRIPPER = 2


def check_bound(name: str, bound: Sequence[float], action_dim: int) -> None:
    """Refuse a bound that is none: one entry for all dims, two for the arm's and the gripper, or one per dim.

    Raises:
        ValueError: With its name, value and what is allowed.
    """
    if len(bound) not in (1, _ARM_AND_GRIPPER, action_dim):
        allowed = f"1, {_ARM_AND_GRIPPER} (arm, gripper) or {action_dim}"
        raise ValueError(f"{name} has {len(bound)} entries, allowed: {allowed}")
    if not all(math.isfinite(b) and b > 0.0 for b in bound):
        raise ValueError(f"{name} is {tuple(bound)}, must be finite and positive")


def bound_over(bound: Sequence[float], rows: int, action_dim: int) -> Tensor:
    """[rows * A] of one entry for all action dims, two for the arm's and the gripper, or A entries."""
    if len(bound) == _ARM_AND_GRIPPER:
        bound = [bound[0]] * (action_dim - 1) + [bound[1]]
    return torch.tensor(bound).expand(rows, action_dim).reshape(-1).clone()


def changed(candidate: Tensor, change: Tensor) -> Tensor:
    """A chunk [H, A] whose first C steps have a change [C, A] in them.

    The tail is played only when the next chunk is late; it keeps the last step's change, so that nothing leaps.
    """
    steps = len(change)
    return candidate + torch.cat([change, change[-1].expand(len(candidate) - steps, -1)])


class ResidualPolicy(nn.Module):
    """A change of a base chunk: knots from a scaled squashed Gaussian, interpolated over the steps.

    Args:
        features: F.
        steps: C.
        action_dim: A.
        knots: K.
        bound: Largest value of a knot per action dim; one entry for all or A entries.
        hidden: Widths.
    """

    scale: Tensor
    basis: Tensor

    def __init__(
        self, features: int, steps: int, action_dim: int, *, knots: int, bound: Sequence[float], hidden: Sequence[int]
    ) -> None:
        super().__init__()
        self.shape = (knots, action_dim)
        self.body = mlp(features + steps * action_dim, hidden, 2 * knots * action_dim)
        last = self.body[-1]
        with torch.no_grad():  # starts with changes around zero
            last.weight.mul_(0.01)
            last.bias.zero_()
        # the bounds follow from the configuration, never from a file of weights
        self.register_buffer("scale", bound_over(bound, knots, action_dim), persistent=False)
        self.register_buffer("basis", knots_over(knots, steps), persistent=False)

    def forward(self, features: Tensor, base: Tensor, share: float = 1.0) -> ScaledTanhNormal:
        """Features [..., F], base chunks [..., D]; `share` of the full bound."""
        mean, log_std = self.body(torch.cat([features, base], dim=-1)).chunk(2, dim=-1)
        return ScaledTanhNormal(mean, log_std, self.scale * share)

    def spread(self, knots: Tensor) -> Tensor:
        """Knots [..., K * A] -> changes [..., D]."""
        return torch.einsum("ck,...ka->...ca", self.basis, knots.unflatten(-1, self.shape)).flatten(-2)
