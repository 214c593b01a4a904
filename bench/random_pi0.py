# SPDX-License-Identifier: Apache-2.0
"""PI0 of three sizes with random weights, served by the backend's own code: time and memory follow from the shape."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from transformers import PI0Config

from vla_policy.core.backends.pi0 import Pi0Backend
from vla_policy.core.backends.pi0_parts import MeanFeaturizer, Parts
from vla_policy.core.normalise import PolicyStats, Stats
from vla_policy.core.prompter import Prompt
from vla_policy.core.protocol import Observation
from vla_policy.core.published.directory import PROMPT_LENGTH
from vla_policy.core.published.loading import empty_network

CAMERAS, IMAGE_PX, STEPS = ("front", "wrist"), 224, 10
DIM = 8  # of a robot with seven joints and a gripper
_WORDS = 12  # tokens of a prompt, which is padded to PROMPT_LENGTH


@dataclass(frozen=True)
class Size:
    """Sizes of a network that are not the published ones; layers are those of the language model and of the expert.

    Attributes:
        vision: Width, inner width, layers and heads of the tower.
        language: Width and inner width.
        expert: Width and inner width.
        layers: Of both.
        heads: Query heads of both; there is one key head.
        head_dim: Of all of them.
        vocabulary: Words that are embedded.
    """

    vision: tuple[int, int, int, int]
    language: tuple[int, int]
    expert: tuple[int, int]
    layers: int
    heads: int
    head_dim: int
    vocabulary: int

    def config(self) -> PI0Config:
        """In transformers' form."""
        width, inner, layers, heads = self.vision
        text = self._gemma(self.language)
        vision = {
            "model_type": "siglip_vision_model",
            "hidden_size": width,
            "intermediate_size": inner,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "image_size": IMAGE_PX,
            "patch_size": 14,
            "vision_use_head": False,
        }
        vlm = {
            "model_type": "paligemma",
            "text_config": text,
            "vision_config": vision,
            "projection_dim": self.language[0],
            "hidden_size": self.language[0],
            "image_token_id": self.vocabulary,
        }
        return PI0Config(vlm_config=vlm, dit_config=self._gemma(self.expert))

    def _gemma(self, widths: tuple[int, int]) -> dict[str, object]:
        return {
            "model_type": "gemma",
            "hidden_size": widths[0],
            "intermediate_size": widths[1],
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": 1,
            "head_dim": self.head_dim,
            "vocab_size": self.vocabulary,
        }


# From the smallest to the largest: memory that one has left behind is less than what the next one needs.
SIZES: dict[str, Callable[[], PI0Config]] = {
    "tiny": Size((32, 48, 1, 2), (32, 48), (32, 48), 2, 2, 16, 1000).config,
    "300m": Size((768, 3072, 12, 12), (1024, 4096), (512, 2048), 10, 8, 128, 32_000).config,
    "3b": PI0Config,  # its defaults are the published shape
}


def random_backend(name: str, device: torch.device) -> tuple[Pi0Backend, float]:
    """A backend as `load_published` makes one, and its millions of parameters."""
    config = SIZES[name]()
    dtype = "bfloat16" if device.type == "cuda" else "float32"
    network = empty_network(config, getattr(torch, dtype)).to(device)
    _fill(network)
    per_image = (IMAGE_PX // config.vlm_config.vision_config.patch_size) ** 2
    parts = Parts(
        model=network,
        stats=PolicyStats(
            Stats((0.0,) * DIM, (1.0,) * DIM), Stats((0.0,) * DIM, (1.0,) * DIM), CAMERAS, 0.02, "joint", ()
        ),
        prompter=_FixedPrompt(per_image * len(CAMERAS), int(config.vlm_config.image_token_id)),
        featurizer=MeanFeaturizer(int(config.vlm_config.text_config.hidden_size)),
        model_id=name,
    )
    threads = len(os.sched_getaffinity(0))
    backend = Pi0Backend(parts, num_steps=STEPS, num_threads=threads, dtype=dtype, device=str(device))
    return backend, sum(parameter.numel() for parameter in network.parameters()) / 1e6


@torch.no_grad()
def _fill(network: nn.Module) -> None:
    """Random numbers of the size that training leaves, on the device itself."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        parameter.normal_(0.0, 0.02)
    for module in network.modules():
        if isinstance(module, nn.LayerNorm):
            module.weight.fill_(1.0)


@dataclass(frozen=True)
class _FixedPrompt:
    """Image placeholders and words, padded like a published prompt."""

    image_tokens: int
    image_id: int

    def __call__(self, _instruction: str) -> Prompt:
        ids = np.ones((1, self.image_tokens + PROMPT_LENGTH), dtype=np.int64)
        ids[:, : self.image_tokens] = self.image_id
        mask = np.ones_like(ids)
        mask[:, self.image_tokens + _WORDS :] = 0
        return ids, mask


def random_observation() -> Observation:
    """Noise from both cameras."""
    chance = np.random.default_rng(0)
    images = {name: chance.integers(0, 255, (IMAGE_PX, IMAGE_PX, 3), dtype=np.uint8) for name in CAMERAS}
    return Observation(images, np.zeros(DIM, np.float32), "lift the cube")
