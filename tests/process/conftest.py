# SPDX-License-Identifier: Apache-2.0
"""The world of a process test."""

from __future__ import annotations

import contextlib
import faulthandler
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.cores import CoreShares

if TYPE_CHECKING:
    from harness.world import World

# For the watcher, which lives in this process; the children get the same from their world.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = str(Path(__file__).resolve().parents[1] / "harness" / "fastdds_quick.xml")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Let the fixture know how the test ended."""
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


_FAILED = pytest.StashKey[bool]()


# Reaction times are judged here: where the system allows it, these processes go before whatever else computes.
_NICENESS = -5
_HANG_S = 60.0


@pytest.fixture(autouse=True, scope="session")
def go_first() -> None:
    """Raise the priority of this process, and thereby of all that it starts."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, min(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))


@pytest.fixture(autouse=True)
def cores(request: pytest.FixtureRequest) -> Iterator[None]:
    """The test's share of the machine, by its marker `cores`."""
    marker = request.node.get_closest_marker("cores")
    held = CoreShares(marker.args[0] if marker else 1)
    yield
    held.release()


@pytest.fixture
def world(tmp_path: Path, cores: None, request: pytest.FixtureRequest) -> Iterator[World]:
    """A world of its own; afterwards nothing of it may be left (O4)."""
    from harness.world import World

    made = World(tmp_path)
    yield made
    _end(made, request)


@pytest.fixture
def worlds(tmp_path: Path, cores: None, request: pytest.FixtureRequest) -> Iterator[Callable[[], World]]:
    """Makes one world after the other, each in its own folder."""
    from harness.world import World

    made: list[World] = []

    def make() -> World:
        if made:
            _end(made[-1], request)
        made.append(World(tmp_path / f"attempt{len(made)}"))
        return made[-1]

    yield make
    _end(made[-1], request)


def _end(made: World, request: pytest.FixtureRequest) -> None:
    # A hang inside the middleware holds the interpreter's lock, where no other time-out reaches.
    faulthandler.dump_traceback_later(_HANG_S, exit=True)
    clean = made.close()
    faulthandler.cancel_dump_traceback_later()
    if request.node.stash.get(_FAILED, False):
        print(made.tails())
    assert clean.ok, "\n".join(clean.problems)


@pytest.fixture
def keep_environment() -> Iterator[None]:
    """A stack moves this process into its ROS domain; put everything back."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
