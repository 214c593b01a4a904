# SPDX-License-Identifier: Apache-2.0
"""Fixed inputs that follow from the contract alone: new weights are tried on them before they may decide."""

from __future__ import annotations

import numpy as np

from rl_methods.base import ImageArray, PolicyInput
from whetstone_common.core.contract import Contract

_CANDIDATES = 2
_SCALES = (0.0, 1.0, 10.0)  # nothing, the usual, and what a strange view might give


def probes(contract: Contract) -> list[PolicyInput]:
    """One input per scale; equal contracts give equal inputs."""
    return [_probe(contract, scale, number) for number, scale in enumerate(_SCALES)]


def _probe(contract: Contract, scale: float, number: int) -> PolicyInput:
    chance = np.random.default_rng([0, number])
    chunks = (_CANDIDATES, contract.horizon, contract.action_dim)
    return PolicyInput(
        features=(scale * chance.standard_normal(contract.feature_dim)).astype(np.float32),
        proprio=np.zeros(contract.proprio_dim, np.float32),
        candidates=chance.standard_normal(chunks, dtype=np.float32),
        noise=chance.standard_normal(chunks, dtype=np.float32),
        noise_steered=False,
        seed=0,
        sequence=number,
        images=_images(contract, number, chance),
    )


def _images(contract: Contract, number: int, chance: np.random.Generator) -> ImageArray:
    """Nothing, noise, and as bright as can be: uint8 [K, Hi, Wi, 3]."""
    shape = (len(contract.cameras), contract.image_height, contract.image_width, 3)
    return np.full(shape, 255, np.uint8) if number == 2 else number * chance.integers(0, 256, shape, np.uint8)
