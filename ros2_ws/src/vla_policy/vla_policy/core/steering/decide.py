# SPDX-License-Identifier: Apache-2.0
"""Around a method: nothing that is not finite, or of another shape, goes in or comes out."""

from __future__ import annotations

import numpy as np

from vla_policy.core.steering.protocol import Choice, FloatArray, Method, NoiseSteerer, Situation, Tuning


class ProposalError(ValueError):
    """A proposal that is refused; `kind` is `not_finite` or `shape`."""

    def __init__(self, kind: str, text: str) -> None:
        """Keep both."""
        super().__init__(text)
        self.kind = kind


def decide(method: Method, situation: Situation, tuning: Tuning) -> Choice:
    """Let a method choose, and check both sides.

    Raises:
        ProposalError: The proposal is not finite or has no candidate.
        RuntimeError: The method returned something that cannot be played.
    """
    check_situation(situation)
    choice = method.choose(situation, tuning)
    expected = situation.candidates.shape[1:]
    if choice.chunk.shape != expected:
        raise RuntimeError(f"the method returned a chunk of shape {choice.chunk.shape}, expected {expected}")
    if not np.isfinite(choice.chunk).all():
        raise RuntimeError("the method returned a chunk that is not finite")
    return choice


def check_situation(situation: Situation) -> None:
    """Refuse what no method could use.

    Raises:
        ProposalError: A field is not finite, or candidates and noises do not pair up.
    """
    if situation.candidates.ndim != 3 or len(situation.candidates) < 1:
        raise ProposalError("shape", f"candidates have shape {situation.candidates.shape}")
    if situation.noise.shape[:2] != situation.candidates.shape[:2]:
        raise ProposalError("shape", f"noise {situation.noise.shape} for candidates {situation.candidates.shape}")
    for name in ("candidates", "noise", "features", "proprio"):
        if not np.isfinite(getattr(situation, name)).all():
            raise ProposalError("not_finite", f"{name} is not finite")


def steer(
    method: NoiseSteerer, features: FloatArray, shape: tuple[int, int, int], seed: int, sequence: int, tuning: Tuning
) -> FloatArray:
    """Let a method choose the noise, and check it.

    Raises:
        RuntimeError: The method returned something that cannot be denoised.
    """
    noise = method.noise(features, shape, seed, sequence, tuning)
    if noise.shape != shape or not np.isfinite(noise).all():
        raise RuntimeError(f"the method returned noise of shape {noise.shape} or not finite, expected {shape}")
    return noise
