# SPDX-License-Identifier: Apache-2.0
"""The scene: arm on a table, task bodies made of primitives, two cameras.

World frame == frame of the arm's base link: x away from the arm, z up, table top at z = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sim_bridge.core.arm import ArmModel
from sim_bridge.core.gl import mujoco
from sim_bridge.core.meshes import lighten_visuals

Array = npt.NDArray[np.float64]

TIMESTEP_S = 0.002  # the gripper's linkage constraints have a time constant of 5 ms
VISUAL_GROUP = 2
CLUSTER_M = 0.008
TABLE_HALF_M = (0.45, 0.6, 0.02)
TABLE_CENTRE_X_M = 0.4
LAMPS = ("lamp_left", "lamp_right")
CAMERAS = ("front", "wrist")
FRONT_POSITION_M = (1.05, 0.0, 0.62)
FRONT_TARGET_M = (0.47, 0.0, 0.06)
FRONT_FOVY_DEG = 34.0
# In the gripper's frame: x is the closing direction of the fingers, z points from the palm to the fingertips.
WRIST_POSITION_M = (0.0, 0.085, 0.015)
WRIST_TARGET_M = (0.0, 0.012, 0.150)
WRIST_FOVY_DEG = 68.0


@dataclass(frozen=True)
class Box:
    """A box of a task body: half sizes (m), centre in the body (m), rotation about the body's axes (rad)."""

    half_m: tuple[float, float, float]
    centre_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    euler_rad: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Disc:
    """An upright cylinder of a task body: radius and half height (m), centre in the body (m)."""

    radius_m: float
    half_height_m: float
    centre_m: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class BodySpec:
    """A task body.

    Attributes:
        name: Unique in the scene.
        parts: Primitives it is made of, all in the body's one colour.
        mass_kg: Mass of a body that moves freely; None for a body that is fixed at its placement.
    """

    name: str
    parts: tuple[Box | Disc, ...]
    mass_kg: float | None

    @property
    def stands_on_any_face(self) -> bool:
        """Whether it is a cube, which has no distinguished face."""
        part = self.parts[0]
        return len(self.parts) == 1 and isinstance(part, Box) and len(set(part.half_m)) == 1


def build_spec(arm: ArmModel, bodies: Sequence[BodySpec]) -> Any:
    """Assemble the scene as a `mujoco.MjSpec`.

    Args:
        arm: The arm to attach at the origin.
        bodies: Task bodies, fixed ones as mocap bodies so that a reset can move them.
    """
    spec = mujoco.MjSpec()
    _set_options(spec)
    _add_surroundings(spec)
    for body in bodies:
        _add_body(spec, body)
    mount = spec.worldbody.add_frame()
    spec.attach(_arm_spec(arm), prefix=arm.prefix, frame=mount)
    return spec


def _arm_spec(arm: ArmModel) -> Any:
    spec = mujoco.MjSpec.from_file(str(arm.locate()))
    lighten_visuals(spec, VISUAL_GROUP, CLUSTER_M)
    for name in arm.joints:
        actuator = spec.actuator(name)
        actuator.gainprm[0] = arm.stiffness
        actuator.biasprm[1], actuator.biasprm[2] = -arm.stiffness, -arm.damping
    wrist = spec.camera("wrist")
    wrist.pos, wrist.fovy = WRIST_POSITION_M, WRIST_FOVY_DEG
    wrist.quat = look_at(np.array(WRIST_POSITION_M), np.array(WRIST_TARGET_M), (0.0, 1.0, 0.0))
    return spec


def _set_options(spec: Any) -> None:
    spec.option.timestep = TIMESTEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0  # friction constraints harder than normal ones: a held object does not creep
    spec.visual.quality.shadowsize = 0
    spec.visual.quality.offsamples = 0
    spec.visual.headlight.ambient = (0.30, 0.30, 0.30)
    spec.visual.headlight.diffuse = (0.15, 0.15, 0.15)
    spec.visual.headlight.specular = (0.0, 0.0, 0.0)


def _add_surroundings(spec: Any) -> None:
    world = spec.worldbody
    world.add_geom(
        name="table", type=mujoco.mjtGeom.mjGEOM_BOX, size=TABLE_HALF_M,
        pos=(TABLE_CENTRE_X_M, 0.0, -TABLE_HALF_M[2]), rgba=(0.6, 0.55, 0.5, 1.0), friction=(0.8, 0.005, 0.0001),
    )  # fmt: skip
    # The third size of a plane is the spacing of its rendering grid: small values cost milliseconds per frame.
    world.add_geom(
        name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=(3.0, 3.0, 1.0), pos=(0.0, 0.0, -0.75),
        rgba=(0.35, 0.37, 0.4, 1.0), contype=0, conaffinity=0,
    )  # fmt: skip
    for name, side in zip(LAMPS, (1.0, -1.0), strict=True):
        world.add_light(
            name=name, pos=(0.8, side * 0.8, 1.6), dir=(-0.2, -side * 0.5, -1.0), castshadow=False,
            diffuse=(0.4, 0.4, 0.4), specular=(0.1, 0.1, 0.1), type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        )  # fmt: skip
    world.add_camera(name="front", pos=FRONT_POSITION_M, fovy=FRONT_FOVY_DEG)


def _add_body(spec: Any, body: BodySpec) -> None:
    fixed = body.mass_kg is None
    added = spec.worldbody.add_body(name=body.name, mocap=fixed)
    if not fixed:
        added.add_freejoint(name=body.name)
    share = 0.0 if body.mass_kg is None else body.mass_kg / len(body.parts)
    for index, part in enumerate(body.parts):
        shape = {"name": f"{body.name}_{index}", "pos": part.centre_m, "friction": (1.0, 0.01, 0.0001), "condim": 4}
        if not fixed:
            shape["mass"] = share
        if isinstance(part, Box):
            turn = mujoco_quaternion(part.euler_rad)
            added.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=part.half_m, quat=turn, **shape)
        else:
            size = (part.radius_m, part.half_height_m, 0.0)
            added.add_geom(type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=size, **shape)


def mujoco_quaternion(euler_rad: tuple[float, float, float]) -> Array:
    """(w, x, y, z) of rotations about x, then y, then z of the moving frame (rad)."""
    out = np.empty(4)
    mujoco.mju_euler2Quat(out, np.asarray(euler_rad, dtype=np.float64), "xyz")
    return out


def look_at(position: Array, target: Array, up: tuple[float, float, float]) -> Array:
    """(w, x, y, z) of a camera at `position` (3,) m that looks at `target` (3,) m, with `up` upwards in its image."""
    back = (position - target) / np.linalg.norm(position - target)
    right = np.cross(up, back)
    right /= np.linalg.norm(right)
    rotation = np.column_stack([right, np.cross(back, right), back])
    out = np.empty(4)
    mujoco.mju_mat2Quat(out, rotation.reshape(-1))
    return out
