# SPDX-License-Identifier: Apache-2.0
"""A dataset that is written is read again; one that cannot be used is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from experience.core.dataset import Dataset, DatasetError
from experience.core.lerobot_export.dataset import DatasetWriter
from experience.core.lerobot_export.frames import DatasetFrame, ExportedEpisode
from experience.core.lerobot_export.layout import DatasetSchema

JOINTS = ("j1", "j2", "gripper")
SCHEMA = DatasetSchema(fps=20, robot="panda", joints=JOINTS, cameras=(("front", 64, 96), ("wrist", 64, 96)))


def frame(level: int, actor: int = 2) -> DatasetFrame:
    image = np.full((64, 96, 3), level, dtype=np.uint8)
    return DatasetFrame(
        state=np.array([level, 0.5, 1.0], dtype=np.float32),
        action=np.array([level + 1, 0.5, 0.0], dtype=np.float32),
        tcp_target=np.arange(8, dtype=np.float32) + level,
        actor=actor,
        images={"front": image, "wrist": 255 - image},
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    writer = DatasetWriter(tmp_path / "set", SCHEMA)
    writer.add(ExportedEpisode("red", True, JOINTS, tuple(frame(level) for level in (10, 60, 110))))
    writer.add(ExportedEpisode("blue", False, JOINTS, tuple(frame(level, actor=1) for level in (200, 150))))
    return writer.finish()


def test_when_a_dataset_was_written_expect_its_episodes_back(root: Path) -> None:
    dataset = Dataset(root)
    assert (len(dataset), dataset.fps, dataset.cameras) == (2, 20.0, ("front", "wrist"))
    first, second = dataset
    assert (first.instruction, first.success, len(first)) == ("red", True, 3)
    assert (second.instruction, second.success, second.actors.tolist()) == ("blue", False, [1, 1])
    assert first.states[:, 0].tolist() == [10.0, 60.0, 110.0]
    assert first.actions[:, 0].tolist() == [11.0, 61.0, 111.0]
    assert first.targets is not None
    assert first.targets.shape == (3, 7)
    for recorded, levels in ((first, (10, 60, 110)), (second, (200, 150))):
        for camera, sign in (("front", 1), ("wrist", -1)):
            seen = recorded.images[camera].astype(int).mean(axis=(1, 2, 3))
            wanted = np.array(levels) if sign > 0 else 255 - np.array(levels)
            np.testing.assert_allclose(seen, wanted, atol=4.0)


def test_when_the_folder_is_no_dataset_expect_it_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a LeRobotDataset"):
        Dataset(tmp_path)


def test_when_the_format_is_older_expect_it_refused(root: Path) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    (root / "meta/info.json").write_text(json.dumps(info | {"codebase_version": "v2.1"}))
    with pytest.raises(DatasetError, match=r"format v2\.1"):
        Dataset(root)


def test_when_there_are_no_actions_expect_that_said(root: Path) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    del info["features"]["action"]
    (root / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(DatasetError, match="no action"):
        Dataset(root)


@pytest.mark.parametrize("pattern", ["data/*/*.parquet", "videos/*front/*/*.mp4"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_when_a_file_is_damaged_expect_it_named(root: Path, pattern: str, damage: str) -> None:
    path = next(root.glob(pattern))
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match=path.name):
        list(Dataset(root))
