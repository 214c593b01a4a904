# SPDX-License-Identifier: Apache-2.0
"""A learned success detector: images of the policy's cameras -> probability that the task is done.

As HIL-SERL's (arXiv 2410.21845, section 3.2): an image encoder with a small head, and a test on proprioception beside
it, as a classifier that sees a held object may believe too early.

Legend: B batch, P proprioception, K cameras, S side of an image.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rl_methods.common.architecture import architecture_of, canonical, config_of
from rl_methods.common.checkpoint_error import CheckpointError
from rl_methods.common.encoder import EncoderConfig, ImageEncoder
from rl_methods.common.tensors import check_tensors

_KEY = "classifier"
_MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class SuccessClassifierConfig:
    """Everything that the shapes of the weights and the meaning of the output follow from.

    Attributes:
        cameras: K.
        image_size: S (px).
        maps: Feature maps per layer.
        outputs: Numbers that the encoder gives.
        proprio_index: Entry of the proprioception that must lie in the range below, -1 for no such test.
        proprio_low: Least value of it, physical units.
        proprio_high: Largest value of it.
    """

    cameras: int
    image_size: int = 64
    maps: int = 16
    outputs: int = 32
    proprio_index: int = -1
    proprio_low: float = 0.0
    proprio_high: float = 1.0

    def __post_init__(self) -> None:
        """Refuses what cannot work."""
        if self.cameras < 1:
            raise ValueError(f"cameras is {self.cameras}, must be at least 1")
        if self.proprio_index < -1:
            raise ValueError(f"proprio_index is {self.proprio_index}, must be at least 0, or -1 for no test")
        if not (math.isfinite(self.proprio_low) and math.isfinite(self.proprio_high)):
            raise ValueError(f"the range {self.proprio_low}..{self.proprio_high} is not finite")
        if self.proprio_low > self.proprio_high:
            raise ValueError(f"the range {self.proprio_low}..{self.proprio_high} is empty")
        self.encoder()

    def encoder(self) -> EncoderConfig:
        """Of the eyes."""
        return EncoderConfig(self.cameras, self.image_size, self.maps, self.outputs)


class SuccessClassifier(nn.Module):
    """uint8 [B, K, S, S, 3] -> logit [B]."""

    def __init__(self, config: SuccessClassifierConfig) -> None:
        """Fresh weights from torch's global seed."""
        super().__init__()
        self.config = config
        self.encoder = ImageEncoder(config.encoder())
        self.head = nn.Linear(config.outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        logit: Tensor = self.head(self.encoder(images))[:, 0]
        return logit

    @torch.no_grad()
    def probability(self, images: Tensor, proprio: Tensor) -> float:
        """Of success, at images [K, S, S, 3] and proprioception [P]; 0 where the test on proprioception fails."""
        config = self.config
        if config.proprio_index >= 0:
            value = float(proprio[config.proprio_index])
            if not config.proprio_low <= value <= config.proprio_high:  # also what is not a number
                return 0.0
        return float(torch.sigmoid(self(images[None]))[0])


def save_classifier(path: Path, classifier: SuccessClassifier) -> None:
    """Write weights and configuration into one safetensors file."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in classifier.state_dict().items()}
    save_file(tensors, path, metadata={_KEY: canonical(architecture_of(classifier.config))})


def load_classifier(path: Path) -> SuccessClassifier:
    """Read what `save_classifier` wrote.

    Raises:
        ValueError: There is no such file, or it is not one of a classifier; the text says which.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"{path}: {path.stat().st_size} bytes, allowed: {_MAX_BYTES}")
        with safe_open(path, framework="pt") as file:  # type: ignore[no-untyped-call]
            text = (file.metadata() or {}).get(_KEY)
            if text is None:
                raise ValueError(f"{path} is not a success classifier: make one by whetstone classifier")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
        classifier = SuccessClassifier(config_of(SuccessClassifierConfig, json.loads(text)))
        check_tensors(tensors, classifier.state_dict(), str(path))
    except (OSError, SafetensorError, CheckpointError) as error:
        raise ValueError(f"{path}: {error}") from error
    classifier.load_state_dict(tensors)
    return classifier.eval().requires_grad_(requires_grad=False)
