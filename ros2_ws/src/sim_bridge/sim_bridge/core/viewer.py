# SPDX-License-Identifier: Apache-2.0
"""Viewer window of the simulation."""

from __future__ import annotations

import os
from typing import Any

from sim_bridge.core.gl import mujoco


def has_display() -> bool:
    """Whether a window can be opened."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class Viewer:
    """Shows a copy of the state, so that the viewer cannot change the simulation."""

    def __init__(self, model: Any) -> None:
        """Open a window.

        Raises:
            RuntimeError: If there is no display.
        """
        if not has_display():
            raise RuntimeError("no display: neither DISPLAY nor WAYLAND_DISPLAY is set")
        import mujoco.viewer as viewer  # imports GLFW, although a display is needed only in use

        self._model = model
        self._data = mujoco.MjData(model)
        self._handle = viewer.launch_passive(model, self._data, show_left_ui=False, show_right_ui=False)

    @property
    def model(self) -> Any:
        """Displayed model."""
        return self._model

    def show(self, state: Any) -> None:
        """Show `state`, as given by `World.state`."""
        if self._handle.is_running():
            mujoco.mj_setState(self._model, self._data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
            mujoco.mj_forward(self._model, self._data)
            self._handle.sync()

    def close(self) -> None:
        """Close the window."""
        self._handle.close()
