# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes the action expert of a pocket VLA on windows, with its eyes and its words frozen.

What the vision-language part leaves of an observation is computed once, so a step costs the expert alone; and features
stay what they were, so that small policies trained on them still understand them.

Legend: W windows, L layers, S prefix tokens, H horizon, A action dims, P state dims.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PI0ForConditionalGeneration

from vla_policy.core.flow import Prefix, velocity
from vla_policy.core.training.losses import FlowTime
from vla_policy.core.training.rows import HalfRows

_RISE = 0.1  # share of the steps in which the learning rate rises
_CYCLE_STEPS = 3


@dataclass(frozen=True)
class FinetuneConfig:
    """Hyperparameters.

    Attributes:
        steps: optimiser steps.
        batch: windows per step.
        noises: noises per window.
        learning_rate: peak of a one-cycle schedule.
        weight_decay: of AdamW.
        clip_norm: of the gradient.
        seed: of everything.
    """

    steps: int = 600
    batch: int = 32
    noises: int = 2
    learning_rate: float = 5e-4
    weight_decay: float = 1e-3
    clip_norm: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what cannot work."""
        for name in ("steps", "batch", "noises"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1")
        if not 0.0 < self.learning_rate < 1.0:
            raise ValueError(f"learning_rate is {self.learning_rate}, must lie between 0 and 1")


@dataclass(frozen=True, eq=False)
class Windows:
    """Observations as the action expert sees them, and what to do.

    Attributes:
        keys: W of [L, kv heads, S, head dim], on disk.
        values: W of [L, kv heads, S, head dim], on disk.
        state: float32 [W, P] normalised and padded.
        actions: float32 [W, H, A] normalised.
    """

    keys: HalfRows
    values: HalfRows
    state: Tensor
    actions: Tensor

    @classmethod
    def of(cls, rows: Iterable[tuple[Prefix, Tensor, Tensor]], folder: Path | None = None) -> Windows:
        """Of prefixes of one observation each, with state [1, P] and actions [H, A]; half precision as they come.

        Args:
            rows: One by one.
            folder: Where keys and values go, a few hundred kilobytes a window; the temporary folder by default.

        Raises:
            ValueError: There is not one.
            OSError: The disk is full.
        """
        keys, values = HalfRows(folder), HalfRows(folder)
        states: list[Tensor] = []
        actions: list[Tensor] = []
        for prefix, state, action in rows:
            keys.append(torch.cat(prefix.keys))
            values.append(torch.cat(prefix.values))
            states.append(state[0].float())
            actions.append(action)
        if not states:
            raise ValueError("no window: nothing to learn from")
        # Stacking copies: what was made in inference mode cannot take part in a backward pass.
        return cls(keys, values, torch.stack(states), torch.stack(actions).float())

    def __len__(self) -> int:
        """W."""
        return len(self.actions)

    def prefix(self, rows: Tensor) -> Prefix:
        """Of some of them."""
        keys, values = (tuple(x[rows].float().unbind(1)) for x in (self.keys, self.values))
        return Prefix(keys, values, None, (), torch.zeros(len(rows), 1, 1))


def expert_parameters(model: PI0ForConditionalGeneration) -> dict[str, nn.Parameter]:
    """Those of the action expert and of its projections, by name."""
    return {name: value for name, value in model.named_parameters() if not name.startswith("model.vlm.")}


def finetune_expert(
    model: PI0ForConditionalGeneration, windows: Windows, config: FinetuneConfig, report: Callable[[float], None]
) -> None:
    """Changes the model's action expert; `report` gets the loss of every step."""
    generator = torch.Generator().manual_seed(config.seed)
    trained = list(expert_parameters(model).values())
    model.requires_grad_(requires_grad=False)
    for parameter in trained:
        parameter.requires_grad_(requires_grad=True)
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    schedule = _schedule(optimizer, config)
    model.train()
    for _ in range(config.steps):
        rows = torch.randint(len(windows), (config.batch,), generator=generator)
        loss = _loss(model, windows, rows, config.noises, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, config.clip_norm)
        optimizer.step()
        schedule.step()
        report(float(loss.detach()))
    model.eval().requires_grad_(requires_grad=False)


def _schedule(optimizer: torch.optim.Optimizer, config: FinetuneConfig) -> torch.optim.lr_scheduler.LRScheduler:
    """One cycle, whose rise and fall need a step each; a learning rate that stays where there are too few."""
    if config.steps < _CYCLE_STEPS:
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    rise = max(_RISE, 2.0 / config.steps)
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.steps, pct_start=rise)


def finetune_soup(
    model: PI0ForConditionalGeneration,
    windows: Windows,
    config: FinetuneConfig,
    count: int,
    report: Callable[[float], None],
) -> None:
    """Fine-tunes so often from the same start, each time with another seed, and leaves the mean of the weights.

    One fine-tuning on a thousand windows scatters by several points of success with its seed; a mean leaves less to
    chance (Wortsman et al. 2022, "Model soups", section 3). `report` gets the loss of every step.

    Raises:
        ValueError: `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"count is {count}, must be at least 1")
    start = {name: value.detach().clone() for name, value in expert_parameters(model).items()}
    mean = {name: torch.zeros_like(value) for name, value in start.items()}
    for number in range(count):
        model.load_state_dict(start, strict=False)
        finetune_expert(model, windows, replace(config, seed=config.seed + number), report)
        for name, value in expert_parameters(model).items():
            mean[name] += value.detach() / count
    model.load_state_dict(mean, strict=False)


def _loss(
    model: PI0ForConditionalGeneration, windows: Windows, rows: Tensor, noises: int, generator: torch.Generator
) -> Tensor:
    """Flow matching at several noises of each window; velocity is noise minus data."""
    actions = windows.actions[rows].repeat_interleave(noises, dim=0)
    state = windows.state[rows].repeat_interleave(noises, dim=0)
    time = FlowTime().draw(generator, len(actions))
    noise = torch.randn(actions.shape, generator=generator)
    noisy = time[:, None, None] * noise + (1.0 - time[:, None, None]) * actions
    field = velocity(model, windows.prefix(rows), state, noisy, time)
    return F.mse_loss(field.float(), noise - actions)
