# SPDX-License-Identifier: Apache-2.0
"""Gradient steps that are taken together or not at all: one that is not finite, or leaps, changes nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LEAP = 1000.0  # times the usual norm
LEAST_NORM = 1.0  # gradients up to LEAP times this are never a leap: a loss may have been idle until now
_MEMORY = 0.99


class DivergenceError(ArithmeticError):
    """A step that was not taken; the learner is as it was before."""


@dataclass(frozen=True, eq=False)
class GradientStep:
    """A step that a part of the learner wants.

    Attributes:
        name: Of the part.
        optimizer: Of all its parameters.
        loss: Scalar to descend.
        clip_norm: Largest norm of the gradient that is taken as it is; a larger one is scaled down to it.
    """

    name: str
    optimizer: torch.optim.Optimizer
    loss: Tensor
    clip_norm: float = math.inf

    def parameters(self) -> list[Tensor]:
        """What the optimiser moves."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]


class Guard:
    """Knows the usual norm of each part's gradient.

    Attributes:
        norms: Running mean of the gradient norm, by part.
    """

    def __init__(self) -> None:
        """Nothing is known yet: only what is not finite is refused in the first step."""
        self.norms: dict[str, float] = {}

    def take(self, steps: Sequence[GradientStep]) -> dict[str, float]:
        """Takes all steps, or none; returns the norms by part.

        Raises:
            DivergenceError: A loss or a gradient is not finite, or a norm has leapt. Nothing has changed.
        """
        # what a loss does not depend on, as parts of a large model may be, gets no gradient
        found = [torch.autograd.grad(step.loss, step.parameters(), materialize_grads=True) for step in steps]
        norms = {}
        for step, gradients in zip(steps, found, strict=True):
            norm = float(torch.linalg.vector_norm(torch.stack([g.norm() for g in gradients])))
            self._judge(step.name, float(step.loss.detach()), norm)
            norms[step.name] = norm
        for step, gradients in zip(steps, found, strict=True):
            share = min(1.0, step.clip_norm / max(norms[step.name], 1e-12))
            for parameter, gradient in zip(step.parameters(), gradients, strict=True):
                parameter.grad = gradient if share == 1.0 else gradient * share
            step.optimizer.step()
        for name, norm in norms.items():
            self.norms[name] = norm + _MEMORY * (self.norms.get(name, norm) - norm)
        return norms

    def _judge(self, name: str, loss: float, norm: float) -> None:
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise DivergenceError(f"{name}: loss {loss:g}, gradient norm {norm:g}")
        usual = self.norms.get(name)
        if usual is not None and norm > LEAP * max(usual, LEAST_NORM):
            raise DivergenceError(f"{name}: gradient norm {norm:g}, usually {usual:g}")

    def state(self) -> dict[str, Tensor]:
        """What is known, as float64 scalars."""
        return {name: torch.tensor(norm, dtype=torch.float64) for name, norm in self.norms.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes back what `state` gave."""
        self.norms = {name: float(value) for name, value in tensors.items()}
