# SPDX-License-Identifier: Apache-2.0
"""What LeRobot writes beside the weights: features in config.json, statistics in its processors.

Before 0.4 the statistics were buffers among the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.published.statistics import Array, Kind, Normalisation, identity, lerobot
from vla_policy.core.published.tensors import StoredTensors
from vla_policy.core.tensor_files import read_tensors
from whetstone_common.core.foreign import OpenModel, read_json

STATE, ACTION = "observation.state", "action"
_BEFORE, _AFTER = "policy_preprocessor.json", "policy_postprocessor.json"
_UNKNOWN_MODE = "normalization_mapping"
# Steps that change no number, or whose effect is reproduced here.
_KNOWN_STEPS = {
    "rename_observations_processor", "to_batch_processor", "pi0_new_line_processor", "tokenizer_processor",
    "device_processor", "relative_actions_processor", "normalizer_processor", "unnormalizer_processor",
    "absolute_actions_processor",
}  # fmt: skip


class _Feature(OpenModel):
    type: str
    shape: list[int] = Field(min_length=1)


class LeRobotConfig(OpenModel):
    """The keys of config.json that change what the model does."""

    type: Literal["pi0"]
    input_features: dict[str, _Feature]
    output_features: dict[str, _Feature]
    chunk_size: int = Field(ge=1)
    num_inference_steps: int | None = Field(default=None, ge=1)
    num_steps: int | None = Field(default=None, ge=1)  # its name before 0.4
    image_resolution: list[int] | None = None
    normalization_mapping: dict[str, str] = Field(default_factory=dict)
    use_relative_actions: bool = False
    relative_exclude_joints: list[str] = Field(default_factory=list)
    action_feature_names: list[str] | None = None
    use_delta_joint_actions_aloha: bool = False
    adapt_to_pi_aloha: bool = False
    use_peft: bool = False

    @property
    def steps(self) -> int:
        """Euler steps."""
        return self.num_inference_steps or self.num_steps or 10

    @property
    def cameras(self) -> tuple[str, ...]:
        """Image features, in the order in which the model sees them."""
        return tuple(name for name, feature in self.input_features.items() if feature.type == "VISUAL")

    def dims(self, name: str) -> int:
        """Length of the state or the action.

        Raises:
            CheckpointError: There is no such feature.
        """
        features = self.output_features if name == ACTION else self.input_features
        if name not in features:
            raise CheckpointError(f"config.json: the feature {name} is missing, there are {sorted(features)}")
        return features[name].shape[0]

    def relative(self) -> tuple[bool, ...] | None:
        """Which action dimensions are relative to the state; None where config.json says nothing of it."""
        if not self.use_relative_actions:
            return None
        dims = self.dims(ACTION)
        names = [name.lower() for name in self.action_feature_names or []][:dims]
        excluded = [name.lower() for name in self.relative_exclude_joints if name]
        mask = [not any(word in name for word in excluded) for name in names]
        return tuple(mask + [True] * (dims - len(mask)))


class _Step(OpenModel):
    registry_name: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    state_file: str | None = None


class _Pipeline(OpenModel):
    steps: list[_Step]


@dataclass(frozen=True)
class Processors:
    """What the two pipelines say.

    Attributes:
        state: Of observation.state.
        action: Of the action.
        tokenizer: Name of the tokenizer on the hub, empty where none is named.
        prompt_length: Tokens that a prompt is padded to.
    """

    state: Normalisation
    action: Normalisation
    tokenizer: str = ""
    prompt_length: int = 48


@dataclass(frozen=True)
class _StatisticsSource:
    """Statistics by feature and name, and the kind for each type of feature."""

    stats: Mapping[str, Mapping[str, Array]]
    kinds: Mapping[str, str]
    eps: float = 1e-8
    where: str = ""

    def normalisation(self, config: LeRobotConfig, name: str) -> Normalisation:
        dims, kind = config.dims(name), self._kind("ACTION" if name == ACTION else "STATE")
        if kind is Kind.IDENTITY:
            return identity(dims)
        if name not in self.stats:
            raise CheckpointError(
                f"{self.where}: statistics of {name} are missing, as in a base model: fine-tune it on your robot first"
            )
        found = lerobot(kind, self.stats[name], f"{self.where}: {name}", self.eps)
        if found.dim < dims:
            raise CheckpointError(f"{self.where}: {name} has statistics of {found.dim} dimensions, config.json {dims}")
        return found.first(dims)

    def _kind(self, feature_type: str) -> Kind:
        mode = self.kinds.get(feature_type, "IDENTITY")
        try:
            return Kind(mode.lower())
        except ValueError as error:
            known = sorted(kind.value.upper() for kind in Kind)
            raise CheckpointError(f"{self.where}: {feature_type} is normalised by {mode!r}, known: {known}") from error


@dataclass
class _Found:
    tokenizer: str = ""
    prompt_length: int = 48
    sources: dict[str, _StatisticsSource] = field(default_factory=dict)


def read_processors(directory: Path, config: LeRobotConfig, stored: StoredTensors) -> Processors:
    """Statistics and tokenizer of a LeRobot checkpoint.

    Raises:
        CheckpointError: They are missing, or a step does what is not known here.
    """
    if config.adapt_to_pi_aloha or config.use_delta_joint_actions_aloha:
        raise CheckpointError("config.json: adapt_to_pi_aloha and use_delta_joint_actions_aloha are not served")
    found = _Found()
    for name in (_BEFORE, _AFTER):
        if (directory / name).is_file():
            _read_pipeline(directory, name, found)
    before = found.sources.get("normalizer_processor") or _buffers(config, stored)
    after = found.sources.get("unnormalizer_processor") or before
    if before is None or after is None:
        raise CheckpointError(f"{directory / _BEFORE} is missing, and the weights hold no statistics either")
    if before.kinds.get("VISUAL", "IDENTITY") != "IDENTITY":
        raise CheckpointError(f"{before.where}: images are normalised by {before.kinds['VISUAL']}, expected IDENTITY")
    return Processors(
        before.normalisation(config, STATE), after.normalisation(config, ACTION), found.tokenizer, found.prompt_length
    )


def _read_pipeline(directory: Path, name: str, found: _Found) -> None:
    for step in read_json(directory / name, _Pipeline, CheckpointError).steps:
        kind = step.registry_name or "a class of its own"
        if kind not in _KNOWN_STEPS:
            raise CheckpointError(f"{directory / name}: the step {kind} is not known here: its effect would be missing")
        if kind == "tokenizer_processor":
            found.tokenizer = str(step.config.get("tokenizer_name") or "")
            found.prompt_length = int(step.config.get("max_length", found.prompt_length))
        if kind in ("normalizer_processor", "unnormalizer_processor"):
            found.sources[kind] = _source(directory, step)


def _source(directory: Path, step: _Step) -> _StatisticsSource:
    name = step.state_file or ""
    if Path(name).name != name:
        raise CheckpointError(f"{directory}: state_file is {name!r}, expected the name of a file beside it")
    stats: dict[str, dict[str, Array]] = {}
    if name:
        for key, value in read_tensors(directory / name).items():
            feature, _, statistic = key.rpartition(".")
            stats.setdefault(feature, {})[statistic] = value.double().numpy()
    eps = step.config.get("eps", 1e-8)
    kinds = {str(key): str(value) for key, value in dict(step.config.get("norm_map", {})).items()}
    return _StatisticsSource(stats, kinds, float(eps), str(directory / name))


def _buffers(config: LeRobotConfig, stored: StoredTensors) -> _StatisticsSource | None:
    """Statistics among the weights; a feature's dots are underscores there."""
    if not stored.buffers:
        return None
    names = {feature.replace(".", "_"): feature for feature in (STATE, ACTION)}
    stats: dict[str, dict[str, Array]] = {}
    for (feature, statistic), tensor in stored.buffers.items():
        if feature in names:
            values: Array = np.asarray(tensor.read().double().numpy())
            stats.setdefault(names[feature], {})[statistic] = values
    return _StatisticsSource(stats, config.normalization_mapping, where="model.safetensors")
