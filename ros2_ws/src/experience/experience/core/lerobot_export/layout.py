# SPDX-License-Identifier: Apache-2.0
"""Paths, features and limits of the LeRobotDataset v3.0 format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CODEBASE_VERSION = "v3.0"
FILES_PER_CHUNK = 1000
DATA_FILE_MB = 100
VIDEO_FILE_MB = 200

INFO_PATH = "meta/info.json"
STATS_PATH = "meta/stats.json"
TASKS_PATH = "meta/tasks.parquet"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

VIDEO_PREFIX = "observation.images."


@dataclass(frozen=True)
class FileIndex:
    """Number of a file, as the format counts: so many files to a chunk folder."""

    chunk: int = 0
    file: int = 0

    def next(self) -> FileIndex:
        """The following file."""
        if self.file + 1 < FILES_PER_CHUNK:
            return FileIndex(self.chunk, self.file + 1)
        return FileIndex(self.chunk + 1, 0)

    def path(self, template: str, **names: str) -> str:
        """Path of this file under a template of the format."""
        return template.format(chunk_index=self.chunk, file_index=self.file, **names)


@dataclass(frozen=True)
class DatasetSchema:
    """What a dataset holds per frame.

    Attributes:
        fps: Frames per second, whole.
        robot: Name of the robot.
        joints: Names of the arm joints, then of the gripper.
        cameras: Name, height and width in pixels of each camera.
    """

    fps: int
    robot: str
    joints: tuple[str, ...]
    cameras: tuple[tuple[str, int, int], ...]

    @property
    def video_keys(self) -> tuple[str, ...]:
        """Feature names of the cameras."""
        return tuple(VIDEO_PREFIX + name for name, _, _ in self.cameras)

    @property
    def numeric(self) -> dict[str, dict[str, Any]]:
        """Features that live in the data files."""
        joints = list(self.joints)
        pose = ["x", "y", "z", "qx", "qy", "qz", "qw", "gripper"]
        return {
            "observation.state": _vector(joints),
            "action": _vector(joints),
            "action.tcp_target": _vector(pose),
            "actor": _scalar("int64"),
            "next.reward": _scalar("float32"),
            "next.done": _scalar("bool"),
            "next.success": _scalar("bool"),
            "timestamp": _scalar("float32"),
            "frame_index": _scalar("int64"),
            "episode_index": _scalar("int64"),
            "index": _scalar("int64"),
            "task_index": _scalar("int64"),
        }

    def features(self, codec: str) -> dict[str, dict[str, Any]]:
        """All features, as they stand in info.json."""
        videos = {
            VIDEO_PREFIX + name: {
                "dtype": "video",
                "shape": [height, width, 3],
                "names": ["height", "width", "channels"],
                "info": {
                    "video.height": height,
                    "video.width": width,
                    "video.codec": codec,
                    "video.pix_fmt": "yuv420p",
                    "video.is_depth_map": False,
                    "video.fps": self.fps,
                    "video.channels": 3,
                    "has_audio": False,
                },
            }
            for name, height, width in self.cameras
        }
        return {**self.numeric, **videos}


def _vector(names: list[str]) -> dict[str, Any]:
    return {"dtype": "float32", "shape": [len(names)], "names": names}


def _scalar(dtype: str) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [1], "names": None}
