# SPDX-License-Identifier: Apache-2.0
"""The last session of a training run, as the run's folder says it: its budget, how it ended, whether it goes on."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from whetstone_common.core.outputs import whole_file

LOCK_FILE = "run.lock"
SESSION_FILE = "session.json"
# Robot time of a run that its control steps alone bound: more than any run uses.
UNBOUNDED_MIN = 1_000_000.0
# Rounds of evaluation of a new run, wherever it is ordered: robot minutes between two, and episodes of one.
EVALUATE_EVERY_MIN, EVALUATE_EPISODES = 3.0, 8


class SessionError(ValueError):
    """A session file that makes no sense; the text says which and why."""


@dataclass(frozen=True)
class RunSession:
    """One session of a run.

    Attributes:
        minutes: Robot time of the whole run, all its sessions together.
        max_steps: Control steps of the whole run, 0 for no bound.
        evaluate_every_min: Robot minutes of training between two rounds of evaluation, 0 for none.
        evaluate_episodes: Episodes of a round.
        record: Whether every episode is kept with its images.
        device: Where the learner's networks learn.
        is_finished: Whether the budget was used up.
        problem: Why it broke off; empty when it did not, or when a person interrupted it.
    """

    minutes: float
    max_steps: int = 0
    evaluate_every_min: float = 0.0
    evaluate_episodes: int = EVALUATE_EPISODES
    record: bool = False
    device: str = "cpu"
    is_finished: bool = False
    problem: str = ""


def write_session(folder: Path, session: RunSession) -> None:
    """Keep what a session is in the folder of its run; OSError when it cannot be written."""
    with whole_file(folder / SESSION_FILE) as partial:
        partial.write_text(json.dumps(asdict(session), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_session(folder: Path) -> RunSession | None:
    """The last session of a run, None for a run of before there was such a file.

    Raises:
        SessionError: The file makes no sense.
    """
    path = folder / SESSION_FILE
    try:
        return RunSession(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise SessionError(f"{path}: {error}") from error


def is_trained(folder: Path) -> bool:
    """Whether a process trains the run now.

    The lock is tried only while the process that has written it lives: nobody who begins to train is refused because
    somebody else has looked.
    """
    try:
        handle = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if not _may_live(os.pread(handle, 1000, 0)):
            return False
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _may_live(text: bytes) -> bool:
    """Whether the process that wrote a lock may be there; on another computer it may."""
    try:
        said = json.loads(text)
        return said["host"] != socket.gethostname() or Path(f"/proc/{int(said['pid'])}").exists()
    except (ValueError, KeyError, TypeError):
        return False
