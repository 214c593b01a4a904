# SPDX-License-Identifier: Apache-2.0
"""Viewer window, if it is enabled and there is a display. Use it from one thread only."""

from __future__ import annotations

from sim_bridge.core.viewer import Viewer, has_display
from sim_bridge.core.world import World


class ViewerWindow:
    """Shows a world if `wanted` and there is a display; otherwise it does nothing.

    Args:
        wanted: Whether the window is enabled.
    """

    def __init__(self, *, wanted: bool) -> None:
        self._open = wanted and has_display()
        self._viewer: Viewer | None = None

    @property
    def is_open(self) -> bool:
        """Whether a window is open."""
        return self._open

    def show(self, world: World) -> None:
        """Show the current state of the world."""
        if not self._open:
            return
        if self._viewer is None or self._viewer.model is not world.model:
            self.close()
            self._viewer = Viewer(world.model)
        self._viewer.show(world.state())

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._viewer is not None:
            self._viewer.close()
            self._viewer = None
