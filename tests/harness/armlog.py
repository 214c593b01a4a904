# SPDX-License-Identifier: Apache-2.0
"""The judge's evidence: every command that reached the drives, with CLOCK_MONOTONIC.

One JSON object per line, appended and flushed at once, so that SIGKILL loses at most the line being written.
"""

from __future__ import annotations

import json
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


def read_drive_log(path: Path) -> list[Command]:
    """Commands of the fake arm's log."""
    return [
        Command(t_ns=int(line["t_ns"]), values=tuple(line["values"][:ARM_JOINTS]))
        for line in read_lines(path)
        if line["event"] == "command"
    ]


def read_arm_log(path: Path) -> list[Command]:
    """Commands of the log that arm_node keeps: the same moments, with the identity of each step."""
    return [
        Command(
            t_ns=int(line["t_ns"]),
            values=tuple(line["q"][:ARM_JOINTS]),
            source=str(line["source"]),
            epoch=int(line["epoch"]),
            episode=int(line["episode"]),
            request_id=int(line["request"]),
            step=int(line["step"]),
        )
        for line in read_lines(path)
    ]


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
