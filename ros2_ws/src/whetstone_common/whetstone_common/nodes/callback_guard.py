# SPDX-License-Identifier: Apache-2.0
"""Guards callbacks: what one raises is reported, and never leaves the executor."""

from __future__ import annotations

import functools
import os
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

from whetstone_common.core.reason import ReasonedError

# Read by tests only: "<callback>:<n>" makes the n-th call of that callback raise.
_FAIL_ENV = "WHETSTONE_FAIL_CALLBACK"


class InjectedFailure(RuntimeError):
    """Raised on request of a test."""


class CallbackGuard:
    """Wraps callbacks so that their exceptions are reported.

    Attributes:
        names: Of the guarded callbacks that are listed, for tests that walk them.
        calls: Of each callback, counted while a failure is to be injected.
        failing: "<callback>:<n>" whose call raises; empty for none.
        logged: Places whose exception is in the log.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.calls: Counter[str] = Counter()
        self.failing = os.environ.get(_FAIL_ENV, "")
        self.logged: set[str] = set()

    def wrap(
        self, callback: Callable[..., Any], report: Callable[[str, BaseException], None], *, is_listed: bool
    ) -> Callable[..., Any]:
        """Wrap a callback.

        Args:
            callback: To be called.
            report: Takes the callback's name and what it raised.
            is_listed: Whether its name is kept.
        """
        name = getattr(callback, "__name__", type(callback).__name__)
        if is_listed:
            self.names.append(name)

        @functools.wraps(callback)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            try:
                self.maybe_fail(name)
                return callback(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - this is the boundary
                report(name, error)
                # A service must answer; its response is the last argument, left at its defaults (success = false).
                return args[-1] if args and hasattr(args[-1], "success") else None

        return wrapper

    def maybe_fail(self, name: str) -> None:
        """Raise if a test has asked for this call to fail.

        Raises:
            InjectedFailure: It has.
        """
        if not self.failing:
            return
        self.calls[name] += 1
        if self.failing == f"{name}:{self.calls[name]}":
            raise InjectedFailure(f"call {self.calls[name]} of {name}")

    def text_once(self, where: str, error: BaseException) -> str:
        """Text for the log; empty if that place has failed before."""
        if where in self.logged:
            return ""
        self.logged.add(where)
        # A failure that knows its reason is a sentence; anything else is a bug, and its place is wanted.
        is_known = isinstance(error, ReasonedError)
        return f"{where}: {error if is_known else ''.join(traceback.format_exception(error))}"
