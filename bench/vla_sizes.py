# SPDX-License-Identifier: Apache-2.0
"""Latency of a PI0 of real size: `python bench/vla_sizes.py [--sizes tiny,300m,3b] [--device cuda] [--json FILE]`.

The weights are random: time and memory follow from the shape alone. A decision is what vla_node computes for one
request: prefix, features and N candidates on it. Legend: N candidates, S prefix tokens, H horizon, A action dims.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from figures import Figure, summarise, table, write_json
from machine import describe
from memory import peak_mb
from random_pi0 import DIM, SIZES, random_backend, random_observation

from vla_policy.core.backends.pi0 import Pi0Backend
from vla_policy.core.chunk_prefix import ChunkPrefix
from vla_policy.core.protocol import Observation
from vla_policy.core.serving import draw_noise

GROUP = "PI0 by size, one decision (2 views of 224 px, chunk of 50, 10 Euler steps)"
CANDIDATES, GUIDED = (1, 8, 16), (1, 8)
_PLAYED, _LEFT = 5, 40  # rows of the old chunk that will have played, and that are left
_LEAST = 3  # rounds, however long one takes


def run(sizes: Sequence[str] = (), *, device: str = "auto", repeats: int = 50, seconds: float = 120.0) -> list[Figure]:
    """Every size, each in the number format that it would be served in.

    Args:
        sizes: Names in `SIZES`; empty for those that the device can serve.
        device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
        repeats: Most rounds of a size; one gives a sample to each row.
        seconds: After which a size that has had three rounds ends.

    Raises:
        ValueError: A name is none, or there is no such device.
    """
    place = _device(device)
    figures: list[Figure] = []
    for name in sizes or [name for name in SIZES if place.type == "cuda" or name != "3b"]:
        if name not in SIZES:
            raise ValueError(f"size is {name!r}, allowed: {', '.join(SIZES)}")
        figures += _measured(name, place, repeats, seconds)
    return figures


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda', and torch finds no GPU: use --device cpu")
    if name != "auto":
        return torch.device(name)
    if not torch.cuda.is_available():
        print("no GPU at hand: measured on the CPU, where a model of 3b is left out", flush=True)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _measured(name: str, device: torch.device, repeats: int, seconds: float) -> list[Figure]:
    gc.collect()
    _forget_peak(device)
    backend, millions = random_backend(name, device)
    backend.warmup()
    title = f"{name} ({millions:.3g} M, {'bfloat16' if device.type == 'cuda' else 'float32'}, {device.type})"
    samples = _in_turn(_calls(backend), device, repeats, seconds)
    rows = _summarised(title, samples)
    for row in rows:
        print(f"{row.name}: {row.p50:.0f} ms", flush=True)
    return [*rows, summarise(GROUP, f"{title}, peak memory", "GB", [_peak_gb(device)])]


def _calls(backend: Pi0Backend) -> dict[str, Callable[[], object]]:
    """What is timed, by the name of its row: the prefix alone, then decisions, plain and by real-time chunking."""
    seen = random_observation()
    old = ChunkPrefix(np.random.default_rng(1).standard_normal((_LEFT, DIM)).astype(np.float32), _PLAYED)
    plain = {_plain(n): _decision(backend, seen, n, None) for n in CANDIDATES}
    guided = {_guided(n): _decision(backend, seen, n, old) for n in GUIDED}
    return {"prefix alone": lambda: backend.prefix(seen), **plain, **guided}


def _plain(n: int) -> str:
    return f"N = {n}"


def _guided(n: int) -> str:
    return f"N = {n}, real-time chunking"


def _summarised(title: str, samples: Mapping[str, Sequence[float]]) -> list[Figure]:
    """A plain decision is compared with one candidate, a guided one with the plain one of as many candidates."""
    baselines = {_plain(n): _plain(1) for n in CANDIDATES[1:]} | {_guided(n): _plain(n) for n in GUIDED}
    rows: dict[str, Figure] = {}
    for name, values in samples.items():
        baseline = rows.get(baselines.get(name, ""))
        rows[name] = summarise(GROUP, f"{title}, {name}", "ms", values, baseline=baseline)
    return list(rows.values())


def _decision(backend: Pi0Backend, seen: Observation, n: int, old: ChunkPrefix | None) -> Callable[[], object]:
    noise = draw_noise(n, backend.spec, 0, n)

    def decide() -> None:
        context = backend.prefix(seen)
        backend.features(context)
        backend.denoise(context, noise, old)

    return decide


def _in_turn(
    calls: Mapping[str, Callable[[], object]], device: torch.device, repeats: int, seconds: float
) -> dict[str, list[float]]:
    """Milliseconds of each call, one after the other in rounds, so that another load of the machine meets all alike."""
    if device.type == "cuda":
        for call in calls.values():
            call()  # the first one chooses its kernels
    samples: dict[str, list[float]] = {name: [] for name in calls}
    end_s = time.perf_counter() + seconds
    for number in range(repeats):
        if number >= _LEAST and time.perf_counter() > end_s:
            break
        for name, call in calls.items():
            samples[name].append(_timed_ms(call, device))
    return samples


def _timed_ms(call: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    began_s = time.perf_counter()
    call()
    _wait(device)
    return 1e3 * (time.perf_counter() - began_s)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# ---- memory ----------------------------------------------------------------------------------------------------------


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):  # of an old kernel: the peak is that of the sizes so far, and this is the largest
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_gb(device: torch.device) -> float:
    """Of the GPU's memory, or of this process."""
    return torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else peak_mb() * 2**20 / 1e9


# ---- command line ----------------------------------------------------------------------------------------------------


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, write; 2 when something does not fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=lambda text: text.split(","), default=[], help=", ".join(SIZES))
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--repeats", type=int, default=50, help="most rounds of a size")
    parser.add_argument("--seconds", type=float, default=120.0, help="after which a size with three rounds ends")
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args(words)
    machine = describe()
    try:
        figures = run(options.sizes, device=options.device, repeats=options.repeats, seconds=options.seconds)
    except (ValueError, torch.OutOfMemoryError) as error:
        print(error, file=sys.stderr)
        return 2
    print(table(figures))
    if options.json is not None:
        write_json(options.json, machine, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
