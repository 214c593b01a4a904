# SPDX-License-Identifier: Apache-2.0
"""Every parameter is declared once, in a schema that is complete; every preset and every read names one that exists."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import yaml

from sources import PACKAGES, ROOT, SRC, package_files, short, tracked, tree
from whetstone_common.core.parameters import ParameterError, ParameterSchema

COMMON = SRC / "whetstone_common" / "config" / "common_params.yaml"
# the one place that may call rclpy's declare_parameter
DECLARER = SRC / "whetstone_common" / "whetstone_common" / "nodes" / "node.py"
# what a preset that sets nothing is addressed to: ROS wants at least one node in a parameter file
NOBODY = "no_node"
# what every ROS node has
BUILT_IN = {"use_sim_time"}


def schemas() -> tuple[dict[str, ParameterSchema], list[str]]:
    """Load every schema; return them by node name, and what is wrong with them."""
    found, faults = {}, []
    for path in tracked():
        if path.name.endswith("_params.yaml") and SRC in path.parents and path != COMMON:
            try:
                schema = ParameterSchema.load(path, include=COMMON)
            except (ParameterError, yaml.YAMLError) as error:
                faults.append(f"{short(path)}: {error}")
                continue
            found[path.name.removesuffix("_params.yaml")] = schema
            faults += [
                f"{short(path)}: {spec.name} has no description to speak of"
                for spec in schema.specs.values()
                if len(spec.description.strip()) < 10
            ]
    return found, faults


def reads(path: Path) -> list[tuple[int, str, str]]:
    """Return line, method and name of every `x.param("name")` and `x.declare_parameter(...)` in a module."""
    found = []
    for node in ast.walk(tree(path)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr not in {"param", "declare_parameter", "declare_parameters"}:
            continue
        first = node.args[0] if node.args else None
        name = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
        found.append((node.lineno, node.func.attr, name))
    return found


def code_faults(known: set[str]) -> list[str]:
    """Return parameters that are read without being in a schema, or declared by hand."""
    faults = []
    for path in (p for package in PACKAGES for p in package_files(package)):
        for line, method, name in reads(path):
            if method == "param" and name and name not in known:
                faults.append(f"{short(path)}:{line}: parameter {name!r} is in no schema")
            if method != "param" and path != DECLARER:
                faults.append(f"{short(path)}:{line}: {method} by hand; put it into the schema")
    return faults


def unread(found: dict[str, ParameterSchema]) -> list[str]:
    """Return parameters that no module ever names."""
    strings: set[str] = set()
    for path in (p for package in PACKAGES for p in package_files(package)):
        constants = (n.value for n in ast.walk(tree(path)) if isinstance(n, ast.Constant))
        strings |= {value for value in constants if isinstance(value, str)}
    # "fake_" reads a family of parameters
    families = tuple(text for text in strings if len(text) > 3 and text.endswith("_"))
    return [
        f"{node}: parameter {name!r} is declared and never read"
        for node, schema in sorted(found.items())
        for name in schema.specs
        if name not in strings and not name.startswith(families)
    ]


def preset_faults(path: Path, found: dict[str, ParameterSchema]) -> list[str]:
    """Return what a ROS parameter file sets that no schema knows, or that its schema refuses."""
    content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    faults = []
    for pattern, block in content.items() if isinstance(content, dict) else ():
        if not isinstance(block, dict) or "ros__parameters" not in block:
            continue
        values = {k: v for k, v in block["ros__parameters"].items() if k not in BUILT_IN}
        node = pattern.rsplit("/", 1)[-1]
        if node == "**":
            faults += [
                f"{short(path)}: {key!r} for all nodes is no common parameter" for key in _unknown(values, found)
            ]
        elif node not in found and node != NOBODY:
            faults.append(f"{short(path)}: there is no node {node!r}")
        elif node in found:
            try:
                found[node].check(values)
            except ParameterError as error:
                faults.append(f"{short(path)}: {node}: {error}")
    return faults


def _unknown(values: dict[str, Any], found: dict[str, ParameterSchema]) -> list[str]:
    return [key for key in values if not all(key in schema.specs for schema in found.values())]


def main() -> int:
    """Check schemas, code and presets."""
    found, faults = schemas()
    known = {name for schema in found.values() for name in schema.specs}
    faults += code_faults(known)
    faults += unread(found)
    for path in tracked():
        in_config = path.suffix == ".yaml" and (SRC in path.parents or ROOT / "launch" in path.parents)
        if in_config and not path.name.endswith("_params.yaml"):
            faults += preset_faults(path, found)
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
