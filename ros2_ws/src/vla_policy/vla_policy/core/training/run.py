# SPDX-License-Identifier: Apache-2.0
"""A training around `TrainingLoop`: its steps, its held-out loss and the checkpoints that it goes on from.

A run that is killed goes on from its newest sealed checkpoint, and ends with the weights of one that was not.
"""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.files import read_manifest, write_manifest
from vla_policy.core.training.loop import LOOP_FILES, StepMetrics, TrainingLoop
from vla_policy.core.training.settings import LoopConfig
from vla_policy.core.training.trainer import latest_checkpoint

if TYPE_CHECKING:
    from accelerate import Accelerator

_KEPT = 2  # checkpoints
_STATE = "state.json"


@dataclass(frozen=True)
class LossReport:
    """Whom a run tells.

    Attributes:
        step: After each step.
        held_out: At each checkpoint: steps done, and the loss of the averaged weights on what was put aside.
    """

    step: Callable[[StepMetrics], None] = lambda _metrics: None
    held_out: Callable[[int, float], None] = lambda _step, _loss: None


class RunConfig(Protocol):
    """What a run must know of its hyperparameters."""

    @property
    def steps(self) -> int:
        """Of the optimiser."""
        ...

    @property
    def save_every(self) -> int:
        """Steps between two checkpoints."""
        ...

    @property
    def loop(self) -> LoopConfig:
        """Optimiser and schedule."""
        ...


class CheckpointedTraining(ABC):
    """One training; a subclass draws the inputs of a step and measures what was put aside.

    Args:
        objective: As `TrainingLoop` takes it.
        config: Hyperparameters.
        folder: Of its checkpoints.
        origin: What a checkpoint must have been made of to be gone on from, as JSON can hold it.
        accelerator: Spreads the work over devices and processes.
    """

    def __init__(
        self,
        objective: nn.Module,
        config: RunConfig,
        folder: Path,
        origin: Mapping[str, Any],
        accelerator: Accelerator | None = None,
    ) -> None:
        self._steps, self._save_every, self._folder, self._origin = config.steps, config.save_every, folder, origin
        self._accelerator = accelerator
        self._loop = TrainingLoop(objective, config.loop, accelerator)

    @abstractmethod
    def inputs(self, step: int) -> Any:
        """Of the objective at a step; they depend on nothing else."""

    @abstractmethod
    def held_out_loss(self) -> float:
        """Loss of the averaged weights on what was put aside; NaN without any."""

    def run(self, report: LossReport | None = None) -> dict[str, Tensor]:
        """Train to the end, from the newest checkpoint where there is one; returns the weights to ship, by name.

        Raises:
            CheckpointError: The checkpoint is of another training.
            FloatingPointError: The gradient is not finite.
        """
        report = report or LossReport()
        self._resume()
        self._loop.objective.train()
        if self._loop.step == 0:
            self._tell_held_out(report)
        while self._loop.step < self._steps:
            report.step(self._loop.advance(self.inputs(self._loop.step)))
            if self._loop.step % self._save_every == 0 or self._loop.step == self._steps:
                self._save()
                self._tell_held_out(report)
        self._loop.objective.eval()
        return {name: value.detach().clone() for name, value in self._loop.averaged().items()}

    @property
    def process(self) -> tuple[int, int]:
        """Number of this process, and how many there are."""
        if self._accelerator is None:
            return 0, 1
        return int(self._accelerator.process_index), int(self._accelerator.num_processes)

    @property
    def device(self) -> torch.device | None:
        """Where the inputs go; None where the objective is."""
        return None if self._accelerator is None else self._accelerator.device

    def _tell_held_out(self, report: LossReport) -> None:
        loss = self.held_out_loss()
        if loss == loss:
            report.held_out(self._loop.step, loss)

    def _save(self) -> None:
        if self.process[0] != 0:
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


def spread(rows: Tensor, most: int) -> Tensor:
    """At most so many of them, from all over."""
    if len(rows) <= most:
        return rows
    return rows[torch.linspace(0, len(rows) - 1, most).long()]
