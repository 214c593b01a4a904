# SPDX-License-Identifier: Apache-2.0
"""A method's settings file: one block for the method, one for its critics, one for what happens when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

import yaml

from rl_methods.base import Algorithm
from rl_methods.common.batch import WindowShape
from rl_methods.common.critic import CriticConfig
from rl_methods.registry import IMAGES, algorithm_of, online_methods, settings_file, training_settings_type
from whetstone_common.core.contract import ACTION_SPACES, Contract
from whetstone_common.core.foreign import SchemaError, reading, shortened, text_of

Settings = TypeVar("Settings")
_STATE_FEATURES = "state_features"  # of every method that reads the VLA's features
IMAGE_SETTINGS = ("encoder", "image_size")  # of every method that can have an image encoder
DERIVED = {"derived": True}  # metadata of settings that follow from the robot's contract, and so are never in a file
# Keys of earlier releases, and what they are called now.
RENAMED = {
    "compact": "state_features",
    "view_weight": "image_feature_scale",
    "steps": "execute_steps (block schedule)",
}


@dataclass(frozen=True)
class Schedule:
    """What happens when, and what a window is.

    Attributes:
        base_episodes: Played by the base before anything is learnt; 0 learns from the prior data at once, and plays
            nothing before.
        warm_up_updates: Offline updates after them, before the small policy acts.
        most_steps: Control steps in all, at least 1.
        updates_per_step: Per control step, online; 0..100.
        batch: Windows per update, at least 2.
        explore: Sample while training.
        interventions: Whether the scripted operator watches.
        discount: Per control step, above 0 and at most 1.
        execute_steps: C, executed steps of a chunk; at least 1.
        query_every: While the policy drives, windows begin at every so many steps, where the VLA is asked and its
            answer is not played; 0..C, 0 for at decisions only.
    """

    base_episodes: int = 30
    warm_up_updates: int = 1500
    most_steps: int = 11_000
    updates_per_step: float = 1.0
    batch: int = 128
    explore: bool = True
    interventions: bool = True
    discount: float = 0.98
    execute_steps: int = 8
    query_every: int = 0

    def __post_init__(self) -> None:
        """Refuses what cannot work.

        Raises:
            ValueError: With name, value and range.
        """
        least = {"base_episodes": 0, "warm_up_updates": 0, "most_steps": 1, "batch": 2, "execute_steps": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least {value}")
        if not 0.0 <= self.updates_per_step <= 100.0:
            raise ValueError(f"updates_per_step is {self.updates_per_step}, allowed: 0..100")
        if not 0.0 < self.discount <= 1.0:
            raise ValueError(f"discount is {self.discount}, allowed: (0, 1]")
        if not 0 <= self.query_every <= self.execute_steps:
            raise ValueError(f"query_every is {self.query_every}, allowed: 0..{self.execute_steps}")


@dataclass(frozen=True)
class MethodConfig:
    """A method's file as it was read.

    Attributes:
        method: Name, as in the registry.
        settings: Of the method, as in the file: fields of its `Algorithm.settings_type`. A bound may be given per
            action space.
        critic: Of its critics.
        schedule: When.
    """

    method: str
    settings: Mapping[str, Any]
    critic: CriticConfig
    schedule: Schedule

    @property
    def steps(self) -> int:
        """C, executed steps of a chunk."""
        return self.schedule.execute_steps

    @property
    def image_size(self) -> int:
        """Side of the images that the method's own encoder learns from (px), 0 when it has none."""
        kind = algorithm_of(self.method).settings_type
        values = {f.name: self.settings.get(f.name, f.default) for f in fields(kind) if f.name in IMAGE_SETTINGS}
        return int(values["image_size"]) if values.get("encoder") == IMAGES else 0

    def shape_of(self, contract: Contract, candidates: int) -> WindowShape:
        """Shape of this method's windows.

        Args:
            contract: Of the VLA.
            candidates: N, base candidates of a decision that are kept.

        Raises:
            ValueError: More steps of a chunk are to be executed than it has.
        """
        if self.steps > contract.horizon:
            raise ValueError(f"execute_steps is {self.steps}, the policy's chunks have {contract.horizon} steps")
        scale, offset, size = contract.action_scale[-1], contract.action_offset[-1], self.image_size
        return WindowShape(
            features=contract.feature_dim, steps=self.steps, action_dim=contract.action_dim, candidates=candidates,
            horizon=contract.horizon, noise_dim=contract.action_dim, proprio=contract.proprio_dim,
            cameras=len(contract.cameras) if size else 0, image_size=size,
            gripper_closed=-offset / scale, gripper_open=(1.0 - offset) / scale,
            state_features=contract.state_features, action_space=contract.action_space,
        )  # fmt: skip

    def for_shape(self, shape: WindowShape) -> MethodConfig:
        """The same for windows of a shape: bounds of its action space, and its state features where none are given."""
        space = shape.action_space
        settings = {name: value[space] if isinstance(value, dict) else value for name, value in self.settings.items()}
        if _STATE_FEATURES in {f.name for f in fields(algorithm_of(self.method).settings_type)}:
            settings.setdefault(_STATE_FEATURES, shape.state_features)
        return replace(self, settings=settings)

    def settings_of(self, kind: type[Settings], **sizes: Any) -> Settings:
        """The method's settings dataclass, with what follows from the robot's contract.

        Raises:
            ValueError: A value cannot work.
        """
        critic = {"critic": self.critic} if "critic" in {f.name for f in fields(kind)} else {}  # type: ignore[arg-type]
        given: dict[str, Any] = {**sizes, **critic, **self.settings}
        return kind(**given)

    def learner(self, shape: WindowShape) -> Algorithm:
        """Fresh networks for windows of a shape, from torch's global seed.

        Raises:
            ValueError: The settings do not fit the shape.
        """
        return algorithm_of(self.method).build(self.for_shape(shape), shape)

    def resolved(self) -> dict[str, Any]:
        """Everything that was decided, as JSON can hold it."""
        kind = algorithm_of(self.method).settings_type
        left_out = derived(kind) | ({_STATE_FEATURES} - set(self.settings))
        names = [f for f in fields(kind) if f.name not in left_out]
        settings = {f.name: self.settings.get(f.name, _default(f)) for f in names}
        blocks = {self.method: settings, "critic": asdict(self.critic), "schedule": asdict(self.schedule)}
        return {name: _plain(block) for name, block in blocks.items()}


class MethodFileError(ValueError):
    """A method's file that cannot be used; the text names file and key."""


def read_method_config(path: Path, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> MethodConfig:
    """Read a method's file.

    Args:
        path: YAML with a block named after the method, `critic` and `schedule`; what is left out is the default.
        overrides: Block, then key, then value; on top of the file.

    Raises:
        ValueError: There is no such file, a block or a key is unknown, or a value cannot work; the text says which.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such method file")
    with reading(path, MethodFileError):
        blocks = _blocks(yaml.safe_load(text_of(path)))
        for name, block in (overrides or {}).items():
            blocks.setdefault(name, {}).update(block)
        try:
            return _method_config(blocks)
        except (ValueError, TypeError) as error:
            raise SchemaError(str(error)) from error


def read_training_settings(name: str, path: Path | None = None) -> Any:
    """Settings of a method that trains the VLA itself, of a file with one block named after the method.

    Args:
        name: Of the method.
        path: The file; None for the shipped one.

    Raises:
        ValueError: There is no such file, a block or a key is unknown, or a value cannot work; the text says which.
    """
    kind, file = training_settings_type(name), settings_file(name) if path is None else path
    if not file.is_file():
        raise ValueError(f"{file}: there is no such method file")
    with reading(file, MethodFileError):
        blocks = _blocks(yaml.safe_load(text_of(file)))
        if list(blocks) != [name]:
            raise SchemaError(f"blocks are {sorted(blocks)}, expected {name}")
        try:
            return kind(**_known(name, kind, blocks[name]))
        except (ValueError, TypeError) as error:
            raise SchemaError(str(error)) from error


def derived(kind: type[Any]) -> set[str]:
    """Fields of a settings dataclass that follow from the robot's contract, and so are never in a file."""
    return {f.name for f in fields(kind) if f.metadata == DERIVED}


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What differs between two resolved configurations, as `critic.members: 5, now 10`."""
    found: list[str] = []
    for name in sorted(set(before) | set(now)):
        one, other = before.get(name), now.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += differences(one, other, f"{prefix}{name}.")
        elif one != other:
            found.append(f"{prefix}{name}: {one}, now {other}")
    return found


def _blocks(body: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(body, Mapping):
        raise SchemaError("expected blocks of settings")
    for name, block in body.items():
        if not isinstance(block, Mapping | None):
            raise SchemaError(f"block {name} is {shortened(repr(block))}, expected keys with values")
    return {str(name): dict(block or {}) for name, block in body.items()}


def _method_config(blocks: dict[str, dict[str, Any]]) -> MethodConfig:
    known = online_methods()
    methods = [name for name in blocks if name in known]
    unknown = sorted(set(blocks) - set(known) - {"critic", "schedule"})
    if len(methods) != 1 or unknown:
        raise ValueError(f"blocks are {sorted(blocks)}, expected one of {known}, critic and schedule")
    method = methods[0]
    kind = algorithm_of(method).settings_type
    settings = _known(method, kind, blocks[method])
    critic = CriticConfig(**_known("critic", CriticConfig, blocks.get("critic", {})))
    schedule = replace(Schedule(), **_known("schedule", Schedule, blocks.get("schedule", {})))
    return MethodConfig(method, settings, critic, schedule)


def _known(block: str, kind: type[Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(kind)} - derived(kind)
    for name in sorted(set(settings) - names):
        renamed = f": it is called {RENAMED[name]} now" if name in RENAMED else ""
        raise ValueError(f"unknown key in {block}: {name}{renamed}, known: {', '.join(sorted(names))}")
    hints = get_type_hints(kind)
    return {name: _typed(f"{block}.{name}", value, hints[name]) for name, value in settings.items()}


def _typed(name: str, value: Any, hint: Any) -> Any:
    """YAML reads 3e-4 as a word; a learning rate that is a word must not get far."""
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if isinstance(value, Mapping) and get_origin(hint) is tuple:
        if set(value) != set(ACTION_SPACES):
            raise ValueError(f"{name} has keys {sorted(map(str, value))}, expected {', '.join(ACTION_SPACES)}")
        return {space: _typed(f"{name}.{space}", each, None) for space, each in value.items()}
    if isinstance(value, list):
        return tuple(_number(name, each) for each in value)
    return value if hint is str else _number(name, value)


def _number(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {shortened(repr(value))}, expected a number") from None


def _default(field: Any) -> Any:
    return field.default if field.default is not MISSING else field.default_factory()


def _plain(block: Mapping[str, Any]) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        return list(value) if isinstance(value, tuple) else value

    return {name: plain(value) for name, value in block.items()}
