# SPDX-License-Identifier: Apache-2.0
"""Sizes of a PI0 network, read from the shapes of its tensors.

LeRobot and openpi store the name of a variant; the tensors say the same and cannot be out of date. Two sizes leave no
trace in a shape and are the same in every published variant: one key head, and 16 heads in the vision tower.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from transformers import PI0Config

from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.published.tensors import WORDS, StoredTensor

_VISION_HEADS = 16
_VISION, _TEXT, _EXPERT = "model.vlm.vision_tower", "model.vlm.language_model", "model.dit"
_ADAPTIVE = "model.dit.norm.dense.weight"


def pi0_config(stored: Mapping[str, StoredTensor], horizon: int, steps: int) -> PI0Config:
    """Configuration of a network with these tensors.

    Args:
        stored: By transformers' name.
        horizon: Steps of a chunk, which no tensor tells.
        steps: Euler steps.

    Raises:
        CheckpointError: A tensor that is needed is missing, or the network is another one.
    """
    if _ADAPTIVE in stored or "embed_action_time.state_proj.weight" not in stored:
        raise CheckpointError("the tensors are not those of pi0: there is no state_proj, as in pi05")

    def shape(name: str) -> tuple[int, ...]:
        if name not in stored:
            raise CheckpointError(f"the tensor {name!r} is missing")
        return stored[name].shape

    width, _, patch, _ = shape(f"{_VISION}.embeddings.patch_embedding.weight")
    patches = shape(f"{_VISION}.embeddings.position_embedding.weight")[0]
    text, expert = _gemma(stored, shape, _TEXT), _gemma(stored, shape, _EXPERT)
    vocabulary = shape(WORDS)[0]
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": width,
        "intermediate_size": shape(f"{_VISION}.encoder.layers.0.mlp.fc1.weight")[0],
        "num_hidden_layers": _layers(stored, f"{_VISION}.encoder"),
        "num_attention_heads": _VISION_HEADS,
        "image_size": math.isqrt(patches) * patch,
        "patch_size": patch,
        "vision_use_head": False,
    }
    return PI0Config(
        vlm_config={
            "model_type": "paligemma",
            "text_config": text | {"vocab_size": vocabulary},
            "vision_config": vision,
            "projection_dim": text["hidden_size"],
            "hidden_size": text["hidden_size"],
            "image_token_id": vocabulary,  # behind the words: image tokens are placeholders and are never embedded
        },
        dit_config=expert,
        chunk_size=horizon,
        max_state_dim=shape("embed_action_time.state_proj.weight")[1],
        max_action_dim=shape("embed_action_time.action_in_proj.weight")[1],
        num_inference_steps=steps,
    )


def _gemma(stored: Mapping[str, StoredTensor], shape: Any, prefix: str) -> dict[str, Any]:
    first = f"{prefix}.layers.0"
    queries, width = shape(f"{first}.self_attn.q_proj.weight")
    head_dim = shape(f"{first}.self_attn.k_proj.weight")[0]
    return {
        "model_type": "gemma",
        "hidden_size": width,
        "intermediate_size": shape(f"{first}.mlp.gate_proj.weight")[0],
        "num_hidden_layers": _layers(stored, prefix),
        "num_attention_heads": queries // head_dim,
        "num_key_value_heads": 1,
        "head_dim": head_dim,
    }


def _layers(stored: Mapping[str, StoredTensor], prefix: str) -> int:
    pattern = re.compile(rf"^{re.escape(prefix)}\.layers\.(\d+)\.")
    numbers = {int(match[1]) for name in stored if (match := pattern.match(name))}
    if numbers != set(range(len(numbers))) or not numbers:
        raise CheckpointError(f"{prefix} has layers {sorted(numbers)}, expected all from 0 on")
    return len(numbers)
