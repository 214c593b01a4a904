# SPDX-License-Identifier: Apache-2.0
"""Lockstep: the world stands still until the arm is commanded, then goes on by exactly one tick."""

from __future__ import annotations

from typing import Any

from sim_bridge.core.cell import Cell, Insight, Joints
from sim_bridge.core.commands import CommandRefused, Refusal, Trajectory
from sim_bridge.nodes.outlet import Images, Outlet
from sim_bridge.nodes.window import Window
from whetstone_common.nodes.node import WhetstoneNode


class Lockstep:
    """Steps the cell in the callback that brought the command.

    Args:
        node: Whose parameters and timers are used.
        cell: What is stepped.
        outlet: Where every tick is published.
        window: Shows the ticks.
    """

    def __init__(self, node: WhetstoneNode, cell: Cell, outlet: Outlet, window: Window) -> None:
        self._node = node
        self._cell = cell
        self._outlet = outlet
        self._window = window
        self._cameras: list[str] = node.param("cameras")
        self._waits_for_gripper: bool = node.param("separate_gripper")
        self._arm_command: Trajectory | None = None
        self._gripper_command: float | None = None
        self._present: tuple[int, Joints, Images, Insight] | None = None
        self._timer: Any = None

    def start(self) -> None:
        """Publish the first tick, and go on to repeat the present one."""
        self._look()
        self._timer = self._node.create_steady_timer(self._node.param("repeat_period_s"), self._repeat)

    def stop(self) -> None:
        """Publish no more."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
        self._window.close()
        self._cell.close()

    def follow(self, trajectory: Trajectory, stamp_ns: int) -> None:
        """Take an arm command.

        Args:
            trajectory: Whose last point is the target of the tick.
            stamp_ns: Stamp of the tick that it answers, 0 for whatever is present.

        Raises:
            CommandRefused: If it answers another tick than the present one, for instance of the last episode.
        """
        if stamp_ns not in (0, self._cell.clock_ns):
            raise CommandRefused(Refusal.STALE, f"a command for {stamp_ns} ns, the tick is {self._cell.clock_ns} ns")
        self._arm_command = trajectory
        self._tick_if_complete()

    def set_opening(self, opening: float) -> None:
        """Take a gripper command."""
        self._cell.set_opening(opening)
        self._gripper_command = opening
        self._tick_if_complete()

    def reset(self, task: str, seed: int) -> int:
        """Start an episode and publish its first tick; its stamp (ns)."""
        self._arm_command = self._gripper_command = None
        self._cell.reset(task, seed)
        self._look()
        return self._cell.clock_ns

    def hold(self) -> None:
        """Nothing to do: without commands the world stands still."""

    def _tick_if_complete(self) -> None:
        if self._arm_command is None or (self._waits_for_gripper and self._gripper_command is None):
            return
        command, self._arm_command, self._gripper_command = self._arm_command, None, None
        self._cell.step(command)
        self._node.counters["ticks"] += 1
        self._look()

    def _look(self) -> None:
        started_ns = self._node.steady_clock.now().nanoseconds
        images = {name: self._cell.world.render(name) for name in self._cameras}
        self._node.counters["render_us"] += (self._node.steady_clock.now().nanoseconds - started_ns) // 1000
        self._present = (self._cell.clock_ns, self._cell.joints(), images, self._cell.insight())
        self._publish()
        self._window.show(self._cell.world)

    def _repeat(self) -> None:
        self._node.counters["repeats"] += 1
        self._publish()

    def _publish(self) -> None:
        if self._present is None:
            return
        stamp_ns, joints, images, insight = self._present
        focal_px = {name: self._cell.world.cameras.focal_px(name) for name in images}
        self._outlet.clock(stamp_ns)
        self._outlet.insight(insight, stamp_ns)
        self._outlet.images(images, stamp_ns, focal_px)
        self._outlet.joints(joints, stamp_ns)
        if self._timer is not None:
            self._timer.reset()
