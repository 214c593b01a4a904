# SPDX-License-Identifier: Apache-2.0
"""Offscreen rendering of a model's cameras. An OpenGL context belongs to one thread: use it from that thread only."""

from __future__ import annotations

import atexit
import math
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from sim_bridge.core.gl import mujoco

Image = npt.NDArray[np.uint8]  # (H, W, 3) RGB
MAX_GEOMS = 400
_open: weakref.WeakSet[Cameras] = weakref.WeakSet()


def _close_all() -> None:
    for cameras in list(_open):
        cameras.close()


class Cameras:
    """Renders square images of a compiled model.

    Args:
        model: The compiled model.
        size: Width and height (px).
        names: Public name of each camera and its name in the model.
    """

    def __init__(self, model: Any, size: int, names: dict[str, str]) -> None:
        self._model = model
        self._size = size
        self.names = names
        self._renderer: Any = None

    def render(self, data: Any, camera: str) -> Image:
        """Image of `camera` at the state in `data`, (H, W, 3) uint8 RGB.

        Raises:
            ValueError: If there is no such camera.
        """
        if camera not in self.names:
            raise ValueError(f"unknown camera {camera!r}; there are {', '.join(self.names)}")
        if self._renderer is None:
            self._renderer = mujoco.Renderer(self._model, self._size, self._size, max_geom=MAX_GEOMS)
            _open.add(self)
            # MuJoCo ends EGL at exit, and contexts left until then die with error messages: close first, which
            # means to register last.
            atexit.unregister(_close_all)
            atexit.register(_close_all)
        self._renderer.update_scene(data, camera=self.names[camera])
        image: Image = self._renderer.render()
        return image

    def focal_px(self, camera: str) -> float:
        """Focal length of `camera` (px); the principal point is the image centre."""
        fovy = math.radians(float(self._model.cam_fovy[self._model.camera(self.names[camera]).id]))
        return 0.5 * self._size / math.tan(0.5 * fovy)

    def close(self) -> None:
        """Free the OpenGL context; call it from the thread that rendered."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
