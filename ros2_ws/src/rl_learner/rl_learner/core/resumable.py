# SPDX-License-Identifier: Apache-2.0
"""What a learner with a temperature gives to a checkpoint, and takes back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rl_learner.core import checkpoint
from rl_learner.core.guard import Guard


class Resumable(ABC):
    """A learner whose whole state is modules, optimisers, a temperature, usual norms and a count of updates."""

    guard: Guard
    log_alpha: nn.Parameter
    updates: int

    def state(self) -> dict[str, Tensor]:
        """Everything that learning changes."""
        own = {"log_alpha": self.log_alpha.detach().clone(), "updates": torch.tensor(self.updates)}
        own |= {f"guard/{name}": value for name, value in self.guard.state().items()}
        return own | checkpoint.state_of(self._modules(), self.optimizers())

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes back what `state` gave.

        Raises:
            CheckpointError: It does not fit this learner.
        """
        checkpoint.restore(tensors, self._modules(), self.optimizers())
        with torch.no_grad():
            self.log_alpha.copy_(tensors["log_alpha"])
        self.guard.restore(checkpoint.part(tensors, "guard"))
        self.updates = int(tensors["updates"])

    @abstractmethod
    def _modules(self) -> dict[str, nn.Module]:
        """Everything with weights, targets included."""

    @abstractmethod
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Everything with moments."""
