# SPDX-License-Identifier: Apache-2.0
"""Commands for a training run that wait for the thread that owns it, those of each robot apart."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from experience.core.ledger import ReceiveResult
from rl_learner.core.training_run import TrainingRun

Command = Callable[[TrainingRun], ReceiveResult | None]
"""Something for the run, made of a message where the message is read: not in the callback."""

MOST_COMMANDS = 1024  # more are put off: they come again


class Inbox:
    """Queue of commands of one robot; one thread puts, another one takes.

    Attributes:
        gap: Something is missing before what came; whoever fetches it sets this back.
        problem: What is wrong with what comes, empty for nothing.
    """

    def __init__(self) -> None:
        self._commands: deque[Command] = deque()
        self.gap = False
        self.problem = ""

    def __len__(self) -> int:
        """Commands that were not taken yet."""
        return len(self._commands)

    def put(self, command: Command) -> bool:
        """Hand something over; False when there is too much already."""
        if len(self._commands) >= MOST_COMMANDS:
            return False
        self._commands.append(command)
        return True

    def clear(self) -> None:
        """Forget what waits."""
        self._commands.clear()

    def take(self, run: TrainingRun, on_transition: Callable[[], None]) -> bool:
        """Do what has waited longest, if the run has room; returns whether there was anything.

        Args:
            run: The commands are for.
            on_transition: Called when a transition was new.
        """
        if not self._commands or not run.has_room:
            return False
        command = self._commands.popleft()
        without_images = run.tally.without_images
        try:
            result = command(run)
        except ValueError as error:
            self.problem = str(error)
            return True
        self.gap = self.gap or result is ReceiveResult.GAP
        if result is ReceiveResult.NEW:
            # more of that kind will follow: a setting is wrong, not a number
            self.problem = run.intake.mismatch if run.tally.without_images > without_images else ""
            on_transition()
        return True


def drain(turns: deque[Inbox], run: TrainingRun, on_transition: Callable[[], None]) -> bool:
    """Do what waits while the run has room, one of each robot in turn; returns whether there was anything.

    Args:
        turns: Whose turn it is next comes first, also the next time.
        run: The commands are for.
        on_transition: Called for each transition that was new.
    """
    taken, passed = False, 0
    while passed < len(turns):
        is_taken = turns[0].take(run, on_transition)
        taken, passed = taken or is_taken, 0 if is_taken else passed + 1
        turns.rotate(-1)
    return taken
