# SPDX-License-Identifier: Apache-2.0
"""From a published checkpoint directory to what `Pi0Backend` serves; only safetensors, JSON and YAML are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PI0Config, PI0ForConditionalGeneration
from transformers.initialization import no_init_weights

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.backends.pi0 import sizes_of
from vla_policy.core.backends.pi0_parts import Featurizer, MeanFeaturizer, Parts
from vla_policy.core.conditioning import conditioning_in
from vla_policy.core.feature_version import FEATURE_VERSION
from vla_policy.core.files import MANIFEST, model_directory, read_manifest
from vla_policy.core.normalise import PolicyStats
from vla_policy.core.published.adapter import ModelAdapter, adapter_of
from vla_policy.core.published.directory import network_of, read_published
from vla_policy.core.published.mapping import mapping_path, misfits, read_model_mapping
from vla_policy.core.published.prompt import PublishedPrompter, published_prompter
from vla_policy.core.published.tensors import StoredTensor, StoredTensors, copy_into
from vla_policy.core.rl_token import TokenFeaturizer
from vla_policy.core.token_files import has_token, read_encoder

STATS_FILE = "stats.json"
_SHOWN = 3


def load_published(
    directory: Path, *, mapping: str = "", joint_names: tuple[str, ...] = (), dtype: torch.dtype = torch.float32
) -> Parts:
    """Everything of a published checkpoint directory.

    Args:
        directory: As LeRobot, transformers or openpi wrote it, or one of ours with a stats.json.
        mapping: Mapping file; empty for the one beside the checkpoint, or for the stats.json.
        joint_names: The robot's joints, the gripper last; empty for the order in which the mapping names them.
        dtype: Number format of the network in memory.

    Raises:
        CheckpointError: A file or a tensor is not what it should be.
    """
    with model_directory(directory):
        if not mapping and (directory / STATS_FILE).is_file():
            return _with_stats(directory, dtype)
        return _with_mapping(directory, mapping, joint_names, dtype)


def _with_stats(directory: Path, dtype: torch.dtype) -> Parts:
    config, stored = network_of(directory)
    stats = PolicyStats.load(directory / STATS_FILE)
    prompter = published_prompter(directory, config, len(stats.cameras))
    return _parts(directory, load_network(config, stored, dtype), stats, prompter)


def _with_mapping(directory: Path, named: str, joint_names: tuple[str, ...], dtype: torch.dtype) -> Parts:
    path = mapping_path(directory, named)
    if not path.is_file():
        raise CheckpointError(
            f"{path} is missing: it says what the model's numbers mean on this robot; "
            f"`whetstone model inspect {directory}` prints one to fill in"
        )
    mapping = read_model_mapping(path)
    model = read_published(directory, mapping.hints)
    if problems := misfits(mapping, model, joint_names):
        raise CheckpointError(f"{path}: {first_of(problems)}")
    adapter, stats = adapter_of(mapping, model, joint_names)
    prompter = published_prompter(
        directory,
        model.config,
        len(stats.cameras),
        named=mapping.tokenizer,
        hub_name=model.tokenizer,
        length=model.prompt_length,
    )
    network = load_network(model.config, model.stored, dtype)
    reorder_actions(network, adapter)
    names = mapping.action_names(joint_names) if mapping.action_space == "joint" else ()
    return _parts(directory, network, stats, prompter, adapter, names)


def _parts(
    directory: Path,
    network: PI0ForConditionalGeneration,
    stats: PolicyStats,
    prompter: PublishedPrompter,
    adapter: ModelAdapter | None = None,
    joint_names: tuple[str, ...] = (),
) -> Parts:
    manifest = read_manifest(directory) if (directory / MANIFEST).is_file() else {"files": {}}
    return Parts(
        model=network,
        stats=stats,
        prompter=prompter,
        featurizer=_featurizer(manifest, directory, network.config, len(stats.cameras)),
        model_id=directory.resolve().name,
        conditioning=conditioning_in(manifest, directory),
        adapter=adapter,
        joint_names=joint_names,
        feature_version=str(manifest.get(FEATURE_VERSION, "")),
    )


def _featurizer(manifest: Mapping[str, Any], directory: Path, config: PI0Config, cameras: int) -> Featurizer:
    """The RL token that `whetstone features train` has put beside the checkpoint, or the mean."""
    width = int(config.vlm_config.text_config.hidden_size)
    if not has_token(directory):
        return MeanFeaturizer(width)
    tokens = sizes_of(config).image_tokens * cameras
    return TokenFeaturizer(read_encoder(manifest, directory, width, tokens), tokens)


def empty_network(config: PI0Config, dtype: torch.dtype) -> PI0ForConditionalGeneration:
    """A network whose parameters hold nothing yet; frequencies and scales keep full precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with no_init_weights():
            model = PI0ForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(before)
    model.model.dit.embed_tokens = None  # the expert embeds no words: a quarter of a billion numbers for nothing
    return model.eval()


def outline(config: PI0Config) -> PI0ForConditionalGeneration:
    """Names and shapes of a network's parameters; nothing of it is allocated."""
    with torch.device("meta"):
        return empty_network(config, torch.float32)


def load_network(config: PI0Config, stored: StoredTensors, dtype: torch.dtype) -> PI0ForConditionalGeneration:
    """The network with the weights of the files; nothing may be absent or left over.

    Raises:
        CheckpointError: A tensor is missing, unknown, of another shape or not finite.
    """
    model = empty_network(config, dtype)
    parameters = dict(model.named_parameters())
    if problems := tensor_problems(parameters, stored.weights):
        raise CheckpointError(f"{_folder(stored)}: {first_of(problems)}")
    copy_into(parameters, stored.weights)
    return model


def _folder(stored: StoredTensors) -> Path:
    return next(iter(stored.weights.values())).file.parent


def tensor_problems(parameters: Mapping[str, Tensor], stored: Mapping[str, StoredTensor]) -> list[str]:
    """How the tensors of the files differ from those of the network, one sentence for each."""
    found = [f"missing tensor {name}" for name in sorted(set(parameters) - set(stored))]
    found += [f"unexpected tensor {stored[name].key}" for name in sorted(set(stored) - set(parameters))]
    for name in sorted(set(stored) & set(parameters)):
        shape, expected = stored[name].shape, tuple(parameters[name].shape)
        if shape != expected:
            found.append(f"mismatched tensor {stored[name].key} has shape {list(shape)}, expected {list(expected)}")
        elif not stored[name].dtype.startswith(("F", "BF")):
            found.append(f"mismatched tensor {stored[name].key} holds {stored[name].dtype}, expected floating point")
    return found


def first_of(problems: Sequence[str]) -> str:
    """A few of them, and how many more there are."""
    more = len(problems) - _SHOWN
    return "; ".join(problems[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


@torch.no_grad()
def reorder_actions(network: PI0ForConditionalGeneration, adapter: ModelAdapter) -> None:
    """Put the action dimensions into the contract's order, in the weights, so that noises have that order too."""
    order = torch.from_numpy(adapter.action_order)
    into, out = network.embed_action_time.action_in_proj, network.action_out_proj
    into.weight.copy_(into.weight[:, order].clone())
    out.weight.copy_(out.weight[order].clone())
    out.bias.copy_(out.bias[order].clone())
