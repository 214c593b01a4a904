# SPDX-License-Identifier: Apache-2.0
"""Eyes that read the hand-frame state: where the instructed object and goal are, how they are turned, what is held.

A network per camera ends in maps whose mean places (spatial soft arg max; Finn et al. 2016, arXiv 1509.06113) say where
in the image something is; the words scale and move the channels (FiLM; Perez et al. 2018, arXiv 1709.07871), so that
the maps follow what the instruction names. A token of the VLA is 6 cm of table wide; a map is finer by far.

Legend: B batch, K cameras, S image size, G = S / 4 size of a map, C channels, L tokens of a prompt without images,
P proprioception dims.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from vla_policy.core.tokenizer import PAD

# Hand's frame: the TCP's, x the way the fingers close, z the way they point. Turns are about the vertical, of the thing
# against the fingers; four times the angle, since cubes, pegs and sockets look alike every quarter.
HAND_FRAME_NAMES = (
    "object_x_m", "object_y_m", "object_z_m", "goal_x_m", "goal_y_m", "goal_z_m",
    "object_cos4", "object_sin4", "goal_cos4", "goal_sin4", "held",
)  # fmt: skip
READOUT_DIM = len(HAND_FRAME_NAMES)
POSITIONS, TURNS, HELD = slice(0, 6), slice(6, 10), 10
POSITION_UNIT_M = 0.1  # of what the network gives inside


@dataclass(frozen=True)
class EyesShape:
    """Sizes of the eyes; the vocabulary and the prompt are the tokenizer's.

    Attributes:
        vocab_size: ids of the tokenizer.
        prompt_length: L.
        image_size_px: S.
        proprio_dim: P.
        channels: C of each camera, front and wrist; the wrist's shows more.
        layers: plain convolutions of each camera.
        words_width: of what the words say, as a vector.
        hidden: width of the layers that read the maps.
    """

    vocab_size: int
    prompt_length: int
    image_size_px: int = 96
    proprio_dim: int = 10
    channels: tuple[int, ...] = (32, 48)
    layers: int = 3
    words_width: int = 32
    hidden: int = 192


class Eyes(nn.Module):
    """Two images, words and proprioception -> readouts named by `HAND_FRAME_NAMES`."""

    def __init__(self, shape: EyesShape) -> None:
        """Fresh weights from torch's seed."""
        super().__init__()
        self.shape = shape
        self.words = nn.Embedding(shape.vocab_size * shape.prompt_length, shape.words_width)
        nn.init.zeros_(self.words.weight)  # a word that training never had at its place says nothing
        self.register_buffer("places", torch.arange(shape.prompt_length) * shape.vocab_size, persistent=False)
        self.cameras = nn.ModuleList(_Camera(shape, channels) for channels in shape.channels)
        seen = 3 * sum(shape.channels) + shape.proprio_dim + shape.words_width
        self.read = nn.Sequential(
            nn.Linear(seen, shape.hidden), nn.ReLU(),
            nn.Linear(shape.hidden, shape.hidden), nn.ReLU(),
            nn.Linear(shape.hidden, READOUT_DIM),
        )  # fmt: skip

    def raw(self, pixels: Tensor, words: Tensor, proprio: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, with positions in units of `POSITION_UNIT_M` and held as a logit: what is trained.

        Returns:
            The readouts [B, 11], and of each camera's first two maps, which shall point at object and goal, the log
            shares of their places [B, K, 2, G * G].
        """
        known = torch.where(words < self.shape.vocab_size, words, PAD)  # words that the VLA has learnt since
        named = self.words(known + self.places).sum(1)
        seen, pointed = zip(*(c(pixels[:, number], named) for number, c in enumerate(self.cameras)), strict=True)
        out = self.read(torch.cat([*seen, proprio.to(named.dtype), named], dim=1))
        return cast(Tensor, out), torch.stack(pointed, dim=1)

    def forward(self, pixels: Tensor, words: Tensor, proprio: Tensor) -> Tensor:
        """Readouts [B, 11].

        Args:
            pixels: [B, K, 3, S, S] in [-1, 1].
            words: int64 [B, L], ids of the prompt without image tokens.
            proprio: [B, P] normalised.
        """
        out = self.raw(pixels, words, proprio)[0].float()
        return torch.cat([out[:, POSITIONS] * POSITION_UNIT_M, out[:, TURNS], out[:, HELD:].sigmoid()], dim=1)


class _Camera(nn.Module):
    """One image -> mean place and peak of each map, and log shares of the first two."""

    def __init__(self, shape: EyesShape, width: int) -> None:
        super().__init__()
        stem = width // 2
        self.first = nn.Conv2d(3 + 2, stem, 5, stride=2, padding=2)
        self.second = nn.Conv2d(stem, width, 3, stride=2, padding=1)
        self.plain = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(shape.layers))
        self.modulate = nn.ModuleList(nn.Linear(shape.words_width, 2 * width) for _ in range(shape.layers))
        size = shape.image_size_px
        self.register_buffer("coordinates", _grid(size), persistent=False)
        self.register_buffer("places", _grid(size // 4).flatten(1), persistent=False)
        self.sharpness = nn.Parameter(torch.full((width, 1), 2.0))

    def forward(self, image: Tensor, named: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, S, S], [B, words] -> [B, 3 C] and [B, 2, G * G]."""
        grid = cast(Tensor, self.coordinates).to(image.dtype).expand(image.shape[0], -1, -1, -1)
        x = torch.cat([image, grid], dim=1).contiguous(memory_format=torch.channels_last)
        x = torch.relu(self.second(torch.relu(self.first(x))))
        for layer, modulate in zip(self.plain, self.modulate, strict=True):
            scale, shift = modulate(named)[:, :, None, None].chunk(2, dim=1)
            x = x + torch.relu(layer(x) * (1.0 + scale) + shift)
        maps = x.flatten(2).float()
        log_share = torch.log_softmax(maps * self.sharpness, dim=2)
        share = log_share.exp()
        place = share @ cast(Tensor, self.places).T  # [B, C, 2]
        peak = (share * maps).sum(2)
        return torch.cat([place.flatten(1), peak], dim=1), log_share[:, :2]


def _grid(size: int) -> Tensor:
    """[2, size, size] columns and rows, -1 to 1."""
    line = torch.linspace(-1.0, 1.0, size)
    return torch.stack([line.expand(size, size), line[:, None].expand(size, size)])
