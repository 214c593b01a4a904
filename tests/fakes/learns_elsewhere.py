# SPDX-License-Identifier: Apache-2.0
"""`python -m fakes.learns_elsewhere FILE`: every online method learns on the CPU and on a second device.

A process of its own: torch learns of devices before it computes the first gradient.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fakes.method_learning import built, built_with_images, learnt, sees_images
from fakes.other_device import second_device
from rl_learner.core.checkpoint import Snapshot, load, save
from rl_methods.base import Algorithm
from rl_methods.registry import online_methods

UPDATES = 4


def both_ways(build: Callable[[int], Algorithm], folder: Path) -> dict[str, Any]:
    """Metrics of the updates here and there, and what became of weights and of a checkpoint."""
    here = build(0)
    expected = learnt(here, 0, UPDATES)
    with second_device() as device:
        there = build(0)
        there.move_to(device)
        found = learnt(there, 0, UPDATES, device)
        weights, state = there.policy_weights(), there.state()
        saved = save(folder, Snapshot(UPDATES, state))
        again = build(1)
        again.move_to(device)
        again.restore(load(saved).learner)
        following = learnt(again, UPDATES, UPDATES + 1, device)
    resumed = build(2)
    resumed.restore(load(saved).learner)
    return {
        "expected": expected,
        "found": found,
        "weights": {value.device.type for value in weights.values()} == {"cpu"},
        "weights_off": furthest(weights, here.policy_weights()),
        "learns_there": any(value.device == device for value in state.values()),
        "state_off": furthest(resumed.state(), here.state()),
        "next_expected": learnt(resumed, UPDATES, UPDATES + 1),
        "next_found": following,
    }


def furthest(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """Largest difference of two sets of tensors of the same names; infinite for other names."""
    if set(found) != set(expected):
        return float("inf")
    filled = [name for name, value in found.items() if value.numel()]
    return max(float((found[name].double() - expected[name].double()).abs().max()) for name in filled)


def learners() -> dict[str, Callable[[int], Algorithm]]:
    """Makes each method's learner from a seed, by name; those that can have an image encoder are there with it too."""
    plain = {name: partial(built, name) for name in online_methods()}
    seeing = {f"{name}, images": partial(built_with_images, name) for name in online_methods() if sees_images(name)}
    return plain | seeing


if __name__ == "__main__":
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    results = {name: both_ways(build, out.parent / name) for name, build in learners().items()}
    out.write_text(json.dumps(results), encoding="utf-8")
