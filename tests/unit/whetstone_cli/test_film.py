# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from whetstone_cli.core.film import Clip, load_clip, save_views, side_by_side, write_gif, write_gif_of, write_mp4


def clip(count: int, *, good: bool = True) -> Clip:
    front = tuple(np.full((96, 96, 3), 10 * i, dtype=np.uint8) for i in range(count))
    wrist = tuple(np.full((96, 96, 3), 255 - 10 * i, dtype=np.uint8) for i in range(count + 1))
    return Clip((front, wrist), "put the red cube on the blue plate: success", good)


def test_when_two_clips_are_written_expect_all_pictures_and_a_pause_after_each(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.gif"
    write_gif(path, [clip(5), clip(3, good=False)], fps=10)
    with Image.open(path) as image:
        assert image.n_frames == 8
        durations_ms = []
        for index in range(8):
            image.seek(index)
            durations_ms.append(image.info["duration"])
    assert durations_ms == [100, 100, 100, 100, 900, 100, 100, 900]
    assert not list(tmp_path.rglob("*.part"))


def test_when_two_clips_are_shown_side_by_side_expect_the_shorter_to_wait_on_its_last_picture(tmp_path: Path) -> None:
    frames = side_by_side(clip(5, good=False), clip(3))
    assert len(frames) == 5
    left = frames[0].width // 2 + 4  # behind the gap
    right = [np.asarray(frame)[:, left:] for frame in frames]
    assert not np.array_equal(right[1], right[2])
    assert np.array_equal(right[2], right[4])
    write_gif_of(tmp_path / "a.gif", [frames], fps=10)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 5
        assert image.size == frames[0].size


def test_when_views_are_kept_expect_the_same_pictures_under_another_caption(tmp_path: Path) -> None:
    save_views(tmp_path / "deep" / "a.npz", clip(12))
    again = load_clip(tmp_path / "deep" / "a.npz", "base: timed out", good=False)
    assert (again.caption, again.good) == ("base: timed out", False)
    assert [[view.tolist() for view in views] for views in again.views] == [
        [view.tolist() for view in views] for views in clip(12).views
    ]


def test_when_written_as_mp4_expect_it_decodes_with_even_size(tmp_path: Path) -> None:
    write_mp4(tmp_path / "a.mp4", [clip(4)], fps=10)
    with av.open(str(tmp_path / "a.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 4
    assert frames[0].shape[0] % 2 == frames[0].shape[1] % 2 == 0


@pytest.mark.parametrize("write", [write_gif, write_mp4])
def test_when_there_is_no_picture_expect_refusal(tmp_path: Path, write: object) -> None:
    with pytest.raises(ValueError, match="no picture"):
        write(tmp_path / "a.gif", [], 10)  # type: ignore[operator]
