# SPDX-License-Identifier: Apache-2.0
"""State of a training run: as a message, in counters, and in warnings."""

from __future__ import annotations

import time
from collections.abc import Sequence

from vla_interfaces.msg import LearnerStatus

from rl_learner.core.run_status import waits_for
from rl_learner.core.training_run import Phase
from rl_learner.core.worker import Worker
from rl_learner.nodes.weights_publisher import WeightsPublisher
from whetstone_common.nodes import qos
from whetstone_common.nodes.node import WhetstoneNode
from whetstone_common.nodes.robot_view import Side

_PHASES = {
    Phase.COLLECT: LearnerStatus.COLLECT,
    Phase.WARM_UP: LearnerStatus.WARM_UP,
    Phase.ONLINE: LearnerStatus.ONLINE,
    Phase.FINISHED: LearnerStatus.FINISHED,
}
_CRITIC = ("critic/loss", "critic/target")  # names among the metrics of every method with a critic
_NAN = float("nan")
_PERIOD_S = 1.0
_ADVICE = "set steering_node's encoder to the method file's encoder, as whetstone train does"


def status_of(worker: Worker | None, *, frozen: bool) -> LearnerStatus:
    """Message of a run, without what only the node knows: names, versions and time."""
    status = LearnerStatus(waits_for=int(waits_for(worker.session if worker else None, frozen=frozen)))
    status.success_rate = status.steered_fraction = status.critic_loss = status.mean_target = _NAN
    if worker is not None:
        _progress_of(worker, status)
        _data_of(worker, status)
    return status


def _progress_of(worker: Worker, status: LearnerStatus) -> None:
    run = worker.session
    status.phase = _PHASES[run.phase]
    status.problem = run.problem
    status.finished = run.phase is Phase.FINISHED and run.due == 0
    status.updates = run.learner.updates
    status.updates_per_s = float(worker.rate.per_s)
    status.updates_skipped = run.failures.skipped
    status.pending_updates = run.due
    status.updates_per_step = float(run.utd)
    status.batch_size = run.failures.batch
    status.checkpoint_updates = worker.checkpoints.saved_updates
    status.evaluating, status.evaluations = worker.trials.is_evaluating, len(run.guard.rounds)
    status.verdict = run.guard.rounds[-1].verdict if run.guard.rounds else ""
    status.guard = run.guard.text
    metrics = dict(run.learning.metrics)
    status.critic_loss, status.mean_target = (float(metrics.pop(name, _NAN)) for name in _CRITIC)
    status.metric_names, status.metrics = list(metrics), [float(value) for value in metrics.values()]


def _data_of(worker: Worker, status: LearnerStatus) -> None:
    run, tally = worker.session, worker.session.tally
    status.episodes = tally.episodes
    status.base_episodes = run.method.schedule.base_episodes
    status.windows = tally.windows
    status.windows_refused = tally.refused
    status.replay_size = len(run.data.online)
    status.prior_size = len(run.data.prior) if run.data.prior is not None else 0
    status.robot_steps = tally.steps
    status.max_steps = run.most_steps
    status.success_rate = _mean(tally.successes)
    status.human_fraction = tally.human_steps / max(1, tally.steps)
    status.steered_fraction = _mean(tally.steered)


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values) if values else _NAN


class RunReport:
    """Publishes the state of the run, and says once in the log what people should do something about.

    Args:
        node: Whose parameters, counters and log are used.
        sides: The node, or its view of each robot; it is published to them, and where the node is.
        method: Name of the method.
        weights: Knows the versions.
    """

    def __init__(self, node: WhetstoneNode, sides: Sequence[Side], method: str, weights: WeightsPublisher) -> None:
        self._node, self._method, self._weights = node, method, weights
        self._publishers = {
            side: side.create_publisher(LearnerStatus, "learner_status", qos.LATCHED)
            for side in dict.fromkeys((node, *sides))
        }
        self._published = (0, 0, float("-inf"))  # what waits_for and episodes were, and when
        self._has_warned = False
        self._guard_text = ""

    def publish(self, worker: Worker | None) -> None:
        """Publish the state, once a second and when it is news."""
        node = self._node
        status, now_s = status_of(worker, frozen=node.param("freeze")), time.monotonic()
        waits_for, episodes, published_s = self._published
        is_news = (status.waits_for, status.episodes) != (waits_for, episodes)
        if not is_news and now_s - published_s < _PERIOD_S:
            return
        self._published = (status.waits_for, status.episodes, now_s)
        status.node_epoch, status.run, status.method = node.epoch_ns, node.param("run"), self._method
        status.version, status.time = self._weights.newest, node.get_clock().now().to_msg()
        for side, publisher in self._publishers.items():
            status.node = side.get_fully_qualified_name()
            status.accepted_version = self._weights.accepted_by(side)
            publisher.publish(status)

    def count(self, worker: Worker) -> None:
        """Bring the node's counters up to date, and warn of what is new."""
        run, tally, receipts = worker.session, worker.session.tally, worker.session.receipts
        counts = {
            "windows": tally.windows, "windows_refused": tally.refused,
            "windows_without_images": tally.without_images, "transitions_lost": tally.lost,
            "transitions_repeated": receipts.duplicates, "transitions_ahead": receipts.gaps,
            "updates": run.learner.updates, "updates_skipped": run.failures.skipped,
            "episodes": tally.episodes, "robot_steps": tally.steps, "through": receipts.through,
        }  # fmt: skip
        for name, count in counts.items():
            self._node.counters[name] = count
        self._warn_of_images(run.intake.mismatch)
        self._warn_of_guard(run.guard.text)

    def _warn_of_images(self, mismatch: str) -> None:
        if mismatch and not self._has_warned:
            self._has_warned = True
            self._node.get_logger().warning(f"transitions are refused: {mismatch}; {_ADVICE}")

    def _warn_of_guard(self, text: str) -> None:
        if text and text != self._guard_text:
            self._node.get_logger().warning(text)
        self._guard_text = text
