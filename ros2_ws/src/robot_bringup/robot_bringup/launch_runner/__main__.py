# SPDX-License-Identifier: Apache-2.0
"""`launch_runner FILE [name:=value ...]`: what `ros2 launch` does, for the files of this project."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from robot_bringup.launch_runner.document import LaunchError, read
from robot_bringup.launch_runner.plan import Planner
from robot_bringup.launch_runner.processes import Launch


def show_arguments(path: Path) -> None:
    """Print what the file at `path` can be given."""
    for argument in read(path).named("arg"):
        fields = argument.attributes
        print(f"{fields['name']:<16} {fields.get('description', '')} (default: {fields.get('default', 'none')!r})")


def main() -> int:
    """Run a launch file; 0 when everything was started and has ended, 1 when it could not be."""
    words = sys.argv[1:]
    files = [word for word in words if ":=" not in word and not word.startswith("-")]
    if len(files) != 1 or set(words) & {"-h", "--help"}:
        print(__doc__, "\n  -s, --show-args   list the file's arguments")
        return 0 if set(words) & {"-h", "--help"} else 2
    arguments = dict(word.split(":=", 1) for word in words if ":=" in word)
    log_dir = Path(os.environ.get("ROS_LOG_DIR") or Path(os.environ.get("ROS_HOME") or Path.home() / ".ros") / "log")
    with tempfile.TemporaryDirectory(prefix="launch_params_") as scratch:
        try:
            if set(words) & {"-s", "--show-args"}:
                show_arguments(Path(files[0]))
                return 0
            processes = Planner(Path(scratch), os.environ).plan(Path(files[0]), arguments)
        except LaunchError as error:
            sys.stderr.write(f"[launch] {error}\n")
            return 1
        asyncio.run(Launch(processes, log_dir / f"{time.strftime('%Y-%m-%d-%H-%M-%S')}-{os.getpid()}").run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
