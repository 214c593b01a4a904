# SPDX-License-Identifier: Apache-2.0
"""The one seat of the operator: which page has it, and what that page holds down. Time is passed in.

Pages come from the threads of a server and time from the node's own, so every method takes a lock.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from operator_console.core.browser_device import BrowserDevice
from operator_console.core.control import ControlDesk, LostOperator
from operator_console.core.page_message import PageMessage, PageRequest
from robot_operation.core.devices import Intent


@dataclass(frozen=True)
class SeatView:
    """What one page shows of the seat.

    Attributes:
        controls: Whether this page is in control.
        operator: Who is, empty for nobody.
        viewers: How many pages are open.
        engaged: Whether this page drives the arm.
        speed: Share of full speed, 0..1.
        heartbeat_timeout_s: Silence after which the operator in control is lost.
    """

    controls: bool
    operator: str
    viewers: int
    engaged: bool
    speed: float
    heartbeat_timeout_s: float


class OperatorSeat:
    """Gives the device of the page in control to the arm, and of no other.

    Args:
        desk: Decides who is in control.
        device: Of whoever is.
    """

    def __init__(self, desk: ControlDesk, device: BrowserDevice) -> None:
        self._lock = threading.RLock()
        self._desk, self._device = desk, device

    @property
    def operator(self) -> str:
        """Who is in control, in words; empty for nobody."""
        with self._lock:
            return self._desk.operator

    def open(self, key: str, viewer: str, now_s: float) -> int:
        """A page has connected; returns the number of the connection."""
        with self._lock:
            return self._desk.open(key, viewer, now_s)

    def close(self, key: str, connection: int) -> LostOperator | None:
        """A connection has ended; returns who was lost by that."""
        with self._lock:
            return self._desk.close(key, connection)

    def hear(self, key: str, message: PageMessage, now_s: float) -> None:
        """A page was heard; what the one in control holds down counts, unless it presses the emergency stop."""
        with self._lock:
            self._desk.beat(key, now_s)
            if self._desk.controls(key) and message.request is not PageRequest.ESTOP:
                self._device.update(message.keys, message.pad, now_s)

    def take(self, key: str) -> None:
        """Give control to a page; nothing is held down at first.

        Raises:
            ControlError: Another one has it, or this one is not connected.
        """
        with self._lock:
            self._desk.take(key)
            self._device.let_go()

    def give(self, key: str) -> None:
        """A page gives control back.

        Raises:
            ControlError: It does not have it.
        """
        with self._lock:
            self._desk.check(key)
            self._desk.release(key)
            self._device.let_go()

    def check(self, key: str) -> None:
        """Refuse a page that is not in control.

        Raises:
            ControlError: It is not.
        """
        with self._lock:
            self._desk.check(key)

    def controls(self, key: str) -> bool:
        """Whether a page is in control."""
        with self._lock:
            return self._desk.controls(key)

    def set_speed(self, key: str, share: float) -> None:
        """Set the speed, as a share of full speed.

        Raises:
            ControlError: The page is not in control.
            ValueError: It is no share.
        """
        with self._lock:
            self._desk.check(key)
            self._device.speed = share

    def turn(self, now_s: float) -> tuple[LostOperator | None, Intent]:
        """Who has been lost by silence, told once; and what the page in control commands now."""
        with self._lock:
            return self._desk.check_heartbeat(now_s), self._device.intent(now_s)

    def let_go(self) -> None:
        """Nothing is held down any more."""
        with self._lock:
            self._device.let_go()

    def view(self, key: str, now_s: float) -> SeatView:
        """What a page shows now."""
        with self._lock:
            controls = self._desk.controls(key)
            return SeatView(
                controls=controls,
                operator=self._desk.operator,
                viewers=self._desk.viewers,
                engaged=controls and self._device.intent(now_s).engaged,
                speed=self._device.speed,
                heartbeat_timeout_s=self._desk.timeout_s,
            )
