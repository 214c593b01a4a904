# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from vla_policy.core.training.pointing import NominalCamera, PointingHead, cell_targets

CAMERA = NominalCamera()


def test_when_the_target_is_projected_expect_the_middle_of_the_image():
    assert CAMERA.project(np.array(CAMERA.target_m)) == pytest.approx([0.5, 0.5])


def test_when_a_point_moves_to_the_arms_left_expect_it_further_right_as_the_camera_faces_the_arm():
    middle, left = CAMERA.project(np.array([[0.47, 0.0, 0.06], [0.47, 0.1, 0.06]]))
    assert left[0] > middle[0]
    assert left[1] == pytest.approx(middle[1], abs=0.01)


def test_when_a_point_is_nearer_to_the_camera_expect_it_lower_in_the_image():
    far, near = CAMERA.project(np.array([[0.40, 0.0, 0.0], [0.60, 0.0, 0.0]]))
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


def test_when_scored_expect_shares_that_sum_to_one():
    torch.manual_seed(0)
    scores = PointingHead(8, 2)(torch.randn(3, 12, 8))
    assert scores.shape == (3, 2, 4)
    assert torch.allclose(scores.exp().sum(-1), torch.ones(3, 2))
