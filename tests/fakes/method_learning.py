# SPDX-License-Identifier: Apache-2.0
"""A method as it is shipped, built small, and a few updates of it on random windows."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fakes.identity_task import SHAPE, small
from rl_learner.core.replay import Replay, Window
from rl_methods.base import IMAGES, Algorithm
from rl_methods.common.batch import NAMES, Batch
from rl_methods.config import MethodConfig, read_method_config
from rl_methods.registry import algorithm_of, settings_file

CPU = torch.device("cpu")
SIDE = 16  # of images, px
SHAPE_WITH_IMAGES = replace(SHAPE, cameras=2, image_size=SIDE, proprio=4)


def shipped(name: str) -> MethodConfig:
    return read_method_config(settings_file(name))


def built(name: str, seed: int = 0) -> Algorithm:
    torch.manual_seed(seed)
    return small(shipped(name)).learner(SHAPE)


def sees_images(name: str) -> bool:
    """Whether the method can have an image encoder of its own."""
    return "encoder" in {each.name for each in fields(algorithm_of(name).settings_type)}


def built_with_images(name: str, seed: int = 0) -> Algorithm:
    """One with an image encoder of its own."""
    config = small(shipped(name))
    settings = {**config.settings, "encoder": "images", "image_size": SIDE, "encoder_maps": 4, "shift": 2}
    torch.manual_seed(seed)
    return replace(config, settings=settings).learner(SHAPE_WITH_IMAGES)


def drawn(name: str, shape: tuple[int, ...], chance: np.random.Generator) -> NDArray[Any]:
    if name in IMAGES:
        return chance.integers(0, 256, shape, dtype=np.uint8)
    return chance.standard_normal(shape).astype(np.float32)


def filled(algorithm: Algorithm, count: int = 40) -> Replay:
    """Random windows, of which the replay keeps what the method asks for."""
    shape = SHAPE_WITH_IMAGES if algorithm.data_spec.keeps("images") else SHAPE
    replay = Replay(shape, count, algorithm.data_spec)
    for number in range(count):
        chance = np.random.default_rng(number)
        arrays = {name: drawn(name, shape.of(name), chance) for name in NAMES if shape.of(name)}
        rare = float(number % 4 == 0)
        replay.add(
            Window(
                **arrays, reward=rare, mask=1.0 - rare, discount=0.9, valid=float(number % 7 > 0), success=rare,
                mc_return=float("nan") if number % 5 == 0 else 0.5, human=float(number % 3 == 0), refused=0.0,
            )
        )  # fmt: skip
    return replay


def batch_of(replay: Replay, seed: int) -> Batch:
    return replay.sample(16, torch.Generator().manual_seed(seed))


def learnt(algorithm: Algorithm, first: int, last: int, device: torch.device = CPU) -> list[dict[str, float]]:
    """Updates number first to last - 1, the first two of all of the warm-up; each with draws of its own."""
    replay = filled(algorithm)
    if first == 0:
        algorithm.fit_scaler(replay.rows(torch.arange(len(replay))).features.to(device))
    out = []
    for number in range(first, last):
        update = algorithm.offline_update if number < 2 else algorithm.update
        out.append(update(batch_of(replay, number).to(device), torch.Generator().manual_seed(number)))
    return out
