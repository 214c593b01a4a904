# SPDX-License-Identifier: Apache-2.0
"""The thread that owns a session: it alone takes transitions in, learns, publishes and saves."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rl_learner.core.checkpoint_keeper import CheckpointKeeper
from rl_learner.core.evaluation_trials import EvaluationTrials
from rl_learner.core.niceness import be_nice
from rl_learner.core.receipts import SOLE
from rl_learner.core.tensorboard import TensorBoardLogger
from rl_learner.core.training_run import TrainingRun
from rl_learner.core.update_rate import UpdateRate
from rl_learner.core.weight_publishing import Publish, WeightPublishing
from rl_learner.core.worker_inbox import Command, Inbox, drain

_IDLE_S = 0.02


@dataclass(frozen=True)
class WorkerConfig:
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
        publish: Takes weights of the session to whoever plays.
        fail: Told of an exception that ends the thread.
        config: May be exchanged at any time.
        clock: Steady seconds.
        logger: Draws the run's curves.

    Attributes:
        inboxes: What comes from other threads, by robot.
        checkpoints: When the session was saved.
        trials: Rounds of evaluation.
        rate: Of updates.
    """

    def __init__(
        self,
        session: TrainingRun,
        folder: Path,
        publish: Publish,
        fail: Callable[[BaseException], None],
        config: WorkerConfig,
        clock: Callable[[], float],
        logger: TensorBoardLogger | None = None,
    ) -> None:
        self.session, self.config = session, config
        self._fail, self._clock, self._logger = fail, clock, logger
        self.inboxes = {robot: Inbox() for robot in session.receipts.robots}
        self._turns, self.trials = deque(self.inboxes.values()), EvaluationTrials()
        self.checkpoints = CheckpointKeeper(session, folder, clock())
        self.rate = UpdateRate(session.learner.updates, clock())
        self._weights = WeightPublishing(session, publish)
        self._thread = _LoopThread(self._run)

    # -- for other threads --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End with a last checkpoint; whether that worked in time."""
        return self._thread.stop(timeout_s)

    def put(self, command: Command, robot: str = SOLE) -> bool:
        """Hand something of a robot over; False when there is too much already."""
        is_taken = self.inboxes[robot].put(command)
        self._thread.wake()
        return is_taken

    def begin_evaluation(self) -> None:
        """Publish the newest weights, and no others until the round is over."""
        self.trials.announce_begin()
        self._thread.wake()

    def end_evaluation(self, successes: int, episodes: int) -> None:
        """Let the guard judge what was published for the round, and publish what may play; no episodes say nothing.

        Raises:
            ValueError: The counts cannot be.
        """
        self.trials.announce_end(successes, episodes)
        self._thread.wake()

    # -- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        be_nice(self.config.niceness)
        try:
            if self.session.ready:
                self._publish_now()
            self._thread.repeat(self._turn)
            self._save()
        except Exception as error:  # noqa: BLE001 - the border of the thread
            self._fail(error)
        finally:
            if self._logger is not None:
                self._logger.close()

    def _turn(self) -> bool:
        """One update at most; returns whether there was anything to do."""
        if self.config.freeze:
            for inbox in self.inboxes.values():
                inbox.clear()
            return False
        is_busy = drain(self._turns, self.session, self._on_transition) | self._evaluate() | self._learn()
        now_s = self._clock()
        self.rate.on_turn(self.session.learner.updates, now_s)
        is_open = self.trials.weights is None
        if is_open and self._weights.is_due(now_s, self.config.publish_s, self.config.publish_updates):
            self._publish_now()
        if self.checkpoints.is_due(now_s, self.config.checkpoint_s):
            self._save()
        return is_busy

    def _evaluate(self) -> bool:
        """Rounds of evaluation as they were announced; returns whether there was one."""
        publishes = self.trials.advance(self.session, self._clock())
        if publishes:
            self._publish_now()
        self.trials.is_evaluating = self.trials.weights is not None
        return publishes is not None

    def _on_transition(self) -> None:
        if self._logger is not None:
            self._logger.on_transition(self.session)

    def _learn(self) -> bool:
        """An update, if one is due; returns whether it was."""
        if self.session.due <= 0:
            return False
        self.session.learn()
        if self._logger is not None:
            self._logger.on_update(self.session)
        return True

    def _publish_now(self) -> None:
        self._weights.publish(self.trials.weights, self._clock())

    def _save(self) -> None:
        if not self.config.freeze:
            self.checkpoints.save(self._clock())


class _LoopThread:
    """A thread that turns until it is stopped, and sleeps while there is nothing to do."""

    def __init__(self, target: Callable[[], None]) -> None:
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=target, name="learner", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Let the turn that is made be the last one; whether the thread has ended in time."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def wake(self) -> None:
        """There is something to do."""
        self._wake.set()

    def repeat(self, turn: Callable[[], bool]) -> None:
        """Turn until it is stopped; `turn` returns whether there was anything to do."""
        while not self._stopping.is_set():
            if not turn():
                self._wake.wait(_IDLE_S)
                self._wake.clear()
