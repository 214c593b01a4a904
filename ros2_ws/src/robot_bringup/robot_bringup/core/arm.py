# SPDX-License-Identifier: Apache-2.0
"""The arm's core: events in, commands and requests out. No ROS and no clock; every moment is handed in."""

from __future__ import annotations

import numpy as np

from robot_bringup.core.arm_motion import ArmMotion
from robot_bringup.core.chunk import Chunk
from robot_bringup.core.chunk_queue import ChunkAcceptance
from robot_bringup.core.outputs import ArmOutputs, Now, RequestOut
from robot_bringup.core.state_machine import Mode, Refused
from robot_bringup.core.takeover import InputResult, TakeoverSample
from whetstone_common.core.clock import other_clock
from whetstone_common.core.contract import NO_CONTRACT, Contract
from whetstone_common.core.enums import RequestKind
from whetstone_common.core.joint_parts import JointMessage
from whetstone_common.core.reason import Reason, ReasonedError, State
from whetstone_common.core.robot_joints import JointSample
from whetstone_common.core.stage_latency import StageLatency
from whetstone_common.core.stamp import Stamp

_NS = 1_000_000_000
_MOST_CANDIDATES = 64  # as steering_node has it
_STOPPING = {Reason.SECOND_COMMANDER, Reason.SECOND_NODE}
_REFUSALS = {
    ChunkAcceptance.DUPLICATE: ("chunk_duplicate", Reason.NONE),
    ChunkAcceptance.FOREIGN: ("chunk_foreign", Reason.NONE),
    ChunkAcceptance.SECOND_SOURCE: ("second_source", Reason.SECOND_SOURCE),
    ChunkAcceptance.STALE: ("chunk_stale", Reason.STALE_OBSERVATION),
    ChunkAcceptance.FUTURE: ("chunk_future", Reason.STALE_OBSERVATION),
}


class Arm(ArmMotion):
    """Everything that decides what the arm is told: services and events on top of its motion."""

    @property
    def status(self) -> tuple[State, Reason, str]:
        """State, reason and detail; a fresh notice speaks while the state itself has nothing to say."""
        state = self.state
        if state.reason in (Reason.NONE, Reason.TAKEOVER) and self._notice.fresh:
            return state.status, self._notice.reason, self._notice.detail
        if state.reason is Reason.NONE and self._obstacle[0] is not Reason.NONE:
            return state.status, *self._obstacle
        return state.status, state.reason, state.detail

    @property
    def episode(self) -> int:
        """Number of the newest episode."""
        return self._playback.requests.episode

    @property
    def steps(self) -> int:
        """Policy steps since the resume."""
        return self._playback.requests.steps

    def latencies(self) -> StageLatency:
        """A copy of how long the stages of the request cycle took lately, empty before the first chunk."""
        return self._playback.latencies()

    def waits_for(self, stamp: Stamp) -> bool:
        """Whether a request is the one that still waits for its chunk."""
        return self._playback.waits_for(stamp)

    # ---- services ----------------------------------------------------------------------------------------------------

    def arm(self, expected_contract: str, now: Now) -> None:
        """Allow motion.

        Raises:
            Refused: With the reason in words.
        """
        why = self.ready_to_arm(now) or self._playback.contract.mismatch(expected_contract)
        if why:
            raise Refused(why)
        self.state = self.state.arm()
        self._playback.arm(self._set)

    def autoarm(self, now: Now) -> None:
        """Arm when disarmed and nothing speaks against it."""
        if self.state.mode is Mode.DISARMED and not self.state.estop and not self.ready_to_arm(now):
            self.arm("", now)

    def disarm(self, detail: str) -> None:
        """Hold by ramp and refuse motion until armed."""
        self.state = self.state.disarm(detail)
        self._drop()

    def reset(self) -> None:
        """Leave STOPPED.

        Raises:
            Refused: Not STOPPED, or the emergency stop is pressed.
        """
        self.state = self.state.reset()
        self._takeover.forget_source()
        self._playback.reset()

    def resume(self, now: Now, *, episode: int, seed: int, max_steps: int, not_before_ns: int) -> ArmOutputs:
        """READY to RUNNING.

        Args:
            now: The moment.
            episode: Its number, 0 for the next.
            seed: Of the policy's noise.
            max_steps: Steps after which it ends, 0 for no bound.
            not_before_ns: Oldest joint state to start from (ROS time).

        Raises:
            Refused: Not READY, no fresh joint states, or the number is used.
        """
        state = self.state.resume()
        why = self._obstacle[1] or self._joints.problem(now.steady_s)
        if why:
            raise Refused(why)
        try:
            self._playback.requests.begin(episode, seed, max_steps)
        except ValueError as error:
            raise Refused(str(error)) from error
        self.state = state
        self._begin_episode(now, not_before_ns)
        sample = self._joints.sample
        known = sample is not None and 0 < not_before_ns <= sample.stamp_ns
        return self._lockstep(now) if self._set.lockstep and known else ArmOutputs()

    def query(self, now: Now, *, seed: int, n_candidates: int, edit_scale: float) -> ArmOutputs:
        """Ask the policy what it would do here, while no episode runs; nothing moves.

        Args:
            now: The moment.
            seed: Of the policy's noise.
            n_candidates: Candidates to draw, 0 for as many as usual.
            edit_scale: Share of the trained bound of edits, negative for the usual one.

        Raises:
            Refused: An episode runs, there is no policy, or a number is out of its range.
        """
        if self.state.moving:
            raise Refused("an episode runs: look at its own decisions, or hold the arm first")
        if self._playback.contract.newest is None:
            raise Refused(NO_CONTRACT)
        if n_candidates > _MOST_CANDIDATES:
            raise Refused(f"n_candidates is {n_candidates}, allowed: 0..{_MOST_CANDIDATES}")
        if not edit_scale <= 1.0:
            raise Refused(f"edit_scale is {edit_scale}, allowed: 0..1, or negative for the usual one")
        request = RequestOut(
            self._playback.requests.query(now.ros_ns), RequestKind.TRIAL, 0, self._set.chunk_timeout_s, 0,
            np.zeros((0, 0)), np.zeros(7), seed, n_candidates=n_candidates, edit_scale=edit_scale,
        )  # fmt: skip
        return ArmOutputs(requests=[request])

    # ---- events ------------------------------------------------------------------------------------------------------

    def on_estop(self, *, pressed: bool, detail: str = "pressed") -> None:
        """Whether any emergency stop is pressed; a press is latched. `detail` says by whom."""
        if pressed:
            self._counters["estops"] += not self.state.estop
            self.state = self.state.press_estop(detail)
            self._stopped()
        else:
            self.state = self.state.release_estop()

    def on_obstacle(self, reason: Reason, detail: str) -> None:
        """What in the graph speaks against motion, (NONE, "") for nothing.

        Another one who commands the arm stops it. An emergency stop that cannot be heard refuses the next start.
        """
        self._obstacle = (reason, detail)
        if reason in _STOPPING and self.state.moving:
            self.stop(reason, detail)

    def on_contract(self, contract: Contract) -> None:
        """The policy says what it expects and returns; another contract while armed is refused motion."""
        old = self._playback.contract.replace(contract)
        if old is None or not self.state.armed:
            return
        self._counters["contract_mismatch"] += 1
        detail = "; ".join(contract.differences(old))
        if self.state.moving:
            self.stop(Reason.CONTRACT_MISMATCH, detail)
        self.disarm(detail)

    def on_joint_state(self, message: JointMessage, now: Now) -> ArmOutputs:
        """Measured joints, or some of them."""
        try:
            # In lockstep the stamps themselves are the time.
            ros_ns = None if self._set.lockstep else now.ros_ns
            sample = self._joints.read(message, now.steady_s, ros_ns)
        except ReasonedError as error:
            counter = "second_source" if error.reason is Reason.SECOND_SOURCE else "joint_state_refused"
            self.refuse_message(counter, error)
            return ArmOutputs()
        return ArmOutputs() if sample is None else self._on_joints(sample, now)

    def _on_joints(self, sample: JointSample, now: Now) -> ArmOutputs:
        back_s = self._joints.accept(sample)
        if back_s and self.state.moving and not self._episode_clock.is_waiting:
            self.stop(Reason.CLOCK_JUMP, f"joint state stamps went back by {back_s:.3f} s")
        self._watch_frozen(sample, now)
        return self._lockstep(now) if self._set.lockstep else ArmOutputs()

    def _watch_frozen(self, sample: JointSample, now: Now) -> None:
        motion = self._playback.motion
        if motion is None or not self.state.moving or self._episode_clock.is_waiting or self._set.dry_run:
            return
        clock_s = sample.stamp_ns / _NS if self._set.lockstep else now.steady_s
        if frozen := self._joints.frozen(sample, clock_s, motion.position):
            self.stop(Reason.FROZEN_SOURCE, frozen)

    def refuse_message(self, counter: str, error: ReasonedError) -> None:
        """Count and show a message that could not be used; the silence of good ones is what stops the arm."""
        self._counters[counter] += 1
        self._notice.give(error.reason, error.detail)

    def on_chunk(self, chunk: Chunk, now: Now) -> ArmOutputs:
        """The policy answers."""
        if not self.state.moving or self._episode_clock.is_waiting:
            self._counters["chunk_unwanted"] += 1
            return ArmOutputs()
        play, sample = self._playback.current, self._joints.sample
        slot_ns = self._next_slot_ns(now)
        offer = play.judge(chunk, slot_ns)
        try:
            if offer is ChunkAcceptance.TAKEN:
                self._playback.contract.check(chunk)
                if self._set.dry_run and sample is not None:
                    self._seed(sample, trusted=False)
                play.take(chunk, slot_ns, now.steady_s)
                self._watchdogs.chunk.clear()
            else:
                self._not_taken(offer, chunk)
        except ReasonedError as error:
            play.queue.cancel()
            self._counters["chunk_refused"] += 1
            self._register_rejection(error.reason, f"{chunk.source}: {error.detail}")
        return self._lockstep(now)

    def _not_taken(self, offer: ChunkAcceptance, chunk: Chunk) -> None:
        counter, reason = _REFUSALS[offer]
        self._counters[counter] += 1
        if reason is not Reason.NONE:
            self._notice.give(reason, f"{offer.value}: chunk of {chunk.source} for request {chunk.stamp.request_id}")
        if offer in (ChunkAcceptance.STALE, ChunkAcceptance.FUTURE):
            self._playback.current.queue.cancel()

    def on_takeover(self, sample: TakeoverSample, now: Now) -> ArmOutputs:
        """Take a message of the takeover device."""
        if why := self._time_problem(sample, now):
            self._refuse_takeover(sample, why)
            return ArmOutputs()
        heard = self._takeover.update(sample, now.steady_s)
        if heard is InputResult.OLD:
            self._counters["takeover_old"] += 1
        elif heard is InputResult.SECOND_SOURCE:
            self._counters["second_source"] += 1
            detail = f"takeover from {sample.source}, {self._takeover.source} has it"
            self._notice.give(Reason.SECOND_SOURCE, detail)
        elif heard is InputResult.BAD:
            self._refuse_takeover(sample, sample.problem())
        elif heard is InputResult.ENGAGED:
            self._counters["takeovers"] += 1
            self._engage(now)
        elif heard is InputResult.RELEASED and self.state.moving:
            self.state = self.state.run()
            self._restart(now)
        return self._lockstep(now)

    def _time_problem(self, sample: TakeoverSample, now: Now) -> str:
        """Why a command is of another time, for example of a recording that is played; a release is of any."""
        joints = self._joints.sample
        if not sample.engaged or (self._set.lockstep and joints is None):
            return ""
        if not sample.time_ns:
            return "time is zero; in lockstep it says which tick is answered" if self._set.lockstep else ""
        here_ns = joints.stamp_ns if self._set.lockstep and joints is not None else now.ros_ns
        return other_clock(sample.time_ns, here_ns, sim_time=self._set.sim_time)

    def _refuse_takeover(self, sample: TakeoverSample, why: str) -> None:
        self._counters["takeover_refused"] += 1
        self._notice.give(Reason.BAD_MESSAGE, f"takeover from {sample.source}: {why}")

    def _engage(self, now: Now) -> None:
        was_lost = not self.state.moving
        self.state = self.state.continue_takeover()
        if not self.state.moving:
            return
        joints = self._joints.sample
        if was_lost and self.at_rest and (joints is None or not self._seed(joints, trusted=True)):
            return
        self._restart(now)
        self.state = self.state.run(Reason.TAKEOVER)
