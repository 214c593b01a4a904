# SPDX-License-Identifier: Apache-2.0
"""What the arm's core hands out: commands, requests, records.

Legend: n arm joints, A action dims.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from robot_bringup.core.safety import Motion
from whetstone_common.core.enums import Actor, RequestKind
from whetstone_common.core.stamp import Stamp

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Now:
    """One moment on both clocks.

    Attributes:
        steady_s: For time-outs; cannot be set, stopped or turned back.
        ros_ns: For stamps.
    """

    steady_s: float
    ros_ns: int


@dataclass(frozen=True, eq=False)
class ArmCommand:
    """What is sent to the controller.

    Attributes:
        motion: Positions (n,) rad and gripper opening.
        actor: Who wanted it.
        stamp: Request cycle of the chunk.
        step: Index within the chunk, -1 when no chunk plays.
        tick_ns: Stamp of the joint state that it answers (lockstep), else 0.
    """

    motion: Motion
    actor: Actor
    stamp: Stamp
    step: int
    tick_ns: int = 0


@dataclass(frozen=True, eq=False)
class RequestOut:
    """What the policy is asked; as in vla_interfaces/Request.

    Attributes:
        stamp: Identity of the request cycle.
        kind: Whether the reply will be executed.
        not_before_ns: Oldest observation that will do (ROS time), 0 for any.
        deadline_s: The reply is useless after this long.
        delay_steps: Steps that are expected to play before the reply arrives.
        committed: (rows, A) steps of the old chunk that play in any case.
        committed_reference: (7,) pose that they are relative to, zeros in joint space.
        seed: Of the policy's noise in this episode.
        episode_step: Steps of the episode that have begun.
        n_candidates: Candidates to draw, 0 for as many as usual.
        edit_scale: Share of the trained bound of edits, negative for the usual one.
    """

    stamp: Stamp
    kind: RequestKind
    not_before_ns: int
    deadline_s: float
    delay_steps: int
    committed: Array
    committed_reference: Array
    seed: int
    episode_step: int = 0
    n_candidates: int = 0
    edit_scale: float = -1.0


@dataclass(frozen=True, eq=False)
class ExecutedOut:
    """What was really commanded in one policy step; as in vla_interfaces/Executed.

    Attributes:
        stamp: Request cycle of the chunk, or of the newest request.
        step: Index within the chunk.
        episode_step: Index within the episode.
        time_ns: When the step began (ROS time).
        actor: Who acted.
        limited: Whether a limit changed the command.
        joint_command: (n + 1,) rad, then opening.
        joint_positions: (n + 1,) measured.
        action: (A,) the command after limits, relative to the reference of the current chunk.
        tcp_target: (7,) commanded pose.
    """

    stamp: Stamp
    step: int
    episode_step: int
    time_ns: int
    actor: Actor
    limited: bool
    joint_command: Array
    joint_positions: Array
    action: Array
    tcp_target: Array


@dataclass
class ArmOutputs:
    """All that one event leads to."""

    command: ArmCommand | None = None
    requests: list[RequestOut] = field(default_factory=list)
    executed: list[ExecutedOut] = field(default_factory=list)
