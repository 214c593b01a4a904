# SPDX-License-Identifier: Apache-2.0
"""Recorded episodes and datasets on this disk, as a person reads them; nothing here writes.

A file that cannot be read is a row that says why, and hides none of the others.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

import numpy as np

from experience.core.dataset import Dataset, DatasetEpisode, DatasetError
from experience.core.lerobot_export.frames import Topics
from experience.core.recording.label import Label, LabelError, label_file, read_label
from experience.core.recording.reader import RecordingError, messages, recorded_metadata
from experience.core.recording.schema import ExecutedStep, checked, episode_metadata
from whetstone_common.core.enums import Actor

DELETED = ".deleted"  # folder beside recordings that holds those that were deleted
SUFFIX = ".mcap"
_INFO = Path("meta") / "info.json"
_DEPTH = 4
# Files that one look at a folder reads: a page that lists thousands of them shows the first at once.
_READ_AT_ONCE = 8
_OUTCOMES = {True: "succeeded", False: "failed"}


class CollectionKind(Enum):
    """What a folder holds."""

    RECORDINGS = "recordings"
    DATASET = "dataset"


@dataclass(frozen=True)
class Collection:
    """A folder of episodes.

    Attributes:
        name: Its path as the page shows it, and by which it is asked for.
        path: The folder.
        kind: What it holds.
    """

    name: str
    path: Path
    kind: CollectionKind


@dataclass(frozen=True)
class ListedEpisode:
    """An episode.

    Attributes:
        name: Of its file within the folder, or its number in the dataset.
        task: Name of the task, empty where nobody says.
        instruction: Words.
        outcome: How it ended.
        recorded_outcome: How it ended as it was recorded, where a human has said otherwise since; empty otherwise.
        steps: Of the policy.
        duration_s: ROS time from start to end (s).
        human_share: Of the executed steps, those that a human commanded, 0..1.
        written_s: When the file was written (s since 1970).
        problem: Why it cannot be read, empty when it can.
        is_deleted: Whether it was moved aside.
        label: What a human has said of it.
    """

    name: str
    task: str = ""
    instruction: str = ""
    outcome: str = ""
    recorded_outcome: str = ""
    steps: int = 0
    duration_s: float = 0.0
    human_share: float = 0.0
    written_s: float = 0.0
    problem: str = ""
    is_deleted: bool = False
    label: Label = field(default_factory=Label)


@dataclass(frozen=True)
class Listing:
    """What a folder holds.

    Attributes:
        rows: Its episodes, those that were written last first.
        unread: How many have not been read yet: the next look reads some of them.
        problem: Why there is none, empty otherwise.
    """

    rows: tuple[ListedEpisode, ...] = ()
    unread: int = 0
    problem: str = ""


class Library:
    """Finds and lists episodes; a file that has not changed is not read again.

    Args:
        folders: Where recordings and datasets lie, at most four levels below.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = tuple(dict.fromkeys(folders))
        self._lock = threading.Lock()
        self._read: dict[Path, tuple[tuple[int, ...], tuple[ListedEpisode, ...]]] = {}

    def collections(self) -> tuple[Collection, ...]:
        """Folders that hold episodes, the one that was written to last first."""
        found = {each.name: each for folder in self.folders for each in _collections(folder)}
        return tuple(sorted(found.values(), key=lambda each: (-_written_s(each.path), each.name)))

    def collection(self, name: str) -> Collection | None:
        """Folder of a name, None when there is none: whatever else a page asks for is not read."""
        return next((each for each in self.collections() if each.name == name), None)

    def listing(self, collection: Collection) -> Listing:
        """Episodes of a folder."""
        with self._lock:
            if collection.kind is CollectionKind.DATASET:
                return self._dataset(collection.path)
            return self._recordings(collection.path)

    def row(self, collection: Collection, name: str) -> ListedEpisode | None:
        """Episode of a name, read now if need be; None when there is none."""
        with self._lock:
            if collection.kind is CollectionKind.DATASET:
                rows = self._dataset(collection.path).rows
            else:
                rows = tuple(self._recording(path) for path in recordings_in(collection.path) if _name_of(path) == name)
        return next((row for row in rows if row.name == name), None)

    def _recordings(self, folder: Path) -> Listing:
        paths = recordings_in(folder)
        known = {path for path in paths if self._is_read(path)}
        for path in [path for path in paths if path not in known][:_READ_AT_ONCE]:
            self._recording(path)
            known.add(path)
        rows = [self._recording(path) for path in paths if path in known]
        return Listing(tuple(sorted(rows, key=lambda row: -row.written_s)), len(paths) - len(rows))

    def _is_read(self, path: Path) -> bool:
        return path in self._read and self._read[path][0] == _version(path)

    def _recording(self, path: Path) -> ListedEpisode:
        version = _version(path)
        if not self._is_read(path):
            self._read[path] = (version, (read_recording(path),))
        return self._read[path][1][0]

    def _dataset(self, root: Path) -> Listing:
        version = _version(root / _INFO)
        try:
            if root not in self._read or self._read[root][0] != version:
                self._read[root] = (version, _dataset_rows(root))
            return Listing(self._read[root][1])
        except DatasetError as error:
            return Listing(problem=str(error))


def recordings_in(folder: Path) -> list[Path]:
    """Recordings of a folder and those that were deleted from it."""
    return sorted((*folder.glob(f"*{SUFFIX}"), *(folder / DELETED).glob(f"*{SUFFIX}")))


def read_recording(path: Path) -> ListedEpisode:
    """Row of a recording; one that cannot be read says why."""
    row = ListedEpisode(_name_of(path), written_s=_written_s(path), is_deleted=path.parent.name == DELETED)
    try:
        recorded, known, label = recorded_metadata(path)["outcome"], episode_metadata(path), read_label(path)
        topic = Topics().executed
        actors = {
            step.episode_step: step.actor
            for step in (checked(ExecutedStep, path, topic, each.data) for each in messages(path, [topic]))
            if step.stamp.episode == known.episode and step.episode_step < known.steps
        }
    except (RecordingError, LabelError) as error:
        return replace(row, problem=str(error).removeprefix(f"{path}: "))
    except KeyError as error:
        return replace(row, problem=f"its metadata lack {error}")
    return replace(
        row,
        task=known.task,
        instruction=known.instruction,
        outcome=known.outcome,
        recorded_outcome=recorded if recorded != known.outcome else "",
        steps=known.steps,
        duration_s=known.duration_s,
        human_share=_human_share(list(actors.values())),
        label=label,
    )


def _dataset_rows(root: Path) -> tuple[ListedEpisode, ...]:
    dataset = Dataset(root)
    return tuple(_dataset_row(dataset, episode) for episode in dataset.labels())


def _dataset_row(dataset: Dataset, episode: DatasetEpisode) -> ListedEpisode:
    return ListedEpisode(
        name=str(episode.index),
        instruction=episode.instruction,
        outcome=_OUTCOMES[episode.success],
        steps=len(episode),
        duration_s=len(episode) / dataset.fps,
        human_share=_human_share(episode.actors),
        written_s=_written_s(dataset.root / _INFO),
    )


def _human_share(actors: Sequence[int] | np.ndarray) -> float:
    return float(np.mean(np.asarray(actors) == Actor.HUMAN)) if len(actors) else 0.0


def _collections(top: Path) -> Iterator[Collection]:
    for where, folders, files in os.walk(top):
        path = Path(where)
        has_deleted = DELETED in folders and any((path / DELETED).glob(f"*{SUFFIX}"))
        if (path / _INFO).is_file():
            yield Collection(str(path), path, CollectionKind.DATASET)
            folders.clear()
            continue
        if has_deleted or any(name.endswith(SUFFIX) for name in files):
            yield Collection(str(path), path, CollectionKind.RECORDINGS)
        is_deep = len(path.relative_to(top).parts) >= _DEPTH
        folders[:] = [] if is_deep else [name for name in folders if not name.startswith(".")]


def _name_of(path: Path) -> str:
    return f"{DELETED}/{path.name}" if path.parent.name == DELETED else path.name


def _version(path: Path) -> tuple[int, ...]:
    return (*_changed(path), *_changed(label_file(path)))


def _changed(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _written_s(path: Path) -> float:
    return _changed(path)[0] / 1e9
