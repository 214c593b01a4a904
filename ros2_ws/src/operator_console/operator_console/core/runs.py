# SPDX-License-Identifier: Apache-2.0
"""Training runs on this disk, as a person reads them; nothing here writes into a run."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from operator_console.core.run_curve import RunCurve, curve_of
from whetstone_common.core.run_session import RunSession, SessionError, is_trained, read_session
from whetstone_common.core.training_log import (
    EPISODES_FILE,
    TrainingEpisode,
    TrainingError,
    TrainingSummary,
    read_episodes,
    summarize,
)

_SETTINGS_FILE, _CHECKPOINTS = "run.json", "checkpoints"
_SHOWN_SETTINGS = ("seed", "operator", "pace", "n_candidates")


class RunState(Enum):
    """What a run does."""

    RUNNING = "running"
    STOPPED = "stopped"
    FINISHED = "finished"
    OF_STACK = "of a stack"  # learnt by `whetstone up train:=true`: without settings, budget and log of episodes


@dataclass(frozen=True)
class RunView:
    """A run.

    Attributes:
        name: Of its folder.
        state: Whether it is trained now, was interrupted, or has used up its budget.
        settings: Of run.json.
        summary: What its episodes add up to.
        curve: Its learning curve.
        lineage: What it came from and what it has made, as names and values.
        session: Its last session, None for a run of before there was such a file.
        problem: Why it broke off, or cannot be read; empty when neither.
    """

    name: str
    state: RunState
    settings: Mapping[str, Any] = field(default_factory=dict)
    summary: TrainingSummary = field(default_factory=lambda: summarize([]))
    curve: RunCurve = field(default_factory=RunCurve)
    lineage: tuple[tuple[str, str], ...] = ()
    session: RunSession | None = None
    problem: str = ""

    @property
    def task(self) -> str:
        """Name of its task."""
        return Path(str(self.settings.get("task", ""))).stem

    @property
    def method(self) -> str:
        """Name of its method."""
        return str(self.settings.get("method", ""))


class RunCatalog:
    """Reads the folder of all runs; a run whose files have not changed is not read again.

    Args:
        folder: Holds one folder per run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._read: dict[str, tuple[tuple[int, ...], RunView]] = {}

    def runs(self) -> tuple[RunView, ...]:
        """All runs, the one that was trained last first."""
        own = {path.parent for name in (_SETTINGS_FILE, _CHECKPOINTS) for path in self.folder.glob(f"*/{name}")}
        found = sorted((path for path in own if not path.name.startswith(".")), key=lambda path: (-_newest(path), path))
        with self._lock:
            return tuple(self._view(path) for path in found)

    def run(self, name: str) -> RunView | None:
        """Run of a name, None when there is none."""
        return next((run for run in self.runs() if run.name == name), None)

    def _view(self, folder: Path) -> RunView:
        trained = is_trained(folder)
        version = (int(trained), *(_changed(folder / name) for name in (_SETTINGS_FILE, EPISODES_FILE, "session.json")))
        before = self._read.get(folder.name)
        if before is None or before[0] != version:
            before = (version, read_run(folder, is_running=trained))
            self._read[folder.name] = before
        return before[1]


def read_run(folder: Path, *, is_running: bool) -> RunView:
    """Read a run; one that cannot be read says why, and hides none of the others."""
    state = RunState.RUNNING if is_running else RunState.STOPPED
    if not is_running and not (folder / _SETTINGS_FILE).exists():
        return RunView(folder.name, RunState.OF_STACK, lineage=(("started by", "whetstone up train:=true"),))
    try:
        settings = json.loads((folder / _SETTINGS_FILE).read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            return RunView(folder.name, state, problem=f"{_SETTINGS_FILE} holds no settings")
        episodes, session = _episodes(folder), read_session(folder)
    except (OSError, ValueError, TrainingError, SessionError) as error:
        return RunView(folder.name, state, problem=str(error))
    if not is_running and session is not None and session.is_finished:
        state = RunState.FINISHED
    return RunView(
        name=folder.name,
        state=state,
        settings=settings,
        summary=summarize(episodes),
        curve=curve_of(episodes),
        lineage=_lineage(folder, settings, episodes),
        session=session,
        problem=session.problem if session is not None and not is_running else "",
    )


def _episodes(folder: Path) -> list[TrainingEpisode]:
    path = folder / EPISODES_FILE
    return read_episodes(path.read_bytes(), path.name) if path.exists() else []


def _lineage(folder: Path, settings: Mapping[str, Any], episodes: list[TrainingEpisode]) -> tuple[tuple[str, str], ...]:
    model = str(settings.get("model_dir", "")) or "the shipped one"
    helped = sum(episode.human_steps > 0 for episode in episodes)
    human_steps = sum(episode.human_steps for episode in episodes)
    newest = max((episode.policy_version for episode in episodes), default=0)
    updates = episodes[-1].updates if episodes else 0
    rows = [
        ("base model", f"{settings.get('backend', '')}: {model}"),
        ("demonstrations", str(settings.get("prior", "")) or "none"),
        ("corrections", f"{human_steps} steps by a human, in {helped} of {len(episodes)} episodes"),
        ("policy weights", f"version {newest}, {updates} updates" if newest else "none yet: the base plays"),
        *_models(folder),
    ]
    shown = ", ".join(f"{name} {settings[name]}" for name in _SHOWN_SETTINGS if name in settings)
    file = settings.get("method_file", "")
    return (*rows, ("settings", f"{shown}; method's file: {file or 'the shipped one'}"))


def _models(folder: Path) -> list[tuple[str, str]]:
    """VLAs that the run itself has made."""
    names = {"model": "fine-tuned model", "distilled": "distilled model"}
    made = [(text, folder / name) for name, text in names.items()]
    made += [("model of the newest round", path) for path in sorted((folder / "rounds").glob("round-*"))[-1:]]
    return [(text, f"{path}{_trained_on(path)}") for text, path in made if (path / "manifest.json").is_file()]


def _trained_on(model: Path) -> str:
    try:
        finetuned = json.loads((model / "manifest.json").read_text(encoding="utf-8"))["finetuned"]
        return f", trained on {int(finetuned['windows'])} windows"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _changed(path: Path) -> int:
    try:
        found = path.stat()
    except OSError:
        return 0
    return found.st_mtime_ns + found.st_size


def _newest(folder: Path) -> int:
    """When a run was last trained."""
    names = (EPISODES_FILE, _SETTINGS_FILE) if (folder / _SETTINGS_FILE).exists() else (_CHECKPOINTS,)
    return max(_changed(folder / name) for name in names)
