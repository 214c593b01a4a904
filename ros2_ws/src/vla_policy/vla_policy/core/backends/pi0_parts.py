# SPDX-License-Identifier: Apache-2.0
"""What a loader hands to `Pi0Backend`.

Legend: B observations, S prefix tokens, D width of the vision-language model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import PI0ForConditionalGeneration

from vla_policy.core.conditioning import Conditioning
from vla_policy.core.eyes import HAND_FRAME_NAMES, Eyes
from vla_policy.core.normalise import PolicyStats
from vla_policy.core.prompter import Prompter
from vla_policy.core.published.adapter import ModelAdapter


class Featurizer(Protocol):
    """Final prefix embeddings -> what small networks see, of each observation."""

    @property
    def dim(self) -> int:
        """Length of the vector."""
        ...

    def on(self, device: torch.device) -> Featurizer:
        """The same on a device."""
        ...

    def __call__(self, last: Tensor, seen: Tensor | None = None) -> Tensor:
        """Last [B, S, D], seen [B, S], 0 for padding and None without any -> [B, dim]."""
        ...


@dataclass(frozen=True)
class MeanFeaturizer:
    """Mean of the prefix embeddings: for checkpoints that come without an RL token."""

    dim: int

    def on(self, device: torch.device) -> MeanFeaturizer:
        """See `Featurizer.on`; it has no weights."""
        return self

    def __call__(self, last: Tensor, seen: Tensor | None = None) -> Tensor:
        """Averages over tokens, padding left out."""
        if seen is None:
            return last.float().mean(dim=1)
        weight = seen.float()[..., None]
        return (weight * last.float()).sum(dim=1) / weight.sum(dim=1)


@dataclass(frozen=True)
class Parts:
    """What a loader hands to the backend.

    Attributes:
        model: The network.
        stats: Normalisation of the contract, cameras and time step.
        prompter: Instruction to token ids.
        featurizer: Prefix to features.
        model_id: Name for reports.
        conditioning: Words that the model is served with besides the instruction.
        adapter: Between the contract's numbers and the model's; None where they are the same.
        joint_names: Order of the joints that the actions are for; empty where the file did not name them.
        eyes: What reads the hand-frame state; None for a policy without.
        feature_version: Which training the features come from; empty for those that the model was made with.
    """

    model: PI0ForConditionalGeneration
    stats: PolicyStats
    prompter: Prompter
    featurizer: Featurizer
    model_id: str
    conditioning: Conditioning | None = None
    adapter: ModelAdapter | None = None
    joint_names: tuple[str, ...] = ()
    eyes: Eyes | None = None
    feature_version: str = ""

    def prompt(self, instruction: str) -> tuple[Tensor, Tensor | None]:
        """Ids and mask of `prompter`, [1, S], as tensors."""
        ids, mask = self.prompter(instruction)
        return torch.from_numpy(ids), None if mask is None else torch.from_numpy(mask)

    @property
    def readout_names(self) -> tuple[str, ...]:
        """Of what the eyes read."""
        return () if self.eyes is None else HAND_FRAME_NAMES

    @property
    def feature_dim(self) -> int:
        """F."""
        return self.featurizer.dim + self.stats.proprio.dim + len(self.readout_names)
