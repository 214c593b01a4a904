# SPDX-License-Identifier: Apache-2.0
"""What the page in control may command."""

from __future__ import annotations

from enum import Enum


class Command(Enum):
    """A command, and how it is called on the page and in the log."""

    ARM = "arm"
    DISARM = "disarm"
    RESET = "reset"
    HOLD = "hold"
    RELEASE_ESTOP = "release the emergency stop"
    INSTRUCT = "say another instruction"
    START_EPISODES = "start episodes"
    CANCEL_EPISODES = "cancel episodes"
    SUCCESS = "mark success"
    FAILURE = "mark failure"
    SCENE_RESET = "mark scene as reset"
    ABORT = "mark abort"
    PIN_POLICY = "play policy version"


class CommandRefusedError(RuntimeError):
    """A command that was not carried out; the text says why."""
