# SPDX-License-Identifier: Apache-2.0
"""Row 18, by reading: no watchdog can follow a clock that a simulation may stop, and no core reads a clock at all."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[3] / "ros2_ws" / "src"
NODES = sorted(SOURCES.glob("*/*/nodes/**/*.py"))
CORES = sorted(SOURCES.glob("*/*/core/**/*.py"))
# The one place that may build a timer on another clock than the steady one.
_BASE = Path("whetstone_common/whetstone_common/nodes/node.py")
# Training runs and exporters are programs, not parts of a control loop; they report how long they took.
_PROGRAMS = ("training", "on_policy", "lerobot_export")


def calls(path: Path) -> Iterator[str]:
    """Dotted names of everything that a file calls."""
    for item in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(item, ast.Call):
            yield ast.unparse(item.func)


@pytest.mark.parametrize("path", NODES, ids=lambda path: path.stem)
def test_when_a_node_makes_a_timer_expect_the_steady_clock(path: Path) -> None:
    if path.is_relative_to(SOURCES / _BASE):
        return
    bad = [name for name in calls(path) if name.endswith((".create_timer", ".create_rate"))]
    assert not bad, f"{path.name}: {bad}; use create_steady_timer"


@pytest.mark.parametrize("path", NODES, ids=lambda path: path.stem)
def test_when_a_node_measures_time_expect_no_wall_clock_and_no_sleep(path: Path) -> None:
    if path.is_relative_to(SOURCES / _BASE):
        return
    bad = [name for name in calls(path) if name in ("time.time", "time.time_ns", "time.sleep", "datetime.now")]
    assert not bad, f"{path.name}: {bad}"


@pytest.mark.parametrize("path", CORES, ids=lambda path: path.stem)
def test_when_core_decides_expect_it_to_be_handed_the_moment(path: Path) -> None:
    if any(part in _PROGRAMS for part in path.parts):
        return
    bad = [name for name in calls(path) if name in ("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns")]
    assert not bad, f"{path.name}: {bad}"
