# SPDX-License-Identifier: Apache-2.0
"""Which files the checks look at: tracked and new ones, never what git ignores."""

from __future__ import annotations

import ast
import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "ros2_ws" / "src"
PACKAGES = (
    "whetstone_common",
    "rl_methods",
    "vla_policy",
    "experience",
    "rl_learner",
    "robot_bringup",
    "robot_operation",
    "operator_console",
    "sim_bridge",
    "whetstone_cli",
)


@functools.cache
def tracked() -> tuple[Path, ...]:
    """Return every file that is in git or would be added to it."""
    argv = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(argv, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    paths = (ROOT / name for name in listing.split("\0") if name)
    return tuple(p for p in paths if p.is_file() and not p.is_symlink())


def python_files() -> list[Path]:
    """Return the Python files among them."""
    return [p for p in tracked() if p.suffix == ".py"]


def package_files(package: str) -> list[Path]:
    """Return the Python modules of one ROS package."""
    folder = SRC / package / package
    return [p for p in python_files() if folder in p.parents]


@functools.cache
def tree(path: Path) -> ast.Module:
    """Return the parsed module; several checks look at each."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def short(path: Path) -> str:
    """Return the path as a person would write it."""
    return str(path.relative_to(ROOT))
