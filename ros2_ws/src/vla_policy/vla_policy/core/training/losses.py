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
from vla_policy.core.training.pointing import PointingHead, cell_targets

FIRST_DETECTING_LAYER = 2
POINTING_WEIGHT = 0.1  # its loss starts at log(64), the position's well below one


class Heads(nn.Module):
    """What reads the prefix in training only."""

    def __init__(self, shape: PocketShape) -> None:
        """Heads for a pocket VLA of that shape."""
        super().__init__()
        self.detection = DetectionHead(shape.vlm_width)
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
        where: [B, 2, 2] place of object and goal in the front image, 0 to 1.
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
    shares = cell_targets(inputs.where, heads.pointing.grid)
    pointed = [heads.pointing(hidden) for hidden in prefix.hidden[FIRST_DETECTING_LAYER - 1 : -1]]
    pointing = torch.stack([-(shares * x).sum(-1).mean() for x in pointed]).mean()
    return flow, detection + POINTING_WEIGHT * pointing
