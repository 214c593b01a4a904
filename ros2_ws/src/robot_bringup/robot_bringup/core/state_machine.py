# SPDX-License-Identifier: Apache-2.0
"""What the arm may do: a small value with one method per event.

Stopping is a state with a reason. It is left by an explicit reset and by nothing else; the emergency stop is latched
and cannot even be reset while it is pressed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from whetstone_common.core.reason import Reason, State, sentence


class Mode(Enum):
    """What the arm node does with commands."""

    DISARMED = "disarmed"  # refuses motion until armed
    READY = "ready"  # armed, does not move
    RUNNING = "running"  # plays chunks, or a human drives
    HOLDING = "holding"  # holds, goes on by itself
    STOPPED = "stopped"  # needs a reset


_STATES = {
    Mode.DISARMED: State.READY,
    Mode.READY: State.READY,
    Mode.RUNNING: State.RUNNING,
    Mode.HOLDING: State.HOLDING,
    Mode.STOPPED: State.STOPPED,
}
# Failures of the node itself, not of what is around it.
_ERRORS = {Reason.CALLBACK_EXCEPTION}


class Refused(Exception):
    """The event is not allowed now; the text says why."""


@dataclass(frozen=True)
class ArmState:
    """Mode, reason, and what must outlive a stop.

    Attributes:
        mode: What the arm node does.
        reason: Why.
        detail: In words: stream, value, range.
        armed: Whether a reset leads to READY (or to DISARMED).
        estop: Whether the emergency stop is pressed.
    """

    mode: Mode = Mode.DISARMED
    reason: Reason = Reason.DISARMED
    detail: str = ""
    armed: bool = False
    estop: bool = False

    @property
    def moving(self) -> bool:
        """Whether commands other than a hold ramp may be sent."""
        return self.mode in (Mode.RUNNING, Mode.HOLDING)

    @property
    def status(self) -> State:
        """State for the status message."""
        if self.mode is Mode.STOPPED and self.reason in _ERRORS:
            return State.ERROR
        return _STATES[self.mode]

    @property
    def _words(self) -> str:
        return "disarmed" if self.mode is Mode.DISARMED else sentence(self.status, self.reason, self.detail)

    def arm(self) -> ArmState:
        """Allow motion.

        Raises:
            Refused: Not DISARMED, or the emergency stop is pressed.
        """
        if self.estop:
            raise Refused(f"the emergency stop is {self.detail}")
        if self.mode is Mode.STOPPED:
            raise Refused(f"the arm is {self._words}; reset it first")
        if self.moving:
            raise Refused("already running")
        return ArmState(Mode.READY, Reason.NONE, armed=True)

    def disarm(self, detail: str = "", reason: Reason = Reason.DISARMED) -> ArmState:
        """Refuse motion until armed; a stop stays a stop."""
        if self.mode is Mode.STOPPED:
            return replace(self, armed=False)
        return ArmState(Mode.DISARMED, reason, detail, estop=self.estop)

    def reset(self) -> ArmState:
        """Leave STOPPED; READY stays, so that who asks twice is not told off.

        Raises:
            Refused: Running or disarmed, or the emergency stop is pressed.
        """
        if self.estop:
            raise Refused(f"the emergency stop is {self.detail}")
        if self.mode is Mode.READY:
            return self
        if self.mode is not Mode.STOPPED:
            raise Refused(f"nothing to reset: the arm is {self._words}")
        return ArmState(Mode.READY, Reason.NONE, armed=True) if self.armed else ArmState()

    def resume(self) -> ArmState:
        """READY to RUNNING.

        Raises:
            Refused: Not READY.
        """
        if self.mode is not Mode.READY:
            raise Refused(f"resume needs an armed arm at rest, it is {self._words}")
        return replace(self, mode=Mode.RUNNING, reason=Reason.NONE, detail="")

    def pause(self, reason: Reason = Reason.NONE, detail: str = "") -> ArmState:
        """RUNNING or HOLDING to READY; READY stays.

        Raises:
            Refused: STOPPED or DISARMED.
        """
        if self.mode is Mode.READY:
            return self
        if not self.moving:
            raise Refused(f"pause needs a running arm, it is {self._words}")
        return replace(self, mode=Mode.READY, reason=reason, detail=detail)

    def run(self, reason: Reason = Reason.NONE) -> ArmState:
        """HOLDING to RUNNING, or another reason to run; anything else stays as it is."""
        return replace(self, mode=Mode.RUNNING, reason=reason, detail="") if self.moving else self

    def hold(self, reason: Reason, detail: str) -> ArmState:
        """RUNNING to HOLDING; anything else stays as it is."""
        return replace(self, mode=Mode.HOLDING, reason=reason, detail=detail) if self.moving else self

    def stop(self, reason: Reason, detail: str = "") -> ArmState:
        """Any mode to STOPPED. A stop keeps its first reason, but an emergency stop overrides it."""
        if self.mode is Mode.STOPPED and reason is not Reason.ESTOP:
            return self
        return replace(self, mode=Mode.STOPPED, reason=reason, detail=detail)

    def continue_takeover(self) -> ArmState:
        """STOPPED after a lost operator to RUNNING when the operator is back; any other state stays."""
        lost = self.mode is Mode.STOPPED and self.reason is Reason.TAKEOVER_LOST and self.armed and not self.estop
        return replace(self, mode=Mode.RUNNING, reason=Reason.TAKEOVER, detail="") if lost else self

    def press_estop(self, detail: str = "pressed") -> ArmState:
        """Stop and latch."""
        return replace(self.stop(Reason.ESTOP, detail), estop=True)

    def release_estop(self) -> ArmState:
        """The button is up; the stop stays."""
        return replace(self, estop=False, detail="released, needs a reset" if self.estop else self.detail)
