# SPDX-License-Identifier: Apache-2.0
"""One class name, one concept: no two classes of the packages have the same name."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from pathlib import Path

from sources import PACKAGES, package_files, short, tree


def classes(path: Path) -> list[tuple[str, int]]:
    """Return name and line of every class of a module, at whatever depth."""
    return [(node.name, node.lineno) for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)]


def repeated(paths: Iterable[Path]) -> list[str]:
    """Return a sentence for each class name that is defined more than once."""
    places: dict[str, list[str]] = {}
    for path in paths:
        for name, line in classes(path):
            places.setdefault(name, []).append(f"{short(path)}:{line}")
    return [
        f"class {name} is defined {len(where)} times: {', '.join(where)}; use one of them, or give them distinct names"
        for name, where in sorted(places.items())
        if len(where) > 1
    ]


def main() -> int:
    """Check the class names of all packages."""
    faults = repeated(path for package in PACKAGES for path in package_files(package))
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
