# SPDX-License-Identifier: Apache-2.0
"""A proposal and its images find each other, whichever comes first."""

from __future__ import annotations

import numpy as np

from vla_policy.core.steering.proposal_images import ProposalImages
from whetstone_common.core.stamp import Stamp

IMAGES = np.zeros((1, 2, 2, 3), np.uint8)


def stamp(request: int) -> Stamp:
    return Stamp(7, 1, request, 0)


def test_when_the_images_are_here_expect_them_at_once_and_nothing_to_wait():
    pairs: ProposalImages[str] = ProposalImages()
    assert pairs.put(stamp(1), IMAGES) is None
    assert pairs.of(stamp(1), "first") is IMAGES
    assert not pairs.is_waiting


def test_when_a_proposal_is_faster_than_its_images_expect_it_back_with_them_once():
    pairs: ProposalImages[str] = ProposalImages()
    assert pairs.of(stamp(2), "second") is None and pairs.is_waiting
    assert pairs.put(stamp(1), IMAGES) is None, "images of another observation"
    assert pairs.put(stamp(2), IMAGES) == "second"
    assert not pairs.is_waiting and pairs.put(stamp(2), IMAGES) is None


def test_when_two_proposals_are_faster_than_their_images_expect_the_newer_one_to_wait():
    pairs: ProposalImages[str] = ProposalImages()
    pairs.of(stamp(1), "first")
    pairs.of(stamp(2), "second")
    assert pairs.put(stamp(1), IMAGES) is None
    assert pairs.put(stamp(2), IMAGES) == "second"
