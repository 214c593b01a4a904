# SPDX-License-Identifier: Apache-2.0
"""HG-DAgger: only what an operator drove is imitated (Kelly et al. 2019, arXiv 1810.02890).

Corrections and demonstrations are alike. The operator watches and takes over when it looks bad. What the policy did
before that is no negative example: it is unused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rl_methods.base import EpisodeLabels, PostTraining, Sample
from rl_methods.common.imitation import ImitationRule, select_imitation_frames


@dataclass(frozen=True)
class DaggerSettings:
    """What is imitated, and when.

    Attributes:
        episodes_per_round: Episodes between two trainings.
        steps_per_round: Optimiser steps of each training.
        human_stride: Frames between two of an operator's that start a chunk.
        idle_rad: Leave out an operator's frames that are followed by no movement of more than this (rad or opening).
        only_successes: Leave out corrections of episodes that failed all the same.
        execute_steps: C, executed steps of a chunk.
        demonstrations: Folder of a LeRobotDataset that is imitated beside the corrections, empty for none.
    """

    episodes_per_round: int = 20
    steps_per_round: int = 600
    human_stride: int = 1
    idle_rad: float = 0.0
    only_successes: bool = True
    execute_steps: int = 8
    demonstrations: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: With name, value and range.
        """
        for name in ("episodes_per_round", "steps_per_round", "human_stride"):
            if not 1 <= getattr(self, name) <= 1_000_000:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed: 1 to 1000000")
        _ = self.rule

    @property
    def rule(self) -> ImitationRule:
        """What it means for frames."""
        return ImitationRule(self.human_stride, 0, self.execute_steps, self.only_successes, self.idle_rad)


class Dagger(PostTraining):
    """Imitates corrections and demonstrations."""

    settings_type = DaggerSettings
    settings: DaggerSettings

    def select(self, dataset: Path, episode: EpisodeLabels) -> Sequence[Sample]:
        """See `PostTraining.select`."""
        return select_imitation_frames(episode, self.settings.rule)
