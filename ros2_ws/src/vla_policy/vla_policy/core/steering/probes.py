# SPDX-License-Identifier: Apache-2.0
"""Fixed situations that follow from the contract alone: new weights are tried on them before they may decide."""

from __future__ import annotations

import numpy as np

from vla_policy.core.steering.protocol import Situation
from whetstone_common.core.contract import Contract

_CANDIDATES = 2
_SCALES = (0.0, 1.0, 10.0)  # nothing, the usual, and what a strange view might give


def probes(contract: Contract) -> list[Situation]:
    """One situation per scale; equal contracts give equal situations."""
    return [_probe(contract, scale, number) for number, scale in enumerate(_SCALES)]


def _probe(contract: Contract, scale: float, number: int) -> Situation:
    chance = np.random.default_rng([0, number])
    chunks = (_CANDIDATES, contract.horizon, contract.action_dim)
    return Situation(
        features=(scale * chance.standard_normal(contract.feature_dim)).astype(np.float32),
        proprio=np.zeros(contract.proprio_dim, np.float32),
        candidates=chance.standard_normal(chunks, dtype=np.float32),
        noise=chance.standard_normal(chunks, dtype=np.float32),
        noise_steered=False,
        seed=0,
        sequence=number,
    )
