# SPDX-License-Identifier: Apache-2.0
"""Simulators beside each other: control ticks per second of the same episodes in one process, in two, and on Ray."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from importlib.util import find_spec
from typing import Any

import numpy as np
from figures import Figure, summarise
from gymnasium.vector import VectorEnv

from fakes.simulated_arm import panda_maker
from sim_bridge.core.vector import make_vector

GROUP = "Rollout workers (two 96 px cameras, chunks of 8 ticks, episodes of 160)"
_STEPS, _TICKS = 8, 160
_CHUNK = np.zeros((_STEPS, 7), dtype=np.float32)
_CHUNK[:, 6] = 1.0  # the open gripper stands still: no episode ends early


def run(*, episodes: int, repeats: int) -> list[Figure]:
    """Every way plays the same scenes, in turn, so that what else the machine does meets them alike."""
    ways: dict[str, Callable[[list[Any]], VectorEnv]] = {
        "1 environment in this process": lambda makers: make_vector(makers[:1]),
        "2 worker processes": make_vector,
    }
    if find_spec("ray") is not None:
        ways["2 Ray actors on this machine"] = lambda makers: make_vector(makers, "local")
    maker = panda_maker(max_ticks=_TICKS, execute_steps=_STEPS, image_size_px=96)
    with ExitStack() as stack:
        vectors = {name: stack.enter_context(closing(make([maker.chunks] * 2))) for name, make in ways.items()}
        for envs in vectors.values():  # the first pictures take longer
            _play(envs, envs.num_envs)
        rounds = [{name: _play(envs, episodes) for name, envs in vectors.items()} for _ in range(repeats)]
    speeds = {name: [speed[name] for speed in rounds] for name in ways}
    first, *others = ways
    base = summarise(GROUP, first, "ticks/s", speeds[first])
    return [base, *(summarise(GROUP, name, "ticks/s", speeds[name], baseline=base) for name in others)]


def _play(envs: Any, episodes: int) -> float:
    """Control ticks per second of scenes 0 to `episodes`, as many at a time as there are environments."""
    began_s, ticks = time.perf_counter(), 0
    for first in range(0, episodes, envs.num_envs):
        envs.reset(seed=[first + row for row in range(envs.num_envs)])
        over = np.zeros(envs.num_envs, dtype=bool)
        while not over.all():
            *_, terminated, truncated, info = envs.step(np.tile(_CHUNK, (envs.num_envs, 1, 1)))
            over = terminated | truncated
            ticks += int(info["ticks"].sum())
    return ticks / (time.perf_counter() - began_s)
