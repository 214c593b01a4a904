# SPDX-License-Identifier: Apache-2.0
"""`python3 tools/setup`: bring this checkout to where `make demo` and `make test` can run.

Safe to run again: each step looks first whether it is already done.
"""

from __future__ import annotations

import argparse
import fcntl
import sys
import time
from pathlib import Path

from build import build_workspace
from environment import Environment
from shell import SetupError, say
from system import find_python, install_browser, install_system_packages, sourced_ros

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ("bench", "browser", "docs", "interop")


def prepare(*, force_build: bool, extras: list[str], torch: bool = True) -> None:
    """Do every step that is not done yet; `extras` are lock files that only some targets need."""
    distro = sourced_ros()
    environment = Environment(ROOT, distro)
    base_python = find_python()
    install_system_packages(base_python)
    environment.create(base_python)
    environment.install_lock("python")
    if torch:
        environment.install_torch()
    if distro is None:
        environment.install_lock("ros")
        environment.mend_wheels()
    else:
        environment.install_lock("colcon")
    for extra in extras:
        environment.install_lock(extra)
    if "browser" in extras:
        install_browser()
    build_workspace(ROOT, environment.prefix, uses_wheels=distro is None, force=force_build)
    source = f"the sourced distribution {distro}" if distro else "the PyPI wheels of Kilted"
    say(f"ready; ROS 2 comes from {source}; for a shell of your own: source tools/env.sh")


def main() -> int:
    """Run the set-up and turn what the user has to mend into one message."""
    parser = argparse.ArgumentParser(prog="tools/setup", description=__doc__)
    parser.add_argument("--force-build", action="store_true", help="build the workspace even when nothing changed")
    parser.add_argument("--extra", action="append", default=[], choices=EXTRAS, help="also what only this target needs")
    parser.add_argument(
        "--no-torch", action="store_true", help="leave torch out: a robot's computer whose policy runs elsewhere"
    )
    begin_s = time.monotonic()
    arguments = parser.parse_args()
    try:
        with (ROOT / ".setup.lock").open("w") as lock:
            # two set-ups at once would build into the same folders
            fcntl.flock(lock, fcntl.LOCK_EX)
            prepare(force_build=arguments.force_build, extras=arguments.extra, torch=not arguments.no_torch)
    except SetupError as error:
        sys.stderr.write(f"[setup] cannot go on: {error}\n")
        return 1
    say(f"set-up took {time.monotonic() - begin_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
