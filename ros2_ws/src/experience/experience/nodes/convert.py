# SPDX-License-Identifier: Apache-2.0
"""Between messages and the plain data of core/."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from vla_interfaces.msg import Decision as DecisionMsg
from vla_interfaces.msg import EpisodeEvent, Executed, Reward, TransitionAck
from vla_interfaces.msg import Transition as TransitionMsg

from experience.core.delivery import Ack
from experience.core.records import Bytes, Decision, EpisodeEventKind, Event, StepRecord, StepReward
from experience.core.transition import Transition
from whetstone_common.core.enums import Actor, RequestKind
from whetstone_common.nodes.convert import bytes_field, float32_field, shaped, to_ns, to_stamp

# Fields that mean the same and are called the same on both sides.
_PLAIN = (
    "epoch", "episode", "request_id", "request_kind", "episode_step", "episode_steps", "outcome", "task", "instruction",
    "contract_hash", "method", "mask", "rejected_by_human", "valid", "chosen", "kind", "vla_version", "policy_version",
    "emergency_stop", "critical_phase",
)  # fmt: skip
_ARRAYS = (
    "rewards", "later_rewards", "features", "proprio", "chosen_chunk", "actions", "candidates", "noise",
    "next_features", "next_proprio", "next_candidates", "next_noise",
)  # fmt: skip
_IMAGES = ("images", "next_images")


def to_decision(msg: DecisionMsg) -> Decision:
    """Decision of a message.

    Raises:
        ValueError: Sizes disagree, or a kind is unknown.
    """
    if len(msg.reference) == 0:
        raise ValueError("the decision does not say what its chunks are relative to")
    shape = (msg.n, msg.horizon, msg.action_dim)
    return Decision(
        stamp=to_stamp(msg.stamp),
        request_kind=RequestKind(msg.request_kind),
        contract_hash=msg.contract_hash,
        method=msg.method,
        instruction=msg.instruction,
        kind=msg.kind,
        chosen=msg.chosen,
        reference=np.array(msg.reference, dtype=np.float64),
        features=np.array(msg.features, dtype=np.float32),
        proprio=np.array(msg.proprio, dtype=np.float32),
        candidates=shaped(msg.candidates, *shape),
        noise=shaped(msg.noise, *shape),
        chosen_chunk=shaped(msg.chosen_chunk, *shape[1:]),
        vla_version=msg.vla_version,
        policy_version=msg.policy_version,
        critical_phase=msg.critical_phase,
        images=_bytes(msg.images),
    )


def to_step(msg: Executed) -> StepRecord:
    """Executed step of a message.

    Raises:
        ValueError: The actor is unknown.
    """
    return StepRecord(
        stamp=to_stamp(msg.stamp),
        step=msg.step,
        episode_step=msg.episode_step,
        time_ns=to_ns(msg.time),
        actor=Actor(msg.actor),
        joint_command=np.array(msg.joint_command, dtype=np.float64),
        tcp_target=np.array(msg.tcp_target, dtype=np.float64),
    )


def to_reward(msg: Reward) -> StepReward:
    """Reward of a message; `episode_step` there counts the steps executed when it was earned."""
    return StepReward(msg.stamp.epoch, msg.stamp.episode, msg.episode_step, float(msg.reward))


def to_event(msg: EpisodeEvent) -> Event:
    """Start or end of an episode.

    Raises:
        ValueError: The event is unknown.
    """
    return Event(
        msg.epoch, msg.episode, EpisodeEventKind(msg.event), msg.task, msg.steps, to_ns(msg.time), msg.instruction,
        msg.evaluation,
    )  # fmt: skip


def to_ack(msg: TransitionAck) -> Ack:
    """Acknowledgement of a message."""
    return Ack(msg.run, msg.spool, msg.learner_epoch, msg.through)


def from_transition(transition: Transition, run: str, spool: int, seq: int) -> TransitionMsg:
    """Message of a stored transition.

    Args:
        transition: It.
        run: Name of the run.
        spool: Identity of the spool.
        seq: Number in the spool.
    """
    n, horizon, action_dim = transition.candidates.shape
    return TransitionMsg(
        run=run,
        spool=spool,
        seq=seq,
        horizon=horizon,
        action_dim=action_dim,
        steps=transition.steps,
        n=n,
        next_n=len(transition.next_candidates),
        actors=array("B", transition.actors.tobytes()),
        **{name: getattr(transition, name) for name in _PLAIN},
        **{name: float32_field(getattr(transition, name)) for name in _ARRAYS},
        **{name: bytes_field(getattr(transition, name)) for name in _IMAGES},
    )


def to_transition(msg: TransitionMsg) -> Transition:
    """Transition of a message.

    Raises:
        ValueError: Sizes disagree.
    """
    if len(msg.actors) != msg.steps:
        raise ValueError(f"{len(msg.actors)} actors for {msg.steps} steps")
    if len(msg.rewards) != msg.steps:
        raise ValueError(f"{len(msg.rewards)} rewards for {msg.steps} steps")
    chunk = (msg.horizon, msg.action_dim)
    shapes: dict[str, tuple[int, ...]] = {
        "chosen_chunk": chunk,
        "actions": chunk,
        "candidates": (msg.n, *chunk),
        "noise": (msg.n, *chunk),
        "next_candidates": (msg.next_n, *chunk),
        "next_noise": (msg.next_n, *chunk),
    }
    arrays: dict[str, Any] = {
        name: shaped(getattr(msg, name), *shapes.get(name, (len(getattr(msg, name)),))) for name in _ARRAYS
    }
    plain: dict[str, Any] = {name: getattr(msg, name) for name in _PLAIN}
    arrays |= {name: _bytes(getattr(msg, name)) for name in ("actors", *_IMAGES)}
    return Transition(**plain, **arrays)


def _bytes(field: Any) -> Bytes:
    return np.frombuffer(bytes(field), dtype=np.uint8)
