# SPDX-License-Identifier: Apache-2.0
"""The pocket VLA: PI0 of transformers with a few million parameters, and its detection head.

Legend: B batch, D hidden size of the VLM, R readout tokens (object, goal).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PI0Config, PI0ForConditionalGeneration

from vla_policy.core import vision
from vla_policy.core.tokenizer import IMAGE, READOUTS

DETECTION_DIM = 8  # base frame [m] (3), relative to the TCP [m] (3), cos and sin of 4 yaw (2); normalised


@dataclass(frozen=True)
class PocketShape:
    """Sizes of the pocket VLA."""

    image_size_px: int = 96
    patch_size_px: int = 12
    stem_channels: int = 32
    layers: int = 4
    heads: int = 4
    head_dim: int = 64
    vlm_width: int = 192
    vlm_mlp: int = 512
    expert_width: int = 160
    expert_mlp: int = 480
    horizon: int = 16
    action_dim: int = 7
    proprio_dim: int = 10
    flow_steps: int = 10


def pocket_config(shape: PocketShape, vocab_size: int) -> PI0Config:
    """A PI0 configuration of that shape."""
    common = {
        "model_type": "gemma",
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": 1,
        "head_dim": shape.head_dim,
        "max_position_embeddings": 512,
    }
    text = common | {
        "hidden_size": shape.vlm_width,
        "intermediate_size": shape.vlm_mlp,
        "vocab_size": vocab_size,
    }
    tower = {
        "model_type": vision.ConvTowerConfig.model_type,
        "hidden_size": shape.vlm_width,
        "image_size": shape.image_size_px,
        "patch_size": shape.patch_size_px,
        "stem_channels": shape.stem_channels,
    }
    return PI0Config(
        vlm_config={
            "model_type": "paligemma",
            "text_config": text,
            "vision_config": tower,
            "projection_dim": shape.vlm_width,
            "hidden_size": shape.vlm_width,
            "vocab_size": vocab_size,
            "image_token_index": IMAGE,
        },
        dit_config=common | {"hidden_size": shape.expert_width, "intermediate_size": shape.expert_mlp},
        chunk_size=shape.horizon,
        max_state_dim=shape.proprio_dim,
        max_action_dim=shape.action_dim,
        num_inference_steps=shape.flow_steps,
        loss_reduction="none",
    )


def build_model(config: PI0Config) -> PI0ForConditionalGeneration:
    """A freshly initialised model; the caller seeds torch."""
    model = PI0ForConditionalGeneration(config)
    return model.float()


class DetectionHead(nn.Module):
    """Reads positions of the instructed object and goal from the readout tokens.

    The target that teaches a small vision tower to localise; dropped after training. It reads the input of the last
    layers, not only the output, so that the action expert's keys and values carry the answer too.
    """

    def __init__(self, width: int, hidden: int = 128) -> None:
        """One MLP per readout token over D features."""
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.readers = nn.ModuleList(
            nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, DETECTION_DIM)) for _ in READOUTS
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, L, D] of one layer -> [B, R, 8] normalised positions."""
        tokens = self.norm(hidden[:, -len(READOUTS) :].float())
        return torch.stack([reader(tokens[:, i]) for i, reader in enumerate(self.readers)], dim=1)
