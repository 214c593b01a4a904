# SPDX-License-Identifier: Apache-2.0
"""The size budget of files, functions and objects; prints medians and 90th percentiles, so that drift is seen."""

from __future__ import annotations

import ast
import functools
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

from sources import PACKAGES, ROOT, package_files, python_files, short, tree

FILE_WARN, FILE_REFUSE = 400, 600
FUNCTION_WARN, FUNCTION_REFUSE = 40, 80
# tests and tools have a budget of their own: a story told in order may be longer
LOOSE_FUNCTION_REFUSE = 120
# Attributes that a class sets on itself; one that needs more has parts that want names of their own.
ATTRIBUTES_REFUSE = 12


@dataclass(frozen=True)
class Function:
    """One function and its length in lines, without its docstring."""

    path: Path
    line: int
    name: str
    lines: int


@functools.cache
def functions(path: Path) -> list[Function]:
    """Return every function of a file, with its length."""
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                text = node.body[0]
                lines -= (text.end_lineno or text.lineno) - text.lineno + 1
            found.append(Function(path, node.lineno, node.name, lines))
    return found


def attributes(node: ast.ClassDef) -> set[str]:
    """Return the names that the methods of a class set on `self`."""
    methods = [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {
        item.attr
        for method in methods
        for item in ast.walk(method)
        if isinstance(item, ast.Attribute)
        and isinstance(item.ctx, ast.Store)
        and isinstance(item.value, ast.Name)
        and item.value.id == "self"
    }


def judge_classes(path: Path) -> list[str]:
    """Return the refusals for the classes of a file."""
    counts = [(node, len(attributes(node))) for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)]
    return [
        f"{short(path)}:{node.lineno}: {node.name} has {count} attributes, the limit is {ATTRIBUTES_REFUSE}: "
        "give it parts with names"
        for node, count in counts
        if count > ATTRIBUTES_REFUSE
    ]


def line_count(path: Path) -> int:
    """Return the number of lines of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


def p90(values: list[int]) -> float:
    """Return the 90th percentile."""
    return statistics.quantiles(values, n=10)[-1] if len(values) > 1 else float(values[0] if values else 0)


def report(title: str, files: list[Path]) -> None:
    """Print medians and 90th percentiles of a group of files."""
    if not files:
        return
    lengths = [line_count(p) for p in files]
    bodies = [f.lines for p in files for f in functions(p)] or [0]
    print(
        f"  {title:<17} {len(files):>4} files   lines: med {statistics.median(lengths):.0f} p90 {p90(lengths):.0f}"
        f" max {max(lengths)}   functions: med {statistics.median(bodies):.0f} p90 {p90(bodies):.0f} max {max(bodies)}"
    )


def judge(path: Path, *, strict: bool) -> tuple[list[str], list[str]]:
    """Return the refusals and the warnings for one file."""
    refused, warned = [], []
    count = line_count(path)
    if count > FILE_REFUSE:
        refused.append(f"{short(path)}: {count} lines, the limit is {FILE_REFUSE}")
    elif count > FILE_WARN:
        warned.append(f"{short(path)}: {count} lines (aim: 150)")
    limit = FUNCTION_REFUSE if strict else LOOSE_FUNCTION_REFUSE
    for function in functions(path):
        where = f"{short(path)}:{function.line}: {function.name} has {function.lines} lines"
        if function.lines > limit:
            refused.append(f"{where}, the limit is {limit}")
        elif strict and function.lines > FUNCTION_WARN:
            warned.append(f"{where} (aim: 10)")
    return refused, warned


def main() -> int:
    """Judge every Python file."""
    packaged = {p for package in PACKAGES for p in package_files(package)}
    refused, warned = [], []
    for path in python_files():
        bad, near = judge(path, strict=path in packaged)
        refused += bad
        warned += near
        refused += judge_classes(path) if path in packaged else []
    for package in PACKAGES:
        report(package, package_files(package))
    report("tests", [p for p in python_files() if ROOT / "tests" in p.parents])
    for line in warned:
        print(f"  warning: {line}")
    for line in refused:
        print(f"  REFUSED: {line}")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
