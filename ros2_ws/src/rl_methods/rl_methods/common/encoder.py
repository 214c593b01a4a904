# SPDX-License-Identifier: Apache-2.0
"""An image encoder that reinforcement learning trains: a small convolutional net per camera, soft arg max on top.

The shape follows RLPD from pixels and HIL-SERL (arXiv 2302.02948; 2410.21845, section 3.1): a net per camera, pooling
that keeps places, a bottleneck. Places are read by a soft arg max (Levine et al., arXiv 1504.00702, section 5).
Normalisation is GroupNorm as in EXPO-FT, since statistics of a batch of windows are not those of one decision.

Legend: B batch, K cameras, S side of an image, M maps, Z outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rl_methods.registry import ENCODERS

MAX_IMAGE_SIZE, MAX_CAMERAS, MAX_MAPS, MAX_OUTPUTS = 256, 16, 512, 4096
_GROUPS = 4
_HALVINGS = 2  # of the image's sides, by the first two layers


@dataclass(frozen=True)
class EncoderConfig:
    """Everything that the shapes of an encoder follow from.

    Attributes:
        cameras: K, 0 for no encoder.
        image_size: S (px), a multiple of 4.
        maps: M, feature maps of each layer, a multiple of 4.
        outputs: Z, of all cameras together.
    """

    cameras: int = 0
    image_size: int = 64
    maps: int = 32
    outputs: int = 64

    def __post_init__(self) -> None:
        """Refuses what cannot work."""
        if not 0 <= self.cameras <= MAX_CAMERAS:
            raise ValueError(f"cameras is {self.cameras}, allowed: 0..{MAX_CAMERAS}")
        if self.image_size % 4 or not 16 <= self.image_size <= MAX_IMAGE_SIZE:
            raise ValueError(f"image_size is {self.image_size}, allowed: multiples of 4 in 16..{MAX_IMAGE_SIZE}")
        if self.maps % _GROUPS or not _GROUPS <= self.maps <= MAX_MAPS:
            raise ValueError(f"maps is {self.maps}, allowed: multiples of {_GROUPS} in {_GROUPS}..{MAX_MAPS}")
        if not 1 <= self.outputs <= MAX_OUTPUTS:
            raise ValueError(f"outputs is {self.outputs}, allowed: 1..{MAX_OUTPUTS}")

    def size(self) -> int:
        """Numbers in all weight matrices."""
        per_camera = 9 * (3 * self.maps + 3 * self.maps * self.maps)
        return self.cameras * (per_camera + 3 * self.maps * self.outputs)


def check_encoder(encoder: str, image_size: int, shift: int) -> None:
    """Refuse settings of a method's `encoder` that cannot work.

    Raises:
        ValueError: With name, value and what is allowed.
    """
    if encoder not in ENCODERS:
        raise ValueError(f"encoder is {encoder!r}, allowed: {', '.join(ENCODERS)}")
    if not 0 <= shift < image_size:
        raise ValueError(f"shift is {shift}, allowed: 0..{image_size - 1}, within the image")


class CameraNet(nn.Module):
    """[B, 3, S, S] in -1..1 -> [B, 3 M]: where each map is large (x, y in -1..1), and how large."""

    places: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        """Four layers, the first two halve the sides."""
        super().__init__()
        widths, layers = (3, *[config.maps] * 4), list[nn.Module]()
        for number in range(4):
            stride = 2 if number < _HALVINGS else 1
            layers += [
                nn.Conv2d(widths[number], widths[number + 1], 3, stride, padding=1),
                nn.GroupNorm(_GROUPS, widths[number + 1]),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(*layers[:-1])  # maps may be negative where nothing is
        self.sharpness = nn.Parameter(torch.ones(config.maps))
        line = torch.linspace(-1.0, 1.0, config.image_size >> _HALVINGS)
        # follows from the configuration, never from a file of weights
        places = torch.stack(torch.meshgrid(line, line, indexing="xy")).flatten(1)  # [2, S/4 * S/4]
        self.register_buffer("places", places, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        maps = self.body(images).flatten(2)  # [B, M, S/4 * S/4]
        share = F.softmax(maps * self.sharpness[:, None], dim=-1)
        places = share @ self.places.T  # [B, M, 2]
        height = (share * maps).sum(-1, keepdim=True)
        return torch.cat([places, height], -1).flatten(1)


class ImageEncoder(nn.Module):
    """uint8 [B, K, S, S, 3] -> [B, Z]; K = 0 gives [B, 0]."""

    def __init__(self, config: EncoderConfig) -> None:
        """Fresh weights from torch's global seed."""
        super().__init__()
        self.config = config
        self.nets = nn.ModuleList(CameraNet(config) for _ in range(config.cameras))
        if config.cameras:
            self.head = nn.Sequential(
                nn.Linear(3 * config.maps * config.cameras, config.outputs), nn.LayerNorm(config.outputs), nn.Tanh()
            )

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        pixels = images.permute(1, 0, 4, 2, 3).float() / 127.5 - 1.0  # [K, B, 3, S, S]
        seen = [net(view) for net, view in zip(self.nets, pixels, strict=True)]
        out: Tensor = self.head(torch.cat(seen, -1))
        return out


def random_shift(images: Tensor, pad: int, generator: torch.Generator | None = None) -> Tensor:
    """Each image moved by up to `pad` pixels, its edge repeated (DrQ, arXiv 2004.13649, section 3).

    Args:
        images: uint8 [B, K, S, S, 3].
        pad: Largest shift (px); 0 moves nothing.
        generator: Of the shifts.
    """
    if not pad:
        return images
    batch, cameras, side = images.shape[:3]
    shift = torch.randint(-pad, pad + 1, (2, batch * cameras, 1), generator=generator).to(images.device)
    rows, columns = (shift + torch.arange(side, device=images.device)).clamp(0, side - 1)  # [B K, S] each
    flat = images.flatten(0, 1)
    index = torch.arange(batch * cameras, device=images.device)[:, None, None]
    return flat[index, rows[:, :, None], columns[:, None, :]].unflatten(0, (batch, cameras))
