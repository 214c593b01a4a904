# SPDX-License-Identifier: Apache-2.0
"""Chunk playback of an arm through all its episodes: what outlives the `Playback` that it is armed with."""

from __future__ import annotations

from robot_bringup.core.hold import reseed
from robot_bringup.core.outputs import ArmCommand, ArmOutputs
from robot_bringup.core.playback import Playback
from robot_bringup.core.player import Player
from robot_bringup.core.request_counter import RequestCounter
from robot_bringup.core.safety import Motion
from robot_bringup.core.served_contract import ServedContract
from robot_bringup.core.settings import ArmSettings
from whetstone_common.core.enums import Actor
from whetstone_common.core.kinematics import Kinematics
from whetstone_common.core.robot import Robot
from whetstone_common.core.robot_joints import JointSample
from whetstone_common.core.stage_latency import StageLatency
from whetstone_common.core.stamp import Stamp


class ChunkPlayback:
    """Plays nothing until the arm is armed; then one `Playback` for each time that it is armed.

    Args:
        robot: The robot.
        kinematics: Of its arm.
        epoch: Identity of this run.

    Attributes:
        contract: Of the policy that is served.
        requests: Numbers of episodes and requests.
        is_trusted: Whether the last command still means something; a fault ends that.
    """

    def __init__(self, robot: Robot, kinematics: Kinematics, epoch: int) -> None:
        self._robot = robot
        self._player = Player(robot, kinematics)
        self._armed: Playback | None = None
        self.contract = ServedContract(robot)
        self.requests = RequestCounter(epoch)
        self._rejections = 0  # in a row
        self.is_trusted = False

    @property
    def current(self) -> Playback:
        """The playback under the contract that the arm was armed for."""
        assert self._armed is not None  # noqa: S101 - made by arm(), and nothing moves unarmed
        return self._armed

    @property
    def motion(self) -> Motion | None:
        """The last command, None before the first."""
        return None if self._armed is None else self._armed.drive.motion

    @property
    def at_rest(self) -> bool:
        """Whether the last command does not move."""
        motion = self.motion
        return motion is None or motion.at_rest

    def waits_for(self, stamp: Stamp) -> bool:
        """Whether a request is the one that still waits for its chunk."""
        out = None if self._armed is None else self._armed.queue.outstanding
        return out is not None and out.same_request(stamp)

    def latencies(self) -> StageLatency:
        """A copy of how long the stages from request to chunk took lately; empty before it was armed."""
        return StageLatency() if self._armed is None else self._armed.stages.copy()

    # ---- episodes ----------------------------------------------------------------------------------------------------

    def arm(self, settings: ArmSettings) -> None:
        """Play under the newest contract from now on; the last command stays what the next one is counted from."""
        assert self.contract.newest is not None  # noqa: S101 - nobody arms while contract.problem() says so
        last = self.motion
        self._armed = Playback(self._robot, self._player, self.contract.newest, settings, self.requests)
        self._armed.drive.motion = last

    def begin_episode(self, fresh_ns: int, settings: ArmSettings) -> None:
        """Want observations from `fresh_ns` on (ROS time); settings change only here."""
        self._rejections = 0
        self.current.begin_episode(fresh_ns, settings)

    def seed(self, sample: JointSample, *, trusted: bool) -> None:
        """Start from a motion at rest: the last command where it is `trusted`, else the measured joints.

        Raises:
            ValueError: The measured joints are not finite or outside the limits.
        """
        play = self.current
        motion = reseed(sample.positions, sample.opening, play.drive.motion, self._robot.limits, trusted=trusted)
        play.seed(motion, sample)
        self.is_trusted = True

    def reject(self) -> int:
        """Count a bad chunk or a refused step; return how many there were in a row."""
        self._rejections += 1
        return self._rejections

    def clear(self) -> None:
        """Drop the chunk in hand and void the request that is out."""
        if self._armed is not None:
            self._armed.queue.clear()

    def reset(self) -> None:
        """Forget the fault, what was commanded before it, and which policy spoke."""
        self._rejections = 0
        self.is_trusted = False
        if self._armed is not None:
            self._armed.queue.forget_source()

    # ---- time --------------------------------------------------------------------------------------------------------

    def rest(self) -> None:
        """Nothing was sent for so long that the arm stands at the last command."""
        if self._armed is not None:
            self._armed.drive.rest()

    def ramp(self) -> ArmCommand | None:
        """The next command on the way to rest, None when the arm is there."""
        return None if self._armed is None or self.at_rest else self._armed.drive.advance(0.0)[0]

    def record(self, out: ArmOutputs, sample: JointSample | None) -> None:
        """End the step in progress and note what became of it; a step that was played ends a row of rejections."""
        if self._armed is None or sample is None:
            return
        done = self._armed.record(out, sample)
        if done is not None and done.actor is not Actor.HOLD:
            self._rejections = 0
