# SPDX-License-Identifier: Apache-2.0
"""From a launch file and its arguments to the processes it describes. Nothing is started here."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from robot_bringup.launch_runner.document import Element, LaunchError, read
from robot_bringup.launch_runner.substitutions import Context

_PROCESS = {"name", "output", "respawn", "respawn_delay", "on_exit", "cwd", "sigterm_timeout", "sigkill_timeout"}
_ACTIONS = {"let", "group", "node", "include", "executable", "set_env"}
# What we understand: tag -> attributes and children. Everything else is refused.
KNOWN: dict[str, tuple[set[str], set[str]]] = {
    "launch": (set(), {"arg"} | _ACTIONS),
    "arg": ({"name", "default", "description", "value"}, {"choice"}),
    "choice": ({"value"}, set()),
    "let": ({"name", "value", "if", "unless"}, set()),
    "group": ({"scoped", "if", "unless"}, _ACTIONS),
    "node": ({"pkg", "exec", "namespace", "args", "if", "unless"} | _PROCESS, {"param", "remap", "env"}),
    "param": ({"name", "value", "from", "type"}, set()),
    "remap": ({"from", "to"}, set()),
    "env": ({"name", "value"}, set()),
    "executable": ({"cmd", "shell", "if", "unless"} | _PROCESS, {"env"}),
    "include": ({"file", "if", "unless"}, {"arg"}),
    "set_env": ({"name", "value", "if", "unless"}, set()),
}


@dataclass(frozen=True)
class Process:
    """One process to start."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: str | None = None
    output: str = "log"
    respawn: bool = False
    respawn_delay_s: float = 0.0
    ends_all: bool = False
    sigterm_timeout_s: float = 5.0
    sigkill_timeout_s: float = 5.0
    package: str = ""
    executable: str = ""
    node: str = ""
    namespace: str = ""
    parameter_files: tuple[Path, ...] = ()


class Planner:
    """Walks a launch file and collects its processes."""

    def __init__(self, scratch: Path, environment: Mapping[str, str]) -> None:
        """Write parameter files to `scratch`; processes inherit `environment`."""
        self.processes: list[Process] = []
        self._scratch = scratch
        self._environment = dict(environment)

    def plan(self, path: Path, arguments: Mapping[str, str]) -> list[Process]:
        """Return the processes of the file at `path`, run with `arguments`.

        Raises:
            LaunchError: the file has something we do not know, or an argument is missing or unknown.
        """
        root = read(path)
        _check(root)
        known = [child.attributes.get("name", "") for child in root.named("arg")]
        for name in arguments:
            if name not in known:
                raise LaunchError(f"{path}: has no argument {name!r}; it has {', '.join(sorted(known))}")
        self._block(root, Context(dict(arguments), self._environment))
        return self.processes

    def _block(self, parent: Element, context: Context) -> None:
        for child in parent.children:
            if context.truth(child, "if", "true") and not context.truth(child, "unless", "false"):
                getattr(self, f"_{child.tag}")(child, context)

    def _arg(self, element: Element, context: Context) -> None:
        name = context.get(element, "name")
        if name not in context.variables:
            if "default" not in element.attributes:
                raise element.error(f"{name!r} needs a value: {name}:=...")
            context.variables[name] = context.get(element, "default")
        choices = [context.get(choice, "value") for choice in element.named("choice")]
        if choices and context.variables[name] not in choices:
            given = context.variables[name]
            raise LaunchError(f"{name} = {given!r}: not one of {', '.join(map(repr, choices))}")

    def _let(self, element: Element, context: Context) -> None:
        context.variables[context.get(element, "name")] = context.get(element, "value")

    def _set_env(self, element: Element, context: Context) -> None:
        context.environment[context.get(element, "name")] = context.get(element, "value")

    def _group(self, element: Element, context: Context) -> None:
        if context.truth(element, "scoped", "true"):
            context = Context(dict(context.variables), dict(context.environment))
        self._block(element, context)

    def _include(self, element: Element, context: Context) -> None:
        # as `ros2 launch` has it, an include sees and changes the variables of the file that includes it
        context.variables |= {context.get(a, "name"): context.get(a, "value") for a in element.named("arg")}
        root = read(Path(context.get(element, "file")))
        _check(root)
        self._block(root, context)

    def _executable(self, element: Element, context: Context) -> None:
        command = context.get(element, "cmd")
        argv = ["/bin/sh", "-c", command] if context.truth(element, "shell", "false") else shlex.split(command)
        self._add(element, context, argv, Path(argv[0]).name)

    def _node(self, element: Element, context: Context) -> None:
        package, executable = context.get(element, "pkg"), context.get(element, "exec")
        try:
            path = Path(get_package_prefix(package)) / "lib" / package / executable
        except PackageNotFoundError as error:
            raise element.error(f"names the package {package!r}, which is not installed") from error
        if not path.is_file():
            raise element.error(f"names {executable!r}, which package {package!r} does not have")
        argv = [str(path), *shlex.split(context.get(element, "args", "")), "--ros-args"]
        if "name" in element.attributes:
            argv += ["-r", f"__node:={context.get(element, 'name')}"]
        if "namespace" in element.attributes:
            argv += ["-r", f"__ns:=/{context.get(element, 'namespace').strip('/')}"]
        files = [self._parameter_file(child, context) for child in element.named("param")]
        for file in files:
            argv += ["--params-file", file]
        for child in element.named("remap"):
            argv += ["-r", f"{context.get(child, 'from')}:={context.get(child, 'to')}"]
        identity = {
            "package": package,
            "executable": executable,
            "node": context.get(element, "name", executable),
            "namespace": f"/{namespace}" if (namespace := context.get(element, "namespace", "").strip("/")) else "",
            "parameter_files": tuple(map(Path, files)),
        }
        self._add(element, context, argv, executable, identity)

    def _parameter_file(self, element: Element, context: Context) -> str:
        if "from" in element.attributes:
            path = Path(context.get(element, "from"))
            if not path.is_file():
                beside = sorted(file.stem for file in path.parent.glob(f"*{path.suffix}"))
                known = f"; there {'is' if len(beside) == 1 else 'are'} {', '.join(beside)}" if beside else ""
                raise LaunchError(f"{path} is not a file{known}")
            return str(path)
        content = {"/**": {"ros__parameters": {context.get(element, "name"): _value(element, context)}}}
        with tempfile.NamedTemporaryFile("w", dir=self._scratch, suffix=".yaml", delete=False) as file:
            yaml.safe_dump(content, file)
        return file.name

    def _add(
        self, element: Element, context: Context, argv: list[str], name: str, identity: Mapping[str, Any] | None = None
    ) -> None:
        on_exit = context.get(element, "on_exit", "")
        if on_exit not in {"", "shutdown"}:
            raise element.error(f"has on_exit={on_exit!r}; only 'shutdown' is known")
        extra = {context.get(e, "name"): context.get(e, "value") for e in element.named("env")}
        self.processes.append(
            Process(
                name=f"{context.get(element, 'name', name)}-{len(self.processes) + 1}",
                argv=tuple(argv),
                environment=context.environment | extra,
                cwd=context.get(element, "cwd", "") or None,
                output=context.get(element, "output", "log"),
                respawn=context.truth(element, "respawn", "false"),
                respawn_delay_s=float(context.get(element, "respawn_delay", "0")),
                ends_all=on_exit == "shutdown",
                sigterm_timeout_s=float(context.get(element, "sigterm_timeout", "5")),
                sigkill_timeout_s=float(context.get(element, "sigkill_timeout", "5")),
                **(identity or {}),
            )
        )


def _value(element: Element, context: Context) -> Any:
    """Return a parameter's value; without a type it is what YAML reads, as `ros2 launch` has it."""
    text, kind = context.get(element, "value"), element.attributes.get("type", "")
    if kind not in {"", "str"}:
        raise element.error(f"has the type {kind!r}; this runner knows 'str', or none")
    value = text if kind else yaml.safe_load(text)
    # what YAML reads as nothing or as a date is meant as text
    return value if isinstance(value, bool | int | float | list) else text


def _check(element: Element) -> None:
    """Refuse elements and attributes that we do not know, at any depth."""
    attributes, children = KNOWN[element.tag]
    for name in element.attributes:
        if name not in attributes:
            raise element.error(f"has the attribute {name!r}, which this runner does not know")
    for child in element.children:
        if child.tag not in children:
            raise child.error(f"inside <{element.tag}> is not known to this runner")
        _check(child)
