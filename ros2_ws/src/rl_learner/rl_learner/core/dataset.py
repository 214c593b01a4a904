# SPDX-License-Identifier: Apache-2.0
"""Reads a LeRobotDataset of format v3.0, episode by episode.

Legend: T frames of an episode, J joints of the arm, H rows, W columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rl_learner.core.records import Actor

VERSION = "v3.0"
VIDEO_PREFIX = "observation.images."
_STATE, _ACTION, _TARGET, _ACTOR, _SUCCESS = (
    "observation.state", "action", "action.tcp_target", "actor", "next.success",
)  # fmt: skip


class DatasetError(ValueError):
    """A dataset that cannot be used; the text names the file."""


@dataclass(frozen=True, eq=False)
class Recorded:
    """One episode.

    Attributes:
        instruction: Words.
        success: How it ended; an episode of a dataset that does not say so is a success, as demonstrations are.
        states: float64 [T, J + 1] measured joints (rad), then the gripper's opening.
        actions: float64 [T, J + 1] commanded joints (rad), then the gripper's opening.
        targets: float64 [T, 7] commanded pose x y z (m) qx qy qz qw, where the dataset has it.
        actors: uint8 [T] `Actor`; a person where the dataset does not say.
        images: uint8 RGB [T, H, W, 3] by camera.
    """

    instruction: str
    success: bool
    states: NDArray[np.float64]
    actions: NDArray[np.float64]
    targets: NDArray[np.float64] | None
    actors: NDArray[np.uint8]
    images: Mapping[str, NDArray[np.uint8]]

    def __len__(self) -> int:
        """T."""
        return len(self.states)


class Dataset:
    """A dataset's folder.

    Attributes:
        fps: Frames per second.
        cameras: Names of the cameras that it has videos of.
    """

    def __init__(self, root: Path) -> None:
        """Read what the dataset says of itself.

        Raises:
            DatasetError: It is not a dataset, or one of another format.
        """
        try:
            self._info: dict[str, Any] = json.loads((root / "meta" / "info.json").read_text(encoding="utf-8"))
            version, self.fps = self._info["codebase_version"], float(self._info["fps"])
            features: dict[str, Any] = self._info["features"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"{root} is not a LeRobotDataset: {type(error).__name__}: {error}") from error
        if version != VERSION:
            raise DatasetError(f"{root} has format {version}, only {VERSION} is known: convert it with lerobot")
        if missing := [name for name in (_STATE, _ACTION) if name not in features]:
            raise DatasetError(f"{root} has no {' and no '.join(missing)}")
        self._root = root
        self.cameras = tuple(name.removeprefix(VIDEO_PREFIX) for name in features if name.startswith(VIDEO_PREFIX))
        files = sorted((root / "meta" / "episodes").glob("*/*.parquet"))
        self._episodes = [row for file in files for row in _table(file).to_pylist()]

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self._episodes)

    def __iter__(self) -> Iterator[Recorded]:
        """Episodes in order.

        Raises:
            DatasetError: A file is missing, broken or too short.
        """
        for entry in self._episodes:
            yield self._episode(entry)

    def _episode(self, entry: Mapping[str, Any]) -> Recorded:
        path = self._path("data_path", entry, "data")
        rows = _table(path, filters=[("episode_index", "=", entry["episode_index"])])
        count, names = int(entry["length"]), set(rows.column_names)
        if len(rows) != count:
            raise DatasetError(f"{path}: {len(rows)} rows of episode {entry['episode_index']}, announced: {count}")
        targets = _matrix(rows, _TARGET)[:, :7] if _TARGET in names else None
        actors = rows[_ACTOR].to_numpy() if _ACTOR in names else np.full(count, Actor.HUMAN)
        return Recorded(
            instruction=str(entry["tasks"][0]),
            success=bool(rows[_SUCCESS].to_numpy().any()) if _SUCCESS in names else True,
            states=_matrix(rows, _STATE),
            actions=_matrix(rows, _ACTION),
            targets=targets,
            actors=np.asarray(actors).astype(np.uint8),
            images={name: self._images(entry, name, count) for name in self.cameras},
        )

    def _images(self, entry: Mapping[str, Any], camera: str, count: int) -> NDArray[np.uint8]:
        key = VIDEO_PREFIX + camera
        path = self._path("video_path", entry, f"videos/{key}", video_key=key)
        try:
            frames = _frames(path, float(entry[f"videos/{key}/from_timestamp"]), 0.5 / self.fps, count)
        except (OSError, av.FFmpegError) as error:
            raise DatasetError(f"{path}: {error}") from error
        if len(frames) < count:
            raise DatasetError(f"{path}: {len(frames)} frames of episode {entry['episode_index']}, expected {count}")
        return np.stack(frames)

    def _path(self, template: str, entry: Mapping[str, Any], prefix: str, **names: str) -> Path:
        index = {"chunk_index": entry[f"{prefix}/chunk_index"], "file_index": entry[f"{prefix}/file_index"]}
        return self._root / str(self._info[template]).format(**index, **names)


def _table(path: Path, filters: Any = None) -> Any:
    try:
        return pq.read_table(path, filters=filters)
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{path}: {error}") from error


def _matrix(rows: Any, name: str) -> NDArray[np.float64]:
    return np.array(rows[name].to_pylist(), dtype=np.float64)


def _frames(path: Path, start_s: float, tolerance_s: float, count: int) -> list[NDArray[np.uint8]]:
    """At most so many RGB frames of a video from a moment on."""
    found: list[NDArray[np.uint8]] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        container.seek(int(start_s / stream.time_base), stream=stream)  # to the key frame before it
        for frame in container.decode(stream):
            if frame.time >= start_s - tolerance_s:
                found.append(frame.to_ndarray(format="rgb24"))
            if len(found) == count:
                break
    return found
