# SPDX-License-Identifier: Apache-2.0
"""Episodes made by hand, for the tests of the data path."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from experience.core.episode import Rules
from experience.core.join import Joiner
from experience.core.records import Decision, EpisodeEventKind, Event, StepRecord, StepReward
from experience.core.transition import Transition
from whetstone_common.core.contract import CARTESIAN_ACTIONS, CARTESIAN_PROPRIO, Contract
from whetstone_common.core.enums import Actor, RequestKind
from whetstone_common.core.stamp import Stamp

DT_NS = 50_000_000
H, A, F, N, C = 6, 7, 5, 2, 4
GAMMA = 0.9
CONTRACT = Contract(
    action_space="cartesian",
    action_names=CARTESIAN_ACTIONS,
    action_scale=(0.5,) * 7,
    action_offset=(0.25,) * 7,
    proprio_names=CARTESIAN_PROPRIO,
    cameras=("front",),
    image_height=8,
    image_width=8,
    horizon=H,
    feature_dim=F,
    dt_s=0.05,
    joint_names=("j1", "gripper"),
)
HASH = CONTRACT.hash()


def tick_ns(step: int) -> int:
    """ROS time at which a step begins."""
    return 1_000 * DT_NS + step * DT_NS


def stamp(request: int, *, at: int, epoch: int = 1, episode: int = 1) -> Stamp:
    """Stamp of a request whose observation was made when step `at` began."""
    return Stamp(epoch, episode, request, 0, tick_ns(at))


def decision(
    request: int,
    at: int,
    *,
    request_kind: RequestKind = RequestKind.ACT,
    epoch: int = 1,
    episode: int = 1,
    **changes: Any,
) -> Decision:
    """A decision at step `at`; its features say where, its reference is x = at / 100 m."""
    made = Decision(
        stamp=stamp(request, at=at, epoch=epoch, episode=episode),
        request_kind=request_kind,
        contract_hash=HASH,
        method="none",
        instruction="put the red cube on the blue plate",
        kind=0,
        chosen=1,
        reference=np.array([at / 100, 0, 0, 0, 0, 0, 1.0]),
        features=np.full(F, at, np.float32),
        proprio=np.full(10, at, np.float32),
        candidates=np.full((N, H, A), request, np.float32),
        noise=np.full((N, H, A), -request, np.float32),
        chosen_chunk=np.full((H, A), request, np.float32),
        policy_version=7,
    )
    return replace(made, **changes)


def step(
    index: int, request: int, within: int, *, actor: Actor = Actor.POLICY, epoch: int = 1, episode: int = 1
) -> StepRecord:
    """A step that puts the TCP at x = (index + 1) / 10 m."""
    return StepRecord(
        stamp=Stamp(epoch, episode, request, 0, tick_ns(index - within)),
        step=within,
        episode_step=index,
        time_ns=tick_ns(index),
        actor=actor,
        joint_command=np.array([0.1, index / 100]),
        tcp_target=np.array([(index + 1) / 10, 0, 0, 0, 0, 0, 1.0]),
    )


def end(
    steps: int, outcome: EpisodeEventKind = EpisodeEventKind.SUCCEEDED, *, epoch: int = 1, episode: int = 1
) -> Event:
    """End after so many steps."""
    return Event(epoch, episode, outcome, "pick_place", steps, tick_ns(steps))


def judgement(steps: int, reward: float = 1.0, *, epoch: int = 1, episode: int = 1) -> StepReward:
    """Reward earned by so many steps."""
    return StepReward(epoch, episode, steps, reward)


def plain_episode(
    steps: int, outcome: EpisodeEventKind = EpisodeEventKind.SUCCEEDED, *, epoch: int = 1, episode: int = 1
) -> list[Any]:
    """Everything of an episode that decides every C steps, in the order in which it happens."""
    records: list[Any] = [Event(epoch, episode, EpisodeEventKind.STARTED, "pick_place", 0, tick_ns(0))]
    for index in range(steps):
        request = 1 + index // C
        if index % C == 0:
            records.append(decision(request, index, epoch=epoch, episode=episode))
        records.append(step(index, request, index % C, epoch=epoch, episode=episode))
    reward = 1.0 if outcome is EpisodeEventKind.SUCCEEDED else 0.0
    if outcome is not EpisodeEventKind.ABORTED:
        records.append(judgement(steps, reward, epoch=epoch, episode=episode))
    records.append(end(steps, outcome, epoch=epoch, episode=episode))
    return records


def transitions_of(records: list[Any]) -> list[Transition]:
    """What an episode gives."""
    joiner = Joiner(Rules(C), grace_s=1.0, max_steps=10_000)
    joiner.on_contract(CONTRACT)
    for record in records:
        takes = {
            Decision: joiner.on_decision,
            StepRecord: joiner.on_step,
            StepReward: joiner.on_reward,
            Event: joiner.on_event,
        }
        takes[type(record)](record, 0.0)
    return [transition for batch in joiner.collect(1.0) for transition in batch.transitions]
