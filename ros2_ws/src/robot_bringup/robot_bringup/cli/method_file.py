# SPDX-License-Identifier: Apache-2.0
"""What the rest of the stack must know of a method's file before there are weights that say it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

from robot_bringup.cli.errors import UserError


@dataclass(frozen=True)
class MethodFile:
    """A method's file.

    Attributes:
        path: The file.
        discount: Per control step, None for the launch file's.
        best_of: Candidates that are considered, None for the command's.
    """

    path: Path
    discount: float | None
    best_of: int | None

    @property
    def launch_arguments(self) -> tuple[tuple[str, str], ...]:
        """Arguments of whetstone.launch.xml."""
        discount = () if self.discount is None else (("gamma", repr(self.discount)),)
        return (("method_file", str(self.path)), *discount)


def read_method_file(method: str, path: Path | None = None) -> MethodFile:
    """Read a method's file; the shipped one without a path.

    Raises:
        UserError: There is no such method or file, or it is another method's.
    """
    path = (_shipped(method) if path is None else path).resolve()
    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
        block, schedule = dict(body[method] or {}), dict(body.get("schedule") or {})
        discount = float(schedule["discount"]) if "discount" in schedule else None
        best_of = int(block["best_of"]) if "best_of" in block else None
    except (OSError, yaml.YAMLError, TypeError, ValueError) as error:
        raise UserError(f"method file {path}: {error}") from error
    except KeyError as error:
        raise UserError(f"method file {path} has no block {method!r}") from error
    return MethodFile(path, discount, best_of)


def _shipped(method: str) -> Path:
    try:
        folder = Path(get_package_share_directory("rl_learner")) / "config" / "methods"
    except PackageNotFoundError as error:
        raise UserError("the package rl_learner is not installed\n\nBuild the workspace first: make setup") from error
    known = sorted(file.stem for file in folder.glob("*.yaml"))
    if method not in known:
        raise UserError(f"there is no method {method!r}\n\nChoose from: {', '.join(known)}")
    return folder / f"{method}.yaml"
