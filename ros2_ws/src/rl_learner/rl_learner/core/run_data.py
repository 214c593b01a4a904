# SPDX-License-Identifier: Apache-2.0
"""Windows that a training run learns from: what was collected, and prior data.

Legend: B batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rl_learner.core.replay import Replay, Window, mixed
from rl_methods.base import DataSpec
from rl_methods.common.batch import Batch, WindowShape

LEAST_WINDOWS = 2  # statistics of features need two


def shape_in(notes: Mapping[str, Any]) -> WindowShape:
    """Shape of a checkpoint's windows; those of earlier releases leave out what the method's settings said."""
    blocks = [block for block in notes["config"].values() if isinstance(block, Mapping)]
    earlier = {"state_features": max(block.get("state_features", 0) for block in blocks)}
    return WindowShape(**{**earlier, **notes["shape"]})


class RunData:
    """The replay of a run, and beside it that of prior data once there are any.

    Args:
        shape: Of a window.
        capacity: Windows of each replay.
        spec: What a method learns from.

    Attributes:
        online: What was collected.
        prior: Demonstrations or windows of other runs, None without any.
    """

    def __init__(self, shape: WindowShape, capacity: int, spec: DataSpec) -> None:
        self.shape, self.capacity, self.spec = shape, capacity, spec
        self.online = self._replay()
        self.prior: Replay | None = None

    def _replay(self) -> Replay:
        return Replay(self.shape, self.capacity, self.spec)

    def keep(self, window: Window, *, is_critical: bool, is_of_base: bool) -> bool:
        """Put a window where the method learns it from; returns whether it does.

        Args:
            window: To be kept.
            is_critical: Whether it belongs to the critical phase.
            is_of_base: Whether the base played it, before anything was learnt.
        """
        if self.spec.critical_phase_only and not is_critical:
            return False
        self.online.add(window)
        if self.spec.base_successes and is_of_base and window.success > 0.0:
            self.add_prior(window)
        if self.spec.human_in_prior and window.human > 0.0:
            self.add_prior(window)
        return True

    def add_prior(self, window: Window) -> None:
        """Add a window to the prior data, which every batch has its share of."""
        if self.prior is None:
            self.prior = self._replay()
        self.prior.add(window)

    def lacks(self, method: str) -> str:
        """What learning by a method waits for besides base episodes, empty for nothing."""
        if len(self.online) < LEAST_WINDOWS:
            return f"{len(self.online)} windows of a critical phase, learning begins with {LEAST_WINDOWS}"
        if self.spec.base_successes and not self.prior:
            return f"no base episode has succeeded, and {method} begins with successes"
        return ""

    def column(self, name: str) -> Tensor:
        """A field of all windows, collected and prior."""
        held = [replay for replay in (self.online, self.prior) if replay is not None and len(replay)]
        return torch.cat([replay.column(name) for replay in held])

    def sample(self, count: int, prior_share: float, generator: torch.Generator) -> Batch:
        """B = `count` windows, a share of them from the prior data."""
        return mixed(self.prior, self.online, prior_share, count, generator)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Both replays by name, for checkpoints."""
        return {"online": self.online.state()} | ({"prior": self.prior.state()} if self.prior else {})

    def restore(self, replays: Mapping[str, Any]) -> None:
        """Take back what `state` gave.

        Raises:
            ValueError: It does not fit.
        """
        self.online.restore(replays["online"])
        if "prior" in replays:
            self.prior = self._replay()
            self.prior.restore(replays["prior"])
