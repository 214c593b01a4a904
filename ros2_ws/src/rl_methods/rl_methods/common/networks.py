# SPDX-License-Identifier: Apache-2.0
"""The small networks: an ensemble computed as one batched product, and a squashed Gaussian with a scale.

Legend: E members, B batch, N chunks per state, F features, D flattened chunk, H hidden width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rl_methods.common.draws import normal

LOG_STD_RANGE = (-5.0, 1.0)
MAX_LAYERS = 16


class SharedInput(nn.Module):
    """First layer of an ensemble whose members see the same input: one plain product, [..., I] -> [E, ..., O]."""

    def __init__(self, members: int, inputs: int, outputs: int, *, bias: bool = True) -> None:
        """Members differ by their initial weights."""
        super().__init__()
        bound = 1.0 / math.sqrt(inputs)
        self.members, self.outputs = members, outputs
        self.weight = nn.Parameter(torch.empty(inputs, members * outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(members * outputs)) if bias else None

    def forward(self, x: Tensor, chosen: Tensor | None = None) -> Tensor:
        """[B, I] -> [E, B, O], of the chosen members only when there are some."""
        weight, bias = self.weight, self.bias
        if chosen is not None:
            weight = weight.unflatten(1, (self.members, self.outputs))[:, chosen].flatten(1)
            bias = None if bias is None else bias.view(self.members, self.outputs)[chosen].flatten()
        out = x @ weight if bias is None else torch.addmm(bias, x, weight)
        return out.view(x.shape[0], -1, self.outputs).transpose(0, 1)


class EnsembleLinear(nn.Module):
    """[E, B, I] -> [E, B, O], all members in one `baddbmm`."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        """Initialised like `nn.Linear`, member by member."""
        super().__init__()
        bound = 1.0 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs))

    def forward(self, x: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Every (chosen) member multiplies its own slice."""
        if chosen is None:
            return torch.baddbmm(self.bias, x, self.weight)
        return torch.baddbmm(self.bias[chosen], x, self.weight[chosen])


class EnsembleNorm(nn.Module):
    """LayerNorm whose gain and offset are each member's own, [E, B, H]."""

    def __init__(self, members: int, width: int) -> None:
        """Starts as a plain LayerNorm."""
        super().__init__()
        self.gain = nn.Parameter(torch.ones(members, 1, width))
        self.offset = nn.Parameter(torch.zeros(members, 1, width))

    def forward(self, x: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Normalises the last axis."""
        gain, offset = self.gain, self.offset
        if chosen is not None:
            gain, offset = gain[chosen], offset[chosen]
        return torch.addcmul(offset, F.layer_norm(x, x.shape[-1:]), gain)


class EnsembleCritic(nn.Module):
    """E values of each of N chunks at each state; the state's share of the first layer is computed once."""

    def __init__(self, members: int, features: int, action: int, hidden: Sequence[int]) -> None:
        """Args: ensemble size, F, D, hidden widths."""
        super().__init__()
        self.of_state = SharedInput(members, features, hidden[0])
        self.of_action = SharedInput(members, action, hidden[0], bias=False)
        self.norms = nn.ModuleList(EnsembleNorm(members, width) for width in hidden)
        pairs = list(zip(hidden, [*hidden[1:], 1], strict=True))
        self.layers = nn.ModuleList(EnsembleLinear(members, i, o) for i, o in pairs)

    def forward(self, features: Tensor, chunks: Tensor, chosen: Tensor | None = None) -> Tensor:
        """Features [B, F], chunks [B, N, D] -> raw values [E, B, N], of the chosen members [E] only if given."""
        batch, count = chunks.shape[:2]
        state = self.of_state(features, chosen)  # [E, B, H]
        action = self.of_action(chunks.reshape(batch * count, -1), chosen)  # [E, B * N, H]
        x = (action.unflatten(1, (batch, count)) + state[:, :, None]).flatten(1, 2)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = layer(F.relu(norm(x, chosen)), chosen)
        return x.view(-1, batch, count)


def mlp(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """Linear, LayerNorm, ReLU, ... , Linear."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.LayerNorm(width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def mlp_size(inputs: int, hidden: Sequence[int], outputs: int) -> int:
    """Numbers in the weight matrices of such a network."""
    return sum(i * o for i, o in pairwise([inputs, *hidden, outputs]))


class ScaledTanhNormal:
    """scale * tanh(u) with u normal; densities are per unit of the scaled value.

    Args:
        mean: of u, [..., D].
        log_std: of u, [..., D].
        scale: positive, broadcasts to [..., D].
    """

    def __init__(self, mean: Tensor, log_std: Tensor, scale: Tensor) -> None:
        self.mean, self.scale = mean, scale
        self.log_std = log_std.clamp(*LOG_STD_RANGE)

    def mode(self) -> Tensor:
        """What it does without noise."""
        return self.scale * torch.tanh(self.mean)

    def sample(self, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """A differentiable sample [..., D] and its log density [...]."""
        noise = normal(self.mean.shape, generator, self.mean)
        u = self.mean + self.log_std.exp() * noise
        return self.scale * torch.tanh(u), self._log_density(u, noise)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density [...] of values strictly inside the box."""
        u = torch.atanh(value / self.scale)
        return self._log_density(u, (u - self.mean) / self.log_std.exp())

    def _log_density(self, u: Tensor, noise: Tensor) -> Tensor:
        normal = -0.5 * noise.pow(2) - self.log_std - 0.5 * math.log(2.0 * math.pi)
        # log(1 - tanh(u)^2) in the form that does not underflow
        squash = 2.0 * (math.log(2.0) - u - F.softplus(-2.0 * u))
        return (normal - squash - self.scale.log()).sum(-1)


class Scaler(nn.Module):
    """Brings features to zero mean and unit deviation by statistics that are set once; the identity until then."""

    LEAST_STD = 1e-3
    LARGEST = 5.0

    def __init__(self, features: int) -> None:
        """Args: F."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    def fit(self, features: Tensor, weight: Tensor | None = None) -> None:
        """Takes the statistics of [B, F]; features come out with the deviations `weight` [F], by default 1."""
        self.mean.copy_(features.mean(0))
        scale = 1.0 if weight is None else weight.to(features.device)
        self.std.copy_(features.std(0).clamp(min=self.LEAST_STD) / scale)
        self.fitted.fill_(value=True)

    def forward(self, features: Tensor) -> Tensor:
        """[..., F]; what lies far outside is clipped, so that a strange view cannot throw a network."""
        if not bool(self.fitted):
            return features
        return ((features - self.mean) / self.std).clamp(-self.LARGEST, self.LARGEST)


def knots_over(knots: int, steps: int) -> Tensor:
    """[steps, knots] linear interpolation between knots spread evenly over the steps; rows add up to 1."""
    if knots == 1:
        return torch.ones(steps, 1)
    place = torch.arange(steps) * (knots - 1) / (steps - 1)
    return (1.0 - (place[:, None] - torch.arange(knots)[None, :]).abs()).clamp(min=0.0)
