# SPDX-License-Identifier: Apache-2.0
"""Every method that learns online does so on another device than the CPU: batches go there, weights come back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fakes.method_learning import sees_images
from rl_methods.registry import online_methods

LEARNERS = [*online_methods(), *(f"{name}, images" for name in online_methods() if sees_images(name))]


def rounding(name: str) -> float:
    """Largest difference of a weight: a convolution sums in the order that suits the layout in memory, Adam divides."""
    return 1e-3 if "images" in name else 0.0


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("devices") / "results.json"
    command = [sys.executable, "-m", "fakes.learns_elsewhere", str(out)]
    subprocess.run(command, cwd=Path(__file__).parents[1], check=True, timeout=600.0)
    read: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return read


@pytest.mark.parametrize("name", LEARNERS)
def test_when_it_learns_on_another_device_expect_the_numbers_and_the_weights_of_the_cpu(
    results: dict[str, Any], name: str
) -> None:
    result = results[name]
    assert result["learns_there"]
    assert result["found"] == [pytest.approx(each, rel=1e-4, nan_ok=True) for each in result["expected"]]
    assert result["weights"] and result["weights_off"] <= rounding(name)


@pytest.mark.parametrize("name", LEARNERS)
def test_when_its_checkpoint_is_of_another_device_expect_it_to_go_on_on_either(
    results: dict[str, Any], name: str
) -> None:
    result = results[name]
    assert result["state_off"] <= rounding(name)
    assert result["next_found"] == [pytest.approx(each, rel=1e-4, nan_ok=True) for each in result["next_expected"]]
