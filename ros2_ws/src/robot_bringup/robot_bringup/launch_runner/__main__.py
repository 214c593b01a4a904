# SPDX-License-Identifier: Apache-2.0
"""`launch_runner FILE [name:=value ...]`: what `ros2 launch` does, for the files of this project."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from robot_bringup.launch_runner import preflight
from robot_bringup.launch_runner.document import LaunchError, read
from robot_bringup.launch_runner.output import Screen, complain, hold_standard_streams
from robot_bringup.launch_runner.plan import Planner
from robot_bringup.launch_runner.processes import Launch
from whetstone_common.core.surroundings import give_home


def show_arguments(path: Path) -> int:
    """Print what the file at `path` can be given."""
    try:
        arguments = list(read(path).named("arg"))
    except LaunchError as error:
        complain(str(error))
        return 1
    for argument in arguments:
        fields = argument.attributes
        print(f"{fields['name']:<16} {fields.get('description', '')} (default: {fields.get('default', 'none')!r})")
    return 0


def log_directory(environment: Mapping[str, str]) -> Path:
    """Folder of this launch's logs: in $ROS_LOG_DIR, $ROS_HOME/log or ~/.ros/log."""
    home = Path(environment.get("ROS_HOME") or Path(environment["HOME"]) / ".ros")
    return Path(environment.get("ROS_LOG_DIR") or home / "log") / f"{time.strftime('%Y-%m-%d-%H-%M-%S')}-{os.getpid()}"


def launch(path: Path, arguments: Mapping[str, str], screen: Screen) -> int:
    """Run the file at `path` until its processes have ended.

    Returns:
        0 when they ended well or were asked to, 1 when one could not be started or died.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="launch_params_") as scratch:
            processes = Planner(Path(scratch), os.environ).plan(path, arguments)
            preflight.check(processes)
            return asyncio.run(Launch(processes, log_directory(os.environ), screen).run())
    except (LaunchError, OSError) as error:
        complain(str(error))
        return 1


def main() -> int:
    """Run a launch file."""
    hold_standard_streams()
    words = sys.argv[1:]
    files = [word for word in words if ":=" not in word and not word.startswith("-")]
    if len(files) != 1 or set(words) & {"-h", "--help"}:
        print(__doc__, "\n  -s, --show-args   list the file's arguments")
        return 0 if set(words) & {"-h", "--help"} else 2
    if set(words) & {"-s", "--show-args"}:
        return show_arguments(Path(files[0]))
    give_home(os.environ)
    screen = Screen()
    try:
        return launch(Path(files[0]), dict(word.split(":=", 1) for word in words if ":=" in word), screen)
    finally:
        screen.close()


if __name__ == "__main__":
    sys.exit(main())
