# SPDX-License-Identifier: Apache-2.0
"""What a method needs of a VLA whose flow it trains: the velocity field with gradients, on prefixes that are kept.

A method knows no VLA; `vla_policy` has the implementation for every PI0. Flow time is t = 1 for noise and t = 0 for
data, the velocity is noise minus data.

Legend: B observations, N noisy chunks of each, H horizon, A action dims, D (padded) noise dims, F feature dims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class FlowContext(Protocol):
    """What the frozen part of a VLA leaves of B observations."""

    @property
    def features(self) -> Tensor:
        """Float32 [B, F], for small networks."""
        ...

    def __len__(self) -> int:
        """B."""
        ...

    def rows(self, index: Tensor) -> FlowContext:
        """Some of them; index int64 [B']."""
        ...


class FlowPolicy(Protocol):
    """A VLA whose action expert can be trained."""

    @property
    def chunk_shape(self) -> tuple[int, int]:
        """(H, A) of what is played."""
        ...

    @property
    def noise_shape(self) -> tuple[int, int]:
        """(H, D) of what is denoised; D is at least A, and the first A dims are the actions."""
        ...

    @property
    def feature_dim(self) -> int:
        """F."""
        ...

    @property
    def denoise_steps(self) -> int:
        """K, Euler steps with which it is served."""
        ...

    def velocity(self, context: Any, noisy: Tensor, time: Tensor) -> Tensor:
        """Velocity field; the same numbers for the same input, since nothing in it drops out.

        Args:
            context: Of B observations.
            noisy: [B * N, H, D], the N of an observation in a row.
            time: [B * N].

        Returns:
            Float32 [B * N, H, D], with gradients to `parameters`.
        """
        ...

    def join(self, contexts: Sequence[Any]) -> Any:
        """Contexts one after the other."""
        ...

    def parameters(self) -> Mapping[str, nn.Parameter]:
        """What is trained, by name; everything else is frozen."""
        ...


@torch.no_grad()
def integrate(policy: FlowPolicy, context: FlowContext, noise: Tensor, steps: int) -> Tensor:
    """Euler from noise to data: [B, H, D] -> [B, H, D]."""
    x = noise
    for number in range(steps):
        time = torch.full((len(x),), 1.0 - number / steps)
        x = x - policy.velocity(context, x, time) / steps
    return x
