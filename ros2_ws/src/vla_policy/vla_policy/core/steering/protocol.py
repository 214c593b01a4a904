# SPDX-License-Identifier: Apache-2.0
"""The actor half of a method: what the steering node asks of it at each decision.

Legend: N candidates, H chunk length, A action dims, D noise dims, F feature dims, P proprioception dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from whetstone_common.core.contract import Contract

if TYPE_CHECKING:  # the plain method needs no torch
    from vla_policy.core.steering.weights import PolicyManifest, PolicySet

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

    def noise(
        self, features: FloatArray, shape: tuple[int, int, int], seed: int, sequence: int, tuning: Tuning
    ) -> FloatArray:
        """Starting noise, float32 of `shape` [N, H, A], determined by (seed, sequence)."""
        ...


@dataclass(frozen=True, eq=False)
class Trial:
    """What new weights are tried on before they may decide.

    Attributes:
        contract: Of the VLA.
        situations: Fixed ones, and the last real one.
        edit_limit: Largest edit of any step that this robot allows, normalised units.
    """

    contract: Contract
    situations: Sequence[Situation]
    edit_limit: float


@dataclass(frozen=True, eq=False)
class Ready:
    """Weights that passed: what a method needs to play them.

    Attributes:
        manifest: What was said of them.
        actor: The method's own.
    """

    manifest: PolicyManifest
    actor: Any


@runtime_checkable
class Learned(Protocol):
    """What a method has besides when a learner sends it weights. Without any it plays the first candidate."""

    @property
    def version(self) -> int:
        """Of the weights that decide, 0 for none."""
        ...

    def prepare(self, weights: PolicySet, trial: Trial) -> Ready:
        """Builds and tries what would decide; for another thread, and without a trace in the method.

        Raises:
            WeightsError: They do not fit, or misbehave on trial.
        """
        ...

    def install(self, ready: Ready) -> None:
        """Lets them decide from the next decision on; one that is being made is not touched."""
        ...
