# SPDX-License-Identifier: Apache-2.0
"""What the learner may see, by name: what the VLA serves today, and what it could serve."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vla_policy.core.backends.pocket import PocketBackend
from vla_policy.core.protocol import FloatArray

READOUT_COUNT = 2


class Features(Protocol):
    """Makes features at a decision."""

    dim: int

    def __call__(self, context: Any, shipped: FloatArray) -> FloatArray:
        """Backend context and the features it serves -> float32 [dim]."""
        ...


class Shipped:
    """RL token and proprioception, as `Backend.features` gives them."""

    def __init__(self, backend: PocketBackend, _model: Path) -> None:
        self.dim = backend.spec.feature_dim

    def __call__(self, _context: Any, shipped: FloatArray) -> FloatArray:
        """The same."""
        return shipped


class Readouts(Shipped):
    """The shipped features and the final embeddings of the two readout tokens (object, goal)."""

    def __init__(self, backend: PocketBackend, model: Path) -> None:
        super().__init__(backend, model)
        self.dim += READOUT_COUNT * int(backend.model.config.vlm_config.text_config.hidden_size)

    def __call__(self, context: Any, shipped: FloatArray) -> FloatArray:
        """Shipped first."""
        readouts = context.prefix.last[0, -READOUT_COUNT:].float().flatten().cpu().numpy()
        return np.concatenate([shipped, readouts]).astype(np.float32)


FEATURES: dict[str, Callable[[PocketBackend, Path], Features]] = {"shipped": Shipped, "readouts": Readouts}
