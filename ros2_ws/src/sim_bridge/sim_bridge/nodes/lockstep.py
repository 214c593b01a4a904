# SPDX-License-Identifier: Apache-2.0
"""Lockstep pacing: each arm command advances the simulation by exactly one tick."""

from __future__ import annotations

from typing import Any

from sim_bridge.core.commands import CommandRefusal, CommandRefused, Trajectory
from sim_bridge.core.session import GroundTruth, Joints, SimSession
from sim_bridge.nodes.publisher import Images, SimPublisher
from sim_bridge.nodes.spectator_stream import Capture
from sim_bridge.nodes.window import ViewerWindow
from whetstone_common.nodes.node import WhetstoneNode


class Lockstep:
    """Steps the session in the callback of the command.

    Args:
        node: Whose parameters and timers are used.
        session: Session to step.
        publisher: Publishes every tick.
        window: Displays the ticks.
    """

    def __init__(self, node: WhetstoneNode, session: SimSession, publisher: SimPublisher, window: ViewerWindow) -> None:
        self._node = node
        self._session = session
        self._publisher = publisher
        self._window = window
        self._cameras: list[str] = node.param("cameras")
        self._waits_for_gripper: bool = node.param("separate_gripper")
        self._arm_command: Trajectory | None = None
        self._gripper_command: float | None = None
        self._present: tuple[int, Joints, Images, GroundTruth] | None = None
        self._timer: Any = None

    def start(self) -> None:
        """Publish the first tick, then repeat the current one periodically."""
        self._look()
        self._timer = self._node.create_steady_timer(self._node.param("repeat_period_s"), self._repeat)

    def stop(self) -> None:
        """Stop publishing."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
        self._window.close()
        self._publisher.spectator.close()
        self._session.close()

    def follow(self, trajectory: Trajectory, stamp_ns: int) -> None:
        """Execute an arm command.

        Args:
            trajectory: Its last point is the target of the tick.
            stamp_ns: Stamp of the tick that it answers, 0 for the current one.

        Raises:
            CommandRefused: If it answers another tick than the current one, for instance of the last episode.
        """
        if stamp_ns not in (0, self._session.clock_ns):
            raise CommandRefused(
                CommandRefusal.STALE, f"a command for {stamp_ns} ns, the tick is {self._session.clock_ns} ns"
            )
        self._arm_command = trajectory
        self._tick_if_complete()

    def set_opening(self, opening: float) -> None:
        """Execute a gripper command."""
        self._session.set_opening(opening)
        self._gripper_command = opening
        self._tick_if_complete()

    def reset(self, task: str, seed: int) -> int:
        """Start an episode and publish its first tick; returns its stamp (ns)."""
        self._arm_command = self._gripper_command = None
        self._session.reset(task, seed)
        self._look()
        return self._session.clock_ns

    def hold(self) -> None:
        """No action: without commands the simulation does not advance."""

    def _tick_if_complete(self) -> None:
        if self._arm_command is None or (self._waits_for_gripper and self._gripper_command is None):
            return
        command, self._arm_command, self._gripper_command = self._arm_command, None, None
        self._session.step(command)
        self._node.counters["ticks"] += 1
        self._look()

    def _look(self) -> None:
        started_ns = self._node.steady_clock.now().nanoseconds
        images = {name: self._session.world.render(name) for name in self._cameras}
        self._node.counters["render_us"] += (self._node.steady_clock.now().nanoseconds - started_ns) // 1000
        truth = self._session.ground_truth()
        self._present = (self._session.clock_ns, self._session.joints(), images, truth)
        # Before the rest, which may end the episode: then its last picture is there.
        if self._publisher.spectator.is_due_at_tick(truth.tick):
            world = self._session.world
            self._publisher.spectator.show(Capture(self._session.clock_ns, world, world.state()))
        self._publish()
        self._window.show(self._session.world)

    def _repeat(self) -> None:
        self._node.counters["repeats"] += 1
        self._publish()

    def _publish(self) -> None:
        if self._present is None:
            return
        stamp_ns, joints, images, ground_truth = self._present
        calibrations = self._session.world.calibrations
        self._publisher.clock(stamp_ns)
        self._publisher.ground_truth(ground_truth, stamp_ns)
        self._publisher.images(images, stamp_ns, calibrations)
        self._publisher.joints(joints, stamp_ns)
        if self._timer is not None:
            self._timer.reset()
