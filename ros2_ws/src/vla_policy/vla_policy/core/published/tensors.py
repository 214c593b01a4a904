# SPDX-License-Identifier: Apache-2.0
"""Tensors of a published checkpoint under one set of names, read from the headers of its safetensors files.

LeRobot and openpi name the parts `paligemma_with_expert...`, transformers `model.vlm` and `model.dit`; older versions
nest the language model and the vision tower one level deeper. The names that are used from here on are transformers'.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rl_methods.common.checkpoint_error import CheckpointError
from whetstone_common.core.foreign import OpenModel, read_json

INDEX = "model.safetensors.index.json"
WORDS = "model.vlm.language_model.embed_tokens.weight"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_HEAD = "model.vlm.lm_head.weight"  # tied to the embeddings; some files hold only the one or the other
# The expert never embeds a word, and position ids are counted.
_UNUSED = re.compile(r"^model\.dit\.(embed_tokens|lm_head)\.|\.position_ids$")
_BUFFER = re.compile(r"^(un)?normalize_(inputs|targets|outputs)\.buffer_(?P<feature>\w+)\.(?P<name>\w+)$")
_RENAMES = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"^(_orig_mod\.)+", ""),
        (r"^model\.(?=paligemma_with_expert|state_proj|action_|time_mlp_|embed_action_time)", ""),
        (r"^paligemma_with_expert\.gemma_expert\.model\.", "model.dit."),
        (r"^paligemma_with_expert\.gemma_expert\.", "model.dit."),
        (r"^paligemma_with_expert\.paligemma\.(model\.)?", "model.vlm."),
        (r"^model\.vlm\.language_model\.model\.", "model.vlm.language_model."),
        (r"^model\.vlm\.language_model\.lm_head\.", "model.vlm.lm_head."),
        (r"^model\.vlm\.vision_tower\.vision_model\.", "model.vlm.vision_tower."),
        (r"^(?:action_)?time_mlp_(in|out)\.", r"embed_action_time.action_time_mlp_\1."),
        (r"^(state_proj|action_in_proj)\.", r"embed_action_time.\1."),
    )
)


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file.

    Attributes:
        file: Where it is.
        key: Its name there.
        shape: Its sizes.
        dtype: As the header says, such as `BF16`.
    """

    file: Path
    key: str
    shape: tuple[int, ...]
    dtype: str

    def read(self) -> Tensor:
        """The numbers."""
        with safe_open(self.file, framework="pt") as file:
            tensor: Tensor = file.get_tensor(self.key)
        return tensor


@dataclass(frozen=True)
class StoredTensors:
    """What the weight files of a directory hold.

    Attributes:
        weights: By transformers' name.
        buffers: Statistics that LeRobot before 0.4 kept among the weights, by feature and name.
    """

    weights: Mapping[str, StoredTensor]
    buffers: Mapping[tuple[str, str], StoredTensor]


class _Index(OpenModel):
    weight_map: dict[str, str]


def canonical(name: str) -> str:
    """Transformers' name of a tensor; one that is not known stays as it is."""
    for pattern, new in _RENAMES:
        name = pattern.sub(new, name)
    return name


def weight_files(directory: Path) -> list[Path]:
    """Files that hold the weights, one or the shards of an index.

    Raises:
        CheckpointError: There is none, or a shard is missing.
    """
    single, index = directory / "model.safetensors", directory / INDEX
    if index.is_file():
        names = sorted(set(read_json(index, _Index, CheckpointError).weight_map.values()))
        if wrong := [name for name in names if Path(name).name != name or not (directory / name).is_file()]:
            raise CheckpointError(f"{directory / wrong[0]} is missing, which {INDEX} names")
        return [directory / name for name in names]
    if single.is_file():
        return [single]
    raise CheckpointError(_no_weights(directory))


def _no_weights(directory: Path) -> str:
    if (directory / "adapter_model.safetensors").is_file():
        return f"{directory} holds adapters only: merge them into their base model and save that"
    if (directory / "params").is_dir():
        return f"{directory} is an openpi checkpoint of JAX: convert it with openpi's convert_jax_model_to_pytorch.py"
    pickles = sorted(path.name for pattern in _PICKLES for path in directory.glob(pattern))
    if pickles:
        return f"{directory} has {pickles[0]} and no model.safetensors: only safetensors files are read"
    return f"{directory} has no model.safetensors"


def read_headers(directory: Path) -> StoredTensors:
    """Names and shapes of all tensors; no number is read.

    Raises:
        CheckpointError: A file is missing or damaged.
    """
    weights: dict[str, StoredTensor] = {}
    buffers: dict[tuple[str, str], StoredTensor] = {}
    for path in weight_files(directory):
        for tensor in _tensors_of(path):
            if match := _BUFFER.match(tensor.key):
                buffers[match["feature"], match["name"]] = tensor
            elif not _UNUSED.search(name := canonical(tensor.key)):
                weights[name] = tensor
    head = weights.pop(_HEAD, None)
    if head is not None:
        weights.setdefault(WORDS, head)
    return StoredTensors(weights, buffers)


def _tensors_of(path: Path) -> Iterable[StoredTensor]:
    try:
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 - it is no dict
                part = file.get_slice(key)
                yield StoredTensor(path, key, tuple(part.get_shape()), str(part.get_dtype()))
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a safetensors file: {error}") from error


@torch.no_grad()
def copy_into(parameters: Mapping[str, Tensor], stored: Mapping[str, StoredTensor]) -> None:
    """Fill parameters from the files, one at a time.

    Args:
        parameters: By transformers' name; names and shapes were compared.
        stored: What the files hold.

    Raises:
        CheckpointError: A number is not finite.
    """
    for name, target in parameters.items():
        source = stored[name].read()
        if source.is_floating_point() and not bool(torch.isfinite(source).all()):
            raise CheckpointError(f"{stored[name].file}: {stored[name].key!r} is not finite")
        target.copy_(source)
