# SPDX-License-Identifier: Apache-2.0
"""What all test rings share: the path to harness and fakes, options and markers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Repetitions of the process rows: 1 on each change, 20 in the nightly run."""
    parser.addoption("--repeat", type=int, default=1, help="how often each process row is run")
    parser.addoption("--all-mutations", action="store_true", help="also the mutation checks that take long")
    parser.addoption("--seed", type=int, default=0, help="seed of the random moments of the faults")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    config.addinivalue_line("markers", "row(number): row of docs/reference/reliability.md that the test stands for")
    config.addinivalue_line("markers", "mutation: removes a protection and expects the row to fail")
    config.addinivalue_line("markers", "cores(shares): share of the machine that a process test takes")
    config.addinivalue_line("markers", "slow_mutation: a mutation check that only the full reliability run does")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the slow mutation checks to the full run."""
    if config.getoption("--all-mutations"):
        return
    slow = [item for item in items if item.get_closest_marker("slow_mutation")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.fixture
def first_seed(request: pytest.FixtureRequest) -> int:
    """Seed of the first repetition."""
    return int(request.config.getoption("--seed"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat tests that ask for `repetition`."""
    if "repetition" in metafunc.fixturenames:
        metafunc.parametrize("repetition", range(metafunc.config.getoption("--repeat")))
