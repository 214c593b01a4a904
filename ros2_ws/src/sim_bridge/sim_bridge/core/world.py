# SPDX-License-Identifier: Apache-2.0
"""Simulated arm and task: reset by seed, step by joint targets, camera images and ground truth."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sim_bridge.core.arm import PANDA, ArmModel
from sim_bridge.core.cameras import CameraCalibration, Cameras
from sim_bridge.core.domain_randomization import DomainRandomization
from sim_bridge.core.gl import mujoco
from sim_bridge.core.offscreen import Image
from sim_bridge.core.scene import CAMERAS, TIMESTEP_S, build_spec
from sim_bridge.core.scene_index import SceneIndex
from sim_bridge.core.simulated_arm import SimulatedArm
from sim_bridge.core.task_bodies import TaskBodies
from sim_bridge.core.tasks import Layout, get_task
from sim_bridge.core.truth import BodyState, Sense, Truth
from whetstone_common.core.kinematics import Pose

Array = npt.NDArray[np.float64]

SETTLE_STEPS = 50


class World:
    """A simulated arm at a table, for one task.

    Args:
        task: Name of a registered task.
        image_size: Width and height of both cameras' images (px).
        control_hz: Ticks per second.
        arm: The arm to simulate.

    Raises:
        ValueError: If the task is unknown or the tick is not a whole number of physics steps.
    """

    def __init__(self, task: str, *, image_size: int = 96, control_hz: float = 20.0, arm: ArmModel = PANDA) -> None:
        self._task = get_task(task)
        self._substeps = round(1.0 / control_hz / TIMESTEP_S)
        if self._substeps < 1 or not math.isclose(self._substeps * TIMESTEP_S * control_hz, 1.0):
            raise ValueError(f"control_hz {control_hz} is not a whole number of {TIMESTEP_S} s physics steps")
        self._model = _compile_scene(self._task.name, arm).__copy__()
        self._data = mujoco.MjData(self._model)
        names = [body.name for body in self._task.bodies]
        index = SceneIndex.of(self._model, arm, names)
        self._arm = SimulatedArm(arm, self._data, index)
        self._bodies = TaskBodies(self._task, self._model, self._data, index)
        self._looks = DomainRandomization(self._model, names)
        cameras = {name: name if name == "front" else arm.prefix + name for name in CAMERAS}
        self.cameras = Cameras(self._model, image_size, cameras)
        self.tick = 0
        self.reset(0)

    @property
    def joint_lower(self) -> Array:
        """Lower limits (7,) rad."""
        return self._arm.joint_lower

    @property
    def joint_upper(self) -> Array:
        """Upper limits (7,) rad."""
        return self._arm.joint_upper

    # -- episodes ---------------------------------------------------------------------------------------------

    def reset(self, seed: int) -> None:
        """Start the episode of `seed`; the same seed is the same episode, bit for bit."""
        layout_rng, arm_rng, looks_rng = (np.random.default_rng([seed, k]) for k in range(3))
        layout = self._task.draw(layout_rng)
        self._instruction = layout.instruction
        mujoco.mj_resetData(self._model, self._data)
        self._looks.draw(looks_rng, layout.colours)
        self._arm.place(arm_rng)
        self._bodies.place(layout)
        for _ in range(SETTLE_STEPS):
            mujoco.mj_step(self._model, self._data)
        self._data.time = 0.0
        self.tick = 0
        mujoco.mj_forward(self._model, self._data)
        tcp = self.tcp_pose()
        self.calibrations: dict[str, CameraCalibration] = {
            name: self.cameras.calibration(self._data, name, tcp) for name in self.cameras.names
        }

    def step(self, joint_targets: npt.ArrayLike, gripper_opening: float) -> None:
        """Advance one tick; the command is interpolated linearly from the last one.

        Args:
            joint_targets: (7,) rad.
            gripper_opening: 1 open, 0 closed.

        Raises:
            ValueError: If a size is wrong or a number is not finite.
        """
        wanted = self._arm.control(joint_targets, gripper_opening)
        before = self._data.ctrl.copy()
        for k in range(1, self._substeps + 1):
            self._data.ctrl[:] = before + (wanted - before) * (k / self._substeps)
            mujoco.mj_step(self._model, self._data)
        self._finish(1)

    def advance(self, joint_targets: npt.ArrayLike, gripper_opening: float, steps: int) -> None:
        """Run `steps` physics steps with a constant command; the caller paces and interpolates."""
        self._data.ctrl[:] = self._arm.control(joint_targets, gripper_opening)
        mujoco.mj_step(self._model, self._data, steps)
        self._finish(0)

    def _finish(self, ticks: int) -> None:
        # mj_step ends with velocities integrated but positions of bodies and sites one step behind.
        mujoco.mj_forward(self._model, self._data)
        self.tick += ticks

    # -- what a real arm tells --------------------------------------------------------------------------------

    @property
    def task_name(self) -> str:
        """Name of the task."""
        return self._task.name

    @property
    def image_size(self) -> int:
        """Width and height of the images (px)."""
        return self.cameras.size

    @property
    def time_s(self) -> float:
        """Simulated time since the reset."""
        return float(self._data.time)

    def joint_positions(self) -> Array:
        """(7,) rad."""
        return self._arm.joint_positions()

    def joint_velocities(self) -> Array:
        """(7,) rad/s."""
        return self._arm.joint_velocities()

    def gripper_opening(self) -> float:
        """1 fully open, 0 fully closed."""
        return self._arm.gripper_opening()

    def command(self) -> tuple[Array, float]:
        """Joint targets (7,) rad and gripper opening of the simulated controller."""
        return self._arm.command()

    def tcp_pose(self) -> Pose:
        """Measured TCP pose in the base frame."""
        return self._arm.tcp_pose()

    def render(self, camera: str) -> Image:
        """Image of `camera` ("front" or "wrist"), (H, W, 3) uint8 RGB. Call from one thread only."""
        return self.cameras.render(self._data, camera)

    def close(self) -> None:
        """Free the OpenGL context; call from the thread that rendered."""
        self.cameras.close()

    @property
    def model(self) -> Any:
        """The compiled model for rendering; a reset changes its colours, lights and cameras."""
        return self._model

    def state(self) -> Array:
        """State that is needed for rendering elsewhere, as a flat copy (see `WorldSnapshot`)."""
        state = np.empty(mujoco.mj_stateSize(self._model, mujoco.mjtState.mjSTATE_INTEGRATION))
        mujoco.mj_getState(self._model, self._data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        return state

    # -- what it does not -------------------------------------------------------------------------------------

    @property
    def instruction(self) -> str:
        """Instruction of the policy. Setting it does not change the pair that success refers to."""
        return self._instruction

    @instruction.setter
    def instruction(self, words: str) -> None:
        self._instruction = words

    @property
    def layout(self) -> Layout:
        """Sampled layout of this episode."""
        return self._bodies.layout

    def sense(self) -> Sense:
        """Robot state and ground truth."""
        return Sense(self.tcp_pose(), self.joint_positions(), self.gripper_opening(), self.truth())

    def truth(self) -> Truth:
        """Ground truth of the pair sampled at reset."""
        return self._bodies.truth(self._instruction)

    def body_state(self, name: str) -> BodyState:
        """State of any task body.

        Raises:
            ValueError: If there is no such body.
        """
        return self._bodies.state(name)


@cache
def _compile_scene(task: str, arm: ArmModel) -> Any:
    return build_spec(arm, get_task(task).bodies).compile()


class WorldSnapshot:
    """Renders stored states of a world in another thread, while the world continues.

    Args:
        world: World whose model is rendered.
    """

    def __init__(self, world: World) -> None:
        self._model = world.model
        self._data = mujoco.MjData(self._model)
        self._cameras = Cameras(self._model, world.image_size, world.cameras.names)

    def take(self, state: Array) -> None:
        """Set the scene to `state`, as given by `World.state`."""
        mujoco.mj_setState(self._model, self._data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)

    def render(self, camera: str) -> Image:
        """Image of `camera` at the last state."""
        return self._cameras.render(self._data, camera)

    def close(self) -> None:
        """Free the OpenGL context; call from the thread that rendered."""
        self._cameras.close()
