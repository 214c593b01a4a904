# SPDX-License-Identifier: Apache-2.0
"""Architectures as JSON and back: exactly the fields of a configuration, nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar, get_type_hints

Config = TypeVar("Config")


def architecture_of(config: Any) -> dict[str, Any]:
    """The fields of a frozen dataclass of numbers, words and tuples of numbers; tuples become lists."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}


def config_of(kind: type[Config], architecture: Mapping[str, Any]) -> Config:
    """A configuration of an architecture that someone else wrote.

    Raises:
        ValueError: A field is missing, unknown, of another type, or out of range.
    """
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if missing := sorted(names - set(architecture)):
        raise ValueError(f"the architecture lacks {missing}")
    if unknown := sorted(set(architecture) - names):
        raise ValueError(f"the architecture has unknown fields {unknown}")
    hints = get_type_hints(kind)
    return kind(**{name: _typed(name, architecture[name], hints[name]) for name in names})


def canonical(architecture: Mapping[str, Any]) -> str:
    """The one way to write it down.

    Raises:
        ValueError: It holds a number that is not finite.
    """
    return json.dumps(architecture, sort_keys=True, separators=(",", ":"), allow_nan=False)


def hash_of(text: str) -> str:
    """SHA-256 of a canonical architecture."""
    return hashlib.sha256(text.encode()).hexdigest()


def _typed(name: str, value: Any, hint: Any) -> Any:
    if hint is str:
        if not isinstance(value, str):
            raise ValueError(f"{name} is {value!r}, must be a word")
        return value
    if hint in (bool, int, float):
        return _number(name, value, hint)
    element = hint.__args__[0]  # tuple[number, ...]
    if not isinstance(value, list):
        raise ValueError(f"{name} is {value!r}, must be a list")
    return tuple(_number(name, v, element) for v in value)


def _number(name: str, value: Any, kind: type) -> Any:
    allowed = (int, float) if kind is float else (kind,)
    if not isinstance(value, allowed) or (kind is not bool and isinstance(value, bool)):
        raise ValueError(f"{name} is {value!r}, must be a {kind.__name__}")
    return kind(value)
