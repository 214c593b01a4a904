# SPDX-License-Identifier: Apache-2.0
"""Supervised fine-tuning: every success is imitated, whoever drove it (pi0, arXiv 2410.24164; SmolVLA, 2506.01844)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rl_methods.base import EpisodeLabels, PostTraining, Sample
from rl_methods.common.imitation import ImitationRule, select_imitation_frames


@dataclass(frozen=True)
class SftSettings:
    """What is imitated.

    Attributes:
        stride: Frames between two that start a chunk; neighbours are almost the same, so 2 halves time and disk.
        idle_rad: Leave out an operator's frames that are followed by no movement of more than this (rad or opening).
        only_successes: Leave out episodes that did not succeed. A dataset that does not say how its episodes ended
            holds demonstrations, which all count as successes.
    """

    stride: int = 2
    idle_rad: float = 0.0
    only_successes: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: With name, value and range.
        """
        if not 1 <= self.stride <= 1000:
            raise ValueError(f"stride is {self.stride}, allowed: 1 to 1000")
        _ = self.rule

    @property
    def rule(self) -> ImitationRule:
        """What it means for frames."""
        return ImitationRule(self.stride, self.stride, 1, self.only_successes, self.idle_rad)


class Sft(PostTraining):
    """Imitates demonstrations."""

    settings_type = SftSettings
    settings: SftSettings

    def select(self, dataset: Path, episode: EpisodeLabels) -> Sequence[Sample]:
        """See `PostTraining.select`."""
        return select_imitation_frames(episode, self.settings.rule)
