# SPDX-License-Identifier: Apache-2.0
"""One page per node: its parameters, from the schema that the node itself reads."""

from __future__ import annotations

import re
from pathlib import Path

from site_pages.tables import cell, code, table
from whetstone_common.core.parameters import ParameterSchema, ParameterSpec

SRC = Path(__file__).resolve().parents[2] / "ros2_ws" / "src"
COMMON = SRC / "whetstone_common" / "config" / "common_params.yaml"
_SUFFIX = "_params.yaml"
_UNIT = re.compile(r"\s*\[([^\],]{1,16})\]")


def schema_files() -> list[Path]:
    """The schema of every node."""
    return sorted(path for path in SRC.glob(f"*/config/*{_SUFFIX}") if path != COMMON)


def pages() -> dict[str, str]:
    """Pages by their path below docs/."""
    made = {}
    for path in schema_files():
        node = path.name.removesuffix(_SUFFIX)
        made[f"reference/parameters/{node}.md"] = _page(node, path.parents[1].name, path)
    return made


def _page(node: str, package: str, path: Path) -> str:
    schema = ParameterSchema.load(path, include=COMMON)
    rows = [_row(spec) for spec in sorted(schema.specs.values(), key=lambda spec: spec.name)]
    return (
        f"# {node}\n\n{len(rows)} parameters of `{node}` (package `{package}`).\n"
        f"`whetstone param describe {node} NAME` shows the same while it runs.\n\n"
        + table(("name", "type", "unit", "default", "range", "can be changed", "explanation"), rows)
    )


def _row(spec: ParameterSpec) -> tuple[str, ...]:
    unit = _UNIT.search(spec.description)
    text = _UNIT.sub("", spec.description, count=1)
    default = '""' if spec.default == "" else spec.default
    return code(spec.name), spec.type, unit[1] if unit else "", code(default), _range(spec), _when(spec), cell(text)


def _range(spec: ParameterSpec) -> str:
    parts = [f"{spec.bounds[0]:g} to {spec.bounds[1]:g}"] if spec.bounds is not None else []
    if spec.choices is not None:
        parts.append(", ".join(code(choice) for choice in spec.choices))
    if spec.length is not None:
        parts.append(f"{spec.length} elements")
    return "; ".join(parts)


def _when(spec: ParameterSpec) -> str:
    if spec.read_only:
        return "at start"
    return "while disarmed" if spec.locked_while_armed else "at any time"
