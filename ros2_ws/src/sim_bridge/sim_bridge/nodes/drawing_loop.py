# SPDX-License-Identifier: Apache-2.0
"""Rendering in a thread of its own: the newest state that was handed over, published with the latency of images."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from sim_bridge.core.cameras import CameraCalibration
from sim_bridge.core.pacing import DelayLine
from sim_bridge.core.world import World, WorldSnapshot
from sim_bridge.nodes.publisher import Images, SimPublisher
from sim_bridge.nodes.sim_time import SimTime
from sim_bridge.nodes.spectator_stream import Capture
from sim_bridge.nodes.window import ViewerWindow
from whetstone_common.nodes.node import WhetstoneNode


class DrawingLoop:
    """Renders captures one after the other; one that is not yet begun is displaced by the next.

    Args:
        node: Whose parameters and counters are used.
        time: Its clocks.
        publisher: Publishes images.
        window: Displays the rendered states.
        stop: Ends the loop; whoever sets it calls `wake` as well.
    """

    def __init__(
        self, node: WhetstoneNode, time: SimTime, publisher: SimPublisher, window: ViewerWindow, stop: threading.Event
    ) -> None:
        self._node, self._time, self._publisher, self._window, self._stop = node, time, publisher, window, stop
        self._cameras: list[str] = node.param("cameras")
        self._frames: DelayLine[tuple[Images, int, Mapping[str, CameraCalibration]]] = DelayLine(
            node.param("image_latency_s")
        )
        self._capture: Capture | None = None
        self._captured = threading.Condition()

    @property
    def has_cameras(self) -> bool:
        """Whether anything is rendered."""
        return bool(self._cameras)

    def hand_over(self, capture: Capture) -> None:
        """Render this next."""
        with self._captured:
            if self._capture is not None:
                self._node.counters["images_skipped"] += 1
            self._capture = capture
            self._captured.notify()

    def wake(self) -> None:
        """Let the loop see that it is to stop."""
        with self._captured:
            self._captured.notify_all()

    def run(self) -> None:
        """Render until the stop; only this thread touches OpenGL and the window."""
        snapshot: WorldSnapshot | None = None
        shown: World | None = None
        try:
            while not self._stop.is_set():
                capture = self._await_capture()
                if capture is not None:
                    if snapshot is None or shown is not capture.world:
                        if snapshot is not None:
                            snapshot.close()
                        snapshot, shown = WorldSnapshot(capture.world), capture.world
                    self._draw(snapshot, capture)
                for images, stamp_ns, calibrations in self._frames.take_due(self._time.now_s()):
                    self._publisher.images(images, stamp_ns, calibrations)
        finally:
            if snapshot is not None:
                snapshot.close()
            self._window.close()

    def _await_capture(self) -> Capture | None:
        with self._captured:
            if self._capture is None and not self._stop.is_set():
                self._captured.wait(self._frames.wait_s(self._time.now_s()))
            capture, self._capture = self._capture, None
            return capture

    def _draw(self, snapshot: WorldSnapshot, capture: Capture) -> None:
        started_ns = self._time.now_ns()
        snapshot.take(capture.state)
        images: dict[str, Any] = {name: snapshot.render(name) for name in self._cameras}
        self._node.counters["render_us"] += (self._time.now_ns() - started_ns) // 1000
        calibrations = capture.world.calibrations
        self._frames.put(self._time.now_s(), (images, capture.stamp_ns, calibrations))
        self._window.show(capture.world)
