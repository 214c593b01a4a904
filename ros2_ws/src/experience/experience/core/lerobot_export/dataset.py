# SPDX-License-Identifier: Apache-2.0
"""Writes a LeRobotDataset v3.0, episode by episode, into a folder that appears only when it is complete."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from experience.core.lerobot_export import layout
from experience.core.lerobot_export.camera_videos import CameraVideos
from experience.core.lerobot_export.data_files import DataFiles
from experience.core.lerobot_export.frames import ExportedEpisode
from experience.core.lerobot_export.layout import DatasetSchema, FileIndex
from experience.core.lerobot_export.statistics import DatasetStatistics
from experience.core.video import codec
from whetstone_common.core.joint_range import JointRange

_ARROW = {"float32": pa.float32(), "int64": pa.int64(), "bool": pa.bool_()}


class DatasetWriteError(ValueError):
    """Episodes that do not fit into one dataset."""


class DatasetWriter:
    """Grows a dataset in `<root>.part` and renames it at the end."""

    def __init__(self, root: Path, schema: DatasetSchema, joint_range: JointRange | None = None) -> None:
        """Begin a dataset.

        Args:
            root: Folder to make.
            schema: What it holds.
            joint_range: Which values the joints can have; None checks that they are finite.

        Raises:
            DatasetError: The folder exists, or two cameras have one name.
        """
        if root.exists():
            raise DatasetWriteError(f"{root} exists: choose another folder, or remove it")
        if len(set(schema.video_keys)) != len(schema.cameras):
            raise DatasetWriteError(f"cameras {[name for name, *_ in schema.cameras]} must have distinct names")
        self._range = joint_range
        self._root = root
        self._partial = root.with_name(root.name + ".part")
        shutil.rmtree(self._partial, ignore_errors=True)
        self._schema = schema
        self._tasks: dict[str, int] = {}
        self._episodes: list[dict[str, Any]] = []
        self._frames = 0
        self._data = DataFiles(self._partial)
        self._videos = CameraVideos(self._partial, schema)
        cameras = {layout.VIDEO_PREFIX + name: name for name, *_ in schema.cameras}
        self._statistics = DatasetStatistics(schema.numeric, cameras)

    def add(self, episode: ExportedEpisode) -> None:
        """Append an episode.

        Raises:
            DatasetError: It is empty, its joints or cameras are not those of the dataset, or a joint has a value that
                the robot cannot have. The dataset is as it was before.
        """
        self._check(episode)
        columns = self._numbers(episode)
        table = pa.table({name: _array(columns[name], feature) for name, feature in self._schema.numeric.items()})
        entry = {
            "episode_index": len(self._episodes),
            "tasks": [episode.instruction],
            "length": len(episode.frames),
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + len(episode.frames),
            **self._videos.add(episode),
            **self._episode_stats(episode, columns),
            **self._data.add(table),
        }
        self._episodes.append(entry)
        self._frames += len(episode.frames)

    def finish(self) -> Path:
        """Write the metadata and let the folder appear under its name.

        Raises:
            DatasetError: There is no episode.
        """
        if not self._episodes:
            raise DatasetWriteError("no episode to export")
        self._videos.close()
        self._data.flush()
        self._write_meta()
        os.replace(self._partial, self._root)
        return self._root

    def discard(self) -> None:
        """Forget all of it."""
        self._videos.discard()
        shutil.rmtree(self._partial, ignore_errors=True)

    # ---- parts of an episode ---------------------------------------------------------------------------------------

    def _check(self, episode: ExportedEpisode) -> None:
        if episode.joints != self._schema.joints:
            raise DatasetWriteError(f"joints {episode.joints} in a dataset of {self._schema.joints}")
        if not episode.frames:
            raise DatasetWriteError("an episode without a frame")
        if not episode.instruction.strip():
            raise DatasetWriteError("an episode without an instruction")
        for name in ("state", "action", "tcp_target"):
            self._check_values(name, np.stack([getattr(frame, name) for frame in episode.frames]))
        sizes = {name: (height, width, 3) for name, height, width in self._schema.cameras}
        for frame in episode.frames:
            found = {name: image.shape for name, image in frame.images.items()}
            if found != sizes:
                raise DatasetWriteError(f"images {found} in a dataset of {sizes}")

    def _check_values(self, name: str, values: np.ndarray) -> None:
        if not np.isfinite(values).all():
            raise DatasetWriteError(f"frame {int(np.argwhere(~np.isfinite(values))[0, 0])}: {name} is not finite")
        found = None if self._range is None or name == "tcp_target" else self._range.first_outside(values)
        if found is not None:
            raise DatasetWriteError(f"frame {found.frame}: {name} of {found}")

    def _numbers(self, episode: ExportedEpisode) -> dict[str, np.ndarray]:
        count = len(episode.frames)
        steps = np.arange(count, dtype=np.int64)
        last = steps == count - 1
        task = self._tasks.setdefault(episode.instruction, len(self._tasks))
        return {
            "observation.state": np.stack([frame.state for frame in episode.frames]),
            "action": np.stack([frame.action for frame in episode.frames]),
            "action.tcp_target": np.stack([frame.tcp_target for frame in episode.frames]),
            "actor": np.array([frame.actor for frame in episode.frames], dtype=np.int64),
            "next.reward": (last & episode.success).astype(np.float32),
            "next.done": last,
            "next.success": last & episode.success,
            "timestamp": (steps / self._schema.fps).astype(np.float32),
            "frame_index": steps,
            "episode_index": np.full(count, len(self._episodes), dtype=np.int64),
            "index": steps + self._frames,
            "task_index": np.full(count, task, dtype=np.int64),
        }

    def _episode_stats(self, episode: ExportedEpisode, columns: dict[str, np.ndarray]) -> dict[str, Any]:
        images = {name: [frame.images[name] for frame in episode.frames] for name, *_ in self._schema.cameras}
        stats = self._statistics.add(columns, images)
        return {f"stats/{name}/{kind}": value for name, kinds in stats.items() for kind, value in kinds.items()}

    # ---- metadata --------------------------------------------------------------------------------------------------

    def _write_meta(self) -> None:
        count = len(self._episodes)
        info = {
            "codebase_version": layout.CODEBASE_VERSION,
            "robot_type": self._schema.robot,
            "total_episodes": count,
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": layout.FILES_PER_CHUNK,
            "data_files_size_in_mb": layout.DATA_FILE_MB,
            "video_files_size_in_mb": layout.VIDEO_FILE_MB,
            "fps": self._schema.fps,
            "splits": {"train": f"0:{count}"},
            "data_path": layout.DATA_PATH,
            "video_path": layout.VIDEO_PATH,
            "features": self._schema.features(codec()[1]),
        }
        _write_json(self._partial / layout.INFO_PATH, info)
        _write_json(self._partial / layout.STATS_PATH, self._statistics.total())
        pq.write_table(_tasks_table(self._tasks), self._partial / layout.TASKS_PATH)
        place = FileIndex()
        path = self._partial / place.path(layout.EPISODES_PATH)
        path.parent.mkdir(parents=True, exist_ok=True)
        own = {"meta/episodes/chunk_index": place.chunk, "meta/episodes/file_index": place.file}
        pq.write_table(pa.Table.from_pylist([entry | own for entry in self._episodes]), path)


def _array(values: np.ndarray, feature: dict[str, Any]) -> pa.Array:
    kind = _ARROW[feature["dtype"]]
    if values.ndim == 1:
        return pa.array(values, type=kind)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), type=kind), values.shape[1])


def _tasks_table(tasks: dict[str, int]) -> pa.Table:
    """Tasks with the instruction as index, which is how the format's readers look them up."""
    table = pa.table({"task_index": pa.array(tasks.values(), pa.int64()), "task": pa.array(tasks, pa.string())})
    columns: Sequence[tuple[str, str, str]] = (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    note = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy_kind, "metadata": None}
            for name, kind, numpy_kind in columns
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    return table.replace_schema_metadata({"pandas": json.dumps(note)})


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=4, allow_nan=False) + "\n", encoding="utf-8")
