# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from robot_bringup.core.film import Clip, write_gif, write_mp4


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
