# SPDX-License-Identifier: Apache-2.0
"""Fetches stored transitions page by page: at the start, and whenever one is missing before what came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vla_interfaces.msg import Transition
from vla_interfaces.srv import FetchTransitions

from experience.core.ledger import ReceiveResult
from experience.nodes import convert
from rl_learner.core.training_run import TrainingRun
from rl_learner.core.worker import Worker
from rl_learner.core.worker_inbox import Command
from whetstone_common.nodes.node import WhetstoneNode

_SERVICE = "transition_node/fetch_transitions"
_PATIENCE_S = 5.0  # for an answer: who should give it may have died


class CatchUp:
    """Asks for the next page when the last one has been taken in.

    Args:
        node: That the client belongs to.
        run: Name of the run.
        worker: Who takes transitions in, once there is one.

    Attributes:
        problem: Why the other side gives nothing, empty when it does.
    """

    def __init__(self, node: WhetstoneNode, run: str, worker: Callable[[], Worker | None]) -> None:
        self._node, self._run, self._worker = node, run, worker
        self._client = node.create_client(FetchTransitions, _SERVICE)
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
        if worker is None or self._asked is not None or len(worker.inbox):
            return
        if worker.inbox.gap:
            worker.inbox.gap, self._wanted = False, True
        if not self._wanted or not self._client.service_is_ready():
            return
        self._after, self._asked_s = worker.session.receipts.through, now_s
        self._asked = self._client.call_async(FetchTransitions.Request(run=self._run, after=self._after))
        self._asked.add_done_callback(self._node.guarded(self.on_page, listed=False))

    def on_page(self, future: Any) -> None:
        """Hand over what is on it."""
        worker, page = self._worker(), future.result()
        if future is not self._asked:
            return  # it took too long, and was asked for again
        self._asked = None
        if worker is None or page is None:
            return
        self.problem = "" if page.success else page.message
        self._wanted = page.success and bool(page.transitions)
        if page.success and (start := _start_of(page)) > self._after + 1:
            worker.put(_skip(start, page.spool))
        for msg in page.transitions:
            worker.put(_letter(msg))


def _start_of(page: FetchTransitions.Response) -> int:
    """Oldest sequence number behind what was asked for; what is missing before it was dropped, or is damaged."""
    return int(page.transitions[0].seq if page.transitions else page.last + 1)


def _letter(msg: Transition) -> Command:
    return lambda session: session.add(convert.to_transition(msg), msg.spool, msg.seq)


def _skip(first: int, spool: int) -> Command:
    def skip(session: TrainingRun) -> ReceiveResult | None:
        if session.receipts.spool in (0, spool):
            session.receipts.spool = spool
            session.skip_to(first)
        return None

    return skip
