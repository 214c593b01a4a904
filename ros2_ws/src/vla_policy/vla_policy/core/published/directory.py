# SPDX-License-Identifier: Apache-2.0
"""What a published checkpoint directory says of itself, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ConfigDict, Field
from transformers import PI0Config

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.published import statistics
from vla_policy.core.published.lerobot_files import ACTION, STATE, LeRobotConfig, read_processors
from vla_policy.core.published.mapping import Hints
from vla_policy.core.published.shape import pi0_config
from vla_policy.core.published.statistics import Kind, Normalisation
from vla_policy.core.published.tensors import StoredTensors, read_headers
from whetstone_common.core.foreign import OpenModel, read_json

OPENPI_CAMERAS = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")
PROMPT_LENGTH = 48  # the published models were trained with prompts padded to this
_OPENPI_HORIZON, _OPENPI_STEPS = 50, 10
PALIGEMMA = "google/paligemma-3b-pt-224"


class Format(StrEnum):
    """Who wrote a directory."""

    LEROBOT = "lerobot"
    TRANSFORMERS = "transformers"
    OPENPI = "openpi"


@dataclass(frozen=True, eq=False)
class PublishedModel:
    """A directory, read but for its weights.

    Attributes:
        directory: Where it is.
        format: Who wrote it.
        config: Sizes of the network.
        stored: Its tensors, by header.
        cameras: Image features in the order in which the model sees them; empty where the directory does not say.
        state: Normalisation of the state.
        action: Normalisation of the action.
        are_dims_known: Whether those have as many dimensions as the robot had; else they may be padded.
        relative: Which action dimensions are relative to the state; None where the directory does not say.
        tokenizer: Name of the tokenizer on the hub.
        prompt_length: Tokens that a prompt is padded to.
    """

    directory: Path
    format: Format
    config: PI0Config
    stored: StoredTensors
    cameras: tuple[str, ...]
    state: Normalisation
    action: Normalisation
    are_dims_known: bool
    relative: tuple[bool, ...] | None = None
    tokenizer: str = PALIGEMMA
    prompt_length: int = PROMPT_LENGTH

    @property
    def max_state_dim(self) -> int:
        """Dimensions of the state with padding."""
        return int(self.config.max_state_dim)

    @property
    def max_action_dim(self) -> int:
        """Dimensions of the action with padding."""
        return int(self.config.max_action_dim)


class _AnyConfig(OpenModel):
    model_config = ConfigDict(extra="allow")


class _OpenpiConfig(OpenModel):
    action_horizon: int = Field(ge=1)


class _Stats(OpenModel):
    mean: list[float]
    std: list[float]
    q01: list[float] | None = None
    q99: list[float] | None = None


class _NormStats(OpenModel):
    norm_stats: dict[str, _Stats]


class _Processor(OpenModel):
    state_mean: list[float] | None = None
    state_std: list[float] | None = None
    actions_mean: list[float] | None = None
    actions_std: list[float] | None = None


def format_of(directory: Path) -> tuple[Format, dict[str, Any]]:
    """Who wrote a directory, and the content of its config.json.

    Raises:
        CheckpointError: It holds another model, or none.
    """
    if not directory.is_dir():
        raise CheckpointError(f"{directory}: there is no such model directory")
    path = directory / "config.json"
    if not path.is_file():
        if list(_norm_stats_files(directory)) or (directory / "params").is_dir():
            return Format.OPENPI, {}
        raise CheckpointError(f"{path} is missing")
    body = read_json(path, _AnyConfig, CheckpointError).model_dump()
    if body.get("model_type") == "pi0":
        return Format.TRANSFORMERS, body
    if body.get("type") == "pi0":
        return Format.LEROBOT, body
    if "action_horizon" in body and "type" not in body and "model_type" not in body:
        return Format.OPENPI, body
    raise CheckpointError(f"{path} describes {body.get('type') or body.get('model_type')!r}, not pi0")


def read_published(directory: Path, hints: Hints | None = None) -> PublishedModel:
    """Everything but the weights.

    Raises:
        CheckpointError: Something is missing or not what it should be; the text names it.
    """
    kind, body = format_of(directory)
    stored = read_headers(directory)
    if kind is Format.LEROBOT:
        return _lerobot(directory, stored)
    if kind is Format.TRANSFORMERS:
        return _transformers(directory, stored, body)
    return _openpi(directory, stored, body, hints or Hints())


def read_config(directory: Path) -> PI0Config:
    """Configuration in transformers' own form.

    Raises:
        CheckpointError: The file is absent, or of another model.
    """
    kind, body = format_of(directory)
    if kind is not Format.TRANSFORMERS:
        raise CheckpointError(f"{directory / 'config.json'} is {kind.value}'s, expected transformers' own form")
    return PI0Config.from_dict(body)


def network_of(directory: Path) -> tuple[PI0Config, StoredTensors]:
    """Sizes and headers alone, for a directory whose statistics are in a stats.json of ours.

    Raises:
        CheckpointError: It holds another model, or none.
    """
    kind, body = format_of(directory)
    stored = read_headers(directory)
    if kind is Format.TRANSFORMERS:
        return PI0Config.from_dict(body), stored
    if kind is Format.LEROBOT:
        config = read_json(directory / "config.json", LeRobotConfig, CheckpointError)
        return pi0_config(stored.weights, config.chunk_size, config.steps), stored
    horizon = int(body.get("action_horizon", _OPENPI_HORIZON))
    return pi0_config(stored.weights, horizon, _OPENPI_STEPS), stored


def _lerobot(directory: Path, stored: StoredTensors) -> PublishedModel:
    config = read_json(directory / "config.json", LeRobotConfig, CheckpointError)
    processors = read_processors(directory, config, stored)
    network = pi0_config(stored.weights, config.chunk_size, config.steps)
    size = network.vlm_config.vision_config.image_size
    if config.image_resolution is not None and config.image_resolution != [size, size]:
        raise CheckpointError(
            f"config.json: image_resolution is {config.image_resolution}, the vision tower takes [{size}, {size}]"
        )
    for name, limit in ((STATE, network.max_state_dim), (ACTION, network.max_action_dim)):
        if config.dims(name) > limit:
            raise CheckpointError(f"config.json: {name} has {config.dims(name)} dimensions, the network {limit}")
    return PublishedModel(
        directory=directory,
        format=Format.LEROBOT,
        config=network,
        stored=stored,
        cameras=config.cameras,
        state=processors.state,
        action=processors.action,
        are_dims_known=True,
        relative=config.relative(),
        tokenizer=processors.tokenizer or PALIGEMMA,
        prompt_length=processors.prompt_length,
    )


def _transformers(directory: Path, stored: StoredTensors, body: Mapping[str, Any]) -> PublishedModel:
    path = directory / "processor_config.json"
    processor = read_json(path, _Processor, CheckpointError) if path.is_file() else _Processor()

    def normalisation(name: str, mean: list[float] | None, std: list[float] | None) -> Normalisation:
        if mean is None or std is None:
            raise CheckpointError(f"{path}: {name}_mean or {name}_std is missing: actions would have no unit")
        stats = {"mean": np.asarray(mean), "std": np.asarray(std)}
        return statistics.lerobot(Kind.MEAN_STD, stats, f"{path}: {name}")

    return PublishedModel(
        directory=directory,
        format=Format.TRANSFORMERS,
        config=PI0Config.from_dict(dict(body)),
        stored=stored,
        cameras=(),
        state=normalisation("state", processor.state_mean, processor.state_std),
        action=normalisation("actions", processor.actions_mean, processor.actions_std),
        are_dims_known=False,
    )


def _openpi(directory: Path, stored: StoredTensors, body: Mapping[str, Any], hints: Hints) -> PublishedModel:
    horizon = int(body.get("action_horizon", 0)) or hints.horizon
    if horizon < 1:
        raise CheckpointError(f"{directory / 'config.json'} is missing: give `horizon` in the mapping file")
    path = _norm_stats(directory, hints.norm_stats)
    stats = read_json(path, _NormStats, CheckpointError).norm_stats

    def normalisation(name: str) -> Normalisation:
        if name not in stats:
            raise CheckpointError(f"{path}: norm_stats.{name} is missing")
        found = {key: np.asarray(value) for key, value in stats[name].model_dump().items() if value is not None}
        return statistics.openpi(hints.kind or Kind.MEAN_STD, found, f"{path}: {name}")

    return PublishedModel(
        directory=directory,
        format=Format.OPENPI,
        config=pi0_config(stored.weights, horizon, _OPENPI_STEPS),
        stored=stored,
        cameras=OPENPI_CAMERAS,
        state=normalisation("state"),
        action=normalisation("actions"),
        are_dims_known=False,
    )


def _norm_stats_files(directory: Path) -> list[Path]:
    return sorted({*directory.glob("norm_stats.json"), *directory.glob("assets/**/norm_stats.json")})


def _norm_stats(directory: Path, named: str) -> Path:
    if named:
        return directory / named
    found = _norm_stats_files(directory)
    if not found:
        raise CheckpointError(f"{directory / 'assets'} holds no norm_stats.json: actions would have no unit")
    if len(found) > 1:
        names = [str(path.relative_to(directory)) for path in found]
        raise CheckpointError(
            f"{directory} has {len(names)} norm_stats.json: name one as norm_stats in the mapping: {names}"
        )
    return found[0]
