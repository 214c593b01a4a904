# SPDX-License-Identifier: Apache-2.0
"""What came of a command, in words."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import dataclass

from operator_console.core.commands import CommandRefusedError

_ANSWER_S = 10.0


@dataclass(frozen=True)
class CommandAnswer:
    """The answer that a page shows.

    Attributes:
        text: In words.
        is_done: Whether the command was carried out.
    """

    text: str
    is_done: bool


async def answer_of(future: Future[str]) -> CommandAnswer:
    """Wait for the answer of a command, for a refusal, or until nobody can expect one any more."""
    try:
        return CommandAnswer(await asyncio.wait_for(asyncio.wrap_future(future), _ANSWER_S), is_done=True)
    except CommandRefusedError as error:
        return CommandAnswer(f"refused: {error}", is_done=False)
    except TimeoutError:
        return CommandAnswer(f"no answer within {_ANSWER_S:g} s", is_done=False)
