# SPDX-License-Identifier: Apache-2.0
"""The updates of a training run: a batch, the method's step on it, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rl_learner.core.run_data import RunData
from rl_learner.core.update_failures import UpdateFailures
from rl_methods.common.batch import Batch, WindowShape
from rl_methods.common.guard import DivergenceError
from rl_methods.config import MethodConfig

_GENERATOR = "generator"  # its state, among the tensors of a checkpoint
_OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")


class GradientUpdates:
    """The networks of a run, the random numbers that they learn by, and the failures on the way.

    Args:
        method: The method.
        shape: Of a window.
        seed: Of weights and draws.
        device: That the networks live on; batches are sent there.

    Attributes:
        learner: The method's learner half.
        generator: Of every draw after the initial weights.
        failures: Updates that failed, and whether the learning has stopped.
        metrics: Of the last update that was applied.
    """

    def __init__(self, method: MethodConfig, shape: WindowShape, *, seed: int, device: torch.device) -> None:
        torch.manual_seed(seed)
        self.learner = method.learner(shape)
        self._device = device
        self.learner.move_to(device)
        self.generator = torch.Generator().manual_seed(seed)
        self.failures = UpdateFailures(method.schedule.batch)
        self.metrics: dict[str, float] = {}
        self._rates = {name: o.param_groups[0]["lr"] for name, o in self.learner.optimizers().items()}

    @property
    def is_going_well(self) -> bool:
        """Whether the last update was applied, and more may follow."""
        return not self.failures.is_in_row and self.failures.halt is None

    def fit_scalers(self, data: RunData) -> None:
        """Take the statistics of features, and of proprioception where the method learns from it."""
        self.learner.fit_scaler(data.column("features").to(self._device))
        if self.learner.data_spec.keeps("proprio"):
            self.learner.fit_proprio(data.column("proprio").to(self._device))

    def step(self, data: RunData, *, prior_share: float, learning_rate: float, is_offline: bool) -> str:
        """One update; returns why it was refused, empty when it was applied.

        Args:
            data: That the batch is drawn from.
            prior_share: Of the batch, from the prior data.
            learning_rate: Of every network; 0 takes the method's.
            is_offline: Whether it is an update of the warm-up.
        """
        try:
            self._set_rates(learning_rate)
            batch = self.sample(data, prior_share)
            update = self.learner.offline_update if is_offline else self.learner.update
            self.metrics = update(batch, self.generator)
        except DivergenceError as error:
            self.failures.on_divergence()
            return str(error)
        except RuntimeError as error:  # torch.OutOfMemoryError is one, and so is what the CPU's allocator raises
            if not any(text in str(error).lower() for text in _OUT_OF_MEMORY):
                raise
            self.failures.on_out_of_memory()
            return str(error).splitlines()[0]
        self.failures.on_success()
        return ""

    def sample(self, data: RunData, prior_share: float) -> Batch:
        """The batch of the next update, on the device of the networks."""
        return data.sample(self.failures.batch, prior_share, self.generator).to(self._device)

    def _set_rates(self, learning_rate: float) -> None:
        for name, optimizer in self.learner.optimizers().items():
            for group in optimizer.param_groups:
                group["lr"] = learning_rate or self._rates[name]

    # -- as a checkpoint ----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """Tensors of the learner and of the generator, as copies."""
        return self.learner.state() | {_GENERATOR: self.generator.get_state()}

    def restore(self, state: Mapping[str, Tensor], *, skipped: int) -> None:
        """Take back what `state` gave, and the number of updates that had been refused.

        Raises:
            KeyError: A tensor is missing.
            ValueError: One does not fit.
        """
        self.learner.restore({name: value for name, value in state.items() if name != _GENERATOR})
        self.generator.set_state(state[_GENERATOR])
        self.failures.skipped = skipped
