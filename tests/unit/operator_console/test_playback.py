# SPDX-License-Identifier: Apache-2.0
"""One episode step by step: the right picture at every step, who drove, joints and the critic's value."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from vla_interfaces.msg import Decision, Executed

from fakes.lerobot_files import FPS, HOME, JOINTS, level_of, panda_dataset
from fakes.recordings import FRONT, WRIST, recording, scored
from operator_console.core.decision_value import value_of_chosen
from operator_console.core.playback import PlaybackError, jpeg_of, of_dataset, of_recording
from operator_console.web.trace_chart import driver_spans, trace_options
from whetstone_common.core.enums import Actor


def level(jpeg: bytes | None) -> float:
    assert jpeg is not None
    return float(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).mean())


def test_when_a_recording_is_opened_expect_the_newest_picture_before_each_step(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.mcap", range(6), pictures={FRONT: [0, 3], WRIST: [2]})
    episode = of_recording(path)
    assert len(episode) == 6
    front = [level(jpeg) for jpeg in episode.pictures["front"]]
    # A picture that is taken at the moment of a step is that step's.
    assert front == pytest.approx([level_of(0)] * 3 + [level_of(3)] * 3, abs=2)
    assert [jpeg is None for jpeg in episode.pictures["wrist"]] == [True, True, False, False, False, False]


def test_when_a_recording_is_opened_expect_joints_times_and_drivers(tmp_path: Path) -> None:
    drove = {0: Executed.POLICY, 1: Executed.POLICY, 4: Executed.HOLD}
    episode = of_recording(recording(tmp_path / "a.mcap", actors=drove))
    assert episode.joints == JOINTS
    assert np.allclose(episode.measured, HOME) and np.allclose(episode.commanded, HOME)
    assert np.allclose(episode.times_s, np.arange(6) / FPS)
    assert driver_spans(episode.actors) == [
        (Actor.POLICY, 0, 2), (Actor.HUMAN, 2, 4), (Actor.HOLD, 4, 5), (Actor.HUMAN, 5, 6),
    ]  # fmt: skip


def test_when_a_step_is_missing_expect_the_others(tmp_path: Path) -> None:
    episode = of_recording(recording(tmp_path / "a.mcap", [0, 1, 4, 5]))
    assert len(episode) == 4 and episode.times_s[-1] == pytest.approx(5 / FPS)


def test_when_a_critic_chose_expect_its_value_where_the_chunk_began_to_play(tmp_path: Path) -> None:
    decisions = [
        scored(1, [0.1, 0.4, 0.2, 0.7], chosen=1, kind=Decision.EDITED),
        scored(2, [0.5, 0.6], chosen=0),
        scored(9, [0.9], chosen=0),  # it never played
    ]
    episode = of_recording(recording(tmp_path / "a.mcap", decisions=decisions))
    assert [step for step, _ in episode.values] == [0, 3]
    assert [value for _, value in episode.values] == pytest.approx([0.7, 0.5])


@pytest.mark.parametrize(
    ("scores", "kind", "chosen", "value"),
    [
        ([], 0, 0, None), ([0.2, 0.3], 0, 1, 0.3), ([0.2, 0.3], 0, -1, None), ([0.1, 0.2, 0.3, 0.4], 1, 0, 0.3),
        ([0.1, 0.2, 0.3, 0.4], 0, 1, 0.2), ([0.2], 0, 4, None), ([float("nan")], 0, 0, None),
    ],
)  # fmt: skip
def test_when_candidates_are_scored_expect_the_score_of_the_chosen_one(
    scores: list[float], kind: int, chosen: int, value: float | None
) -> None:
    assert value_of_chosen(scores, kind, chosen) == value


def test_when_a_file_is_damaged_expect_a_sentence(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.mcap")
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(PlaybackError, match=r"a\.mcap"):
        of_recording(path)


def test_when_a_dataset_is_opened_expect_the_episode_of_that_number(tmp_path: Path) -> None:
    root = panda_dataset(tmp_path / "set", lengths=(5, 9))
    episode = of_dataset(root, 1)
    assert len(episode) == 9 and episode.joints == JOINTS and set(episode.pictures) == {"front", "wrist"}
    assert [level(jpeg) for jpeg in episode.pictures["wrist"]] == pytest.approx([level_of(n) for n in range(9)], abs=3)
    with pytest.raises(PlaybackError, match="no episode 2"):
        of_dataset(root, 2)


def test_when_a_picture_is_wide_expect_it_smaller_in_its_proportions() -> None:
    shown = cv2.imdecode(np.frombuffer(jpeg_of(np.zeros((720, 1280, 3), np.uint8)), np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (360, 640, 3)


def test_when_an_episode_is_drawn_expect_a_line_per_joint_a_band_per_driver_and_the_value(tmp_path: Path) -> None:
    decisions = [scored(1, [0.25], chosen=0)]
    options = trace_options(of_recording(recording(tmp_path / "a.mcap", decisions=decisions, actors={0: 1})))
    assert [series["name"] for series in options["series"]] == [*JOINTS, "critic's value"]
    bands = options["series"][0]["markArea"]["data"]
    assert [(begin["xAxis"], end["xAxis"]) for begin, end in bands] == [(0.0, 0.05), (0.05, 0.25)]
    assert options["series"][-1]["data"] == [[0.0, 0.25]] and len(options["grid"]) == 2


def test_when_no_critic_chose_expect_no_empty_picture_below(tmp_path: Path) -> None:
    options = trace_options(of_recording(recording(tmp_path / "a.mcap")))
    assert len(options["grid"]) == len(options["yAxis"]) == 1
