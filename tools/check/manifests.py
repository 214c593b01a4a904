# SPDX-License-Identifier: Apache-2.0
"""package.xml is valid and says what the code imports; setup.py and package.xml agree on the version."""

from __future__ import annotations

import re
import sys

from catkin_pkg.package import InvalidPackage, parse_package

from imports import imported, is_ros
from sources import PACKAGES, SRC, package_files, short, tree

# import name -> rosdep key, for what is not named alike
ROSDEP = {"numpy": "python3-numpy", "cv2": "python3-opencv", "yaml": "python3-yaml", "psutil": "python3-psutil"}
ROSDEP |= {"typer": "python3-typer", "rich": "python3-rich", "pydantic": "python3-pydantic", "pinocchio": "pinocchio"}
ROSDEP |= {"msgpack": "python3-msgpack", "websockets": "python3-websockets"}
OWN_PACKAGES = {*PACKAGES, "vla_interfaces"}


def needed(package: str) -> dict[str, str]:
    """Return the rosdep keys that the imports of a package ask for, each with a place that does."""
    keys: dict[str, str] = {}
    for path in package_files(package):
        for line, module in imported(tree(path)):
            top = module.split(".")[0]
            key = ROSDEP.get(top) or (top if is_ros(module) or top in OWN_PACKAGES else None)
            if key and key != package and key not in {"launch", "launch_ros", "builtin_interfaces"}:
                keys.setdefault(key, f"{short(path)}:{line}")
    return keys


def check_package(name: str) -> list[str]:
    """Return the faults of one package's manifest."""
    manifest = SRC / name / "package.xml"
    try:
        package = parse_package(str(manifest))
    except InvalidPackage as error:
        return [f"{short(manifest)}: {error}"]
    faults = [] if package.name == name else [f"{short(manifest)}: is named {package.name}"]
    declared = {d.name for d in [*package.exec_depends, *package.build_depends]}
    if name in PACKAGES:
        faults += [
            f"{short(manifest)}: {key} is missing, {place} imports it"
            for key, place in sorted(needed(name).items())
            if key not in declared
        ]
        found = re.search(r'version="([^"]+)"', (SRC / name / "setup.py").read_text(encoding="utf-8"))
        if not found or found.group(1) != package.version:
            faults.append(f"{short(manifest)}: version {package.version} is not that of setup.py")
    return faults


def main() -> int:
    """Check all manifests."""
    faults = [fault for name in sorted(OWN_PACKAGES) for fault in check_package(name)]
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
