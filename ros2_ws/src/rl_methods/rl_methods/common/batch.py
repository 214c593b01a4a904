# SPDX-License-Identifier: Apache-2.0
"""Batches of chunk windows, as every online method takes them.

A window starts at a decision (or a query) and covers C executed steps: R, M, valid and gamma^C as in Q-chunking
(arXiv 2507.07969, section 4). Actions, candidates and noises are normalised.

Legend: B batch, F features, N candidates, C steps of a window, A action dims, H horizon, M noise dims,
P proprioception, K cameras, S side of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor


def _nothing() -> Tensor:
    return torch.zeros(0)


def _no_images() -> Tensor:
    return torch.zeros(0, dtype=torch.uint8)


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of windows as float32 tensors, images as uint8. What a method's data spec does not ask for has a width of 0.

    Attributes:
        features: [B, F] at the window's start.
        actions: [B, C, A] as executed.
        candidates: [B, N, C, A] that the VLA proposed at the start.
        noise: [B, N, H, M] that they came from.
        reward: [B] discounted sum of rewards inside the window.
        mask: [B] 0 where a true terminal ended it, else 1.
        discount: [B] of what follows it: gamma to the power of the steps that it took.
        valid: [B] 1, or 0 where the window must not be learnt from.
        mc_return: [B] discounted return that followed in the episode; NaN where it is not known.
        success: [B] whether its episode succeeded.
        human: [B] share of its steps that a human commanded.
        refused: [B] 1 where a human took over from `proposed` in this window, else 0.
        proposed: [B, C, A] that the policy had chosen; equals `actions` where nobody interfered.
        next_features: [B, F].
        next_candidates: [B, N, C, A] that the VLA proposed at the window's end.
        proprio: [B, P], physical units.
        next_proprio: [B, P].
        images: uint8 [B, K, S, S, 3] at the window's start.
        next_images: uint8 [B, K, S, S, 3] at its end.
    """

    features: Tensor
    actions: Tensor
    candidates: Tensor
    noise: Tensor
    reward: Tensor
    mask: Tensor
    discount: Tensor
    valid: Tensor
    mc_return: Tensor
    success: Tensor
    human: Tensor
    refused: Tensor
    proposed: Tensor
    next_features: Tensor
    next_candidates: Tensor
    proprio: Tensor = field(default_factory=_nothing)
    next_proprio: Tensor = field(default_factory=_nothing)
    images: Tensor = field(default_factory=_no_images)
    next_images: Tensor = field(default_factory=_no_images)

    def __len__(self) -> int:
        """B."""
        return len(self.features)

    def to(self, device: torch.device) -> Batch:
        """The same rows on a device."""
        if self.features.device == device:
            return self
        return Batch(**{name: getattr(self, name).to(device) for name in NAMES})


NAMES = tuple(f.name for f in fields(Batch))


@dataclass(frozen=True)
class WindowShape:
    """Sizes of a window, and what its last action means.

    Attributes:
        features: F.
        steps: C.
        action_dim: A.
        candidates: N.
        horizon: H.
        noise_dim: M.
        proprio: P, 0 where nobody asks for it.
        cameras: K, 0 without an image encoder.
        image_size: S, side that images are brought to (px).
        gripper_closed: Normalised value of the last action that closes the gripper.
        gripper_open: Normalised value that opens it.
        state_features: How many of the features, the last ones, are proprioception and readouts.
        action_space: "cartesian" or "joint".
    """

    features: int
    steps: int
    action_dim: int
    candidates: int
    horizon: int
    noise_dim: int
    proprio: int = 0
    cameras: int = 0
    image_size: int = 0
    gripper_closed: float = 0.0
    gripper_open: float = 1.0
    state_features: int = 0
    action_space: str = "cartesian"

    def of(self, name: str) -> tuple[int, ...]:
        """Shape of one row of a field."""
        chunk = (self.steps, self.action_dim)
        images = (self.cameras, self.image_size, self.image_size, 3) if self.cameras else (0,)
        shapes = {
            "features": (self.features,),
            "next_features": (self.features,),
            "actions": chunk,
            "proposed": chunk,
            "candidates": (self.candidates, *chunk),
            "next_candidates": (self.candidates, *chunk),
            "noise": (self.candidates, self.horizon, self.noise_dim),
            "proprio": (self.proprio,),
            "next_proprio": (self.proprio,),
            "images": images,
            "next_images": images,
        }
        return shapes.get(name, ())


def join(parts: Sequence[Batch]) -> Batch:
    """Batches one after the other."""
    if len(parts) == 1:
        return parts[0]
    return Batch(**{name: torch.cat([getattr(p, name) for p in parts]) for name in NAMES})
