# SPDX-License-Identifier: Apache-2.0
"""Between messages and the core types of episodes."""

from __future__ import annotations

from collections.abc import Sequence

from std_msgs.msg import Float32
from vla_interfaces.action import RunEpisodes
from vla_interfaces.msg import EpisodeEvent, Executed, NodeStatus, Reward, Stamp, TaskTruth

from robot_operation.core.episodes import EpisodePlan, EpisodeRecord, EpisodeResult, EpisodeRun
from robot_operation.core.health import Report
from robot_operation.core.success_detection import Score, StepCount, TruthSample
from whetstone_common.core.enums import Outcome
from whetstone_common.core.reason import Reason, State
from whetstone_common.nodes.convert import to_ns, to_time


def truth_of(msg: TaskTruth) -> TruthSample:
    """Simulator's tick of a message."""
    return TruthSample(int(msg.reset_id), int(msg.tick), to_ns(msg.stamp), bool(msg.success))


def step_of(msg: Executed) -> StepCount:
    """Executed step of a message; `episode_step` counts from 0."""
    return StepCount(int(msg.episode_step) + 1, to_ns(msg.time))


def score_of(msg: Float32, now_ns: int) -> Score:
    """Classifier's score of a message."""
    return Score(float(msg.data), now_ns)


def report_of(msg: NodeStatus, now_s: float) -> Report:
    """Node's status of a message.

    Raises:
        ValueError: A state or a reason that this version does not know.
    """
    return Report(int(msg.node_epoch), State(msg.state), Reason(msg.reason), msg.detail, now_s)


def to_event(
    plan: EpisodePlan,
    *,
    epoch: int,
    episode: int,
    event: int,
    instruction: str,
    time_ns: int,
    result: EpisodeResult | None,
    duration_s: float,
) -> EpisodeEvent:
    """Message of an episode's start (no result) or end."""
    return EpisodeEvent(
        epoch=epoch,
        episode=episode,
        event=event,
        task=plan.task,
        instruction=instruction,
        seed=plan.seed,
        steps=result.steps if result else 0,
        duration_s=duration_s,
        reason=result.reason if result else "",
        time=to_time(time_ns),
        evaluation=plan.evaluation,
    )


def to_reward(result: EpisodeResult, epoch: int, episode: int) -> Reward:
    """Message of a judgement; a time-out is no terminal, the task could have gone on."""
    return Reward(
        stamp=Stamp(epoch=epoch, episode=episode),
        episode_step=result.steps,
        reward=1.0 if result.outcome is Outcome.SUCCEEDED else 0.0,
        terminal=result.outcome in (Outcome.SUCCEEDED, Outcome.FAILED),
        source=result.source,
    )


def to_result(run: EpisodeRun, message: str) -> RunEpisodes.Result:
    """Action result of a run, finished or not."""
    records: Sequence[EpisodeRecord] = run.records
    return RunEpisodes.Result(
        episodes=len(records),
        successes=run.successes,
        success=[record.success for record in records],
        duration_s=[record.duration_s for record in records],
        steps=[record.result.steps for record in records],
        seeds=[record.plan.seed for record in records],
        outcomes=[int(record.result.outcome) for record in records],
        message=message,
    )
