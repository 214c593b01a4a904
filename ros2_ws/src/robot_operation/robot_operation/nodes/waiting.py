# SPDX-License-Identifier: Apache-2.0
"""A coroutine that is driven by the callbacks of its node: no thread, no sleep, every wait with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Aborted(Exception):
    """The episode cannot go on; the text is the reason."""


class Cancelled(Exception):
    """The goal was cancelled; the text is the reason."""


class _Turn:
    """Hands control back until something has happened."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Driver(Generic[T]):
    """Runs one coroutine at a time, a turn at each `step`.

    An executor would look at a waiting coroutine after every callback, or all the time; here whoever has news says so.
    """

    def __init__(self) -> None:
        """Nothing to drive yet."""
        self._work: Coroutine[Any, Any, T] | None = None
        self._done: Callable[[T], None] = _ignore
        self._stepping = False

    def start(self, work: Coroutine[Any, Any, T], done: Callable[[T], None]) -> None:
        """Run a coroutine to its first wait; `done` gets what it returns."""
        self._work, self._done = work, done
        self.step()

    def step(self) -> None:
        """Let the coroutine look whether it can go on."""
        if self._work is not None and not self._stepping:
            self._turn(self._work.send, None)

    def throw(self, error: Exception) -> None:
        """Let the coroutine go on with an exception in place of what it waits for."""
        if self._work is not None and not self._stepping:
            self._turn(self._work.throw, error)

    def _turn(self, resume: Callable[[Any], Any], value: Any) -> None:
        self._stepping = True
        try:
            resume(value)
        except StopIteration as end:
            self._work = None
            self._done(end.value)
        finally:
            self._stepping = False

    def drop(self) -> None:
        """Forget the coroutine."""
        if self._work is not None and not self._stepping:
            self._work.close()
            self._work = None


def _ignore(_result: Any) -> None:
    """Nobody waits."""


class Waiter:
    """Waits for conditions; `check` is called at every turn and may raise to end the wait."""

    def __init__(self, check: Callable[[], None], wake: Callable[[], None]) -> None:
        """Remember what ends every wait early, and whom to tell that a service has answered."""
        self._check = check
        self._wake = wake

    async def until(self, condition: Callable[[], bool], timeout_s: float, what: str | Callable[[], str]) -> None:
        """Wait until a condition holds.

        Raises:
            Aborted: It did not in time; `what` says what was waited for.
        """
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            self._check()
            if time.monotonic() > deadline_s:
                raise Aborted(what() if callable(what) else what)
            await _Turn()

    async def call(self, client: Any, request: Any, timeout_s: float) -> Any:
        """Call a service.

        Raises:
            Aborted: It is not there, does not answer in time, or refuses.
        """
        name = client.srv_name
        await self.until(client.service_is_ready, timeout_s, f"service {name} is not there")
        future = client.call_async(request)
        future.add_done_callback(lambda _future: self._wake())
        await self.until(future.done, timeout_s, f"service {name} did not answer within {timeout_s:g} s")
        response = future.result()
        if not response.success:
            raise Aborted(f"{name} refused: {response.message}")
        return response
