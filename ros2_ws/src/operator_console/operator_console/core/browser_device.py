# SPDX-License-Identifier: Apache-2.0
"""Keys and gamepad of a browser as an operator's device: unlike a terminal, a browser tells when a key is let go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from robot_operation.core.devices import GRIPPER_KEY, MOVE_KEYS, TAKE_KEY, Intent

DRIVE_KEYS = frozenset({*MOVE_KEYS, TAKE_KEY, GRIPPER_KEY})
# "Standard" layout of the W3C Gamepad recommendation: axes 0..3 are left x y and right x y, buttons by number.
_AXES, _BUTTONS = 4, 17
_CLUTCH_LEFT, _CLUTCH_RIGHT, _GRIPPER_BUTTON = 4, 5, 0
_UP, _DOWN, _DEADBAND = 12, 13, 0.12


@dataclass(frozen=True)
class Gamepad:
    """A gamepad of standard layout.

    Attributes:
        axes: Left x y, right x y, -1..1, right and down positive.
        buttons: Whether each is held.
    """

    axes: tuple[float, ...]
    buttons: tuple[bool, ...]

    @classmethod
    def of(cls, axes: Sequence[float], buttons: Sequence[bool]) -> Gamepad:
        """Gamepad as the browser reports it; what is missing is at rest.

        Raises:
            ValueError: An axis is not finite.
        """
        given = [float(axis) for axis in axes[:_AXES]]
        if not np.isfinite(given).all():
            raise ValueError(f"gamepad axes {given} are not finite")
        rest = (0.0,) * (_AXES - len(given))
        held = tuple(bool(button) for button in buttons[:_BUTTONS])
        return cls((*np.clip(given, -1.0, 1.0).tolist(), *rest), held + (False,) * (_BUTTONS - len(held)))

    @property
    def clutch(self) -> bool:
        """Whether a shoulder button is held: the deadman."""
        return self.buttons[_CLUTCH_LEFT] or self.buttons[_CLUTCH_RIGHT]

    @property
    def direction(self) -> npt.NDArray[np.float64]:
        """(6,) share of full speed: left stick in the plane, directional pad up and down, right stick turns."""
        x, y, turn, tilt = (0.0 if abs(axis) < _DEADBAND else axis for axis in self.axes)
        lift = float(self.buttons[_UP]) - float(self.buttons[_DOWN])
        return np.array([-y, -x, lift, 0.0, -tilt, -turn])


class BrowserDevice:
    """What the page in control holds down.

    Args:
        deadman_s: How long the operator keeps the arm after the last key was let go: the time between two keys.
        stale_s: Inputs older than this move nothing: the page hangs, or the network does.
    """

    def __init__(self, deadman_s: float, stale_s: float) -> None:
        self._deadman_s, self._stale_s = deadman_s, stale_s
        self._keys: frozenset[str] = frozenset()
        self._pad: Gamepad | None = None
        self._opening = float("nan")
        self._heard_s = self._held_s = float("-inf")
        self._speed = 1.0

    @property
    def speed(self) -> float:
        """Share of full speed, 0..1."""
        return self._speed

    @speed.setter
    def speed(self, share: float) -> None:
        if not 0.0 < share <= 1.0:
            raise ValueError(f"speed is {share}, must be above 0 and at most 1")
        self._speed = share

    def update(self, keys: frozenset[str], pad: Gamepad | None, now_s: float) -> None:
        """The page says what is held down."""
        drives = keys & DRIVE_KEYS
        before = GRIPPER_KEY in self._keys or (self._pad is not None and self._pad.buttons[_GRIPPER_BUTTON])
        now = GRIPPER_KEY in drives or (pad is not None and pad.clutch and pad.buttons[_GRIPPER_BUTTON])
        if now and not before:
            self._opening = 0.0 if not self._opening <= 0.5 else 1.0
        self._keys, self._pad, self._heard_s = drives, pad, now_s
        if drives or (pad is not None and pad.clutch):
            self._held_s = now_s

    def let_go(self) -> None:
        """Nobody holds anything any more."""
        self._keys, self._pad, self._held_s = frozenset(), None, float("-inf")

    def intent(self, now_s: float) -> Intent:
        """See `robot_operation.core.devices.Device`; not alive when the inputs are stale."""
        engaged = now_s - self._held_s < self._deadman_s
        if not engaged:
            self._opening = float("nan")
        return Intent(engaged, self._direction() * self._speed, self._opening, now_s - self._heard_s <= self._stale_s)

    def _direction(self) -> npt.NDArray[np.float64]:
        direction = np.zeros(6)
        for key in self._keys & MOVE_KEYS.keys():
            axis, sign = MOVE_KEYS[key]
            direction[axis] += sign
        if self._pad is not None and self._pad.clutch:
            direction += self._pad.direction
        return np.clip(direction, -1.0, 1.0)
