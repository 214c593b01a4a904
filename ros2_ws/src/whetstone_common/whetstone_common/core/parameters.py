# SPDX-License-Identifier: Apache-2.0
"""The one declaration of a node's parameters: a YAML schema, and the checks that follow from it.

A schema file maps a parameter's name to its entry::

    n_candidates:
      type: int
      default: 1
      bounds: [1, 64]
      description: Candidate chunks per decision.

`type` is bool, int, double, string, or one of these with `_array`. Optional keys: `bounds` (inclusive; applies to each
element of an array), `one_of`, `choices_from` (`module:function` that returns the choices of a
registry, which plug-ins extend), `length` (of an array), `read_only` (fixed after start), `locked_while_armed`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

_SCALARS: dict[str, type] = {"bool": bool, "int": int, "double": float, "string": str}
_KEYS = {
    "type", "default", "description", "bounds", "one_of", "choices_from", "length", "read_only", "locked_while_armed",
    "renamed_from",
}  # fmt: skip


class ParameterError(ValueError):
    """A parameter, or a schema, that cannot be accepted; the text names value and range."""


@dataclass(frozen=True)
class ParameterSpec:
    """Declaration of one parameter."""

    name: str
    type: str
    default: Any
    description: str
    bounds: tuple[float, float] | None = None
    one_of: tuple[Any, ...] | None = None
    choices_from: str = ""
    length: int | None = None
    read_only: bool = False
    locked_while_armed: bool = False
    renamed_from: str = ""

    @property
    def is_array(self) -> bool:
        """Whether the value is a list."""
        return self.type.endswith("_array")

    @property
    def choices(self) -> tuple[Any, ...] | None:
        """Values that are allowed, None for all."""
        if not self.choices_from:
            return self.one_of
        module, name = self.choices_from.split(":")
        return tuple(getattr(import_module(module), name)())

    def _is_open(self, value: Any) -> bool:
        """Whether the choice of a registry is left to the node: its default may be a word that is none of them."""
        return bool(self.choices_from) and value == self.default

    @property
    def range(self) -> tuple[float, float] | None:
        """Bounds of a single number; those of an array's elements are among its `constraints`."""
        return None if self.is_array else self.bounds

    @property
    def constraints(self) -> str:
        """What is demanded of a value beyond its type and `range`, in words."""
        of_each = "each element " if self.is_array else ""
        rules: list[str] = []
        if self.length is not None:
            rules.append(f"exactly {self.length} elements")
        if self.is_array and self.bounds is not None:
            rules.append(f"{of_each}in [{self.bounds[0]}, {self.bounds[1]}]")
        elif self.bounds is None and self.type.startswith("double"):
            rules.append(f"{of_each}finite")
        if self.choices is not None:
            rules.append(f"{of_each}one of {', '.join(map(repr, self.choices))}")
        if self.locked_while_armed:
            rules.append("locked while armed")
        return "; ".join(rules)

    def check(self, value: Any) -> Any:
        """Return the value in its canonical type.

        Raises:
            ParameterError: Wrong type, not finite, outside the bounds, or not one of the choices.
        """
        if not self.is_array:
            return self._check_element(value)
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            raise ParameterError(f"{self.name} = {value!r}: expected {self.type}")
        if self.length is not None and len(value) != self.length:
            raise ParameterError(f"{self.name} has {len(value)} elements, expected {self.length}")
        return [self._check_element(element) for element in value]

    def _check_element(self, value: Any) -> Any:
        kind: Any = _SCALARS[self.type.removesuffix("_array")]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not kind:
            raise ParameterError(f"{self.name} = {value!r}: expected {self.type}, got {type(value).__name__}")
        # Finiteness comes before range: every comparison with NaN is false.
        if kind is float and not math.isfinite(value):
            raise ParameterError(f"{self.name} = {value!r}: must be finite")
        if self.bounds is not None and not (self.bounds[0] <= value <= self.bounds[1]):
            raise ParameterError(f"{self.name} = {value!r}: outside [{self.bounds[0]}, {self.bounds[1]}]")
        if self.choices is not None and value not in self.choices and not self._is_open(value):
            raise ParameterError(f"{self.name} = {value!r}: not one of {', '.join(map(repr, self.choices))}")
        return value


@dataclass(frozen=True)
class ParameterSchema:
    """All parameters of one node."""

    specs: Mapping[str, ParameterSpec]

    @classmethod
    def load(cls, path: Path, *, include: Path | None = None) -> ParameterSchema:
        """Read a schema file, and the entries that all nodes share.

        Raises:
            ParameterError: The file does not follow the format, or a default breaks its own rules.
        """
        entries: dict[str, Any] = {}
        for file in (include, path):
            if file is None:
                continue
            content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
            if not isinstance(content, Mapping):
                raise ParameterError(f"{file}: expected a table of parameters")
            twice = sorted(set(entries) & set(content))
            if twice:
                raise ParameterError(f"{file}: {twice[0]} is declared twice")
            entries |= content
        return cls({name: _spec(name, entry) for name, entry in entries.items()})

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Check values by name.

        Raises:
            ParameterError: An unknown name, or a value that its entry refuses.
        """
        unknown = sorted(set(values) - set(self.specs))
        if unknown:
            raise ParameterError(self.unknown(unknown[0]))
        return {name: self.specs[name].check(value) for name, value in values.items()}

    def unknown(self, name: str) -> str:
        """Sentence on a name that is not declared: the new name, if it was renamed."""
        now = next((spec.name for spec in self.specs.values() if spec.renamed_from == name), None)
        return f"unknown parameter {name!r}" if now is None else f"parameter {name!r} is now called {now!r}"


def _bounds(name: str, bounds: Any) -> tuple[float, float]:
    if not isinstance(bounds, Sequence) or len(bounds) != 2 or not all(map(math.isfinite, bounds)):
        raise ParameterError(f"{name}: bounds are {bounds!r}, expected two finite numbers")
    if not bounds[0] <= bounds[1]:
        raise ParameterError(f"{name}: bounds are {bounds!r}, the lower one comes first")
    return bounds[0], bounds[1]


def _spec(name: str, entry: Any) -> ParameterSpec:
    if not isinstance(entry, Mapping):
        raise ParameterError(f"{name}: expected a table, got {entry!r}")
    missing = {"type", "default", "description"} - set(entry)
    if missing or set(entry) - _KEYS:
        raise ParameterError(f"{name}: missing {sorted(missing)}, unknown {sorted(set(entry) - _KEYS)}")
    if entry["type"].removesuffix("_array") not in _SCALARS:
        raise ParameterError(f"{name}: unknown type {entry['type']!r}")
    spec = ParameterSpec(
        name=name,
        type=entry["type"],
        default=entry["default"],
        description=entry["description"],
        bounds=_bounds(name, entry["bounds"]) if "bounds" in entry else None,
        one_of=tuple(entry["one_of"]) if "one_of" in entry else None,
        choices_from=entry.get("choices_from", ""),
        length=entry.get("length"),
        read_only=bool(entry.get("read_only", False)),
        locked_while_armed=bool(entry.get("locked_while_armed", False)),
        renamed_from=str(entry.get("renamed_from", "")),
    )
    if not spec.choices_from:  # what a registry holds is known when the node runs
        spec.check(spec.default)
    return spec
