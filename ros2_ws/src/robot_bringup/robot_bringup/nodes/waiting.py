# SPDX-License-Identifier: Apache-2.0
"""Waiting inside a coroutine of a single-threaded executor: no thread, no sleep, every wait with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any


class Aborted(Exception):
    """The episode cannot go on; the text is the reason."""


class Cancelled(Exception):
    """The goal was cancelled."""


class _Turn:
    """Hands control back to the executor until something has happened."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Waiter:
    """Waits for conditions; `check` is called at every turn and may raise to end the wait."""

    def __init__(self, check: Callable[[], None]) -> None:
        """Remember what ends every wait early."""
        self._check = check

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
        await self.until(future.done, timeout_s, f"service {name} did not answer within {timeout_s:g} s")
        response = future.result()
        if not response.success:
            raise Aborted(f"{name} refused: {response.message}")
        return response
