# SPDX-License-Identifier: Apache-2.0
"""The stack of a training run while it is up: episode after episode, each stored and learned from."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rl_methods.registry import entry
from whetstone_cli.cli import screen
from whetstone_cli.cli.client import Client
from whetstone_cli.cli.errors import UserError
from whetstone_cli.cli.evaluate import EvalOptions, evaluate
from whetstone_cli.cli.evaluation_rounds import play_round, round_is_due, told
from whetstone_cli.cli.node_states import SILENT_S
from whetstone_cli.cli.options import task_name_of
from whetstone_cli.cli.run_settings import TrainOptions
from whetstone_cli.cli.storage import wait_for_storage
from whetstone_cli.cli.training_screen import TrainingScreen
from whetstone_cli.cli.training_watch import TrainingWatch
from whetstone_cli.core.report import EpisodeRow, Evaluation
from whetstone_cli.core.training import TrainingLog, evaluation_seed, training_seed
from whetstone_common.core.enums import EpisodePhase
from whetstone_common.core.training_log import TrainingEpisode, summarize

_MOST_ABORTS = 5
_MOST_LOSSES = 2
# Messages of an episode that has ended may be a moment behind its result.
_LAST_WORDS_S = 1.0
_ON_ITS_WAY_S = 10.0
# A learner that owes more updates than this is behind.
_MOST_OWED = 32
_CATCH_UP_S = 900.0
_FIRST_WEIGHTS_S = 3600.0  # a warm-up on images takes minutes on two cores


class TrainingSession:
    """A stack that is ready, and the run that goes on in it.

    Attributes:
        keeper: Node that stores an episode.
    """

    keeper = "transition_node"

    def __init__(
        self, options: TrainOptions, client: Client, log: TrainingLog, view: TrainingScreen, stack_log: Path
    ) -> None:
        """Listen to the run; what the nodes say is in `stack_log`."""
        self._options, self._client, self._log, self._view = options, client, log, view
        self._stack_log = stack_log
        self.watch = TrainingWatch(client.subscribe)
        self._began_s = time.monotonic() - (log.episodes[-1].wall_s if log.episodes else 0.0)
        self._aborts = self._losses = 0
        self._learner_epoch = client.epoch_of("learner_node")
        self._storage = options.stack.storage

    def wait_for_learner(self) -> None:
        """Let storage be ready and, in lockstep, the learner make up for what it owes: robot time is scarce.

        Raises:
            UserError: It learns no more, or nothing is stored; episodes would be thrown away.
        """
        self._wait_for_storage()
        self._tell_damage()
        if self.watch.learner.halt:
            raise self._error(f"the learner has halted, {self.watch.learner.halt}")
        if entry(self._options.settings.method).needs_weights:
            self._wait_for_first_weights()
        if self._options.settings.pace != "lockstep" or not self._log.episodes:
            return
        self.wait_for_transitions()
        if not self._wait(lambda: self.watch.learner.behind <= _MOST_OWED, "the learner catches up", _CATCH_UP_S):
            raise self._error(f"the learner still owes {self.watch.learner.behind} updates after {_CATCH_UP_S:g} s")
        if self.watch.learner.version > 0 and not self._wait(
            lambda: self.watch.learner.accepted > 0, "the first weights are on their way", _ON_ITS_WAY_S
        ):
            self._say("the learner's weights have not been accepted; the next episode is played without them")

    def _wait_for_first_weights(self) -> None:
        """Let a method that the VLA cannot stand in for have something to play."""
        what = "the first weights, learnt from the prior data"
        if not self._wait(lambda: self.watch.learner.accepted > 0, what, _FIRST_WEIGHTS_S):
            raise self._error(f"steering_node has accepted no weights within {_FIRST_WEIGHTS_S:g} s")

    def wait_for_transitions(self) -> None:
        """Let the last episode reach the learner; until then it is stored, and comes to it with the next session."""
        stored = sum(episode.judged and episode.stored for episode in self._log.episodes)
        if not self._wait(
            lambda: self.watch.learner.episodes >= stored, "the last episode is on its way", _ON_ITS_WAY_S
        ):
            missing = stored - self.watch.learner.episodes
            self._say(f"{missing} of {stored} stored episodes have not reached the learner yet")

    def finish(self) -> None:
        """End a session: everything is with the learner, and the learner is there.

        Raises:
            UserError: It is not.
        """
        if self._log.episodes:
            self._wait_for_storage()
            self._tell_damage()
            self.wait_for_transitions()

    def _tell_damage(self) -> None:
        """Say how much of what the run has stored cannot be read, when that is news."""
        damaged = int(self._client.storage("transition_node").records_damaged)
        if damaged > self._log.damaged_records:
            self._say(f"{damaged} stored transitions are damaged on the disk; all others are learnt from")
        self._log.damaged_records = damaged

    def _wait_for_storage(self) -> None:
        """Wait until what is driven will be stored and learnt from; say so when the learner was started again."""
        try:
            wait_for_storage(self._client, self._storage, self._view.note)
        except UserError as error:
            raise self._error(str(error)) from error
        epoch = self._client.epoch_of("learner_node")
        if epoch != self._learner_epoch:
            self._learner_epoch = epoch
            self.watch.forget_learner()
            self._say("learner_node has died and was started again; it goes on from its newest checkpoint")
            self._wait(lambda: self.watch.learner.heard_s > 0.0, "the new learner reports", _ON_ITS_WAY_S)

    def _error(self, text: str) -> UserError:
        return UserError(f"{text}\n\nOutput of the stack: {self._stack_log}")

    def _say(self, text: str) -> None:
        screen.console.print(text, style="yellow", markup=False)

    def _wait(self, condition: Callable[[], bool], what: str, timeout_s: float) -> bool:
        """Wait while the learner is there; one that dies meanwhile is waited for, and its time does not count."""
        so_far = summarize(self._log.episodes)
        is_gone = False

        def look() -> bool:
            nonlocal is_gone
            self._view.show(so_far, self.watch.learner)
            if failure := self._client.failed(self._storage):
                raise self._error(failure)
            is_gone = self._client.silence_s("learner_node") > SILENT_S
            return is_gone or condition()

        while True:
            self._view.note(what)
            is_over = self._client.spin_until(look, timeout_s)
            if not is_gone:
                return is_over
            self._wait_for_storage()

    def episode(self) -> None:
        """Run one episode and write it down.

        Raises:
            UserError: Too many episodes in a row were aborted.
        """
        number = len(self._log.episodes) + 1
        played = sum(not episode.evaluation for episode in self._log.episodes)
        evaluation = self._play(number, training_seed(self._options.settings.seed, played + 1))
        self._count_losses(number)
        self._aborts = 0 if evaluation.judged else self._aborts + 1
        if self._aborts >= _MOST_ABORTS:
            raise self._error(f"{self._aborts} episodes in a row were aborted: {evaluation.message}")

    def evaluate_if_due(self, *, at_end: bool = False) -> None:
        """Play a round of evaluation when it is time, or at the end when something was learnt since the last."""
        rounds, episodes = self._options.rounds, self._log.episodes
        has_weights = self.watch.learner.version > 0 and not self._options.in_rounds
        if not has_weights or not round_is_due(rounds, episodes, at_end=at_end):
            return
        try:
            play_round(self._client, self.watch, self._evaluation_episode, rounds.episodes)
            self._say(told(episodes, self.watch.learner))
        except UserError as error:
            self._say(f"no evaluation now: {error}")

    def _evaluation_episode(self) -> TrainingEpisode | None:
        number = len(self._log.episodes) + 1
        played = sum(episode.evaluation for episode in self._log.episodes)
        seed = evaluation_seed(self._options.settings.seed, played + 1)
        return self._log.episodes[-1] if self._play(number, seed, is_evaluation=True).rows else None

    def _play(self, number: int, seed: int, *, is_evaluation: bool = False) -> Evaluation:
        """Run one episode and write it down."""
        kind = "evaluation" if is_evaluation else "episode"
        so_far = summarize(self._log.episodes)

        def feedback(feedback: Any) -> None:
            words = f"{kind} {number} · {EpisodePhase(feedback.phase).text} · step {feedback.step}"
            self._view.note(" · ".join(filter(None, (words, self._client.trouble()))))
            self._view.show(so_far, self.watch.learner)

        self._client.events.clear()
        stored = int(self._client.storage(self.keeper).episodes_stored)
        wanted = EvalOptions(1, seed, evaluation=is_evaluation)
        evaluation = evaluate(self._client, task_name_of(self._options.settings.task), wanted, feedback)
        for row in evaluation.rows:
            self._log.append(self._episode(number, row, stored, is_evaluation=is_evaluation))
        self._view.show(summarize(self._log.episodes), self.watch.learner)
        return evaluation

    def _count_losses(self, number: int) -> None:
        newest = self._log.episodes[-1]
        if newest.counts:
            self._losses = 0
            return
        self._losses += 1
        self._say(f"episode {number} was not stored: {self._client.trouble() or 'transition_node does not say why'}")
        if self._losses >= _MOST_LOSSES:
            raise self._error(f"{self._losses} episodes in a row were not stored")

    def _is_stored(self, row: EpisodeRow, before: int) -> bool:
        """Whether an episode has reached the disk; an aborted one has nothing that must."""
        if row.outcome == "aborted":
            return False
        self._view.note("the episode is stored")
        return self._client.spin_until(
            lambda: self._client.storage(self.keeper).episodes_stored > before, _ON_ITS_WAY_S
        )

    def _episode(self, number: int, row: EpisodeRow, stored: int, *, is_evaluation: bool) -> TrainingEpisode:
        watch, events = self.watch, self._client.events
        # An episode that was aborted before it began has no number.
        key = (events[-1].epoch, events[-1].episode) if events else (0, 0)
        self._client.spin_until(lambda: watch.steps[key] >= row.steps, _LAST_WORDS_S)
        q_mean = watch.learner.q_mean
        return TrainingEpisode(
            episode=number,
            seed=row.seed,
            outcome=row.outcome,
            success=row.success,
            steps=row.steps,
            duration_s=row.duration_s,
            human_steps=watch.human_steps[key],
            decisions=watch.decisions[key],
            edited=watch.edited[key],
            policy_version=watch.played.get(key, 0),
            updates=watch.learner.updates,
            q_mean=q_mean if q_mean == q_mean else None,
            wall_s=time.monotonic() - self._began_s,
            stored=not is_evaluation and self._is_stored(row, stored),
            evaluation=is_evaluation,
        )
