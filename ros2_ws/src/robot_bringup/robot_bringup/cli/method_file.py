# SPDX-License-Identifier: Apache-2.0
"""What the rest of the stack must know of a method's file, so that it acts as the learner assumes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

from robot_bringup.cli.errors import UserError
from robot_bringup.core import report

# Settings of a method that steering_node has under the same name.
_OF_STEERING = ("select", "margin", "base_margin")
_STEERS_NOISE = "dsrl"


@dataclass(frozen=True)
class MethodFile:
    """A method's file.

    Attributes:
        path: The file.
        method: What is learnt.
        steering: Parameters of steering_node.
        discount: Per control step, None for the launch file's.
        best_of: Candidates that are considered, None for the command's.
    """

    path: Path
    method: str
    steering: dict[str, Any]
    discount: float | None
    best_of: int | None

    def launch_arguments(self, folder: Path) -> tuple[tuple[str, str], ...]:
        """Arguments of whetstone.launch.xml; writes a file of parameters to `folder`."""
        nodes: dict[str, dict[str, Any]] = {}
        if self.steering:
            nodes["steering_node"] = self.steering
        if self.method == _STEERS_NOISE:
            nodes["vla_node"] = {"steer_noise": True}
        arguments = [("method_file", str(self.path))]
        if nodes:
            body = {f"/**/{name}": {"ros__parameters": values} for name, values in nodes.items()}
            path = folder.resolve() / "method_params.yaml"
            report.write_text(path, yaml.safe_dump(body))
            arguments.append(("experiment", str(path)))
        if self.discount is not None:
            arguments.append(("gamma", repr(self.discount)))
        return tuple(arguments)


def read_method_file(method: str, path: Path | None = None) -> MethodFile:
    """Read a method's file; the shipped one without a path.

    Raises:
        UserError: There is no such method or file, or it is another method's.
    """
    path = (_shipped(method) if path is None else path).resolve()
    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
        block, schedule = dict(body[method] or {}), dict(body.get("schedule") or {})
    except (OSError, yaml.YAMLError, TypeError, ValueError) as error:
        raise UserError(f"method file {path}: {error}") from error
    except KeyError as error:
        raise UserError(f"method file {path} has no block {method!r}") from error
    return MethodFile(
        path=path,
        method=method,
        steering={name: block[name] for name in _OF_STEERING if name in block},
        discount=float(schedule["discount"]) if "discount" in schedule else None,
        best_of=int(block["best_of"]) if "best_of" in block else None,
    )


def _shipped(method: str) -> Path:
    try:
        folder = Path(get_package_share_directory("rl_learner")) / "config" / "methods"
    except PackageNotFoundError as error:
        raise UserError("the package rl_learner is not installed\n\nBuild the workspace first: make setup") from error
    known = sorted(file.stem for file in folder.glob("*.yaml"))
    if method not in known:
        raise UserError(f"there is no method {method!r}\n\nChoose from: {', '.join(known)}")
    return folder / f"{method}.yaml"
