# SPDX-License-Identifier: Apache-2.0
"""One simulated cell: reset by seed, step by joint targets, look through its cameras, ask for the truth."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sim_bridge.core.arm import PANDA, ArmModel
from sim_bridge.core.cameras import Cameras, Image
from sim_bridge.core.gl import mujoco
from sim_bridge.core.looks import Looks
from sim_bridge.core.scene import CAMERAS, TIMESTEP_S, build_spec
from sim_bridge.core.tasks import Layout, PairState, get_task
from sim_bridge.core.truth import Sense, Truth, progress_of, stage_of
from whetstone_common.core.kinematics import Pose

Array = npt.NDArray[np.float64]

START_NOISE_RAD = 0.05  # how far each joint starts from home at most
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
        self._looks = Looks(self._model, [body.name for body in self._task.bodies])
        names = {name: name if name == "front" else arm.prefix + name for name in CAMERAS}
        self.cameras = Cameras(self._model, image_size, names)
        self._look_up()
        self.tick = 0
        self.reset(0)

    def _look_up(self) -> None:
        model, arm = self._model, self._arm
        joints = [model.joint(name) for name in arm.ros_joints]
        self._joint_address = np.array([joint.qposadr[0] for joint in joints])
        self._velocity_address = np.array([joint.dofadr[0] for joint in joints])
        self._actuators = np.array([model.actuator(name).id for name in arm.ros_joints])
        self._gripper_address = int(model.joint(arm.prefix + arm.gripper_joint).qposadr[0])
        self._gripper_actuator = model.actuator(arm.prefix + arm.gripper_actuator).id
        self._tcp = model.site(arm.prefix + "tcp").id
        self._bodies = {body.name: model.body(body.name).id for body in self._task.bodies}
        self._pads = tuple(model.body(f"{arm.prefix}{side}_pad").id for side in ("left", "right"))
        first = model.body(arm.prefix + "link0").id
        self._is_robot = np.arange(model.nbody) >= first
        self.joint_lower = model.jnt_range[[joint.id for joint in joints], 0].copy()
        self.joint_upper = model.jnt_range[[joint.id for joint in joints], 1].copy()

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

    def _place_arm(self, rng: np.random.Generator) -> None:
        start = np.asarray(self._arm.home_rad) + rng.uniform(-START_NOISE_RAD, START_NOISE_RAD, len(self._actuators))
        self._data.qpos[self._joint_address] = start
        self._data.ctrl[self._actuators] = start
        self._data.ctrl[self._gripper_actuator] = 0.0

    def _place_bodies(self) -> None:
        for name, placement in self._layout.placements.items():
            turn = np.array([math.cos(placement.yaw_rad / 2), 0.0, 0.0, math.sin(placement.yaw_rad / 2)])
            mocap = self._model.body_mocapid[self._bodies[name]]
            if mocap >= 0:
                self._data.mocap_pos[mocap], self._data.mocap_quat[mocap] = placement.position, turn
            else:
                address = int(self._model.joint(name).qposadr[0])
                self._data.qpos[address : address + 7] = (*placement.position, *turn)

    def step(self, joint_targets: npt.ArrayLike, gripper_opening: float) -> None:
        """Advance one tick, the command moving evenly from the last one to this one.

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
        """Run `steps` physics steps at a constant command, for a caller that paces and interpolates itself."""
        self._data.ctrl[:] = self._control(joint_targets, gripper_opening)
        mujoco.mj_step(self._model, self._data, steps)
        self._finish(0)

    def _finish(self, ticks: int) -> None:
        # mj_step ends with velocities integrated but positions of bodies and sites one step behind.
        mujoco.mj_forward(self._model, self._data)
        self.tick += ticks

    def _control(self, joint_targets: npt.ArrayLike, gripper_opening: float) -> Array:
        joints = np.asarray(joint_targets, dtype=np.float64)
        if joints.shape != self._actuators.shape:
            raise ValueError(f"expected {len(self._actuators)} joint targets, got shape {joints.shape}")
        if not (np.isfinite(joints).all() and math.isfinite(gripper_opening)):
            raise ValueError("the command is not finite")
        wanted: Array = self._data.ctrl.copy()
        wanted[self._actuators] = np.clip(joints, self.joint_lower, self.joint_upper)
        wanted[self._gripper_actuator] = self._arm.gripper_ctrl_closed * (1.0 - min(1.0, max(0.0, gripper_opening)))
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
        return np.array(self._data.qpos[self._joint_address])

    def joint_velocities(self) -> Array:
        """(7,) rad/s."""
        return np.array(self._data.qvel[self._velocity_address])

    def gripper_opening(self) -> float:
        """1 fully open, 0 fully closed."""
        closed = float(self._data.qpos[self._gripper_address]) / self._arm.gripper_joint_closed_rad
        return min(1.0, max(0.0, 1.0 - closed))

    def command(self) -> tuple[Array, float]:
        """The joint targets (7,) rad and gripper opening that the simulated controller holds now."""
        closed = float(self._data.ctrl[self._gripper_actuator]) / self._arm.gripper_ctrl_closed
        return np.array(self._data.ctrl[self._actuators]), 1.0 - closed

    def tcp_pose(self) -> Pose:
        """Measured TCP pose in the base frame."""
        return Pose(self._data.site_xpos[self._tcp].copy(), self._data.site_xmat[self._tcp].reshape(3, 3).copy())

    def render(self, camera: str) -> Image:
        """Image of `camera` ("front" or "wrist"), (H, W, 3) uint8 RGB. Call from one thread only."""
        return self.cameras.render(self._data, camera)

    def close(self) -> None:
        """Free the OpenGL context; call from the thread that rendered."""
        self.cameras.close()

    @property
    def model(self) -> Any:
        """The compiled model, for those who draw it; a reset changes its colours, lights and cameras."""
        return self._model

    def state(self) -> Array:
        """All that is needed to draw this moment somewhere else, as a flat copy (see `Snapshot`)."""
        state = np.empty(mujoco.mj_stateSize(self._model, mujoco.mjtState.mjSTATE_INTEGRATION))
        mujoco.mj_getState(self._model, self._data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        return state

    # -- what it does not -------------------------------------------------------------------------------------

    @property
    def instruction(self) -> str:
        """The words given to the policy. Setting them does not change what success is judged on."""
        return self._instruction

    @instruction.setter
    def instruction(self, words: str) -> None:
        self._instruction = words

    @property
    def layout(self) -> Layout:
        """What this episode's seed decided."""
        return self._layout

    def sense(self) -> Sense:
        """Robot state and truth together."""
        return Sense(self.tcp_pose(), self.joint_positions(), self.gripper_opening(), self.truth())

    def _tilt_rad(self, thing: int) -> float:
        """Angle between the vertical and the body's axis that is meant to be upright; of a cube, the nearest one."""
        upright = np.abs(self._data.xmat[thing][6:9])  # how vertical each axis of the body is
        spec = next(body for body in self._task.bodies if body.name == self._layout.object_name)
        return math.acos(min(1.0, float(upright.max() if spec.stands_on_any_face else upright[2])))

    def truth(self) -> Truth:
        """State of the pair drawn at reset."""
        thing, goal = (self._bodies[name] for name in (self._layout.object_name, self._layout.goal_name))
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
        reach_m = float(np.linalg.norm(self._data.site_xpos[self._tcp] - position))
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

    def _contacts(self, body: int) -> tuple[bool, bool]:
        owner = self._model.geom_bodyid[self._data.contact.geom]  # (contacts, 2)
        others = np.where(owner[:, 0] == body, owner[:, 1], owner[:, 0])[(owner == body).any(axis=1)]
        return all((others == pad).any() for pad in self._pads), bool(self._is_robot[others].any())


@cache
def _compile_scene(task: str, arm: ArmModel) -> Any:
    return build_spec(arm, get_task(task).bodies).compile()


def _yaw(flat_rotation: Array) -> float:
    return math.atan2(flat_rotation[3], flat_rotation[0])


class Snapshot:
    """Draws moments of a world away from it, in another thread, while the world goes on.

    Args:
        world: Whose model is drawn.
    """

    def __init__(self, world: World) -> None:
        self._model = world.model
        self._data = mujoco.MjData(self._model)
        self._cameras = Cameras(self._model, world.image_size, world.cameras.names)

    def take(self, state: Array) -> None:
        """Put the scene into `state`, as given by `World.state`."""
        mujoco.mj_setState(self._model, self._data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)

    def render(self, camera: str) -> Image:
        """Image of `camera` at the state taken last."""
        return self._cameras.render(self._data, camera)

    def close(self) -> None:
        """Free the OpenGL context; call from the thread that rendered."""
        self._cameras.close()
