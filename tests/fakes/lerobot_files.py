# SPDX-License-Identifier: Apache-2.0
"""Small datasets of the simulated Panda, and what other recorders and disks make of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from experience.core.lerobot_export.dataset import DatasetWriter
from experience.core.lerobot_export.frames import DatasetFrame, ExportedEpisode
from experience.core.lerobot_export.layout import DatasetSchema

FPS, SIZE_PX = 20, 96
ARM = tuple(f"panda_joint{number}" for number in range(1, 8))
JOINTS = (*ARM, "panda_gripper")
HOME = np.array([0.0, -0.4, 0.0, -2.2, 0.0, 1.8, 0.8, 1.0])
DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
FRONT = "videos/observation.images.front/chunk-000/file-000.mp4"
_TARGET = np.array([0.5, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0, 1.0])
_STEP = 8  # between the grey levels of two frames, so that a picture tells its number


def panda_dataset(root: Path, lengths: Sequence[int] = (12, 10), actor: int = 2, *, success: bool = True) -> Path:
    """A dataset of a joint that turns; picture n of an episode has the grey level of `level_of(n)`."""
    cameras = (("front", SIZE_PX, SIZE_PX), ("wrist", SIZE_PX, SIZE_PX))
    writer = DatasetWriter(root, DatasetSchema(FPS, "sim_panda", JOINTS, cameras))
    for length in lengths:
        frames = tuple(_frame(number, actor) for number in range(length))
        writer.add(ExportedEpisode("put the red cube on the blue plate", success, JOINTS, frames))
    return writer.finish()


def level_of(number: int) -> int:
    """Grey level of a frame's pictures."""
    return 20 + _STEP * number


def _frame(number: int, actor: int) -> DatasetFrame:
    image = np.full((SIZE_PX, SIZE_PX, 3), level_of(number), np.uint8)
    joints = (HOME + 0.02 * number * np.eye(8)[0]).astype(np.float32)
    return DatasetFrame(joints, joints, _TARGET.astype(np.float32), actor, {"front": image, "wrist": image})


def change_info(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Edit meta/info.json."""
    path = root / "meta" / "info.json"
    body = json.loads(path.read_text(encoding="utf-8"))
    change(body)
    path.write_text(json.dumps(body), encoding="utf-8")


def change_rows(root: Path, name: str, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Edit the rows of a parquet file."""
    rows = pq.read_table(root / name).to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows), root / name)


def change_joints(root: Path, change: Callable[[np.ndarray], np.ndarray], names: Sequence[str] = JOINTS) -> None:
    """Another recorder's numbers in states and actions, and its names for them."""

    def rows_as(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            for key in ("observation.state", "action"):
                row[key] = change(np.array(row[key])).tolist()

    def info_as(body: dict[str, Any]) -> None:
        for key in ("observation.state", "action"):
            body["features"][key] |= {"names": list(names), "shape": [len(names)]}

    change_rows(root, DATA, rows_as)
    change_info(root, info_as)


def in_degrees(joints: np.ndarray) -> np.ndarray:
    """Joints in degrees and the gripper from 0 to 100, as LeRobot's own arms record."""
    return np.append(np.degrees(joints[:-1]), 100.0 * joints[-1])


def gripper_first(values: Sequence[Any]) -> list[Any]:
    """Another order."""
    return [values[-1], *values[:-1]]


def recode(root: Path, times: Callable[[int, int], Sequence[int]], fps: int = FPS) -> None:
    """Write the front camera's video anew.

    Args:
        root: Of the dataset.
        times: Takes number and count of a picture; gives the places in time (1 / fps) where it is shown.
        fps: Of the new video.
    """
    path = root / FRONT
    with av.open(str(path)) as source:
        pictures = [picture.to_ndarray(format="rgb24") for picture in source.decode(video=0)]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=fps)
        stream.height, stream.width, stream.pix_fmt = SIZE_PX, SIZE_PX, "yuv420p"
        stream.codec_context.time_base = Fraction(1, fps)
        for number, picture in enumerate(pictures):
            for place in times(number, len(pictures)):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts = place
                out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
