# SPDX-License-Identifier: Apache-2.0
"""Node of the operator: takeover, emergency stop, and marks."""

from __future__ import annotations

import termios
import time
from typing import Any

from sensor_msgs.msg import Joy
from std_msgs.msg import Bool
from vla_interfaces.msg import EpisodeMark, Takeover

from robot_operation.core.devices import (
    KEYBOARD_HELP,
    Device,
    Intent,
    JoyMap,
    Joystick,
    JoystickError,
    Keyboard,
    NoDevice,
    Pressed,
)
from robot_operation.nodes.gated_stream import GatedStream
from robot_operation.nodes.intervention_monitor import InterventionMonitor
from robot_operation.nodes.mark_convert import to_mark_message
from robot_operation.nodes.takeover_stream import TakeoverStream
from robot_operation.nodes.terminal import Terminal
from whetstone_common.core.reason import Reason, ReasonedError, State
from whetstone_common.nodes import qos
from whetstone_common.nodes.main import run
from whetstone_common.nodes.node import WhetstoneNode


class OperatorNode(WhetstoneNode):
    """Publishes takeover, estop and mark; a stream while engaged, one message on release."""

    def __init__(self, **kwargs: Any) -> None:
        """See `WhetstoneNode`."""
        self._device: Device = NoDevice()
        self._terminal: Terminal | None = None
        self._monitor: InterventionMonitor | None = None
        self._stream_gate: GatedStream | None = None
        self._stream: TakeoverStream | None = None
        self._scripted_on = False
        super().__init__("operator_node", package="robot_operation", **kwargs)

    # ---- lifecycle -------------------------------------------------------------------------------------------------

    def on_setup(self) -> None:
        """Open the device and the topics."""
        self._stream = TakeoverStream(self)
        self._estop_publisher = self.create_publisher(Bool, self.param("estop_topic"), qos.ESTOP[0])
        self._mark_publisher = self.create_publisher(EpisodeMark, "mark", qos.RING)
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
        self._stream_gate = GatedStream(self, self._forward)
        self.create_subscription(Takeover, self.param("scripted_topic"), self._on_script, qos.RING)
        self.create_subscription(Bool, "operator/engage", lambda msg: self._engage(engaged=msg.data), qos.LATCHED)
        if self.param("supervise"):
            self._monitor = InterventionMonitor(self, self._on_intervention)

    def on_start(self) -> None:
        """Say that nobody drives: whoever drove before a restart has let go."""
        self._release()
        if self.param("device") == "joy":
            self.set_state(
                State.STARTING, Reason.OPERATOR_LOST, f"no joystick message on {self.param('joy_topic')} yet"
            )
        else:
            self.set_state(State.READY)

    def on_stop(self) -> None:
        """Let go."""
        if self._stream is not None and self._stream.is_driving:
            self._release()

    def on_teardown(self) -> None:
        """Give the terminal back."""
        self._monitor = self._stream_gate = None
        if self._terminal is not None:
            self._terminal.close()
        self._terminal = None
        self._device = NoDevice()

    def safe_action(self, reason: Reason) -> None:
        """Stop streaming: the arm holds when an operator falls silent. Only an orderly end lets go."""
        if reason is not Reason.SHUTDOWN:
            self._stop_stream()

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
        self._publish_pressed(self._device.press(keys, now_s))
        self._send(self._device.intent(now_s))

    def _on_joy(self, msg: Joy) -> None:
        if not isinstance(self._device, Joystick):
            return
        try:
            self._publish_pressed(self._device.update(msg.axes, msg.buttons, time.monotonic()))
        except JoystickError as error:
            self._publish_pressed(error.pressed)
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
        self._send(intent)

    def _lose(self, detail: str) -> None:
        """The device is gone for good. Silence of a takeover is for the arm to notice; an episode must end."""
        self._stop_stream()
        if self._terminal is not None:
            self._terminal.close()
        self._terminal = None
        self.set_state(State.ERROR, Reason.OPERATOR_LOST, detail)

    def _on_script(self, msg: Takeover) -> None:
        if self.active and self._scripted_on and self._stream_gate is not None:
            self._stream_gate.put(msg)

    def _forward(self, msg: Takeover) -> None:
        self._stream.forward(msg)

    def _engage(self, *, engaged: bool) -> None:
        was, self._scripted_on = self._scripted_on, engaged
        self.counters["takeovers"] += engaged and not was
        if was and not engaged:
            self._release()

    def _on_intervention(self, drives: bool) -> None:  # noqa: FBT001 - the one thing that a callback tells
        if self.active:
            self._engage(engaged=drives)

    # ---- messages --------------------------------------------------------------------------------------------------

    def _publish_pressed(self, pressed: Pressed) -> None:
        if pressed.estop is not None:
            self.counters["estops"] += pressed.estop
            self._estop_publisher.publish(Bool(data=pressed.estop))
        for mark in pressed.marks:
            self._mark_publisher.publish(to_mark_message(mark, self))

    def _send(self, intent: Intent) -> None:
        if self.active:
            self._stream.send(intent)

    def _stop_stream(self) -> None:
        if self._stream is not None:
            self._stream.stop()
        if self._stream_gate is not None:
            self._stream_gate.release()

    def _release(self) -> None:
        self._stop_stream()
        self._stream.release()


def main() -> None:
    """Run the node."""
    run(OperatorNode)
