# SPDX-License-Identifier: Apache-2.0
"""A world with a controller, a clock that never goes back, and a count of its episodes: what a node drives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim_bridge.core.commands import Trajectory
from sim_bridge.core.controller import Controller
from sim_bridge.core.expert import Aim, Pilot
from sim_bridge.core.scene import TIMESTEP_S
from sim_bridge.core.tasks import get_task
from sim_bridge.core.truth import Truth
from sim_bridge.core.world import World

Array = npt.NDArray[np.float64]

NS_PER_S = 1_000_000_000
START_NS = NS_PER_S  # not zero, which means "no time" in messages


@dataclass(frozen=True, eq=False)
class Joints:
    """What joint states tell.

    Attributes:
        positions: (7,) rad.
        velocities: (7,) rad/s.
        opening: Gripper opening, 1 open, 0 closed.
    """

    positions: Array
    velocities: Array
    opening: float


@dataclass(frozen=True, eq=False)
class Insight:
    """The truth of a moment and where it stands in its episode.

    Attributes:
        truth: State of the instructed pair.
        seed: Of the episode.
        reset_id: Number of the reset since the cell was built.
        tick: Ticks since the reset.
        aim: What the scripted expert would do, if the cell has one.
    """

    truth: Truth
    seed: int
    reset_id: int
    tick: int
    aim: Aim | None


class Cell:
    """Owns the worlds of all tasks seen so far, of which one is current.

    Args:
        task: Task to start with.
        seed: Episode to start with.
        image_size: Width and height of the images (px).
        control_hz: Ticks per second.
        with_expert: Whether insights carry the scripted expert's aim.
    """

    def __init__(self, task: str, seed: int, *, image_size: int, control_hz: float, with_expert: bool) -> None:
        self._image_size = image_size
        self._control_hz = control_hz
        self._with_expert = with_expert
        self._worlds: dict[str, World] = {}
        self._clock_ns = START_NS
        self._reset_id = 0
        self.tick_ns = round(NS_PER_S / control_hz)
        self.reset(task, seed)

    def prepare(self, task: str) -> None:
        """Build the world of `task` if there is none yet: takes a second, and needs no lock.

        Raises:
            ValueError: If there is no such task.
        """
        if task not in self._worlds:
            self._worlds[task] = World(task, image_size=self._image_size, control_hz=self._control_hz)

    def reset(self, task: str, seed: int) -> None:
        """Start the episode of `seed`, one tick later by the clock."""
        self.prepare(task)
        world = self._worlds[task]
        world.reset(seed)
        self._world, self._seed, self._ticks_ns = world, seed, 0
        self._reset_id += 1
        self._clock_ns += self.tick_ns
        self._controller = Controller(*world.command())
        self._pilot = Pilot(get_task(task)) if self._with_expert else None

    @property
    def world(self) -> World:
        """The current world."""
        return self._world

    @property
    def clock_ns(self) -> int:
        """Simulated time, over all episodes."""
        return self._clock_ns

    @property
    def reset_id(self) -> int:
        """Number of the present episode since the cell was built."""
        return self._reset_id

    def joints(self) -> Joints:
        """Joint state now."""
        world = self._world
        return Joints(world.joint_positions(), world.joint_velocities(), world.gripper_opening())

    def insight(self) -> Insight:
        """Truth now; ask once a tick, as the expert counts ticks."""
        sense = self._world.sense()
        aim = self._pilot.aim(sense) if self._pilot is not None else None
        return Insight(sense.truth, self._seed, self._reset_id, self._ticks_ns // self.tick_ns, aim)

    def follow(self, trajectory: Trajectory) -> None:
        """Command the arm, and the gripper if the trajectory says so."""
        self._controller.follow(trajectory, self._clock_ns / NS_PER_S)

    def set_opening(self, opening: float) -> None:
        """Command the gripper."""
        self._controller.set_opening(opening)

    def hold(self) -> None:
        """Stop where the command is now."""
        self._controller.hold(self._clock_ns / NS_PER_S)

    def step(self, trajectory: Trajectory) -> None:
        """Lockstep: one tick, at whose end the command has reached the trajectory's last point."""
        opening = None if trajectory.openings is None else trajectory.openings[-1:]
        self._controller.follow(Trajectory(np.zeros(1), trajectory.joints[-1:], opening), self._clock_ns / NS_PER_S)
        self._world.step(*self._controller.sample(self._clock_ns / NS_PER_S))
        self._pass(self.tick_ns)

    def advance(self, steps: int) -> None:
        """Real time: `steps` physics steps under the command of the time at their end."""
        passed_ns = round(steps * TIMESTEP_S * NS_PER_S)
        self._world.advance(*self._controller.sample((self._clock_ns + passed_ns) / NS_PER_S), steps)
        self._pass(passed_ns)

    def _pass(self, passed_ns: int) -> None:
        self._clock_ns += passed_ns
        self._ticks_ns += passed_ns

    def close(self) -> None:
        """Free what was made for drawing; call from the thread that rendered."""
        for world in self._worlds.values():
            world.close()
