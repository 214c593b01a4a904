# SPDX-License-Identifier: Apache-2.0
"""What is known of the episode in progress."""

from __future__ import annotations

from dataclasses import dataclass

from robot_operation.core.episodes import EpisodePlan
from robot_operation.core.holding import HoldTimes
from robot_operation.core.success_detection import DetectorPanel
from whetstone_common.core.enums import EpisodePhase


@dataclass
class EpisodeContext:
    """The episode in progress.

    Attributes:
        is_scene_reset: The operator has reset the scene since the episode's turn began.
        is_abort_marked: The operator marked "abort" in the episode's turn, before there was a detector.
    """

    plan: EpisodePlan
    number: int
    phase: EpisodePhase = EpisodePhase.RESETTING
    instruction: str = ""
    epoch: int = 0
    episode: int = 0
    reset_id: int = 0
    start_tick: int = 0
    start_ns: int = 0
    resumed: bool = False
    steps: int = 0
    progressed_s: float = 0.0
    detectors: DetectorPanel | None = None
    holds: HoldTimes | None = None
    is_scene_reset: bool = False
    is_abort_marked: bool = False
