# SPDX-License-Identifier: Apache-2.0
"""Learner half of an online method: learner_node or a run in process trains it.

Legend: B batch, F feature dims, P proprioception dims.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from rl_methods.base.data_spec import DataSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from rl_methods.common.batch import Batch, WindowShape
    from rl_methods.config import MethodConfig


class Algorithm(ABC):
    """Learner half of an online method: networks, optimisers, and one update.

    Attributes:
        settings_type: Frozen dataclass of the method's settings; fields that follow from the robot's contract have the
            metadata `DERIVED`.
        data_spec: What a batch must hold.
        updates: Updates done.
    """

    settings_type: ClassVar[type[Any]]
    data_spec: DataSpec
    updates: int

    @classmethod
    @abstractmethod
    def build(cls, config: MethodConfig, shape: WindowShape) -> Algorithm:
        """Fresh networks for windows of a shape, from torch's global seed.

        Raises:
            ValueError: The settings do not fit the shape.
        """

    @abstractmethod
    def fit_scaler(self, features: Tensor) -> None:
        """Take the statistics of features [B, F] once, before the first update."""

    @abstractmethod
    def move_to(self, device: torch.device) -> None:
        """Bring all networks to a device, before the first update; batches come on it from then on."""

    def fit_proprio(self, proprio: Tensor) -> None:
        """Take the statistics of proprioception [B, P] once, before the first update; only if it is kept."""
        del proprio

    @abstractmethod
    def update(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """One online update; returns metrics by name.

        Raises:
            DivergenceError: No step was taken, and nothing has changed.
        """

    def offline_update(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """One update of the warm-up, before the small policy acts; by default an online one."""
        return self.update(batch, generator)

    @abstractmethod
    def policy_weights(self) -> dict[str, Tensor]:
        """Copy of what acting needs, as the actor half names it, on the CPU."""

    @abstractmethod
    def architecture(self) -> dict[str, Any]:
        """Configuration of the actor half, as JSON can hold it."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Everything that learning changes."""

    @abstractmethod
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave.

        Raises:
            CheckpointError: It does not fit.
        """

    @abstractmethod
    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Everything with moments."""
