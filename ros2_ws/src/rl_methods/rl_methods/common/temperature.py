# SPDX-License-Identifier: Apache-2.0
"""Entropy temperature of a maximum-entropy policy (SAC, Haarnoja et al., arXiv 1812.05905, section 5)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rl_methods.common.guard import GradientStep

_LEAST = 1e-8


class Temperature(nn.Module):
    """alpha, fixed or adapted so that the policy keeps a target entropy.

    Args:
        initial: alpha at the start; 0 means none, for good.
        target_entropy: Nats.
        learning_rate: Of Adam.
        learn: Whether it is adapted.
    """

    def __init__(self, initial: float, target_entropy: float, learning_rate: float, *, learn: bool = True) -> None:
        super().__init__()
        self.is_used, self.target_entropy = initial > 0.0, target_entropy
        self._learn = learn and self.is_used
        self.log_alpha = nn.Parameter(torch.tensor(math.log(max(initial, _LEAST))))
        self.optimizer = torch.optim.Adam([self.log_alpha], lr=learning_rate)

    @property
    def alpha(self) -> float:
        """Weight of the entropy, 0 when there is none."""
        return float(self.log_alpha.detach().exp()) if self.is_used else 0.0

    def steps(self, entropy: Tensor) -> list[GradientStep]:
        """The step that moves alpha, given the policy's entropy []; none when it is fixed."""
        if not self._learn:
            return []
        gap = entropy.detach() - self.target_entropy
        return [GradientStep("temperature", self.optimizer, self.log_alpha.exp() * gap)]
