# SPDX-License-Identifier: Apache-2.0
"""Simulation session of a node: worlds, controller, monotonic clock and episode counter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim_bridge.core.commands import Trajectory
from sim_bridge.core.controller import Controller
from sim_bridge.core.expert import ExpertController, ExpertTarget
from sim_bridge.core.scene import TIMESTEP_S
from sim_bridge.core.tasks import get_task
from sim_bridge.core.truth import Truth
from sim_bridge.core.world import World

Array = npt.NDArray[np.float64]

NS_PER_S = 1_000_000_000
START_NS = NS_PER_S  # not zero, which means "no time" in messages


@dataclass(frozen=True, eq=False)
class Joints:
    """Content of a joint state.

    Attributes:
        positions: (7,) rad.
        velocities: (7,) rad/s.
        opening: Gripper opening, 1 open, 0 closed.
    """

    positions: Array
    velocities: Array
    opening: float


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Ground truth of one tick, with its place in the episode.

    Attributes:
        truth: State of the instructed pair.
        seed: Of the episode.
        reset_id: Number of the reset since the session began.
        tick: Ticks since the reset.
        aim: Command of the scripted expert, None without an expert.
    """

    truth: Truth
    seed: int
    reset_id: int
    tick: int
    aim: ExpertTarget | None


class SimSession:
    """Owns one world per task that was used, one of which is current.

    Args:
        task: Task to start with.
        seed: Episode to start with.
        image_size: Width and height of the images (px).
        control_hz: Ticks per second.
        with_expert: Whether the ground truth contains the scripted expert's command.
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
        """Build the world of `task` if it does not exist; takes about one second and needs no lock.

        Raises:
            ValueError: If there is no such task.
        """
        if task not in self._worlds:
            self._worlds[task] = World(task, image_size=self._image_size, control_hz=self._control_hz)

    def reset(self, task: str, seed: int) -> None:
        """Start the episode of `seed`; the clock advances by one tick."""
        self.prepare(task)
        world = self._worlds[task]
        world.reset(seed)
        self._world, self._seed, self._ticks_ns = world, seed, 0
        self._reset_id += 1
        self._clock_ns += self.tick_ns
        self._controller = Controller(*world.command())
        self._pilot = ExpertController(get_task(task)) if self._with_expert else None

    @property
    def world(self) -> World:
        """The current world."""
        return self._world

    @property
    def clock_ns(self) -> int:
        """Simulated time over all episodes."""
        return self._clock_ns

    @property
    def reset_id(self) -> int:
        """Number of the present episode since the session began."""
        return self._reset_id

    def joints(self) -> Joints:
        """Joint state now."""
        world = self._world
        return Joints(world.joint_positions(), world.joint_velocities(), world.gripper_opening())

    def ground_truth(self) -> GroundTruth:
        """Current ground truth; call once per tick, since the expert counts ticks."""
        sense = self._world.sense()
        aim = self._pilot.aim(sense) if self._pilot is not None else None
        return GroundTruth(sense.truth, self._seed, self._reset_id, self._ticks_ns // self.tick_ns, aim)

    def follow(self, trajectory: Trajectory) -> None:
        """Command the arm, and the gripper if the trajectory contains it."""
        self._controller.follow(trajectory, self._clock_ns / NS_PER_S)

    def set_opening(self, opening: float) -> None:
        """Command the gripper."""
        self._controller.set_opening(opening)

    def hold(self) -> None:
        """Hold the current command."""
        self._controller.hold(self._clock_ns / NS_PER_S)

    def step(self, trajectory: Trajectory) -> None:
        """Run one lockstep tick, at the end of which the command is the trajectory's last point."""
        opening = None if trajectory.openings is None else trajectory.openings[-1:]
        self._controller.follow(Trajectory(np.zeros(1), trajectory.joints[-1:], opening), self._clock_ns / NS_PER_S)
        self._world.step(*self._controller.sample(self._clock_ns / NS_PER_S))
        self._pass(self.tick_ns)

    def advance(self, steps: int) -> None:
        """Run `steps` physics steps in real time, with the command at the end time."""
        passed_ns = round(steps * TIMESTEP_S * NS_PER_S)
        self._world.advance(*self._controller.sample((self._clock_ns + passed_ns) / NS_PER_S), steps)
        self._pass(passed_ns)

    def _pass(self, passed_ns: int) -> None:
        self._clock_ns += passed_ns
        self._ticks_ns += passed_ns

    def close(self) -> None:
        """Free the OpenGL contexts; call it from the thread that rendered."""
        for world in self._worlds.values():
            world.close()
