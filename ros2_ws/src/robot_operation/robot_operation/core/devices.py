# SPDX-License-Identifier: Apache-2.0
"""Operator devices: keys and sticks in, intents out. A device is anything with `intent`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from robot_operation.core.marks import MARK_KEYS, Mark

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Intent:
    """What the operator commands now.

    Attributes:
        engaged: Deadman held.
        direction: (6,) share of full speed, -1..1, along and about x y z of the base frame.
        opening: Gripper, NaN leaves it as it is.
        alive: Whether the device still speaks; silence is for the arm to notice.
    """

    engaged: bool
    direction: Array
    opening: float = float("nan")
    alive: bool = True


class Device(Protocol):
    """Input device of an operator."""

    def intent(self, now_s: float) -> Intent:
        """What the operator commands (steady clock, s)."""


@dataclass(frozen=True)
class Pressed:
    """What happened at once.

    Attributes:
        estop: True pressed, False released, None unchanged.
        marks: Said about the episode.
    """

    estop: bool | None = None
    marks: tuple[Mark, ...] = ()


MOVE_KEYS: Mapping[str, tuple[int, float]] = {
    "w": (0, 1.0), "s": (0, -1.0),
    "a": (1, 1.0), "d": (1, -1.0),
    "r": (2, 1.0), "f": (2, -1.0),
    "u": (3, 1.0), "o": (3, -1.0),
    "i": (4, 1.0), "k": (4, -1.0),
    "j": (5, 1.0), "l": (5, -1.0),
}  # fmt: skip
ESTOP_KEY, RELEASE_KEY, TAKE_KEY, GRIPPER_KEY = " ", "z", "t", "g"
KEYBOARD_HELP = (
    "hold t or a motion key to take over, let go to give back; w s a d r f move, u o i k j l turn, g gripper; "
    "space EMERGENCY STOP, z releases it; y success, n failure, c scene is reset, q abort"
)


class Keyboard:
    """A terminal's keys. It tells no release, so the deadman is that keys keep coming.

    Args:
        deadman_s: Without a key for this long the operator has let go.
        key_s: How long one key moves the arm.
    """

    def __init__(self, deadman_s: float, key_s: float) -> None:
        self._deadman_s = deadman_s
        self._key_s = key_s
        self._any_s = float("-inf")
        self._at_s = np.full((6, 2), -np.inf)  # last press of each direction and sign
        self._opening = float("nan")

    def press(self, keys: str, now_s: float) -> Pressed:
        """Keys arrived."""
        estop: bool | None = None
        marks: list[Mark] = []
        for key in keys:
            if key == ESTOP_KEY:
                estop = True
            elif key == RELEASE_KEY and estop is None:
                estop = False
            elif key in MARK_KEYS:
                marks.append(MARK_KEYS[key])
            elif key in MOVE_KEYS or key in (TAKE_KEY, GRIPPER_KEY):
                self._drive(key, now_s)
        return Pressed(estop, tuple(marks))

    def _drive(self, key: str, now_s: float) -> None:
        self._any_s = now_s
        if key == GRIPPER_KEY:
            self._opening = 0.0 if not self._opening <= 0.5 else 1.0
        elif key in MOVE_KEYS:
            axis, sign = MOVE_KEYS[key]
            self._at_s[axis, int(sign > 0.0)] = now_s

    def intent(self, now_s: float) -> Intent:
        """See `Device`."""
        held = (now_s - self._at_s) < self._key_s
        direction = held[:, 1].astype(np.float64) - held[:, 0].astype(np.float64)
        engaged = now_s - self._any_s < self._deadman_s
        if not engaged:
            self._opening = float("nan")
        return Intent(engaged, direction, self._opening)


@dataclass(frozen=True)
class JoyMap:
    """Which axis and button means what; -1 for none.

    Attributes:
        axes: Six axes, for x y z and turns about x y z.
        signs: Factor of each.
        deadband: Deflection below this is none.
        deadman: Button held while the operator drives.
        gripper: Button that toggles the gripper.
        estop: Button of the emergency stop.
        success: Button that marks success.
        failure: Button that marks failure.
    """

    axes: tuple[int, ...]
    signs: tuple[float, ...]
    deadband: float
    deadman: int
    gripper: int
    estop: int
    success: int
    failure: int


class JoystickError(ValueError):
    """A message of a joystick that may not drive.

    Attributes:
        pressed: What counts all the same.
    """

    def __init__(self, text: str, pressed: Pressed) -> None:
        """Keep both."""
        super().__init__(text)
        self.pressed = pressed


class Joystick:
    """A joystick or gamepad.

    Args:
        meaning: Which axis and button means what.
        timeout_s: Silent for longer than this it is unplugged.
    """

    def __init__(self, meaning: JoyMap, timeout_s: float) -> None:
        self._map = meaning
        self._timeout_s = timeout_s
        self._updated_s = float("-inf")
        self._direction = np.zeros(6)
        self._buttons: tuple[bool, ...] = ()
        self._opening = float("nan")

    def update(self, axes: Sequence[float], buttons: Sequence[int], now_s: float) -> Pressed:
        """A message arrived.

        Raises:
            JoystickError: An axis is not finite or a mapped one is missing. The emergency stop counts all the same.
        """
        pressed = tuple(bool(button) for button in buttons)
        try:
            self._direction = self._read(axes)
        except ValueError as error:
            old, self._buttons = self._buttons, pressed
            raise JoystickError(str(error), Pressed(True if self._edge(old, self._map.estop) else None)) from error
        old, self._buttons = self._buttons, pressed
        self._updated_s = now_s
        if self._edge(old, self._map.gripper):
            self._opening = 0.0 if not self._opening <= 0.5 else 1.0
        marks = []
        if self._edge(old, self._map.success):
            marks.append(Mark.SUCCESS)
        if self._edge(old, self._map.failure):
            marks.append(Mark.FAILURE)
        return Pressed(True if self._edge(old, self._map.estop) else None, tuple(marks))

    def _read(self, axes: Sequence[float]) -> Array:
        direction = np.zeros(6)
        for k, (axis, sign) in enumerate(zip(self._map.axes, self._map.signs, strict=True)):
            if axis < 0:
                continue
            if axis >= len(axes) or not np.isfinite(axes[axis]):
                raise ValueError(f"joystick axis {axis} is missing or not finite")
            value = float(np.clip(axes[axis], -1.0, 1.0))
            direction[k] = sign * value if abs(value) >= self._map.deadband else 0.0
        return direction

    def _down(self, buttons: tuple[bool, ...], index: int) -> bool:
        return 0 <= index < len(buttons) and buttons[index]

    def _edge(self, old: tuple[bool, ...], index: int) -> bool:
        return self._down(self._buttons, index) and not self._down(old, index)

    def intent(self, now_s: float) -> Intent:
        """See `Device`."""
        engaged = self._down(self._buttons, self._map.deadman)
        if not engaged:
            self._opening = float("nan")
        return Intent(engaged, self._direction, self._opening, alive=now_s - self._updated_s <= self._timeout_s)


class NoDevice:
    """No device: marks and stops come from elsewhere."""

    def intent(self, now_s: float) -> Intent:
        """See `Device`."""
        return Intent(engaged=False, direction=np.zeros(6))
