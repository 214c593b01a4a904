# SPDX-License-Identifier: Apache-2.0
"""New words that an action expert hears: embeddings are moved until two endings of a sentence change its velocity.

An embedding drawn at random changes the pocket VLA's velocity by less than one percent. Behind frozen eyes and words
the expert then needs thousands of steps to notice it, or never does, while its loss falls all the same.

Legend: B observations, S prompt tokens, D width of an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PI0ForConditionalGeneration

from vla_policy.core.backends.pi0_parts import Parts
from vla_policy.core.flow import encode_prefix, velocity

_OBSERVATIONS = 2
_FLOW_TIME = 0.8
_PIXEL_STD = 0.4  # of pictures in [-1, 1] that show nothing
_MOMENTUM = 0.7


@dataclass(frozen=True)
class ContrastConfig:
    """How new embeddings are moved.

    Attributes:
        target: Difference of the velocities under both endings, as a share of the velocity, that is enough.
        iterations: At most so many steps up the gradient.
        step: Length of a step as a share of an embedding's length, which stays as it is.
        seed: Of the observations.
    """

    target: float = 0.3
    iterations: int = 60
    step: float = 0.15
    seed: int = 0


class _Probe:
    """Velocities on some observations that show nothing, under one ending or the other."""

    def __init__(self, parts: Parts, endings: tuple[str, str], seed: int) -> None:
        self._model, config = parts.model, parts.model.config
        generator = torch.Generator().manual_seed(seed)
        known = parts.stats.instructions or ("do it",)
        words = [known[(7 * number) % len(known)] for number in range(_OBSERVATIONS)]  # neighbours are much alike
        self._ids = [torch.cat([parts.prompt(f"{each} {ending}")[0] for each in words]) for ending in endings]
        size = int(config.vlm_config.vision_config.image_size)
        shape = (_OBSERVATIONS, len(parts.stats.cameras), 3, size, size)
        self._pixels = _PIXEL_STD * torch.randn(shape, generator=generator)
        self._state = torch.zeros(_OBSERVATIONS, int(config.max_state_dim))
        chunk = (_OBSERVATIONS, int(config.chunk_size), int(config.max_action_dim))
        self._noise = torch.randn(chunk, generator=generator)
        self._time = torch.full((_OBSERVATIONS,), _FLOW_TIME)

    def difference(self) -> Tensor:
        """RMS of the difference between both velocities, over the RMS of one of them."""
        one, other = (self._velocity(ids) for ids in self._ids)
        return (one - other).pow(2).mean().sqrt() / one.detach().pow(2).mean().sqrt()

    def _velocity(self, ids: Tensor) -> Tensor:
        prefix = encode_prefix(self._model, ids, self._pixels, None)
        return velocity(self._model, prefix, self._state, self._noise, self._time)


def make_heard(parts: Parts, endings: tuple[str, str], rows: Sequence[int], config: ContrastConfig) -> float:
    """Move embeddings until the action expert tells two endings of an instruction apart; nothing else is changed.

    Args:
        parts: Of a pocket VLA; its embeddings are changed in place.
        endings: Words behind an instruction.
        rows: Of the embeddings, those that may move.
        config: How far.

    Returns:
        The difference that was reached, see `ContrastConfig.target`.
    """
    table = _embeddings(parts.model)
    places = torch.tensor(list(rows))
    lengths = table.detach()[places].norm(dim=1, keepdim=True)
    parts.model.requires_grad_(requires_grad=False)
    table.requires_grad_(requires_grad=True)
    pace, reached = torch.zeros_like(lengths.expand(-1, table.shape[1])), 0.0
    probe = _Probe(parts, endings, config.seed)
    for _ in range(config.iterations):
        difference = probe.difference()
        reached = float(difference.detach())
        if reached >= config.target:
            break
        (slope,) = torch.autograd.grad(difference, table)
        pace = _MOMENTUM * pace + torch.nn.functional.normalize(slope[places], dim=1)
        with torch.no_grad():
            moved = table[places] + config.step * lengths * (1.0 - _MOMENTUM) * pace
            table[places] = moved * lengths / moved.norm(dim=1, keepdim=True)
    table.requires_grad_(requires_grad=False)
    return reached


def _embeddings(model: PI0ForConditionalGeneration) -> Tensor:
    table: Tensor = model.model.vlm.get_input_embeddings().weight
    return table
