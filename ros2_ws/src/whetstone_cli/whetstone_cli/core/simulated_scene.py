# SPDX-License-Identifier: Apache-2.0
"""The simulator as a scene of `rl_learner`'s rollout, with the scripted operator of operator_node in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rl_learner.core.rollout.scene import Driven
from robot_operation.core.scripted_intervention import InterventionConfig, ScriptedIntervention, SimState
from sim_bridge.core.tcp_simulation import TcpSimulation
from vla_policy.core.protocol import Observation
from whetstone_common.core.kinematics import Pose


class SimulatedScene:
    """A simulation behind the interface of `Scene`.

    Args:
        simulation: World, expert and limits.
        joint_names: Of the arm, then of the gripper, as in the robot file.
    """

    def __init__(self, simulation: TcpSimulation, joint_names: tuple[str, ...]) -> None:
        self.simulation, self.joint_names = simulation, joint_names

    @property
    def tick(self) -> int:
        """Control steps since the reset."""
        return self.simulation.world.tick

    def reset(self, seed: int) -> None:
        """Start the episode of `seed`."""
        self.simulation.reset(seed)

    def observation(self) -> Observation:
        """Images, proprioception and instruction."""
        simulation = self.simulation
        return Observation(dict(simulation.images()), simulation.proprio(), simulation.world.instruction)

    def pose(self) -> Pose:
        """Measured TCP pose."""
        return self.simulation.world.tcp_pose()

    def success(self) -> bool:
        """Whether the task is done."""
        return self.simulation.truth().success

    def drive(self, pose: Pose, opening: float, *, by_human: bool = False) -> Driven:
        """One control step towards a TCP target, within the limits."""
        command = self.simulation.drive(pose, opening, by_human=by_human)
        return Driven(command.pose, command.opening, command.is_rejected)

    def truth(self) -> Mapping[str, NDArray[np.generic]]:
        """Object and goal (m), stage of the task, gripper opening."""
        truth = self.simulation.truth()
        return {
            "object": truth.object_position.astype(np.float32),
            "goal": truth.goal_position.astype(np.float32),
            "stage": np.asarray(truth.stage, np.uint8),
            "opening": np.asarray(self.simulation.world.gripper_opening(), np.float32),
        }


class SupervisingOperator(ABC):
    """Watches the truth of a scene, takes over, and drives as a scripted expert does.

    Args:
        config: When they take over and hand back.
    """

    def __init__(self, config: InterventionConfig | None = None) -> None:
        self._intervention = ScriptedIntervention(config or InterventionConfig())
        self._scene, self._demonstrates, self._drives = 0, False, False

    def begin(self, *, demonstrate: bool) -> None:
        """An episode begins."""
        self._scene += 1
        self._demonstrates = self._drives = demonstrate
        if demonstrate:
            self.begin_to_drive()

    def watch(self, commanded_opening: float) -> bool:
        """Whether the operator drives the next step."""
        if self._demonstrates:
            return True
        drove, self._drives = self._drives, self._intervention.update(self.state(self._scene, commanded_opening))
        if self._drives and not drove:
            self.begin_to_drive()
        return self._drives

    @abstractmethod
    def command(self) -> tuple[Pose, float]:
        """What the expert would do now."""

    @abstractmethod
    def begin_to_drive(self) -> None:
        """Let the expert forget what it was doing."""

    @abstractmethod
    def state(self, scene: int, commanded_opening: float) -> SimState:
        """What decides about a takeover, in the scene of that number."""


class ScriptedOperator(SupervisingOperator):
    """The operator of the shipped simulator.

    Args:
        simulation: What is watched.
        config: When they take over and hand back.
    """

    def __init__(self, simulation: TcpSimulation, config: InterventionConfig | None = None) -> None:
        super().__init__(config)
        self._simulation = simulation

    def command(self) -> tuple[Pose, float]:
        """What the expert would do now."""
        aim = self._simulation.expert_aim()
        return aim.pose, aim.opening

    def begin_to_drive(self) -> None:
        """Let the expert forget what it was doing."""
        self._simulation.reset_expert()

    def state(self, scene: int, commanded_opening: float) -> SimState:
        """What decides about a takeover, in the scene of that number."""
        world, truth = self._simulation.world, self._simulation.truth()
        return SimState(
            task=truth.task,
            scene=scene,
            tick=world.tick,
            tcp=world.tcp_pose().position,
            object=truth.object_position,
            goal=truth.goal_position,
            progress=truth.progress,
            opening=world.gripper_opening(),
            commanded=commanded_opening,
        )
