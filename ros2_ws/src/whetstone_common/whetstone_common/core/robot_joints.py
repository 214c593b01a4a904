# SPDX-License-Identifier: Apache-2.0
"""Joint states by name: never by position in the message, and from as many messages as the drivers make of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whetstone_common.core.clock import NO_CLOCK, UNSTAMPED, other_clock
from whetstone_common.core.joint_layout import NO_GRIPPER_OPENING
from whetstone_common.core.joint_parts import JointMessage, JointParts, JointStateError, shown
from whetstone_common.core.reason import Reason, ReasonedError
from whetstone_common.core.robot import Robot

Array = npt.NDArray[np.float64]
_NS_PER_S = 1_000_000_000
_REASONS = {
    "not_finite": Reason.NOT_FINITE,
    "second_source": Reason.SECOND_SOURCE,
    "no_clock": Reason.NO_CLOCK,
    "other_clock": Reason.OTHER_CLOCK,
}
# A refusal explains silence for this long after it; one of long ago does not.
_REFUSAL_SHOWN_S = 2.0


@dataclass(frozen=True, eq=False)
class JointSample:
    """Measured joints.

    Attributes:
        positions: (n,) rad, in the robot file's order.
        opening: Gripper, 0..1; open when the robot has none.
        stamp_ns: ROS time of the measurement; of the oldest arm joint, if they came in several messages.
        heard_s: When the message that is read longest was received, steady clock; infinite for the present moment.
        groups: Indices into `positions`, grouped by the message that they came in.
    """

    positions: Array
    opening: float
    stamp_ns: int
    heard_s: float = math.inf
    groups: tuple[tuple[int, ...], ...] = ()


class RobotJoints:
    """A robot's joints, merged from the messages of all its drivers.

    Args:
        robot: Whose joints count.
        confirm_back: As in `JointParts`.
        sim_time: Whether our clock follows /clock.
    """

    def __init__(self, robot: Robot, *, confirm_back: bool = True, sim_time: bool = False) -> None:
        self._robot = robot
        self._sim_time = sim_time
        self._wanted = robot.joint_layout.published
        self._parts = JointParts(self._wanted, robot.joint_states_topic, confirm_back=confirm_back)
        self._refusal: ReasonedError | None = None
        self._refused_s = -math.inf

    def update(self, message: JointMessage, now_s: float, ros_ns: int | None = None) -> JointSample | None:
        """Take a message in.

        Args:
            message: The message.
            now_s: Steady clock.
            ros_ns: ROS time, where it has to be the clock of the stamps.

        Returns:
            All joints as they are known now; None while some are missing, or when the message held none of them.

        Raises:
            ReasonedError: The message is refused as a whole; the text says why.
        """
        try:
            if ros_ns is not None:
                self._check_clock(message.stamp_ns, ros_ns)
            holds_ours = self._parts.take(message, round(now_s * _NS_PER_S))
        except JointStateError as error:
            self._refused_s = now_s
            text = f"joint states on {self._robot.joint_states_topic}: {error}"
            self._refusal = ReasonedError(_REASONS.get(error.kind, Reason.BAD_MESSAGE), text)
            raise self._refusal from error
        return self._sample() if holds_ours and not self._parts.missing else None

    def _check_clock(self, stamp_ns: int, ros_ns: int) -> None:
        if ros_ns <= 0:
            raise JointStateError("no_clock", NO_CLOCK)
        if stamp_ns <= 0:
            raise JointStateError("zero", UNSTAMPED)
        if why := other_clock(stamp_ns, ros_ns, sim_time=self._sim_time):
            raise JointStateError("other_clock", why)

    def _sample(self) -> JointSample:
        robot, parts = self._robot, self._parts
        opening = NO_GRIPPER_OPENING
        if robot.has_gripper:
            opening = robot.gripper.to_opening(parts.positions([robot.gripper.joint])[0])
        return JointSample(
            positions=np.array(parts.positions(robot.joints), dtype=np.float64),
            opening=opening,
            stamp_ns=parts.stamp_ns(robot.joints),
            heard_s=min(parts.heard_ns(self._wanted)) / _NS_PER_S,
            groups=parts.groups(robot.joints),
        )

    # ---- why there are none ------------------------------------------------------------------------------------------

    def loss(self, now_s: float) -> tuple[Reason, str]:
        """Why there is no joint state, or no longer one: what was refused meanwhile says more than the silence."""
        if self._parts.missing:
            text = self._parts.missing_text() or f"no joint states on {self._robot.joint_states_topic}"
            return self._refused(now_s) or (Reason.MISSING_STREAM, text)
        heard_s = min(self._parts.heard_ns(self._wanted)) / _NS_PER_S
        is_newer = self._refused_s > heard_s
        return (self._refused(now_s) if is_newer else None) or (Reason.JOINT_STATE_LOST, self._silence(now_s))

    def _refused(self, now_s: float) -> tuple[Reason, str] | None:
        if self._refusal is None or now_s - self._refused_s > _REFUSAL_SHOWN_S:
            return None
        return self._refusal.reason, self._refusal.detail

    def _silence(self, now_s: float) -> str:
        """Which joints are not heard any more, and for how long."""
        topic = self._robot.joint_states_topic
        ages_s = [now_s - heard_ns / _NS_PER_S for heard_ns in self._parts.heard_ns(self._wanted)]
        longest_s = max(ages_s)
        silent = [name for name, age_s in zip(self._wanted, ages_s, strict=True) if age_s > 0.5 * longest_s]
        if len(silent) == len(self._wanted):
            return f"{topic} silent for {longest_s:.2f} s"
        return f"{shown(silent)} on {topic} silent for {longest_s:.2f} s, the other joints are heard"

    def conflict(self, now_s: float) -> str:
        """Two publishers of one joint in words while both speak, else empty."""
        return self._parts.conflict(round(now_s * _NS_PER_S))
