# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from vla_policy.core.training.pointing import FRONT, PointingHead, cell_targets, offset_targets, places

DOWN = np.diag([1.0, -1.0, -1.0])


def test_when_the_target_is_projected_expect_the_middle_of_the_image():
    assert FRONT.project(np.array(FRONT.target_m)) == pytest.approx([0.5, 0.5])


def test_when_a_point_moves_to_the_arms_left_expect_it_further_right_as_the_camera_faces_the_arm():
    middle, left = FRONT.project(np.array([[0.47, 0.0, 0.06], [0.47, 0.1, 0.06]]))
    assert left[0] > middle[0]
    assert left[1] == pytest.approx(middle[1], abs=0.01)


def test_when_a_point_is_nearer_to_the_camera_expect_it_lower_in_the_image():
    far, near = FRONT.project(np.array([[0.40, 0.0, 0.0], [0.60, 0.0, 0.0]]))
    assert near[1] > far[1]


def test_when_a_place_is_the_middle_of_a_token_expect_that_token_alone():
    shares = cell_targets(torch.tensor([[[1.5 / 4, 2.5 / 4]]]), 4)
    assert shares[0, 0].argmax() == 2 * 4 + 1
    assert shares.sum() == pytest.approx(1.0)
    assert shares.max() == pytest.approx(1.0)


def test_when_a_place_is_between_tokens_expect_it_shared_among_four():
    shares = cell_targets(torch.tensor([[[0.5, 0.5]]]), 4)[0, 0]
    assert sorted(shares.tolist())[-4:] == pytest.approx([0.25] * 4)


def test_when_a_place_is_outside_the_image_expect_nothing_to_learn_from_it():
    assert cell_targets(torch.tensor([[[1.4, 0.5]]]), 4).sum() == 0.0


def test_when_a_place_is_right_of_and_above_a_tokens_middle_expect_that_offset_in_tokens():
    offsets = offset_targets(torch.tensor([[[1.75 / 4, 2.25 / 4]]]), 4)
    assert offsets.shape == (1, 1, 16, 2)
    assert offsets[0, 0, 2 * 4 + 1].tolist() == pytest.approx([0.25, -0.25])
    assert offsets[0, 0, 0].tolist() == pytest.approx([1.25, 1.75])


def test_when_the_hand_points_down_at_a_thing_expect_it_between_the_fingers_in_its_camera():
    tcp = np.array([[0.5, 0.1, 0.1]])
    below, left = np.array([0.5, 0.1, 0.02]), np.array([0.5, 0.15, 0.02])
    seen = places(np.stack([below, left])[None], tcp, DOWN[None])
    assert seen.shape == (1, 2, 2, 2)
    assert seen[0, 1, 0, 0] == pytest.approx(0.5)
    assert 0.4 < seen[0, 1, 0, 1] < 0.7
    assert seen[0, 1, 1] != pytest.approx(seen[0, 1, 0], abs=0.05)


def test_when_a_thing_is_behind_the_hands_camera_expect_it_out_of_sight():
    behind = np.array([[[0.5, 0.0, 0.6]]])
    seen = torch.from_numpy(places(behind, np.array([[0.5, 0.0, 0.1]]), DOWN[None]))
    assert cell_targets(seen[:, 1], 8).sum() == 0.0


def test_when_scored_expect_shares_that_sum_to_one_per_camera():
    torch.manual_seed(0)
    log_shares, offsets = PointingHead(8, 2)(torch.randn(3, 12, 8))
    assert log_shares.shape == (3, 2, 2, 4)
    assert offsets.shape == (3, 2, 2, 4, 2)
    assert torch.allclose(log_shares.exp().sum(-1), torch.ones(3, 2, 2))


def test_when_nothing_is_in_sight_expect_nothing_to_learn():
    torch.manual_seed(0)
    losses = PointingHead(8, 2).losses(torch.randn(3, 12, 8), torch.full((3, 2, 2, 2), 1.9))
    assert [x.item() for x in losses] == [0.0, 0.0]
