# SPDX-License-Identifier: Apache-2.0
"""Choose MuJoCo's offscreen OpenGL before `mujoco` is imported.

MuJoCo reads `MUJOCO_GL` once, at import, and its default needs a display. Every module of this package that
needs MuJoCo imports it from here, so that the import order does not matter.
"""

from __future__ import annotations

import ctypes.util
import os
import sys
from collections.abc import Callable

FindLibrary = Callable[[str], str | None]


def choose_backend(find_library: FindLibrary = ctypes.util.find_library) -> str:
    """Name the offscreen backend that this machine has the libraries for.

    Args:
        find_library: Lookup by short library name, as `ctypes.util.find_library`.

    Returns:
        "egl" when EGL and GL are both installed, else "osmesa" when that is, else "disable" (physics only).
    """
    if find_library("EGL") and find_library("GL"):
        return "egl"
    return "osmesa" if find_library("OSMesa") else "disable"


if "mujoco" not in sys.modules:
    os.environ.setdefault("MUJOCO_GL", choose_backend())

import mujoco  # noqa: E402  (must follow the choice above)

__all__ = ["choose_backend", "mujoco"]
