# SPDX-License-Identifier: Apache-2.0
"""Real-time chunking at inference: a new chunk that goes on where the old one will be (arXiv 2506.07339, algorithm 1).

The policy thinks while the old chunk plays. Guidance moves the data estimate of the flow towards the old chunk.

Flow time is this project's: t = 1 noise, t = 0 data, velocity = noise - data, so A0 = x - t v and
v <- v - min(beta, t / (1 - t) * (t^2 + (1 - t)^2) / t^2) J^T (W (Y - A0)), J = dA0/dx.

Legend: N candidates, H horizon, A action dims.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vla_policy.core.chunk_prefix import guidance_weight


def guided_velocity(
    velocity: Callable[[Tensor], Tensor], x: Tensor, time: float, target: Tensor, weight: Tensor, beta: float
) -> Tensor:
    """Velocity at x, both [..., H, A], that leads to the target where it is weighed; these two broadcast to x.

    Autograd is switched on here: the caller may be in `no_grad`, not in `inference_mode`.
    """
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        field = velocity(point)
        estimate = point - time * field
        pull = (weight * (target - estimate)).detach()
        (gradient,) = torch.autograd.grad(estimate, point, grad_outputs=pull)
    return field.detach() - guidance_weight(time, beta) * gradient
