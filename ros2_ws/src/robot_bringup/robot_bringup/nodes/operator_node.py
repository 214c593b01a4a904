# SPDX-License-Identifier: Apache-2.0
"""The person's node: takes over, stops, and says how it went."""

from __future__ import annotations

import termios
import time
from typing import Any

from sensor_msgs.msg import Joy
from std_msgs.msg import Bool, String
from vla_interfaces.msg import Takeover

from robot_bringup.core.operator import (
    KEYBOARD_HELP,
    Device,
    Intent,
    JoyMap,
    Joystick,
    JoystickError,
    Keyboard,
    Nobody,
    Pressed,
)
from robot_bringup.nodes.patient_stream import PatientStream
from robot_bringup.nodes.supervision import Supervision
from robot_bringup.nodes.terminal import Terminal
from whetstone_common.core.reason import Reason, ReasonedError, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.main import run
from whetstone_common.nodes.node import WhetstoneNode


class OperatorNode(WhetstoneNode):
    """Publishes takeover, estop and mark; a stream while engaged, one message on release."""

    def __init__(self, **kwargs: Any) -> None:
        """See `WhetstoneNode`."""
        self._device: Device = Nobody()
        self._terminal: Terminal | None = None
        self._supervision: Supervision | None = None
        self._script: PatientStream | None = None
        self._driving = False
        self._scripted_on = False
        self._sequence = 0
        super().__init__("operator_node", package="robot_bringup", **kwargs)

    # ---- lifecycle -------------------------------------------------------------------------------------------------

    def on_setup(self) -> None:
        """Open the device and the topics."""
        self._takeover_publisher = self.create_publisher(Takeover, "takeover", qos.RING)
        self._estop_publisher = self.create_publisher(Bool, self.param("estop_topic"), qos.ESTOP[0])
        self._mark_publisher = self.create_publisher(String, "mark", qos.RING)
        open_device = {
            "keyboard": self._open_keyboard,
            "joy": self._open_joy,
            "scripted": self._open_script,
        }.get(self.param("device"))
        if open_device is not None:
            open_device()

    def _open_keyboard(self) -> None:
        try:
            self._terminal = Terminal()
        except (OSError, termios.error) as error:
            detail = f"device keyboard needs a terminal ({error}): start it in one, or choose another operator"
            raise ReasonedError(Reason.OPERATOR_LOST, detail) from error
        self._device = Keyboard(self.param("deadman_s"), self.param("key_s"))
        self.get_logger().info(KEYBOARD_HELP)
        self.create_steady_timer(1.0 / self.param("rate_hz"), self._on_keyboard_timer)

    def _open_joy(self) -> None:
        meaning = JoyMap(
            axes=tuple(self.param("joy_axes")),
            signs=tuple(self.param("joy_signs")),
            deadband=self.param("joy_deadband"),
            deadman=self.param("joy_deadman_button"),
            gripper=self.param("joy_gripper_button"),
            estop=self.param("joy_estop_button"),
            success=self.param("joy_success_button"),
            failure=self.param("joy_failure_button"),
        )
        self._device = Joystick(meaning, self.param("joy_timeout_s"))
        self.create_subscription(Joy, self.param("joy_topic"), self._on_joy, qos.SENSOR_IN)
        self.create_steady_timer(1.0 / self.param("rate_hz"), self._on_joy_timer)

    def _open_script(self) -> None:
        self._scripted_on = self.param("scripted_engaged")
        self._script = PatientStream(self, self._forward)
        self.create_subscription(Takeover, self.param("scripted_topic"), self._on_script, qos.RING)
        self.create_subscription(Bool, "operator/engage", lambda msg: self._engage(engaged=msg.data), qos.LATCHED)
        if self.param("supervise"):
            self._supervision = Supervision(self, self._watched)

    def on_start(self) -> None:
        """Say that nobody drives: whoever drove before a restart has let go."""
        self._release()
        if self.param("device") == "joy":
            self.set_state(State.STARTING, Reason.OPERATOR_LOST, f"no joystick heard on {self.param('joy_topic')} yet")
        else:
            self.set_state(State.READY)

    def on_stop(self) -> None:
        """Let go."""
        if self._driving:
            self._release()

    def on_teardown(self) -> None:
        """Give the terminal back."""
        self._supervision = self._script = None
        if self._terminal is not None:
            self._terminal.close()
        self._terminal = None
        self._device = Nobody()

    def safe_action(self, reason: Reason) -> None:
        """Stop streaming: the arm holds when a person falls silent. Only an orderly end lets go."""
        if reason is not Reason.SHUTDOWN:
            self._let_go()

    # ---- devices ---------------------------------------------------------------------------------------------------

    def _on_keyboard_timer(self) -> None:
        if self._terminal is None or not isinstance(self._device, Keyboard):
            return
        now_s = time.monotonic()
        try:
            keys = self._terminal.keys()
        except OSError as error:
            self._lose(f"the terminal of the keyboard has gone ({error})")
            return
        self._tell(self._device.press(keys, now_s))
        self._stream(self._device.intent(now_s))

    def _on_joy(self, msg: Joy) -> None:
        if not isinstance(self._device, Joystick):
            return
        try:
            self._tell(self._device.hear(msg.axes, msg.buttons, time.monotonic()))
        except JoystickError as error:
            self._tell(error.pressed)
            self.counters["joy_refused"] += 1
            self.set_state(State.READY, Reason.BAD_MESSAGE, str(error))
            return
        if self.active:
            self.set_state(State.READY)

    def _on_joy_timer(self) -> None:
        intent = self._device.intent(time.monotonic())
        if not intent.alive and self.status[0] is State.READY:
            silent_s = self.param("joy_timeout_s")
            self.set_state(
                State.ERROR, Reason.OPERATOR_LOST, f"{self.param('joy_topic')} is silent for more than {silent_s:g} s"
            )
        self._stream(intent)

    def _lose(self, detail: str) -> None:
        """The device is gone for good. Silence of a takeover is for the arm to notice; an episode must end."""
        self._let_go()
        if self._terminal is not None:
            self._terminal.close()
        self._terminal = None
        self.set_state(State.ERROR, Reason.OPERATOR_LOST, detail)

    def _on_script(self, msg: Takeover) -> None:
        if self.active and self._scripted_on and self._script is not None:
            self._script.want(msg)

    def _forward(self, msg: Takeover) -> None:
        self._driving = True
        self._sequence += 1
        msg.source, msg.source_epoch = self.get_fully_qualified_name(), self.epoch_ns
        msg.sequence, msg.engaged = self._sequence, True
        self._takeover_publisher.publish(msg)

    def _engage(self, *, engaged: bool) -> None:
        was, self._scripted_on = self._scripted_on, engaged
        self.counters["takeovers"] += engaged and not was
        if was and not engaged:
            self._release()

    def _watched(self, drives: bool) -> None:  # noqa: FBT001 - the one thing that a callback tells
        if self.active:
            self._engage(engaged=drives)

    # ---- messages --------------------------------------------------------------------------------------------------

    def _tell(self, pressed: Pressed) -> None:
        if pressed.estop is not None:
            self.counters["estops"] += pressed.estop
            self._estop_publisher.publish(Bool(data=pressed.estop))
        for mark in pressed.marks:
            self._mark_publisher.publish(String(data=mark.value))

    def _stream(self, intent: Intent) -> None:
        if not self.active or not intent.alive:
            return
        if not intent.engaged:
            if self._driving:
                self._release()
            return
        self._driving = True
        msg = self._message(engaged=True)
        speeds = [self.param("linear_speed_m_s")] * 3 + [self.param("angular_speed_rad_s")] * 3
        msg.twist = [float(share) * speed for share, speed in zip(intent.direction, speeds, strict=True)]
        msg.gripper = float(intent.opening)
        self._takeover_publisher.publish(msg)

    def _let_go(self) -> None:
        self._driving = False
        if self._script is not None:
            self._script.let_go()

    def _release(self) -> None:
        self._let_go()
        self._takeover_publisher.publish(self._message(engaged=False))

    def _message(self, *, engaged: bool) -> Takeover:
        self._sequence += 1
        return Takeover(
            source=self.get_fully_qualified_name(),
            source_epoch=self.epoch_ns,
            sequence=self._sequence,
            engaged=engaged,
            mode=Takeover.VELOCITY,
            gripper=float("nan"),
            time=self.get_clock().now().to_msg(),
        )


def main() -> None:
    """Run the node."""
    run(OperatorNode)
