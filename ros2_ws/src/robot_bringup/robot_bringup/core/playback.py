# SPDX-License-Identifier: Apache-2.0
"""One episode of playing: which step begins, what is asked, what was done. Knows no modes."""

from __future__ import annotations

import math
from dataclasses import replace
from enum import Enum

import numpy as np
import numpy.typing as npt

from robot_bringup.core.cartesian import Target, UnreachableError
from robot_bringup.core.chunk import JOINT, Chunk
from robot_bringup.core.chunk_queue import ChunkAcceptance, ChunkQueue, Execution
from robot_bringup.core.drive import MotionDrive
from robot_bringup.core.latency import Latency
from robot_bringup.core.outputs import ArmOutputs, ExecutedOut, Now, RequestOut
from robot_bringup.core.player import Planned, Player
from robot_bringup.core.request_counter import RequestCounter
from robot_bringup.core.safety import Limited, Motion
from robot_bringup.core.settings import ArmSettings
from robot_bringup.core.takeover import TakeoverSample
from whetstone_common.core.contract import Contract
from whetstone_common.core.enums import Actor, RequestKind
from whetstone_common.core.robot import Robot
from whetstone_common.core.robot_joints import JointSample
from whetstone_common.core.stage_latency import StageLatency

Array = npt.NDArray[np.float64]
_NS = 1_000_000_000


class StepStatus(Enum):
    """What came of the attempt to begin a step."""

    STEP = "step"
    WAITS = "waits"  # for a chunk
    OVER = "over"  # the episode has all its steps
    REFUSED = "refused"  # the step must not begin


class Playback:
    """Plays chunks, or an operator's commands, under one contract.

    Args:
        robot: The robot.
        player: Turns steps into joint targets.
        contract: Of the policy.
        settings: Times and modes.
        request_counter: Numbers of episodes and requests; they outlive the contract.
    """

    def __init__(
        self, robot: Robot, player: Player, contract: Contract, settings: ArmSettings, request_counter: RequestCounter
    ) -> None:
        self._set = settings
        self._player = player
        self._request_counter = request_counter
        self._latency = Latency()
        self._slot = 0
        self._expires_s = math.inf  # of the chunk in hand, steady clock
        self._fresh_ns = 0  # observations from before this are not wanted
        self.dt_s = contract.dt_s
        self.horizon = contract.horizon
        self.space = contract.action_space
        self.queue = self._make_queue()
        self.drive = MotionDrive(
            robot,
            player,
            control_dt_s=contract.dt_s if settings.lockstep else settings.control_dt_s,
            step_s=0.0 if settings.lockstep else contract.dt_s,
        )

    def _make_queue(self) -> ChunkQueue:
        return ChunkQueue(
            self._set.execution,
            execute_steps=self._set.execute_steps,
            open_loop_steps=round(self._set.chunk_open_loop_s / self.dt_s),
            blend_steps=self._set.blend_steps,
        )

    # ---- episodes --------------------------------------------------------------------------------------------------

    def begin_episode(self, fresh_ns: int, settings: ArmSettings) -> None:
        """Count slots from 0 and want observations from `fresh_ns` on (ROS time); settings change only here."""
        self._slot, self._fresh_ns = 0, fresh_ns
        if settings != self._set:
            source, self._set = self.queue, settings
            self.queue = self._make_queue()
            self.queue.inherit_source(source)
        self.queue.new_episode()

    def seed(self, motion: Motion, sample: JointSample) -> None:
        """Start from a motion at rest."""
        self.drive.start(motion)
        self._player.refer_to_joints(sample.positions, self.space)

    def restart(self, fresh_ns: int) -> None:
        """Drop the chunk in hand and the one under way; the next step begins at once, from a fresh observation."""
        self._fresh_ns = max(self._fresh_ns, fresh_ns)
        self.queue.clear()
        self.drive.cut()

    # ---- chunks --------------------------------------------------------------------------------------------------

    def judge(self, chunk: Chunk, next_slot_ns: int) -> ChunkAcceptance:
        """What would become of a chunk."""
        return self.queue.judge(chunk, slot=self._slot, age_s=self._age_s(chunk, next_slot_ns))

    def take(self, chunk: Chunk, next_slot_ns: int, now_s: float) -> None:
        """Take in a chunk that was judged TAKEN."""
        self._latency.arrived(now_s, chunk.stages_s)
        # One step until it begins, one for the rounding of steps to control periods.
        self._expires_s = now_s + self._set.chunk_open_loop_s + 2.0 * self.dt_s
        self.queue.take(chunk, slot=self._slot, age_s=self._age_s(chunk, next_slot_ns))

    @staticmethod
    def _age_s(chunk: Chunk, next_slot_ns: int) -> float:
        return (next_slot_ns - chunk.stamp.observation_ns) / _NS

    @property
    def stages(self) -> StageLatency:
        """How long the stages of the request cycle took lately."""
        return self._latency.stages

    @property
    def ran_dry(self) -> bool:
        """Whether the arm had to hold because the next chunk was asked for early and still came too late."""
        return self._set.execution is not Execution.SYNC and not self._set.lockstep and self.queue.chunk is not None

    # ---- steps -----------------------------------------------------------------------------------------------------

    def next_step(self, now: Now, out: ArmOutputs, person: TakeoverSample | None) -> tuple[StepStatus, str]:
        """Begin the next step; the one before has been recorded.

        Args:
            now: The moment.
            out: Receives requests.
            person: Command of the operator, None when the policy drives.

        Returns:
            What came of it; why, when it was refused.
        """
        if self._request_counter.over:
            return StepStatus.OVER, ""
        try:
            planned = self._plan(now, out, person)
        except UnreachableError as error:
            return StepStatus.REFUSED, str(error)
        if planned is None:
            return StepStatus.WAITS, ""
        if self.drive.too_far(planned):
            return StepStatus.REFUSED, f"step {planned.step} leads further than one step can"
        self.drive.begin(planned, now.steady_s, episode_step=self._request_counter.steps, time_ns=now.ros_ns)
        self._latency.played(now.steady_s)
        self._query(planned, now, out)
        self._slot += 1
        self._request_counter.steps += 1
        return StepStatus.STEP, ""

    def _plan(self, now: Now, out: ArmOutputs, person: TakeoverSample | None) -> Planned | None:
        last = self.drive.last
        if person is not None:
            return self._plan_human_step(person, last)
        expired = now.steady_s > self._expires_s and not self._set.lockstep
        if expired and self._set.execution is Execution.SYNC:
            self.queue.drop_chunk()
        self.ask(now, out)
        step = None if expired else self.queue.step(self._slot)
        if step is None:
            return None
        self._player.refer_to_chunk(step.chunk)
        return self._player.policy_step(step, last)

    def _plan_human_step(self, person: TakeoverSample, last: Motion) -> Planned:
        stamp = self._request_counter.newest
        try:
            return self._player.human_step(person, last, self.dt_s, stamp)
        except UnreachableError:
            # The operator sees that the arm does not follow, and keeps control.
            return Planned(Target(last.position, last.opening), Actor.HUMAN, stamp, -1)

    def advance(self, now: Now, out: ArmOutputs) -> Limited | None:
        """The command of this period; None when it belongs to no step."""
        command, limited = self.drive.advance(now.steady_s)
        out.command = replace(command, tick_ns=now.ros_ns) if self._set.lockstep else command
        return limited

    def record(self, out: ArmOutputs, sample: JointSample) -> ExecutedOut | None:
        """End the step in progress and note what became of it."""
        done = self.drive.finish(sample)
        if done is not None:
            out.executed.append(done)
        return done

    # ---- requests --------------------------------------------------------------------------------------------------

    def ask(self, now: Now, out: ArmOutputs) -> None:
        """Ask for the next chunk, when it is time."""
        delay = self._delay_steps()
        if not self.queue.wants_request(self._slot, delay):
            return
        ahead = self.queue.chunk is not None and self._set.execution is not Execution.SYNC
        delay = delay if ahead else 0
        # Asking ahead takes the newest frame there is; after a hold only a frame of the hold will do.
        not_before = max(self._fresh_ns, 0 if ahead and not self._set.lockstep else now.ros_ns)
        adopt = self._slot + delay if ahead and self._set.lockstep else 0
        request = self._request(RequestKind.ACT, now, not_before, delay)
        out.requests.append(request)
        self.queue.requested(request.stamp, not_before_ns=not_before, adopt_slot=adopt)
        self._latency.asked(now.steady_s)

    def _query(self, planned: Planned, now: Now, out: ArmOutputs) -> None:
        stride = self._set.query_stride if self._set.query_always or planned.actor is Actor.HUMAN else 0
        acts = any(request.kind is RequestKind.ACT for request in out.requests)
        first = planned.actor is Actor.POLICY and planned.step == 0
        if stride and not (first or acts or self._request_counter.steps % stride):
            out.requests.append(self._request(RequestKind.QUERY_ONLY, now, now.ros_ns, 0))

    def _request(self, kind: RequestKind, now: Now, not_before_ns: int, delay: int) -> RequestOut:
        left = self.horizon if self._set.execution is Execution.RTC else delay
        actions, reference = self.queue.committed(self._slot, left)
        has_pose = self.space != JOINT and reference is not None and actions.size > 0
        return RequestOut(
            stamp=self._request_counter.act(now.ros_ns)
            if kind is RequestKind.ACT
            else self._request_counter.query(now.ros_ns),
            kind=kind,
            not_before_ns=not_before_ns,
            deadline_s=self._set.chunk_timeout_s,
            delay_steps=delay,
            committed=actions,
            committed_reference=np.asarray(reference) if has_pose else np.zeros(7),
            seed=self._request_counter.seed,
            episode_step=self._request_counter.steps,
        )

    def _delay_steps(self) -> int:
        if self._set.execution is Execution.SYNC:
            return 0
        if self._set.lockstep:
            return self._set.delay_steps
        return self._latency.steps(self.dt_s, self.horizon - 1)
