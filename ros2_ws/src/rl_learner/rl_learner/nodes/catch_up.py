# SPDX-License-Identifier: Apache-2.0
"""Fetches stored transitions page by page: at the start, and whenever one is missing before what came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vla_interfaces.msg import Transition
from vla_interfaces.srv import FetchTransitions

from experience.nodes import convert
from rl_learner.core.worker import Worker
from rl_learner.core.worker_inbox import Command
from whetstone_common.nodes.robot_view import Side

_SERVICE = "transition_node/fetch_transitions"
_PATIENCE_S = 5.0  # for an answer: who should give it may have died; and between two questions that led nowhere


class CatchUp:
    """Asks for the next page when the last one has been taken in.

    Args:
        side: The node, or its view of the robot whose transitions they are.
        robot: Its name in the run.
        worker: Who takes transitions in, once there is one.

    Attributes:
        problem: Why the other side gives nothing, empty when it does.
    """

    def __init__(self, side: Side, robot: str, worker: Callable[[], Worker | None]) -> None:
        self._side, self._robot, self._worker = side, robot, worker
        self._client = side.create_client(FetchTransitions, _SERVICE)
        self._asked: Any = None
        self._asked_s = 0.0
        self._after = 0
        self._wanted = True
        self.problem = ""

    def turn(self, now_s: float) -> None:
        """Ask, when there is reason to."""
        worker = self._worker()
        if self._asked is not None and now_s - self._asked_s > _PATIENCE_S:
            self._client.remove_pending_request(self._asked)
            self._asked = None
        if worker is None or self._asked is not None or len(inbox := worker.inboxes[self._robot]):
            return
        if inbox.gap:
            inbox.gap, self._wanted = False, True
        through = worker.session.receipts.of(self._robot).through
        is_in_vain = bool(self.problem or inbox.problem) and through == self._after
        if is_in_vain and now_s - self._asked_s < _PATIENCE_S:
            return  # the same again, with all its bytes
        if not self._wanted or not self._client.service_is_ready():
            return
        self._after, self._asked_s = through, now_s
        request = FetchTransitions.Request(run=self._side.param("run"), after=self._after)
        self._asked = self._client.call_async(request)
        self._asked.add_done_callback(self._side.guarded(self.on_page, listed=False))

    def on_page(self, future: Any) -> None:
        """Hand over what is on it."""
        worker, page = self._worker(), future.result()
        if future is not self._asked:
            return  # it took too long, and was asked for again
        self._asked = None
        if worker is None or page is None:
            return
        self.problem = "" if page.success else page.message
        self._wanted = bool(page.transitions) or not page.success
        if page.success and (start := _start_of(page)) > self._after + 1:
            worker.put(_skip(start, page.spool, self._robot), self._robot)
        for msg in page.transitions:
            worker.put(_letter(msg, self._robot), self._robot)


def _start_of(page: FetchTransitions.Response) -> int:
    """Oldest sequence number behind what was asked for; what is missing before it was dropped, or is damaged."""
    return int(page.transitions[0].seq if page.transitions else page.last + 1)


def _letter(msg: Transition, robot: str) -> Command:
    return lambda session: session.add(convert.to_transition(msg), msg.spool, msg.seq, robot)


def _skip(first: int, spool: int, robot: str) -> Command:
    return lambda session: session.intake.skip_to(first, spool, robot)
