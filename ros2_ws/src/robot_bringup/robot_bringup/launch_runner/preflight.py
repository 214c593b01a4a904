# SPDX-License-Identifier: Apache-2.0
"""What nodes would refuse, found before the first of them is started: by their own schemas and the files they name."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

from robot_bringup.launch_runner.document import LaunchError
from robot_bringup.launch_runner.plan import Planner, Process
from whetstone_common.core.namespace import NamespaceError, absolute_namespace
from whetstone_common.core.parameters import ParameterError, ParameterSchema
from whetstone_common.core.reason import ReasonedError
from whetstone_common.core.robot import RobotError
from whetstone_common.core.run_name import run_name_problem
from whetstone_common.nodes.resources import find
from whetstone_common.nodes.robot_files import find_kinematics, find_robot

# Parameters that ROS gives to every node.
_ROS_OWN = {"use_sim_time", "start_type_description_service"}


def check(processes: Sequence[Process]) -> None:
    """Refuse a launch in which a node would not start, or could not work with the others.

    Raises:
        LaunchError: One sentence: node, parameter, value, and what is allowed.
    """
    for process in processes:
        try:
            absolute_namespace(process.namespace)
            _check_node(process)
        except (NamespaceError, ParameterError, RobotError) as error:
            raise LaunchError(f"{process.node}: {error}") from error
    nodes = {process.node: parameters_of(process) for process in processes if process.node}
    _check_pace(nodes)
    _check_server(nodes)


def check_file(path: Path, arguments: Mapping[str, str]) -> None:
    """Refuse a launch file with these arguments, as `check` does; nothing is started."""
    with tempfile.TemporaryDirectory(prefix="launch_params_") as scratch:
        check(Planner(Path(scratch), os.environ).plan(path, arguments))


def parameters_of(process: Process) -> dict[str, Any]:
    """Parameters that a node gets from its files, the later ones winning."""
    name = f"{process.namespace}/{process.node}"
    values: dict[str, Any] = {}
    for file in process.parameter_files:
        for pattern, block in _blocks(file).items():
            if _matches(f"/{pattern.lstrip('/')}".split("/")[1:], name.split("/")[1:]):
                values |= block
    return values


def _blocks(file: Path) -> dict[str, dict[str, Any]]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        return {str(pattern): dict(block.get("ros__parameters") or {}) for pattern, block in content.items()}
    except OSError as error:
        raise LaunchError(f"{file}: {error.strerror}") from error
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where is not None else ""
        raise LaunchError(f"{file}{line}: no file of ROS parameters (node: ros__parameters: name: value)") from error


def _matches(pattern: Sequence[str], name: Sequence[str]) -> bool:
    """Whether the parts of a node's name fit those of a pattern; ** stands for any number of parts, * for one."""
    if not pattern or not name:
        return all(part == "**" for part in pattern) and not name
    if pattern[0] == "**":
        return _matches(pattern[1:], name) or _matches(pattern, name[1:])
    return pattern[0] in ("*", name[0]) and _matches(pattern[1:], name[1:])


def _check_node(process: Process) -> None:
    schema = _schema_of(process)
    if schema is None:
        return
    given = {name: value for name, value in parameters_of(process).items() if name not in _ROS_OWN}
    values = {name: spec.default for name, spec in schema.specs.items()} | schema.check(given)
    # Who follows any run has an empty one by default.
    if "run" in values and values["run"] != schema.specs["run"].default and (why := run_name_problem(values["run"])):
        raise ParameterError(why)
    if values.get("backend") in ("fake", "remote"):
        values.pop("model_dir", None)
    for name, has_problem in _FILES.items():
        if problem := has_problem(values[name]) if values.get(name) else "":
            raise ParameterError(f"{name} = {values[name]!r}: {problem}")


def _schema_of(process: Process) -> ParameterSchema | None:
    """Schema of a node, None for one that is not ours."""
    try:
        own, common = (
            Path(get_package_share_directory(package)) / "config" for package in (process.package, "whetstone_common")
        )
    except (PackageNotFoundError, ValueError):
        return None
    path = own / f"{process.executable}_params.yaml"
    return ParameterSchema.load(path, include=common / "common_params.yaml") if path.is_file() else None


# ---- what parameters name --------------------------------------------------------------------------------------------


def _robot_problem(name: str) -> str:
    find_kinematics(find_robot(name))
    return ""


def _model_problem(name: str) -> str:
    return "" if _path(name).is_dir() else "there is no such directory"


def _file_problem(name: str) -> str:
    if _path(name).is_file():
        return ""
    beside = sorted(path.stem for path in _path(name).parent.glob(f"*{_path(name).suffix}"))
    return f"there is no such file{(beside and '; beside it are ') or ''}{', '.join(beside)}"


def _prior_problem(name: str) -> str:
    return "" if (Path(name) / "transitions").is_dir() else "there are no transitions in it"


_FILES: Mapping[str, Callable[[str], str]] = {
    "robot_file": _robot_problem,
    "model_dir": _model_problem,
    "model_mapping": _file_problem,
    "method_file": _file_problem,
    "prior": _prior_problem,
}


def _path(name: str) -> Path:
    try:
        return find(name)
    except ReasonedError as error:
        raise ParameterError(error.detail) from error


# ---- what nodes are to each other ------------------------------------------------------------------------------------


def _check_pace(nodes: Mapping[str, Mapping[str, Any]]) -> None:
    arm = nodes.get("arm_node")
    if arm is not None and arm.get("pace") == "lockstep" and "sim_node" not in nodes:
        raise LaunchError("pace = 'lockstep' without the simulator: a real arm does not wait; use pace:=realtime")


def _check_server(nodes: Mapping[str, Mapping[str, Any]]) -> None:
    method = nodes.get("steering_node", {}).get("method", "none")
    if nodes.get("vla_node", {}).get("backend") == "remote" and method != "none":
        raise LaunchError(
            f"method = {method!r} with backend = 'remote': a policy server gives no features that a method could read; "
            "use method:=none, or serve the checkpoint itself with backend:=pi0"
        )
