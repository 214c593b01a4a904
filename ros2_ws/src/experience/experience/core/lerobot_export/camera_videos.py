# SPDX-License-Identifier: Apache-2.0
"""The video files of a dataset: of each camera one after the other, a new file when the last one is large."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experience.core.lerobot_export import layout
from experience.core.lerobot_export.frames import ExportedEpisode
from experience.core.lerobot_export.layout import DatasetSchema, FileIndex
from experience.core.video import VideoFile

_BYTES_PER_MB = 1024 * 1024


class CameraVideos:
    """Appends the images of episodes to the video of their camera.

    Args:
        root: Folder of the dataset.
        schema: What it holds.
    """

    def __init__(self, root: Path, schema: DatasetSchema) -> None:
        self._root, self._schema = root, schema
        self._index = dict.fromkeys(schema.video_keys, FileIndex())
        self._open: dict[str, VideoFile] = {}

    def add(self, episode: ExportedEpisode) -> dict[str, Any]:
        """Append an episode; returns where its images are, as the episode's metadata say it."""
        entry: dict[str, Any] = {}
        for name, height, width in self._schema.cameras:
            key = layout.VIDEO_PREFIX + name
            video = self._video(key, height, width)
            start = video.frames
            for frame in episode.frames:
                video.append(frame.images[name])
            index = self._index[key]
            entry |= {
                f"videos/{key}/chunk_index": index.chunk,
                f"videos/{key}/file_index": index.file,
                f"videos/{key}/from_timestamp": start / self._schema.fps,
                f"videos/{key}/to_timestamp": video.frames / self._schema.fps,
            }
        return entry

    def _video(self, key: str, height: int, width: int) -> VideoFile:
        video = self._open.get(key)
        if video is not None and video.bytes > layout.VIDEO_FILE_MB * _BYTES_PER_MB:
            video.close()
            self._index[key] = self._index[key].next()
            video = None
        if video is None:
            path = self._root / self._index[key].path(layout.VIDEO_PATH, video_key=key)
            video = self._open[key] = VideoFile(path, self._schema.fps, height, width)
        return video

    def close(self) -> None:
        """Finish the files that are open."""
        for video in self._open.values():
            video.close()

    def discard(self) -> None:
        """Forget what was not finished."""
        for video in self._open.values():
            video.discard()
