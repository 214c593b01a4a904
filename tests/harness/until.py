# SPDX-License-Identifier: Apache-2.0
"""Wait for a condition with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_S = 0.01


class NotReachedError(AssertionError):
    """A condition did not come true in time."""


def until(condition: Callable[[], T], deadline_s: float, what: str = "condition") -> T:
    """Poll until the condition is truthy.

    Args:
        condition: Called every 10 ms; its first truthy value is returned.
        deadline_s: How long to try, on the steady clock.
        what: Named in the failure.

    Raises:
        NotReachedError: The deadline passed.
    """
    end_s = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end_s:
            raise NotReachedError(f"not within {deadline_s:g} s: {what} (last value {value!r})")
        time.sleep(_POLL_S)


def stays(condition: Callable[[], object], duration_s: float, what: str = "condition") -> None:
    """Poll that the condition holds for the whole duration.

    Raises:
        NotReachedError: It became falsy.
    """
    start_s = time.monotonic()
    while (passed_s := time.monotonic() - start_s) < duration_s:
        if not condition():
            raise NotReachedError(f"after {passed_s:.2f} s of {duration_s:g} s no longer: {what}")
        time.sleep(_POLL_S)
