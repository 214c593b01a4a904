# SPDX-License-Identifier: Apache-2.0
"""Real-time pacing: physics and rendering run in separate threads, so that neither waits for the other or for ROS."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sim_bridge.core.commands import Trajectory
from sim_bridge.core.pacing import DelayLine, Every, Pacer
from sim_bridge.core.scene import TIMESTEP_S
from sim_bridge.core.session import Joints, SimSession
from sim_bridge.nodes.drawing_loop import DrawingLoop
from sim_bridge.nodes.publisher import SimPublisher
from sim_bridge.nodes.sim_time import SimTime
from sim_bridge.nodes.spectator_stream import Capture
from sim_bridge.nodes.window import ViewerWindow
from whetstone_common.nodes.node import WhetstoneNode

JOIN_TIMEOUT_S = 5.0


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
        self._time = SimTime(node, session)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._commands: DelayLine[Callable[[], None]] = DelayLine(node.param("command_latency_s"))
        self._states: DelayLine[tuple[Joints, int]] = DelayLine(node.param("state_latency_s"))
        self._truth_due = Every(session.tick_ns * 1e-9 / node.param("real_time_factor"))
        self._image_due = Every(1.0 / float(node.param("camera_rate_hz")))
        self._drawing = DrawingLoop(node, self._time, publisher, window, self._stop)
        self._threads: list[threading.Thread] = []

    # -- from the node's thread -------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads."""
        self._stop.clear()
        spectator = self._publisher.spectator
        loops = {
            "physics": self._physics,
            "drawing": self._drawing.run,
            "spectator": lambda: spectator.run(self._stop),
        }
        self._threads = [
            threading.Thread(target=self._guard, args=(name, loop), name=f"sim_{name}", daemon=True)
            for name, loop in loops.items()
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the threads and wait for them."""
        self._stop.set()
        self._drawing.wake()
        for thread in self._threads:
            thread.join(JOIN_TIMEOUT_S)
        self._threads = []

    def follow(self, trajectory: Trajectory, _stamp_ns: int) -> None:
        """Execute an arm command after the command latency."""
        with self._lock:
            self._commands.put(self._time.now_s(), lambda: self._session.follow(trajectory))

    def set_opening(self, opening: float) -> None:
        """Execute a gripper command after the command latency."""
        with self._lock:
            self._commands.put(self._time.now_s(), lambda: self._session.set_opening(opening))

    def reset(self, task: str, seed: int) -> int:
        """Start an episode; returns the stamp (ns) of its start."""
        self._session.prepare(task)
        with self._lock:
            self._commands.clear()
            self._session.reset(task, seed)
            self._truth_due.restart()
            self._image_due.restart()
            return self._time.stamp_ns()

    def hold(self) -> None:
        """Hold the current command, as a controller does without new commands."""
        with self._lock:
            self._commands.clear()
            self._session.hold()

    def _guard(self, name: str, loop: Callable[[], None]) -> None:
        try:
            loop()
        except Exception as error:  # noqa: BLE001 - the thread's boundary; reported in the node's status
            self._node.fail(name, error)

    # -- physics -------------------------------------------------------------------------------------------------

    def _physics(self) -> None:
        pacer = Pacer(TIMESTEP_S, self._node.param("real_time_factor"))
        period_s = 1.0 / float(self._node.param("state_rate_hz"))
        due_s = self._time.now_s()
        while not self._stop.wait(max(0.0, due_s - self._time.now_s())):
            now_s = self._time.now_s()
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
            stamp_ns = self._time.stamp_ns()
            self._states.put(now_s, (self._session.joints(), stamp_ns))
            ground_truth = self._session.ground_truth() if self._truth_due.is_due(now_s) else None
            if self._drawing.has_cameras and self._image_due.is_due(now_s):
                self._drawing.hand_over(self._capture(stamp_ns))
            if self._publisher.spectator.is_due_at(now_s):
                self._publisher.spectator.hand_over(self._capture(stamp_ns))
        if self._time.is_simulated:
            self._publisher.clock(stamp_ns)
        for joints, taken_ns in self._states.take_due(now_s):
            self._publisher.joints(joints, taken_ns)
        if ground_truth is not None:
            self._publisher.ground_truth(ground_truth, stamp_ns)

    def _capture(self, stamp_ns: int) -> Capture:
        return Capture(stamp_ns, self._session.world, self._session.world.state())
