# SPDX-License-Identifier: Apache-2.0
"""Method `none`: the plain VLA."""

from __future__ import annotations

from vla_policy.core.steering.protocol import Choice, Situation, Tuning


class FirstCandidate:
    """Plays the first candidate, which does not depend on how many were drawn."""

    def choose(self, situation: Situation, _tuning: Tuning) -> Choice:
        """The first candidate as it is."""
        return Choice(chunk=situation.candidates[0], candidate=0)
