# SPDX-License-Identifier: Apache-2.0
"""What of the recorded windows a method learns from."""

from __future__ import annotations

from dataclasses import dataclass

IMAGES = frozenset({"images", "next_images"})
PROPRIO = frozenset({"proprio", "next_proprio"})
VLA_DATA = frozenset({"candidates", "noise", "next_candidates"})
OPTIONAL_DATA = VLA_DATA | IMAGES | PROPRIO


@dataclass(frozen=True)
class DataSpec:
    """What of a window the learner keeps besides what every method needs; the rest takes no memory.

    Attributes:
        fields: Of `OPTIONAL_DATA`: base candidates at the window's start, the noises that they came from, base
            candidates at the window's end; images and proprioception at both.
        critical_phase_only: Windows outside the critical phase are counted and not kept.
        base_successes: Episodes that succeeded before anything was learnt are prior data too, and learning begins only
            when there is one.
        human_in_prior: Windows in which a human drove are kept among the prior data as well, so that they stay and
            weigh as demonstrations do (HIL-SERL, arXiv 2410.21845, section 3.4).
    """

    fields: frozenset[str] = VLA_DATA
    critical_phase_only: bool = False
    base_successes: bool = False
    human_in_prior: bool = False

    def __post_init__(self) -> None:
        """Refuse unknown fields.

        Raises:
            ValueError: Naming them.
        """
        if unknown := sorted(self.fields - OPTIONAL_DATA):
            raise ValueError(f"unknown fields {unknown}, known: {sorted(OPTIONAL_DATA)}")

    def keeps(self, name: str) -> bool:
        """Whether a field of the batch is kept."""
        return name not in OPTIONAL_DATA or name in self.fields
