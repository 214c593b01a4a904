# SPDX-License-Identifier: Apache-2.0
"""States and reasons of a node, and both in words; the numbers are those of vla_interfaces/NodeStatus."""

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
    NO_WEIGHTS = 37
    NO_CONTRACT = 38


_STATE_WORDS = {
    State.UNCONFIGURED: "not configured",
    State.ERROR: "in error",
    State.FINALIZED: "shut down",
}
# Where a name alone does not say it.
_REASON_WORDS = {
    Reason.NONE: "",
    Reason.ESTOP: "emergency stop",
    Reason.UNDERRUN: "no chunk left to play",
    Reason.NOT_FINITE: "value is not finite",
    Reason.TAKEOVER: "taken over by an operator",
    Reason.SECOND_NODE: "second node of this name",
    Reason.OTHER_CLOCK: "stamps of another clock",
    Reason.NO_CONTRACT: "no policy contract yet",
}
# Where state and reason together have a shorter name.
_PAIR_WORDS = {
    (State.STARTING, Reason.SHUTDOWN): "deactivated",
    (State.FINALIZED, Reason.SHUTDOWN): "shut down",
}


def sentence(state: State, reason: Reason = Reason.NONE, detail: str = "") -> str:
    """What a node's status says to a reader, to stand alone or after "<node> is".

    Examples: "ready"; "starting: loading model (12 s)"; "stopped, emergency stop: pressed by /panel".
    """
    words = _PAIR_WORDS.get((state, reason)) or _STATE_WORDS.get(state, _plain(state))
    # What a start waits for stands in its detail.
    is_told = (state, reason) in _PAIR_WORDS or (state is State.STARTING and detail)
    if not is_told and reason is not Reason.NONE:
        return f"{words}, {cause(reason, detail)}"
    return f"{words}: {detail}" if detail else words


def cause(reason: Reason, detail: str = "") -> str:
    """A reason and its detail in words, as in "missing stream: no camera front"; empty for `NONE` without detail."""
    return ": ".join(filter(None, (_REASON_WORDS.get(reason, _plain(reason)), detail)))


def _plain(name: IntEnum) -> str:
    return name.name.lower().replace("_", " ")


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
