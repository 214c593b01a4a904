# SPDX-License-Identifier: Apache-2.0
"""Settings of arm_node."""

from __future__ import annotations

from dataclasses import dataclass

from robot_bringup.core.chunk_queue import Execution


@dataclass(frozen=True)
class ArmSettings:
    """Times and modes of the arm node.

    Attributes:
        lockstep: One command per joint state; else the control rate.
        execution: How chunks follow each other.
        control_dt_s: Seconds between two commands in real time.
        execute_steps: Steps to play of a chunk, 0 leaves it to the chunk.
        blend_steps: Steps over which an old chunk fades into the new one.
        query_stride: Steps between two looks, 0 for none.
        query_always: Whether query-only requests are sent while the policy drives too, not only while a human does.
        delay_steps: Simulated latency of asynchronous execution in lockstep.
        chunk_timeout_s: Waiting for a chunk longer than this stops the arm.
        chunk_open_loop_s: How long a chunk may play whose sender is silent.
        joint_timeout_s: Silence of the joint states that stops the arm.
        frozen_joints_s: Joints that stay where they are for this long under a moving command stop the arm.
        takeover_timeout_s: Silence of an engaged operator that stops the arm.
        takeover_stuck_s: The same velocity for this long is a stuck axis.
        takeover_forget_s: A device that has let go and is silent for this long makes room for another.
        dry_run: Nothing is sent, so the joints cannot follow: each chunk starts from where the arm really is.
        sim_time: Whether ROS time follows /clock.
        max_rejections: Bad chunks or refused steps in a row before the arm stops.
    """

    lockstep: bool = False
    execution: Execution = Execution.SYNC
    control_dt_s: float = 0.01
    execute_steps: int = 0
    blend_steps: int = 2
    query_stride: int = 0
    query_always: bool = True
    delay_steps: int = 0
    chunk_timeout_s: float = 5.0
    chunk_open_loop_s: float = 0.6
    joint_timeout_s: float = 0.2
    frozen_joints_s: float = 0.5
    takeover_timeout_s: float = 0.2
    takeover_stuck_s: float = 3.0
    takeover_forget_s: float = 2.0
    dry_run: bool = False
    sim_time: bool = False
    max_rejections: int = 3
