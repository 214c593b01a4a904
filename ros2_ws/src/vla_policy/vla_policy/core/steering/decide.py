# SPDX-License-Identifier: Apache-2.0
"""Around a policy: nothing that is not finite, or of another shape, goes in or comes out."""

from __future__ import annotations

import numpy as np

from rl_methods.base import FloatArray, NoisePolicy, Policy, PolicyInput, PolicyOutput, RuntimeConfig
from rl_methods.registry import entry
from whetstone_common.core.contract import Contract


class ProposalError(ValueError):
    """A proposal that is refused; `kind` is `not_finite` or `shape`."""

    def __init__(self, kind: str, text: str) -> None:
        """Keep both."""
        super().__init__(text)
        self.kind = kind


def check_features(method: str, contract: Contract) -> None:
    """Refuse a method whose networks would have nothing to read.

    Raises:
        ValueError: The method learns on features, and the policy has none.
    """
    if not contract.feature_dim and entry(method).algorithm:
        raise ValueError(
            f"method {method!r} reads features of the VLA, and {contract.model_id or 'this policy'} gives none: use"
            " method none, or serve the checkpoint itself with backend pi0"
        )


def decide(policy: Policy, policy_input: PolicyInput, config: RuntimeConfig) -> PolicyOutput:
    """Let a policy choose, and check both sides.

    Raises:
        ProposalError: The proposal is not finite or has no candidate.
        RuntimeError: The method returned something that cannot be played.
    """
    check_input(policy_input)
    output = policy.act(policy_input, config)
    expected = policy_input.candidates.shape[1:]
    if output.chunk.shape != expected:
        raise RuntimeError(f"the policy returned a chunk of shape {output.chunk.shape}, expected {expected}")
    if not np.isfinite(output.chunk).all():
        raise RuntimeError("the policy returned a chunk that is not finite")
    return output


def check_input(policy_input: PolicyInput) -> None:
    """Refuse what no policy could use.

    Raises:
        ProposalError: A field is not finite, or candidates and noises do not pair up.
    """
    if policy_input.candidates.ndim != 3 or len(policy_input.candidates) < 1:
        raise ProposalError("shape", f"candidates have shape {policy_input.candidates.shape}")
    if policy_input.noise.shape[:2] != policy_input.candidates.shape[:2]:
        raise ProposalError("shape", f"noise {policy_input.noise.shape} for candidates {policy_input.candidates.shape}")
    for name in ("candidates", "noise", "features", "proprio"):
        if not np.isfinite(getattr(policy_input, name)).all():
            raise ProposalError("not_finite", f"{name} is not finite")


def steer(
    policy: NoisePolicy,
    features: FloatArray,
    shape: tuple[int, int, int],
    seed: int,
    sequence: int,
    config: RuntimeConfig,
) -> FloatArray:
    """Let a policy choose the noise, and check it.

    Raises:
        RuntimeError: The method returned something that cannot be denoised.
    """
    noise = policy.noise(features, shape, seed, sequence, config)
    if noise.shape != shape or not np.isfinite(noise).all():
        raise RuntimeError(f"the policy returned noise of shape {noise.shape} or not finite, expected {shape}")
    return noise
