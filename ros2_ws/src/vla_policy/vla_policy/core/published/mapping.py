# SPDX-License-Identifier: Apache-2.0
"""A short YAML file that says what a published model's numbers are called on this robot, and their units.

Beside the checkpoint as whetstone.yaml, or anywhere and named. A checkpoint knows neither the robot's names nor the
time between two steps, so nothing is served without one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import Field, model_validator

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.published.statistics import Kind, Normalisation
from whetstone_common.core.contract import CARTESIAN_ACTIONS, CARTESIAN_PROPRIO
from whetstone_common.core.foreign import Name, Positive, StrictModel, read_yaml

MAPPING_FILE = "whetstone.yaml"
FACTORS = {"rad": 1.0, "deg": math.pi / 180.0, "m": 1.0, "mm": 0.001, "percent": 0.01, "opening": 1.0}
_EMPTY = "empty_camera"  # LeRobot's name for a camera that was never there

Unit = Literal["rad", "deg", "m", "mm", "percent", "opening"]


@dataclass(frozen=True)
class Hints:
    """What a mapping file adds where a directory leaves a question open.

    Attributes:
        kind: Of openpi's normalisation, None for that of pi0.
        norm_stats: Openpi's file, where there are several.
        horizon: Steps of a chunk, where no config.json tells.
    """

    kind: Kind | None = None
    norm_stats: str = ""
    horizon: int = 0


class ModelFacts(Protocol):
    """What is known of a model's numbers before they are mapped.

    Attributes:
        cameras: Image features in the model's order; empty where it does not say.
        state: Normalisation of the state.
        action: Normalisation of the action.
        are_dims_known: Whether those have as many dimensions as the robot had; else they may be padded.
        relative: Which action dimensions are relative to the state; None where the model does not say.
        max_state_dim: Dimensions of the state with padding.
        max_action_dim: Dimensions of the action with padding.
    """

    @property
    def cameras(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def state(self) -> Normalisation: ...  # noqa: D102
    @property
    def action(self) -> Normalisation: ...  # noqa: D102
    @property
    def are_dims_known(self) -> bool: ...  # noqa: D102
    @property
    def relative(self) -> tuple[bool, ...] | None: ...  # noqa: D102
    @property
    def max_state_dim(self) -> int: ...  # noqa: D102
    @property
    def max_action_dim(self) -> int: ...  # noqa: D102


class Dimension(StrictModel):
    """One number of the model: the robot's is factor(unit) * (scale * number + offset)."""

    name: Name | None = None
    unit: Unit = "rad"
    scale: float = 1.0
    offset: float = 0.0
    constant: float | None = None

    @property
    def factor(self) -> float:
        """Of the number itself, without the offset."""
        return FACTORS[self.unit] * self.scale

    @property
    def base(self) -> float:
        """What is added to it, in the robot's unit."""
        return FACTORS[self.unit] * self.offset

    @model_validator(mode="after")
    def _check(self) -> Dimension:
        if self.scale == 0.0:
            raise ValueError("scale is 0, every value would be the same")
        if self.constant is not None and self.name is not None:
            raise ValueError("a dimension has a name or a constant, not both")
        return self


class ServerKeys(StrictModel):
    """What a policy server calls the parts of an observation.

    Attributes:
        state: Key and length of each part of the state, in its order; empty for all of it as `observation/state`.
        prompt: Key of the instruction.
        image_size_px: Side of the images that are sent.
        image_layout: `hwc`, or `chw` with the colours first.
        nested: Whether a / in a key opens an inner map, as for openpi's ALOHA: `images/cam_high`.
    """

    state: dict[Name, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    prompt: Name = "prompt"
    image_size_px: Annotated[int, Field(ge=8, le=1024)] = 224
    image_layout: Literal["hwc", "chw"] = "hwc"
    nested: bool = False


class ModelMapping(StrictModel):
    """The content of the file.

    Attributes:
        action_space: `joint`, or `cartesian` as the contract describes it.
        actions: `absolute` or `relative` to the state at the observation; the gripper may differ, see `gripper`.
        gripper: The same for the gripper's dimension.
        dt_s: Time between two steps of a chunk [s].
        cameras: The robot's camera for each image feature, null for one that it lacks.
        state: The model's state, in its order: names of the robot, or a constant in the model's unit.
        action: The model's action, in its order; a dimension without a name is not played.
        instructions: Words that the model was trained on, empty for any.
        tokenizer: Folder of the tokenizer's files, from this file on; empty for the checkpoint's own.
        normalisation: Of an openpi checkpoint: mean_std or quantiles.
        norm_stats: Openpi's statistics file, from the checkpoint on, where there are several.
        horizon: Steps of a chunk, where there is no config.json; of a policy server's chunk, how many are taken.
        server: Names of a policy server's observation.
    """

    action_space: Literal["joint", "cartesian"]
    actions: Literal["absolute", "relative"]
    gripper: Literal["absolute", "relative"] = "absolute"
    dt_s: Positive
    cameras: Annotated[dict[Name, Name | None], Field(min_length=1)]
    state: Annotated[list[Dimension], Field(min_length=1)]
    action: Annotated[list[Dimension], Field(min_length=1)]
    instructions: list[str] = Field(default_factory=list)
    tokenizer: str = ""
    normalisation: Literal["mean_std", "quantiles"] | None = None
    norm_stats: str = ""
    horizon: Annotated[int, Field(ge=0)] = 0
    server: ServerKeys = Field(default_factory=ServerKeys)

    @property
    def hints(self) -> Hints:
        """What concerns the directory itself."""
        return Hints(Kind(self.normalisation) if self.normalisation else None, self.norm_stats, self.horizon)

    def action_names(self, joint_names: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Names of the contract's actions, in its order.

        Args:
            joint_names: The robot's joints, the gripper last; empty for the order in which the file names them.
        """
        if self.action_space == "cartesian":
            return CARTESIAN_ACTIONS
        return joint_names or tuple(entry.name for entry in self.action if entry.name is not None)

    def proprio_names(self, joint_names: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Names of the contract's proprioception, in its order."""
        return CARTESIAN_PROPRIO if self.action_space == "cartesian" else self.action_names(joint_names)

    @model_validator(mode="after")
    def _check(self) -> ModelMapping:
        played = [entry.name for entry in self.action if entry.name is not None]
        if repeated := sorted({name for name in played if played.count(name) > 1}):
            raise ValueError(f"action names {repeated[0]!r} twice")
        if any(entry.constant is not None for entry in self.action):
            raise ValueError("action has a constant, which only a state can have")
        if any(entry.name is None and entry.constant is None for entry in self.state):
            raise ValueError("state has a dimension without name and without constant")
        used = [camera for camera in self.cameras.values() if camera is not None]
        if not used or len(set(used)) != len(used):
            raise ValueError(f"cameras are {used}, expected distinct ones of the robot and at least one")
        if self.action_space == "cartesian" and self.actions != "relative":
            raise ValueError("actions is 'absolute': a cartesian model's actions must be relative to the TCP's pose")
        return self


def mapping_path(directory: Path, named: str = "") -> Path:
    """The file that is named, or the one beside the checkpoint."""
    return Path(named).expanduser() if named else directory / MAPPING_FILE


def read_model_mapping(path: Path) -> ModelMapping:
    """A mapping file.

    Raises:
        CheckpointError: It is missing, or a key cannot be used; the text names file and key.
    """
    return read_yaml(path, ModelMapping, CheckpointError)


def misfits(mapping: ModelMapping, model: ModelFacts, joint_names: tuple[str, ...] = ()) -> list[str]:
    """Where a mapping and a checkpoint or a robot contradict each other, one sentence for each; empty when they fit."""
    found = _camera_misfits(mapping, model)
    limits = {"state": model.max_state_dim, "action": model.max_action_dim}
    for key, normalisation in (("state", model.state), ("action", model.action)):
        count = len(getattr(mapping, key))
        if model.are_dims_known and count != normalisation.dim:
            found.append(f"{key}: {count} dimensions are mapped, the model has {normalisation.dim}")
        elif count > min(normalisation.dim, limits[key]):
            most = min(normalisation.dim, limits[key])
            found.append(f"{key}: {count} dimensions are mapped, the model and its statistics have {most}")
    found += name_misfits(mapping, joint_names)
    return found + _relative_misfits(mapping, model, joint_names)


def cameras_in_order(mapping: ModelMapping, model: ModelFacts) -> tuple[str, ...]:
    """The robot's cameras in the model's order; what it lacks is left out, as the model never attends to it."""
    order = model.cameras or tuple(mapping.cameras)
    return tuple(camera for name in order if (camera := mapping.cameras.get(name)) is not None)


def relative_mask(mapping: ModelMapping, joint_names: tuple[str, ...] = ()) -> tuple[bool, ...]:
    """Which of the model's action dimensions are relative to the state, as the file says."""
    gripper = mapping.action_names(joint_names)[-1]
    kinds = (mapping.gripper if entry.name == gripper else mapping.actions for entry in mapping.action)
    return tuple(kind == "relative" for kind in kinds)


def _camera_misfits(mapping: ModelMapping, model: ModelFacts) -> list[str]:
    if not model.cameras:
        return []
    missing = [name for name in model.cameras if name not in mapping.cameras and _EMPTY not in name]
    unknown = [name for name in mapping.cameras if name not in model.cameras]
    found = [f"cameras: {name} of the model is not mapped; null means that the robot has none" for name in missing]
    return found + [f"cameras: the model has no {name}, it has {list(model.cameras)}" for name in unknown]


def name_misfits(mapping: ModelMapping, joint_names: tuple[str, ...]) -> list[str]:
    """Names of a mapping that the robot lacks or misses, one sentence for each."""
    actions, proprio = mapping.action_names(joint_names), mapping.proprio_names(joint_names)
    played = {entry.name for entry in mapping.action if entry.name is not None}
    found = [f"action: {name!r} is not mapped, the robot needs it" for name in actions if name not in played]
    found += [f"action: the robot has no {name!r}, it has {list(actions)}" for name in sorted(played - set(actions))]
    states = {entry.name for entry in mapping.state if entry.name is not None}
    found += [f"state: the robot has no {name!r}, it has {list(proprio)}" for name in sorted(states - set(proprio))]
    return found


def _relative_misfits(mapping: ModelMapping, model: ModelFacts, joint_names: tuple[str, ...]) -> list[str]:
    if model.relative is None:
        return []
    said = relative_mask(mapping, joint_names)
    if said == model.relative[: len(said)]:
        return []
    words = ["relative" if one else "absolute" for one in model.relative]
    return [f"actions, gripper: the mapping does not fit the checkpoint, whose dimensions are {words}"]
