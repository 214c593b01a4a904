# SPDX-License-Identifier: Apache-2.0
"""Methods by name. A new one is a module here and a line in `METHODS`."""

from __future__ import annotations

from collections.abc import Callable

from vla_policy.core.steering.none import FirstCandidate
from vla_policy.core.steering.protocol import Method

METHODS: dict[str, Callable[[], Method]] = {
    "none": FirstCandidate,
}


def make_method(name: str) -> Method:
    """Build the actor half of a method.

    Raises:
        ValueError: The name is unknown.
    """
    if name not in METHODS:
        raise ValueError(f"method {name!r} is unknown, known: {', '.join(sorted(METHODS))}")
    return METHODS[name]()
