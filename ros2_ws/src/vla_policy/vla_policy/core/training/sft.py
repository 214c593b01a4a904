# SPDX-License-Identifier: Apache-2.0
"""Flow-matching imitation on windows: what a step draws, and what the held-out loss is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vla_policy.core.training.loop import draws
from vla_policy.core.training.objective import FlowObjective, flow_inputs
from vla_policy.core.training.run import CheckpointedTraining, LossReport, spread
from vla_policy.core.training.settings import SftConfig
from vla_policy.core.training.windows import WindowSet

if TYPE_CHECKING:
    from accelerate import Accelerator

_MOST_HELD_OUT = 256  # windows that the held-out loss is the mean of


@dataclass(frozen=True, eq=False)
class SftData:
    """Windows, and which of them are learnt from.

    Attributes:
        windows: All of them.
        train: Numbers of those that are learnt from.
        held_out: Numbers of those that only the held-out loss is measured on; may be none.
    """

    windows: WindowSet
    train: Tensor
    held_out: Tensor


class SftRun(CheckpointedTraining):
    """One fine-tuning.

    Args:
        model: any PI0; which parameters take a gradient is settled.
        data: what it learns from.
        config: hyperparameters.
        folder: of its checkpoints.
        origin: what a checkpoint must have been made of to be gone on from, as JSON can hold it.
        accelerator: spreads the work over devices and processes.
    """

    def __init__(
        self,
        model: nn.Module,
        data: SftData,
        config: SftConfig,
        folder: Path,
        origin: Mapping[str, Any] | None = None,
        accelerator: Accelerator | None = None,
    ) -> None:
        if not len(data.train):
            raise ValueError("no window is left to learn from: all were put aside; hold out fewer episodes")
        self._data, self._config = data, config
        given = {"config": asdict(config), **(origin or {})}
        super().__init__(FlowObjective(model), config, folder, given, accelerator)

    def run(self, report: LossReport | None = None) -> dict[str, Tensor]:
        """See `CheckpointedTraining.run`; names are those of the model."""
        return {name.removeprefix("model."): value for name, value in super().run(report).items()}

    def inputs(self, step: int) -> Any:
        """Windows drawn with replacement, and their noises."""
        process, count = self.process
        _, generator = draws(self._config.seed, step, process)
        size = max(1, -(-self._config.batch // count))
        rows = self._data.train[torch.randint(len(self._data.train), (size,), generator=generator)]
        return flow_inputs(self._data.windows.take(rows), self._config.noises, generator, self.device)

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Flow loss of the averaged weights on what was put aside, with the same noise each time; NaN without any."""
        rows, total = spread(self._data.held_out, _MOST_HELD_OUT), 0.0
        if not len(rows):
            return float("nan")
        generator = torch.Generator().manual_seed(self._config.seed)
        with self._loop.with_average():
            for part in rows.split(self._config.batch):
                inputs = flow_inputs(self._data.windows.take(part), self._config.noises, generator, self.device)
                total += float(self._loop.losses(inputs)["loss"]) * len(part)
        return total / len(rows)
