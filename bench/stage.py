# SPDX-License-Identifier: Apache-2.0
"""A graph of real processes for one benchmark, built with the tests' harness."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.proc import Proc
from harness.until import until
from harness.watcher import Watcher
from harness.world import World

HERE = Path(__file__).resolve().parent
_READY = ("READY", "HOLDING", "RUNNING")


@contextmanager
def stage() -> Iterator[World]:
    """A world of its own, buried at the end whatever happens."""
    with tempfile.TemporaryDirectory(prefix="whetstone_bench_", ignore_cleanup_errors=True) as folder:
        world = World(Path(folder))
        try:
            yield world
        except AssertionError as error:
            raise AssertionError(f"{error}\n{world.tails()}") from error
        finally:
            world.close()
            world.leave()


def start_script(world: World, name: str, *arguments: str) -> Proc:
    """Start a script of this folder."""
    command = [sys.executable, str(HERE / f"{name}.py"), *arguments, "--ros-args"]
    proc = Proc(name, command, folder=world.folder, env=world.env)
    world.procs.append(proc)
    return proc


def wait_known(watcher: Watcher, node: str, states: tuple[str, ...] = _READY, deadline_s: float = 90.0) -> float:
    """Wait for a state; returns CLOCK_MONOTONIC in seconds when it was first reported."""
    watcher.wait_state(node, states, deadline_s)
    first = next(status for status in watcher.statuses if status.node == node and status.state in states)
    return first.t_ns * 1e-9


def wait_until_quiet(world: World, seconds: float = 0.5) -> None:
    """Let discovery and warm-up settle."""
    end_s = time.monotonic() + seconds
    until(lambda: time.monotonic() > end_s and all(proc.alive for proc in world.procs), seconds + 5.0, "quiet")
