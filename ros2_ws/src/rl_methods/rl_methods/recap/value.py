# SPDX-License-Identifier: Apache-2.0
"""Distributional value function on a VLA's features, which hold what was seen and what was said (RECAP, section IV-A).

Legend: B batch, F features, K bins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rl_methods.recap.settings import RecapSettings

_STD_FLOOR = 1e-3  # a feature that never moves must not be blown up
_WEIGHT_DECAY = 1e-2


@dataclass(frozen=True)
class ValueShape:
    """Sizes from which a value network follows.

    Attributes:
        features: F.
        hidden: Width of both hidden layers.
        bins: K.
    """

    features: int
    hidden: int = 256
    bins: int = 201

    def __post_init__(self) -> None:
        """Refuse sizes that cannot work.

        Raises:
            ValueError: With name, value and range.
        """
        for name, least in {"features": 1, "hidden": 1, "bins": 3}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least {least}")


class ReturnDistributionNetwork(nn.Module):
    """Features [B, F] -> logits [B, K] over returns from -1 to 0; features are scaled inside."""

    mean: Tensor
    std: Tensor
    centres: Tensor

    def __init__(self, shape: ValueShape, dropout: float = 0.0) -> None:
        """Two hidden layers with layer norms; the caller seeds torch."""
        super().__init__()
        self.shape = shape
        self.register_buffer("mean", torch.zeros(shape.features))
        self.register_buffer("std", torch.ones(shape.features))
        self.register_buffer("centres", torch.linspace(-1.0, 0.0, shape.bins), persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(shape.features, shape.hidden), nn.LayerNorm(shape.hidden), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(shape.hidden, shape.hidden), nn.LayerNorm(shape.hidden), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(shape.hidden, shape.bins),
        )  # fmt: skip

    @torch.no_grad()
    def fit_scaler(self, features: Tensor) -> None:
        """Take mean and deviation of features [B, F].

        Raises:
            ValueError: A feature is not finite.
        """
        if not bool(torch.isfinite(features).all()):
            raise ValueError("the VLA's features are not finite")
        self.mean.copy_(features.mean(0))
        self.std.copy_(features.std(0, unbiased=False).clamp_min(_STD_FLOOR))

    def forward(self, features: Tensor) -> Tensor:
        """[B, K] logits."""
        return cast(Tensor, self.layers((features - self.mean) / self.std))

    def value(self, features: Tensor) -> Tensor:
        """[B] expected returns, sum of probability times centre."""
        return F.softmax(self(features), dim=-1) @ self.centres


def bins_of(returns: Tensor, count: int) -> Tensor:
    """int64 [B] nearest of `count` bins whose centres go from -1 to 0.

    Raises:
        ValueError: A return is not finite, or not in [-1, 0].
    """
    if not bool(torch.isfinite(returns).all()):
        raise ValueError("a return is not finite")
    low, high = float(returns.min()), float(returns.max())
    if low < -1.0 or high > 0.0:
        raise ValueError(f"returns lie in [{low:g}, {high:g}], allowed: [-1, 0]")
    return ((returns + 1.0) * (count - 1)).round().long()


def value_loss(network: ReturnDistributionNetwork, features: Tensor, returns: Tensor) -> Tensor:
    """Mean cross-entropy between the distribution and the bin of the Monte-Carlo return."""
    return F.cross_entropy(network(features), bins_of(returns, network.shape.bins))


@dataclass(frozen=True, eq=False)
class ValueData:
    """Frames with their returns.

    Attributes:
        features: float32 [B, F].
        returns: float32 [B].
    """

    features: Tensor
    returns: Tensor


@dataclass(frozen=True)
class ValueFit:
    """What the fit came to.

    Attributes:
        step: Of the weights that were kept.
        loss: Cross-entropy of them on the held-out frames, or on the training frames where none are held out.
        error: Mean distance of value and return on the same frames.
    """

    step: int
    loss: float
    error: float


def fit_value(
    data: ValueData,
    held: ValueData | None,
    settings: RecapSettings,
    report: Callable[[int, dict[str, float]], None],
) -> tuple[ReturnDistributionNetwork, ValueFit]:
    """Train a network; the weights that are best on held-out frames are kept.

    Args:
        data: Frames to train with.
        held: Frames of other episodes, None for none.
        settings: Of the method; `seed` determines every draw.
        report: Takes step and metrics at every measurement.

    Raises:
        ValueError: Features or returns cannot be used.
        FloatingPointError: The loss is not finite.
    """
    torch.manual_seed(settings.seed)
    shape = ValueShape(data.features.shape[1], settings.value_hidden, settings.bins)
    network = ReturnDistributionNetwork(shape, settings.value_dropout)
    network.fit_scaler(data.features)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.value_learning_rate, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.value_steps)
    generator = torch.Generator().manual_seed(settings.seed)
    best, kept = ValueFit(0, float("inf"), float("inf")), network.state_dict()
    for step in range(1, settings.value_steps + 1):
        network.train()
        rows = torch.randint(len(data.returns), (settings.value_batch,), generator=generator)
        loss = value_loss(network, data.features[rows], data.returns[rows])
        if not bool(torch.isfinite(loss)):
            raise FloatingPointError(f"the value function's loss of step {step} is not finite")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % settings.value_check_every == 0 or step == settings.value_steps:
            now = measured(network, held or data, step)
            report(step, {"value/loss": float(loss.detach()), "value/held_out": now.loss, "value/error": now.error})
            if now.loss < best.loss:
                best, kept = now, {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(kept)
    return network.eval(), best


@torch.no_grad()
def measured(network: ReturnDistributionNetwork, data: ValueData, step: int = 0) -> ValueFit:
    """Cross-entropy and error of a network on some frames."""
    network.eval()
    loss = value_loss(network, data.features, data.returns)
    error = (network.value(data.features) - data.returns).abs().mean()
    return ValueFit(step, float(loss), float(error))
