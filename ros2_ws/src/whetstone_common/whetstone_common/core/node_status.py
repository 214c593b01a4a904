# SPDX-License-Identifier: Apache-2.0
"""The status that a node shows: what it says of itself, joined with what the graph says of it."""

from __future__ import annotations

from whetstone_common.core.reason import Reason, State

Status = tuple[State, Reason, str]

_WORKING = {State.STARTING, State.READY, State.RUNNING, State.HOLDING}
# What a node says of its inputs when in truth its own clock stands still.
_CLOCK_EXPLAINS = {
    Reason.NONE,
    Reason.MISSING_STREAM,
    Reason.STALE_OBSERVATION,
    Reason.BAD_MESSAGE,
    Reason.NO_CLOCK,
    Reason.OTHER_CLOCK,
}


def with_graph_problem(own: Status, problem: tuple[Reason, str]) -> Status:
    """A second node of this name is an error whatever this one does; an unheard publisher is shown as a reason.

    Args:
        own: State, reason and detail by the node itself.
        problem: Reason and text by the graph; `Reason.NONE` for none.
    """
    state, reason, _ = own
    kind, text = problem
    if kind is Reason.SECOND_NODE and state is not State.FINALIZED:
        return State.ERROR, kind, text
    if kind is Reason.NO_CLOCK and reason in _CLOCK_EXPLAINS and state in _WORKING:
        return state, kind, text
    if kind is not Reason.NONE and reason is Reason.NONE and state in (State.READY, State.RUNNING):
        return state, kind, text
    return own
