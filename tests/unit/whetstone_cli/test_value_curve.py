# SPDX-License-Identifier: Apache-2.0
"""The value of an episode as a picture and as a film."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from fakes.lerobot_files import panda_dataset
from fakes.recordings import recording
from vla_policy.core.backends import load_backend
from whetstone_cli.core.value_curve import ValueCurve, write_film, write_picture
from whetstone_cli.jobs import value as job

TICKS = 12


@pytest.fixture
def curve() -> ValueCurve:
    """A success that a person helped to bring about."""
    grey = np.arange(TICKS, dtype=np.uint8)[:, None, None, None] * 10
    images = np.broadcast_to(grey, (TICKS, 48, 64, 3)).copy()
    frames = np.arange(0, TICKS, 2)
    return ValueCurve(
        frames=frames,
        values=np.linspace(-0.9, 0.0, len(frames)),
        returns=np.linspace(-0.8, 0.0, TICKS),
        human=np.arange(TICKS) > 8,
        images={"front": images, "wrist": images},
        caption="put it there: success",
        success=True,
        fps=20.0,
    )


def test_when_drawn_expect_a_picture_with_the_frames_above_the_curve(curve: ValueCurve, tmp_path: Path) -> None:
    write_picture(tmp_path / "value.png", curve)
    pixels = np.asarray(Image.open(tmp_path / "value.png").convert("RGB")).astype(int)
    assert min(pixels.shape[:2]) > 300
    blue = np.abs(pixels - [0x1F, 0x77, 0xB4]).max(-1) < 20
    rows, columns = np.nonzero(blue[:, : pixels.shape[1] * 2 // 3])  # the legend is on the right
    assert rows[columns.argmin()] > rows[columns.argmax()], "a rising value is drawn upwards"


def test_when_filmed_expect_a_picture_per_frame_and_the_curve_growing(curve: ValueCurve, tmp_path: Path) -> None:
    write_film(tmp_path / "value.mp4", curve)
    with av.open(str(tmp_path / "value.mp4")) as file:
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in file.decode(video=0)]
    assert len(frames) == TICKS
    ink = [int((np.abs(frame[-118:] - [90, 170, 240]).max(-1) < 60).sum()) for frame in frames]
    assert ink[0] == 0 and ink[-1] > ink[4] > 0


@pytest.mark.parametrize("values", [np.zeros(3), np.full(6, np.nan), np.zeros(0)])
def test_when_there_is_nothing_to_draw_expect_refusal(curve: ValueCurve, values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="value"):
        replace(curve, values=values)


def test_when_the_ending_is_unknown_expect_those_that_are_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert job.main([str(tmp_path), "--value", str(tmp_path), "--out", str(tmp_path / "value.gif")]) == 2
    assert "the ending is '.gif', allowed: .png and .mp4" in capsys.readouterr().err


def test_when_the_model_is_none_expect_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert job.main([str(tmp_path), "--value", str(tmp_path), "--out", str(tmp_path / "value.png")]) == 2
    said = capsys.readouterr().err.strip()
    assert "has no manifest.json" in said and "\n" not in said


def test_when_a_recording_is_given_expect_its_frames_as_an_episode(tmp_path: Path) -> None:
    path = recording(tmp_path / "one.mcap", range(6))
    episode = job.recorded_of(job.parse([str(path), "--value", "model"]), load_backend("fake").spec)
    assert (len(episode), episode.success) == (6, True)
    assert episode.instruction == "put the red cube on the blue plate"
    assert episode.states.shape == (6, 8) and episode.targets is not None and episode.targets.shape == (6, 7)
    assert {name: images.shape for name, images in episode.images.items()} == dict.fromkeys(
        ("front", "wrist"), (6, 32, 32, 3)
    )


def test_when_there_is_no_such_recording_or_episode_expect_what_there_is(tmp_path: Path) -> None:
    spec = load_backend("fake").spec
    with pytest.raises(ValueError, match="there is no such recording"):
        job.recorded_of(job.parse([str(tmp_path / "none.mcap"), "--value", "model"]), spec)
    dataset = panda_dataset(tmp_path / "dataset")
    assert len(job.recorded_of(job.parse([str(dataset), "--value", "model", "--episode", "1"]), spec)) == 10
    with pytest.raises(ValueError, match="episode is 2, allowed: 0 to 1"):
        job.recorded_of(job.parse([str(dataset), "--value", "model", "--episode", "2"]), spec)
