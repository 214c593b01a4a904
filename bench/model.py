# SPDX-License-Identifier: Apache-2.0
"""Latency of the pocket VLA: one prefix and N candidates, by torch as it is, compiled, and by ONNX Runtime."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ament_index_python.packages import get_package_share_directory
from figures import Figure, summarise

from vla_policy.core.backends import load_backend
from vla_policy.core.backends.onnx_cache import export_pocket
from vla_policy.core.backends.onnx_int8 import quantise
from vla_policy.core.protocol import Backend, Observation
from vla_policy.core.serving import draw_noise

GROUP = "Pocket VLA, one decision (prefix, features and N candidates)"
INT8 = "ONNX Runtime, int8"
BAR_MS = 25.0
CANDIDATES = (1, 8, 16)
_WARM_UP = 3


def shipped_model() -> Path:
    """Directory of the pocket VLA that is shipped."""
    return Path(get_package_share_directory("vla_policy")) / "models" / "pocket"


def run(directory: Path, *, repeats: int) -> list[Figure]:
    """Every runtime that is there, for every number of candidates."""
    threads = len(os.sched_getaffinity(0))
    runtimes: dict[str, Callable[[], Backend]] = {
        "torch eager": lambda: load_backend("pocket", str(directory), num_threads=threads),
        "torch compiled": lambda: _compiled(directory, threads),
    }
    with tempfile.TemporaryDirectory(prefix="whetstone_bench_") as folder:
        exported = Path(folder) / "onnx"
        export_pocket(directory, exported)
        eight = Path(folder) / "int8"
        eight.mkdir()
        quantise(exported, eight)
        runtimes["ONNX Runtime"] = lambda: load_backend("onnx", str(exported), num_threads=threads)
        runtimes[INT8] = lambda: load_backend("onnx", str(eight), num_threads=threads)
        return _measure(runtimes, repeats)


def _measure(runtimes: dict[str, Callable[[], Backend]], repeats: int) -> list[Figure]:
    figures: list[Figure] = []
    eager: dict[int, Figure] = {}
    for name, load in runtimes.items():
        backend = load()
        for n in CANDIDATES:
            samples = _decisions(backend, n, repeats)
            bar = BAR_MS if (name, n) == (INT8, 8) else None
            figure = summarise(GROUP, f"{name}, N = {n}", "ms", samples, baseline=eager.get(n), bar=bar)
            eager.setdefault(n, figure)
            figures.append(figure)
    return figures


def _compiled(directory: Path, threads: int) -> Backend:
    backend: Any = load_backend("pocket", str(directory), num_threads=threads)
    # One step of the sampler is what runs num_steps times per decision; the rest runs once.
    backend._expert = torch.compile(backend._expert, dynamic=False)  # noqa: SLF001
    return backend


def _decisions(backend: Backend, n: int, repeats: int) -> list[float]:
    spec = backend.spec
    chance = np.random.default_rng(0)
    size = (spec.image_height_px, spec.image_width_px, 3)
    images = {name: chance.integers(0, 255, size, dtype=np.uint8) for name in spec.cameras}
    words = spec.instructions[0] if spec.instructions else "do nothing"
    seen = Observation(images, np.zeros(spec.proprio_dim, np.float32), words)
    samples = []
    for k in range(repeats + _WARM_UP):
        noise = draw_noise(n, spec, 0, k)
        began_s = time.perf_counter()
        context = backend.prefix(seen)
        backend.features(context)
        backend.denoise(context, noise)
        samples.append(1e3 * (time.perf_counter() - began_s))
    return samples[_WARM_UP:]
