# SPDX-License-Identifier: Apache-2.0
"""How an arm moves through time: watchdogs, control periods, steps, starts and stops. Every moment is handed in.

Two ways to be driven. In real time `tick` is called at the control rate. In lockstep nothing moves but by events: a new
joint state, a chunk or an operator's target may each lead to the one command of the present tick.
"""

from __future__ import annotations

from collections import Counter

from robot_bringup.core.arm_watchdogs import ArmWatchdogs
from robot_bringup.core.chunk_playback import ChunkPlayback
from robot_bringup.core.episode_clock import EpisodeClock
from robot_bringup.core.measured_joints import MeasuredJoints
from robot_bringup.core.notice import Notice
from robot_bringup.core.outputs import ArmOutputs, Now
from robot_bringup.core.playback import StepStatus
from robot_bringup.core.safety import LimitVerdict
from robot_bringup.core.settings import ArmSettings
from robot_bringup.core.state_machine import ArmState, Mode
from robot_bringup.core.takeover import Takeover
from whetstone_common.core.kinematics import Kinematics
from whetstone_common.core.reason import Reason
from whetstone_common.core.robot import Robot
from whetstone_common.core.robot_joints import JointSample

_NS = 1_000_000_000


def _takeover_of(settings: ArmSettings) -> Takeover:
    return Takeover(settings.takeover_timeout_s, settings.takeover_stuck_s, settings.takeover_forget_s)


class ArmMotion:
    """What moves the arm and what makes it stand; `Arm` adds what others ask and tell.

    Args:
        robot: The robot.
        kinematics: Of its arm.
        settings: Times and modes.
        epoch: Identity of this run.
        counters: Where events are counted.
    """

    def __init__(
        self, robot: Robot, kinematics: Kinematics, settings: ArmSettings, epoch: int, counters: Counter[str]
    ) -> None:
        self._set = settings
        self._counters = counters
        self._playback = ChunkPlayback(robot, kinematics, epoch)
        self._takeover = _takeover_of(settings)
        self._joints = MeasuredJoints(robot, settings)
        self._watchdogs = ArmWatchdogs(settings)
        self._episode_clock = EpisodeClock()
        self._notice = Notice()
        self._obstacle = (Reason.NONE, "")
        self.state = ArmState()

    def configure(self, settings: ArmSettings) -> None:
        """Other settings: watchdogs change while disarmed only, the way of playing with the next episode."""
        self._set = settings
        if not self.state.armed:
            self._takeover = _takeover_of(settings)
            self._joints.configure(settings)
            self._watchdogs.configure(settings)

    @property
    def at_rest(self) -> bool:
        """Whether the last command does not move."""
        return self._playback.at_rest

    def ready_to_arm(self, now: Now) -> str:
        """Why arming is refused; empty when it is not."""
        return self._obstacle[1] or self._playback.contract.problem() or self._joints.problem(now.steady_s)

    def _disarmed(self, now: Now) -> ArmState:
        if self._playback.contract.newest is None and not self._obstacle[1]:
            return self.state.disarm(reason=Reason.NO_CONTRACT)
        return self.state.disarm(self.ready_to_arm(now))

    # ---- time --------------------------------------------------------------------------------------------------------

    def watch(self, now: Now) -> None:
        """All time-outs; called at least every 50 ms by the steady clock."""
        self._notice.at(now.steady_s)
        back_s = self._watchdogs.ros_clock.update(now.ros_ns)
        lost = self._takeover.lost(now.steady_s)
        if not self.state.moving:
            if lost:
                self._takeover.let_go()
            if self.state.mode is Mode.DISARMED:
                self.state = self._disarmed(now)
            return
        if back_s and not self._set.lockstep:
            self.stop(Reason.CLOCK_JUMP, f"ROS time went back by {back_s:.3f} s")
        if lost:
            self.stop(Reason.TAKEOVER_LOST, lost)
        if loss := self._joints.loss(now.steady_s):
            self.stop(*loss)
        if conflict := self._joints.conflict(now.steady_s):
            self.stop(Reason.SECOND_SOURCE, conflict)
        if self._watchdogs.chunk.expired(now.steady_s):
            age_s = self._watchdogs.chunk.age_s(now.steady_s)
            self._counters["policy_lost"] += 1
            self.stop(Reason.POLICY_LOST, f"no chunk for {age_s:.2f} s")

    def tick(self, now: Now) -> ArmOutputs:
        """One control period in real time."""
        self._notice_stall(now)
        self.watch(now)
        out = ArmOutputs()
        if not (self.state.moving and self._started()):
            return self._ramp(out)
        if self._playback.current.drive.due(now.steady_s):
            self._next_step(now, out)
        if self.state.moving:
            self._advance(now, out)
        return out

    def _notice_stall(self, now: Now) -> None:
        """After a pause of our own the arm stands where it was last told to; what was planned then is void."""
        pause_s = self._watchdogs.stall.update(now.steady_s)
        if not pause_s:
            return
        self._playback.rest()
        if self.state.moving:
            self._counters["stalls"] += 1
            self._notice.give(Reason.DEADLINE_MISSED, f"nothing was sent for {pause_s:.2f} s")
            self._restart(now)

    def _ramp(self, out: ArmOutputs) -> ArmOutputs:
        """Come to rest, then be silent."""
        self._record(out)
        out.command = self._playback.ramp()
        return out

    def _lockstep(self, now: Now) -> ArmOutputs:
        """The command of the present tick, when everything for it is here."""
        out = ArmOutputs()
        sample = self._joints.sample
        if not (self._set.lockstep and self.state.moving and self._started()) or sample is None:
            return out
        tick = Now(now.steady_s, sample.stamp_ns)
        if not self._episode_clock.awaits_command(tick.ros_ns) or self._takeover.is_behind(tick.ros_ns):
            return out
        if self._next_step(tick, out):
            self._episode_clock.answer(tick.ros_ns)
            self._advance(tick, out)
            self._record(out)
        return out

    # ---- steps -------------------------------------------------------------------------------------------------------

    def _next_step(self, now: Now, out: ArmOutputs) -> bool:
        """End the step in progress and begin the next; False when there is none."""
        self._record(out)
        begun, why = self._playback.current.next_step(now, out, self._takeover.command)
        if begun is StepStatus.OVER:
            self.pause(Reason.EPISODE_END, f"{self._playback.requests.steps} steps")
        elif begun is StepStatus.REFUSED:
            self._refuse_step(now, out, why)
        elif begun is StepStatus.WAITS:
            self._wait(now, out)
        else:
            self.state = self.state.run(Reason.TAKEOVER if self._takeover.command else Reason.NONE)
        return begun is StepStatus.STEP

    def _advance(self, now: Now, out: ArmOutputs) -> None:
        limited = self._playback.current.advance(now, out)
        if limited is None or limited.verdict is LimitVerdict.PASSED:
            return
        self._counters[f"limit_{limited.verdict.value}"] += 1
        if limited.verdict is not LimitVerdict.CLAMPED:
            self._record(out)
            self._playback.clear()
            self._register_rejection(Reason.LIMIT_EXCEEDED, f"{limited.excess_rad:.3f} rad beyond the limits")

    def _refuse_step(self, now: Now, out: ArmOutputs, detail: str) -> None:
        """A step that must not even begin: drop the chunk, hold, ask anew."""
        self._counters["limit_refused"] += 1
        self._playback.clear()
        self._register_rejection(Reason.LIMIT_EXCEEDED, detail)
        if self.state.moving:
            self._playback.current.ask(now, out)
            self._watchdogs.chunk.start(now.steady_s)

    def _wait(self, now: Now, out: ArmOutputs) -> None:
        """Nothing to play: hold, and say so when it takes long."""
        play = self._playback.current
        self._watchdogs.chunk.start(now.steady_s)
        if play.ran_dry:
            # The arm stands now, so the reply that is under way was made for another motion.
            play.restart(now.ros_ns)
            self._underrun("the chunk ran out before the next one came")
            play.ask(now, out)
        slow_s = play.horizon * play.dt_s
        if not self._set.lockstep and self._watchdogs.chunk.age_s(now.steady_s) > slow_s:
            self._underrun(f"no chunk for {slow_s:.2f} s")

    def _underrun(self, detail: str) -> None:
        if self.state.mode is Mode.RUNNING:
            self._counters["underruns"] += 1
            self.state = self.state.hold(Reason.UNDERRUN, detail)

    def _record(self, out: ArmOutputs) -> None:
        self._playback.record(out, self._joints.sample)

    def _next_slot_ns(self, now: Now) -> int:
        """ROS time at which the next slot begins."""
        play, sample = self._playback.current, self._joints.sample
        if self._set.lockstep and sample is not None:
            waits = self._episode_clock.awaits_command(sample.stamp_ns)
            return sample.stamp_ns + (0 if waits else round(play.dt_s * _NS))
        end_s = play.drive.step_end_s
        return now.ros_ns + (0 if end_s is None else round(max(0.0, end_s - now.steady_s) * _NS))

    # ---- changes of mode ---------------------------------------------------------------------------------------------

    def stop(self, reason: Reason, detail: str = "") -> None:
        """Hold by ramp and stay until a reset."""
        if self.state.mode is not Mode.STOPPED:
            self._counters[f"stop_{reason.name.lower()}"] += 1
        self.state = self.state.stop(reason, detail)
        self._stopped()

    def pause(self, reason: Reason = Reason.NONE, detail: str = "") -> None:
        """Hold by ramp, empty the queue, READY.

        Raises:
            Refused: STOPPED or DISARMED.
        """
        self.state = self.state.pause(reason, detail)
        self._drop()

    def _begin_episode(self, now: Now, not_before_ns: int) -> None:
        self._episode_clock.begin(not_before_ns)
        fresh = not_before_ns if self._set.lockstep else max(not_before_ns, now.ros_ns)
        self._playback.begin_episode(fresh, self._set)
        self._joints.forget_frozen()
        self._watchdogs.chunk.clear()

    def _started(self) -> bool:
        """Whether the first joint state of the episode is here; then the target has been seeded from it."""
        if not self._episode_clock.is_waiting:
            return True
        sample = self._joints.sample
        if sample is None or not self._episode_clock.may_start(sample.stamp_ns):
            return False
        if not (self._set.lockstep or self.at_rest):
            return False  # the hold ramp ends first
        if not self._seed(sample, trusted=self._playback.is_trusted and not self._set.lockstep):
            return False
        self._episode_clock.stop_waiting()
        return True

    def _seed(self, sample: JointSample, *, trusted: bool) -> bool:
        try:
            self._playback.seed(sample, trusted=trusted)
        except ValueError as error:
            self.stop(Reason.LIMIT_EXCEEDED, str(error))
            return False
        return True

    def _restart(self, now: Now) -> None:
        sample = self._joints.sample
        self._playback.current.restart(sample.stamp_ns if self._set.lockstep and sample else now.ros_ns)
        self._watchdogs.chunk.clear()

    def _drop(self) -> None:
        self._playback.clear()
        self._watchdogs.chunk.clear()
        self._episode_clock.stop_waiting()

    def _stopped(self) -> None:
        self._drop()
        self._playback.is_trusted = self.state.reason is Reason.TAKEOVER_LOST
        self._takeover.drop()

    def _register_rejection(self, reason: Reason, detail: str) -> None:
        count = self._playback.reject()
        self._notice.give(reason, detail)
        if count >= self._set.max_rejections:
            self.stop(reason, f"{count} in a row: {detail}")
        elif not self._playback.current.drive.playing:
            self.state = self.state.hold(reason, detail)
