# SPDX-License-Identifier: Apache-2.0
"""A method's file: one block for the method, one for its critic, one for what happens when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from rl_learner.core.critic import CriticConfig
from rl_learner.core.dsrl import Dsrl, DsrlConfig
from rl_learner.core.expo import Expo, ExpoConfig
from rl_learner.core.replay import ReplayShape
from vla_policy.core.steering.scoring import Reduce
from whetstone_common.core.foreign import SchemaError, reading, shortened, text_of

CONFIGS: dict[str, type[ExpoConfig] | type[DsrlConfig]] = {"expo": ExpoConfig, "dsrl": DsrlConfig}
_ENOUGH = 1 << 16  # features, where nothing depends on how many there are
# What follows from the robot's contract, and so is never in a file.
_GIVEN = {"features", "action_dim", "chunk_dim", "horizon", "noise_dim", "critic"}


@dataclass(frozen=True)
class Schedule:
    """What happens when.

    Attributes:
        base_episodes: Played by the base before anything is learnt.
        warm_up_updates: On Monte-Carlo returns, after them.
        most_steps: Control steps in all.
        updates_per_step: Per control step, online.
        batch: Windows per update.
        explore: Sample edits while training.
        interventions: Whether the scripted person watches.
        discount: Per control step.
    """

    base_episodes: int = 30
    warm_up_updates: int = 1500
    most_steps: int = 11_000
    updates_per_step: float = 1.0
    batch: int = 128
    explore: bool = True
    interventions: bool = True
    discount: float = 0.98

    def __post_init__(self) -> None:
        """Refuses what cannot work.

        Raises:
            ValueError: With name, value and range.
        """
        for name, least in (("base_episodes", 1), ("warm_up_updates", 0), ("most_steps", 1), ("batch", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least {least}")
        if not 0.0 <= self.updates_per_step <= 100.0:
            raise ValueError(f"updates_per_step is {self.updates_per_step}, allowed: 0..100")
        if not 0.0 < self.discount <= 1.0:
            raise ValueError(f"discount is {self.discount}, allowed: (0, 1]")


@dataclass(frozen=True)
class Recipe:
    """A method's file as it was read.

    Attributes:
        method: `expo` or `dsrl`.
        settings: Of the method, as in the file.
        critic: Of its critics.
        schedule: When.
        steps: C, executed steps of a chunk.
    """

    method: str
    settings: Mapping[str, Any]
    critic: CriticConfig
    schedule: Schedule
    steps: int

    def learner(self, shape: ReplayShape) -> Expo | Dsrl:
        """Fresh networks for windows of a shape, from torch's global seed.

        Raises:
            ValueError: The settings do not fit the shape.
        """
        if self.method == "expo":
            return Expo(self.expo(shape.features, shape.action_dim))
        chunk_dim = shape.steps * shape.action_dim
        given = {"chunk_dim": chunk_dim, "horizon": shape.horizon, "noise_dim": shape.noise_dim}
        return Dsrl(DsrlConfig(shape.features, critic=self.critic, **(given | dict(self.settings))))

    def expo(self, features: int, action_dim: int = 7) -> ExpoConfig:
        """EXPO's hyperparameters."""
        return ExpoConfig(features=features, action_dim=action_dim, critic=self.critic, **self.settings)

    def resolved(self) -> dict[str, Any]:
        """Everything that was decided, as JSON can hold it."""
        default = CONFIGS[self.method](features=_ENOUGH, critic=self.critic, **self.settings)
        settings = {name: value for name, value in asdict(default).items() if name not in _GIVEN}
        blocks = {self.method: settings | {"steps": self.steps}, "critic": asdict(self.critic)}
        return {name: _plain(block) for name, block in (blocks | {"schedule": asdict(self.schedule)}).items()}


class MethodFileError(ValueError):
    """A method's file that cannot be used; the text names file and key."""


def read_recipe(path: Path, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Recipe:
    """The file of a method.

    Args:
        path: YAML with the blocks `expo` or `dsrl`, `critic` and `schedule`; what is left out is the default.
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
            return _recipe(blocks)
        except (ValueError, TypeError) as error:
            raise SchemaError(str(error)) from error


def _blocks(body: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(body, Mapping):
        raise SchemaError("expected blocks of settings")
    for name, block in body.items():
        if not isinstance(block, Mapping | None):
            raise SchemaError(f"block {name} is {shortened(repr(block))}, expected keys with values")
    return {str(name): dict(block or {}) for name, block in body.items()}


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


def _recipe(blocks: dict[str, dict[str, Any]]) -> Recipe:
    methods = [name for name in blocks if name in CONFIGS]
    unknown = sorted(set(blocks) - set(CONFIGS) - {"critic", "schedule"})
    if len(methods) != 1 or unknown:
        raise ValueError(f"blocks are {sorted(blocks)}, expected one of {sorted(CONFIGS)}, critic and schedule")
    method = methods[0]
    settings = _known(method, CONFIGS[method], blocks[method], extra={"steps"})
    steps = int(settings.get("steps", 8))
    if method == "dsrl":
        settings.pop("steps", None)
    if "select" in settings:
        settings["select"] = Reduce(settings["select"])
    critic = CriticConfig(**_known("critic", CriticConfig, blocks.get("critic", {})))
    schedule = replace(Schedule(), **_known("schedule", Schedule, blocks.get("schedule", {})))
    return Recipe(method, settings, critic, schedule, steps)


def _known(block: str, kind: Any, settings: Mapping[str, Any], extra: set[str] | None = None) -> dict[str, Any]:
    given = _GIVEN if block in CONFIGS else set()
    names = ({f.name for f in fields(kind)} | (extra or set())) - given
    if unknown := sorted(set(settings) - names):
        raise ValueError(f"unknown keys in {block}: {', '.join(unknown)}")
    return {name: _typed(f"{block}.{name}", value) for name, value in settings.items()}


def _typed(name: str, value: Any) -> Any:
    """YAML reads 3e-4 as a word; a learning rate that is a word must not get far."""
    if isinstance(value, list):
        return tuple(_typed(name, each) for each in value)
    if isinstance(value, str) and name != "expo.select":
        try:
            return float(value)
        except ValueError:
            raise ValueError(f"{name} is {value!r}, expected a number") from None
    return value


def _plain(block: Mapping[str, Any]) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, Enum):
            return value.value
        return list(value) if isinstance(value, tuple) else value

    return {name: plain(value) for name, value in block.items()}
