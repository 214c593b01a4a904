# SPDX-License-Identifier: Apache-2.0
"""Say what is done, run commands, and keep stamps so that a second run is short."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

# Left behind by another environment these would make our interpreter load that one's libraries.
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "_ROS_WHEELS_BOOTSTRAP_COMPLETE", "VIRTUAL_ENV")


class SetupError(Exception):
    """Something the user has to mend; the message says what and how."""


def say(text: str) -> None:
    """Print one line of progress at once."""
    sys.stdout.write(f"[setup] {text}\n")
    sys.stdout.flush()


def clean_env(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return our environment without what another ROS wheel environment would leave in it."""
    env = {k: v for k, v in os.environ.items() if k not in FOREIGN}
    if "ROS_DISTRO" not in env:
        env.pop("LD_LIBRARY_PATH", None)
    elif "PYTHONPATH" in os.environ:
        env["PYTHONPATH"] = os.environ["PYTHONPATH"]
    env.update(extra or {})
    return env


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    quiet: bool = False,
) -> bool:
    """Run a command with no standard input.

    Args:
        argv: the command.
        cwd: where to run it.
        env: extra environment variables.
        quiet: show its output only when it fails.

    Returns:
        True when it exited with 0.
    """
    begin_s = time.monotonic()
    result = subprocess.run(
        [str(a) for a in argv],
        cwd=cwd,
        env=clean_env(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        text=True,
        check=False,
    )
    if quiet and result.returncode != 0:
        sys.stdout.write((result.stdout or "")[-6000:])
    if result.returncode == 0:
        say(f"  done in {time.monotonic() - begin_s:.1f} s")
    return result.returncode == 0


def digest(parts: Iterable[str | bytes | Path]) -> str:
    """Return one hash of strings, bytes and the contents of files."""
    total = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode() if isinstance(part, str) else part.read_bytes()
        total.update(len(data).to_bytes(8, "little"))
        total.update(data)
    return total.hexdigest()


def is_stamped(stamp: Path, value: str) -> bool:
    """Say whether this step was already done with the same inputs."""
    return stamp.is_file() and stamp.read_text(encoding="utf-8").strip() == value


def write_stamp(stamp: Path, value: str) -> None:
    """Record that a step is done with these inputs."""
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(value + "\n", encoding="utf-8")
