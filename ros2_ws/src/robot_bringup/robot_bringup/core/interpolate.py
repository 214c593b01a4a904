# SPDX-License-Identifier: Apache-2.0
"""From policy steps (20 Hz) to setpoints at the control rate."""

from __future__ import annotations

from dataclasses import dataclass

from robot_bringup.core.cartesian import Target


@dataclass(frozen=True, eq=False)
class MotionSegment:
    """An even way from one target to the next, in joint space.

    Steps are 50 ms long: over that time the joint-space line leaves the Cartesian one by a fraction of a millimetre,
    and it costs one solution of the inverse kinematics per step instead of one per setpoint.

    Attributes:
        start: Where it begins.
        end: Where it leads.
        start_s: When it begins (steady clock).
        duration_s: How long it takes; 0 means at once (lockstep, where one command is one step).
    """

    start: Target
    end: Target
    start_s: float
    duration_s: float

    def at(self, time_s: float) -> Target:
        """Setpoint at a time; before the start it is the start, after the end the end."""
        if self.duration_s <= 0.0:
            return self.end
        share = self.share(min(1.0, max(0.0, (time_s - self.start_s) / self.duration_s)))
        joints = self.start.joints + share * (self.end.joints - self.start.joints)
        # A gripper has no way to go smoothly: its opening is absolute and its own rate limit follows.
        return Target(joints, self.end.opening)

    def share(self, elapsed: float) -> float:
        """Share of the way at a share of the time."""
        return elapsed

    def done(self, time_s: float) -> bool:
        """Whether the end is reached."""
        return time_s >= self.start_s + self.duration_s


class LastSegment(MotionSegment):
    """A way that ends at rest: even deceleration, begun at the speed of an even way of half the duration.

    Where the arm holds after a step, an even way would end at full speed and the hold ramp would carry it past its
    target.
    """

    def share(self, elapsed: float) -> float:
        """See `MotionSegment`."""
        return elapsed * (2.0 - elapsed)
