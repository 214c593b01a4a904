# SPDX-License-Identifier: Apache-2.0
"""The judge's evidence: every command that reached the drives, with CLOCK_MONOTONIC.

One JSON object per line, appended and flushed at once, so that SIGKILL loses at most the line being written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOLD, POLICY, HUMAN = "hold", "policy", "human"
# A gripper has an opening and no way to hold by a ramp; it is logged but not judged.
ARM_JOINTS = 7


@dataclass(frozen=True)
class Command:
    """One obeyed command.

    Attributes:
        t_ns: CLOCK_MONOTONIC at the moment of obeying.
        values: Targets of the arm joints [rad].
        source: HOLD, POLICY or HUMAN; empty in the log of a drive, which cannot know.
        epoch, episode, request_id, step: Which step of which chunk; -1 where unknown.
        valid_until_ns: CLOCK_MONOTONIC until which the command might be obeyed, 0 where unknown.
    """

    t_ns: int
    values: tuple[float, ...]
    source: str = ""
    epoch: int = -1
    episode: int = -1
    request_id: int = -1
    step: int = -1
    valid_until_ns: int = 0


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a JSON-lines file; a last line cut by a kill is left out.

    Raises:
        ValueError: A line other than the last is broken.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    whole = [line for line in lines[:-1] if line]
    return [json.loads(line) for line in whole]


def drive_command(line: Mapping[str, Any]) -> Command | None:
    """Command in a line of the fake arm's log; None for its other events."""
    if line["event"] != "command":
        return None
    return Command(t_ns=int(line["t_ns"]), values=tuple(line["values"][:ARM_JOINTS]))


def arm_command(line: Mapping[str, Any]) -> Command:
    """Command in a line of the log that arm_node keeps: the same moments, with the identity of each step."""
    return Command(
        t_ns=int(line["t_ns"]),
        values=tuple(line["q"][:ARM_JOINTS]),
        source=str(line["source"]),
        epoch=int(line["epoch"]),
        episode=int(line["episode"]),
        request_id=int(line["request"]),
        step=int(line["step"]),
    )


class LogTail:
    """A log that grows while it is read: each read parses what is new."""

    def __init__(self, path: Path, parse: Callable[[Mapping[str, Any]], Command | None]) -> None:
        """Nothing is read yet; the file need not exist.

        Args:
            path: JSON lines.
            parse: Makes a command of a line, or None of a line that is none.
        """
        self._path = path
        self._parse = parse
        self._offset = 0
        self._commands: list[Command] = []

    def read(self) -> list[Command]:
        """All commands so far; a line that is still being written is left for the next time."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            fresh = file.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._offset += len(whole)
        parsed = (self._parse(json.loads(line)) for line in whole.splitlines() if line)
        self._commands += [command for command in parsed if command is not None]
        return list(self._commands)


def after(log: list[Command], t_ns: int) -> list[Command]:
    """Commands obeyed later than a moment."""
    return [command for command in log if command.t_ns > t_ns]


def moved(log: list[Command], tolerance_rad: float = 1e-6) -> list[Command]:
    """Commands that differ from the one before; not finite counts as moving."""
    pairs = zip(log, log[1:], strict=False)
    return [new for old, new in pairs if not step_size(old, new) <= tolerance_rad]


def step_size(old: Command, new: Command) -> float:
    """Largest change of a value between two commands; NaN when either holds one."""
    steps = [abs(b - a) for a, b in zip(old.values, new.values, strict=True)]
    return float("nan") if any(step != step for step in steps) else max(steps, default=0.0)
