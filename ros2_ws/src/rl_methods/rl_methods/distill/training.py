# SPDX-License-Identifier: Apache-2.0
"""Distillation of a run: what was executed in its successes is imitated, from the base (PLD, arXiv 2511.00091).

Labels are the executed actions, re-chunked in hindsight. The policy's own frames stay in the data: PLD's ablation finds
that the expert's parts alone distil worse than episodes that begin as the base would. Frames that led to a takeover do
not: they are the mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rl_methods.base import EpisodeLabels, PostTraining, Sample
from rl_methods.common.imitation import ImitationRule, select_imitation_frames


@dataclass(frozen=True)
class DistillSettings:
    """What of a run goes back.

    Attributes:
        execute_steps: C of the run: the policy's frames are one per chunk that it played, and none of those in which
            an operator had to take over.
        human_stride: Frames between two of an operator's.
        idle_rad: Leave out an operator's frames that are followed by no movement of more than this (rad or opening).
        from_policy: Keep the policy's own frames.
    """

    execute_steps: int = 8
    human_stride: int = 2
    idle_rad: float = 0.0
    from_policy: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            ValueError: With name, value and range.
        """
        _ = self.rule

    @property
    def rule(self) -> ImitationRule:
        """What it means for frames."""
        policy_stride = self.execute_steps if self.from_policy else 0
        return ImitationRule(self.human_stride, policy_stride, self.execute_steps, idle_rad=self.idle_rad)


class Distill(PostTraining):
    """Imitates the successes of a run."""

    settings_type = DistillSettings
    settings: DistillSettings

    def select(self, dataset: Path, episode: EpisodeLabels) -> Sequence[Sample]:
        """See `PostTraining.select`."""
        return select_imitation_frames(episode, self.settings.rule)
