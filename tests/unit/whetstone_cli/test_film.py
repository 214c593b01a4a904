# SPDX-License-Identifier: Apache-2.0
"""Films: how pictures are put together, that words are drawn, and that files read back."""

import io
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from whetstone_cli.core.film import (
    Clip,
    load_clip,
    reel_of,
    reels_of,
    save_clip,
    side_by_side,
    write_film,
    write_gif,
    write_mp4,
)

BAND_PX, SPECTATOR_PX = 108, (640, 480)
SHORT, LONG = "put the red cube on the blue plate", "pick up the small red cube and put it on the large blue plate " * 5


def clip(count: int, *, good: bool = True) -> Clip:
    """An episode that only the policy's cameras saw."""
    front = tuple(np.full((96, 96, 3), 10 * i, dtype=np.uint8) for i in range(count))
    wrist = tuple(np.full((96, 96, 3), 255 - 10 * i, dtype=np.uint8) for i in range(count + 1))
    return Clip((front, wrist), SHORT, good, "success" if good else "failure: out of time")


def spectated(count: int, *, good: bool = True) -> Clip:
    """The same with the third camera."""
    return replace(clip(count, good=good), spectator=tuple(jpeg(20 * i) for i in range(count)))


def jpeg(grey: int) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", SPECTATOR_PX, (grey, grey, grey)).save(sink, format="JPEG")
    return sink.getvalue()


def first_of(made: Clip) -> np.ndarray:
    return np.asarray(reel_of(made).draw(0))


def test_when_there_is_a_third_camera_expect_it_large_and_what_the_policy_sees_small_below_it() -> None:
    picture = first_of(spectated(3))
    assert picture.shape == (480 + BAND_PX, 640, 3)
    assert np.ptp(picture[:480]) <= 2, "nothing covers the third camera"
    assert (picture[486:582, 6:102] == 0).all() and (picture[486:582, 108:204] == 255).all()


def test_when_there_is_no_third_camera_expect_the_policys_own_views_side_by_side() -> None:
    picture = first_of(clip(3))
    assert picture.shape == (288 + BAND_PX, 2 * 288, 3)
    assert (picture[:288, :288] == 0).all() and (picture[:288, 288:] == 255).all()


@pytest.mark.parametrize("make", [clip, spectated])
@pytest.mark.parametrize("words", [SHORT, LONG, "x" * 400, "word " + "x" * 400 + " word"])
def test_when_words_are_short_or_long_expect_them_drawn_inside_the_band(make: object, words: str) -> None:
    without = first_of(replace(make(2), caption="", outcome=""))  # type: ignore[operator]
    drawn = np.argwhere((first_of(replace(make(2), caption=words, outcome="")) != without).any(axis=2))  # type: ignore[operator]
    assert len(drawn) > 200
    top, left = drawn.min(axis=0)
    bottom, right = drawn.max(axis=0)
    height, width = without.shape[:2]
    assert top > height - BAND_PX and bottom < height - 2
    assert right < width - 4 and left > 4


def test_when_an_instruction_is_long_expect_room_for_the_outcome_below_it() -> None:
    long = replace(spectated(2), caption=LONG)
    drawn = first_of(long) != first_of(replace(long, outcome=""))
    words = first_of(replace(long, outcome="")) != first_of(replace(long, caption="", outcome=""))
    assert drawn.any(axis=(1, 2)).argmax() > np.flatnonzero(words.any(axis=(1, 2))).max()


def test_when_an_episode_succeeded_expect_the_outcome_in_green_and_else_in_red() -> None:
    for good, strong, weak in ((True, 1, 0), (False, 0, 1)):
        ended = spectated(2, good=good)
        changed = (first_of(ended) != first_of(replace(ended, outcome=""))).any(axis=2)
        colour = first_of(ended)[changed].mean(axis=0)
        assert colour[strong] > 1.3 * colour[weak]


def test_when_two_clips_are_written_expect_all_pictures_and_a_pause_after_each(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.gif"
    write_gif(path, reels_of([clip(5), clip(3, good=False)]), fps=10)
    with Image.open(path) as image:
        assert image.n_frames == 8
        durations_ms = []
        for index in range(8):
            image.seek(index)
            durations_ms.append(image.info["duration"])
    assert durations_ms == [100, 100, 100, 100, 900, 100, 100, 900]
    assert not list(tmp_path.rglob("*.part"))


def test_when_two_clips_are_shown_side_by_side_expect_the_shorter_to_wait_on_its_last_picture(tmp_path: Path) -> None:
    reel = side_by_side(clip(5, good=False), clip(3))
    frames = list(reel)
    assert len(frames) == len(reel) == 5
    left = frames[0].width // 2 + 4  # behind the gap
    right = [np.asarray(frame)[:, left:] for frame in frames]
    assert not np.array_equal(right[1], right[2])
    assert np.array_equal(right[2], right[4])
    write_gif(tmp_path / "a.gif", [reel], fps=10)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 5
        assert image.size == frames[0].size


def test_when_only_one_clip_has_the_third_camera_expect_both_without_it() -> None:
    assert {picture.size for reel in reels_of([spectated(2), clip(2)]) for picture in reel} == {(576, 288 + BAND_PX)}
    both, one = side_by_side(spectated(2), spectated(2)), side_by_side(spectated(2), clip(2))
    assert both.draw(0).size != one.draw(0).size
    assert np.array_equal(one.draw(0), side_by_side(clip(2), clip(2)).draw(0))


@pytest.mark.parametrize("made", [clip(12), spectated(12, good=False)])
def test_when_a_clip_is_kept_expect_the_same_again(tmp_path: Path, made: Clip) -> None:
    made = replace(made, views=(made.views[0], made.views[1][:12]))
    save_clip(tmp_path / "deep" / "a.npz", made)
    again = load_clip(tmp_path / "deep" / "a.npz")
    assert replace(again, views=()) == replace(made, views=())
    assert np.array_equal(again.views, made.views)


@pytest.mark.parametrize(("ending", "made"), [("mp4", clip(4)), ("mp4", spectated(4)), ("gif", spectated(4))])
def test_when_a_film_is_written_expect_it_read_back_with_every_picture(tmp_path: Path, ending: str, made: Clip) -> None:
    path = tmp_path / f"a.{ending}"
    write_film(path, reels_of([made]), fps=10)
    frames = iio.imread(path)
    assert frames.shape[0] == 4
    assert frames.shape[2:0:-1] == reel_of(made).draw(0).size
    assert frames.shape[1] % 2 == frames.shape[2] % 2 == 0
    assert len({frame.tobytes() for frame in frames}) == 4


@pytest.mark.parametrize("write", [write_gif, write_mp4, write_film])
def test_when_there_is_no_picture_expect_refusal(tmp_path: Path, write: object) -> None:
    for reels in ([], reels_of([clip(0)]), [side_by_side(clip(0), clip(2))]):
        with pytest.raises(ValueError, match="no picture"):
            write(tmp_path / "a.gif", reels, 10)  # type: ignore[operator]
