# SPDX-License-Identifier: Apache-2.0
"""Names of devices, and that nothing in methods and learner is bound to one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

from rl_methods.devices import check_device_name, device_of

SOURCES = Path(__file__).resolve().parents[3] / "ros2_ws" / "src"
# Where a name becomes a device, and where what is stored and published comes back from one.
NAMING = {"devices.py"}
LEARNING = sorted(
    path
    for package in ("rl_methods/rl_methods", "rl_learner/rl_learner")
    for path in (SOURCES / package).rglob("*.py")
    if path.name not in NAMING
)


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:12", "auto"])
def test_when_a_name_is_of_a_device_expect_it_taken_whatever_the_machine_has(name: str) -> None:
    check_device_name(name)


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:x", "CUDA", "cpu:0", "cuda:1 "])
def test_when_a_name_is_of_no_device_expect_what_is_allowed(name: str) -> None:
    with pytest.raises(ValueError, match="allowed: cpu, cuda, cuda:<number> or auto"):
        check_device_name(name)


def test_when_torch_has_no_such_device_expect_a_sentence() -> None:
    with pytest.raises(ValueError, match="device is 'cuda:99', but torch sees"):
        device_of("cuda:99")


def test_when_it_is_left_to_the_machine_expect_a_device_that_torch_has() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert torch.zeros(1, device=device_of("auto")).device.type == expected
    assert device_of("cpu") == torch.device("cpu")


@pytest.mark.parametrize("path", LEARNING, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_when_code_learns_expect_no_device_that_it_names_itself(path: Path) -> None:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            is_cuda = isinstance(node.func, ast.Attribute) and node.func.attr in ("cuda", "set_default_device")
            named = [each.value for each in node.keywords if each.arg == "device"]
            texts = [each.value for each in named if isinstance(each, ast.Constant)]
            if is_cuda or any(isinstance(text, str) and text != "cpu" for text in texts):
                found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    assert not found
