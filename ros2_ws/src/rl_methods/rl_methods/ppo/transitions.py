# SPDX-License-Identifier: Apache-2.0
"""One denoising step as a Gaussian: of the SDE that has the ODE's marginals, or of the ODE with learnt noise.

piRL, arXiv 2510.25889, sections 4.1 and 4.2. Time runs from t = 1 (noise) to t = 0 (data).

Legend: B rows, K denoising steps, H horizon, D noise dims.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def ode_step(x: Tensor, velocity: Tensor, steps: int) -> Tensor:
    """Euler: [B, H, D] one step of 1 / `steps` on."""
    return x - velocity / steps


def sde_step(x: Tensor, velocity: Tensor, number: Tensor, steps: int, level: float) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the SDE's next point.

    With x0 = x - t v (the data that the velocity points at) and x1 = x + (1 - t) v (the noise it comes from):
    mean = x0 (1 - t') + x1 (t' - sigma^2 delta / 2 t), deviation sigma sqrt(delta), sigma = a sqrt(t / (1 - t)).
    At t = 1, where sigma is infinite, 1 - t is taken from the next point.

    Args:
        x: [B, H, D].
        velocity: [B, H, D] at `x`.
        number: int64 [B], which step of the chain, 0 to K - 1.
        steps: K.
        level: a.

    Returns:
        Mean [B, H, D] and deviation [B, 1, 1].
    """
    delta = 1.0 / steps
    time = (1.0 - number.to(x.dtype) * delta)[:, None, None]
    sigma = level * (time / (1.0 - time.clamp(max=1.0 - delta))).sqrt()
    data, noise = x - time * velocity, x + (1.0 - time) * velocity
    later = time - delta
    mean = data * (1.0 - later) + noise * (later - sigma.square() * delta / (2.0 * time))
    return mean, sigma * math.sqrt(delta)


def log_density(value: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Log density of each number on its own, of the shape of `value`."""
    return -0.5 * ((value - mean) / std).square() - std.log() - 0.5 * math.log(2.0 * math.pi)


def entropy(std: Tensor) -> Tensor:
    """Entropy of a Gaussian, per number."""
    return std.log() + 0.5 * (1.0 + math.log(2.0 * math.pi))


def times_of(number: Tensor, steps: int) -> Tensor:
    """Flow times of steps of the chain."""
    return 1.0 - number.to(torch.float32) / steps
