# SPDX-License-Identifier: Apache-2.0
"""The pocket VLA's image tower: early convolutions in the place where PaliGemma keeps SigLIP.

A patch embedding learnt from a few hundred demonstrations does not localise; a convolutional stem does. The tower
registers itself with transformers, so a PI0 configuration can name it like any other vision model.

Legend: B batch, L tokens per image = (image_size / patch_size)^2, D hidden size.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

STEM_STRIDE = 4  # two convolutions of stride 2 come before the last one


class ConvTowerConfig(PreTrainedConfig):  # type: ignore[misc]
    """Shape of the tower; `patch_size` is its total stride."""

    model_type = "whetstone_conv_tower"

    hidden_size: int = 192
    image_size: int = 96
    patch_size: int = 12
    stem_channels: int = 32
    projection_dim: int = 192


class _Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.conv_in = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = nn.functional.gelu(self.conv_in(self.norm(x)))
        return x + cast(Tensor, self.conv_out(hidden))


class ConvTower(PreTrainedModel):  # type: ignore[misc]
    """uint8-scaled images [B, 3, S, S] in [-1, 1] -> tokens [B, L, D]."""

    config_class = ConvTowerConfig
    config: ConvTowerConfig
    main_input_name = "pixel_values"
    input_modalities = ("image",)

    def __init__(self, config: ConvTowerConfig) -> None:
        """Builds the stem for the configured stride."""
        super().__init__(config)
        if config.patch_size % STEM_STRIDE or config.image_size % config.patch_size:
            raise ValueError(
                f"patch_size {config.patch_size} must be a multiple of {STEM_STRIDE} and divide {config.image_size}"
            )
        width, last = config.stem_channels, config.patch_size // STEM_STRIDE
        grid = config.image_size // config.patch_size
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 5, stride=2, padding=2),
            nn.GELU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(2 * width, 4 * width, last + 2, stride=last, padding=1),
            nn.GELU(),
            _Residual(4 * width),
            _Residual(4 * width),
            nn.Conv2d(4 * width, config.hidden_size, 1),
        )
        self.position = nn.Parameter(torch.zeros(1, grid * grid, config.hidden_size))
        self.norm = nn.LayerNorm(config.hidden_size)
        self.post_init()
        nn.init.normal_(self.position, std=0.5)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Returns the tokens as `last_hidden_state`, row by row from the top left."""
        tokens = self.stem(pixel_values.contiguous(memory_format=torch.channels_last)).flatten(2).transpose(1, 2)
        return BaseModelOutputWithPooling(last_hidden_state=self.norm(tokens) + self.position.to(tokens.dtype))


AutoConfig.register(ConvTowerConfig.model_type, ConvTowerConfig, exist_ok=True)
AutoModel.register(ConvTowerConfig, ConvTower, exist_ok=True)
