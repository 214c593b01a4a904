# SPDX-License-Identifier: Apache-2.0
"""The last thing that every command passes: pure functions that bound what the arm is told.

Why it holds for any input: a motion is *safe* when braking from it as hard as the acceleration limit allows stays
inside position limits and workspace. From a safe motion, braking is always possible and leads to a safe motion;
everything else is only chosen when it is safe too. So the wish never enters the argument, only the first motion does.

Order of the checks: finite first, because every comparison with NaN is false.

Legend: n joints, positions in rad, velocities in rad/s, dt_s seconds between two commands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import numpy.typing as npt

from whetstone_common.core.robot import MotionLimits

Array = npt.NDArray[np.float64]
TcpPosition = Callable[[Array], Array]  # (n,) rad -> (3,) m, base frame

_TOLERANCE_RAD = 1e-9  # rounding, not motion
_TOLERANCE_M = 1e-9
_SHARES = (1.0, 0.5, 0.25)  # of the way from braking to the wish, tried in this order at the edge of the workspace


class LimitVerdict(Enum):
    """What became of a wish."""

    PASSED = "passed"
    CLAMPED = "clamped"
    REFUSED = "refused"
    NOT_FINITE = "not_finite"


@dataclass(frozen=True, eq=False)
class Motion:
    """What the arm was last told.

    Attributes:
        position: (n,) rad.
        velocity: (n,) rad/s, the difference to the command before divided by dt.
        opening: Gripper, 0..1.
    """

    position: Array
    velocity: Array
    opening: float

    @property
    def at_rest(self) -> bool:
        """Whether nothing moves."""
        return not np.any(self.velocity)


@dataclass(frozen=True, eq=False)
class Limited:
    """A wish after the limits.

    Attributes:
        motion: What may be sent.
        verdict: What became of the wish.
        excess_rad: Largest distance between wish and command of any joint.
    """

    motion: Motion
    verdict: LimitVerdict
    excess_rad: float = 0.0


def limit(target: Array, opening: float, last: Motion, limits: MotionLimits, dt_s: float, tcp: TcpPosition) -> Limited:
    """The nearest allowed command to a wish.

    Small excess is clamped. A wish that is not finite or further than `excess_rad` from anything allowed is refused:
    the result then is one step of braking.

    Args:
        target: (n,) rad where the arm should be at the next command.
        opening: Where the gripper should be.
        last: The command before.
        limits: The bounds.
        dt_s: Time until the next command.
        tcp: Forward kinematics.
    """
    if not (np.isfinite(target).all() and np.isfinite(opening)):
        return Limited(brake(last, limits, dt_s), LimitVerdict.NOT_FINITE, np.inf)
    velocity = _joint_velocity(target, last, limits, dt_s)
    velocity = _inside_workspace(velocity, last, limits, dt_s, tcp)
    motion = Motion(last.position + velocity * dt_s, velocity, _opening(opening, last.opening, limits, dt_s))
    excess = float(np.abs(target - motion.position).max())
    if excess > limits.excess_rad:
        return Limited(brake(last, limits, dt_s), LimitVerdict.REFUSED, excess)
    clamped = excess > _TOLERANCE_RAD
    return Limited(motion, LimitVerdict.CLAMPED if clamped else LimitVerdict.PASSED, excess)


def brake(last: Motion, limits: MotionLimits, dt_s: float) -> Motion:
    """One step of the hardest allowed braking; the gripper stays."""
    velocity = _braked(last.velocity, limits, dt_s)
    return replace(last, position=last.position + velocity * dt_s, velocity=velocity)


def too_far(target: Array, last: Motion, limits: MotionLimits, duration_s: float) -> bool:
    """Whether a target lies further than the joints could go in `duration_s`, by more than `excess_rad`."""
    if not np.isfinite(target).all():
        return True
    away = np.abs(target - last.position) - limits.velocity * duration_s
    return bool((away > limits.excess_rad).any())


def seed(measured: Array, opening: float, limits: MotionLimits) -> Motion:
    """The motion of an arm at rest, to start from.

    Raises:
        ValueError: A measured joint is not finite, or further outside its limits than one step.
    """
    if not (np.isfinite(measured).all() and np.isfinite(opening)):
        raise ValueError("measured joints are not finite")
    inside = np.clip(measured, limits.lower, limits.upper)
    out = np.abs(measured - inside)
    if (out > limits.step).any():
        joint = int(out.argmax())
        raise ValueError(f"joint {joint} is at {measured[joint]:.3f} rad, {out[joint]:.3f} rad outside its limits")
    return Motion(inside, np.zeros_like(inside), float(np.clip(opening, 0.0, 1.0)))


def box_excess_m(position: Array, limits: MotionLimits) -> float:
    """How far a TCP position (3,) lies outside the workspace; 0 inside."""
    out = np.maximum(limits.box_lower - position, position - limits.box_upper)
    return max(0.0, float(out.max()))


def stopping_rad(velocity: Array, limits: MotionLimits, dt_s: float) -> Array:
    """(n,) how far each joint still goes when it brakes from `velocity` in steps of `dt_s`."""
    loss = limits.acceleration * dt_s
    speed = np.abs(velocity)
    steps = np.floor(speed / loss)
    return np.asarray(np.sign(velocity) * dt_s * (steps * speed - loss * steps * (steps + 1) / 2))


def _joint_velocity(target: Array, last: Motion, limits: MotionLimits, dt_s: float) -> Array:
    """(n,) velocity towards the wish within velocity, step, acceleration and position limits."""
    braked = _braked(last.velocity, limits, dt_s)
    fastest = np.minimum(limits.velocity, limits.step / dt_s)
    change = limits.acceleration * dt_s
    away = np.clip(target, limits.lower, limits.upper) - last.position
    exact = away / dt_s
    feasible = (np.abs(exact - last.velocity) <= change) & (np.abs(exact) <= fastest)
    # Too far for one step: go as fast as still lets the joint stop at the wish.
    wanted = np.where(feasible, exact, np.sign(away) * _speed_to_stop_within(np.abs(away), limits, dt_s))
    slowest, quickest = np.maximum(last.velocity - change, -fastest), np.minimum(last.velocity + change, fastest)
    wanted = np.clip(wanted, slowest, quickest)
    # One joint that must be slower slows all of them: each for itself would bend the way, and tilt the hand.
    wanted = np.clip(_common_share(wanted, exact) * exact, slowest, quickest)
    return _inside_position(wanted, braked, last, limits, dt_s)


def _common_share(wanted: Array, exact: Array) -> float:
    """Of the way to the wish, what every joint can go; a joint that still has to turn round does not count."""
    moves = wanted * exact > 0.0
    return float(np.min(wanted[moves] / exact[moves], initial=1.0))


def _inside_position(wanted: Array, braked: Array, last: Motion, limits: MotionLimits, dt_s: float) -> Array:
    room_up = _speed_to_stop_within(limits.upper - last.position, limits, dt_s)
    room_down = _speed_to_stop_within(last.position - limits.lower, limits, dt_s)
    # Braking is safe by induction, so it may be taken even where rounding says that there is no room left.
    return np.asarray(np.clip(wanted, np.minimum(braked, -room_down), np.maximum(braked, room_up)))


def _speed_to_stop_within(distance: Array, limits: MotionLimits, dt_s: float) -> Array:
    """(n,) a speed from which one more step and then braking needs no more than `distance`."""
    room = np.maximum(distance, 0.0)
    a = limits.acceleration
    # v dt + v^2 / 2a - v dt / 2 + a dt^2 / 8 bounds the way in discrete steps; solved for v.
    curved = np.sqrt(2.0 * a * room) - a * dt_s / 2.0
    within_one_step = np.minimum(room / dt_s, a * dt_s)
    return np.asarray(np.minimum(np.maximum(curved, within_one_step), room / dt_s))


def _inside_workspace(velocity: Array, last: Motion, limits: MotionLimits, dt_s: float, tcp: TcpPosition) -> Array:
    """The velocity itself, or the largest tried share of it from which braking stays in the workspace."""
    here = box_excess_m(tcp(last.position), limits)
    braked = _braked(last.velocity, limits, dt_s)
    for share in _SHARES:
        candidate = braked + share * (velocity - braked)
        if _stays_inside(candidate, last.position, here, limits, dt_s, tcp):
            return candidate
    return braked


def _stays_inside(
    velocity: Array, position: Array, allowed_m: float, limits: MotionLimits, dt_s: float, tcp: TcpPosition
) -> bool:
    """Whether the step and the braking after it leave the workspace by no more than `allowed_m`."""
    while True:
        position = position + velocity * dt_s
        point = tcp(position)
        if box_excess_m(point, limits) > allowed_m + _TOLERANCE_M:
            return False
        rest = np.abs(stopping_rad(velocity, limits, dt_s)).sum()
        edge = min(float((point - limits.box_lower).min()), float((limits.box_upper - point).min()))
        # The TCP cannot move further than reach times the joints' way: mostly one look is enough.
        if rest * limits.reach_m <= max(edge, 0.0):
            return True
        velocity = _braked(velocity, limits, dt_s)


def _braked(velocity: Array, limits: MotionLimits, dt_s: float) -> Array:
    loss = limits.acceleration * dt_s
    return np.asarray(np.sign(velocity) * np.maximum(np.abs(velocity) - loss, 0.0))


def _opening(target: float, last: float, limits: MotionLimits, dt_s: float) -> float:
    change = limits.gripper_rate_per_s * dt_s
    return min(max(min(max(target, 0.0), 1.0), last - change), last + change)
