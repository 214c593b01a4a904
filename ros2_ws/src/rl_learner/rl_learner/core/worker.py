# SPDX-License-Identifier: Apache-2.0
"""The thread that owns a session: it alone takes transitions in, learns, publishes and saves."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rl_learner.core.board import Board
from rl_learner.core.checkpoint import save
from rl_learner.core.ledger import Offer
from rl_learner.core.session import Session

Letter = Callable[[Session], Offer | None]
"""Something for the session, made of a message where the message is read: not in the callback."""

MOST_LETTERS = 1024  # more are put off: they come again
_IDLE_S = 0.02
_RATE_S = 2.0


@dataclass(frozen=True)
class Rhythm:
    """When what is done besides learning.

    Attributes:
        publish_s: Least time between two sets of weights.
        publish_updates: A set is published after so many updates at the latest; 0 for never by count.
        checkpoint_s: Time between two checkpoints.
        niceness: Of the thread; everything that moves the arm goes first.
        freeze: Publish what there is, once; take nothing in and learn nothing.
    """

    publish_s: float = 5.0
    publish_updates: int = 0
    checkpoint_s: float = 60.0
    niceness: int = 5
    freeze: bool = False


class Worker:
    """Runs a session.

    Args:
        session: It; nobody else may change it from now on.
        folder: Where its checkpoints go.
        publish: Takes the session's weights to whoever plays.
        fail: Told of an exception that ends the thread.
        rhythm: May be exchanged at any time.
        clock: Steady seconds.
        board: Draws the run's curves.
    """

    def __init__(
        self,
        session: Session,
        folder: Path,
        publish: Callable[[Session], None],
        fail: Callable[[BaseException], None],
        rhythm: Rhythm,
        clock: Callable[[], float],
        board: Board | None = None,
    ) -> None:
        self.session, self.rhythm, self._clock = session, rhythm, clock
        self.gap = False  # something is missing before what came
        self.problem = ""  # what is wrong with what comes
        self.disk_problem = ""
        self.updates_per_s = 0.0
        self.saved_step = session.learner.updates
        self._folder, self._publish, self._fail, self._board = folder, publish, fail, board
        self._letters: deque[Letter] = deque()
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._published_step, self._published_s = -1, 0.0
        self._saved_s = self._clock()
        self._saved_what = self._what()
        self._rate_from = (self._clock(), session.learner.updates)
        self._thread = threading.Thread(target=self._run, name="learner", daemon=True)

    # -- for other threads --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End with a last checkpoint; whether that worked in time."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def put(self, letter: Letter) -> bool:
        """Hand something over; False when there is too much already."""
        if len(self._letters) >= MOST_LETTERS:
            return False
        self._letters.append(letter)
        self._wake.set()
        return True

    @property
    def waiting(self) -> int:
        """Letters that were not taken in yet."""
        return len(self._letters)

    # -- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self.rhythm.niceness)
        try:
            if self.session.ready:
                self._publish_now()
            while not self._stopping.is_set():
                if not self._turn():
                    self._wake.wait(_IDLE_S)
                    self._wake.clear()
            self._save()
        except Exception as error:  # noqa: BLE001 - the border of the thread
            self._fail(error)
        finally:
            if self._board is not None:
                self._board.close()

    def _turn(self) -> bool:
        """One update at most; returns whether there was anything to do."""
        if self.rhythm.freeze:
            self._letters.clear()
            return False
        took = self._take_in()
        has_learnt = self.session.due > 0
        if has_learnt:
            self._learn()
        now_s = self._clock()
        self._rate(now_s)
        if self._publish_due(now_s):
            self._publish_now()
        if now_s - self._saved_s >= self.rhythm.checkpoint_s:
            self._save()
        return took or has_learnt

    def _take_in(self) -> bool:
        took = False
        while self._letters and self.session.has_room:
            letter = self._letters.popleft()
            took = True
            others = self.session.tally.other_discount
            try:
                offer = letter(self.session)
            except ValueError as error:
                self.problem = str(error)
                continue
            self.gap = self.gap or offer is Offer.GAP
            if offer is Offer.NEW:
                # more of that kind will follow: a setting is wrong, not a number
                self.problem = self.session.mismatch if self.session.tally.other_discount > others else ""
                self._took()
        return took

    def _took(self) -> None:
        if self._board is not None:
            self._board.took(self.session)

    def _learn(self) -> None:
        self.session.learn()
        if self._board is not None:
            self._board.learnt(self.session)

    def _publish_due(self, now_s: float) -> bool:
        since = self.session.learner.updates - self._published_step
        if not self.session.ready or since == 0:
            return False
        by_count = 0 < self.rhythm.publish_updates <= since
        return self._published_step < 0 or by_count or now_s - self._published_s >= self.rhythm.publish_s

    def _publish_now(self) -> None:
        self._publish(self.session)
        self._published_step, self._published_s = self.session.learner.updates, self._clock()

    def _save(self) -> None:
        """A checkpoint, when anything has changed; a disk that refuses it does not end the learning."""
        self._saved_s = self._clock()
        if self.rhythm.freeze or self._what() == self._saved_what:
            return
        try:
            save(self._folder, self.session.snapshot())
        except OSError as error:
            self.disk_problem = f"no checkpoint: {error}"
            return
        self.disk_problem = ""
        self.saved_step, self._saved_what = self.session.learner.updates, self._what()

    def _what(self) -> tuple[int, int]:
        return self.session.learner.updates, self.session.receipts.through

    def _rate(self, now_s: float) -> None:
        since_s, updates = self._rate_from
        if now_s - since_s >= _RATE_S:
            self.updates_per_s = (self.session.learner.updates - updates) / (now_s - since_s)
            self._rate_from = (now_s, self.session.learner.updates)
