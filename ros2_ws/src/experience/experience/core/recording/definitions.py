# SPDX-License-Identifier: Apache-2.0
"""Self-contained message definitions, as MCAP wants them: a type and all the types it contains, in one text."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

_SEPARATOR = "=" * 80
_BUILTIN = {
    "bool", "byte", "char", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64",
    "uint64", "string", "wstring",
}  # fmt: skip
_FIELD = re.compile(r"^(?P<type>[A-Za-z][\w/]*)(<=\d+)?(\[[^\]]*\])?\s+[a-z]\w*")


class DefinitionError(ValueError):
    """A message definition is not installed."""


def split(type_name: str) -> tuple[str, str]:
    """Package and name of pkg/msg/Name or pkg/Name.

    Raises:
        DefinitionError: Neither of both.
    """
    parts = type_name.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise DefinitionError(f"{type_name!r} is not a message type")
    return parts[0], parts[-1]


def dependencies(text: str, package: str) -> list[str]:
    """Message types that a definition contains, as pkg/Name, in order of appearance."""
    found: dict[str, None] = {}
    for line in text.splitlines():
        match = _FIELD.match(line.strip())
        if match is None or match["type"] in _BUILTIN:
            continue
        name = match["type"]
        owner, base = split(name) if "/" in name else (package, name)
        found.setdefault(f"{owner}/{base}")
    return list(found)


def complete(type_name: str, share: Callable[[str], Path]) -> str:
    """Definition of a type followed by those of everything it contains.

    Args:
        type_name: For example sensor_msgs/msg/Image.
        share: Share directory of a package.

    Raises:
        DefinitionError: A definition is not installed.
    """
    package, name = split(type_name)
    root = f"{package}/{name}"
    texts: dict[str, str] = {}
    waiting = [root]
    while waiting:
        current = waiting.pop(0)
        if current in texts:
            continue
        owner, base = split(current)
        path = share(owner) / "msg" / f"{base}.msg"
        if not path.is_file():
            raise DefinitionError(f"{current}: no {path}")
        texts[current] = path.read_text(encoding="utf-8").strip() + "\n"
        waiting += dependencies(texts[current], owner)
    parts = [texts.pop(root), *(f"{_SEPARATOR}\nMSG: {kind}\n{text}" for kind, text in texts.items())]
    return "".join(parts)
