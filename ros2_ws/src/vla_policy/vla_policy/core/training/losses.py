# SPDX-License-Identifier: Apache-2.0
"""What the pocket VLA is trained on: flow matching of chunks, and detection of the instructed pair.

Legend: B frames, the first W of which start a chunk, M noises per window, H horizon, A action dims, S prefix tokens,
P proprioception dims.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PI0ForConditionalGeneration

from vla_policy.core.architecture import DetectionHead, PocketShape
from vla_policy.core.flow import encode_prefix, velocity
from vla_policy.core.tokenizer import READOUTS
from vla_policy.core.training.pointing import PointingHead

FIRST_DETECTING_LAYER = 2
POINTING_WEIGHT = 1.0
OFFSET_WEIGHT = 1.0
NAMING_WEIGHT = 0.1
# Places of (colour, noun) of object and goal in every task's sentence: "put the red cube on the blue plate".
NAMES = ((2, 3), (6, 7))


class NamingHead(nn.Module):
    """Lets each readout say which words name what it stands for, so that it knows what to look for."""

    def __init__(self, width: int, vocab_size: int) -> None:
        """Two words per readout."""
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.words = nn.ModuleList(nn.Linear(width, 2 * vocab_size) for _ in READOUTS)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, D] of one layer -> scores [B, R, 2, vocabulary]."""
        tokens = self.norm(hidden[:, -len(READOUTS) :].float())
        scores = torch.stack([words(tokens[:, i]) for i, words in enumerate(self.words)], dim=1)
        return scores.float().unflatten(-1, (2, -1))


def naming_targets(input_ids: Tensor, max_words: int) -> Tensor:
    """Ids [B, R, 2] of the colour and noun of object and goal in the prompts [B, S]."""
    first = input_ids.shape[1] - len(READOUTS) - max_words
    return torch.stack([input_ids[:, [first + place for place in pair]] for pair in NAMES], dim=1)


class Heads(nn.Module):
    """What reads the prefix in training only."""

    def __init__(self, shape: PocketShape, vocab_size: int) -> None:
        """Heads for a pocket VLA of that shape."""
        super().__init__()
        self.detection = DetectionHead(shape.vlm_width)
        self.naming = NamingHead(shape.vlm_width, vocab_size)
        self.pointing = PointingHead(shape.vlm_width, shape.image_size_px // shape.patch_size_px)


class Inputs(NamedTuple):
    """One batch on the device.

    Attributes:
        input_ids: int64 [B, S].
        pixel_values: [B, cameras, 3, S, S] in [-1, 1].
        camera_mask: bool [B, cameras].
        proprio: [W, P] normalised.
        actions: [W, H, A] normalised.
        detection: [B, 2, 8] normalised.
        where: [B, cameras, 2, 2] place of object and goal in each image, 0 to 1.
        names: int64 [B, 2, 2] ids of the words that name object and goal.
        noise: [W * M, H, A].
        time: [W * M].
    """

    input_ids: Tensor
    pixel_values: Tensor
    camera_mask: Tensor
    proprio: Tensor
    actions: Tensor
    detection: Tensor
    where: Tensor
    names: Tensor
    noise: Tensor
    time: Tensor


@dataclass(frozen=True)
class FlowTime:
    """t = scale * Beta(alpha, 1) + offset: more weight towards noise."""

    alpha: float = 1.5
    scale: float = 0.999
    offset: float = 0.001

    def draw(self, generator: torch.Generator, count: int) -> Tensor:
        """[count] flow times; Beta(alpha, 1) is u to the power 1 / alpha."""
        return torch.rand(count, generator=generator).pow(1.0 / self.alpha) * self.scale + self.offset


def flow_loss(model: PI0ForConditionalGeneration, inputs: Inputs, heads: Heads) -> tuple[Tensor, Tensor]:
    """Flow-matching and detection losses, both means.

    One prefix pass serves M noises, since the expert is far cheaper than the prefix.
    """
    prefix = encode_prefix(model, inputs.input_ids, inputs.pixel_values, inputs.camera_mask, keep_hidden=True)
    repeats = inputs.noise.shape[0] // inputs.actions.shape[0]
    actions = inputs.actions.repeat_interleave(repeats, dim=0)
    time = inputs.time[:, None, None]
    noisy = time * inputs.noise + (1.0 - time) * actions
    acting = prefix.first(inputs.actions.shape[0])
    field = velocity(model, acting, inputs.proprio.repeat_interleave(repeats, dim=0), noisy, inputs.time)
    flow = F.mse_loss(field.float(), inputs.noise - actions)
    layers = prefix.hidden[FIRST_DETECTING_LAYER:]
    seen = [heads.detection(hidden) for hidden in layers]
    detection = torch.stack([F.smooth_l1_loss(x, inputs.detection, beta=0.2) for x in seen]).mean()
    pointed = [heads.pointing.losses(hidden, inputs.where) for hidden in prefix.hidden[FIRST_DETECTING_LAYER - 1 : -1]]
    pointing, offset = (torch.stack(part).mean() for part in zip(*pointed, strict=True))
    named = [heads.naming(hidden) for hidden in prefix.hidden[1:3]]
    naming = torch.stack([F.cross_entropy(x.flatten(0, 2), inputs.names.flatten()) for x in named]).mean()
    return flow, detection + POINTING_WEIGHT * pointing + OFFSET_WEIGHT * offset + NAMING_WEIGHT * naming
