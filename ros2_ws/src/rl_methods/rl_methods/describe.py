# SPDX-License-Identifier: Apache-2.0
"""What a method can be told: every setting with type, default and explanation, read from its dataclasses."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from enum import Enum
from typing import Any

import yaml

from rl_methods.common.critic import CriticConfig
from rl_methods.config import Schedule, derived
from rl_methods.registry import algorithm_of, entry, online_methods, settings_file, training_settings_type

_ATTRIBUTE = re.compile(r"^(\w+): (.*)$")


@dataclass(frozen=True)
class SettingLine:
    """One setting of a method.

    Attributes:
        block: Of the method's file.
        name: Of the setting.
        kind: Type, as it is declared.
        default: Where nobody says anything.
        shipped: In the method's own settings file, empty where that leaves it at the default.
        text: What it means, and what is allowed.
    """

    block: str
    name: str
    kind: str
    default: str
    shipped: str
    text: str


def settings_of(name: str) -> list[SettingLine]:
    """Every setting of a method's file, none where it has none.

    Raises:
        ValueError: The name is unknown.
    """
    method = entry(name)
    if name in online_methods():
        blocks = {name: algorithm_of(name).settings_type, "critic": CriticConfig, "schedule": Schedule}
    elif method.training or method.simulated:
        blocks = {name: training_settings_type(name)}
    else:
        return []
    shipped = yaml.safe_load(settings_file(name).read_text(encoding="utf-8")) or {}
    return [line for block, kind in blocks.items() for line in _lines(block, kind, shipped.get(block) or {})]


def attributes_of(kind: type[Any]) -> dict[str, str]:
    """Explanations of a class's attributes, as its docstring (Google style) gives them; each on one line."""
    _, _, section = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    found: dict[str, list[str]] = {}
    words: list[str] = []
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break  # the next section
        if match := _ATTRIBUTE.match(line.removeprefix("    ")):
            words = found.setdefault(match[1], [])
            words.append(match[2])
        elif line.strip():
            words.append(line.strip())
    return {name: " ".join(lines) for name, lines in found.items()}


def _lines(block: str, kind: type[Any], shipped: Mapping[str, Any]) -> list[SettingLine]:
    texts = attributes_of(kind)
    return [
        SettingLine(
            block, f.name, str(f.type), _plain(_default(f)), _plain(shipped[f.name]) if f.name in shipped else "",
            texts.get(f.name, ""),
        )
        for f in fields(kind)
        if f.name not in derived(kind)
    ]  # fmt: skip


def _default(field: Any) -> Any:
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else "none"


def _plain(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_plain(each)}" for key, each in value.items())
    return str(list(value)) if isinstance(value, tuple) else str(value)
