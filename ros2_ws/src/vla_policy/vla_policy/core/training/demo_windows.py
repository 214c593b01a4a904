# SPDX-License-Identifier: Apache-2.0
"""Windows of demonstrations behind the frozen vision-language part of a policy, to fine-tune its action expert on.

Legend: B windows at a time, S prefix tokens, P proprioception dims, H horizon, A action dims.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vla_policy.core.backends.pi0_parts import Parts
from vla_policy.core.flow import Prefix, encode_prefix
from vla_policy.core.preprocess import pixels_from_uint8
from vla_policy.core.training.dataset import CHUNKS, Demo, proprio_of
from vla_policy.core.training.windows import PrefixRow, padded

_BATCH = 16


def prefix_rows(parts: Parts, files: Sequence[Path], stride: int) -> Iterator[PrefixRow]:
    """Every `stride`-th usable window of each demonstration; chunks are normalised by the policy's statistics.

    Raises:
        DemoError: A file cannot be used.
    """
    for path in files:
        demo = Demo.load(path)
        ticks = _starts(demo, stride)
        for start in range(0, len(ticks), _BATCH):
            yield from _rows(parts, demo, ticks[start : start + _BATCH])


def window_count(files: Sequence[Path], stride: int) -> int:
    """How many windows `prefix_rows` gives."""
    return sum(len(_starts(Demo.load(path), stride)) for path in files)


def _starts(demo: Demo, stride: int) -> NDArray[np.int64]:
    return np.flatnonzero(demo.usable)[::stride]


@torch.inference_mode()
def _rows(parts: Parts, demo: Demo, ticks: NDArray[np.int64]) -> Iterator[PrefixRow]:
    stats, config = parts.stats, parts.model.config
    chunks = stats.action.normalise(CHUNKS[stats.action_space](demo, int(config.chunk_size))[ticks])
    states = torch.from_numpy(stats.proprio.normalise(proprio_of(demo, stats.action_space)[ticks]))
    images = torch.from_numpy(np.stack([demo.front[ticks], demo.wrist[ticks]], axis=1))
    ids, mask = parts.prompt(demo.instruction)
    count = len(ticks)
    seen = None if mask is None else mask.expand(count, -1)
    prefix = encode_prefix(parts.model, ids.expand(count, -1), pixels_from_uint8(images), None, seen)
    for row in range(count):
        actions = padded(torch.from_numpy(chunks[row]), int(config.max_action_dim))
        yield PrefixRow(_single(prefix, row), states[row : row + 1], actions)


def _single(prefix: Prefix, row: int) -> Prefix:
    def cut(x: Tensor) -> Tensor:
        return x[row : row + 1]

    mask = None if prefix.attention_mask is None else cut(prefix.attention_mask)
    return Prefix(tuple(map(cut, prefix.keys)), tuple(map(cut, prefix.values)), mask, (), cut(prefix.last))
