# SPDX-License-Identifier: Apache-2.0
"""Methods by name, imported when asked for: `none` needs no torch. A new one is a module and a line in `METHODS`."""

from __future__ import annotations

from collections.abc import Callable

from vla_policy.core.steering.none import FirstCandidate
from vla_policy.core.steering.protocol import Method


def _expo() -> Method:
    from vla_policy.core.steering.learned import ExpoMethod

    return ExpoMethod()


def _dsrl() -> Method:
    from vla_policy.core.steering.learned import DsrlMethod

    return DsrlMethod()


METHODS: dict[str, Callable[[], Method]] = {
    "none": FirstCandidate,
    "expo": _expo,
    "dsrl": _dsrl,
}


def make_method(name: str) -> Method:
    """Build the actor half of a method.

    Raises:
        ValueError: The name is unknown.
    """
    if name not in METHODS:
        raise ValueError(f"method {name!r} is unknown, known: {', '.join(sorted(METHODS))}")
    return METHODS[name]()
