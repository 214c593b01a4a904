# SPDX-License-Identifier: Apache-2.0
"""Real-time pacing: physics and rendering run in separate threads, so that neither waits for the other or for ROS."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sim_bridge.core.cameras import CameraCalibration
from sim_bridge.core.commands import Trajectory
from sim_bridge.core.pacing import DelayLine, Every, Pacer
from sim_bridge.core.scene import TIMESTEP_S
from sim_bridge.core.session import Joints, SimSession
from sim_bridge.core.world import World, WorldSnapshot
from sim_bridge.nodes.publisher import Images, SimPublisher
from sim_bridge.nodes.window import ViewerWindow
from whetstone_common.nodes.convert import to_ns
from whetstone_common.nodes.node import WhetstoneNode

JOIN_TIMEOUT_S = 5.0


@dataclass(frozen=True, eq=False)
class _Capture:
    """State to render: its stamp, its world and the world's state."""

    stamp_ns: int
    world: World
    state: npt.NDArray[np.float64]


class Realtime:
    """Runs the session by the steady clock.

    Args:
        node: Whose parameters and clocks are used.
        session: Session to run; accessed only under this object's lock.
        publisher: Publishes joints, ground truth and images.
        window: Displays the rendered states.
    """

    def __init__(self, node: WhetstoneNode, session: SimSession, publisher: SimPublisher, window: ViewerWindow) -> None:
        self._node = node
        self._session = session
        self._publisher = publisher
        self._window = window
        self._cameras: list[str] = node.param("cameras")
        self._simulated_stamps: bool = node.param("publish_clock")
        self._factor: float = node.param("real_time_factor")
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._commands: DelayLine[Callable[[], None]] = DelayLine(node.param("command_latency_s"))
        self._states: DelayLine[tuple[Joints, int]] = DelayLine(node.param("state_latency_s"))
        self._frames: DelayLine[tuple[Images, int, Mapping[str, CameraCalibration]]] = DelayLine(
            node.param("image_latency_s")
        )
        self._capture: _Capture | None = None
        self._captured = threading.Condition()
        self._truth_due = Every(session.tick_ns * 1e-9 / self._factor)
        self._image_due = Every(1.0 / float(node.param("camera_rate_hz")))
        self._threads: list[threading.Thread] = []

    # -- from the node's thread -------------------------------------------------------------------------------

    def start(self) -> None:
        """Start both threads."""
        self._stop.clear()
        loops = {"physics": self._physics, "drawing": self._drawing}
        self._threads = [
            threading.Thread(target=self._guard, args=(name, loop), name=f"sim_{name}", daemon=True)
            for name, loop in loops.items()
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop both threads and wait for them."""
        self._stop.set()
        with self._captured:
            self._captured.notify_all()
        for thread in self._threads:
            thread.join(JOIN_TIMEOUT_S)
        self._threads = []

    def follow(self, trajectory: Trajectory, _stamp_ns: int) -> None:
        """Execute an arm command after the command latency."""
        with self._lock:
            self._commands.put(self._now_s(), lambda: self._session.follow(trajectory))

    def set_opening(self, opening: float) -> None:
        """Execute a gripper command after the command latency."""
        with self._lock:
            self._commands.put(self._now_s(), lambda: self._session.set_opening(opening))

    def reset(self, task: str, seed: int) -> int:
        """Start an episode; returns the stamp (ns) of its start."""
        self._session.prepare(task)
        with self._lock:
            self._commands.clear()
            self._session.reset(task, seed)
            self._truth_due.restart()
            self._image_due.restart()
            return self._stamp_ns()

    def hold(self) -> None:
        """Hold the current command, as a controller does without new commands."""
        with self._lock:
            self._commands.clear()
            self._session.hold()

    # -- clocks --------------------------------------------------------------------------------------------------

    def _now_s(self) -> float:
        return float(self._node.steady_clock.now().nanoseconds) * 1e-9

    def _stamp_ns(self) -> int:
        return self._session.clock_ns if self._simulated_stamps else to_ns(self._node.get_clock().now().to_msg())

    def _guard(self, name: str, loop: Callable[[], None]) -> None:
        try:
            loop()
        except Exception as error:  # noqa: BLE001 - the thread's boundary; reported in the node's status
            self._node.fail(name, error)

    # -- physics -------------------------------------------------------------------------------------------------

    def _physics(self) -> None:
        pacer = Pacer(TIMESTEP_S, self._factor)
        period_s = 1.0 / float(self._node.param("state_rate_hz"))
        due_s = self._now_s()
        while not self._stop.wait(max(0.0, due_s - self._now_s())):
            now_s = self._now_s()
            # A late wake-up shortens the next wait; after several missed periods the schedule restarts.
            due_s = max(due_s + period_s, now_s)
            self._run_to(now_s, pacer.due(now_s))
            self._node.counters["dropped_ms"] = round(pacer.dropped_s * 1e3)

    def _run_to(self, now_s: float, steps: int) -> None:
        with self._lock:
            for command in self._commands.take_due(now_s):
                command()
            if steps > 0:
                self._session.advance(steps)
            stamp_ns = self._stamp_ns()
            self._states.put(now_s, (self._session.joints(), stamp_ns))
            ground_truth = self._session.ground_truth() if self._truth_due.is_due(now_s) else None
            if self._cameras and self._image_due.is_due(now_s):
                self._hand_over(_Capture(stamp_ns, self._session.world, self._session.world.state()))
        if self._simulated_stamps:
            self._publisher.clock(stamp_ns)
        for joints, taken_ns in self._states.take_due(now_s):
            self._publisher.joints(joints, taken_ns)
        if ground_truth is not None:
            self._publisher.ground_truth(ground_truth, stamp_ns)

    def _hand_over(self, capture: _Capture) -> None:
        with self._captured:
            if self._capture is not None:
                self._node.counters["images_skipped"] += 1
            self._capture = capture
            self._captured.notify()

    # -- drawing -------------------------------------------------------------------------------------------------

    def _drawing(self) -> None:
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
                for images, stamp_ns, calibrations in self._frames.take_due(self._now_s()):
                    self._publisher.images(images, stamp_ns, calibrations)
        finally:
            if snapshot is not None:
                snapshot.close()
            self._window.close()

    def _await_capture(self) -> _Capture | None:
        with self._captured:
            if self._capture is None and not self._stop.is_set():
                self._captured.wait(self._frames.wait_s(self._now_s()))
            capture, self._capture = self._capture, None
            return capture

    def _draw(self, snapshot: WorldSnapshot, capture: _Capture) -> None:
        started_ns = self._node.steady_clock.now().nanoseconds
        snapshot.take(capture.state)
        images: dict[str, Any] = {name: snapshot.render(name) for name in self._cameras}
        self._node.counters["render_us"] += (self._node.steady_clock.now().nanoseconds - started_ns) // 1000
        calibrations = capture.world.calibrations
        self._frames.put(self._now_s(), (images, capture.stamp_ns, calibrations))
        self._window.show(capture.world)
