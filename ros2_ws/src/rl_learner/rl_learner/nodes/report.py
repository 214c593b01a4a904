# SPDX-License-Identifier: Apache-2.0
"""State of a training run as a message."""

from __future__ import annotations

from collections.abc import Sequence

from vla_interfaces.msg import LearnerStatus

from rl_learner.core.run_status import waits_for
from rl_learner.core.training_run import Phase
from rl_learner.core.worker import Worker

_PHASES = {
    Phase.COLLECT: LearnerStatus.COLLECT,
    Phase.WARM_UP: LearnerStatus.WARM_UP,
    Phase.ONLINE: LearnerStatus.ONLINE,
    Phase.FINISHED: LearnerStatus.FINISHED,
}
_CRITIC = ("critic/loss", "critic/target")  # names among the metrics of every method with a critic
_NAN = float("nan")


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
