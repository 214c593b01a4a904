# SPDX-License-Identifier: Apache-2.0
"""A model directory that can be trained: what is loaded, which of its weights move, and how it is written again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PI0ForConditionalGeneration

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.backends.pi0 import Pi0Backend
from vla_policy.core.backends.pi0_parts import Parts
from vla_policy.core.backends.pocket import load_pocket
from vla_policy.core.feature_version import FEATURE_VERSION, feature_version
from vla_policy.core.files import MANIFEST, write_manifest
from vla_policy.core.normalise import PolicyStats
from vla_policy.core.protocol import FloatArray, Observation
from vla_policy.core.published.detect import is_pocket
from vla_policy.core.published.loading import load_published
from vla_policy.core.published.mapping import MAPPING_FILE
from vla_policy.core.published.prompt import PublishedPrompter
from vla_policy.core.published.tensors import INDEX
from vla_policy.core.token_files import ENCODER_FILE, SHAPE_KEY, has_token, kept_token_entries
from vla_policy.core.training.export import export_finetuned
from vla_policy.core.training.windows import ImageRow, PrefixRow, padded
from whetstone_common.core.outputs import new_folder

# What a stats.json and a configuration in transformers' form stand for, whoever wrote the source.
_REPLACED = (MANIFEST, INDEX, MAPPING_FILE, "policy_preprocessor.json", "policy_postprocessor.json")


def expert_parameters(model: PI0ForConditionalGeneration) -> dict[str, nn.Parameter]:
    """Those of the action expert and of its projections, by name."""
    return {name: value for name, value in model.named_parameters() if not name.startswith("model.vlm.")}


def train_expert_only(model: PI0ForConditionalGeneration) -> None:
    """Let gradients reach the action expert and its projections, and nothing else."""
    model.requires_grad_(requires_grad=False)
    for parameter in expert_parameters(model).values():
        parameter.requires_grad_(requires_grad=True)


def freeze(model: PI0ForConditionalGeneration, scope: str, lora: int) -> None:
    """Settle which weights take a gradient.

    Args:
        model: Any PI0.
        scope: `expert` or `whole`.
        lora: Rank of the adapters beside every linear layer of the scope, 0 for the weights themselves.
    """
    if lora:
        model.requires_grad_(requires_grad=False)
        add_adapters(model, scope, lora)
    elif scope == "whole":
        model.requires_grad_(requires_grad=True)
    else:
        train_expert_only(model)


@dataclass(eq=False)
class Trainable:
    """A VLA in memory, with where it comes from.

    Attributes:
        source: Its model directory.
        parts: Model, statistics, prompter and featurizer.
        is_pocket: Whether it is an embedded VLA, or one in the published format.
        scope: Which weights take a gradient, as in `freeze`.
    """

    source: Path
    parts: Parts
    is_pocket: bool
    scope: str = "expert"

    @classmethod
    def load(cls, directory: Path) -> Trainable:
        """Read a model directory, pocket or published.

        Raises:
            CheckpointError: It is neither, or something in it is not what it should be.
        """
        if not directory.is_dir():
            raise CheckpointError(f"{directory}: there is no such model directory")
        of_pocket = is_pocket(directory)
        if not of_pocket and not (directory / "config.json").is_file():
            raise CheckpointError(f"{directory} holds no model that can be trained: neither a pocket VLA nor a pi0")
        parts = load_pocket(directory) if of_pocket else load_published(directory)
        if parts.adapter is not None and not parts.adapter.is_plain(parts.stats):
            raise CheckpointError(
                f"{directory} cannot be trained here: its actions are absolute, or its state is not the contract's. "
                "A model whose actions are relative and whose state is in the robot's order can be"
            )
        return cls(directory, replace(parts, adapter=None), of_pocket)

    @property
    def model(self) -> PI0ForConditionalGeneration:
        """The network."""
        return self.parts.model

    def with_stats(self, stats: PolicyStats) -> None:
        """Normalise by other statistics from now on."""
        self.parts = replace(self.parts, stats=stats)

    def freeze(self, scope: str, lora: int) -> None:
        """Settle which weights take a gradient; see the function of this name."""
        self.scope = scope
        freeze(self.model, scope, lora)

    def row(self, backend: Pi0Backend, observation: Observation, chunk: FloatArray, weight: float) -> PrefixRow:
        """A window behind the frozen vision-language part."""
        context = backend.prefix(observation)
        return PrefixRow(context.prefix, context.state, self._padded(chunk), weight)

    def image_row(self, observation: Observation, chunk: FloatArray, weight: float) -> ImageRow:
        """A window as the whole VLA sees it."""
        stats = self.parts.stats
        ids, mask = self.parts.prompt(observation.instruction)
        images = torch.from_numpy(np.stack([observation.images[name] for name in stats.cameras]))
        proprio = stats.proprio.normalise(observation.proprio)
        state = torch.zeros(1, int(self.model.config.max_state_dim))
        state[0, : proprio.size] = torch.from_numpy(proprio)
        return ImageRow(images, ids, mask, state, self._padded(chunk), weight)

    def _padded(self, chunk: FloatArray) -> Tensor:
        return padded(torch.from_numpy(chunk), int(self.model.config.max_action_dim))

    def install(self, weights: Mapping[str, Tensor]) -> None:
        """Take trained weights over, and melt adapters into what they stand beside."""
        self.model.load_state_dict(dict(weights), strict=False)
        merge_adapters(self.model)
        self.model.eval().requires_grad_(requires_grad=False)

    def export(self, out: Path, extra: Mapping[str, Any]) -> None:
        """Write a sealed model directory like the source's; it appears when it is whole.

        Raises:
            FileExistsError: There is something of that name.
            OSError: It cannot be written.
        """
        entries = {**self._feature_entries(), **extra}
        if self.is_pocket:
            export_finetuned(self.source, out, self.model, entries, self.parts.stats)
        else:
            _export_published(self.source, out, self.parts, {**self._token_entries(), **entries})

    def _feature_entries(self) -> dict[str, Any]:
        """Eyes and words that were trained give features that mean something else."""
        return {} if self.scope == "expert" else {FEATURE_VERSION: feature_version(self.model.state_dict())}

    def _token_entries(self) -> dict[str, Any]:
        """Of a published checkpoint's RL token; it has seen nothing of other eyes and words."""
        return kept_token_entries(self.source) if self.scope == "expert" and has_token(self.source) else {}


def _export_published(source: Path, out: Path, parts: Parts, extra: Mapping[str, Any]) -> None:
    """Weights and configuration in transformers' own form, statistics in ours, the tokenizer's files, an RL token."""
    with new_folder(out) as unfinished:
        for path in source.iterdir():
            if path.is_file() and path.suffix != ".safetensors" and path.name not in _REPLACED:
                shutil.copyfile(path, unfinished / path.name)
        parts.model.save_pretrained(unfinished, safe_serialization=True)
        if isinstance(parts.prompter, PublishedPrompter):
            parts.prompter.tokenizer.save_pretrained(unfinished)
        parts.stats.save(unfinished / "stats.json")
        if SHAPE_KEY in extra:
            shutil.copyfile(source / ENCODER_FILE, unfinished / ENCODER_FILE)
        names = [path.name for path in unfinished.iterdir()]
        write_manifest(unfinished, names, extra)


def add_adapters(model: nn.Module, scope: str, rank: int) -> None:
    """Low-rank adapters beside the linear layers of a scope (Hu et al. 2021, arXiv 2106.09685), scaled by 1."""
    from peft import LoraConfig, inject_adapter_in_model

    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and (scope == "whole" or not name.startswith("model.vlm."))
    ]
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=names), model)


def merge_adapters(model: nn.Module) -> None:
    """Melt adapters into the layers that they stand beside; none are left."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()  # type: ignore[operator]
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.get_base_layer())
