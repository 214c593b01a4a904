# SPDX-License-Identifier: Apache-2.0
"""A dataset that lacks a key, a column or a frame is refused in one sentence with file, episode and column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experience.core.dataset import Dataset, DatasetError
from fakes.lerobot_files import DATA, EPISODES, FRONT, change_info, change_rows, level_of, panda_dataset, recode


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return panda_dataset(tmp_path_factory.mktemp("set") / "good")


@pytest.fixture
def root(good: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(good, tmp_path / "set"))


def read(root: Path) -> None:
    for recorded in Dataset(root):
        assert len(recorded)


def in_rows(key: str, value: object, row: int = 5, name: str = DATA) -> Callable[[Path], None]:
    return lambda root: change_rows(root, name, lambda rows: rows[row].update({key: value}))


def without(key: str, name: str = EPISODES) -> Callable[[Path], None]:
    return lambda root: change_rows(root, name, lambda rows: [row.pop(key) for row in rows])


def in_info(change: Callable[[dict], object]) -> Callable[[Path], None]:
    return lambda root: change_info(root, change)


def written(name: str, data: bytes) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        (root / name).write_bytes(data)

    return write


BROKEN = {
    "info is a list": (written("meta/info.json", b"[1]"), r"info\.json: the content is \[1\]"),
    "info is cut": (written("meta/info.json", b'{"fps": 20,'), r"info\.json: it is not JSON"),
    "fps is null": (in_info(lambda b: b.update(fps=None)), r"fps is None, expected a finite number"),
    "fps is zero": (in_info(lambda b: b.update(fps=0)), "fps is 0, expected greater than 0"),
    "no data path": (in_info(lambda b: b.pop("data_path")), "the key data_path is missing"),
    "unknown placeholder": (in_info(lambda b: b.update(data_path="{x}.parquet")), "KeyError|it cannot be read"),
    "features is a list": (in_info(lambda b: b.update(features=["action"])), "features is .*keys with values"),
    "more announced": (in_info(lambda b: b.update(total_episodes=9)), "announces 9 episodes, .* describes 2"),
    "camera as images": (
        in_info(lambda b: b["features"]["observation.images.front"].update(dtype="image")),
        "camera front is stored as 'image'",
    ),
    "another camera": (
        in_info(lambda b: b["features"].update(top=b["features"].pop("observation.images.front"))
                or b["features"].update({"observation.images.top": b["features"].pop("top")})),
        "episode 0: camera top has no video",
    ),
    "quaternion begins with w": (
        in_info(lambda b: b["features"]["action.tcp_target"].update(names=["x", "y", "z", "qw", "qx", "qy", "qz"])),
        "action.tcp_target is .*qw.*expected",
    ),
    "no episode": (lambda root: (root / EPISODES).unlink(), "holds no episode"),
    "episodes are cut": (written(EPISODES, b"PAR1"), r"file-000\.parquet: it cannot be read"),
    "no chunk index": (without("data/chunk_index"), "episode 0: the key data/chunk_index is missing"),
    "no tasks": (without("tasks"), "episode 0: the key tasks is missing"),
    "empty tasks": (in_rows("tasks", [], 1, EPISODES), "episode 1 has 0 instructions"),
    "two tasks": (in_rows("tasks", ["a", "b"], 1, EPISODES), "episode 1 has 2 instructions"),
    "blank task": (in_rows("tasks", [" "], 1, EPISODES), "episode 1: tasks: the instruction is empty"),
    "long task": (in_rows("tasks", ["x" * 2000], 1, EPISODES), "episode 1: tasks: .* 2000 characters, at most 1000"),
    "no start of the pictures": (
        without("videos/observation.images.front/from_timestamp"),
        "episode 0: camera front: the key from_timestamp is missing",
    ),
    "pictures of less time": (
        in_rows("videos/observation.images.front/to_timestamp", 0.3, 0, EPISODES),
        r"camera front, episode 0 has pictures from 0\.0000 to 0\.3000 s, its 12 frames need 0\.6000",
    ),
    "episode twice": (in_rows("episode_index", 0, 1, EPISODES), r"describes an episode twice: \[0\]"),
    "length of none": (in_rows("length", 0, 0, EPISODES), "length is 0, expected greater"),
    "a row less": (lambda root: change_rows(root, DATA, lambda rows: rows.pop(3)), "has 11 rows, 12 are announced"),
    "rows swapped": (in_rows("frame_index", 9), "episode 0, frame 5: frame_index is 9"),
    "an uneven time": (in_rows("timestamp", 0.27), r"episode 0, frame 5: timestamp is 0\.2700 s, expected 0\.2500"),
    "a time that is not finite": (in_rows("timestamp", float("nan")), "frame 5: timestamp is nan"),
    "no column": (without("observation.state", DATA), "episode 0 has no column observation.state"),
    "no value": (in_rows("action", None), "episode 0, frame 5: action has no value"),
    "a value less": (in_rows("action", [0.0] * 6), "episode 0, frame 5: action has 6 numbers, expected 8"),
    "a hole in a value": (in_rows("action", [0.0] * 7 + [None]), "episode 0, frame 5: action has no value"),
    "no success": (in_rows("next.success", None), "frame 5: next.success has no value"),
    "an unknown actor": (in_rows("actor", 258), r"frame 5: actor is 258, allowed: \[0, 1, 2\]"),
    "a pointer": (written(DATA, b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "a video of text": (written(FRONT, b"no video"), r"camera front, episode 0: .*file-000\.mp4: it cannot be read"),
}  # fmt: skip


def test_when_nothing_is_wrong_expect_every_episode(root: Path) -> None:
    assert [(recorded.index, len(recorded)) for recorded in Dataset(root)] == [(0, 12), (1, 10)]


@pytest.mark.parametrize("name", BROKEN)
def test_when_a_file_is_not_as_the_format_has_it_expect_one_sentence(root: Path, name: str) -> None:
    damage, words = BROKEN[name]
    damage(root)
    with pytest.raises(DatasetError, match=words) as caught:
        read(root)
    assert "\n" not in str(caught.value)


def test_when_a_byte_of_a_column_is_flipped_expect_the_checksum_to_say_so(root: Path) -> None:
    data = bytearray((root / DATA).read_bytes())
    data[60] ^= 0xFF
    (root / DATA).write_bytes(bytes(data))
    with pytest.raises(DatasetError, match=r"file-000\.parquet: it cannot be read"):
        read(root)


def levels(root: Path, episode: int) -> list[float]:
    return list(Dataset(root))[episode].images["front"].astype(float).mean(axis=(1, 2, 3)).tolist()


def test_when_a_video_has_more_pictures_than_frames_expect_those_of_the_frames_moments(root: Path) -> None:
    recode(root, lambda number, _count: (2 * number, 2 * number + 1), fps=40)
    for episode, length in ((0, 12), (1, 10)):
        np.testing.assert_allclose(levels(root, episode), [level_of(n) for n in range(length)], atol=4.0)


LOST = {
    "another rate": (lambda number, _count: (number,), 30, "episode 0, frame 1"),
    "a picture lost": (lambda number, _count: () if number == 4 else (number,), 20, "episode 0, frame 4"),
    "one lost and the rest moved up": (
        lambda number, _count: () if number == 4 else (number - (number > 4),), 20, "episode 1.*frame 9",
    ),
    "the end lost": (lambda number, count: () if number > count - 3 else (number,), 20, "episode 1.*frame 8"),
    "all a little late": (lambda number, _count: (10 * number + 2,), 200, "episode 0.*frame 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", LOST)
def test_when_there_is_no_picture_at_a_frames_moment_expect_camera_episode_frame_and_time(
    root: Path, name: str
) -> None:
    times, fps, words = LOST[name]
    recode(root, times, fps)
    with pytest.raises(DatasetError, match=rf"camera front, {words}: no picture at \d\.\d+ s.*tolerance 0\.0050 s"):
        read(root)


def test_when_pictures_have_another_size_than_announced_expect_both(root: Path) -> None:
    change_info(root, lambda b: b["features"]["observation.images.front"].update(shape=[48, 64, 3]))
    with pytest.raises(DatasetError, match="camera front, episode 0.*96 x 96 pixels, announced are 48 x 64"):
        read(root)


def test_when_channels_come_first_expect_the_same_pictures(root: Path) -> None:
    named = {"shape": [3, 96, 96], "names": ["channels", "height", "width"]}
    change_info(root, lambda b: b["features"]["observation.images.front"].update(named))
    read(root)
    change_info(root, lambda b: b["features"]["observation.images.front"].update(names=None))
    read(root)
