# SPDX-License-Identifier: Apache-2.0
"""The world of a process test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.apart import after_reports, report_apart
from harness.cores import CoreShares
from harness.domains import stay_on_this_machine
from harness.priority import go_first

if TYPE_CHECKING:
    from harness.world import World

# For the watcher, which lives in this process; the children get the same from their world.
stay_on_this_machine(os.environ)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Run each process test in a process of its own."""
    return report_apart(item) if Path(__file__).parent in item.path.parents else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Let the fixture know how the test ended."""
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


_FAILED = pytest.StashKey[bool]()


@pytest.fixture(autouse=True, scope="session")
def first() -> None:
    """Reaction times are judged here: the test goes before whatever else computes."""
    go_first()


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
    clean = made.close()
    after_reports(made.leave)
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
