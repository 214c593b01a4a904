# SPDX-License-Identifier: Apache-2.0
"""What a page sends over its control connection, checked before anything acts on it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

from operator_console.core.browser_device import Gamepad

MAX_BYTES = 4096
_MAX_KEYS = 32


class PageMessageError(ValueError):
    """A message that is none of ours; the text says what is wrong with it."""


class PageRequest(Enum):
    """What a page asks for, beside saying that it is there."""

    NONE = "beat"
    ESTOP = "estop"
    TAKE = "take"
    GIVE = "give"


@dataclass(frozen=True)
class PageMessage:
    """One message.

    Attributes:
        request: What is asked for.
        keys: Keys that are held, lower case.
        pad: Gamepad, None without one.
    """

    request: PageRequest
    keys: frozenset[str] = frozenset()
    pad: Gamepad | None = None


def parse(text: str) -> PageMessage:
    """Message of a text.

    Raises:
        PageMessageError: Too long, no JSON, or with fields of other types.
    """
    if len(text) > MAX_BYTES:
        raise PageMessageError(f"{len(text)} characters, at most {MAX_BYTES} are read")
    try:
        body = json.loads(text)
    except ValueError as error:
        raise PageMessageError(f"no JSON: {error}") from error
    if not isinstance(body, dict):
        raise PageMessageError("no JSON object")
    try:
        request = PageRequest(body.get("request", PageRequest.NONE.value))
    except ValueError as error:
        known = ", ".join(each.value for each in PageRequest)
        raise PageMessageError(f"request {body['request']!r}: not one of {known}") from error
    return PageMessage(request, _keys(body.get("keys", [])), _pad(body.get("pad")))


def _keys(given: Any) -> frozenset[str]:
    if not isinstance(given, list) or len(given) > _MAX_KEYS or not all(isinstance(key, str) for key in given):
        raise PageMessageError(f"keys must be a list of at most {_MAX_KEYS} texts")
    return frozenset(key.lower() for key in given)


def _pad(given: Any) -> Gamepad | None:
    if given is None:
        return None
    try:
        return Gamepad.of(given["axes"], given["buttons"])
    except (TypeError, KeyError, ValueError) as error:
        raise PageMessageError(f"pad: {error}") from error
