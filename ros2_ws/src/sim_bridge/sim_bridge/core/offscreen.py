# SPDX-License-Identifier: Apache-2.0
"""Pictures of a model from an OpenGL context of its own. A context belongs to one thread: use it from that thread only.

Not `mujoco.Renderer`: that one frees its pictures and shaders in whatever context is current, be it that of another
camera of the same thread, which then draws without them.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sim_bridge.core.gl import mujoco

Image = npt.NDArray[np.uint8]  # (H, W, 3) RGB
_MAX_GEOMS = 400


class _Closable(Protocol):
    def close(self) -> None:
        """Free the OpenGL context."""


_open: weakref.WeakSet[_Closable] = weakref.WeakSet()


def close_at_exit(owner: _Closable) -> None:
    """Close an owner of an OpenGL context when the process ends, if it is still there.

    MuJoCo ends EGL at exit, and contexts left until then die with error messages: close first, which means to register
    last.
    """
    _open.add(owner)
    atexit.unregister(_close_all)
    atexit.register(_close_all)


def _close_all() -> None:
    for owner in list(_open):
        owner.close()


class Offscreen:
    """An OpenGL context, and in it what MuJoCo draws a model with.

    Args:
        model: The compiled model, with the quality that it asks for.
        width: Of a picture (px).
        height: Of a picture (px).

    Attributes:
        scene: What is drawn; fill it before each picture.
    """

    def __init__(self, model: Any, width: int, height: int) -> None:
        self._resources: Any = None
        self._thread = threading.get_ident()
        self.scene = mujoco.MjvScene(model, _MAX_GEOMS)
        self._everything = mujoco.MjrRect(0, 0, width, height)
        self._context = mujoco.GLContext(width, height)
        self._context.make_current()
        self._resources = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._resources)
        close_at_exit(self)

    def render(self) -> Image:
        """Picture of the scene, (height, width, 3) uint8 RGB."""
        self._context.make_current()
        mujoco.mjr_render(self._everything, self.scene, self._resources)
        upside_down = np.empty((self._everything.height, self._everything.width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(upside_down, None, self._everything, self._resources)
        return np.ascontiguousarray(upside_down[::-1])

    def close(self) -> None:
        """Free the OpenGL context; call it from the thread that rendered."""
        if self._resources is None:
            return
        if self._thread == threading.get_ident():
            self._context.make_current()
            self._resources.free()
        # Another thread, at the end of the process, cannot make it current: what is in it goes with the context.
        self._context.free()
        self._resources = None

    def __del__(self) -> None:
        # What is dropped unclosed would free its pictures and shaders in the context that is current then.
        self.close()
