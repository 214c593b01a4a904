# SPDX-License-Identifier: Apache-2.0
"""What a fine-tuning needs at least of memory and disk, said before hours of work fail for want of it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from transformers import PI0Config

from vla_policy.core.published.detect import is_pocket
from vla_policy.core.published.directory import network_of
from vla_policy.core.published.loading import outline
from vla_policy.core.training.settings import SftConfig
from vla_policy.core.training.trainable import freeze
from vla_policy.core.training.windows import ImageRow, PrefixRow

_GIB, _GB = 2**30, 1e9
_FLOAT_BYTES = 4
_PER_TRAINED = 3  # its gradient and AdamW's two moments
_EPISODES = 5  # from which on the rest can be told


@dataclass(frozen=True)
class TrainingMemory:
    """What is in memory while nothing is computed yet; activations come on top of it.

    Attributes:
        weights: Bytes of the network in float32.
        optimiser: Bytes of gradients, moments and averages of what is trained.
    """

    weights: int
    optimiser: int

    @classmethod
    def of(cls, network: PI0Config, config: SftConfig) -> TrainingMemory:
        """Of a network by its sizes; nothing of it is allocated."""
        model = outline(network)
        with torch.device("meta"):  # where adapters are made too
            freeze(model, config.scope, config.lora)
        every = sum(value.numel() for value in model.parameters())
        trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
        copies = _PER_TRAINED + (config.ema_decay > 0.0)
        return cls(_FLOAT_BYTES * every, _FLOAT_BYTES * copies * trained)

    def check(self, directory: Path, free: int) -> None:
        """Refuse what cannot fit.

        Args:
            directory: Of the model, for the text.
            free: Bytes.

        Raises:
            ValueError: With what is needed, what is there, and what needs less.
        """
        needed = self.weights + self.optimiser
        if needed > free:
            raise ValueError(
                f"{directory}: training it needs at least {needed / _GIB:.1f} GiB of memory (weights "
                f"{self.weights / _GIB:.1f}, gradients and optimiser {self.optimiser / _GIB:.1f}), {free / _GIB:.1f} "
                "GiB are free: train less of it (without --whole, with --lora 16), or on another machine"
            )


def check_memory(directory: Path, config: SftConfig, device: torch.device) -> None:
    """Refuse a training that cannot fit where it is to be done, before the model is loaded.

    Raises:
        CheckpointError: The directory holds no model.
        ValueError: As `TrainingMemory.check`.
    """
    if is_pocket(directory):
        return
    network, _ = network_of(directory)
    free = psutil.virtual_memory().available if device.type == "cpu" else torch.cuda.mem_get_info(device)[0]
    TrainingMemory.of(network, config).check(directory, free)


class DiskRoom:
    """Watches what windows take on the disk while they are made, and tells what all will take.

    Args:
        folder: Where they are.
        episodes: How many there are.
    """

    def __init__(self, folder: Path, episodes: int) -> None:
        self._folder, self._episodes = folder, episodes
        self._bytes = 0

    def add(self, row: PrefixRow | ImageRow) -> None:
        """A window was made."""
        self._bytes += row.disk_bytes

    def check(self, done: int) -> None:
        """Refuse to go on when the rest cannot fit.

        Args:
            done: Episodes that were looked at so far.

        Raises:
            ValueError: With what is needed, what is there, and what needs less.
        """
        if done < min(_EPISODES, self._episodes):
            return
        rest = self._bytes / done * (self._episodes - done)
        free = shutil.disk_usage(self._folder).free
        if rest > free:
            raise ValueError(
                f"{self._folder}: what the model's frozen part makes of {done} of {self._episodes} episodes takes "
                f"{self._bytes / _GB:.1f} GB of the disk, the others would take {rest / _GB:.1f} GB more, and "
                f"{free / _GB:.1f} GB are free: raise `stride` in the method's file (--method-file), use fewer "
                "episodes, or write to another disk"
            )
