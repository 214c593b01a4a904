# SPDX-License-Identifier: Apache-2.0
"""Build the workspace with plain colcon, only when something that is copied or generated changed."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from mend import library_dirs
from shell import SetupError, digest, is_stamped, run, say, write_stamp

if TYPE_CHECKING:
    from pathlib import Path

# With --symlink-install, Python sources and data are links. A new build is due when these change...
BUILT_SUFFIXES = (".msg", ".srv", ".action")
BUILT_NAMES = ("CMakeLists.txt", "setup.py", "setup.cfg", "package.xml")
# ... or when files come or go in these.
DATA_FOLDERS = ("config", "description", "models", "launch")


def workspace_digest(root: Path) -> str:
    """Return a hash of the files that are compiled, and of the names of the data files."""
    src = root / "ros2_ws" / "src"
    files = sorted(p for p in src.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    built = [p for p in files if p.suffix in BUILT_SUFFIXES or p.name in BUILT_NAMES]
    data = [str(p) for p in files if any(folder in p.relative_to(src).parts for folder in DATA_FOLDERS)]
    launch = sorted(str(p) for p in (root / "launch").rglob("*") if p.is_file())
    return digest([*data, *launch, *map(str, built), *built])


def remove_python_packages(workspace: Path) -> None:
    """Remove what was built of Python packages, so that a script or a file that has gone does not stay installed.

    They are links that take seconds to make again; what is compiled stays.
    """
    for folder in ("build", "install"):
        for built in sorted((workspace / folder).glob("*/")):
            source = workspace / "src" / built.name
            if (source / "setup.py").is_file() or not source.is_dir():
                shutil.rmtree(built)


def build_workspace(root: Path, prefix: Path, *, uses_wheels: bool, force: bool) -> None:
    """Run `colcon build` in ros2_ws.

    Args:
        root: the checkout.
        prefix: the virtual environment.
        uses_wheels: ROS comes from wheels in `prefix`, not from a sourced distribution.
        force: build even when nothing changed.

    Raises:
        SetupError: the build failed.
    """
    workspace = root / "ros2_ws"
    stamp = workspace / "install" / ".whetstone_stamp"
    value = digest([workspace_digest(root), str(prefix), str(uses_wheels)])
    if not force and is_stamped(stamp, value):
        return
    say("building the workspace: colcon build --symlink-install")
    remove_python_packages(workspace)
    path = f"{prefix / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    env = {"PATH": path, "VIRTUAL_ENV": str(prefix), "PYTHONWARNINGS": "ignore"}
    if uses_wheels:
        env |= {
            "AMENT_PREFIX_PATH": str(prefix),
            "CMAKE_PREFIX_PATH": str(prefix),
            "COLCON_PREFIX_PATH": "",
            "PYTHONPATH": "",
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, library_dirs(prefix))),
            "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1",
        }
    python = prefix / "bin" / "python"
    cmake_args = ["-DBUILD_TESTING=OFF", f"-DPython3_EXECUTABLE={python}", "-DPython3_FIND_VIRTUALENV=ONLY"]
    argv = [prefix / "bin" / "colcon", "--log-base", "log", "build", "--symlink-install"]
    events = ["--event-handlers", "console_cohesion-", "console_package_list-", "desktop_notification-"]
    if not run([*argv, *events, "--cmake-args", *cmake_args], cwd=workspace, env=env):
        message = "colcon build failed; details in ros2_ws/log/latest_build"
        raise SetupError(message)
    write_stamp(stamp, value)
