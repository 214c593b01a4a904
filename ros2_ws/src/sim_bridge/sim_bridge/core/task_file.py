# SPDX-License-Identifier: Apache-2.0
"""Task from YAML text: bodies, phrase and success, as in the parameter `scene` of sim_node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field, model_validator

from sim_bridge.core.scene import BodySpec, Box, Disc
from sim_bridge.core.tasks import COLOURS, PairState, Task
from whetstone_common.core.foreign import Name, Positive, StrictModel, parsed, reading, text_of

Vector = Annotated[list[float], Field(min_length=3, max_length=3)]
_NODES = ("/**/sim_node", "sim_node", "/sim_node")


class TaskFileError(ValueError):
    """A task is invalid; the text names the key."""


@dataclass(frozen=True)
class SuccessBounds:
    """Success as bounds on the instructed pair (see `PairState`).

    Attributes:
        error_xy_m: Largest horizontal error of the object's centre.
        error_z_m: Largest vertical error, both ways.
        tilt_rad: Largest tilt of the object.
        speed_m_s: Largest speed of the object.
        let_go: Whether the robot must not touch the object.
    """

    error_xy_m: float
    error_z_m: float
    tilt_rad: float
    speed_m_s: float
    let_go: bool

    def __call__(self, state: PairState) -> bool:
        """Whether the pair is within the bounds."""
        return (
            state.error_xy_m <= self.error_xy_m
            and abs(state.error[2]) <= self.error_z_m
            and state.tilt_rad <= self.tilt_rad
            and state.speed_m_s <= self.speed_m_s
            and not (self.let_go and state.touched)
        )


class _Part(StrictModel):
    box_half_m: Vector | None = None
    disc_radius_m: Positive | None = None
    disc_half_height_m: Positive | None = None
    centre_m: Vector = Field(default_factory=lambda: [0.0] * 3)
    euler_rad: Vector = Field(default_factory=lambda: [0.0] * 3)

    @model_validator(mode="after")
    def _check(self) -> _Part:
        is_disc = self.disc_radius_m is not None and self.disc_half_height_m is not None
        if (self.box_half_m is not None) == is_disc:
            raise ValueError("a part is a box (box_half_m) or a disc (disc_radius_m and disc_half_height_m)")
        if self.box_half_m is not None and not min(self.box_half_m) > 0.0:
            raise ValueError(f"box_half_m is {self.box_half_m}, expected three positive numbers")
        return self

    def built(self) -> Box | Disc:
        centre = _triple(self.centre_m)
        if self.box_half_m is not None:
            return Box(_triple(self.box_half_m), centre, _triple(self.euler_rad))
        assert self.disc_radius_m is not None and self.disc_half_height_m is not None  # noqa: S101 - checked above
        return Disc(self.disc_radius_m, self.disc_half_height_m, centre)


class _Body(StrictModel):
    name: Name
    spacing_m: Positive
    parts: Annotated[list[_Part], Field(min_length=1)]
    mass_kg: Positive | None = None


class _Success(StrictModel):
    error_xy_m: Positive
    error_z_m: Positive
    tilt_rad: Positive = 0.2
    speed_m_s: Positive = 0.03
    let_go: bool = True


class _Scene(StrictModel):
    phrase: Name
    bodies: Annotated[list[_Body], Field(min_length=2)]
    objects: Annotated[list[Name], Field(min_length=2, max_length=len(COLOURS))]
    goals: Annotated[list[Name], Field(min_length=2, max_length=len(COLOURS))]
    goal_offset_z_m: float
    grasp_offset_z_m: float = 0.0
    clearance_m: Positive = 0.08
    aligns_yaw: bool = False
    success: _Success

    @model_validator(mode="after")
    def _check(self) -> _Scene:
        masses = {body.name: body.mass_kg for body in self.bodies}
        if len(masses) < len(self.bodies):
            raise ValueError("bodies: two have the same name")
        if unknown := sorted({*self.objects, *self.goals} - set(masses)):
            raise ValueError(f"objects and goals: there is no body {unknown[0]!r}")
        if idle := sorted(set(masses) - {*self.objects, *self.goals}):
            raise ValueError(f"bodies: {idle[0]!r} is neither an object nor a goal")
        if fixed := [name for name in self.objects if masses[name] is None]:
            raise ValueError(f"objects: {fixed[0]!r} has no mass_kg, so nothing can move it")
        if set(self.objects) & set(self.goals) and len({*self.objects, *self.goals}) < 3:
            raise ValueError("objects and goals: three bodies at least where a body is both")
        for word in ("{object}", "{goal}"):
            if word not in self.phrase:
                raise ValueError(f"phrase is {self.phrase!r}, expected {word} in it")
        try:
            self.phrase.format(object="red", goal="blue")
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(f"phrase is {self.phrase!r}, expected {{object}} and {{goal}} alone in braces") from error
        return self


def parse_task(name: str, text: str) -> Task:
    """A task from the text of its scene.

    Args:
        name: Of the task.
        text: YAML; docs/tutorials/your-own-task.md explains each key.

    Raises:
        TaskFileError: A key is missing, unknown, or its value is invalid.
    """
    with reading(Path(name), TaskFileError, "scene of the task"):
        scene = parsed(_Scene, yaml.safe_load(text))
        success = scene.success
    return Task(
        name=name,
        phrase=scene.phrase,
        bodies=tuple(BodySpec(b.name, tuple(part.built() for part in b.parts), b.mass_kg) for b in scene.bodies),
        spacing_m={body.name: body.spacing_m for body in scene.bodies},
        objects=tuple(scene.objects),
        goals=tuple(scene.goals),
        goal_offset_z_m=scene.goal_offset_z_m,
        grasp_offset_z_m=scene.grasp_offset_z_m,
        clearance_m=scene.clearance_m,
        aligns_yaw=scene.aligns_yaw,
        done=SuccessBounds(**dict(success)),
    )


def load_task(path: Path) -> Task:
    """The task of a task file, named as the file; `tasks.add_task` registers it in this process.

    Raises:
        TaskFileError: The file cannot be read, or has no scene.
    """
    with reading(path, TaskFileError, "task file"):
        content = yaml.safe_load(text_of(path))
        blocks = [content[node]["ros__parameters"] for node in _NODES if node in content]
        scene = next((block["scene"] for block in blocks if "scene" in block), None)
    if scene is None:
        raise TaskFileError(f"task file {path}: sim_node has no parameter scene")
    return parse_task(path.stem, scene)


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    x, y, z = values
    return x, y, z
