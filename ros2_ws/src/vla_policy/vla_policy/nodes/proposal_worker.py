# SPDX-License-Identifier: Apache-2.0
"""The thread that works on observations, and the robots that wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vla_interfaces.msg import Observation as ObservationMsg

from vla_policy.core.inbox import BatchInbox
from vla_policy.core.protocol import Observation
from whetstone_common.core.stamp import Stamp

if TYPE_CHECKING:
    from vla_policy.nodes.served_robot import ServedRobot

_JOIN_TIMEOUT_S = 1.0


@dataclass(frozen=True, eq=False)
class Job:
    """One observation to work on.

    Attributes:
        robot: That it came from.
        stamp: Its request cycle.
        is_query: Whether the result is never played.
        observation: What the model sees.
        msg: The message it came in, for what only travels along.
        arrived_s: When it came, performance counter.
    """

    robot: ServedRobot
    stamp: Stamp
    is_query: bool
    observation: Observation
    msg: ObservationMsg
    arrived_s: float


class ProposalWorker:
    """Serves the newest job of each robot, who waits longest first; queries come after requests that will be played.

    Args:
        serve: Works on a batch of jobs of different robots; called in the thread.
        fail: Called with an exception that `serve` lets through; the thread ends with it.
        robots: How many there are.
    """

    def __init__(
        self, serve: Callable[[list[Job]], None], fail: Callable[[BaseException], None], robots: int = 1
    ) -> None:
        self._serve, self._fail = serve, fail
        self._inbox: BatchInbox[Job] = BatchInbox(robots, lambda job: int(job.is_query))
        self._thread = threading.Thread(target=self._work, name="vla", daemon=True)
        self._thread.start()

    @property
    def is_idle(self) -> bool:
        """Whether no job waits."""
        return self._inbox.is_empty

    def limit(self, most: int, window_s: float) -> None:
        """Work on so many jobs together at most, and wait so long (s) for those of other robots."""
        self._inbox.most, self._inbox.window_s = most, window_s

    def put(self, job: Job) -> bool:
        """Offer a job; False when it, or the one of its robot that waited, is dropped."""
        return self._inbox.put(job.robot.name, job)

    def is_displaced(self, job: Job) -> bool:
        """Whether the result of a job would be thrown away: an observation of a newer request of its robot waits."""
        waiting = self._inbox.peek(job.robot.name)
        return waiting is not None and (job.is_query or not waiting.is_query)

    def close(self) -> None:
        """Take no more jobs."""
        self._inbox.close()

    def join(self) -> None:
        """Wait for the thread; one whose model hangs is left behind."""
        self._thread.join(_JOIN_TIMEOUT_S)

    def _work(self) -> None:
        try:
            while jobs := self._inbox.get():
                self._serve(jobs)
        except BaseException as error:
            self._fail(error)
            raise
