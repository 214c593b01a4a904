# SPDX-License-Identifier: Apache-2.0
"""A robot's records as messages, and a learner that keeps books."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from vla_interfaces.msg import Decision as DecisionMsg
from vla_interfaces.msg import EpisodeEvent, Executed, RecorderSources, Reward, Stamp

from experience.core.records import Decision, Event, StepRecord, StepReward
from whetstone_common.core.enums import RequestKind
from whetstone_common.nodes.convert import float32_field, floats, from_stamp, to_time


def message(record: Decision | StepRecord | StepReward | Event) -> tuple[str, Any]:
    """Topic and message of a record; the opposite of experience.nodes.convert."""
    if isinstance(record, Decision):
        return "decision", _decision(record)
    if isinstance(record, StepRecord):
        return "executed", _executed(record)
    if isinstance(record, StepReward):
        stamp = Stamp(epoch=record.epoch, episode=record.episode)
        return "reward", Reward(stamp=stamp, episode_step=record.steps, reward=record.reward, source="fake")
    return "episode", EpisodeEvent(
        epoch=record.epoch,
        episode=record.episode,
        event=int(record.outcome),
        task=record.task,
        steps=record.steps,
        time=to_time(record.time_ns),
    )


def hello(topic: str, epoch: int, newest_episode: int = 0) -> Any:
    """What a source says until the recorder names it."""
    stamp = Stamp(epoch=epoch, sequence=newest_episode)
    return {
        "decision": DecisionMsg(stamp=stamp, request_kind=int(RequestKind.QUERY_ONLY)),
        "executed": Executed(stamp=stamp),
        "reward": Reward(stamp=stamp),
        "episode": EpisodeEvent(epoch=epoch, event=EpisodeEvent.HELLO),
    }[topic]


def pairs_of(msg: RecorderSources) -> set[tuple[str, int]]:
    """(topic, epoch) of each source that a recorder hears."""
    return set(zip(msg.topics, msg.source_epochs, strict=True))


def _decision(record: Decision) -> DecisionMsg:
    n, horizon, action_dim = record.candidates.shape
    return DecisionMsg(
        stamp=from_stamp(record.stamp),
        request_kind=int(record.request_kind),
        contract_hash=record.contract_hash,
        method=record.method,
        instruction=record.instruction,
        kind=record.kind,
        chosen=record.chosen,
        n=n,
        horizon=horizon,
        action_dim=action_dim,
        reference=floats(record.reference),
        features=float32_field(record.features),
        proprio=float32_field(record.proprio),
        candidates=float32_field(record.candidates),
        noise=float32_field(record.noise),
        chosen_chunk=float32_field(record.chosen_chunk),
        policy_version=record.policy_version,
    )


def _executed(record: StepRecord) -> Executed:
    return Executed(
        stamp=from_stamp(record.stamp),
        step=record.step,
        episode_step=record.episode_step,
        time=to_time(record.time_ns),
        actor=int(record.actor),
        joint_command=floats(record.joint_command),
        joint_positions=floats(record.joint_command),
        action=array("f", np.zeros(7, np.float32).tobytes()),
        tcp_target=np.asarray(record.tcp_target),
    )
