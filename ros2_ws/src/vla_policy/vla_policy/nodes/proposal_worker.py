# SPDX-License-Identifier: Apache-2.0
"""The thread that works on observations, and the one that waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from vla_interfaces.msg import Observation as ObservationMsg

from vla_policy.core.inbox import NewestInbox
from vla_policy.core.protocol import Observation
from whetstone_common.core.stamp import Stamp

_JOIN_TIMEOUT_S = 1.0


@dataclass(frozen=True, eq=False)
class Job:
    """One observation to work on.

    Attributes:
        stamp: Its request cycle.
        is_query: Whether the result is never played.
        observation: What the model sees.
        msg: The message it came in, for what only travels along.
        arrived_s: When it came, performance counter.
    """

    stamp: Stamp
    is_query: bool
    observation: Observation
    msg: ObservationMsg
    arrived_s: float


class ProposalWorker:
    """Serves one job after the other, the newest first; a query never displaces a request that will be played.

    Args:
        serve: Works on a job; called in the thread.
        fail: Called with an exception that `serve` lets through; the thread ends with it.
    """

    def __init__(self, serve: Callable[[Job], None], fail: Callable[[BaseException], None]) -> None:
        self._serve, self._fail = serve, fail
        self._inbox: NewestInbox[Job] = NewestInbox(lambda new, old: old.is_query or not new.is_query)
        self._thread = threading.Thread(target=self._work, name="vla", daemon=True)
        self._thread.start()

    @property
    def is_idle(self) -> bool:
        """Whether no job waits."""
        return self._inbox.peek() is None

    def put(self, job: Job) -> bool:
        """Offer a job; False when it, or the one that waited, is dropped."""
        return self._inbox.put(job)

    def is_displaced(self, job: Job) -> bool:
        """Whether the result of a job would be thrown away: an observation of a newer request waits."""
        waiting = self._inbox.peek()
        return waiting is not None and (job.is_query or not waiting.is_query)

    def close(self) -> None:
        """Take no more jobs."""
        self._inbox.close()

    def join(self) -> None:
        """Wait for the thread; one whose model hangs is left behind."""
        self._thread.join(_JOIN_TIMEOUT_S)

    def _work(self) -> None:
        try:
            while (job := self._inbox.get()) is not None:
                self._serve(job)
        except BaseException as error:
            self._fail(error)
            raise
