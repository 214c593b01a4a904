# SPDX-License-Identifier: Apache-2.0
"""What a policy is given at a decision, and what it returns.

Legend: N candidates, H chunk length, A action dims, D noise dims, F feature dims, P proprioception dims, K cameras,
(Hi, Wi) image size.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from rl_methods.base.arrays import FloatArray, ImageArray


class ChunkSource(IntEnum):
    """Where a chosen chunk comes from; the numbers are those of vla_interfaces/Decision."""

    BASE = 0
    EDITED = 1
    NOISE_STEERED = 2
    ACTOR = 3


def _no_images() -> ImageArray:
    return np.zeros(0, dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class PolicyInput:
    """What a policy sees at a decision. Chunks are normalised.

    Attributes:
        features: float32 [F].
        proprio: float32 [P], physical units.
        candidates: float32 [N, H, A].
        noise: float32 [N, H, D] that the candidates came from.
        noise_steered: Whether that noise was this policy's own.
        seed: Seed of the episode.
        sequence: Number of the request within the episode; with `seed` it determines every draw.
        episode_step: Control steps of the episode that had begun when the request was made.
        critical_phase: Whether operator or task say that this part of the episode is the one to learn.
        images: uint8 RGB [K, Hi, Wi, 3] of the policy's cameras; [0] unless the method has an image encoder.
    """

    features: FloatArray
    proprio: FloatArray
    candidates: FloatArray
    noise: FloatArray
    noise_steered: bool
    seed: int
    sequence: int
    episode_step: int = 0
    critical_phase: bool = True
    images: ImageArray = field(default_factory=_no_images)

    def generator(self) -> np.random.Generator:
        """Random numbers that a repeated episode repeats."""
        return np.random.default_rng([self.seed, self.sequence, 1])


@dataclass(frozen=True)
class RuntimeConfig:
    """What may be changed while the robot works.

    Attributes:
        n_candidates: N asked of the VLA.
        explore: Whether a policy may sample instead of playing its mode.
        edit_scale: Share of the trained bound of edits that is used, 0..1.
        select: How the critics' values become one score, see `scoring.Reduce`; empty for as trained.
        margin: An edited chunk must score higher than the best candidate by this much; below 0 for as trained.
        base_margin: Another candidate must score higher than the first by this much; below 0 for as trained.
    """

    n_candidates: int = 1
    explore: bool = True
    edit_scale: float = 1.0
    select: str = ""
    margin: float = -1.0
    base_margin: float = -1.0


@dataclass(frozen=True, eq=False)
class PolicyOutput:
    """What a policy decided.

    Attributes:
        chunk: float32 [H, A], normalised.
        candidate: Index of the candidate it is or comes from, -1 for none.
        source: Where it comes from.
        value: The critic's value of it, NaN when no critic chose.
        scores: float32 [*], the critic's score per candidate (base, then edited), empty without a critic.
        policy_version: Version of the small policies that decided, 0 for none.
    """

    chunk: FloatArray
    candidate: int
    source: ChunkSource = ChunkSource.BASE
    value: float = float("nan")
    scores: FloatArray = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    policy_version: int = 0
