# SPDX-License-Identifier: Apache-2.0
"""Transitions of made-up episodes with images that name their step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from experience.core.transition import Transition
from fakes.rl_runs import episode
from vla_policy.core.stacked_images import encoded


def picture(step: int, cameras: int = 2, side: int = 24) -> np.ndarray:
    """uint8 [cameras, side, side, 3], another one for each step."""
    return np.random.default_rng(step).integers(0, 256, (cameras, side, side, 3), np.uint8)


def seen(number: int = 1, cameras: int = 2) -> list[Transition]:
    """Transitions of `episode`, with images of each decision and proprioception at both ends."""
    made = episode(number)
    after = [*(t.episode_step for t in made[1:]), None]
    return [
        replace(
            t,
            images=encoded(picture(t.episode_step, cameras)),
            next_images=t.next_images if step is None else encoded(picture(step, cameras)),
        )
        for t, step in zip(made, after, strict=True)
    ]
