# SPDX-License-Identifier: Apache-2.0
"""The import wall: core/ knows no ROS, the robot's packages know no torch, and dependencies point one way."""

from __future__ import annotations

import ast
import functools
import graphlib
import sys
from collections.abc import Mapping, Set
from pathlib import Path

from catkin_pkg.package import InvalidPackage, parse_package

from sources import PACKAGES, SRC, package_files, short, tree

# which of our packages each may depend on; package.xml says which of them it does
ALLOWED: dict[str, set[str]] = {
    "whetstone_common": set(),
    "rl_methods": {"whetstone_common"},
    "vla_policy": {"rl_methods", "whetstone_common"},
    "experience": {"whetstone_common"},
    "rl_learner": {"experience", "rl_methods", "vla_policy", "whetstone_common"},
    "robot_bringup": {"whetstone_common"},
    "robot_operation": {"whetstone_common"},
    "operator_console": {"experience", "robot_operation", "whetstone_common"},
    "sim_bridge": {"whetstone_common"},
    "whetstone_cli": set(PACKAGES) - {"whetstone_cli"},
}
ROS = {
    "rclpy",
    "launch",
    "launch_ros",
    "ament_index_python",
    "rosidl_runtime_py",
    "vla_interfaces",
    "builtin_interfaces",
}
HEAVY = {"torch", "transformers", "jax", "onnxruntime", "safetensors", "tokenizers"}
PURE_PACKAGES = {"rl_methods"}  # no ROS at all
# what a robot computer installs
LIGHT_PACKAGES = {
    "whetstone_common",
    "experience",
    "robot_bringup",
    "robot_operation",
    "operator_console",
    "sim_bridge",
}
FORBIDDEN_CALLS = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow")}
SLEEP = ("time", "sleep")


def imported(module: ast.AST) -> list[tuple[int, str]]:
    """Return line and full name of every module that is imported, at whatever depth."""
    found = []
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.lineno, node.module))
    return found


def is_ros(module: str) -> bool:
    """Say whether a module belongs to ROS."""
    top = module.split(".")[0]
    return top in ROS or top.endswith("_msgs") or top in {"std_srvs", "rcl_interfaces"}


def import_faults(package: str, half: str, module: str) -> list[str]:
    """Return what is wrong with `package`/`half` importing `module`."""
    top = module.split(".")[0]
    faults = []
    if half == "core" and is_ros(module):
        faults.append(f"core/ imports {module}: ROS belongs into nodes/")
    if half == "core" and len(module.split(".")) > 1 and module.split(".")[1] == "nodes":
        faults.append(f"core/ imports {module}: nodes/ know core/, not the other way round")
    if package in LIGHT_PACKAGES and top in HEAVY:
        faults.append(f"imports {module}: {package} installs without it")
    if top in PACKAGES and top != package and top not in declared(package):
        faults.append(f"imports {module}: package.xml of {package} does not declare {top}")
    return faults


@functools.cache
def declared(package: str) -> frozenset[str]:
    """Return which of our packages a package.xml declares; none where it cannot be read, as `manifests` then says."""
    try:
        manifest = parse_package(str(SRC / package / "package.xml"))
    except InvalidPackage:
        return frozenset()
    return frozenset(d.name for d in manifest.exec_depends if d.name in PACKAGES)


def dependency_faults(dependencies: Mapping[str, Set[str]]) -> list[str]:
    """Return what is wrong with the declared dependencies among our packages: not allowed, or in a circle."""
    faults = [
        f"package.xml of {package} declares {name}: {package} may only know {', '.join(sorted(ALLOWED[package]))}"
        for package, names in dependencies.items()
        for name in sorted(names - ALLOWED[package])
    ]
    try:
        graphlib.TopologicalSorter(dependencies).prepare()
    except graphlib.CycleError as error:
        faults.append(f"packages depend on each other in a circle: {' -> '.join(error.args[1])}")
    return faults


def call_faults(module: ast.AST, half: str) -> list[tuple[int, str]]:
    """Return the calls that read the wall clock in core/, or sleep in nodes/."""
    faults = []
    for node in ast.walk(module):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = node.func.value
        name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
        if half == "core" and (name, node.func.attr) in FORBIDDEN_CALLS:
            faults.append((node.lineno, f"core/ reads the wall clock ({name}.{node.func.attr})"))
        if half == "nodes" and (name, node.func.attr) == SLEEP:
            faults.append((node.lineno, "a node sleeps (time.sleep); use a timer or wait on an event"))
    return faults


def check_file(package: str, path: Path) -> list[str]:
    """Return the faults of one module, each with its place."""
    parts = path.parts[len(path.parts) - 1 - path.parts[::-1].index(package) :]
    half = "core" if package in PURE_PACKAGES else parts[1] if len(parts) > 2 else ""
    faults = [(line, fault) for line, module in imported(tree(path)) for fault in import_faults(package, half, module)]
    return [f"{short(path)}:{line}: {fault}" for line, fault in [*faults, *call_faults(tree(path), half)]]


def main() -> int:
    """Walk the imports of all packages."""
    faults = dependency_faults({package: declared(package) for package in PACKAGES})
    faults += [fault for package in PACKAGES for path in package_files(package) for fault in check_file(package, path)]
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
