# SPDX-License-Identifier: Apache-2.0
"""The noise that the VLA denoises when nobody steers it."""

from __future__ import annotations

import numpy as np

from rl_methods.base import FloatArray


def gaussian(shape: tuple[int, ...], seed: int, sequence: int) -> FloatArray:
    """Gaussian noise that seed and sequence determine; the first rows do not depend on how many there are."""
    return np.random.default_rng([seed, sequence]).standard_normal(shape, dtype=np.float32)
