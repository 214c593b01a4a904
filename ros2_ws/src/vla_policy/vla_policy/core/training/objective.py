# SPDX-License-Identifier: Apache-2.0
"""Flow matching as an objective of `TrainingLoop`: x_t = t * noise + (1 - t) * actions, target noise - actions.

pi0 (Black et al. 2024, arXiv 2410.24164), in the time convention of openpi and transformers: t = 1 is noise.

Legend: W windows, M noises per window, H horizon, A (padded) action dims.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vla_policy.core.flow import Prefix, encode_prefix, velocity
from vla_policy.core.training.losses import FlowTime
from vla_policy.core.training.windows import Prompt, Seen


class FlowInputs(NamedTuple):
    """A batch and its random draws.

    Attributes:
        seen: W windows.
        noise: [W * M, H, A].
        time: [W * M].
    """

    seen: Seen
    noise: Tensor
    time: Tensor


def flow_inputs(seen: Seen, noises: int, generator: torch.Generator, device: torch.device | None = None) -> FlowInputs:
    """Draw times and noises of windows, `noises` of each, and put all of it on a device."""
    count, horizon, dims = seen.actions.shape
    time = FlowTime().draw(generator, count * noises)
    noise = torch.randn(count * noises, horizon, dims, generator=generator)
    inputs = FlowInputs(seen, noise, time)
    return inputs if device is None or device.type == "cpu" else _on(inputs, device)


def _on(inputs: FlowInputs, device: torch.device) -> FlowInputs:
    def move(value: Any) -> Any:
        if isinstance(value, Prefix):
            keys, values = (tuple(x.to(device) for x in side) for side in (value.keys, value.values))
            return replace(value, keys=keys, values=values, attention_mask=move(value.attention_mask))
        if isinstance(value, Prompt):
            return Prompt(*map(move, value))
        return None if value is None else value.to(device)

    return FlowInputs(Seen(*map(move, inputs.seen)), move(inputs.noise), move(inputs.time))


class FlowObjective(nn.Module):
    """Mean over windows, each by its weight, of the squared error of the velocity."""

    def __init__(self, model: nn.Module) -> None:
        """Of any PI0."""
        super().__init__()
        self.model = model

    def forward(self, inputs: FlowInputs) -> dict[str, Tensor]:
        """Losses by name: `loss`."""
        seen = inputs.seen
        count, repeats = len(seen.actions), len(inputs.noise) // len(seen.actions)
        actions = seen.actions.repeat_interleave(repeats, dim=0)
        time = inputs.time[:, None, None]
        noisy = time * inputs.noise + (1.0 - time) * actions
        prefix = self._prefix(seen)
        state = seen.state.repeat_interleave(repeats, dim=0)
        field = velocity(self.model, prefix, state, noisy, inputs.time)  # type: ignore[arg-type]
        error = F.mse_loss(field.float(), inputs.noise - actions, reduction="none").reshape(count, -1).mean(1)
        return {"loss": (seen.weight * error).sum() / seen.weight.sum()}

    def _prefix(self, seen: Seen) -> Prefix:
        if seen.prefix is not None:
            return seen.prefix
        assert seen.prompt is not None  # noqa: S101 - one of the two is there
        return encode_prefix(self.model, seen.prompt.ids, seen.prompt.pixels, None, seen.prompt.mask)  # type: ignore[arg-type]
