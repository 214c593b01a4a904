# SPDX-License-Identifier: Apache-2.0
"""Simulated arm and task: reset by seed, step by joint targets, camera images and ground truth."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sim_bridge.core.arm import PANDA, ArmModel
from sim_bridge.core.cameras import CameraCalibration, Cameras, Image
from sim_bridge.core.domain_randomization import DomainRandomization
from sim_bridge.core.gl import mujoco
from sim_bridge.core.scene import CAMERAS, TIMESTEP_S, build_spec
from sim_bridge.core.scene_index import SceneIndex
from sim_bridge.core.tasks import Layout, PairState, get_task
from sim_bridge.core.truth import BodyState, Sense, Truth, progress_of, stage_of
from whetstone_common.core.kinematics import Pose

Array = npt.NDArray[np.float64]

START_NOISE_RAD = 0.05  # largest initial distance of each joint from home
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
        self._arm = arm
        self._substeps = round(1.0 / control_hz / TIMESTEP_S)
        if self._substeps < 1 or not math.isclose(self._substeps * TIMESTEP_S * control_hz, 1.0):
            raise ValueError(f"control_hz {control_hz} is not a whole number of {TIMESTEP_S} s physics steps")
        self._image_size = image_size
        self._model = _compile_scene(self._task.name, arm).__copy__()
        self._data = mujoco.MjData(self._model)
        self._looks = DomainRandomization(self._model, [body.name for body in self._task.bodies])
        names = {name: name if name == "front" else arm.prefix + name for name in CAMERAS}
        self.cameras = Cameras(self._model, image_size, names)
        self._index = SceneIndex.of(self._model, arm, [body.name for body in self._task.bodies])
        self.tick = 0
        self.reset(0)

    @property
    def joint_lower(self) -> Array:
        """Lower limits (7,) rad."""
        return self._index.joint_range[:, 0]

    @property
    def joint_upper(self) -> Array:
        """Upper limits (7,) rad."""
        return self._index.joint_range[:, 1]

    # -- episodes ---------------------------------------------------------------------------------------------

    def reset(self, seed: int) -> None:
        """Start the episode of `seed`; the same seed is the same episode, bit for bit."""
        layout_rng, arm_rng, looks_rng = (np.random.default_rng([seed, k]) for k in range(3))
        self._layout = self._task.draw(layout_rng)
        self._instruction = self._layout.instruction
        mujoco.mj_resetData(self._model, self._data)
        self._looks.draw(looks_rng, self._layout.colours)
        self._place_arm(arm_rng)
        self._place_bodies()
        for _ in range(SETTLE_STEPS):
            mujoco.mj_step(self._model, self._data)
        self._data.time = 0.0
        self.tick = 0
        mujoco.mj_forward(self._model, self._data)
        tcp = self.tcp_pose()
        self.calibrations: dict[str, CameraCalibration] = {
            name: self.cameras.calibration(self._data, name, tcp) for name in self.cameras.names
        }

    def _place_arm(self, rng: np.random.Generator) -> None:
        home = np.asarray(self._arm.home_rad)
        start = home + rng.uniform(-START_NOISE_RAD, START_NOISE_RAD, len(home))
        self._data.qpos[self._index.positions] = start
        self._data.ctrl[self._index.actuators] = start
        self._data.ctrl[self._index.gripper_actuator] = 0.0

    def _place_bodies(self) -> None:
        for name, placement in self._layout.placements.items():
            turn = np.array([math.cos(placement.yaw_rad / 2), 0.0, 0.0, math.sin(placement.yaw_rad / 2)])
            mocap = self._model.body_mocapid[self._index.bodies[name]]
            if mocap >= 0:
                self._data.mocap_pos[mocap], self._data.mocap_quat[mocap] = placement.position, turn
            else:
                address = int(self._model.joint(name).qposadr[0])
                self._data.qpos[address : address + 7] = (*placement.position, *turn)

    def step(self, joint_targets: npt.ArrayLike, gripper_opening: float) -> None:
        """Advance one tick; the command is interpolated linearly from the last one.

        Args:
            joint_targets: (7,) rad.
            gripper_opening: 1 open, 0 closed.

        Raises:
            ValueError: If a size is wrong or a number is not finite.
        """
        wanted = self._control(joint_targets, gripper_opening)
        before = self._data.ctrl.copy()
        for k in range(1, self._substeps + 1):
            self._data.ctrl[:] = before + (wanted - before) * (k / self._substeps)
            mujoco.mj_step(self._model, self._data)
        self._finish(1)

    def advance(self, joint_targets: npt.ArrayLike, gripper_opening: float, steps: int) -> None:
        """Run `steps` physics steps with a constant command; the caller paces and interpolates."""
        self._data.ctrl[:] = self._control(joint_targets, gripper_opening)
        mujoco.mj_step(self._model, self._data, steps)
        self._finish(0)

    def _finish(self, ticks: int) -> None:
        # mj_step ends with velocities integrated but positions of bodies and sites one step behind.
        mujoco.mj_forward(self._model, self._data)
        self.tick += ticks

    def _control(self, joint_targets: npt.ArrayLike, gripper_opening: float) -> Array:
        joints = np.asarray(joint_targets, dtype=np.float64)
        if joints.shape != self._index.actuators.shape:
            raise ValueError(f"expected {len(self._index.actuators)} joint targets, got shape {joints.shape}")
        if not (np.isfinite(joints).all() and math.isfinite(gripper_opening)):
            raise ValueError("the command is not finite")
        wanted: Array = self._data.ctrl.copy()
        wanted[self._index.actuators] = np.clip(joints, self.joint_lower, self.joint_upper)
        closed = 1.0 - min(1.0, max(0.0, gripper_opening))
        wanted[self._index.gripper_actuator] = self._arm.gripper_ctrl_closed * closed
        return wanted

    # -- what a real arm tells --------------------------------------------------------------------------------

    @property
    def task_name(self) -> str:
        """Name of the task."""
        return self._task.name

    @property
    def image_size(self) -> int:
        """Width and height of the images (px)."""
        return self._image_size

    @property
    def time_s(self) -> float:
        """Simulated time since the reset."""
        return float(self._data.time)

    def joint_positions(self) -> Array:
        """(7,) rad."""
        return np.array(self._data.qpos[self._index.positions])

    def joint_velocities(self) -> Array:
        """(7,) rad/s."""
        return np.array(self._data.qvel[self._index.velocities])

    def gripper_opening(self) -> float:
        """1 fully open, 0 fully closed."""
        closed = float(self._data.qpos[self._index.gripper_position]) / self._arm.gripper_joint_closed_rad
        return min(1.0, max(0.0, 1.0 - closed))

    def command(self) -> tuple[Array, float]:
        """Joint targets (7,) rad and gripper opening of the simulated controller."""
        closed = float(self._data.ctrl[self._index.gripper_actuator]) / self._arm.gripper_ctrl_closed
        return np.array(self._data.ctrl[self._index.actuators]), 1.0 - closed

    def tcp_pose(self) -> Pose:
        """Measured TCP pose in the base frame."""
        tcp = self._index.tcp
        return Pose(self._data.site_xpos[tcp].copy(), self._data.site_xmat[tcp].reshape(3, 3).copy())

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
        return self._layout

    def sense(self) -> Sense:
        """Robot state and ground truth."""
        return Sense(self.tcp_pose(), self.joint_positions(), self.gripper_opening(), self.truth())

    def _tilt_rad(self, thing: int) -> float:
        """Angle between the vertical and the body's axis that is vertical at the start; of a cube, the nearest axis."""
        upright = np.abs(self._data.xmat[thing][6:9])  # how vertical each axis of the body is
        spec = next(body for body in self._task.bodies if body.name == self._layout.object_name)
        return math.acos(min(1.0, float(upright.max() if spec.stands_on_any_face else upright[2])))

    def truth(self) -> Truth:
        """Ground truth of the pair sampled at reset."""
        thing, goal = (self._index.bodies[name] for name in (self._layout.object_name, self._layout.goal_name))
        position = self._data.xpos[thing].copy()
        goal_position = self._data.xpos[goal] + np.array([0.0, 0.0, self._task.goal_offset_z_m])
        grasped, touched = self._contacts(thing)
        pair = PairState(
            error=self._data.xmat[goal].reshape(3, 3).T @ (position - goal_position),
            tilt_rad=self._tilt_rad(thing),
            speed_m_s=float(np.linalg.norm(self._data.cvel[thing][3:])),
            touched=touched,
        )
        done = self._task.done(pair)
        lift_m = position[2] - self._layout.placements[self._layout.object_name].position[2]
        stage = stage_of(pair, lift_m, grasped=grasped, done=done)
        reach_m = float(np.linalg.norm(self._data.site_xpos[self._index.tcp] - position))
        return Truth(
            task=self._task.name,
            instruction=self._instruction,
            true_instruction=self._layout.instruction,
            success=done,
            stage=stage,
            progress=progress_of(stage, pair, reach_m),
            object_position=position,
            goal_position=goal_position,
            object_yaw_rad=_yaw(self._data.xmat[thing]),
            goal_yaw_rad=_yaw(self._data.xmat[goal]),
            grasped=grasped,
            touched=touched,
        )

    def body_state(self, name: str) -> BodyState:
        """State of any task body.

        Raises:
            ValueError: If there is no such body.
        """
        if name not in self._index.bodies:
            raise ValueError(f"unknown body {name!r}; there are {', '.join(self._index.bodies)}")
        body = self._index.bodies[name]
        axes = self._data.xmat[body].reshape(3, 3)
        level = axes[:, int(np.abs(axes[2]).argmin())]
        return BodyState(
            position=self._data.xpos[body].copy(),
            yaw_rad=math.atan2(level[1], level[0]),
            upright=float(abs(axes[2, 2])),
            grasped=self._contacts(body)[0],
        )

    def _contacts(self, body: int) -> tuple[bool, bool]:
        owner = self._model.geom_bodyid[self._data.contact.geom]  # (contacts, 2)
        others = np.where(owner[:, 0] == body, owner[:, 1], owner[:, 0])[(owner == body).any(axis=1)]
        return all((others == pad).any() for pad in self._index.pads), bool(self._index.is_robot[others].any())


@cache
def _compile_scene(task: str, arm: ArmModel) -> Any:
    return build_spec(arm, get_task(task).bodies).compile()


def _yaw(flat_rotation: Array) -> float:
    return math.atan2(flat_rotation[3], flat_rotation[0])


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
