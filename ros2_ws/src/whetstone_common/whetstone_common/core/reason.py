# SPDX-License-Identifier: Apache-2.0
"""States and reasons of a node; the numbers are those of vla_interfaces/NodeStatus."""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """What a node is doing."""

    UNCONFIGURED = 0
    STARTING = 1
    READY = 2
    RUNNING = 3
    HOLDING = 4
    STOPPED = 5
    ERROR = 6
    FINALIZED = 7


class Reason(IntEnum):
    """Why a node is in its state."""

    NONE = 0
    DISARMED = 1
    ESTOP = 2
    POLICY_LOST = 3
    UNDERRUN = 4
    STALE_OBSERVATION = 5
    FROZEN_SOURCE = 6
    MISSING_STREAM = 7
    BAD_MESSAGE = 8
    NOT_FINITE = 9
    LIMIT_EXCEEDED = 10
    CONTRACT_MISMATCH = 11
    SECOND_SOURCE = 12
    TAKEOVER_LOST = 13
    TAKEOVER = 14
    CLOCK_JUMP = 15
    CALLBACK_EXCEPTION = 16
    MODEL_FAILURE = 17
    EPISODE_END = 18
    SHUTDOWN = 19
    BAD_PARAMETER = 20
    JOINT_STATE_LOST = 21
    DEADLINE_MISSED = 22
    DISK_FULL = 23
    SPOOL_FULL = 24
    SECOND_COMMANDER = 25
    INCOMPATIBLE_PUBLISHER = 26
    OPERATOR_LOST = 27
    SECOND_NODE = 28
    EPISODE_REFUSED = 31
    NO_CLOCK = 35
    OTHER_CLOCK = 36


class ReasonedError(RuntimeError):
    """A failure that knows its reason; at the node boundary it becomes the node's status.

    Attributes:
        reason: Why.
        detail: In words: stream, value, range.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        """Keep both parts."""
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
