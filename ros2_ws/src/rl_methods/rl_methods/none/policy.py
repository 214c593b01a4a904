# SPDX-License-Identifier: Apache-2.0
"""Method `none`: the plain VLA."""

from __future__ import annotations

from rl_methods.base import PolicyInput, PolicyOutput, RuntimeConfig


class FirstCandidate:
    """Plays the first candidate, which does not depend on how many were drawn."""

    def act(self, policy_input: PolicyInput, _config: RuntimeConfig) -> PolicyOutput:
        """The first candidate as it is."""
        return PolicyOutput(chunk=policy_input.candidates[0], candidate=0)
