# SPDX-License-Identifier: Apache-2.0
"""Commands of pages: only of the page in control, carried out by the node's own thread, logged with their answer."""

from __future__ import annotations

import queue
from collections.abc import Callable

from operator_console.core.commands import CommandRefusedError
from operator_console.core.control import ControlError
from operator_console.core.operator_seat import OperatorSeat
from operator_console.nodes.commander import Answer


class CommandDesk:
    """Takes commands from the server's threads.

    Args:
        seat: Knows who is in control.
        note: Is told of each command: who gave it, what it was, what came of it.
    """

    def __init__(self, seat: OperatorSeat, note: Callable[[str, str, str], object]) -> None:
        self._seat, self._note = seat, note
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def ask(self, key: str, viewer: str, named: str, do: Callable[[Answer], None]) -> Answer:
        """Have something done that answers later.

        Args:
            key: Of the page.
            viewer: Who looks at it.
            named: What is asked, for the log.
            do: Does it, and sets the answer; called in the node's own thread.
        """
        answer = self._answer(viewer, named)
        if self._is_in_control(key, answer):
            # By the thread of the node: what a server's thread starts ends with that thread.
            self._jobs.put(lambda: do(answer))
        return answer

    def act(self, key: str, viewer: str, named: str, act: Callable[[], str]) -> Answer:
        """Have something done at once in the node's own thread; `act` returns the answer or refuses."""

        def do(answer: Answer) -> None:
            try:
                answer.set_result(act())
            except CommandRefusedError as error:
                answer.set_exception(error)

        return self.ask(key, viewer, named, do)

    def act_now(self, key: str, viewer: str, named: str, act: Callable[[], str]) -> Answer:
        """Do something in the caller's thread: what must not wait for the node."""
        answer = self._answer(viewer, named)
        if self._is_in_control(key, answer):
            answer.set_result(act())
        return answer

    def turn(self) -> None:
        """Do what was asked for; called by the node's own thread."""
        while not self._jobs.empty():
            self._jobs.get_nowait()()

    def _answer(self, viewer: str, named: str) -> Answer:
        """Answer of a command, which is logged when it is there."""
        answer: Answer = Answer()
        answer.add_done_callback(lambda done: self._note(viewer, named, _text_of(done)))
        return answer

    def _is_in_control(self, key: str, answer: Answer) -> bool:
        """Whether a page may command; the answer says why not."""
        try:
            self._seat.check(key)
        except ControlError as error:
            answer.set_exception(CommandRefusedError(str(error)))
            return False
        return True


def _text_of(answer: Answer) -> str:
    error = answer.exception()
    return f"refused: {error}" if error is not None else answer.result()
