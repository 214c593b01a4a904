# SPDX-License-Identifier: Apache-2.0
"""Tasks: bodies, sampling of episodes and success of the instructed pair.

Every task names an object and a goal by colour and contains others of the same shape, so that only the
instruction identifies them. Lengths in metres in the world frame, whose z = 0 is the table top.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from sim_bridge.core.scene import BodySpec, Box, Disc

Array = npt.NDArray[np.float64]

COLOURS: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {"red": (0.85, 0.10, 0.10), "green": (0.10, 0.65, 0.15), "blue": (0.10, 0.25, 0.90)}
)
AREA_LOWER_M = (0.37, -0.20)  # x, y
AREA_UPPER_M = (0.61, 0.20)
MAX_DRAWS = 10_000

CUBE_HALF_M = 0.022
PLATE_RADIUS_M = 0.05
PLATE_HEIGHT_M = 0.008
PEG_HALF_M = 0.012
PEG_HALF_HEIGHT_M = 0.045
SLOT_HALF_M = 0.0155  # 3.5 mm of play on each side of the peg
SOCKET_HEIGHT_M = 0.03
SOCKET_WALL_HALF_M = 0.008
MAX_SOCKET_YAW_RAD = 0.35


@dataclass(frozen=True)
class Placement:
    """Initial position of a body, (3,) m, and its yaw (rad)."""

    position: tuple[float, float, float]
    yaw_rad: float


@dataclass(frozen=True)
class Layout:
    """State of the task that the seed of an episode determines.

    Attributes:
        placements: Initial pose of each body.
        colours: Name of the colour of each body.
        object_name: The instructed body to move.
        goal_name: The instructed body to move it to.
        instruction: The task in words.
        other_instruction: Instruction for another object and goal of this scene; executing it is no success.
    """

    placements: Mapping[str, Placement]
    colours: Mapping[str, str]
    object_name: str
    goal_name: str
    instruction: str
    other_instruction: str = ""


@dataclass(frozen=True, eq=False)
class PairState:
    """State of the instructed pair that success is computed from.

    Attributes:
        error: (3,) m, position of the object's centre relative to its target, in the goal's frame.
        tilt_rad: Angle between the object's upright and the vertical; of a cube, any face's.
        speed_m_s: Speed of the object's centre.
        touched: Whether any part of the robot touches the object.
    """

    error: Array
    tilt_rad: float
    speed_m_s: float
    touched: bool

    @property
    def error_xy_m(self) -> float:
        """Horizontal part of the error."""
        return math.hypot(self.error[0], self.error[1])


@dataclass(frozen=True)
class Task:
    """Task definition.

    Attributes:
        name: Key in the registry.
        phrase: Instruction with `{object}` and `{goal}` for the colours.
        bodies: All task bodies.
        spacing_m: Radius around each body; the circles of two bodies do not overlap at reset.
        objects: Bodies that may be the instructed object.
        goals: Bodies that may be the goal.
        goal_offset_z_m: Height of the placed object's centre above the goal body's origin.
        grasp_offset_z_m: Height of the TCP above the object's centre in a grasp.
        clearance_m: Height above the end point at which a body is carried.
        aligns_yaw: Whether the object must be turned to the goal's yaw.
        done: Success predicate of the instructed pair.
    """

    name: str
    phrase: str
    bodies: tuple[BodySpec, ...]
    spacing_m: Mapping[str, float]
    objects: tuple[str, ...]
    goals: tuple[str, ...]
    goal_offset_z_m: float
    grasp_offset_z_m: float
    clearance_m: float
    aligns_yaw: bool
    done: Callable[[PairState], bool]

    def draw(self, rng: np.random.Generator) -> Layout:
        """Sample the initial state of an episode.

        Args:
            rng: Source of all randomness.
        """
        colours = {**self._draw_colours(rng, self.objects), **self._draw_colours(rng, self.goals)}
        object_name = str(rng.choice(self.objects))
        goal_name = str(rng.choice([name for name in self.goals if name != object_name]))
        return Layout(
            placements=self._draw_placements(rng),
            colours=colours,
            object_name=object_name,
            goal_name=goal_name,
            instruction=self.phrase.format(object=colours[object_name], goal=colours[goal_name]),
            other_instruction=self._other_instruction(colours, object_name, goal_name),
        )

    def _other_instruction(self, colours: Mapping[str, str], object_name: str, goal_name: str) -> str:
        other_object = next(name for name in self.objects if name != object_name)
        other_goal = next(name for name in self.goals if name not in (goal_name, other_object))
        return self.phrase.format(object=colours[other_object], goal=colours[other_goal])

    def _draw_colours(self, rng: np.random.Generator, names: tuple[str, ...]) -> dict[str, str]:
        drawn = rng.permutation(list(COLOURS))[: len(names)]
        return {name: str(colour) for name, colour in zip(names, drawn, strict=True)}

    def _draw_placements(self, rng: np.random.Generator) -> dict[str, Placement]:
        names = [body.name for body in self.bodies]
        radii = np.array([self.spacing_m[name] for name in names])
        apart = radii[:, None] + radii[None, :]
        np.fill_diagonal(apart, 0.0)
        for _ in range(MAX_DRAWS):
            spots = rng.uniform(AREA_LOWER_M, AREA_UPPER_M, (len(names), 2))
            distances = np.linalg.norm(spots[:, None] - spots[None, :], axis=2)
            if (distances >= apart).all():
                break
        else:
            raise RuntimeError(f"task {self.name!r}: no room for {len(names)} bodies with these spacings")
        limit = np.array([math.pi / 4 if body.mass_kg is not None else MAX_SOCKET_YAW_RAD for body in self.bodies])
        yaws = rng.uniform(-limit, limit)
        return {
            body.name: Placement((float(x), float(y), rest_height_m(body)), float(yaw))
            for body, (x, y), yaw in zip(self.bodies, spots, yaws, strict=True)
        }


def rest_height_m(body: BodySpec) -> float:
    """Height of the body's origin when it stands on the table."""
    if body.mass_kg is None:
        return 0.0
    part = body.parts[0]
    return part.half_m[2] if isinstance(part, Box) else part.half_height_m


def socket_parts() -> tuple[Box, ...]:
    """Four walls around a square slot, each with a chamfered top."""
    wall, slot, half = SOCKET_WALL_HALF_M, SLOT_HALF_M, SOCKET_HEIGHT_M / 2
    lip, tilt = 0.0075, math.pi / 4
    parts = []
    for turn in range(4):
        yaw = turn * math.pi / 2
        out = slot + wall
        centre = (out * math.cos(yaw), out * math.sin(yaw), half)
        parts.append(Box((wall, slot + 2 * wall, half), centre, (0.0, 0.0, yaw)))
        # The chamfer is a plate turned by 45 degrees whose lower edge meets the inner edge of the wall.
        thin = 0.002
        reach = slot + (lip + thin) * math.cos(tilt) - 0.0005
        rise = SOCKET_HEIGHT_M + (lip - thin) * math.sin(tilt)
        lead = (reach * math.cos(yaw), reach * math.sin(yaw), rise)
        parts.append(Box((lip, slot + 2 * lip * math.cos(tilt), thin), lead, (0.0, 0.0, yaw)))
    return tuple(_slanted(part, tilt) if index % 2 else part for index, part in enumerate(parts))


def _slanted(part: Box, tilt_rad: float) -> Box:
    # Euler angles are about x, y, z of the moving frame; yaw first and then tilt needs the fixed-frame order.
    x, y, z = _euler_xyz_of(part.euler_rad[2], -tilt_rad)
    return Box(part.half_m, part.centre_m, (x, y, z))


def _euler_xyz_of(yaw_rad: float, pitch_rad: float) -> tuple[float, float, float]:
    cy, sy, cp, sp = math.cos(yaw_rad), math.sin(yaw_rad), math.cos(pitch_rad), math.sin(pitch_rad)
    rotation = np.array([[cy * cp, -sy, cy * sp], [sy * cp, cy, sy * sp], [-sp, 0.0, cp]])
    pitch = math.asin(float(np.clip(rotation[0, 2], -1.0, 1.0)))
    return (
        math.atan2(-rotation[1, 2], rotation[2, 2]),
        pitch,
        math.atan2(-rotation[0, 1], rotation[0, 0]),
    )


def _resting(state: PairState) -> bool:
    return not state.touched and state.speed_m_s < 0.03 and state.tilt_rad < 0.2


def _on_plate(state: PairState) -> bool:
    return state.error_xy_m < PLATE_RADIUS_M - 0.005 and abs(state.error[2]) < 0.006 and _resting(state)


def _on_cube(state: PairState) -> bool:
    return state.error_xy_m < CUBE_HALF_M and abs(state.error[2]) < 0.006 and _resting(state)


def _in_slot(state: PairState) -> bool:
    inside = state.error_xy_m < 0.006 and state.error[2] < 0.010 and state.tilt_rad < 0.25
    return inside and state.speed_m_s < 0.10


def _cube(name: str) -> BodySpec:
    return BodySpec(name, (Box((CUBE_HALF_M,) * 3),), mass_kg=0.05)


def _plate(name: str) -> BodySpec:
    half = PLATE_HEIGHT_M / 2
    return BodySpec(name, (Disc(PLATE_RADIUS_M, half, (0.0, 0.0, half)),), mass_kg=None)


def _peg(name: str) -> BodySpec:
    return BodySpec(name, (Box((PEG_HALF_M, PEG_HALF_M, PEG_HALF_HEIGHT_M)),), mass_kg=0.04)


def _socket(name: str) -> BodySpec:
    return BodySpec(name, socket_parts(), mass_kg=None)


def _pick_place() -> Task:
    cubes, plates = ("cube_a", "cube_b"), ("plate_a", "plate_b")
    return Task(
        name="pick_place",
        phrase="put the {object} cube on the {goal} plate",
        bodies=tuple(_cube(n) for n in cubes) + tuple(_plate(n) for n in plates),
        spacing_m=dict.fromkeys(cubes, 0.06) | dict.fromkeys(plates, 0.06),
        objects=cubes,
        goals=plates,
        goal_offset_z_m=PLATE_HEIGHT_M + CUBE_HALF_M,
        grasp_offset_z_m=0.0,
        clearance_m=0.08,
        aligns_yaw=False,
        done=_on_plate,
    )


def _stack() -> Task:
    cubes = ("cube_a", "cube_b", "cube_c")
    return Task(
        name="stack",
        phrase="stack the {object} cube on the {goal} cube",
        bodies=tuple(_cube(n) for n in cubes),
        spacing_m=dict.fromkeys(cubes, 0.06),
        objects=cubes,
        goals=cubes,
        goal_offset_z_m=2 * CUBE_HALF_M,
        grasp_offset_z_m=0.004,
        clearance_m=0.06,
        aligns_yaw=True,
        done=_on_cube,
    )


def _insert() -> Task:
    pegs, sockets = ("peg_a", "peg_b"), ("socket_a", "socket_b")
    return Task(
        name="insert",
        phrase="insert the {object} peg into the {goal} socket",
        bodies=tuple(_peg(n) for n in pegs) + tuple(_socket(n) for n in sockets),
        spacing_m=dict.fromkeys(pegs, 0.055) | dict.fromkeys(sockets, 0.065),
        objects=pegs,
        goals=sockets,
        goal_offset_z_m=PEG_HALF_HEIGHT_M,
        grasp_offset_z_m=0.025,
        clearance_m=0.09,
        aligns_yaw=True,
        done=_in_slot,
    )


_tasks = {task.name: task for task in (_pick_place(), _stack(), _insert())}
TASKS: Mapping[str, Task] = MappingProxyType(_tasks)


def add_task(task: Task) -> None:
    """Register a task in this process.

    Raises:
        ValueError: A task of this name exists.
    """
    if task.name in _tasks and _tasks[task.name] != task:
        raise ValueError(f"there is another task of the name {task.name!r}: choose a new name")
    _tasks[task.name] = task


def get_task(name: str) -> Task:
    """Look a task up.

    Raises:
        ValueError: If there is no such task; the message lists the known tasks.
    """
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; there are {', '.join(TASKS)}")
    return TASKS[name]
