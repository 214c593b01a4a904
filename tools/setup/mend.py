# SPDX-License-Identifier: Apache-2.0
"""Mend the one defect of the ROS wheels that keeps interface packages from building.

Their exported CMake targets carry include directories of the machine that built the wheels
(`/opt/python/cp3XX-cp3XX/...`): Python's own and numpy's. Both are rewritten to this interpreter's.
Running it twice changes nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BUILDER = r"/opt/python/cp\d+-cp\d+[a-z]*"
NUMPY_INCLUDE = re.compile(BUILDER + r"/lib/python3\.\d+/site-packages/numpy/_?core/include")
PYTHON_INCLUDE = re.compile(BUILDER + r"/include/python3\.\d+")


def mend_text(text: str, python_include: str, numpy_include: str) -> str:
    """Return `text` with the builder's two include directories replaced by ours."""
    text = NUMPY_INCLUDE.sub(lambda _: numpy_include, text)
    return PYTHON_INCLUDE.sub(lambda _: python_include, text)


def mend_tree(prefix: Path, python_include: str, numpy_include: str) -> int:
    """Rewrite every exported CMake file below `prefix`/share that needs it.

    Args:
        prefix: root of the virtual environment that holds the wheels.
        python_include: directory of this interpreter's Python.h.
        numpy_include: what `numpy.get_include()` says.

    Returns:
        How many files changed.
    """
    changed = 0
    for path in sorted(prefix.glob("share/*/cmake/*.cmake")):
        before = path.read_text(encoding="utf-8", errors="surrogateescape")
        after = mend_text(before, python_include, numpy_include)
        if after != before:
            path.write_text(after, encoding="utf-8", errors="surrogateescape")
            changed += 1
    return changed
