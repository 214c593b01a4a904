# SPDX-License-Identifier: Apache-2.0
"""Marks that an operator sets on an episode: one vocabulary and one key map for every device and command."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class Mark(str, Enum):  # noqa: UP042 - StrEnum came with Python 3.11
    """What an operator says about an episode; the names are those of vla_interfaces/EpisodeMark."""

    SUCCESS = "success"
    FAILURE = "failure"
    RESET = "reset"  # the scene has been put back
    ABORT = "abort"


MARK_KEYS: Mapping[str, Mark] = {"y": Mark.SUCCESS, "n": Mark.FAILURE, "c": Mark.RESET, "q": Mark.ABORT}
