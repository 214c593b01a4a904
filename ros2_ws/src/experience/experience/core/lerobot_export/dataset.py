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

from experience.core.lerobot_export import layout, statistics
from experience.core.lerobot_export.frames import ExportedEpisode
from experience.core.lerobot_export.layout import DatasetSchema, FileIndex
from experience.core.video import VideoFile, codec
from whetstone_common.core.joint_range import JointRange

_BYTES_PER_MB = 1024 * 1024
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
        self._rows: list[pa.Table] = []
        self._data_index = FileIndex()
        self._video_index = dict.fromkeys(schema.video_keys, FileIndex())
        self._videos: dict[str, VideoFile] = {}
        self._columns: dict[str, list[np.ndarray]] = {name: [] for name in schema.numeric}
        self._images: dict[str, list[tuple[np.ndarray, int]]] = {key: [] for key in schema.video_keys}

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
            **self._add_videos(episode),
            **self._episode_stats(episode, columns),
        }
        self._add_rows(table, entry)
        self._episodes.append(entry)
        self._frames += len(episode.frames)

    def finish(self) -> Path:
        """Write the metadata and let the folder appear under its name.

        Raises:
            DatasetError: There is no episode.
        """
        if not self._episodes:
            raise DatasetWriteError("no episode to export")
        for video in self._videos.values():
            video.close()
        self._flush_rows()
        self._write_meta()
        os.replace(self._partial, self._root)
        return self._root

    def discard(self) -> None:
        """Forget all of it."""
        for video in self._videos.values():
            video.discard()
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

    def _add_videos(self, episode: ExportedEpisode) -> dict[str, Any]:
        entry: dict[str, Any] = {}
        for name, height, width in self._schema.cameras:
            key = layout.VIDEO_PREFIX + name
            video = self._video(key, height, width)
            start = video.frames
            for frame in episode.frames:
                video.append(frame.images[name])
            index = self._video_index[key]
            entry |= {
                f"videos/{key}/chunk_index": index.chunk,
                f"videos/{key}/file_index": index.file,
                f"videos/{key}/from_timestamp": start / self._schema.fps,
                f"videos/{key}/to_timestamp": video.frames / self._schema.fps,
            }
        return entry

    def _video(self, key: str, height: int, width: int) -> VideoFile:
        video = self._videos.get(key)
        if video is not None and video.bytes > layout.VIDEO_FILE_MB * _BYTES_PER_MB:
            video.close()
            self._video_index[key] = self._video_index[key].next()
            video = None
        if video is None:
            path = self._partial / self._video_index[key].path(layout.VIDEO_PATH, video_key=key)
            video = self._videos[key] = VideoFile(path, self._schema.fps, height, width)
        return video

    def _episode_stats(self, episode: ExportedEpisode, columns: dict[str, np.ndarray]) -> dict[str, Any]:
        stats = {name: statistics.of_vectors(column) for name, column in columns.items()}
        for name, column in columns.items():
            self._columns[name].append(column)
        for name, _, _ in self._schema.cameras:
            key = layout.VIDEO_PREFIX + name
            some = statistics.sampled([frame.images[name] for frame in episode.frames])
            self._images[key].append((statistics.histogram(some), len(some)))
            stats[key] = statistics.of_images(*self._images[key][-1])
        return {f"stats/{name}/{kind}": value for name, kinds in stats.items() for kind, value in kinds.items()}

    def _add_rows(self, table: pa.Table, entry: dict[str, Any]) -> None:
        waiting = sum(rows.nbytes for rows in self._rows)
        if self._rows and waiting + table.nbytes > layout.DATA_FILE_MB * _BYTES_PER_MB:
            self._flush_rows()
            self._data_index = self._data_index.next()
        entry["data/chunk_index"], entry["data/file_index"] = self._data_index.chunk, self._data_index.file
        self._rows.append(table)

    def _flush_rows(self) -> None:
        path = self._partial / self._data_index.path(layout.DATA_PATH)
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(path, self._rows[0].schema, write_page_checksum=True) as writer:
            # One row group per episode: a reader fetches an episode without the rest.
            for table in self._rows:
                writer.write_table(table)
        self._rows = []

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
        stats = {name: statistics.of_vectors(np.concatenate(parts)) for name, parts in self._columns.items()}
        for key, parts in self._images.items():
            counts, frames = zip(*parts, strict=True)
            stats[key] = statistics.of_images(np.sum(counts, axis=0), sum(frames))
        _write_json(self._partial / layout.INFO_PATH, info)
        _write_json(self._partial / layout.STATS_PATH, stats)
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
