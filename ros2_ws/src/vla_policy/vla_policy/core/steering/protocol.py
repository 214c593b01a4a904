# SPDX-License-Identifier: Apache-2.0
"""The actor half of a method: what the steering node asks of it at each decision.

Legend: N candidates, H chunk length, A action dims, D noise dims, F feature dims, P proprioception dims.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


class Kind(IntEnum):
    """Where a chosen chunk comes from; the numbers are those of vla_interfaces/Decision."""

    BASE = 0
    EDITED = 1
    NOISE_STEERED = 2
    ACTOR = 3


@dataclass(frozen=True, eq=False)
class Situation:
    """What a method may look at. Chunks are normalised.

    Attributes:
        features: float32 [F].
        proprio: float32 [P], physical units.
        candidates: float32 [N, H, A].
        noise: float32 [N, H, D] that the candidates came from.
        noise_steered: Whether that noise was this method's own.
        seed: Seed of the episode.
        sequence: Number of the request within the episode; with `seed` it determines every draw.
    """

    features: FloatArray
    proprio: FloatArray
    candidates: FloatArray
    noise: FloatArray
    noise_steered: bool
    seed: int
    sequence: int

    def generator(self) -> np.random.Generator:
        """Random numbers that a repeated episode repeats."""
        return np.random.default_rng([self.seed, self.sequence, 1])


@dataclass(frozen=True)
class Tuning:
    """What a person may turn while the robot works.

    Attributes:
        n_candidates: N asked of the VLA.
        explore: Whether a method may try what it does not think best.
        edit_scale: Largest edit, normalised units.
    """

    n_candidates: int = 1
    explore: bool = True
    edit_scale: float = 0.1


@dataclass(frozen=True, eq=False)
class Choice:
    """What a method decided.

    Attributes:
        chunk: float32 [H, A], normalised.
        candidate: Index of the candidate it is or comes from, -1 for none.
        kind: Where it comes from.
        value: The critic's value of it, NaN when no critic chose.
        scores: float32 [*], the critic's score per candidate (base, then edited), empty without a critic.
        policy_version: Version of the small policies that decided, 0 for none.
    """

    chunk: FloatArray
    candidate: int
    kind: Kind = Kind.BASE
    value: float = float("nan")
    scores: FloatArray = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    policy_version: int = 0


class Method(Protocol):
    """Actor half of a method that chooses among what the VLA proposes, or changes it."""

    def choose(self, situation: Situation, tuning: Tuning) -> Choice:
        """Pick, edit or make the chunk that the arm shall play. Must not change the situation's arrays."""
        ...


@runtime_checkable
class NoiseSteerer(Protocol):
    """What a method has besides when it also chooses the noise that the VLA starts from."""

    def noise(self, features: FloatArray, shape: tuple[int, int, int], seed: int, sequence: int) -> FloatArray:
        """Starting noise, float32 of `shape` [N, H, A], determined by (seed, sequence)."""
        ...
