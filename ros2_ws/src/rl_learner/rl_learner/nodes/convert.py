# SPDX-License-Identifier: Apache-2.0
"""Between messages and the plain data of core/."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from vla_interfaces.msg import Decision as DecisionMsg
from vla_interfaces.msg import EpisodeEvent, Executed, Reward, TransitionAck
from vla_interfaces.msg import Transition as TransitionMsg

from rl_learner.core.delivery import Ack
from rl_learner.core.records import Actor, Asked, Decision, Event, Judgement, Outcome, Step
from rl_learner.core.transition import Transition
from whetstone_common.nodes.convert import float32_field, shaped, to_ns, to_stamp

# Fields that mean the same and are called the same on both sides.
_PLAIN = (
    "epoch", "episode", "request_id", "request_kind", "episode_step", "episode_steps", "outcome", "task", "instruction",
    "contract_hash", "method", "gamma", "reward", "mask", "return_to_go", "return_unaided", "refused", "valid",
    "chosen", "kind", "vla_version", "policy_version", "emergency_stop",
)  # fmt: skip
_ARRAYS = (
    "features", "proprio", "chosen_chunk", "actions", "candidates", "noise", "next_features", "next_proprio",
    "next_candidates", "next_noise",
)  # fmt: skip


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
        asked=Asked(msg.request_kind),
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
    )


def to_step(msg: Executed) -> Step:
    """Executed step of a message.

    Raises:
        ValueError: The actor is unknown.
    """
    return Step(
        stamp=to_stamp(msg.stamp),
        step=msg.step,
        episode_step=msg.episode_step,
        time_ns=to_ns(msg.time),
        actor=Actor(msg.actor),
        joint_command=np.array(msg.joint_command, dtype=np.float64),
        tcp_target=np.array(msg.tcp_target, dtype=np.float64),
    )


def to_judgement(msg: Reward) -> Judgement:
    """Reward of a message; `episode_step` there counts the steps executed when it was earned."""
    return Judgement(msg.stamp.epoch, msg.stamp.episode, msg.episode_step, float(msg.reward))


def to_event(msg: EpisodeEvent) -> Event:
    """Start or end of an episode.

    Raises:
        ValueError: The event is unknown.
    """
    return Event(msg.epoch, msg.episode, Outcome(msg.event), msg.task, msg.steps, to_ns(msg.time), msg.instruction)


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
    )


def to_transition(msg: TransitionMsg) -> Transition:
    """Transition of a message.

    Raises:
        ValueError: Sizes disagree.
    """
    if len(msg.actors) != msg.steps:
        raise ValueError(f"{len(msg.actors)} actors for {msg.steps} steps")
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
    return Transition(actors=np.frombuffer(bytes(msg.actors), dtype=np.uint8), **plain, **arrays)
