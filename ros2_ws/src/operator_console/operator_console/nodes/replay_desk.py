# SPDX-License-Identifier: Apache-2.0
"""What pages may do about replays, and who takes the arm from one."""

from __future__ import annotations

from operator_console.core.commands import CommandRefusedError
from operator_console.core.operator_seat import OperatorSeat
from operator_console.core.playback import PlaybackError
from operator_console.nodes.command_desk import CommandDesk
from operator_console.nodes.commander import Answer
from operator_console.nodes.recording_desk import RecordingDesk
from operator_console.nodes.replay_driver import ReplayDriver
from robot_operation.core.devices import Intent


class ReplayDesk:
    """Implements `web.interface.Replays`.

    Args:
        seat: Knows who is in control.
        desk: Takes the commands of pages.
        recordings: Episodes to replay.
        driver: Drives the arm.
    """

    def __init__(self, seat: OperatorSeat, desk: CommandDesk, recordings: RecordingDesk, driver: ReplayDriver) -> None:
        self._seat, self._desk, self._recordings, self._driver = seat, desk, recordings, driver
        self._key = ""  # of the page that has started the newest replay
        self._is_driven = False  # by the keys or the gamepad of the page in control

    @property
    def status(self) -> str:
        """See `Replays`."""
        return self._driver.status

    def start(self, key: str, viewer: str, collection: str, name: str, speed: float) -> Answer:
        """See `Replays`."""

        def do(answer: Answer) -> None:
            if self._is_driven:
                answer.set_exception(CommandRefusedError("you drive the arm: let go of the keys for a moment first"))
                return
            try:
                episode = self._recordings.playback(collection, name)
            except PlaybackError as error:
                answer.set_exception(CommandRefusedError(str(error)))
                return
            self._key = key
            self._driver.start(name, episode, speed, answer)

        return self._desk.ask(key, viewer, f"replay {name!r} at {speed:g} of its speed", do)

    def stop(self, key: str, viewer: str) -> Answer:
        """See `Replays`."""
        return self._desk.act(key, viewer, "stop replay", self._driver.stop)

    def turn(self, intent: Intent) -> bool:
        """Let the replay drive, if there is one; a page that drives itself takes the arm from it.

        Args:
            intent: Of the page in control.

        Returns:
            Whether the replay drives.
        """
        self._is_driven = intent.engaged
        if intent.engaged:
            self._driver.forget("the operator drives")
        elif self._driver.is_running and not self._seat.controls(self._key):
            self._driver.stop()
        self._driver.turn()
        return self._driver.is_running

    def lose_operator(self, why: str) -> None:
        """The arm is stopped because its operator is lost."""
        self._driver.forget(why)
