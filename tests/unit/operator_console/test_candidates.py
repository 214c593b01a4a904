# SPDX-License-Identifier: Apache-2.0
"""Candidate chunks as paths of the TCP, and where a camera sees them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from operator_console.core.camera_model import CalibrationError, CameraModel, mounted_at
from operator_console.core.candidates import CandidatesError, DecisionArrays, DecisionView, view_of
from operator_console.web.interface import CameraShot
from operator_console.web.why_drawing import camera_html, candidates_table, score_colour
from operator_console.web.why_scene import scene_options
from whetstone_common.core.contract import CARTESIAN_ACTIONS, CARTESIAN_PROPRIO, Contract
from whetstone_common.core.kinematics import Pose, rotation_matrix

JOINTS = ("shoulder", "elbow", "gripper")
CONTRACT = Contract(
    action_space="cartesian",
    action_names=CARTESIAN_ACTIONS,
    action_scale=(0.1, 0.2, 0.5, 1.0, 1.0, 1.0, 1.0),
    action_offset=(0.0, 0.0, 0.25, 0.0, 0.0, 0.0, 0.0),
    proprio_names=CARTESIAN_PROPRIO,
    cameras=("front",),
    image_height=96,
    image_width=96,
    horizon=2,
    feature_dim=4,
    dt_s=0.05,
    joint_names=JOINTS,
)
REFERENCE = np.array([0.5, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0])
STRAIGHT = Pose(np.zeros(3), np.eye(3))
CAMERA = CameraModel.of_calibration(100, 80, [50.0, 0, 50, 0, 60.0, 40, 0, 0, 1], [0.0] * 5, "plumb_bob")


def decision(**changed: object) -> DecisionArrays:
    chunks = np.zeros((2, 2, 7))
    chunks[0, :, :3], chunks[1, 1, :3] = [1.0, -1.0, 0.0], [0.0, 0.0, 1.0]
    made = DecisionArrays(CONTRACT.hash(), chunks, chunks[1], REFERENCE, [], chosen=1, kind=0)
    return replace(made, **changed)  # type: ignore[arg-type]


def test_when_a_chunk_is_cartesian_expect_its_way_from_the_reference_in_metres() -> None:
    view = view_of(decision(), CONTRACT, None)
    assert np.allclose(view.candidates[0].points, [[0.6, -0.2, 0.45], [0.6, -0.2, 0.45]])
    assert np.allclose(view.chosen_points, [[0.5, 0.0, 0.45], [0.5, 0.0, 0.95]])
    assert np.allclose(view.tcp.position, REFERENCE[:3])


def test_when_a_chunk_is_in_joint_space_expect_the_way_that_the_kinematics_says() -> None:
    contract = replace(
        CONTRACT, action_space="joint", action_names=JOINTS, action_scale=(2.0, 1.0, 1.0), action_offset=(0.0,) * 3
    )
    chunks = np.array([[[0.1, 0.2, 1.0], [0.3, 0.4, 1.0]]])
    given = DecisionArrays(contract.hash(), chunks, chunks[0], np.array([1.0, 2.0]), [], 0, 0)
    view = view_of(given, contract, lambda q: Pose(np.array([*np.asarray(q), 0.0]), np.eye(3)))
    assert np.allclose(view.candidates[0].points, [[1.2, 2.2, 0.0], [1.6, 2.4, 0.0]])
    with pytest.raises(CandidatesError, match="kinematics"):
        view_of(given, contract, None)


@pytest.mark.parametrize(
    ("scores", "kind", "base", "edited", "value"),
    [
        ([], 0, [None, None], [None, None], None),
        ([0.1, 0.2], 0, [0.1, 0.2], [None, None], 0.2),
        ([0.1, 0.2, 0.3, 0.4], 0, [0.1, 0.2], [0.3, 0.4], 0.2),
        ([0.1, 0.2, 0.3, 0.4], 1, [0.1, 0.2], [0.3, 0.4], 0.4),
        ([0.1], 0, [0.1, None], [None, None], None),
    ],
)
def test_when_a_critic_scored_expect_each_score_at_its_candidate(
    scores: list[float], kind: int, base: list[float | None], edited: list[float | None], value: float | None
) -> None:
    view = view_of(decision(scores=scores, kind=kind), CONTRACT, None)
    assert [each.score for each in view.candidates] == base
    assert [each.edited_score for each in view.candidates] == edited
    assert view.value == value


def test_when_the_decision_is_of_another_policy_expect_refusal() -> None:
    with pytest.raises(CandidatesError, match="another policy"):
        view_of(decision(contract_hash="other"), CONTRACT, None)


def test_when_a_point_is_ahead_expect_its_pixel_and_behind_expect_none() -> None:
    pixels = CAMERA.project(np.array([[0.2, 0.1, 2.0], [0.0, 0.0, -1.0], [0.0, 0.0, 1.0]]), STRAIGHT)
    assert np.allclose(pixels[[0, 2]], [[55.0, 43.0], [50.0, 40.0]]) and np.isnan(pixels[1]).all()


def test_when_the_lens_distorts_expect_the_pixel_moved_as_opencv_models_it() -> None:
    bent = CameraModel.of_calibration(100, 80, CAMERA.matrix, [0.1, 0.0, 0.0, 0.0, 0.0], "plumb_bob")
    (pixel,) = bent.project(np.array([[1.0, 0.0, 1.0]]), STRAIGHT)
    assert pixel == pytest.approx([50.0 + 50.0 * 1.1, 40.0])


@pytest.mark.parametrize(
    ("matrix", "distortion", "model", "said"),
    [
        ([0.0] * 9, [], "", "no focal length"),
        (CAMERA.matrix, [0.1, 0.0, 0.0, 0.0], "equidistant", "distortion_model is 'equidistant'"),
        (CAMERA.matrix, [float("nan")] * 5, "plumb_bob", "not finite"),
    ],
)
def test_when_a_camera_is_not_calibrated_expect_a_sentence(
    matrix: object, distortion: list[float], model: str, said: str
) -> None:
    with pytest.raises(CalibrationError, match=said):
        CameraModel.of_calibration(100, 80, matrix, distortion, model)  # type: ignore[arg-type]


def test_when_a_camera_is_at_the_hand_expect_it_to_turn_with_it() -> None:
    tcp = Pose(np.array([0.5, 0.0, 0.3]), rotation_matrix(np.array([0.0, 0.0, np.pi / 2])))
    at = mounted_at(tcp, Pose(np.array([0.1, 0.0, 0.0]), np.eye(3)))
    assert np.allclose(at.position, [0.5, 0.1, 0.3]) and np.allclose(at.rotation, tcp.rotation)


def shown(view: DecisionView, optical: Pose | None = STRAIGHT) -> str:
    model = CAMERA if optical is not None else None
    return camera_html(CameraShot("front", b"\xff\xd8", model, optical, "" if model else "no <pose>"), view)


def test_when_a_decision_is_drawn_expect_every_candidate_in_its_colour_and_the_sent_one() -> None:
    view = view_of(decision(scores=[0.1, 0.2, 0.3, 0.4], kind=1), CONTRACT, None)
    html = shown(view)
    assert [html.count(f"data-path='{name}'") for name in ("candidate 0", "candidate 1", "sent")] == [1, 1, 1]
    assert score_colour(0.1, 0.1, 0.4) in html and html.count("<circle") == 2
    table = candidates_table(view)
    assert "0.100" in table and "0.400" in table and table.count("chosen, edited") == 1


def test_when_a_camera_has_no_pose_expect_its_picture_and_why_nothing_is_drawn() -> None:
    html = shown(view_of(decision(), CONTRACT, None), None)
    assert "data:image/jpeg" in html and "<svg" not in html and "no &lt;pose&gt;" in html


def test_when_scores_rise_expect_other_colours_and_none_without_a_critic() -> None:
    colours = {score_colour(score, 0.0, 1.0) for score in (0.0, 0.5, 1.0, None)}
    assert len(colours) == 4 and score_colour(2.0, 0.0, 1.0) == score_colour(1.0, 0.0, 1.0)
    assert score_colour(0.3, 0.3, 0.3) == score_colour(0.5, 0.0, 1.0)


def test_when_a_decision_is_drawn_in_space_expect_every_path_in_metres_and_one_scale_on_all_axes() -> None:
    options = scene_options(view_of(decision(scores=[0.1, 0.2]), CONTRACT, None))
    drawn = {each["name"]: each["data"] for each in options["series"]}
    assert list(drawn) == ["candidate 0", "candidate 1", "sent", "TCP at the observation"]
    assert drawn["candidate 0"] == [[0.6, -0.2, 0.45], [0.6, -0.2, 0.45]]
    assert drawn["sent"] == drawn["candidate 1"]
    assert drawn["TCP at the observation"] == [[0.5, 0.0, 0.2]]
    axes = [options[name] for name in ("xAxis3D", "yAxis3D", "zAxis3D")]
    assert len({round(axis["max"] - axis["min"], 3) for axis in axes}) == 1
    points = np.vstack([np.array(data) for data in drawn.values()])
    for column, axis in enumerate(axes):
        assert axis["min"] <= points[:, column].min() <= points[:, column].max() <= axis["max"]


def test_when_nothing_would_move_expect_a_box_of_some_size_all_the_same() -> None:
    still = np.zeros((1, 2, 7))
    still[..., 2] = -0.5  # takes the offset of the height away
    options = scene_options(view_of(decision(candidates=still, sent=still[0], chosen=0), CONTRACT, None))
    assert options["xAxis3D"]["max"] - options["xAxis3D"]["min"] == pytest.approx(0.04)
