# SPDX-License-Identifier: Apache-2.0
"""Flow-matching imitation on windows: the steps, the held-out loss and the checkpoints that it goes on from.

A run that is killed goes on from its newest sealed checkpoint, and ends with the weights of one that was not.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.files import read_manifest, write_manifest
from vla_policy.core.training.loop import LOOP_FILES, StepMetrics, TrainingLoop, draws
from vla_policy.core.training.objective import FlowObjective, flow_inputs
from vla_policy.core.training.settings import SftConfig
from vla_policy.core.training.trainer import latest_checkpoint
from vla_policy.core.training.windows import WindowSet

if TYPE_CHECKING:
    from accelerate import Accelerator

_KEPT = 2  # checkpoints
_MOST_HELD_OUT = 256  # windows that the held-out loss is the mean of
_STATE = "state.json"


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


@dataclass(frozen=True)
class SftReport:
    """Whom a run tells.

    Attributes:
        step: After each step.
        held_out: At each checkpoint: steps done, and the loss of the averaged weights on what was put aside.
    """

    step: Callable[[StepMetrics], None] = lambda _metrics: None
    held_out: Callable[[int, float], None] = lambda _step, _loss: None


class SftRun:
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
        self._data, self._config, self._folder = data, config, folder
        self._origin = {"config": asdict(config), **(origin or {})}
        self._accelerator = accelerator
        self._model = model
        self._loop = TrainingLoop(FlowObjective(model), config.loop, accelerator)

    def run(self, report: SftReport | None = None) -> dict[str, Tensor]:
        """Train to the end, from the newest checkpoint where there is one; returns the weights to ship, by name.

        Raises:
            CheckpointError: The checkpoint is of another training.
            FloatingPointError: The gradient is not finite.
        """
        report = report or SftReport()
        self._resume()
        self._model.train()
        if self._loop.step == 0:
            self._tell_held_out(report)
        while self._loop.step < self._config.steps:
            report.step(self._loop.advance(self._inputs()))
            if self._loop.step % self._config.save_every == 0 or self._loop.step == self._config.steps:
                self._save()
                self._tell_held_out(report)
        self._model.eval()
        return {name.removeprefix("model."): value.detach().clone() for name, value in self._loop.averaged().items()}

    @property
    def _process(self) -> tuple[int, int]:
        """Number of this process, and how many there are."""
        if self._accelerator is None:
            return 0, 1
        return int(self._accelerator.process_index), int(self._accelerator.num_processes)

    def _inputs(self) -> Any:
        process, count = self._process
        _, generator = draws(self._config.seed, self._loop.step, process)
        size = max(1, -(-self._config.batch // count))
        rows = self._data.train[torch.randint(len(self._data.train), (size,), generator=generator)]
        return flow_inputs(self._data.windows.take(rows), self._config.noises, generator, self._device)

    @property
    def _device(self) -> torch.device | None:
        return None if self._accelerator is None else self._accelerator.device

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Flow loss of the averaged weights on what was put aside, with the same noise each time; NaN without any."""
        rows, total = _spread(self._data.held_out, _MOST_HELD_OUT), 0.0
        if not len(rows):
            return float("nan")
        generator = torch.Generator().manual_seed(self._config.seed)
        with self._loop.with_average():
            for part in rows.split(self._config.batch):
                inputs = flow_inputs(self._data.windows.take(part), self._config.noises, generator, self._device)
                total += float(self._loop.losses(inputs)["loss"]) * len(part)
        return total / len(rows)

    def _tell_held_out(self, report: SftReport) -> None:
        if len(self._data.held_out):
            report.held_out(self._loop.step, self.held_out_loss())

    def _save(self) -> None:
        if self._process[0] != 0:
            return
        directory = self._folder / f"step-{self._loop.step:06d}"
        directory.mkdir(parents=True, exist_ok=True)
        self._loop.save(directory)
        body = {"step": self._loop.step, **self._origin}
        (directory / _STATE).write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
        write_manifest(directory, [*LOOP_FILES, _STATE], {"step": self._loop.step})
        for old in sorted(self._folder.glob("step-*"))[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)

    def _resume(self) -> None:
        if (newest := latest_checkpoint(self._folder)) is None:
            return
        read_manifest(newest)
        state = json.loads((newest / _STATE).read_text(encoding="utf-8"))
        # JSON has lists where we have tuples
        wanted = json.loads(json.dumps(self._origin))
        differing = sorted(name for name in {*state, *wanted} - {"step"} if state.get(name) != wanted.get(name))
        if differing:
            name = differing[0]
            raise CheckpointError(
                f"{newest} belongs to another training: {name} was {state.get(name)}, now {wanted.get(name)}; "
                "give it what it was begun with, or remove its folder"
            )
        self._loop.resume(newest, int(state["step"]))


def _spread(rows: Tensor, most: int) -> Tensor:
    """At most so many of them, from all over."""
    if len(rows) <= most:
        return rows
    return rows[torch.linspace(0, len(rows) - 1, most).long()]
