# SPDX-License-Identifier: Apache-2.0
"""How an arm moves through time: watchdogs, control periods, steps, starts and stops. Every moment is handed in.

Two ways to be driven. In real time `tick` is called at the control rate. In lockstep nothing moves but by events: a new
joint state, a chunk or an operator's target may each lead to the one command of the present tick.
"""

from __future__ import annotations

import math
from collections import Counter

from robot_bringup.core.arm_watchdogs import ArmWatchdogs
from robot_bringup.core.hold import reseed
from robot_bringup.core.notice import Notice
from robot_bringup.core.outputs import ArmOutputs, Now
from robot_bringup.core.playback import Playback, StepStatus
from robot_bringup.core.player import Player
from robot_bringup.core.request_counter import RequestCounter
from robot_bringup.core.safety import LimitVerdict
from robot_bringup.core.settings import ArmSettings
from robot_bringup.core.state_machine import ArmState, Mode
from robot_bringup.core.takeover import DeadmanState, Takeover, TakeoverSample
from whetstone_common.core.contract import NO_CONTRACT, Contract
from whetstone_common.core.enums import Actor
from whetstone_common.core.kinematics import Kinematics
from whetstone_common.core.reason import Reason
from whetstone_common.core.robot import Robot
from whetstone_common.core.robot_joints import JointSample, RobotJoints

_NS = 1_000_000_000
_STALL_S = 0.1  # without a command for this long a controller has stopped the arm


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
        self._robot = robot
        self._set = settings
        self._counters = counters
        self._player = Player(robot, kinematics)
        self._request_counter = RequestCounter(epoch)
        self._takeover = _takeover_of(settings)
        self._watchdogs = ArmWatchdogs(settings)
        self._notice = Notice()
        self._obstacle = (Reason.NONE, "")
        self._contract: Contract | None = None
        self._contract_hash = ""
        self._playback: Playback | None = None
        # A world that waits for each command cannot send a second message to confirm that its clock went back.
        self._joints = RobotJoints(robot, confirm_back=not settings.lockstep, sim_time=settings.sim_time)
        self._sample: JointSample | None = None
        self._rejections = 0
        self._trusted = False  # whether the last command still means something
        self._starting_ns: int | None = None  # resume waits for a joint state at least this new
        self._ticked_s = math.inf  # real time: the last control period
        self._answered_ns = -1  # lockstep: the tick whose command was sent
        self.state = ArmState()

    def configure(self, settings: ArmSettings) -> None:
        """Other settings: watchdogs change while disarmed only, the way of playing with the next episode."""
        self._set = settings
        if not self.state.armed:
            self._takeover = _takeover_of(settings)
            self._watchdogs.configure(settings)

    @property
    def at_rest(self) -> bool:
        """Whether the last command does not move."""
        motion = None if self._playback is None else self._playback.drive.motion
        return motion is None or motion.at_rest

    def ready_to_arm(self, now: Now) -> str:
        """Why arming is refused; empty when it is not."""
        if self._obstacle[1]:
            return self._obstacle[1]
        if self._contract is None:
            return NO_CONTRACT
        problems = self._robot.contract_problems(self._contract)
        if problems:
            return "the policy does not fit the robot: " + "; ".join(problems)
        return self._no_joints(now)

    def _disarmed(self, now: Now) -> ArmState:
        if self._contract is None and not self._obstacle[1]:
            return self.state.disarm(reason=Reason.NO_CONTRACT)
        return self.state.disarm(self.ready_to_arm(now))

    def _no_joints(self, now: Now) -> str:
        if self._sample is None or self._watchdogs.joints.expired(now.steady_s):
            return self._joints.loss(now.steady_s)[1]
        return self._joints.conflict(now.steady_s)

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
        if self._watchdogs.joints.expired(now.steady_s):
            self.stop(*self._joints.loss(now.steady_s))
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
        if self._the_playback().drive.due(now.steady_s):
            self._next_step(now, out)
        if self.state.moving:
            self._advance(now, out)
        return out

    def _notice_stall(self, now: Now) -> None:
        """After a pause of our own the arm stands where it was last told to; what was planned then is void."""
        last_s, self._ticked_s = self._ticked_s, now.steady_s
        if self._playback is None or now.steady_s - last_s <= _STALL_S:
            return
        self._playback.drive.rest()
        if self.state.moving:
            self._counters["stalls"] += 1
            self._notice.give(Reason.DEADLINE_MISSED, f"nothing was sent for {now.steady_s - last_s:.2f} s")
            self._restart(now)

    def _ramp(self, out: ArmOutputs) -> ArmOutputs:
        """Come to rest, then be silent."""
        self._record(out)
        if self._playback is not None and not self.at_rest:
            out.command = self._playback.drive.advance(0.0)[0]
        return out

    def _lockstep(self, now: Now) -> ArmOutputs:
        """The command of the present tick, when everything for it is here."""
        out = ArmOutputs()
        if not (self._set.lockstep and self.state.moving and self._started()) or self._sample is None:
            return out
        tick = Now(now.steady_s, self._sample.stamp_ns)
        if tick.ros_ns <= self._answered_ns or self._awaits_human(tick):
            return out
        if self._next_step(tick, out):
            self._answered_ns = tick.ros_ns
            self._advance(tick, out)
            self._record(out)
        return out

    def _awaits_human(self, tick: Now) -> bool:
        sample = self._takeover.sample
        return self._takeover.deadman is DeadmanState.ON and sample is not None and sample.time_ns < tick.ros_ns

    # ---- steps -------------------------------------------------------------------------------------------------------

    def _next_step(self, now: Now, out: ArmOutputs) -> bool:
        """End the step in progress and begin the next; False when there is none."""
        play = self._the_playback()
        self._record(out)
        begun, why = play.next_step(now, out, self._human_step())
        if begun is StepStatus.OVER:
            self.pause(Reason.EPISODE_END, f"{self._request_counter.steps} steps")
        elif begun is StepStatus.REFUSED:
            self._refuse_step(now, out, why)
        elif begun is StepStatus.WAITS:
            self._wait(now, out)
        else:
            self.state = self.state.run(Reason.TAKEOVER if self._human_step() else Reason.NONE)
        return begun is StepStatus.STEP

    def _human_step(self) -> TakeoverSample | None:
        return self._takeover.sample if self._takeover.deadman is DeadmanState.ON else None

    def _advance(self, now: Now, out: ArmOutputs) -> None:
        limited = self._the_playback().advance(now, out)
        if limited is None or limited.verdict is LimitVerdict.PASSED:
            return
        self._counters[f"limit_{limited.verdict.value}"] += 1
        if limited.verdict is not LimitVerdict.CLAMPED:
            self._record(out)
            self._the_playback().queue.clear()
            self._register_rejection(Reason.LIMIT_EXCEEDED, f"{limited.excess_rad:.3f} rad beyond the limits")

    def _refuse_step(self, now: Now, out: ArmOutputs, detail: str) -> None:
        """A step that must not even begin: drop the chunk, hold, ask anew."""
        self._counters["limit_refused"] += 1
        self._the_playback().queue.clear()
        self._register_rejection(Reason.LIMIT_EXCEEDED, detail)
        if self.state.moving:
            self._the_playback().ask(now, out)
            self._watchdogs.chunk.start(now.steady_s)

    def _wait(self, now: Now, out: ArmOutputs) -> None:
        """Nothing to play: hold, and say so when it takes long."""
        play = self._the_playback()
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
        if self._playback is None or self._sample is None:
            return
        done = self._playback.record(out, self._sample)
        if done is not None and done.actor is not Actor.HOLD:
            self._rejections = 0

    def _next_slot_ns(self, now: Now) -> int:
        """ROS time at which the next slot begins."""
        play = self._the_playback()
        if self._set.lockstep and self._sample is not None:
            waits = self._sample.stamp_ns > self._answered_ns
            return self._sample.stamp_ns + (0 if waits else round(play.dt_s * _NS))
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
        self._rejections = 0
        self._answered_ns = -1
        self._starting_ns = not_before_ns
        fresh = not_before_ns if self._set.lockstep else max(not_before_ns, now.ros_ns)
        self._the_playback().begin_episode(fresh, self._set)
        self._watchdogs.frozen.clear()
        self._watchdogs.chunk.clear()

    def _started(self) -> bool:
        """Whether the first joint state of the episode is here; then the target has been seeded from it."""
        if self._starting_ns is None:
            return True
        sample = self._sample
        if sample is None or sample.stamp_ns < self._starting_ns:
            return False
        if not (self._set.lockstep or self.at_rest):
            return False  # the hold ramp ends first
        if not self._seed(sample, trusted=self._trusted and not self._set.lockstep):
            return False
        self._starting_ns = None
        return True

    def _seed(self, sample: JointSample, *, trusted: bool) -> bool:
        play = self._the_playback()
        last = play.drive.motion
        try:
            play.seed(reseed(sample.positions, sample.opening, last, self._robot.limits, trusted=trusted), sample)
        except ValueError as error:
            self.stop(Reason.LIMIT_EXCEEDED, str(error))
            return False
        self._trusted = True
        return True

    def _restart(self, now: Now) -> None:
        lockstep = self._set.lockstep and self._sample is not None
        self._the_playback().restart(self._sample.stamp_ns if lockstep and self._sample else now.ros_ns)
        self._watchdogs.chunk.clear()

    def _drop(self) -> None:
        if self._playback is not None:
            self._playback.queue.clear()
        self._watchdogs.chunk.clear()
        self._starting_ns = None

    def _stopped(self) -> None:
        self._drop()
        self._trusted = self.state.reason is Reason.TAKEOVER_LOST
        self._takeover.drop()

    def _register_rejection(self, reason: Reason, detail: str) -> None:
        self._rejections += 1
        self._notice.give(reason, detail)
        if self._rejections >= self._set.max_rejections:
            self.stop(reason, f"{self._rejections} in a row: {detail}")
        elif not self._the_playback().drive.playing:
            self.state = self.state.hold(reason, detail)

    def _the_playback(self) -> Playback:
        assert self._playback is not None  # noqa: S101 - made by arm(), and nothing moves unarmed
        return self._playback
