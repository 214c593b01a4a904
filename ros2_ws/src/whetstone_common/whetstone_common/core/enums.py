# SPDX-License-Identifier: Apache-2.0
"""Enumerations that several packages share; the numbers are those of vla_interfaces."""

from __future__ import annotations

from enum import IntEnum


class Actor(IntEnum):
    """Who commands a step, as in vla_interfaces/Executed."""

    HOLD = 0
    POLICY = 1
    HUMAN = 2


class RequestKind(IntEnum):
    """What a request is for, as in vla_interfaces/Request."""

    ACT = 0  # the chunk will be executed
    QUERY_ONLY = 1  # features and candidates only, never executed
    TRIAL = 2  # the same while no episode runs; nobody learns from it


class EpisodePhase(IntEnum):
    """Where an episode is, as in the feedback of vla_interfaces/RunEpisodes."""

    RESETTING = 0
    RUNNING = 1
    JUDGING = 2

    @property
    def text(self) -> str:
        """Lower-case name."""
        return self.name.lower()


class Outcome(IntEnum):
    """How an episode ended, as in vla_interfaces/EpisodeEvent."""

    SUCCEEDED = 1
    FAILED = 2
    TIMED_OUT = 3
    ABORTED = 4

    @property
    def text(self) -> str:
        """Lower-case name, as it stands in results and files."""
        return self.name.lower()
