# SPDX-License-Identifier: Apache-2.0
"""What the data path receives from the graph, as plain data.

Legend: n candidates, H horizon, A action dims, F feature dims, P proprioception dims, J joints of the arm.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from whetstone_common.core.enums import Actor, RequestKind
from whetstone_common.core.stamp import Stamp

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Bytes = NDArray[np.uint8]


def no_bytes() -> Bytes:
    """Nothing where there could be images."""
    return np.zeros(0, dtype=np.uint8)


class EpisodeEventKind(IntEnum):
    """What an episode event says; the numbers are those of vla_interfaces/EpisodeEvent."""

    STARTED = 0
    SUCCEEDED = 1
    FAILED = 2
    TIMED_OUT = 3
    ABORTED = 4


@dataclass(frozen=True, eq=False)
class Decision:
    """One decision of the steering node.

    Attributes:
        stamp: Identity of the request cycle; `observation_ns` is the stamp of the observation.
        request_kind: ACT when the chunk was meant to be executed.
        contract_hash: Contract that the numbers are in.
        method: Who chose.
        instruction: Instruction that the policy followed.
        kind: Kind of the chosen chunk (vla_interfaces/Decision).
        chosen: Index of the chosen candidate, -1 for none.
        reference: (7,) x y z (m) qx qy qz qw, or (J,) rad: what the chunks are relative to.
        features: (F,).
        proprio: (P,) physical units.
        candidates: (n, H, A) normalised.
        noise: (n, H, A).
        chosen_chunk: (H, A) normalised, what was sent to the arm.
        vla_version: Weights of the VLA.
        policy_version: Weights of the small policies.
        critical_phase: Whether it was made in the phase that a method of critical phases learns.
        images: PNG (bytes,) of the cameras one below the other, as in vla_interfaces/Decision; (0,) without.
    """

    stamp: Stamp
    request_kind: RequestKind
    contract_hash: str
    method: str
    instruction: str
    kind: int
    chosen: int
    reference: Doubles
    features: Floats
    proprio: Floats
    candidates: Floats
    noise: Floats
    chosen_chunk: Floats
    vla_version: int = 0
    policy_version: int = 0
    critical_phase: bool = True
    images: Bytes = field(default_factory=no_bytes)


@dataclass(frozen=True, eq=False)
class StepRecord:
    """What was really commanded in one policy step.

    Attributes:
        stamp: Request cycle of the chunk that played.
        step: Index within that chunk.
        episode_step: Index within the episode.
        time_ns: When the step began (ROS time).
        actor: Who acted.
        joint_command: (J + 1,) rad, then the gripper's opening.
        tcp_target: (7,) commanded pose, x y z (m) qx qy qz qw.
    """

    stamp: Stamp
    step: int
    episode_step: int
    time_ns: int
    actor: Actor
    joint_command: Doubles
    tcp_target: Doubles


@dataclass(frozen=True)
class StepReward:
    """A reward.

    Attributes:
        epoch: Of the arm.
        episode: Within the epoch.
        steps: Steps of the episode that had been executed when it was earned; it belongs to the last of them.
        reward: Never NaN.
    """

    epoch: int
    episode: int
    steps: int
    reward: float


@dataclass(frozen=True)
class Event:
    """Start or end of an episode.

    Attributes:
        epoch: Of the arm.
        episode: Within the epoch.
        outcome: STARTED, or how it ended.
        task: Name of the task.
        steps: Executed steps when it ended.
        time_ns: When (ROS time).
        instruction: Words that it was run with, empty when nobody says so.
        evaluation: The policy by itself; nothing is learnt from it.
    """

    epoch: int
    episode: int
    outcome: EpisodeEventKind
    task: str
    steps: int
    time_ns: int
    instruction: str = ""
    evaluation: bool = False


def is_finite(record: Decision | StepRecord) -> bool:
    """Whether all numbers of a record are finite."""
    arrays = (getattr(record, f.name) for f in fields(record))
    return all(bool(np.isfinite(a).all()) for a in arrays if isinstance(a, np.ndarray))
